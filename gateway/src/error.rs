//! Errors that keep a gateway from starting.

use driftless_log as log;

/// An error that keeps a gateway from starting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A topic is missing or wrong, or the log cannot be reached.
    #[error(transparent)]
    Log(#[from] log::Error),
}
