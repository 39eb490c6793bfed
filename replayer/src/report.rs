//! Reports to an ownership from the tasks and producers that work for it.

use driftless_replayer_core::Input;
use tokio::sync::mpsc::UnboundedSender;

/// A message to an ownership's own task.
pub(crate) enum Report {
    /// An input for the ownership's core.
    Input(Input),
    /// The log did not acknowledge the copy to `dead-letter` with this number, for the given
    /// reason.
    DeadLetterFailed(u64, String),
    /// The pause after a failed copy is over, and the copy with this number is to be made again.
    DeadLetterDue(u64),
}

/// The sending half of an ownership's report channel.
pub(crate) type Reports = UnboundedSender<Report>;
