//! Keeps the newest checkpoint of an ownership, and allows only one to be written at a time (R6).

use driftless_schemas::ChunkId;
use driftless_schemas::stored::{Checkpoint, IndexEntry};
use driftless_schemas::time::MonotonicMs;

/// The checkpoints of one ownership.
pub(crate) struct Checkpoints {
    /// The newest checkpoint, which is durable or being written.
    newest: Checkpoint,
    newest_at: MonotonicMs,
    /// The chunks whose refs are written with the current checkpoint; `None` if none is being
    /// written.
    writing: Option<Vec<ChunkId>>,
}

impl Checkpoints {
    pub fn new(stored: Checkpoint, now: MonotonicMs) -> Self {
        Self { newest: stored, newest_at: now, writing: None }
    }

    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// True if the newest checkpoint is at least `interval_ms` old.
    pub fn is_due(&self, interval_ms: u64, now: MonotonicMs) -> bool {
        now.ms_since(self.newest_at) >= interval_ms
    }

    /// Notes that this checkpoint is being written. Returns false if it must not be written,
    /// because it is equal to the newest one, there are no entries, and `is_proof_wanted` is false:
    /// the owner wants no proof that the index still accepts its writes.
    pub fn begin(
        &mut self,
        checkpoint: Checkpoint,
        entries: &[(ChunkId, IndexEntry)],
        is_proof_wanted: bool,
        now: MonotonicMs,
    ) -> bool {
        if entries.is_empty() && checkpoint == self.newest && !is_proof_wanted {
            return false;
        }
        self.newest = checkpoint;
        self.newest_at = now;
        self.writing = Some(entries.iter().map(|(chunk, _)| chunk.clone()).collect());
        true
    }

    /// Notes that the checkpoint is durable. Returns the chunks whose refs were written with it.
    pub fn written(&mut self, now: MonotonicMs) -> Vec<ChunkId> {
        self.newest_at = now;
        self.writing.take().unwrap_or_default()
    }
}
