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
    /// Time limits.
    pub waits: Waits,
}

/// The time limits of ingest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Waits {
    /// How long ingest waits for the log to acknowledge a record, before it gives up without an
    /// answer to the client (`message.timeout.ms`). Default 10,000 ms.
    pub acknowledgement_ms: u64,
    /// How long ingest waits for room in the producer's queue, before it rejects the commands that
    /// had none; their clients may retry. Default 3,000 ms.
    pub room_ms: u64,
    /// How long a client may take for one message that is sent to it. Default 10,000 ms.
    pub write_ms: u64,
    /// How long ingest waits at a shutdown for the commands in flight. Default 10,000 ms.
    pub drain_ms: u64,
    /// How long ingest waits at the start for the log to answer. Default 30,000 ms.
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
