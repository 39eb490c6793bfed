//! How an ingest process is set up.

use driftless_ingest_core::Policy;
use driftless_web::settings::Http;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Settings of ingest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How it is reached.
    pub http: Http,
    /// What it asks of clients.
    pub policy: Policy,
    /// How long it waits for what.
    pub waits: Waits,
}

/// How long ingest waits for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Waits {
    /// For the log to acknowledge a record; then it is given up without an answer (`message.timeout.ms`). Default 10,000 ms.
    pub acknowledgement_ms: u64,
    /// For room in the producer's queue; then what could not be handed over is rejected for later. Default 3,000 ms.
    pub room_ms: u64,
    /// For a client to take what is sent to it. Default 10,000 ms.
    pub write_ms: u64,
    /// At the end, for what is in flight. Default 10,000 ms.
    pub drain_ms: u64,
    /// At the start, for the log to answer. Default 30,000 ms.
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
