//! Snapshots, refs and checkpoints, in the order that R6 asks for: decisions acknowledged and object durable, then ref and
//! checkpoint in one batch, then the notice.

use super::{Leaving, PartitionCore, Phase};
use crate::messages::{End, Output};
use crate::slots::{Held, Slot, Snapshot, State, Step};
use crate::working::Call;
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_schemas::proto::{
    Checkpoint, IndexEntry, Ref, SnapshotStored, StoredObject, r#ref, updates_record::Body,
};
use driftless_schemas::{ChunkId, Hash, Version, limits};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl PartitionCore {
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.retry_loads(now_ms);
        if self.phase == Phase::Running {
            self.begin_history(now_ms);
            self.begin_snapshots(now_ms);
            let is_due = now_ms.saturating_sub(self.last_checkpoint_ms) >= self.settings.checkpoint_interval_ms;
            if is_due || self.is_checkpoint_urgent() {
                self.begin_checkpoint(now_ms);
            }
            self.drop_cold();
        }
        self.begin_leaving(now_ms);
    }

    /// Somebody waits for a ref: the log says a hash that is not the content's.
    fn is_checkpoint_urgent(&self) -> bool {
        let is_ready = |held: &Held| held.is_urgent && held.snapshot.as_ref().is_some_and(|s| s.step == Step::Put);
        let held = |chunk| self.slots.get(chunk).map(|slot| &slot.state);
        self.unstored.iter().filter_map(held).any(|state| matches!(state, State::Live(held) if is_ready(held)))
    }

    fn begin_snapshots(&mut self, now_ms: u64) {
        // What only waits for the next checkpoint does not count: it would bound puts by the checkpoints' interval.
        let is_putting = |snapshot: &Snapshot| snapshot.step == Step::Putting;
        let in_flight =
            |slot: &Slot| matches!(&slot.state, State::Live(held) if held.snapshot.as_ref().is_some_and(is_putting));
        let mut under_way = self.unstored.iter().filter(|c| self.slots.get(*c).is_some_and(in_flight)).count();
        let (mut fault, mut doubted) = (None, Vec::new());
        let uncopied: BTreeSet<&ChunkId> = self.dead_letters.values().filter_map(|(_, chunk)| chunk.as_ref()).collect();
        for chunk in &self.unstored {
            if uncopied.contains(chunk) {
                continue;
            }
            if under_way >= self.settings.snapshots_in_flight_max {
                break;
            }
            let Some(Slot { state: State::Live(held), place, .. }) = self.slots.get_mut(chunk) else { continue };
            let (None, Some(dirty)) = (&held.snapshot, held.dirty) else { continue };
            let is_due = dirty.decisions >= self.settings.snapshot_every
                || now_ms.saturating_sub(dirty.since_ms) >= self.settings.snapshot_max_age_ms;
            let is_soon = held
                .last_snapshot_ms
                .is_some_and(|last| now_ms.saturating_sub(last) < self.settings.snapshot_min_interval_ms);
            if !held.is_urgent && (!is_due || is_soon) {
                continue;
            }
            under_way += 1;
            self.working.call(chunk, Call::Encode);
            let Ok(encoding) = catch_unwind(AssertUnwindSafe(|| held.live.replica.encoding().into_owned())) else {
                fault = Some(End::ModelFault { chunk: chunk.clone() });
                break;
            };
            let encoding = Bytes::from(encoding);
            let hash = Hash::of(&encoding);
            let version = held.live.replica.version();
            // R10: what is stored is compared with what was published for that version.
            if let Some((published, expected)) = held.published
                && published == version
                && expected != hash
            {
                // What is right is found out from ref and log; nothing is stored before.
                doubted.push(chunk.clone());
                continue;
            }
            held.last_snapshot_ms = Some(now_ms);
            let bytes = held.estimate_bytes(encoding.len());
            self.stats.chunk_bytes = self.stats.chunk_bytes + bytes - std::mem::replace(&mut held.bytes, bytes);
            held.snapshot = Some(Snapshot {
                stored: Ref {
                    version: version.0,
                    hash: hash.to_bytes(),
                    location: Some(r#ref::Location::Object(StoredObject {})),
                    through_offset: held.live.through_offset.0,
                    model_revision: place.family.revision,
                    bytes: encoding.len() as u64,
                    ledger: Some(held.live.ledger.to_proto()),
                },
                requires_n: self.next_n - 1,
                dirty_after: None,
                step: Step::Putting,
            });
            self.outputs.push_back(Output::PutSnapshot { chunk: chunk.clone(), hash, encoding });
        }
        if let Some(end) = fault {
            return self.end(end);
        }
        for chunk in doubted {
            self.doubt(&chunk);
        }
    }

    pub(super) fn take_snapshot_put(&mut self, chunk: &ChunkId, hash: Hash, is_stored: bool) {
        let Some(Slot { state: State::Live(held), .. }) = self.slots.get_mut(chunk) else { return };
        match &mut held.snapshot {
            Some(snapshot) if snapshot.stored.hash[..] == hash.0 && snapshot.step == Step::Putting => {
                if is_stored {
                    snapshot.step = Step::Put;
                    return;
                }
            }
            _ => return,
        }
        // Not stored: the chunk stays dirty from where it was, and a later tick tries again.
        if let Some(Snapshot { dirty_after: Some(after), .. }) = held.snapshot.take()
            && let Some(dirty) = &mut held.dirty
        {
            dirty.decisions += after.decisions;
        }
    }

    /// Writes the refs whose objects are durable and whose decisions are acknowledged (R6), with the checkpoint.
    fn begin_checkpoint(&mut self, now_ms: u64) {
        if self.checkpoint.is_some() {
            return;
        }
        let mut entries = Vec::new();
        let mut low = self.known;
        for chunk in &self.unstored {
            let bound = match self.slots.get_mut(chunk).map(|slot| &mut slot.state) {
                Some(State::Loading(loading)) => loading.bound,
                Some(State::Checking(held, _)) => held.bound(),
                Some(State::Live(held)) => {
                    if let Some(snapshot) = &mut held.snapshot
                        && (snapshot.step == Step::Put
                            || (snapshot.step == Step::Putting && Mutant::AnnounceBeforeStored.is_on()))
                        && (snapshot.requires_n <= self.acked_n || Mutant::RefBeforeAck.is_on())
                    {
                        snapshot.step = Step::Writing;
                        entries.push((chunk.clone(), next_entry(&held.entry, &snapshot.stored)));
                    }
                    held.bound()
                }
                None => None,
            };
            if let Some(bound) = bound
                && bound.offset < low.offset
            {
                low = bound;
            }
        }
        let checkpoint = Checkpoint {
            epoch: self.epoch.0,
            commands_next: match Mutant::CheckpointBeforeAck.is_on() {
                true => self.progress.read_up_to().0,
                false => self.progress.commands_next().0,
            },
            updates_low: low.offset.0,
            updates_low_epoch: low.epoch.0,
            updates_low_n: low.n,
        };
        if entries.is_empty() && checkpoint == self.last_checkpoint {
            return;
        }
        self.last_checkpoint = checkpoint;
        self.last_checkpoint_ms = now_ms;
        self.checkpoint = Some(entries.iter().map(|(chunk, _)| chunk.clone()).collect());
        self.outputs.push_back(Output::WriteCheckpoint { checkpoint, entries });
    }

    pub(super) fn take_checkpoint_written(&mut self, now_ms: u64) {
        self.stats.checkpoints += 1;
        self.last_checkpoint_ms = now_ms;
        for chunk in self.checkpoint.take().unwrap_or_default() {
            let Some(Slot { place, state: State::Live(held), .. }) = self.slots.get_mut(&chunk) else { continue };
            let Some(snapshot) = held.snapshot.take() else { continue };
            self.stats.snapshots += 1;
            held.entry = next_entry(&held.entry, &snapshot.stored);
            held.is_urgent = false;
            // What they asked for is durable.
            std::mem::take(&mut held.audits).into_iter().for_each(|audit| self.progress.done(audit));
            let stored = (Version(snapshot.stored.version), Hash::from_slice(&snapshot.stored.hash));
            if let (version, Some(hash)) = stored
                && held.published.is_none_or(|(known, _)| known <= version)
            {
                held.published = Some((version, hash));
            }
            held.dirty = snapshot.dirty_after;
            let key = place.key.clone();
            if held.is_clean() {
                self.unstored.remove(&chunk);
            }
            self.announce(&chunk, key, snapshot.stored);
        }
    }

    /// Tells everybody that this state can be loaded.
    pub(super) fn announce(&mut self, chunk: &ChunkId, key: String, stored: Ref) {
        let notice = SnapshotStored { chunk_id: chunk.to_string(), r#ref: Some(stored) };
        self.append(key, Body::SnapshotStored(notice), Vec::new());
    }

    pub(super) fn go_on_draining(&mut self, now_ms: u64) {
        if let Phase::Leaving(Leaving::Before { letter, .. }) = self.phase
            && self.dead_letters.first_key_value().is_none_or(|(oldest, _)| *oldest >= letter)
        {
            self.begin_leaving(now_ms);
        }
        if self.phase == Phase::Leaving(Leaving::Writing) && self.checkpoint.is_none() {
            // What was decided since is read from the log by the next owner, and skipped.
            self.phase = Phase::Draining;
        }
        // Commands that wait for a cold chunk are not decided; the next owner does it.
        if self.phase == Phase::Draining && self.sent.is_empty() {
            self.end(End::Drained);
        }
    }

    /// The next tick waits for no copy to `dead-letter`: they are made again for as long as it takes.
    fn begin_leaving(&mut self, now_ms: u64) {
        if let Phase::Leaving(Leaving::Before { n, .. }) = self.phase
            && self.sent.front().is_none_or(|oldest| oldest.n >= n)
            && self.checkpoint.is_none()
        {
            self.phase = Phase::Leaving(Leaving::Writing);
            self.begin_checkpoint(now_ms);
        }
    }

    /// Drops the least recently used clean chunks while there are too many.
    fn drop_cold(&mut self) {
        if self.stats.chunk_bytes <= self.settings.chunks_bytes_max {
            return;
        }
        let mut clean: Vec<(u64, ChunkId)> = self
            .slots
            .iter()
            .filter(|(_, slot)| matches!(&slot.state, State::Live(held) if held.is_clean()))
            .map(|(chunk, slot)| (slot.last_used, chunk.clone()))
            .collect();
        clean.sort_unstable();
        let target = self.settings.chunks_bytes_max / 10 * 9;
        for (_, chunk) in clean {
            if self.stats.chunk_bytes <= target {
                return;
            }
            if let Some(Slot { state: State::Live(held), .. }) = self.slots.remove(&chunk) {
                self.stats.chunk_bytes = self.stats.chunk_bytes.saturating_sub(held.bytes);
            }
        }
    }
}

/// The index entry with a newer ref on top; ledgers of older refs are dropped.
fn next_entry(entry: &IndexEntry, newest: &Ref) -> IndexEntry {
    let older = entry.newest.iter().chain(&entry.older).filter(|r| r.version != newest.version);
    let older = older.take(limits::OLDER_REFS_MAX).map(|r| Ref { ledger: None, ..r.clone() }).collect();
    IndexEntry { newest: Some(newest.clone()), older }
}
