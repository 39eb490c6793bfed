//! The channel between the two halves of a reader, the thread and the async half. Commands go to
//! the thread, and outcomes go to the async half. Above a limit of outcomes the thread stops
//! polling.

use super::super::{ReadError, Record};
use driftless_schemas::{Offset, Partition};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The limit on the bytes of records that the async half has not taken yet. Above it the thread
/// stops polling librdkafka.
const BUFFERED_BYTES_MAX: usize = 4 << 20;
/// The thread checks for work at this interval even without a wake-up. This is a fallback in case
/// librdkafka misses a wake-up, which has never been observed.
const RECHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A command of the async half to the thread.
pub(super) enum Command {
    Assign { topic: Arc<str>, partition: Partition, from: Offset, generation: u64 },
    Unassign { topic: Arc<str>, partition: Partition, generation: u64 },
    Pause { topic: Arc<str>, partition: Partition, generation: u64, is_paused: bool },
}

/// A message of the thread to the async half.
pub(super) enum Outcome {
    Fetched(Fetched),
    Failed { error: ReadError, generation: u64 },
}

/// Fetched records of one assignment. `generation` identifies the assignment.
pub(super) struct Fetched {
    pub generation: u64,
    pub records: Vec<Record>,
}

/// The state shared between the thread and the async half.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    work: Condvar,
    /// Wakes the async half.
    pub ready: Notify,
}

#[derive(Default)]
struct State {
    commands: Vec<Command>,
    /// True if librdkafka's queue may hold an event.
    is_filled: bool,
    outcomes: Vec<Outcome>,
    /// The bytes of the records in `outcomes`.
    bytes: usize,
    is_closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock, so the state behind a poisoned lock is
        // consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enqueues a command and wakes the thread.
    pub(super) fn command(&self, command: Command) {
        self.state().commands.push(command);
        self.work.notify_one();
    }

    /// Takes all outcomes. If the thread had stopped polling because of the limit, it polls again.
    pub(super) fn take(&self) -> Vec<Outcome> {
        let mut state = self.state();
        let was_full = state.bytes >= BUFFERED_BYTES_MAX;
        state.bytes = 0;
        let outcomes = std::mem::take(&mut state.outcomes);
        drop(state);
        if was_full {
            self.work.notify_one();
        }
        outcomes
    }

    /// Makes the thread end.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.work.notify_one();
    }

    /// Notes that librdkafka's queue is not empty, and wakes the thread. librdkafka calls this
    /// while it holds a lock on its queue, so this must not call librdkafka.
    pub(super) fn filled(&self) {
        self.state().is_filled = true;
        self.work.notify_one();
    }

    /// Passes outcomes with `bytes` bytes of records to the async half, and wakes it.
    pub(super) fn publish(&self, outcomes: Vec<Outcome>, bytes: usize) {
        let mut state = self.state();
        state.outcomes.extend(outcomes);
        state.bytes += bytes;
        drop(state);
        self.ready.notify_one();
    }

    /// Waits for work of the thread. Returns `None` if the reader was dropped.
    pub(super) fn wait(&self) -> Option<Work> {
        let is_idle = |state: &mut State| {
            !state.is_closed && state.commands.is_empty() && (!state.is_filled || state.bytes >= BUFFERED_BYTES_MAX)
        };
        let (mut state, _) = self
            .work
            .wait_timeout_while(self.state(), RECHECK_INTERVAL, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return None;
        }
        let may_poll = state.bytes < BUFFERED_BYTES_MAX;
        if may_poll {
            state.is_filled = false;
        }
        Some(Work { commands: std::mem::take(&mut state.commands), may_poll })
    }
}

/// The work of the thread when it wakes.
pub(super) struct Work {
    pub commands: Vec<Command>,
    /// True if the outcomes are below the limit, so that the thread may poll librdkafka.
    pub may_poll: bool,
}
