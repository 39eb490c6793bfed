//! The chunks in an owner's memory: the slot of each chunk, the chunks with decisions that no
//! stored ref contains, the memory that all chunks take, and the number of commands that wait for
//! chunks which cannot be loaded or are being checked.
//!
//! Invariants: a chunk has at most one slot; a chunk with a decision that no ref contains is in the
//! set `unstored`; the sizes and counts agree with the slots.
//!
//! The chunks have a budget of bytes. When they take more, the least recently used clean chunks are
//! dropped. A load takes a share of the budget before it begins, because the size of the content is
//! known only afterwards, and loads that find no room wait. So the memory does not grow with the
//! number of chunks that commands or recovery touch.
//!
//! Commands whose chunks wait for room wait in memory, up to a part of the budget, so that the
//! commands behind them go on: a flood of commands to chunks that are not in memory must not hold
//! back edits of chunks that are. Further commands wait in the log.

use crate::resident::Resident;
use crate::slots::{Lengths, Loading, Slot, State, Waiting};
use driftless_chunk::position::Position;
use driftless_chunk::world::Place;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, limits};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Even the smallest budget has room for this many loads at a time.
const LOADS_AT_LEAST: usize = 2;
/// Commands that wait for chunks may take this part of the budget beside it: those that are
/// counted, and as much again for those that are set aside.
const WAITING_PART: usize = 16;
/// The memory that such commands may take at least, bytes.
const WAITING_AT_LEAST: usize = 64 * 1024;

/// The chunks of one ownership.
#[derive(Default)]
pub(crate) struct Chunks {
    slots: BTreeMap<ChunkId, Slot>,
    /// Chunks with a decision that no stored ref contains, or with a snapshot under way.
    unstored: BTreeSet<ChunkId>,
    uses: u64,
    /// Estimated memory of the chunks in memory.
    bytes: usize,
    /// Chunks whose stored state is being loaded.
    loads: BTreeSet<ChunkId>,
    /// Chunks whose stored state is loaded once the budget has room, oldest first.
    deferred: VecDeque<ChunkId>,
    /// Waiting commands that do not count against `commands_in_flight_max`, because their chunks
    /// cannot be loaded or are being checked.
    set_aside: usize,
    /// The memory of all waiting commands.
    waiting: Lengths,
}

impl Chunks {
    /// Makes sure that the chunk has a slot, and notes that it is used now. Returns true if the
    /// slot is new. The caller must then ask for the chunk's stored state.
    pub fn use_slot(&mut self, chunk: &ChunkId, place: Place) -> bool {
        self.uses += 1;
        let last_used = self.uses;
        if let Some(slot) = self.slots.get_mut(chunk) {
            slot.last_used = last_used;
            return false;
        }
        let state = State::Loading(Loading::default());
        self.slots.insert(chunk.clone(), Slot { place, last_used, state });
        true
    }

    pub fn slot_mut(&mut self, chunk: &ChunkId) -> Option<&mut Slot> {
        self.slots.get_mut(chunk)
    }

    pub fn contains(&self, chunk: &ChunkId) -> bool {
        self.slots.contains_key(chunk)
    }

    pub fn state(&self, chunk: &ChunkId) -> Option<&State> {
        self.slots.get(chunk).map(|slot| &slot.state)
    }

    pub fn place(&self, chunk: &ChunkId) -> Option<&Place> {
        self.slots.get(chunk).map(|slot| &slot.place)
    }

    /// The chunk, if it is live.
    pub fn live_mut(&mut self, chunk: &ChunkId) -> Option<(&Place, &mut Resident)> {
        match self.slots.get_mut(chunk)? {
            Slot { place, state: State::Live(resident), .. } => Some((place, resident)),
            _ => None,
        }
    }

    /// The chunk, if it is being checked.
    pub fn checking_mut(&mut self, chunk: &ChunkId) -> Option<(&Place, &mut Resident)> {
        match self.slots.get_mut(chunk)? {
            Slot { place, state: State::Checking(resident, _), .. } => Some((place, resident)),
            _ => None,
        }
    }

