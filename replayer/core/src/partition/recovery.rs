//! Reading `updates` from the checkpoint's `updates_low` up to the own fence
//! (docs/design.md#ownership, step 3).
//!
//! The owner recognises its fence by the fence's owner text, which no other ownership uses. The
//! epoch would not do: if the index is older than the log, or if two stores have an index of the
//! partition each, then two ownerships use one epoch. R4 counts the fence that comes first. The
//! other ownership finds its own fence invalid, and ends before it writes anything else
//! (docs/decisions/0016).

use super::{PartitionCore, Phase};
use crate::guard::{Calls, RestoreError};
use crate::messages::{AcceptedLoss, End, OutOfRange, Output, Stream};
use crate::recovered::{Recovered, read_record};
use crate::working::Call;
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::replica::ApplyError;
use driftless_schemas::proto::{UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Epoch, HistoryId, Offset, Print, WorldId};

/// How far recovery has read `updates`, and the offset from which `commands` is read afterwards.
pub(super) struct Recovery {
    reading: Position,
    /// The highest position up to `reading` that may stand in a checkpoint
    /// ([`Position::may_follow`]).
    bound: Position,
    /// True if epoch and n at `reading` are unknown, because earlier records are lost. They are
    /// then taken from the next record.
    is_adopting: bool,
    /// True if the log is known to be this world's: the checkpoint describes a part of it, or a
    /// fence has named the world.
    is_log_known: bool,
    /// The history that the own fence begins.
    begun: Option<HistoryId>,
    /// The end of the log as the index knows it; `None` if it is not known, or if an operator has
    /// accepted that it is lost.
    end: Option<KnownEnd>,
    commands_from: Offset,
    /// The owner text of the own fence.
    owner: String,
    /// The newest offset of `commands` that any chunk has decided. Only the mutant
    /// [`Mutant::SkipByPartition`] uses it.
    decided_through: Offset,
}

/// The offset up to which an earlier owner has read the log.
#[derive(Clone, Copy, Debug)]
struct KnownEnd {
    offset: Offset,
    /// The print of the record just below the offset, if it is known.
    print: Option<Print>,
}

impl KnownEnd {
    fn of_checkpoint(checkpoint: &Checkpoint) -> Option<Self> {
        let Checkpoint { updates_end: offset, updates_print: print, .. } = *checkpoint;
        (offset > Offset(0) && !Mutant::ForgetTheEnd.is_on()).then_some(Self { offset, print })
    }
}

impl Recovery {
    /// Recovery begins at the checkpoint's position, or, after a loss, where the log begins now. In
    /// the second case the records below are lost, and so epoch and n are unknown.
    pub fn new(checkpoint: &Checkpoint, (loss, begun): (Option<AcceptedLoss>, Option<HistoryId>), owner: &str) -> Self {
        let start = Position::of_checkpoint(checkpoint);
        let commands_from = loss.and_then(|loss| loss.commands_from).unwrap_or(checkpoint.commands_next);
        let end = KnownEnd::of_checkpoint(checkpoint).filter(|_| loss.is_none());
        let owner = owner.to_owned();
        let from = loss.and_then(|loss| loss.updates_from);
        let reading = match from {
            None => start,
            Some(from) => Position { offset: from, history: start.history, ..Position::START },
        };
        // Before offset 0 there was no fence, so no record there needs to be taken on trust.
        let is_adopting = from.is_some_and(|from| from > Offset(0));
        let is_log_known = start.epoch > Epoch(0);
        let decided_through = Offset::NONE;
        let bound = reading;
        Self { reading, bound, begun, end, is_adopting, is_log_known, commands_from, owner, decided_through }
    }

    /// Compares the offset of the own fence with the next offset to read. If it is lower, the log
    /// ends before the offset at which recovery began: the fence itself has made the log long
    /// enough for the reader, which would wait for ever.
    pub fn passed_by(&self, fence: Option<Offset>) -> Option<OutOfRange> {
        is_short(self.reading.offset, fence?)
    }

    /// Compares the offset of the own fence with the end of the log as the index knows it. If it is
    /// lower, the log has lost its end.
    fn has_lost_its_end(&self, fence: Offset) -> Option<OutOfRange> {
        is_short(self.end?.offset, fence)
    }

