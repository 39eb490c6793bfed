//! Proxies in front of a service: which peers may name the client behind them, and how they do so.
//!
//! A proxy that passes on TCP begins each connection with a header of the PROXY protocol. A proxy
//! that passes on HTTP names its client in a header of each request. Either is believed only from
//! the addresses of the setting `trusted_proxies`, because anyone can send both.

mod forwarded;
mod header;
mod networks;
mod receive;

pub use forwarded::ForwardedHeader;
pub(crate) use receive::NoHeader;

use driftless_runtime::settings::SettingError;
use networks::Networks;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;
use warp::http::HeaderMap;

/// The trusted proxies of a service, and how they name their clients. Clones are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    trusted: Networks,
    naming: Naming,
}

/// How a trusted proxy names its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// By a header of the PROXY protocol in front of each connection.
    Connection,
    /// By this header of each request.
    Request(ForwardedHeader),
}

impl Default for Naming {
    fn default() -> Self {
        Self::Request(ForwardedHeader::default())
    }
}

/// The client of a new connection, as far as the peer's address tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The peer itself.
    Direct,
    /// The client that the header of the PROXY protocol names.
    NamedByConnection,
    /// For each request, the client that its header names.
    NamedByRequest,
    /// A peer that is not a trusted proxy, where only those may connect.
    NotAllowed,
}

impl Proxies {
    /// Checks the settings `trusted_proxies`, `proxy_protocol` and `forwarded_header`.
    ///
    /// # Errors
    /// [`SettingError`] if an entry is neither an address nor a network, or if the PROXY protocol
    /// is on and no proxy is trusted.
    pub fn new(trusted: &[String], proxy_protocol: bool, header: ForwardedHeader) -> Result<Self, SettingError> {
        let trusted = Networks::new(trusted).map_err(|(value, problem)| SettingError {
            key: "trusted_proxies".into(),
            value,
            problem,
        })?;
        if proxy_protocol && trusted.is_empty() {
            let problem = "no proxy is trusted, so that no connection would be accepted; name the proxies, such as \
                           trusted_proxies = [\"10.0.0.0/8\"]";
            return Err(SettingError { key: "proxy_protocol".into(), value: "true".into(), problem: problem.into() });
        }
        let naming = if proxy_protocol { Naming::Connection } else { Naming::Request(header) };
        Ok(Self { trusted, naming })
    }

    /// Tells how the client of a connection from this address becomes known.
    pub(crate) fn arrival(&self, peer: IpAddr) -> Arrival {
        match (self.naming, self.trusted.contain(peer)) {
            (Naming::Connection, true) => Arrival::NamedByConnection,
            (Naming::Connection, false) => Arrival::NotAllowed,
            (Naming::Request(_), true) => Arrival::NamedByRequest,
            (Naming::Request(_), false) => Arrival::Direct,
        }
    }

    /// Takes the header of the PROXY protocol off the front of a connection from a trusted proxy.
    /// Returns the client's address, or `peer` if the connection is the proxy's own.
    ///
    /// # Errors
    /// [`NoHeader`] if no good header arrives in time; the connection must then be closed.
    pub(crate) async fn client_of_connection(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
    ) -> Result<SocketAddr, NoHeader> {
        Ok(receive::receive(stream).await?.unwrap_or(peer))
    }

    /// Returns the client of a request on a connection from the trusted proxy `peer`. The port is 0
    /// if it is not known. Without a usable header, the client is `peer`.
    pub(crate) fn client_of_request(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let Naming::Request(header) = self.naming else { return peer };
        match header.client(peer.ip(), headers, |address| self.trusted.contain(address)) {
            address if address == peer.ip() => peer,
            address => SocketAddr::new(address, 0),
        }
    }
}

#[cfg(test)]
mod tests;
