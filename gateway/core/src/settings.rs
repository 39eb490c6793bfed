//! The hub's settings, with their defaults.

use driftless_schemas::limits;
use serde::{Deserialize, Serialize};

/// How much the hub keeps, and when it sends what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Records of a chunk that are kept for `Refresh` and resume although a snapshot contains them.
    pub ring_kept: usize,
    /// (version, hash) pairs of the log that are kept per chunk.
    pub hashes_kept: usize,
    /// How long a client that is ahead of this gateway waits before its socket is closed,
    /// milliseconds (R12).
    pub behind_max_ms: u64,
    /// Approximate memory that the rings of all chunks may take, bytes. Evicted records are read
    /// from the log again when they are needed.
    pub rings_bytes_max: usize,
    /// How often a socket gets beacons, milliseconds. They are for chunks without an update for as
    /// long.
    pub beacon_interval_ms: u64,
    /// Bytes of beacons a second to one socket. At least one beacon is sent each time.
    pub beacon_bytes_per_second: u32,
    /// Bytes queued for one socket before its chunks are marked as lagging.
    pub socket_queue_bytes_max: usize,
    /// How long a replica without trackers is kept, milliseconds.
    pub idle_replica_ms: u64,
    /// How long to wait before a failed load is retried, milliseconds.
    pub load_retry_ms: u64,
    /// Shortest time between two audits of a chunk that differs from the log, milliseconds.
    pub audit_interval_ms: u64,
    /// Loads of one chunk that may fail in a row before waiting clients get an error.
    pub load_attempts_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ring_kept: 64,
            hashes_kept: 64,
            behind_max_ms: 5_000,
            rings_bytes_max: limits::RINGS_BYTES_MAX,
            beacon_interval_ms: 3_000,
            beacon_bytes_per_second: 1_024,
            socket_queue_bytes_max: limits::SOCKET_QUEUE_BYTES_MAX,
            idle_replica_ms: 30_000,
            audit_interval_ms: 5_000,
            load_retry_ms: 500,
            load_attempts_max: 10,
        }
    }
}
