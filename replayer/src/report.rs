//! Reports to an ownership from the tasks and producers that work for it.

use driftless_replayer_core::Input;
use tokio::sync::mpsc::UnboundedSender;

/// A message to an ownership's own task.
pub(crate) enum Report {
    /// For the core.
    Input(Input),
    /// The copy to `dead-letter` of this id was not acknowledged, for this reason.
    DeadLetterFailed(u64, String),
    /// The copy of this id is due to be made again.
    DeadLetterDue(u64),
}

/// Where an ownership hears of reports.
pub(crate) type Reports = UnboundedSender<Report>;