    /// Compares a record with what the index knows of the end of the log.
    fn recognise(&self, offset: Offset, value: &Bytes) -> Result<(), End> {
        let Some(KnownEnd { print: Some(known), .. }) = self.end.filter(|end| end.offset == offset.next()) else {
            return Ok(());
        };
        // Only this one record is hashed.
        let found = Print::of(value);
        if found == known { Ok(()) } else { Err(End::AnotherLog { offset, found, known }) }
    }

    /// The next offset of `updates` to read.
    pub fn next(&self) -> Offset {
        self.reading.offset
    }

    /// True if chunks that recovery has folded are stored at once. Until they are, the checkpoint
    /// cannot pass the fence that begins the new history, and gateways wait for that.
    pub fn is_urgent(&self) -> bool {
        self.begun.is_some()
    }

    fn is_own_fence(&self, epoch: Epoch, record: &UpdatesRecord) -> bool {
        let is_own = |owner: &str| owner == self.owner || Mutant::OwnFenceByEpoch.is_on();
        record.epoch == epoch.0 && matches!(&record.body, Some(Body::Fence(fence)) if is_own(&fence.owner))
    }

    /// True if an earlier owner has decided a command at or above this offset, for any chunk.
    pub fn has_decided(&self, command: Offset) -> bool {
        command <= self.decided_through
    }
}

/// Describes how the log is too short for `wanted`, if the own fence stands below it.
fn is_short(wanted: Offset, fence: Offset) -> Option<OutOfRange> {
    let high = fence.next();
    (high <= wanted).then_some(OutOfRange { stream: Stream::Updates, wanted, low: Offset(0), high })
}

/// True if `commands` is another topic from this fence on.
fn takes_up_commands(fence: &UpdatesRecord) -> bool {
    matches!(&fence.body, Some(Body::Fence(fence)) if fence.commands_anew)
}

impl PartitionCore {
    pub(super) fn recover(&mut self, records: Vec<(Offset, Bytes)>, now: MonotonicMs) {
        for (offset, value) in records {
            if self.phase != Phase::Recovering {
                return;
            }
            if let Err(end) = self.recovery.recognise(offset, &value) {
                return self.end(end);
            }
            let record = match read_record(value.clone()) {
                Ok(record) => record,
                Err(reason) => return self.end(End::Unreadable { offset, reason }),
            };
            let Recovery { reading, bound, is_adopting, .. } = &mut self.recovery;
            if std::mem::take(is_adopting) && record.n > 0 {
                // The fence that would show whether this record is valid is lost. The record counts
                // as valid.
                *reading = reading.adopting(&record);
                *bound = *reading;
            }
            let before = Position { offset, ..*reading };
            let (epoch, bound_before) = (self.trail.epoch(), *bound);
            let validity = reading.judge(offset, &record);
            if reading.may_follow(&record) {
                *bound = *reading;
            }
            let (current, history) = (reading.epoch, reading.history);
            match validity {
                Validity::Fence if self.recovery.is_own_fence(epoch, &record) => {
                    if let Some(range) = self.recovery.has_lost_its_end(offset) {
                        return self.end(End::OutOfRange(range));
                    }
                    match self.recovery.begun.filter(|begun| *begun != history) {
                        None => self.begin_running(value),
                        Some(begun) => {
                            let (history, current) = (begun, history);
                            return self.end(End::HistoryTooOld { epoch, history, current });
                        }
                    }
                }
                Validity::Invalid if self.recovery.is_own_fence(epoch, &record) => {
                    return self.end(End::FenceInvalid { epoch, offset, current });
                }
                Validity::Fence => {
                    if let Err(end) = self.recognise_world(offset, &record) {
                        return self.end(end);
                    }
                    if takes_up_commands(&record) && history > before.history {
                        return self.end(End::IndexTooOld { offset });
                    }
                }
                Validity::Invalid => {}
                // The own fence cannot be valid any more. Reading goes on, because the own fence
                // shows the highest epoch, above which the next claim must be.
                Validity::Valid if current >= epoch => {}
                Validity::Valid => {
                    if let Err(end) = self.note_recovered(offset, bound_before, record, now) {
                        return self.end(end);
                    }
                }
            }
        }
    }

