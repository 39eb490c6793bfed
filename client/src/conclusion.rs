//! The result of a command for the user: its outcome and its number.

use driftless_client_core::{Number, Outcome};

/// A command's outcome, and the number that names the command in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// The outcome.
    pub outcome: Outcome,
    /// The number under which the client last sent the command; `None` if the client never sent it.
    pub number: Option<Number>,
    /// Whether ingest reported that the log has the command under that number.
    pub is_receipted: bool,
}
