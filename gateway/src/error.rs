//! Errors that keep a gateway from starting.

use driftless_log as log;
use driftless_runtime_core::memory::TooSmall;

/// An error that keeps a gateway from starting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A topic is missing or wrong, or the log cannot be reached.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The memory of the process does not hold what it needs.
    #[error(transparent)]
    Memory(#[from] TooSmall),
}