    /// The chunk, if it is in memory.
    pub fn resident_mut(&mut self, chunk: &ChunkId) -> Option<&mut Resident> {
        self.slots.get_mut(chunk)?.resident_mut()
    }

    /// The loading state of the chunk, if it is loading.
    pub fn loading_mut(&mut self, chunk: &ChunkId) -> Option<(&Place, &mut Loading)> {
        match self.slots.get_mut(chunk)? {
            Slot { place, state: State::Loading(loading), .. } => Some((place, loading)),
            _ => None,
        }
    }

    // ---- From one state to the next -------------------------------------------------------------

    /// Makes a loading chunk live. Returns the commands that waited for it, or `None` if the chunk
    /// was not loading.
    pub fn go_live(&mut self, chunk: &ChunkId, resident: Box<Resident>) -> Option<Loading> {
        let slot = self.slots.get_mut(chunk)?;
        let State::Loading(loading) = &mut slot.state else { return None };
        let loading = std::mem::take(loading);
        self.bytes += resident.bytes;
        slot.state = State::Live(resident);
        Some(loading)
    }

    /// Drops the chunk from memory so that it is loaded again, because the record of `updates`
    /// behind `before` does not fit its content. The records that were folded into the chunk are
    /// kept, and are folded again into the state that is loaded next.
    pub fn load_again(&mut self, chunk: &ChunkId, before: Position) {
        let Some(slot) = self.slots.get_mut(chunk) else { return };
        if let State::Live(resident) | State::Checking(resident, _) = slot.take_state() {
            self.bytes = self.bytes.saturating_sub(resident.bytes);
            let bound = resident.dirty.map_or(before, |dirty| dirty.bound);
            slot.state = State::Loading(Loading::again(bound, resident.recovered));
            self.unstored.insert(chunk.clone());
        }
    }

    /// Makes a live chunk a checked one, whose commands wait. Does nothing if a snapshot of the
    /// chunk is under way.
    pub fn begin_check(&mut self, chunk: &ChunkId) {
        let Some(slot) = self.slots.get_mut(chunk) else { return };
        slot.state = match slot.take_state() {
            State::Live(resident) if resident.snapshot.is_none() => State::Checking(resident, Loading::for_check()),
            other => other,
        };
    }

    /// Makes a checked chunk live again. Returns the commands that waited for it, or `None` if the
    /// chunk was not being checked.
    pub fn end_check(&mut self, chunk: &ChunkId) -> Option<Loading> {
        let slot = self.slots.get_mut(chunk)?;
        match slot.take_state() {
            State::Checking(resident, loading) => {
                slot.state = State::Live(resident);
                Some(loading)
            }
            other => {
                slot.state = other;
                None
            }
        }
    }

    // ---- Commands that wait ---------------------------------------------------------------------

    /// Keeps a command until its chunk is live. Does nothing if the chunk is live already.
    /// `set_aside_max` limits how many waiting commands of all chunks may be set aside, and their
    /// budget is a part of `bytes_max`.
    pub fn enqueue(
        &mut self,
        chunk: &ChunkId,
        waiting: Waiting,
        per_chunk_max: usize,
        (set_aside_max, bytes_max): (usize, usize),
    ) {
        let has_room = self.set_aside < set_aside_max && self.waiting.set_aside <= waiting_max(bytes_max);
        let Some(slot) = self.slots.get_mut(chunk) else { return };
        if let State::Loading(loading) | State::Checking(_, loading) = &mut slot.state {
            let before = loading.bytes();
            self.set_aside += usize::from(loading.wait(waiting, per_chunk_max, has_room));
            self.waiting.change(before, loading.bytes());
        }
    }

    /// True if more commands may be read although they may have to wait for chunks that are not in
    /// memory.
    pub fn may_wait(&self, bytes_max: usize) -> bool {
        self.waiting.counted <= waiting_max(bytes_max)
    }

