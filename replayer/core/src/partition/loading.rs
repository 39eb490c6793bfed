//! Chunks on their way in: from ref and log to a live chunk, and what waited for it.
//!
//! A chunk that cannot be loaded (the store is away, its object is lost, its model panics) keeps its own commands waiting and
//! nobody else's: beyond a limit they are not kept, `commands_next` stays before them, and they are read again when the
//! chunk is there.

use super::{MODEL_FAULT, PartitionCore, Phase, decide};
use crate::messages::{End, LoadError, Output, Stored};
use crate::outbox::Open;
use crate::slots::{Dirty, Held, Loading, Slot, State, Waiting, fold_recovered};
use crate::working::Call;
use driftless_chunk::live::LiveChunk;
use driftless_chunk::replica::Replica;
use driftless_chunk::world::Place;
use driftless_schemas::ChunkId;
use driftless_schemas::proto::IndexEntry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

impl PartitionCore {
    /// Makes sure that the chunk has a slot; a new one asks for its stored state.
    pub(super) fn use_slot(&mut self, chunk: &ChunkId, place: impl FnOnce() -> Place) {
        self.uses += 1;
        if !self.slots.contains_key(chunk) {
            self.outputs.push_back(Output::Load(chunk.clone()));
        }
        let slot = self.slots.entry(chunk.clone()).or_insert_with(|| Slot {
            place: place(),
            last_used: 0,
            state: State::Loading(Loading::default()),
        });
        slot.last_used = self.uses;
    }

    pub(super) fn take_loaded(&mut self, chunk: ChunkId, loaded: Result<Option<Stored>, LoadError>, now_ms: u64) {
        let Some(Slot { state: State::Loading(loading), place, .. }) = self.slots.get_mut(&chunk) else { return };
        let stored = match loaded {
            Ok(stored) => stored,
            Err(LoadError::Unavailable(reason)) => return self.load_failed(&chunk, reason, now_ms),
            Err(LoadError::Lost { entry, reason }) => {
                if !loading.is_given_up {
                    self.want_reconstruction(&chunk, entry);
                }
                return self.load_failed(&chunk, reason, now_ms);
            }
        };
        let recovered = std::mem::take(&mut loading.recovered);
        let model = Arc::clone(&place.family.model);
        let accept_loss = self.settings.accept_loss;
        self.working.call(&chunk, Call::Restore);
        // Whatever a model does with its own bytes, the partition goes on.
        let restored = catch_unwind(AssertUnwindSafe(|| {
            let (live, entry) = match stored {
                None => (LiveChunk::initial(model, &chunk), IndexEntry::default()),
                Some(Stored { entry, encoding }) => match &entry.newest {
                    None => (LiveChunk::initial(model, &chunk), entry),
                    Some(newest) => (LiveChunk::restore(model, newest, &encoding).map_err(|e| e.to_string())?, entry),
                },
            };
            let mut held = Box::new(Held::new(live, entry));
            let folded = fold_recovered(&mut held.live, &recovered, &mut held.published, accept_loss, &mut held.lost)?;
            held.live.replica.hash();
            Ok((held, folded))
        }))
        .unwrap_or_else(|_| Err("its model panicked while restoring it".to_owned()));
        let (mut held, folded) = match restored {
            Ok(restored) => restored,
            Err(reason) => {
                if let Some(Slot { state: State::Loading(loading), .. }) = self.slots.get_mut(&chunk) {
                    loading.recovered = recovered;
                }
                return self.load_failed(&chunk, reason, now_ms);
            }
        };
        if self.phase == Phase::Recovering {
            held.recovered = recovered;
        }
        let is_lost = held.lost > 0;
        self.go_live(&chunk, held, folded, is_lost, now_ms);
    }

    /// Everybody is to see the state that is left, under a version that nobody has seen another state of.
    pub(super) fn tell_lost(&mut self, chunk: &ChunkId) {
        let known = self.known;
        let Some(Slot { state: State::Live(held) | State::Checking(held, _), .. }) = self.slots.get_mut(chunk) else {
            return;
        };
        held.is_urgent = true;
        held.dirty.get_or_insert(Dirty { bound: known, since_ms: 0, decisions: 0 });
        self.unstored.insert(chunk.clone());
        let version = held.live.replica.version();
        held.published = Some((version, held.live.replica.hash()));
        let lost = held.lost;
        let reason = format!("{lost} commits up to version {version} are lost; its content is that of an older one");
        self.outputs.push_back(Output::Lost(chunk.clone(), reason));
    }

    /// The object of its newest ref is lost for good, and the log does not lead to it any more. Where an operator accepts
    /// it, the content of an older ref takes its place.
    pub(super) fn go_on_with_older(&mut self, chunk: &ChunkId, entry: IndexEntry, older: Replica, now_ms: u64) {
        let Some(newest) = entry.newest.clone() else { return };
        let Some(Slot { state: State::Loading(loading), .. }) = self.slots.get_mut(chunk) else { return };
        let recovered = std::mem::take(&mut loading.recovered);
        self.working.call(chunk, Call::Restore);
        let restored = catch_unwind(AssertUnwindSafe(|| {
            let live = LiveChunk::restore_without_content(older, &newest).map_err(|e| e.to_string())?;
            let mut held = Box::new(Held::new(live, entry));
            held.lost = 1;
            let folded = fold_recovered(&mut held.live, &recovered, &mut held.published, true, &mut held.lost)?;
            held.live.replica.hash();
            Ok((held, folded))
        }))
        .unwrap_or_else(|_| Err("its model panicked while restoring it".to_owned()));
        match restored {
            Ok((held, folded)) => self.go_live(chunk, held, folded, true, now_ms),
            Err(reason) => {
                if let Some(Slot { state: State::Loading(loading), .. }) = self.slots.get_mut(chunk) {
                    loading.recovered = recovered;
                }
                self.outputs.push_back(Output::Stuck(chunk.clone(), reason));
            }
        }
    }

