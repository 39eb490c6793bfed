//! Rule R4, which says which records of `updates` count. All readers use this module.
//!
//! A fence is valid iff its epoch is greater than the current epoch. A valid fence makes its epoch
//! the current one. Any other record is valid iff its epoch is the current one and its number n is
//! the last valid n plus 1. So a reader that begins in the middle of the log must know the current
//! epoch and the last valid n there. A valid fence may also begin a new history of the partition
//! (docs/decisions/0018), so the reader must know the current history as well.

use crate::mutant::Mutant;
use bytes::Bytes;
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{Epoch, HistoryId, Offset, format, proto};

/// A position in one partition of `updates`: all records below `offset` are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The next offset to read.
    pub offset: Offset,
    /// The current epoch.
    pub epoch: Epoch,
    /// The number of the last valid record of the current epoch; 0 after a fence.
    pub n: u64,
    /// The history of the partition: that of the last valid fence which began one.
    pub history: HistoryId,
}

/// The verdict of R4 on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// A valid fence: a new owner begins.
    Fence,
    /// A valid record that is no fence. Readers use it.
    Valid,
    /// A replaced owner wrote the record, or an earlier record of its epoch is missing. Readers
    /// skip the record.
    Invalid,
}

impl Position {
    /// The position at the start of the log.
    pub const START: Position = Position { offset: Offset(0), epoch: Epoch(0), n: 0, history: HistoryId::FIRST };

    /// The position at which a reader begins according to a checkpoint.
    #[must_use]
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Self {
        if Mutant::StartWithoutEpoch.is_on() {
            return Self { offset: checkpoint.updates_low, ..Self::START };
        }
        let Checkpoint { updates_low, updates_low_epoch, updates_low_n, history, .. } = *checkpoint;
        Self { offset: updates_low, epoch: updates_low_epoch, n: updates_low_n, history }
    }

    /// The position with an epoch and an n under which the record behind it counts. The beginning
    /// of the log is lost, and with it the fence that would show whether the record is valid.
    #[must_use]
    pub fn adopting(self, record: &proto::UpdatesRecord) -> Self {
        match record.n.checked_sub(1) {
            Some(n) => Self { epoch: Epoch(record.epoch), n, ..self },
            None => self,
        }
    }

    /// Compares the position with a record that stands below it. Returns how they contradict each
    /// other: an owner's record with a later epoch cannot stand there, so the log is not the one in
    /// which the position was noted. A record that cannot be decoded contradicts nothing.
    #[must_use]
    pub fn contradiction(&self, value: Bytes) -> Option<String> {
        let record: proto::UpdatesRecord = format::decode("UpdatesRecord", value).ok()?;
        (record.epoch > self.epoch.0)
            .then(|| format!("the epoch of the record is {}, although epoch {} follows it", record.epoch, self.epoch))
    }

    /// Whether a checkpoint may name this position, if the record stands just below it. The next
    /// reader would find a [`contradiction`](Self::contradiction) behind a foreign record of a
    /// later epoch, although no reader counts such a record.
    #[must_use]
    pub fn may_follow(&self, record: &proto::UpdatesRecord) -> bool {
        record.epoch <= self.epoch.0
    }

    /// Judges the record at `offset`, and advances the position past that record. Records must come
    /// in the order of their offsets.
    pub fn judge(&mut self, offset: Offset, record: &proto::UpdatesRecord) -> Validity {
        self.offset = offset.next();
        if let Some(proto::updates_record::Body::Fence(fence)) = &record.body {
            if record.epoch <= self.epoch.0 || record.n != 0 {
                return Validity::Invalid;
            }
            self.epoch = Epoch(record.epoch);
            self.n = 0;
            // A fence with an id that is not above the current one begins nothing: histories of a
            // partition only rise.
            let begun = HistoryId::from_field(&fence.history).unwrap_or_default();
            self.history = begun.max(self.history);
            return Validity::Fence;
        }
        // Epoch 0 means "no owner yet", so no record may carry it.
        let is_owners = record.epoch == self.epoch.0 || (Mutant::CountZombies.is_on() && record.epoch < self.epoch.0);
        let is_next = Some(record.n) == self.n.checked_add(1)
            || (Mutant::AcceptGaps.is_on() && record.n > self.n)
            || (Mutant::CountZombies.is_on() && record.epoch < self.epoch.0);
        if record.epoch == 0 || !is_owners || !is_next {
            return Validity::Invalid;
        }
        if record.epoch < self.epoch.0 {
            // Only a mutant reaches this.
            return Validity::Valid;
        }
        self.n = record.n;
        Validity::Valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_schemas::proto::{Decisions, Fence, UpdatesRecord, updates_record::Body};

    fn run(records: &[(u64, Option<u64>)]) -> Vec<Validity> {
        let mut position = Position::START;
        let judged = records.iter().enumerate().map(|(i, (epoch, n))| {
            let body = match n {
                None => Body::Fence(Fence::default()),
                Some(_) => Body::Decisions(Decisions::default()),
            };
            let record = UpdatesRecord { epoch: *epoch, n: n.unwrap_or(0), body: Some(body) };
            position.judge(Offset(i as i64), &record)
        });
        judged.collect()
    }

    #[test]
    fn r4_a_fenced_owner_counts_for_nobody() {
        use Validity::{Fence, Invalid, Valid};
        let log = [(1, None), (1, Some(1)), (2, None), (1, Some(2)), (2, Some(1)), (1, None), (2, Some(2))];
        assert_eq!(run(&log), [Fence, Valid, Fence, Invalid, Valid, Invalid, Valid]);
    }

    #[test]
    fn r4_nobody_counts_what_comes_after_a_hole() {
        use Validity::{Fence, Invalid, Valid};
        let log =
            [(1, None), (1, Some(1)), (1, Some(3)), (1, Some(4)), (1, Some(2)), (1, Some(2)), (2, None), (2, Some(1))];
        assert_eq!(run(&log), [Fence, Valid, Invalid, Invalid, Valid, Invalid, Fence, Valid]);
    }

    #[test]
    fn a_valid_fence_begins_a_history_and_no_history_comes_back() {
        let history = |time_ms| HistoryId::new(time_ms, [1; 10], HistoryId::FIRST);
        let mut position = Position::START;
        let mut judge = |epoch, begun: Option<HistoryId>| {
            let fence = Fence { history: begun.map(HistoryId::to_field).unwrap_or_default(), ..Fence::default() };
            let record = UpdatesRecord { epoch, n: 0, body: Some(Body::Fence(fence)) };
            let offset = position.offset;
            position.judge(offset, &record);
            position.history
        };
        assert_eq!(judge(1, None), HistoryId::FIRST);
        assert_eq!(judge(2, Some(history(7))), history(7));
        assert_eq!(judge(3, None), history(7), "a fence without a history goes on with the current one");
        assert_eq!(judge(3, Some(history(9))), history(7), "the fence is invalid");
        assert_eq!(judge(4, Some(history(5))), history(7), "the history is older than the current one");
        assert_eq!(judge(5, Some(history(9))), history(9));
    }

    #[test]
    fn r4_without_a_fence_nothing_counts() {
        assert_eq!(run(&[(1, Some(1)), (0, Some(1))]), [Validity::Invalid, Validity::Invalid]);
    }
}