    /// Gives a chunk that is being checked the commands that waited for it while it was loaded.
    pub fn keep_for_check(&mut self, chunk: &ChunkId, waiting: Vec<Waiting>) {
        let Some(slot) = self.slots.get_mut(chunk) else { return };
        if let State::Checking(_, checking) = &mut slot.state {
            let before = checking.bytes();
            checking.keep(waiting);
            self.set_aside += checking.set_aside();
            self.waiting.change(before, checking.bytes());
        }
    }

    /// Notes that a load of the chunk failed. From now on, its commands do not count against
    /// `commands_in_flight_max`. Returns false if the chunk is not loading.
    pub fn load_failed(&mut self, chunk: &ChunkId, retry_at: impl FnOnce(u32) -> MonotonicMs) -> bool {
        let Some(Slot { state: State::Loading(loading), .. }) = self.slots.get_mut(chunk) else { return false };
        let before = loading.bytes();
        self.set_aside += loading.set_aside();
        self.waiting.change(before, loading.bytes());
        loading.failed(retry_at);
        true
    }

    /// Returns the commands that waited for a chunk, or `None` if not all of them were kept.
    pub fn release(&mut self, loading: Loading) -> Option<Vec<Waiting>> {
        self.waiting.change(loading.bytes(), Lengths::default());
        let (waiting, set_aside) = loading.into_waiting();
        self.set_aside = self.set_aside.saturating_sub(set_aside);
        waiting
    }

    /// Returns the chunks whose load failed and is to be tried again now.
    pub fn take_retries(&mut self, now: MonotonicMs) -> Vec<ChunkId> {
        let is_due = |slot: &mut Slot| match &mut slot.state {
            State::Loading(loading) => loading.take_retry(now),
            State::Live(_) | State::Checking(..) => false,
        };
        self.slots.iter_mut().filter_map(|(chunk, slot)| is_due(slot).then(|| chunk.clone())).collect()
    }

    /// The number of waiting commands that do not count against `commands_in_flight_max`.
    pub fn set_aside(&self) -> usize {
        self.set_aside
    }

    // ---- What no ref contains -------------------------------------------------------------------

    pub fn mark_unstored(&mut self, chunk: &ChunkId) {
        if !self.unstored.contains(chunk) {
            self.unstored.insert(chunk.clone());
        }
    }

    pub fn mark_stored(&mut self, chunk: &ChunkId) {
        self.unstored.remove(chunk);
    }

    /// Calls `look` for each unstored chunk, in the order of the chunk ids, until `look` returns
    /// false.
    pub fn for_each_unstored(&mut self, mut look: impl FnMut(&ChunkId, &mut Slot) -> bool) {
        for chunk in &self.unstored {
            if let Some(slot) = self.slots.get_mut(chunk)
                && !look(chunk, slot)
            {
                return;
            }
        }
    }

    /// How many of the unstored chunks are live and satisfy `is_so`.
    pub fn count_unstored(&self, is_so: impl Fn(&Resident) -> bool) -> usize {
        let slot = |chunk| self.slots.get(chunk);
        let is_counted = |slot: &&Slot| matches!(&slot.state, State::Live(resident) if is_so(resident));
        self.unstored.iter().filter_map(slot).filter(is_counted).count()
    }

    /// Drops the records that recovery kept in case a chunk had to be loaded again: recovery is
    /// over.
    pub fn forget_recovered(&mut self) {
        self.slots.values_mut().filter_map(Slot::resident_mut).for_each(|resident| resident.recovered = Vec::new());
    }

    // ---- Memory ---------------------------------------------------------------------------------

    /// Notes the new encoded length of a live chunk's content, and updates the memory estimate.
    pub fn set_encoded_bytes(&mut self, chunk: &ChunkId, encoded_bytes: usize) {
        let Some(Slot { state: State::Live(resident), .. }) = self.slots.get_mut(chunk) else { return };
        let bytes = resident.estimate_bytes(encoded_bytes);
        self.bytes = self.bytes + bytes - std::mem::replace(&mut resident.bytes, bytes);
    }

