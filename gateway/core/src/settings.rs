//! The hub's settings, with their defaults.

use driftless_schemas::limits;
use serde::{Deserialize, Serialize};

/// Limits on what the hub keeps in memory, and the intervals of its periodic work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Number of newest records that a tracked chunk keeps in memory although a snapshot contains
    /// them. `Refresh` and resuming clients are answered from these records.
    pub ring_kept: usize,
    /// Number of newest (version, hash) pairs from the log that each chunk keeps. The hub compares
    /// the state of a resuming client with them.
    pub hashes_kept: usize,
    /// How long a client whose state is newer than this gateway's waits before its socket is
    /// closed, milliseconds (R12).
    pub behind_max_ms: u64,
    /// Limit on the approximate memory of all rings, bytes. A ring holds the recent records of one
    /// chunk. Evicted records are read from the log again when they are needed. Default: a share of
    /// `memory_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rings_bytes_max: Option<usize>,
    /// Limit on the approximate memory of all replicas, bytes. Above three quarters of it, replicas
    /// without trackers are dropped at once. A Track for which there is no room waits, and is
    /// rejected after some seconds. Default: a share of `memory_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas_bytes_max: Option<usize>,
    /// Limit on the bytes that are queued for all sockets together. Above it, sockets with more
    /// than a few KiB in their queue lag as if it were full (R9). Default: a share of `memory_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes_max: Option<usize>,
    /// Interval between the beacons for one socket, milliseconds. Only a chunk without a record in
    /// the last interval gets a beacon.
    pub beacon_interval_ms: u64,
    /// Limit on the bytes of beacons for one socket, per second. Each interval sends at least one
    /// beacon, even if that beacon exceeds the limit.
    pub beacon_bytes_per_second: u32,
    /// Limit on the bytes queued for one socket. The hub marks a chunk as lagging instead of
    /// sending updates that would exceed the limit (R9).
    pub socket_queue_bytes_max: usize,
    /// How long a replica without trackers is kept, milliseconds.
    pub idle_replica_ms: u64,
    /// How long to wait before a failed load is retried, milliseconds.
    pub load_retry_ms: u64,
    /// Shortest time between two audits of a chunk that differs from the log, milliseconds.
    pub audit_interval_ms: u64,
    /// Number of loads of one chunk that may fail in a row. After that many failures, the waiting
    /// clients get an error.
    pub load_attempts_max: u32,
    /// Longest pause before a degraded partition is opened again, milliseconds. The first pause is
    /// 1 s, and each failure doubles it.
    pub partition_retry_max_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ring_kept: 64,
            hashes_kept: 64,
            behind_max_ms: 5_000,
            rings_bytes_max: None,
            replicas_bytes_max: None,
            output_bytes_max: None,
            beacon_interval_ms: 3_000,
            beacon_bytes_per_second: 1_024,
            socket_queue_bytes_max: limits::SOCKET_QUEUE_BYTES_MAX,
            idle_replica_ms: 30_000,
            audit_interval_ms: 5_000,
            load_retry_ms: 500,
            load_attempts_max: 10,
            partition_retry_max_ms: 60_000,
        }
    }
}
