//! Which checkpoint was written last, and which one is being written: one at a time (R6).

use driftless_schemas::ChunkId;
use driftless_schemas::stored::{Checkpoint, IndexEntry};
use driftless_schemas::time::MonotonicMs;

/// The checkpoints of one ownership.
pub(crate) struct Checkpoints {
    newest: Checkpoint,
    newest_at: MonotonicMs,
    /// The chunks whose refs go with the checkpoint that is being written.
    writing: Option<Vec<ChunkId>>,
}

impl Checkpoints {
    pub fn new(stored: Checkpoint, now: MonotonicMs) -> Self {
        Self { newest: stored, newest_at: now, writing: None }
    }

    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether the newest checkpoint is older than `interval_ms`.
    pub fn is_due(&self, interval_ms: u64, now: MonotonicMs) -> bool {
        now.ms_since(self.newest_at) >= interval_ms
    }

    /// Notes that this checkpoint is being written; false if it says nothing new.
    pub fn begin(&mut self, checkpoint: Checkpoint, entries: &[(ChunkId, IndexEntry)], now: MonotonicMs) -> bool {
        if entries.is_empty() && checkpoint == self.newest {
            return false;
        }
        self.newest = checkpoint;
        self.newest_at = now;
        self.writing = Some(entries.iter().map(|(chunk, _)| chunk.clone()).collect());
        true
    }

    /// The checkpoint is durable; gives the chunks whose refs went with it.
    pub fn written(&mut self, now: MonotonicMs) -> Vec<ChunkId> {
        self.newest_at = now;
        self.writing.take().unwrap_or_default()
    }
}