    /// Notes that the stored state of a loading chunk is needed. [`Self::begin_loads`] begins the
    /// load.
    pub fn want_load(&mut self, chunk: &ChunkId) {
        self.deferred.push_back(chunk.clone());
    }

    /// Returns the chunks whose loads begin now, because the budget has room for them.
    pub fn begin_loads(&mut self, bytes_max: usize) -> Vec<ChunkId> {
        let mut begun = Vec::new();
        let taken = |chunks: &Self| (chunks.loads.len() + 1).saturating_mul(load_bytes(bytes_max));
        while self.bytes.saturating_add(taken(self)) <= bytes_max
            && let Some(chunk) = self.deferred.pop_front()
        {
            if matches!(self.state(&chunk), Some(State::Loading(_))) && self.loads.insert(chunk.clone()) {
                begun.push(chunk);
            }
        }
        begun
    }

    /// Notes that a load has ended, whether it has succeeded or not.
    pub fn load_ended(&mut self, chunk: &ChunkId) {
        self.loads.remove(chunk);
    }

    /// True if a chunk waits for room in the budget.
    pub fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// True if so much of the budget is used that decisions must be stored before they are due:
    /// only clean chunks can be dropped. Loads in flight do not count, because they end by
    /// themselves.
    pub fn is_pressed(&self, bytes_max: usize) -> bool {
        self.bytes > (bytes_max / 4 * 3).min(self.limit(bytes_max))
    }

    /// The memory that the chunks may take. If a load waits, they must leave room for it.
    fn limit(&self, bytes_max: usize) -> usize {
        bytes_max - if self.has_deferred() { load_bytes(bytes_max) } else { 0 }
    }

    /// If all chunks together take more than `bytes_max`, or leave no room for the next load, drops
    /// the least recently used clean ones until the rest takes at most 90% of it and leaves room.
    pub fn drop_cold(&mut self, bytes_max: usize) {
        let limit = self.limit(bytes_max);
        if self.bytes <= limit {
            return;
        }
        let is_clean = |slot: &Slot| matches!(&slot.state, State::Live(resident) if resident.is_clean());
        let clean = self.slots.iter().filter(|(_, slot)| is_clean(slot));
        let mut clean: Vec<(u64, ChunkId)> = clean.map(|(chunk, slot)| (slot.last_used, chunk.clone())).collect();
        clean.sort_unstable();
        let target = limit.min(bytes_max / 10 * 9);
        for (_, chunk) in clean {
            if self.bytes <= target {
                return;
            }
            if let Some(Slot { state: State::Live(resident), .. }) = self.slots.remove(&chunk) {
                self.bytes = self.bytes.saturating_sub(resident.bytes);
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn unstored(&self) -> usize {
        self.unstored.len()
    }

    /// True if no chunk is being loaded or checked.
    pub fn are_all_live(&self) -> bool {
        self.slots.values().all(|slot| matches!(slot.state, State::Live(_)))
    }

    /// How many loading chunks have failed to load at least once.
    pub fn failing(&self) -> usize {
        self.slots.values().filter(|slot| slot.is_failing()).count()
    }
}

/// The memory that commands may take which wait for chunks, besides the budget.
fn waiting_max(bytes_max: usize) -> usize {
    (bytes_max / WAITING_PART).max(WAITING_AT_LEAST)
}

/// The room that a load takes, in bytes. The size of the content is known only when it is there.
fn load_bytes(bytes_max: usize) -> usize {
    limits::CONTENT_BYTES_MAX.min(bytes_max / LOADS_AT_LEAST)
}

impl Slot {
    /// Takes the slot's state and leaves an empty loading state, which the caller replaces.
    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Loading(Loading::default()))
    }
}
