//! How a service is reached: settings that every service has. Each is data: serde, with its default beside its meaning,
//! checked at start, printed by `--print-config`.

use crate::http::{Origins, ServerOptions};
use crate::tls::{self, Tls};
use driftless_runtime::settings::SettingError;
use driftless_schemas::limits;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// How a service is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port. Default: 127.0.0.1 and a port that the system chooses.
    pub listen: SocketAddr,
    /// Which web pages may connect, such as `https://play.example.com`; `*` is all of them. Default, when empty: pages
    /// of the same origin and of this machine (any loopback origin). Programs that are no browsers send no origin and
    /// are not asked for one.
    pub allowed_origins: Vec<String>,
    /// Connections at once, websockets included; more wait in the system's queue. Default 20,000.
    pub connections_max: usize,
    /// Connections at once of one address (of one /64 with IPv6) on which nobody has said yet who it is: a websocket that has said
    /// its Hello, and an event stream, count for their user instead. 0 is any number. Behind a proxy all connections come from its
    /// address: then it must be 0, and the proxy limits its own. Default 1,024.
    pub connections_per_address: usize,
    /// Certificate and private key, as PEM files: `tls = { cert = "…", key = "…" }`. They may change while the service runs.
    /// Default: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<tls::Settings>,
    /// Plain text also on an address that is not loopback: tokens and edits can be read, and changed, by whoever is on the way.
    /// For a proxy on another machine that ends TLS in front of this service, in a network that is trusted. Default: no.
    pub insecure: bool,
    /// A connection that takes nothing of an answer over HTTP for this long is ended, milliseconds. Default 15,000.
    /// Websockets have a limit of their own (`gateway.write_timeout_ms`).
    pub write_timeout_ms: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            allowed_origins: Vec::new(),
            connections_max: 20_000,
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS,
            tls: None,
            insecure: false,
            write_timeout_ms: limits::WRITE_TIMEOUT_MS,
        }
    }
}

impl Http {
    /// Who is let in. Reads certificate and key.
    ///
    /// # Errors
    /// [`SettingError`] where those are not usable, or where this would be plain text that others than this machine can reach.
    pub fn server_options(&self) -> Result<ServerOptions, SettingError> {
        let options = ServerOptions::new(self.connections_max)
            .per_address(self.connections_per_address)
            .with_write_timeout(Duration::from_millis(self.write_timeout_ms));
        let error = |key: &str, value: String, problem: String| SettingError { key: key.into(), value, problem };
        match &self.tls {
            Some(settings) => {
                let tls = Tls::new(settings.clone());
                let tls = tls.map_err(|e| error("tls", settings.cert.display().to_string(), e.to_string()))?;
                Ok(options.with_tls(tls))
            }
            None if self.insecure || self.listen.ip().to_canonical().is_loopback() => Ok(options),
            None => {
                let problem = "this address can be reached from elsewhere, and the service would speak plain text, tokens included. \
                               Give it a certificate (--tls-cert and --tls-key), or, where TLS ends in front of it or the \
                               network is trusted, say --insecure";
                Err(error("listen", self.listen.to_string(), problem.into()))
            }
        }
    }

    /// The origins, checked.
    ///
    /// # Errors
    /// [`SettingError`] where an entry is no origin.
    pub fn origins(&self) -> Result<Origins, SettingError> {
        Origins::new(&self.allowed_origins)
    }
}
