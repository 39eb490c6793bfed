//! The settings of an ingest process.

use driftless_ingest_core::Policy;
use driftless_web::settings::Http;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Settings of ingest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address, TLS and limits of HTTP.
    pub http: Http,
    /// Limits of users and sockets.
    pub policy: Policy,
    /// Time limits on the log and on clients.
    pub waits: Waits,
}

/// The time limits of ingest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Waits {
    /// How long the producer tries to get a record acknowledged by the log
    /// (`message.timeout.ms`), milliseconds. After that a websocket client gets no answer and
    /// resends the command; an HTTP client gets 504. Default 10,000.
    pub acknowledgement_ms: u64,
    /// How long a socket waits for room in the producer's queue before it rejects the commands that
    /// do not fit, milliseconds. The client may retry these commands. Default 3,000.
    pub room_ms: u64,
    /// How long a client may take to receive one message before its socket is closed,
    /// milliseconds. Default 10,000.
    pub write_ms: u64,
    /// How long each socket waits at a shutdown for its commands in flight, milliseconds. Default
    /// 10,000.
    pub drain_ms: u64,
    /// How long ingest waits at its start for the log to answer, milliseconds. Default 30,000.
    pub start_ms: u64,
}

impl Default for Waits {
    fn default() -> Self {
        Self { acknowledgement_ms: 10_000, room_ms: 3_000, write_ms: 10_000, drain_ms: 10_000, start_ms: 30_000 }
    }
}

impl Waits {
    pub(crate) fn acknowledgement(&self) -> Duration {
        Duration::from_millis(self.acknowledgement_ms)
    }
    pub(crate) fn room(&self) -> Duration {
        Duration::from_millis(self.room_ms)
    }
    pub(crate) fn write(&self) -> Duration {
        Duration::from_millis(self.write_ms)
    }
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
    pub(crate) fn start(&self) -> Duration {
        Duration::from_millis(self.start_ms)
    }
}
