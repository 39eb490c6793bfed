//! What broke in earlier versions of the writer's rule: each is a change of one rule, and must be caught.

/// One rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// After a retryable rejection ingest holds the later commands back until the rejected one comes again.
    HoldAtIngest,
    /// `Settle` waits for room in the client's window, and has no number to spare.
    SettleInWindow,
    /// What ingest receipted is not sent again.
    ReceiptedNotResent,
    /// Commands are sent again on a new connection only.
    ResentOnReconnectOnly,
    /// An undecodable command is discarded without the test of `after`.
    UndecodableAnyOrder,
    /// A command is decided iff `after == L`, and not iff `after ≤ L`.
    AfterEquals,
    /// The number of a cancelled command goes to the next one.
    ReuseNumber,
    /// A final rejection of one transmission is taken for the command's.
    RejectedResendIsFinal,
    /// A produce that timed out is answered with a rejection.
    TimeoutIsRejection,
    /// A cancelled command is concluded as withdrawn at once.
    WithdrawnAtOnce,
    /// Eviction leaves the floor as it is.
    EvictWithoutFloor,
    /// Eviction sets the floor to the evicted session's time, also where that lowers it.
    FloorWithoutMax,
    /// `Tracked` tells what was resolved at an older place of the log than its version.
    ResolvedOlderThanVersion,
    /// A ref keeps the ledger's entries by writer, not by the order in which they are evicted.
    OrderNotInRef,
    /// `expired` in `Tracked` is taken for a proof, and the commands are submitted again.
    ResubmitOnTrackedExpired,
    /// The client has more numbers out than the ledger remembers.
    WindowTooWide,
    /// A new session's time need not be above the floor that refused the old one.
    SessionBelowFloor,
    /// The stream leaves something out and does not say so.
    SilentGap,
}
