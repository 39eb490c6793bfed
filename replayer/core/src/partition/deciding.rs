//! Makes decisions of commands (R2, R8), and gathers the decisions of one poll into one record per
//! chunk (R3).

use super::PartitionCore;
use crate::commands::{self, Ask};
use crate::guard::Calls;
use crate::messages::{End, Output, Stats};
use crate::outbox::Open;
use crate::progress::{self, BatchId, BatchPart, Progress};
use crate::resident::Resident;
use crate::slots::{State, Waiting};
use crate::working::Call;
use bytes::Bytes;
use driftless_chunk::live::{Asked, AskedBody};
use driftless_chunk::mutant::Mutant;
use driftless_chunk::world::Place;
use driftless_schemas::proto::{mark::Outcome, updates_record::Body};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Offset, Partition, Print, Version, limits};

const MODEL_FAULT: &str = "the model failed on it";

impl PartitionCore {
    pub(super) fn take_commands(&mut self, records: Vec<(Offset, Bytes)>, now: MonotonicMs) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        if !self.is_running() {
            return;
        }
        self.see_commands(last.0.next());
        let next = progress::Place { offset: last.0.next(), print: Some(Print::of(&last.1)) };
        let batch = self.progress.begin(first.0, next, records.len());
        let mut touched = Vec::new();
        for (offset, value) in records {
            if Mutant::SkipByPartition.is_on() && self.recovery.has_decided(offset) {
                self.progress.done(BatchPart::one(batch));
                continue;
            }
            match commands::read(&self.world, self.partition, offset, &value) {
                Err(reason) => {
                    self.dead_letter(offset, value, reason, batch, None);
                    self.progress.done(BatchPart::one(batch));
                }
                Ok(placed) => match placed.ask {
                    Ask::Audit(audit) => {
                        self.stats.audits += 1;
                        self.use_slot(&placed.chunk, placed.place);
                        self.want_check(&placed.chunk, Version(audit.version), Some(BatchPart::one(batch)));
                    }
                    Ask::Command(mut asked) => {
                        self.heed_model_faults(&mut asked, &value, batch);
                        self.take_command(placed.chunk, placed.place, asked, (batch, value), &mut touched, now);
                    }
                },
            }
        }
        for chunk in touched {
            self.seal(&chunk, now);
        }
    }

    /// Copies a command to `dead-letter` that cannot be decoded, or on which the model is known to
    /// fail. A command from which a model never returned is marked, so that the model is not asked
    /// again.
    fn heed_model_faults(&mut self, asked: &mut Asked, value: &Bytes, batch: BatchId) {
        if self.model_faults.is_unanswered(asked.offset) {
            asked.body = AskedBody::Unanswered;
        }
        if let AskedBody::Undecodable(reason) = &asked.body {
            self.dead_letter(asked.offset, value.clone(), reason.clone(), batch, None);
        }
        if self.model_faults.take_discarded(asked.offset) {
            self.dead_letter(asked.offset, value.clone(), MODEL_FAULT.into(), batch, None);
        }
    }

    fn take_command(
        &mut self,
        chunk: ChunkId,
        place: Place,
        asked: Asked,
        (batch, value): (BatchId, Bytes),
        touched: &mut Vec<ChunkId>,
        now: MonotonicMs,
    ) {
        self.use_slot(&chunk, place);
        let Some(slot) = self.chunks.slot_mut(&chunk) else { return };
        let State::Live(resident) = &mut slot.state else {
            let per_chunk = self.settings.waiting_per_chunk_max;
            let all = (self.settings.commands_in_flight_max, self.chunks_bytes_max);
            return self.chunks.enqueue(&chunk, Waiting { asked, value, batch }, per_chunk, all);
        };
        let was_empty = resident.open.is_empty();
        let calls = Calls::of(&self.working, &chunk);
        let is_fault = decide(&mut self.stats, &mut self.progress, resident, calls, self.partition, &asked, batch);
        let (is_empty, is_full) = (resident.open.is_empty(), resident.open.is_full());
        if is_fault {
            self.dead_letter(asked.offset, value, MODEL_FAULT.into(), batch, Some(&chunk));
        }
        if is_full {
            self.seal(&chunk, now);
            touched.retain(|other| *other != chunk);
        } else if was_empty && !is_empty {
            touched.push(chunk);
        }
    }

    /// Decides the commands that waited for a chunk, in order.
    pub(super) fn decide_waiting(&mut self, chunk: &ChunkId, waiting: Vec<Waiting>, now: MonotonicMs) {
        for Waiting { asked, value, batch } in waiting {
            let Some((_, resident)) = self.chunks.live_mut(chunk) else { return };
            let calls = Calls::of(&self.working, chunk);
            let is_fault = decide(&mut self.stats, &mut self.progress, resident, calls, self.partition, &asked, batch);
            let is_full = resident.open.is_full();
            if is_fault {
                self.dead_letter(asked.offset, value, MODEL_FAULT.into(), batch, Some(chunk));
            }
            if is_full {
                self.seal(chunk, now);
            }
        }
        self.seal(chunk, now);
    }

    /// Copies a record to `dead-letter` (R9). The record's batch stays open until the copy is
    /// acknowledged. If `chunk` has decided the command, that chunk is not stored before the copy
    /// is acknowledged either.
    fn dead_letter(&mut self, offset: Offset, value: Bytes, reason: String, batch: BatchId, chunk: Option<&ChunkId>) {
        self.stats.dead_letters += 1;
        self.progress.hold(batch);
        let id = self.dead_letters.begin(BatchPart::one(batch), chunk);
        self.outputs.push_back(Output::DeadLetter { id, offset, value, reason });
    }

    /// Publishes the decisions for a chunk that are not in a record yet.
    fn seal(&mut self, chunk: &ChunkId, now: MonotonicMs) {
        let bound = self.trail.bound();
        let Some((place, resident)) = self.chunks.live_mut(chunk) else { return };
        if resident.open.is_empty() {
            return;
        }
        let open: Open = std::mem::take(&mut resident.open);
        resident.mark_dirty(bound, now, open.count());
        let calls = Calls::of(&self.working, chunk);
        let sealed = match resident.live.run(calls, Call::Encode, |live| open.seal(chunk, live)) {
            // A content above this limit could be neither stored nor loaded.
            Ok(sealed) if sealed.content_bytes <= limits::CONTENT_BYTES_MAX => sealed,
            // Which command made the model fail is not known. So none of these decisions is
            // published.
            _ => return self.end_by_model(chunk),
        };
        if sealed.published.is_some() {
            resident.folded.published = sealed.published;
        }
        let key = place.key.clone();
        self.chunks.mark_unstored(chunk);
        self.append(key, Body::Decisions(sealed.decisions), sealed.commands);
    }

    /// Ends the ownership, because the chunk's model failed after commands were decided in memory,
    /// and those decisions cannot be undone. The next owner is careful with the chunk.
    pub(super) fn end_by_model(&mut self, chunk: &ChunkId) {
        self.end(End::ModelFault { chunk: chunk.clone() });
    }
}

/// Decides one command of a live chunk. Returns true if the model failed on the command.
fn decide(
    stats: &mut Stats,
    progress: &mut Progress,
    resident: &mut Resident,
    calls: Calls<'_>,
    partition: Partition,
    asked: &Asked,
    batch: BatchId,
) -> bool {
    let Some(decided) = resident.live.decide(calls, partition, asked) else {
        stats.resends += 1;
        progress.done(BatchPart::one(batch));
        return false;
    };
    match &decided.mark.outcome {
        Some(Outcome::Committed(_)) => stats.committed += 1,
        Some(Outcome::Discarded(_)) => stats.discarded += 1,
        Some(Outcome::OutOfOrder(_)) => stats.out_of_order += 1,
        Some(Outcome::SessionExpired(_)) => stats.expired += 1,
        None => {}
    }
    let is_model_fault = decided.is_model_fault;
    resident.open.push(decided, batch);
    is_model_fault
}
