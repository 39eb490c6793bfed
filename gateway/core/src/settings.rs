//! The settings of a hub, with their defaults.

use driftless_schemas::limits;
use serde::{Deserialize, Serialize};

/// How much is kept, and when what is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Records of a chunk that are kept for `Refresh` and resume although a snapshot contains them.
    pub ring_kept: usize,
    /// (version, hash) pairs of the log that are remembered per chunk.
    pub hashes_kept: usize,
    /// A client that is ahead of this gateway waits this long before its socket is closed, milliseconds (R12).
    pub behind_max_ms: u64,
    /// What the rings of all chunks may take together, bytes, about. What does not fit is read again from the log when it is
    /// needed.
    pub rings_bytes_max: usize,
    /// Beacons go out to a socket this often, milliseconds: for chunks that had no update for as long.
    pub beacon_interval_ms: u64,
    /// What beacons may take of one socket, bytes a second; one beacon goes out each time whatever it takes.
    pub beacon_bytes_per_second: u32,
    /// Bytes that wait for one socket before its chunks are marked as lagging.
    pub socket_queue_bytes_max: usize,
    /// A replica without trackers is kept this long, milliseconds.
    pub idle_replica_ms: u64,
    /// How long a failed load waits before it is tried again, milliseconds.
    pub load_retry_ms: u64,
    /// The owner of a chunk that cannot be brought in line with the log is asked at most this often, milliseconds.
    pub audit_interval_ms: u64,
    /// Loads of one chunk that fail in a row before those who wait are told.
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
