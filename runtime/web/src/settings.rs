//! The HTTP settings of every service: deserialized by serde, checked at startup, printed by
//! `--print-config`.

use crate::http::{Origins, ServerOptions};
use crate::proxy::{ForwardedHeader, Proxies};
use crate::tls::{self, Tls};
use driftless_runtime::descriptors;
use driftless_runtime::settings::SettingError;
use driftless_runtime_core::defences::Defence;
use driftless_schemas::limits;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// The HTTP settings of a service: its address, limits on connections, and TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// The address and port on which the service listens. Default: 127.0.0.1 and a port that the
    /// system chooses.
    pub listen: SocketAddr,
    /// The address and port of the internal listener, which has `/healthz`, `/readyz` and
    /// `/metrics` for operators, in plain text and without tokens. Default: loopback and the port
    /// 9471 (ingest), 9472 (replayer) or 9473 (gateway).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal: Option<SocketAddr>,
    /// The origins of web pages that may connect, such as `https://play.example.com`; `*` allows
    /// all. Default (empty): pages of the same origin and of this machine (any loopback origin).
    /// Programs other than browsers send no origin and are not restricted.
    pub allowed_origins: Vec<String>,
    /// The largest number of connections, websockets included. If they are taken, the next one
    /// takes the place of one whose client has not said yet for which user it is; if there is none,
    /// it waits in the system's accept queue. Each takes one file descriptor, three with TLS. A
    /// number that the process's limit on open files does not allow is refused at the start.
    /// Default: 0, which means 20,000 or, if the process may open fewer files, as many as fit.
    pub connections_max: usize,
    /// The largest number of unauthenticated connections per address (per /64 with IPv6). A
    /// websocket after its Hello, and an event stream, count for their user instead. Behind a proxy
    /// that `trusted_proxies` names, these are the clients' addresses, and a client that shares a
    /// connection has so many requests and websockets at a time. 0 is unlimited, and also turns off
    /// the rate of requests without a token. Behind any other proxy this must be 0, because all
    /// connections come from its address. An address never gets more than an eighth of
    /// `connections_max`, so that others find places. Default 1,024.
    pub connections_per_address: usize,
    /// The addresses and networks of proxies that are believed when they name a client, such as
    /// `["10.0.0.0/8", "2001:db8::7"]`. Everyone who can connect from there can choose the address
    /// for which it counts. Default: none.
    pub trusted_proxies: Vec<String>,
    /// The trusted proxies begin each connection with a header of the PROXY protocol, version 1 or
    /// 2, before TLS. Connections from other addresses are refused, and headers of requests name no
    /// client. Default: no.
    pub proxy_protocol: bool,
    /// The header of a request in which a trusted proxy names the client: `x-forwarded-for` or
    /// `forwarded` (RFC 7239). The proxy must set or extend it in every request, because the client
    /// may have sent it too. The other header is never read. Default: `x-forwarded-for`.
    pub forwarded_header: ForwardedHeader,
    /// Certificate and private key, as PEM files: `tls = { cert = "…", key = "…" }`. The files may
    /// change while the service runs. Default: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<tls::Settings>,
    /// Allows plain text on an address that is not loopback. Anyone on the network path can then
    /// read and change tokens and edits. This setting is for a trusted network with a proxy on
    /// another machine that ends TLS in front of this service. Default: no.
    pub insecure: bool,
    /// A connection that accepts no bytes of an HTTP response for this long is closed,
    /// milliseconds. Default 15,000. Websockets have their own limit (`gateway.write_timeout_ms`).
    pub write_timeout_ms: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            internal: None,
            allowed_origins: Vec::new(),
            connections_max: 0,
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            forwarded_header: ForwardedHeader::default(),
            tls: None,
            insecure: false,
            write_timeout_ms: limits::WRITE_TIMEOUT_MS,
        }
    }
}

impl Http {
    /// Returns the server's options. Reads certificate and key.
    ///
    /// # Errors
    /// [`SettingError`] if certificate or key are not usable, if the service would speak plain text
    /// on an address that other machines can reach, if `connections_max` needs more files than the
    /// process may open, or if the settings for proxies are not usable ([`Proxies::new`]).
    pub fn server_options(&self) -> Result<ServerOptions, SettingError> {
        let error = |key: &str, value: String, problem: String| SettingError { key: key.into(), value, problem };
        let connections = descriptors::connections(self.connections_max, self.descriptors(), descriptors::raise())
            .map_err(|problem| error("connections_max", self.connections_max.to_string(), problem))?;
        let options = ServerOptions::new(connections)
            .per_address(if Defence::AddressConnections.is_on() { self.connections_per_address } else { 0 })
            .with_proxies(Proxies::new(&self.trusted_proxies, self.proxy_protocol, self.forwarded_header)?)
            .with_write_timeout(Duration::from_millis(self.write_timeout_ms));
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

    /// Limits the connections to those for which there is memory. Call this before
    /// [`Self::server_options`].
    ///
    /// # Errors
    /// [`SettingError`] if `connections_max` names more.
    pub fn fit_into(&mut self, bytes: usize) -> Result<(), SettingError> {
        let each = if self.tls.is_some() { limits::TLS_CONNECTION_BYTES } else { limits::CONNECTION_BYTES };
        let room = bytes / each;
        if self.connections_max > room {
            let problem = format!(
                "{} connections take {} MiB ({} KiB each), and the memory for connections is {} MiB: raise memory_max \
                 (--memory-max), or allow at most {room} connections",
                self.connections_max,
                self.connections_max.saturating_mul(each) >> 20,
                each >> 10,
                bytes >> 20
            );
            let value = self.connections_max.to_string();
            return Err(SettingError { key: "connections_max".into(), value, problem });
        }
        if self.connections_max == 0
            && let Ok(connections) = descriptors::connections(0, self.descriptors(), descriptors::raise())
        {
            self.connections_max = connections.min(room);
        }
        Ok(())
    }

    /// The number of file descriptors of a connection. With TLS there is a pair of sockets between
    /// the connection and the service.
    fn descriptors(&self) -> usize {
        if self.tls.is_some() { 3 } else { 1 }
    }

    /// Returns the allowed origins, checked.
    ///
    /// # Errors
    /// [`SettingError`] if an entry is not an origin.
    pub fn origins(&self) -> Result<Origins, SettingError> {
        Origins::new(&self.allowed_origins)
    }
}
