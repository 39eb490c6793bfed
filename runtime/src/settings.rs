//! Settings that more than one service has. Each is data: serde, with its default beside its meaning, checked at start,
//! printed by `--print-config`.

use crate::http::{Door, Origins};
use driftless_schemas::limits;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {problem}")]
pub struct SettingError {
    /// Its name, such as `http.listen`.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

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
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            allowed_origins: Vec::new(),
            connections_max: 20_000,
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS,
        }
    }
}

impl Http {
    /// Who is let in.
    #[must_use]
    pub fn door(&self) -> Door {
        Door::new(self.connections_max).per_address(self.connections_per_address)
    }

    /// The origins, checked.
    ///
    /// # Errors
    /// [`SettingError`] where an entry is no origin.
    pub fn origins(&self) -> Result<Origins, SettingError> {
        Origins::new(&self.allowed_origins)
    }
}
