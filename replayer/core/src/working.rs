//! What an owner is busy with, for a watchdog in another thread: a model that never returns cannot be asked, and its
//! thread cannot be stopped.

use driftless_schemas::{ChunkId, Offset};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Kept by a [`PartitionCore`](crate::PartitionCore), read by anybody.
#[derive(Debug, Default)]
pub struct Working(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    step: u64,
    is_busy: bool,
    work: Option<Work>,
}

/// A call of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Whose model.
    pub chunk: ChunkId,
    /// What it does.
    pub call: Call,
}

/// What a model is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Take up a stored content, and fold what the log has of it.
    Restore,
    /// Decide the command at this offset of `commands`, and fold its effect.
    Decide(Offset),
    /// Encode its content, and so hash it.
    Encode,
}

impl Working {
    /// The number of the step that is being done, and what it is where it calls a model; `None`: the owner is idle. A number
    /// that stays is a step that does not end.
    #[must_use]
    pub fn look(&self) -> Option<(u64, Option<Work>)> {
        let state = self.lock();
        state.is_busy.then(|| (state.step, state.work.clone()))
    }

    pub(crate) fn begin(&self) {
        let mut state = self.lock();
        *state = State { step: state.step + 1, is_busy: true, work: None };
    }

    pub(crate) fn end(&self) {
        let mut state = self.lock();
        *state = State { step: state.step + 1, is_busy: false, work: None };
    }

    pub(crate) fn call(&self, chunk: &ChunkId, call: Call) {
        let mut state = self.lock();
        state.step += 1;
        state.work = Some(Work { chunk: chunk.clone(), call });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
