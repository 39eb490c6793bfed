//! A chunk's slot in an owner's memory: loading, live, or being checked; and the commands that
//! wait.

use crate::progress::BatchId;
use crate::recovered::Recovered;
use crate::resident::Resident;
use bytes::Bytes;
use driftless_chunk::live::Asked;
use driftless_chunk::position::Position;
use driftless_chunk::world::Place;
use driftless_schemas::time::MonotonicMs;

/// The slot of one chunk.
pub(crate) struct Slot {
    pub place: Place,
    /// Counts up with every use; the smallest is the least recently used.
    pub last_used: u64,
    pub state: State,
}

pub(crate) enum State {
    Loading(Loading),
    Live(Box<Resident>),
    /// The chunk is compared with ref and log; its commands wait.
    Checking(Box<Resident>, Loading),
}

/// The commands and records that wait for a chunk which is not live.
#[derive(Default)]
pub(crate) struct Loading {
    /// Where the first recovered decision stands.
    pub bound: Option<Position>,
    /// Valid records that were read before the own fence.
    pub recovered: Vec<Recovered>,
    /// Commands, in order.
    waiting: Vec<Waiting>,
    /// When to ask for the stored state again, after a failure.
    retry_at: Option<MonotonicMs>,
    /// Loads that failed.
    attempts: u32,
    /// The chunk is in memory, and is compared with ref and log.
    is_check: bool,
    /// Commands that do not count against the commands of other chunks.
    set_aside: usize,
    /// Commands after those that wait, which were not kept.
    dropped: usize,
    /// The lost object could not be made again.
    pub is_given_up: bool,
}

/// A command whose chunk is not live.
pub(crate) struct Waiting {
    pub asked: Asked,
    /// The record's bytes.
    pub value: Bytes,
    pub batch: BatchId,
}

impl Slot {
    /// Whether the chunk cannot be loaded.
    pub fn is_failing(&self) -> bool {
        matches!(&self.state, State::Loading(loading) if loading.attempts > 0)
    }

    /// The chunk in memory, whether it is live or being checked.
    pub fn resident_mut(&mut self) -> Option<&mut Resident> {
        match &mut self.state {
            State::Live(resident) | State::Checking(resident, _) => Some(resident),
            State::Loading(_) => None,
        }
    }
}

impl Loading {
    /// For a chunk that is loaded again, with the records that are to be folded into its state.
    pub fn again(bound: Position, recovered: Vec<Recovered>) -> Self {
        Self { bound: Some(bound), recovered, ..Self::default() }
    }

    /// For a chunk that is being checked, which may take long: while there is room, its commands do
    /// not count against those of other chunks.
    pub fn for_check() -> Self {
        Self { is_check: true, ..Self::default() }
    }

    /// Keeps a command until the chunk is live. True if the command does not count against
    /// `commands_in_flight_max`: its chunk fails to load, or is being checked and there is room.
    /// For a chunk that fails to load, at most `max` commands are kept.
    pub fn wait(&mut self, waiting: Waiting, max: usize, has_room: bool) -> bool {
        let is_failing = self.attempts > 0;
        match is_failing && (self.dropped > 0 || !has_room || self.waiting.len() >= max) {
            true => self.dropped += 1,
            false => self.waiting.push(waiting),
        }
        let is_set_aside = is_failing || (self.is_check && has_room);
        self.set_aside += usize::from(is_set_aside);
        is_set_aside
    }

    /// From now on, the commands that wait do not count against those of other chunks. Gives how
    /// many commands that adds.
    pub fn set_aside(&mut self) -> usize {
        let more = self.waiting.len() - self.set_aside.min(self.waiting.len());
        self.set_aside += more;
        more
    }

    /// A load failed; `retry_at` gets the number of failures before it.
    pub fn failed(&mut self, retry_at: impl FnOnce(u32) -> MonotonicMs) {
        self.retry_at = Some(retry_at(self.attempts));
        self.attempts += 1;
    }

    /// Whether the stored state must be asked for again; true once.
    pub fn take_retry(&mut self, now: MonotonicMs) -> bool {
        self.retry_at.take_if(|at| *at <= now).is_some()
    }

    /// Keeps commands that waited for the chunk before.
    pub fn keep(&mut self, waiting: Vec<Waiting>) {
        self.waiting = waiting;
    }

    /// The commands that waited, and how many of them were set aside. `None` for the commands: not
    /// all of them were kept, so they must be read again.
    pub fn into_waiting(self) -> (Option<Vec<Waiting>>, usize) {
        ((self.dropped == 0).then_some(self.waiting), self.set_aside)
    }
}
