//! Changes that broke earlier versions of the writer's rule. Each mutant changes one rule and must
//! be caught.

/// The rules that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// After a retryable rejection ingest holds the later commands back until the rejected one
    /// comes again.
    HoldAtIngest,
    /// A `Settle` waits for room in the client's window, instead of using the one spare number.
    SettleInWindow,
    /// The client does not resend a command that has a receipt.
    ReceiptedNotResent,
    /// Commands are sent again on a new connection only.
    ResentOnReconnectOnly,
    /// An undecodable command is discarded without the test of `after`.
    UndecodableAnyOrder,
    /// A command is decided iff `after == L`, and not iff `after ≤ L`.
    AfterEquals,
    /// The number of a cancelled command goes to the next one.
    ReuseNumber,
    /// A final rejection of one transmission is taken for a rejection of the command.
    RejectedResendIsFinal,
    /// A produce that timed out is answered with a rejection.
    TimeoutIsRejection,
    /// A cancelled command ends as withdrawn at once.
    WithdrawnAtOnce,
    /// Eviction leaves the floor as it is.
    EvictWithoutFloor,
    /// Eviction sets the floor to the evicted session's time, even if that lowers it.
    FloorWithoutMax,
    /// `Tracked` contains what was resolved at an older position of the log than its version.
    ResolvedOlderThanVersion,
    /// A ref keeps the ledger's entries by writer, not by the order in which they are evicted.
    OrderNotInRef,
    /// `expired` in `Tracked` is taken for a proof, and the commands are submitted again.
    ResubmitOnTrackedExpired,
    /// The client has more numbers in flight than the ledger remembers.
    WindowTooWide,
    /// A new session's time need not be above the floor that refused the old one.
    SessionBelowFloor,
    /// The stream silently omits a mark.
    SilentGap,
}
