//! Makes snapshots, refs and checkpoints in the order that R6 asks for. First the decisions are
//! acknowledged and the object is durable. Then the ref and the checkpoint are written in one
//! batch. Then a notice in `updates` announces the ref.

use super::PartitionCore;
use crate::guard::Calls;
use crate::messages::Output;
use crate::resident::{Dirty, Resident, Snapshot, Step};
use crate::slots::State;
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_schemas::proto::{SnapshotStored, updates_record::Body};
use driftless_schemas::stored::{Checkpoint, Location, StoredRef};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash, Offset, Version};
use std::cmp::Reverse;

impl PartitionCore {
    /// True if a checkpoint must be written without waiting for its interval: the object of an
    /// urgent chunk is durable, or that of any chunk while memory is short, and its ref is not
    /// written yet.
    pub(super) fn is_checkpoint_urgent(&self) -> bool {
        let is_put = |resident: &Resident| resident.snapshot.as_ref().is_some_and(|s| s.step == Step::Put);
        let is_pressed = self.is_pressed();
        self.chunks.count_unstored(|resident| (resident.is_urgent || is_pressed) && is_put(resident)) > 0
    }

    fn is_pressed(&self) -> bool {
        self.chunks.is_pressed(self.chunks_bytes_max)
    }

    pub(super) fn begin_snapshots(&mut self, now: MonotonicMs) {
        for chunk in self.due_for_snapshot(now) {
            let Some((_, resident)) = self.chunks.live_mut(&chunk) else { continue };
            let version = resident.live.version();
            let encoded = resident.encoding(Calls::of(&self.working, &chunk));
            let Ok(encoding) = encoded else { return self.end_by_model(&chunk) };
            let hash = Hash::of(&encoding);
            // R10: the hash of a stored content must be the hash that was published for its
            // version. If the two differ, the chunk is first checked against ref and log, and
            // nothing is stored.
            match resident.differs_from_log(version, hash) {
                true => self.doubt(&chunk),
                false => self.put_snapshot(&chunk, version, hash, encoding, now),
            }
        }
    }

    /// The chunks whose snapshots begin now, as many as `snapshots_in_flight_max` allows. While
    /// memory is short, every dirty chunk is due: first the one that was dirty longest, then the
    /// largest.
    fn due_for_snapshot(&mut self, now: MonotonicMs) -> Vec<ChunkId> {
        // A snapshot that only waits for the next checkpoint does not count against the limit. If
        // it did, the interval of checkpoints would limit how many objects are stored.
        let is_putting = |resident: &Resident| resident.snapshot.as_ref().is_some_and(|s| s.step == Step::Putting);
        let room = self.settings.snapshots_in_flight_max.saturating_sub(self.chunks.count_unstored(is_putting));
        let uncopied = self.dead_letters.chunks();
        let (settings, is_pressed) = (&self.settings, self.is_pressed());
        let mut due = Vec::new();
        self.chunks.for_each_unstored(|chunk, slot| {
            if let State::Live(resident) = &slot.state
                && let (None, Some(dirty)) = (&resident.snapshot, resident.dirty)
                && !uncopied.contains(chunk)
                && (is_pressed || is_due(resident, dirty, settings, now))
            {
                due.push((dirty.since, Reverse(resident.bytes), chunk.clone()));
            }
            // While memory is short, the order counts, so every chunk is looked at.
            is_pressed || due.len() < room
        });
        if is_pressed {
            due.sort_unstable();
        }
        due.truncate(room);
        due.into_iter().map(|(.., chunk)| chunk).collect()
    }

    fn put_snapshot(&mut self, chunk: &ChunkId, version: Version, hash: Hash, encoding: Bytes, now: MonotonicMs) {
        let requires_n = self.trail.newest_n();
        self.chunks.set_encoded_bytes(chunk, encoding.len());
        let Some((place, resident)) = self.chunks.live_mut(chunk) else { return };
        resident.last_snapshot_at = Some(now);
        let stored = StoredRef {
            version,
            hash,
            location: Location::Object,
            through_offset: resident.live.through_offset(),
            model_revision: place.family.revision,
            bytes: encoding.len() as u64,
            ledger: Some(resident.live.stored_ledger()),
        };
        resident.snapshot = Some(Snapshot { stored, requires_n, dirty_after: None, step: Step::Putting });
        self.outputs.push_back(Output::PutSnapshot { chunk: chunk.clone(), hash, encoding });
    }

    pub(super) fn take_snapshot_put(&mut self, chunk: &ChunkId, hash: Hash, is_stored: bool) {
        let Some((_, resident)) = self.chunks.live_mut(chunk) else { return };
        match &mut resident.snapshot {
            Some(snapshot) if snapshot.stored.hash == hash && snapshot.step == Step::Putting => {
                if is_stored {
                    snapshot.step = Step::Put;
                    return;
                }
            }
            _ => return,
        }
        // The object was not stored. The chunk stays dirty from the same position as before the
        // snapshot, and a later tick tries again.
        if let Some(Snapshot { dirty_after: Some(after), .. }) = resident.snapshot.take()
            && let Some(dirty) = &mut resident.dirty
        {
            dirty.decisions += after.decisions;
        }
    }

