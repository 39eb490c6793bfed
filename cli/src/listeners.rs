//! The listeners of a service: one for clients, and an internal one for operators.

use anyhow::{Context, Result};
use driftless_runtime::memory;
use driftless_runtime::settings::SettingError;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime::telemetry::Metrics;
use driftless_schemas::limits;
use driftless_web::http::{self, Origins, Routes, ServerOptions};
use driftless_web::settings::Http;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;
use warp::Filter;

/// The default ports of the internal listeners, on loopback. They are fixed, so that probes and
/// Prometheus find them, and differ, so that the services can share a machine.
pub(crate) const INGEST_PORT: u16 = 9471;
pub(crate) const REPLAYER_PORT: u16 = 9472;
pub(crate) const GATEWAY_PORT: u16 = 9473;

/// Sets the address of the internal listener to that of the flag, else to that of the config file,
/// else to loopback and this port. Returns it.
pub(crate) fn internal(http: &mut Http, flag: Option<SocketAddr>, default_port: u16) -> SocketAddr {
    let address = flag.or(http.internal).unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, default_port)));
    http.internal = Some(address);
    address
}

/// The addresses at which a service will listen, and the limits there.
pub(crate) struct Listeners {
    internal: SocketAddr,
    public: Option<(SocketAddr, ServerOptions, Origins)>,
}

impl Listeners {
    /// The listeners of a service with clients. Checks the settings.
    pub fn new(internal: SocketAddr, http: &Http) -> Result<Self, SettingError> {
        Ok(Self { internal, public: Some((http.listen, http.server_options()?, http.origins()?)) })
    }

    /// The internal listener of a service that has no clients.
    pub fn internal_only(internal: SocketAddr) -> Self {
        Self { internal, public: None }
    }

    /// Serves `public` to clients and `internal`, `/healthz` and `/metrics` to operators, in
    /// background tasks. Clients have `/healthz` too.
    pub async fn serve(self, public: Option<Routes>, internal: Routes, shutdown: Shutdown) -> Result<()> {
        let metrics = Metrics::install().map_err(anyhow::Error::msg)?;
        let listener = listen(self.internal, "--internal").await?;
        let at = listener.local_addr()?;
        let server = match self.public.zip(public) {
            Some(((address, options, origins), routes)) => {
                let listener = listen(address, "--http").await?;
                tracing::info!(address = %listener.local_addr()?, internal = %at, "listening");
                Some((listener, routes.or(http::healthz()).unify().boxed(), origins, options))
            }
            None => {
                tracing::info!(internal = %at, "listening");
                None
            }
        };
        tokio::spawn(metrics.clone().upkeep(shutdown.clone()));
        tokio::spawn(memory::sample(shutdown.clone()));
        let routes = internal.or(http::healthz()).unify().or(http::metrics(metrics)).unify().boxed();
        let options = ServerOptions::new(limits::INTERNAL_CONNECTIONS_MAX);
        tokio::spawn(http::serve(listener, routes, Origins::default(), options, shutdown.clone()));
        if let Some((listener, routes, origins, options)) = server {
            tokio::spawn(http::serve(listener, routes, origins, options, shutdown));
        }
        Ok(())
    }
}

async fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}: choose another address with {flag}"))
}