    pub(super) fn load_failed(&mut self, chunk: &ChunkId, reason: String, now_ms: u64) {
        let retry_ms = self.settings.load_retry_ms;
        let Some(Slot { state: State::Loading(loading), .. }) = self.slots.get_mut(chunk) else { return };
        self.stuck += loading.put_aside();
        loading.retry_at_ms = Some(now_ms + (retry_ms << loading.attempts.min(6)));
        loading.attempts += 1;
        self.outputs.push_back(Output::Stuck(chunk.clone(), reason));
    }

    fn go_live(&mut self, chunk: &ChunkId, mut held: Box<Held>, folded: u64, is_lost: bool, now_ms: u64) {
        let Some(slot) = self.slots.get_mut(chunk) else { return };
        let State::Loading(loading) = &mut slot.state else { return };
        let loading = std::mem::take(loading);
        let bound = loading.bound;
        let Some(waiting) = self.release(chunk, loading) else { return };
        match bound {
            Some(bound) if folded > 0 => held.dirty = Some(Dirty { bound, since_ms: now_ms, decisions: folded }),
            _ => drop(self.unstored.remove(chunk)),
        }
        held.live.is_careful = self.careful.contains(chunk);
        held.bytes = held.estimate_bytes(held.live.replica.encoding().len());
        self.stats.chunk_bytes += held.bytes;
        self.put_live(chunk, held);
        if is_lost {
            self.tell_lost(chunk);
        }
        self.compare_with_published(chunk);
        self.decide_or_keep(chunk, waiting, now_ms);
    }

    /// What waited for a chunk. `None`: not all of it was kept, so it is read again.
    pub(super) fn release(&mut self, chunk: &ChunkId, loading: Loading) -> Option<Vec<Waiting>> {
        self.stuck = self.stuck.saturating_sub(loading.aside);
        if loading.dropped > 0 {
            self.end(End::Reread { chunk: chunk.clone() });
            return None;
        }
        Some(loading.waiting)
    }

    /// Decides what waited, or lets it wait on where the chunk is checked.
    fn decide_or_keep(&mut self, chunk: &ChunkId, waiting: Vec<Waiting>, now_ms: u64) {
        match self.slots.get_mut(chunk).map(|slot| &mut slot.state) {
            Some(State::Checking(_, checking)) => {
                checking.waiting = waiting;
                self.stuck += checking.put_aside();
            }
            _ => self.decide_waiting(chunk, waiting, now_ms),
        }
    }

    /// R10: what the log says of the version that the chunk has now must be the chunk's hash. If not, nothing is decided
    /// with it before ref and log have told what is right.
    pub(super) fn compare_with_published(&mut self, chunk: &ChunkId) {
        let Some(Slot { state: State::Live(held), .. }) = self.slots.get_mut(chunk) else { return };
        let (version, hash) = (held.live.replica.version(), held.live.replica.hash());
        if held.published.is_some_and(|(at, said)| at == version && said != hash) {
            self.doubt(chunk);
        }
    }

    /// Decides what waited, in order.
    pub(super) fn decide_waiting(&mut self, chunk: &ChunkId, waiting: Vec<Waiting>, now_ms: u64) {
        for Waiting { asked, value, batch } in waiting {
            let Some(Slot { state: State::Live(held), .. }) = self.slots.get_mut(chunk) else { return };
            self.working.call(chunk, Call::Decide(asked.offset));
            let faulted = decide(&mut self.stats, &mut self.progress, held, chunk, self.partition, &asked, batch);
            let is_full = held.open.is_full();
            if faulted {
                self.dead_letter(asked.offset, value, MODEL_FAULT.into(), batch, Some(chunk));
            }
            if is_full {
                self.seal(chunk, now_ms);
            }
        }
        self.seal(chunk, now_ms);
    }

    pub(super) fn put_live(&mut self, chunk: &ChunkId, held: Box<Held>) {
        if let Some(slot) = self.slots.get_mut(chunk) {
            slot.state = State::Live(held);
        }
    }

    pub(super) fn retry_loads(&mut self, now_ms: u64) {
        for (chunk, slot) in &mut self.slots {
            if let State::Loading(loading) = &mut slot.state
                && loading.retry_at_ms.is_some_and(|at| at <= now_ms)
            {
                loading.retry_at_ms = None;
                self.outputs.push_back(Output::Load(chunk.clone()));
            }
        }
    }
}

impl Held {
    fn new(mut live: LiveChunk, entry: IndexEntry) -> Self {
        // What everybody knows without being told: the ref, or the chunk's beginning.
        let published = Some((live.replica.version(), live.replica.hash()));
        Self {
            live,
            entry,
            open: Open::default(),
            dirty: None,
            snapshot: None,
            last_snapshot_ms: None,
            published,
            is_urgent: false,
            bytes: 0,
            recovered: Vec::new(),
            lost: 0,
            audits: Vec::new(),
        }
    }
}
