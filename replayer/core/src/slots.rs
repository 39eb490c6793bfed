//! A chunk's slot in an owner's memory. The chunk is loading, live, or being checked; commands wait
//! in the slot until the chunk is live.

use crate::progress::BatchId;
use crate::recovered::Recovered;
use crate::resident::Resident;
use bytes::Bytes;
use driftless_chunk::live::Asked;
use driftless_chunk::position::Position;
use driftless_chunk::world::Place;
use driftless_schemas::time::MonotonicMs;

/// The memory of a waiting command beside its record: its list entry, and a slot for its chunk.
const WAITING_BYTES: usize = 512;

/// The slot of one chunk.
pub(crate) struct Slot {
    pub place: Place,
    /// The number of the slot's last use; uses of all slots are counted in one sequence. The slot
    /// with the smallest number is the least recently used.
    pub last_used: u64,
    pub state: State,
}

/// Whether a chunk is loading, live or being checked.
pub(crate) enum State {
    Loading(Loading),
    Live(Box<Resident>),
    /// The chunk is in memory and is being compared with its ref and the log. Its commands wait.
    Checking(Box<Resident>, Loading),
}

/// The commands and records that wait for a chunk which is not live.
#[derive(Default)]
pub(crate) struct Loading {
    /// A position in `updates` at or below the first recovered record.
    pub bound: Option<Position>,
    /// Valid records about the chunk that recovery read before this owner's own fence.
    pub recovered: Vec<Recovered>,
    /// The commands that wait, in the order of their offsets.
    waiting: Vec<Waiting>,
    /// When to try the load again after a failure; `None` while no retry is planned.
    retry_at: Option<MonotonicMs>,
    /// How many loads of the chunk have failed.
    attempts: u32,
    /// True if the commands wait for a check of a chunk that is in memory, and not for a load.
    is_check: bool,
    /// How many of the chunk's commands do not count against `commands_in_flight_max`.
    set_aside: usize,
    /// The memory of the waiting commands that count against it, and of those that do not.
    bytes: Lengths,
    /// How many later commands were not kept, because too many were waiting.
    dropped: usize,
    /// True if the newest ref's object is lost and could not be rebuilt. No later failure asks for
    /// another rebuild.
    pub is_given_up: bool,
}

/// The memory of commands that wait, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lengths {
    /// The memory of those commands that count against `commands_in_flight_max`.
    pub counted: usize,
    /// The memory of the other ones.
    pub set_aside: usize,
}

/// A command whose chunk is not live.
pub(crate) struct Waiting {
    pub asked: Asked,
    /// The record's bytes.
    pub value: Bytes,
    pub batch: BatchId,
}

impl Waiting {
    /// The memory that the command takes, with a slot of its own for its chunk.
    fn bytes(&self) -> usize {
        self.value.len() + WAITING_BYTES
    }
}

impl Lengths {
    /// Replaces the lengths of one chunk in a sum.
    pub fn change(&mut self, before: Self, after: Self) {
        self.counted = self.counted.saturating_sub(before.counted) + after.counted;
        self.set_aside = self.set_aside.saturating_sub(before.set_aside) + after.set_aside;
    }
}

impl Slot {
    /// True if the chunk is loading and its last load failed.
    pub fn is_failing(&self) -> bool {
        matches!(&self.state, State::Loading(loading) if loading.attempts > 0)
    }

    /// The chunk's memory if the chunk is live or being checked, `None` while it is loading.
    pub fn resident_mut(&mut self) -> Option<&mut Resident> {
        match &mut self.state {
            State::Live(resident) | State::Checking(resident, _) => Some(resident),
            State::Loading(_) => None,
        }
    }
}

impl Loading {
    /// The waiting list of a chunk that is loaded again. `recovered` are the records to fold into
    /// the loaded state.
    pub fn again(bound: Position, recovered: Vec<Recovered>) -> Self {
        Self { bound: Some(bound), recovered, ..Self::default() }
    }

    /// The waiting list of a chunk that is being checked. A check may take long, so the chunk's
    /// commands do not count against `commands_in_flight_max` while there is room.
    pub fn for_check() -> Self {
        Self { is_check: true, ..Self::default() }
    }

    /// Keeps a command until the chunk is live. Returns true if the command does not count against
    /// `commands_in_flight_max`. That is so if its chunk fails to load, or if its chunk is being
    /// checked and `has_room` is true. For a chunk that fails to load, at most `max` commands are
    /// kept; later ones are only counted.
    pub fn wait(&mut self, waiting: Waiting, max: usize, has_room: bool) -> bool {
        let is_failing = self.attempts > 0;
        let is_dropped = is_failing && (self.dropped > 0 || !has_room || self.waiting.len() >= max);
        let is_set_aside = is_failing || (self.is_check && has_room);
        self.set_aside += usize::from(is_set_aside);
        if is_dropped {
            self.dropped += 1;
            return is_set_aside;
        }
        match is_set_aside {
            true => self.bytes.set_aside += waiting.bytes(),
            false => self.bytes.counted += waiting.bytes(),
        }
        self.waiting.push(waiting);
        is_set_aside
    }

    /// From now on, the waiting commands do not count against `commands_in_flight_max`. Returns how
    /// many of them were still counted before.
    pub fn set_aside(&mut self) -> usize {
        let more = self.waiting.len() - self.set_aside.min(self.waiting.len());
        self.set_aside += more;
        self.bytes.set_aside += std::mem::take(&mut self.bytes.counted);
        more
    }

    /// The memory of the commands that wait.
    pub fn bytes(&self) -> Lengths {
        self.bytes
    }

    /// Notes that a load failed. `retry_at` takes the number of earlier failures and returns the
    /// time of the next attempt.
    pub fn failed(&mut self, retry_at: impl FnOnce(u32) -> MonotonicMs) {
        self.retry_at = Some(retry_at(self.attempts));
        self.attempts += 1;
    }

    /// Returns true if the time of the next attempt has come. The attempt is then due no more, so
    /// that the next call returns false.
    pub fn take_retry(&mut self, now: MonotonicMs) -> bool {
        self.retry_at.take_if(|at| *at <= now).is_some()
    }

    /// Replaces the waiting commands by commands that waited for the chunk before its check.
    pub fn keep(&mut self, waiting: Vec<Waiting>) {
        self.bytes.counted = waiting.iter().map(Waiting::bytes).sum();
        self.waiting = waiting;
    }

    /// Returns the commands that waited, and how many of them did not count against
    /// `commands_in_flight_max`. The commands are `None` if not all of them were kept; they must
    /// then be read again.
    pub fn into_waiting(self) -> (Option<Vec<Waiting>>, usize) {
        ((self.dropped == 0).then_some(self.waiting), self.set_aside)
    }
}
