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
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Epoch, Offset, WorldId};

/// How far recovery has read `updates`, and the offset from which `commands` is read afterwards.
pub(super) struct Recovery {
    reading: Position,
    /// True if epoch and n at `reading` are unknown, because earlier records are lost. They are
    /// then taken from the next record.
    is_adopting: bool,
    /// True if the log is known to be this world's: the checkpoint describes a part of it, or a
    /// fence has named the world.
    is_log_known: bool,
    /// The loss that this ownership accepts.
    loss: Option<AcceptedLoss>,
    commands_from: Offset,
    /// The owner text of the own fence.
    owner: String,
    /// The newest offset of `commands` that any chunk has decided. Only the mutant
    /// [`Mutant::SkipByPartition`] uses it.
    decided_through: Offset,
}

impl Recovery {
    /// Recovery begins at `start`, or, after a loss, where the log begins now. In the second case
    /// the records below are lost, and so epoch and n are unknown.
    pub fn new(start: Position, loss: Option<AcceptedLoss>, commands_from: Offset, owner: &str) -> Self {
        let owner = owner.to_owned();
        let from = loss.and_then(|loss| loss.updates_from);
        let reading = match from {
            None => start,
            Some(from) => Position { offset: from, history: start.history, ..Position::START },
        };
        let (is_adopting, is_log_known) = (from.is_some(), start.epoch > Epoch(0));
        Self { reading, loss, is_adopting, is_log_known, commands_from, owner, decided_through: Offset::NONE }
    }

    /// Compares the offset of the own fence with the next offset to read. If it is lower, the log
    /// ends before the offset at which recovery began: the fence itself has made the log long
    /// enough for the reader, which would wait for ever.
    pub fn passed_by(&self, fence: Option<Offset>) -> Option<OutOfRange> {
        let (wanted, high) = (self.reading.offset, fence?.next());
        (high <= wanted).then_some(OutOfRange { stream: Stream::Updates, wanted, low: Offset(0), high })
    }

    /// The next offset of `updates` to read.
    pub fn next(&self) -> Offset {
        self.reading.offset
    }

    /// True if chunks that recovery has folded are stored at once. Until they are, the checkpoint
    /// cannot pass the fence that begins the new history, and gateways wait for that.
    pub fn is_urgent(&self) -> bool {
        self.loss.is_some()
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
            let record = match read_record(value) {
                Ok(record) => record,
                Err(reason) => return self.end(End::Unreadable { offset, reason }),
            };
            let Recovery { reading, is_adopting, .. } = &mut self.recovery;
            if std::mem::take(is_adopting) && record.n > 0 {
                // The fence that would show whether this record is valid is lost. The record counts
                // as valid.
                *reading = Position { epoch: Epoch(record.epoch), n: record.n - 1, ..*reading };
            }
            let before = Position { offset, ..*reading };
            let epoch = self.trail.epoch();
            let validity = reading.judge(offset, &record);
            let (current, history) = (reading.epoch, reading.history);
            match validity {
                Validity::Fence if self.recovery.is_own_fence(epoch, &record) => {
                    match self.recovery.loss.filter(|loss| loss.history != history) {
                        None => self.begin_running(),
                        Some(loss) => {
                            let (history, current) = (loss.history, history);
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
                    if let Err(end) = self.note_recovered(before, record, now) {
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

    fn note_recovered(&mut self, before: Position, record: UpdatesRecord, now: MonotonicMs) -> Result<(), End> {
        let offset = before.offset;
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
                loading.bound.get_or_insert(before);
                loading.recovered.push(recovered);
                self.chunks.mark_unstored(&chunk);
            }
            // The chunk's state arrived while the log was still being read.
            None => self.fold_into_resident(&chunk, before, recovered, now),
        }
        Ok(())
    }

    fn fold_into_resident(&mut self, chunk: &ChunkId, before: Position, recovered: Recovered, now: MonotonicMs) {
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
            self.chunks.load_again(chunk, before);
            return self.load_failed(chunk, e.to_string(), now);
        }
        let (news, lost) = (resident.folded.decisions - decisions_before, resident.folded.lost - lost_before);
        if news > 0 {
            resident.mark_dirty(before, now, news);
            resident.is_urgent |= self.recovery.is_urgent();
            self.chunks.mark_unstored(chunk);
        }
        if lost > 0 {
            self.declare_loss(chunk, now);
        }
        self.compare_with_published(chunk);
    }

    fn begin_running(&mut self) {
        self.chunks.forget_recovered();
        self.trail.anchor(self.recovery.reading);
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