    /// Checks the first valid fence that names a world. If the index knows the log already, a fence
    /// of another world is no more than a foreign fence.
    fn recognise_world(&mut self, offset: Offset, record: &UpdatesRecord) -> Result<(), End> {
        let Some(Body::Fence(fence)) = &record.body else { return Ok(()) };
        let Some(found) = WorldId::from_slice(&fence.world_id) else { return Ok(()) };
        if !std::mem::replace(&mut self.recovery.is_log_known, true) && Some(found) != self.world.id() {
            return Err(End::AnotherWorld { offset, found, own: self.world.id_text() });
        }
        Ok(())
    }

    /// Notes a record that counts. `bound` is a position at or below it.
    fn note_recovered(
        &mut self,
        offset: Offset,
        bound: Position,
        record: UpdatesRecord,
        now: MonotonicMs,
    ) -> Result<(), End> {
        let unreadable = |reason| End::Unreadable { offset, reason };
        let Some((chunk, recovered)) = Recovered::read(record).map_err(unreadable)? else { return Ok(()) };
        if self.mending.is_none() {
            self.marks.note(offset, &chunk, &recovered)?;
        }
        let Recovery { decided_through, commands_from, .. } = &mut self.recovery;
        *decided_through = recovered.sources().last().unwrap_or(Offset::NONE).max(*decided_through);
        self.model_faults.discarded(recovered.model_faults().filter(|offset| *offset >= *commands_from));
        if matches!(recovered, Recovered::Stored(..)) && !self.chunks.contains(&chunk) {
            // A notice of a stored snapshot contains nothing to fold, so it is no reason to load
            // the chunk.
            return Ok(());
        }
        let place = self.world.place(&chunk).map_err(|e| unreadable(e.to_string()))?;
        self.use_slot(&chunk, place);
        match self.chunks.loading_mut(&chunk) {
            Some((_, loading)) => {
                loading.bound.get_or_insert(bound);
                loading.recovered.push(recovered);
                self.chunks.mark_unstored(&chunk);
            }
            // The chunk's state arrived while the log was still being read.
            None => self.fold_into_resident(&chunk, bound, recovered, now),
        }
        Ok(())
    }

    fn fold_into_resident(&mut self, chunk: &ChunkId, bound: Position, recovered: Recovered, now: MonotonicMs) {
        let accept_loss = self.settings.accept_loss;
        let Some(resident) = self.chunks.resident_mut(chunk) else { return };
        let (decisions_before, lost_before) = (resident.folded.decisions, resident.folded.lost);
        let folded = &mut resident.folded;
        let result = resident.live.run(Calls::of(&self.working, chunk), Call::Restore, |live| {
            folded.fold(live, std::slice::from_ref(&recovered), accept_loss)?;
            live.replica.hash();
            Ok::<(), ApplyError>(())
        });
        resident.recovered.push(recovered);
        if let Err(e) = result.map_err(RestoreError::from).and_then(|folded| folded.map_err(RestoreError::from)) {
            self.chunks.load_again(chunk, bound);
            return self.load_failed(chunk, e.to_string(), now);
        }
        let (news, lost) = (resident.folded.decisions - decisions_before, resident.folded.lost - lost_before);
        if news > 0 {
            resident.mark_dirty(bound, now, news);
            resident.is_urgent |= self.recovery.is_urgent();
            self.chunks.mark_unstored(chunk);
        }
        if lost > 0 {
            self.declare_loss(chunk, now);
        }
        self.compare_with_published(chunk);
    }

    fn begin_running(&mut self, fence: Bytes) {
        self.chunks.forget_recovered();
        self.trail.anchor(self.recovery.reading, fence);
        self.phase = Phase::Running;
        if let Some(chunks) = &self.mending {
            let placed = chunks.iter().filter_map(|chunk| Some((chunk.clone(), self.world.place(chunk).ok()?)));
            for (chunk, place) in placed.collect::<Vec<_>>() {
                self.use_slot(&chunk, place);
            }
            return;
        }
        self.outputs.push_back(Output::ReadCommands(self.recovery.commands_from));
        self.prove_marks(self.recovery.commands_from);
    }
}
