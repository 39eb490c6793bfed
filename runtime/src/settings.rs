//! Settings that more than one service has. Each is data: serde, with its default beside its meaning, checked at start,
//! printed by `--print-config`.

use crate::http::{Origins, Rules};
use driftless_schemas::limits;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

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
            write_timeout_ms: limits::WRITE_TIMEOUT_MS,
        }
    }
}

impl Http {
    /// The origins, checked.
    ///
    /// # Errors
    /// [`SettingError`] where an entry is no origin.
    pub fn origins(&self) -> Result<Origins, SettingError> {
        Origins::new(&self.allowed_origins)
    }

    /// How requests are served.
    ///
    /// # Errors
    /// [`SettingError`] where an entry is no origin.
    pub fn rules(&self) -> Result<Rules, SettingError> {
        let write_timeout = Duration::from_millis(self.write_timeout_ms);
        Ok(Rules { origins: self.origins()?, connections_max: self.connections_max, write_timeout })
    }
}
