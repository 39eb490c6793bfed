//! The current step of an owner, for a watchdog in another thread: a model that never returns
//! cannot be asked, and its thread cannot be stopped.

use driftless_schemas::{ChunkId, Offset};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Written by a [`PartitionCore`](crate::PartitionCore), read by a watchdog.
#[derive(Debug, Default)]
pub struct Working(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    step: u64,
    is_busy: bool,
    work: Option<Work>,
}

/// A call into a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The chunk whose model is called.
    pub chunk: ChunkId,
    /// The task of the model.
    pub call: Call,
}

/// A task of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Take up a stored content, and fold what the log has of the chunk.
    Restore,
    /// Decide the command at this offset of `commands`, and fold its effect.
    Decide(Offset),
    /// Encode its content, and so hash it.
    Encode,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restore => f.write_str("restoring its content"),
            Self::Decide(offset) => write!(f, "deciding the command at offset {offset}"),
            Self::Encode => f.write_str("encoding its content"),
        }
    }
}

impl Working {
    /// The number of the step that the owner is doing, and the model call if there is one. `None`:
    /// the owner is idle. A number that stays the same is a step that does not end.
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
