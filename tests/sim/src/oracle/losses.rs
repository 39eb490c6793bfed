//! Topics that have lost records, and the histories that begin with the next fence of an operator
//! (docs/decisions/0018).
//!
//! Between the loss and that fence, no owner may decide. With the fence, the oracle's knowledge
//! goes back to what the refs in the index and the rest of the log say.

use super::{ChunkTruth, Oracle, PartitionTruth};
use crate::violation::{Verdict, hold};
use bytes::Bytes;
use driftless_schemas::proto::{Fence, UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{ChunkId, HistoryId, Offset};
use std::collections::BTreeMap;

/// The losses of a partition, and its histories.
#[derive(Default)]
pub(super) struct Losses {
    /// True if `updates` has lost records and no history has begun since.
    updates: bool,
    /// True if `commands` is another topic and no history has begun since.
    commands: bool,
    history: HistoryId,
    /// The offset behind the newest fence that began a history.
    history_from: i64,
    /// The records of another topic of `commands` that belong to no chunk.
    foreign_anew: Vec<i64>,
    /// How many dead letters there were when another topic of `commands` was taken up.
    letters_from: usize,
}

impl Losses {
    /// R4: checks that no owner uses a log that has lost records.
    pub(super) fn check(&self, p: usize, offset: i64, record: &UpdatesRecord) -> Verdict {
        let is_used = self.updates && !matches!(record.body, Some(Body::Fence(_)));
        hold(!is_used, "R4", || {
            format!(
                "updates {p}:{offset}: an owner uses a log that has lost records, and no operator has accepted that"
            )
        })
    }

    /// True if `commands` is another topic and no history has begun since.
    pub(super) fn is_of_commands(&self) -> bool {
        self.commands
    }

    /// The number of dead letters that belong to an older topic of `commands`.
    pub(super) fn letters_from(&self) -> usize {
        self.letters_from
    }

    /// True if the index has forgotten the offsets of an old topic, and the log does not say so
    /// yet.
    pub(super) fn is_forgetting(&self, checkpoint: &Checkpoint) -> bool {
        self.commands && checkpoint.commands_anew
    }
}

impl PartitionTruth {
    /// The records of the newest topic of `commands` that belong to no chunk.
    pub(super) fn foreign_commands(&mut self) -> &mut Vec<i64> {
        if self.losses.commands { &mut self.losses.foreign_anew } else { &mut self.foreign }
    }
}

impl Oracle {
    /// True if a partition has lost records, and no history has begun since.
    #[must_use]
    pub fn is_lost(&self, p: usize) -> bool {
        let losses = &self.partitions[p].losses;
        losses.updates || losses.commands
    }

    /// The present history of a chunk's partition, as `Tracked` names it.
    #[must_use]
    pub fn history(&self, chunk: &ChunkTruth) -> Bytes {
        self.partitions[chunk.partition].losses.history.to_field()
    }

    /// True if a valid record of the present history is lost when `updates` loses its records from
    /// `end` on.
    #[must_use]
    pub fn loses_by(&self, p: usize, end: Offset) -> bool {
        let partition = &self.partitions[p];
        let is_of_history = end.0 == 0 || end.0 > partition.losses.history_from;
        is_of_history && partition.standing.get(end.0 as usize) != partition.standing.last()
    }

    /// Notes that `updates` has lost its records from `end` on.
    pub fn updates_lost(&mut self, p: usize, end: Offset) {
        let partition = &mut self.partitions[p];
        partition.losses.updates = true;
        partition.judged = end.0;
        partition.standing.truncate(end.0 as usize + 1);
        partition.decisions.retain(|(offset, ..)| *offset < end.0);
        partition.covered = partition.covered.min(partition.decisions.len());
        partition.seen_n.clear();
    }

    /// True if the record of `commands` at this offset belongs to a chunk. Other records are not
    /// unique, so no log can be recognised by them.
    #[must_use]
    pub fn is_command(&self, p: usize, offset: i64) -> bool {
        offset >= 0 && !self.partitions[p].foreign.contains(&offset)
    }

    /// Notes that `commands` was made anew. Owners may still decide commands of the old topic that
    /// they have read.
    pub fn commands_lost(&mut self, p: usize) {
        let partition = &mut self.partitions[p];
        partition.losses.commands = true;
        partition.read_commands = 0;
    }

    /// Notes a valid fence.
    pub(super) fn fenced(&mut self, p: usize, offset: i64, fence: &Fence, letters: usize) {
        let begun = HistoryId::from_field(&fence.history).unwrap_or_default();
        let partition = &mut self.partitions[p];
        if begun <= partition.losses.history {
            return;
        }
        let losses = &mut partition.losses;
        (losses.history, losses.history_from) = (begun, offset + 1);
        let is_back = std::mem::take(&mut losses.updates);
        // A fence may say again what an earlier one has said, if that one is lost.
        let is_anew = fence.commands_anew && std::mem::take(&mut losses.commands);
        if is_anew {
            losses.letters_from = letters;
            partition.foreign = std::mem::take(&mut losses.foreign_anew);
        }
        let left: BTreeMap<ChunkId, i64> =
            partition.decisions.iter().map(|(_, chunk, through)| (chunk.clone(), *through)).collect();
        if is_anew {
            partition.decisions.clear();
            partition.covered = 0;
        }
        for (id, truth) in self.chunks.iter_mut().filter(|(_, truth)| truth.partition == p) {
            if is_back {
                let left = left.get(id).copied().unwrap_or(-1);
                truth.go_back(id, left.max(truth.stored_through));
            }
            if is_anew {
                truth.forget_offsets();
            }
        }
    }
}
