//! Loads chunks: makes a live chunk from its stored state and the log, and then decides the
//! commands that waited for it.
//!
//! A chunk that cannot be loaded (the store is away, its object is lost, its model panics) holds up
//! only its own commands. Commands beyond `waiting_per_chunk_max` are not kept. `commands_next`
//! stays below them, so that they are read again when the chunk can be loaded.

use super::{PartitionCore, Phase};
use crate::guard::{Calls, Guarded, RestoreError};
use crate::messages::{End, LoadError, Output, Stored};
use crate::recovered::{Folded, Recovered};
use crate::refs::Refs;
use crate::resident::{Dirty, Resident};
use crate::slots::{Loading, State, Waiting};
use crate::working::Call;
use driftless_chunk::live::LiveChunk;
use driftless_chunk::replica::{ApplyError, Replica};
use driftless_chunk::world::Place;
use driftless_schemas::ChunkId;
use driftless_schemas::stored::IndexEntry;
use driftless_schemas::time::MonotonicMs;
use std::sync::Arc;

impl PartitionCore {
    /// Makes sure that the chunk has a slot; a new slot asks for the chunk's stored state.
    pub(super) fn use_slot(&mut self, chunk: &ChunkId, place: Place) {
        if self.chunks.use_slot(chunk, place) {
            self.chunks.want_load(chunk);
            self.begin_loads();
        }
    }

    /// Begins the loads for which the budget has room.
    pub(super) fn begin_loads(&mut self) {
        let begun = self.chunks.begin_loads(self.chunks_bytes_max);
        self.outputs.extend(begun.into_iter().map(Output::Load));
    }

    pub(super) fn take_loaded(&mut self, chunk: ChunkId, loaded: Result<Option<Stored>, LoadError>, now: MonotonicMs) {
        self.chunks.load_ended(&chunk);
        self.take_load(chunk, loaded, now);
        self.begin_loads();
    }

    fn take_load(&mut self, chunk: ChunkId, loaded: Result<Option<Stored>, LoadError>, now: MonotonicMs) {
        let Some((place, loading)) = self.chunks.loading_mut(&chunk) else { return };
        let stored = match loaded {
            Ok(stored) => stored,
            Err(LoadError::Unavailable(reason)) => return self.load_failed(&chunk, reason, now),
            Err(LoadError::Lost { entry, reason }) => {
                if !loading.is_given_up {
                    self.want_reconstruction(&chunk, entry);
                }
                return self.load_failed(&chunk, reason, now);
            }
        };
        let recovered = std::mem::take(&mut loading.recovered);
        let model = Arc::clone(&place.family.model);
        let accept_loss = self.settings.accept_loss;
        let restored = restore(Calls::of(&self.working, &chunk), &recovered, accept_loss, || {
            Ok(match stored {
                None => (LiveChunk::initial(model, &chunk), Refs::default()),
                Some(Stored { entry, encoding }) => {
                    (LiveChunk::restore(model, &entry.newest, &encoding)?, Refs::from(entry))
                }
            })
        });
        match restored {
            Ok(restored) => self.go_live(&chunk, restored, recovered, now),
            Err(e) => {
                self.put_back(&chunk, recovered);
                self.load_failed(&chunk, e.to_string(), now);
            }
        }
    }

    /// Makes the chunk live with an older content, which an operator has accepted. The object of
    /// the newest ref is lost for good, and the log does not lead to its content any more.
    pub(super) fn continue_with_older(
        &mut self,
        chunk: &ChunkId,
        entry: IndexEntry,
        older: Guarded<Replica>,
        now: MonotonicMs,
    ) {
        let Some((_, loading)) = self.chunks.loading_mut(chunk) else { return };
        let recovered = std::mem::take(&mut loading.recovered);
        let calls = Calls::of(&self.working, chunk);
        let restored = Guarded::with_older_content(older, &entry.newest).map_err(RestoreError::from);
        let restored = restored.and_then(|mut live| {
            let mut folded = Folded { lost: 1, ..Folded::default() };
            let encoded_bytes =
                live.run(calls, Call::Restore, |live| take_up(live, &mut folded, &recovered, true))??;
            Ok(Resident::new(live, Refs::from(entry), folded, encoded_bytes))
        });
        match restored {
            Ok(restored) => self.go_live(chunk, restored, recovered, now),
            Err(e) => {
                self.put_back(chunk, recovered);
                self.outputs.push_back(Output::Stuck(chunk.clone(), e.to_string()));
            }
        }
    }

