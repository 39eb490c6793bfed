//! The current step of an owner, which a watchdog reads in another thread. A model that never
//! returns blocks the owner's thread, so the owner itself cannot report it.

use driftless_schemas::{ChunkId, Offset};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The current step of a [`PartitionCore`](crate::PartitionCore). The core writes it, and a
/// watchdog reads it.
#[derive(Debug, Default)]
pub struct Working(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Counts up when a step begins, calls a model, or ends.
    step: u64,
    is_busy: bool,
    work: Option<Work>,
}

/// A call into a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The chunk whose model is called.
    pub chunk: ChunkId,
    /// The model's task in this call.
    pub call: Call,
}

/// The task of a model in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Restore a stored content, and fold the chunk's records in the log into it.
    Restore,
    /// Decide the command at this offset of `commands`, and fold its effect.
    Decide(Offset),
    /// Encode the chunk's content, so that the encoding can be hashed or stored.
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
    /// Returns the number of the owner's current step, and the current model call if there is one.
    /// `None`: the owner is idle. If the number stays the same for long, the step does not end.
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
