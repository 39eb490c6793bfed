//! Errors that end a gateway.

use driftless_log as log;
use driftless_store::index;

/// An error that ends a gateway.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A topic is missing or wrong, or the log cannot be reached.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// The gateway cannot read `updates` any further; the text says why.
    #[error("{0}")]
    Follow(String),
}
