//! Errors that end a replayer.

use driftless_log as log;
use driftless_runtime_core::memory::TooSmall;

/// The most times that a member joins again within [`REJOINS_WITHIN_MS`] after the group has fenced
/// it.
pub(crate) const REJOINS_MAX: usize = 4;
/// The time, in milliseconds, within which [`REJOINS_MAX`] applies.
pub(crate) const REJOINS_WITHIN_MS: u64 = 60_000;

/// An error that ends a replayer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A topic is missing or wrong, or the log cannot be reached.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The memory of the process does not hold what it needs.
    #[error(transparent)]
    Memory(#[from] TooSmall),
    /// The watchdog's thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The group has fenced this member more than [`REJOINS_MAX`] times within a minute.
    #[error(
        "the group membership ended {REJOINS_MAX} times within a minute: another process uses the member name {member:?} (give each replayer its own with --member), or this one was held up for longer than the session time-out, again and again"
    )]
    Membership {
        /// The name of this process.
        member: String,
    },
}

/// The log no longer holds what recovery of a partition needs.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log does not hold what recovery needs: {source}. Retention was shorter than the time without a replayer, or the index in this store belongs to another log or generation. Restore the log; name the store that belongs to it; or find out with `driftless recover plan` what is lost, and go on without it with `driftless recover apply` (with `--new-history` if the plan finds nothing, because only this process knew the lost end of the log)"
)]
pub(crate) struct Unrecoverable {
    /// The wanted offset, and the offsets that the log holds.
    pub source: log::ReadError,
}