    /// Writes a checkpoint, in one batch with the refs whose objects are durable and whose
    /// decisions are acknowledged and count (R6). Does nothing while another checkpoint is being
    /// written, or while a recovered mark may be impossible.
    pub(super) fn begin_checkpoint(&mut self, now: MonotonicMs) {
        if self.checkpoints.is_writing() || !self.are_marks_proven() {
            return;
        }
        let mut entries = Vec::new();
        let end = self.trail.bound();
        let mut low = end;
        let trail = &self.trail;
        self.chunks.for_each_unstored(|chunk, slot| {
            if let State::Live(resident) = &mut slot.state
                && let Some(snapshot) = &mut resident.snapshot
                && is_ref_due(snapshot, trail.counts_below(snapshot.requires_n + 1))
            {
                snapshot.step = Step::Writing;
                entries.push((chunk.clone(), resident.refs.entry_with(snapshot.stored.clone())));
            }
            let bound = match &slot.state {
                State::Loading(loading) => loading.bound,
                State::Live(resident) | State::Checking(resident, _) => resident.bound(),
            };
            if let Some(bound) = bound
                && bound.offset < low.offset
            {
                low = bound;
            }
            true
        });
        let next = match Mutant::CheckpointBeforeAck.is_on() {
            true => self.progress.read_up_to(),
            false => self.progress.commands_next(),
        };
        let world = self.world.id();
        let checkpoint = Checkpoint {
            epoch: self.trail.epoch(),
            commands_next: next.offset,
            updates_low: low.offset,
            updates_low_epoch: low.epoch,
            updates_low_n: low.n,
            history: low.history,
            world,
            // Version 0.1.0 cannot read a checkpoint with the following fields.
            commands_print: next.print.filter(|_| world.is_some()),
            updates_end: if world.is_some() { end.offset } else { Offset(0) },
            updates_print: self.trail.bound_print().filter(|_| world.is_some()),
            commands_anew: false,
        };
        // A chunk that cannot be loaded may be a sign that the index is not this owner's any more.
        // If it is not, the write fails, and the next owner opens the index anew.
        let is_proof_wanted = self.chunks.failing() > 0;
        if self.checkpoints.begin(checkpoint, &entries, is_proof_wanted, now) {
            self.outputs.push_back(Output::WriteCheckpoint { checkpoint, entries });
        }
    }

    pub(super) fn take_checkpoint_written(&mut self, now: MonotonicMs) {
        self.stats.checkpoints += 1;
        for chunk in self.checkpoints.written(now) {
            let Some((place, resident)) = self.chunks.live_mut(&chunk) else { continue };
            let Some(Snapshot { stored, dirty_after, .. }) = resident.snapshot.take() else { continue };
            self.stats.snapshots += 1;
            resident.folded.publish(stored.version, stored.hash);
            resident.refs = resident.refs.entry_with(stored.clone()).into();
            resident.is_urgent = false;
            resident.dirty = dirty_after;
            let (key, audits) = (place.key.clone(), std::mem::take(&mut resident.audits));
            if resident.is_clean() {
                self.chunks.mark_stored(&chunk);
            }
            // The chunk's audits waited until this state is durable, so they are done now.
            self.close_audits(audits);
            self.announce(&chunk, key, &stored);
        }
    }

    /// Tells every reader of `updates` that the state `stored` can be loaded.
    pub(super) fn announce(&mut self, chunk: &ChunkId, key: String, stored: &StoredRef) {
        let notice = SnapshotStored { chunk_id: chunk.to_string(), r#ref: Some(stored.to_proto()) };
        self.append(key, Body::SnapshotStored(notice), Vec::new());
    }
}

/// True if a dirty chunk without a snapshot under way is stored now: it is urgent, or its unstored
/// decisions are many or old.
fn is_due(resident: &Resident, dirty: Dirty, settings: &crate::Settings, now: MonotonicMs) -> bool {
    let is_due =
        dirty.decisions >= settings.snapshot_every || now.ms_since(dirty.since) >= settings.snapshot_max_age_ms;
    let is_too_soon =
        resident.last_snapshot_at.is_some_and(|last| now.ms_since(last) < settings.snapshot_min_interval_ms);
    resident.is_urgent || (is_due && !is_too_soon)
}

/// True if the snapshot's ref is written with the checkpoint that begins now. `counts` is true if
/// the log has acknowledged the records that the snapshot contains, and they count.
fn is_ref_due(snapshot: &Snapshot, counts: bool) -> bool {
    let is_put = snapshot.step == Step::Put || (snapshot.step == Step::Putting && Mutant::AnnounceBeforeStored.is_on());
    is_put && (counts || Mutant::RefBeforeAck.is_on())
}
