//! The settings of a partition's core, with their defaults.

use serde::{Deserialize, Serialize};

/// When snapshots and checkpoints are made, and how much is held in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A dirty chunk is stored after this many decisions.
    pub snapshot_every: u64,
    /// A dirty chunk is stored when its oldest unstored decision is this old, milliseconds.
    pub snapshot_max_age_ms: u64,
    /// The shortest time between two snapshots of one chunk, unless the chunk is urgent,
    /// milliseconds.
    pub snapshot_min_interval_ms: u64,
    /// The most snapshots that are being written to the object store at a time.
    pub snapshots_in_flight_max: usize,
    /// The time between two checkpoints while anything changes, milliseconds.
    pub checkpoint_interval_ms: u64,
    /// The limit for the estimated memory of all chunks, bytes. Above it, the least recently used
    /// clean chunks are dropped, and commands wait in the log. From three quarters of it on, chunks
    /// are stored before they are due. Each partition also has at most its share of `memory_max`.
    /// Default: only that share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks_bytes_max: Option<usize>,
    /// The owner takes no more commands while this many wait for a chunk to load, or for the log to
    /// acknowledge their decision.
    pub commands_in_flight_max: usize,
    /// The most commands that are kept for one chunk that cannot be loaded. Commands above this
    /// limit are read again when the chunk can be loaded.
    pub waiting_per_chunk_max: usize,
    /// If true, the operator accepts the loss of records that retention has deleted, and the owner
    /// goes on without them. If false, an owner that needs such a record ends.
    pub accept_loss: bool,
    /// The pause before a failed load is tried again, milliseconds. The pause doubles with each
    /// failure, up to 64 times this value.
    pub load_retry_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            snapshot_every: 1024,
            snapshot_max_age_ms: 300_000,
            snapshot_min_interval_ms: 10_000,
            snapshots_in_flight_max: 32,
            checkpoint_interval_ms: 3_000,
            chunks_bytes_max: None,
            commands_in_flight_max: 65_536,
            waiting_per_chunk_max: 4_096,
            accept_loss: false,
            load_retry_ms: 1_000,
        }
    }
}

impl Settings {
    /// The settings of `driftless dev`: snapshots are stored soon enough for a developer to see
    /// them.
    #[must_use]
    pub fn dev() -> Self {
        Self { snapshot_max_age_ms: 30_000, ..Self::default() }
    }
}