    /// Gives the recovered records back to a chunk that could not be restored, so that the next
    /// attempt folds them.
    fn put_back(&mut self, chunk: &ChunkId, recovered: Vec<Recovered>) {
        if let Some((_, loading)) = self.chunks.loading_mut(chunk) {
            loading.recovered = recovered;
        }
    }

    pub(super) fn load_failed(&mut self, chunk: &ChunkId, reason: String, now: MonotonicMs) {
        let retry_ms = self.settings.load_retry_ms;
        if self.chunks.load_failed(chunk, |attempts| now.plus_ms(retry_ms << attempts.min(6))) {
            self.outputs.push_back(Output::Stuck(chunk.clone(), reason));
        }
    }

    pub(super) fn retry_loads(&mut self, now: MonotonicMs) {
        for chunk in self.chunks.take_retries(now) {
            self.chunks.want_load(&chunk);
        }
        self.begin_loads();
    }

    fn go_live(&mut self, chunk: &ChunkId, mut resident: Resident, recovered: Vec<Recovered>, now: MonotonicMs) {
        let (decisions, is_lost) = (resident.folded.decisions, resident.folded.lost > 0);
        if self.phase == Phase::Recovering {
            resident.recovered = recovered;
        }
        if self.model_faults.is_careful(chunk) {
            resident.live.be_careful();
        }
        let bound = self.chunks.loading_mut(chunk).and_then(|(_, loading)| loading.bound);
        resident.dirty = bound.filter(|_| decisions > 0).map(|bound| Dirty { bound, since: now, decisions });
        let is_dirty = resident.dirty.is_some();
        resident.is_urgent |= is_dirty && self.recovery.is_urgent();
        let Some(loading) = self.chunks.go_live(chunk, Box::new(resident)) else { return };
        if !is_dirty {
            self.chunks.mark_stored(chunk);
        }
        let Some(waiting) = self.release(chunk, loading) else { return };
        if is_lost {
            self.declare_loss(chunk, now);
        }
        self.compare_with_published(chunk);
        match self.chunks.state(chunk) {
            Some(State::Checking(..)) => self.chunks.keep_for_check(chunk, waiting),
            _ => self.decide_waiting(chunk, waiting, now),
        }
    }

    /// Returns the commands that waited for a chunk. `None`: not all of them were kept, so the
    /// ownership ends, and the next owner reads them again.
    pub(super) fn release(&mut self, chunk: &ChunkId, loading: Loading) -> Option<Vec<Waiting>> {
        let waiting = self.chunks.release(loading);
        if waiting.is_none() {
            self.end(End::Reread { chunk: chunk.clone() });
        }
        waiting
    }
}

/// Makes a chunk from its stored state and its records in the log. If the model panics on its own
/// bytes, the chunk is not restored, and the partition goes on without it.
fn restore(
    calls: Calls<'_>,
    recovered: &[Recovered],
    accept_loss: bool,
    stored: impl FnOnce() -> Result<(LiveChunk, Refs), ApplyError>,
) -> Result<Resident, RestoreError> {
    let made = Guarded::make(calls, Call::Restore, || {
        let (mut live, refs) = stored()?;
        let mut folded = Folded::default();
        let encoded_bytes = take_up(&mut live, &mut folded, recovered, accept_loss)?;
        Ok::<_, ApplyError>((live, (refs, folded, encoded_bytes)))
    });
    let (live, (refs, folded, encoded_bytes)) = made??;
    Ok(Resident::new(live, refs, folded, encoded_bytes))
}

/// Folds the recovered records into a chunk that was just loaded. Returns the length of the
/// content's encoding.
fn take_up(
    live: &mut LiveChunk,
    folded: &mut Folded,
    recovered: &[Recovered],
    accept_loss: bool,
) -> Result<usize, ApplyError> {
    // A first published hash is known without any record: the hash that the ref names, or the hash
    // of the chunk's initial content.
    folded.published = Some((live.replica.version(), live.replica.hash()));
    folded.fold(live, recovered, accept_loss)?;
    Ok(live.replica.encoded_bytes())
}
