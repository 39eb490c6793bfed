//! The expected content of the log: a reference that decides each command once, and a second
//! implementation of R4.

use driftless_chunk::live::LiveChunk;
use driftless_schemas::proto::{Mark, UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::StoredLedger;
use driftless_schemas::{Hash, Version};

/// A chunk's state after a decision.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChunkState {
    pub(super) version: Version,
    pub(super) hash: Hash,
    pub(super) ledger: StoredLedger,
}

/// The expected decisions of a chunk, and how many of them the log has.
pub(super) struct Reference {
    pub(super) live: LiveChunk,
    pub(super) marks: Vec<Mark>,
    /// The expected states: `states[i]` is the chunk's state after the first `i` marks.
    pub(super) states: Vec<ChunkState>,
    /// How many of `marks` the valid part of the log contains.
    pub(super) decided: usize,
}

impl Reference {
    pub(super) fn state_of(live: &mut LiveChunk) -> ChunkState {
        let (version, hash) = (live.replica.version(), live.replica.hash());
        ChunkState { version, hash, ledger: live.ledger.to_stored() }
    }

    /// The number of marks for commands at or below this offset of `commands`.
    pub(super) fn marks_through(&self, offset: i64) -> usize {
        self.marks.partition_point(|mark| mark.source_offset <= offset)
    }
}

/// A second implementation of R4, which the oracles use. It keeps the epoch and the number of the
/// last valid record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastValid {
    pub(super) epoch: u64,
    pub(super) n: u64,
}

impl LastValid {
    /// Judges the next record. Returns true if the record is valid.
    pub(super) fn accepts(&mut self, record: &UpdatesRecord) -> bool {
        let is_fence = matches!(record.body, Some(Body::Fence(_)));
        let is_valid = match is_fence {
            true => record.epoch > self.epoch,
            false => record.epoch == self.epoch && record.n == self.n + 1,
        };
        if is_valid {
            (self.epoch, self.n) = (record.epoch, record.n);
        }
        is_valid
    }
}
