//! The settings of an ingest process.

use driftless_ingest_core::Policy;
use driftless_log::QueueLimits;
use driftless_runtime::memory;
use driftless_runtime_core::memory::{Division, Part, TooSmall, divide};
use driftless_web::settings::Http;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Settings of ingest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The anonymous memory that this process may take, bytes. 0: 80 % of the container's limit, or
    /// 15 % of the machine's memory.
    pub memory_max: usize,
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

impl Settings {
    /// Divides the memory of this process.
    ///
    /// # Errors
    /// [`TooSmall`] if `memory_max` does not hold what the process needs.
    pub fn memory(&self) -> Result<Division, TooSmall> {
        let max = memory::max_or_default(self.memory_max, 15);
        divide(
            max,
            &[
                memory::PROGRAM,
                memory::allocator(max),
                Part::share("producer", 45, 8 * memory::MIB).at_most(512 * memory::MIB),
                Part::share("input", 15, 4 * memory::MIB),
                Part::share("output", 10, 4 * memory::MIB),
                Part::share("connections", 30, 8 * memory::MIB),
            ],
        )
    }

    /// The limits on the records in the producer's queue that fit into its part of the memory.
    /// A record is held twice: by the queue, and by the log's client.
    #[must_use]
    pub fn queue(memory: &Division) -> QueueLimits {
        let bytes = memory.of("producer");
        QueueLimits::within(bytes, bytes / 4)
    }
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
