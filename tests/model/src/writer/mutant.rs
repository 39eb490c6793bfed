//! Changes that broke earlier versions of the writer's rule. Each mutant makes one such change, and
//! a property must catch it.

/// The rules that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// After a rejection that allows a retry, ingest refuses later commands until the rejected
    /// command comes again.
    HoldAtIngest,
    /// A `Settle` must wait for room in the client's window. The rule gives it one spare number.
    SettleInWindow,
    /// The client does not resend a command that has a receipt.
    ReceiptedNotResent,
    /// The client resends commands only after a new connection to ingest.
    ResentOnReconnectOnly,
    /// An undecodable command is discarded without a check of its `after`.
    UndecodableAnyOrder,
    /// The owner decides a command only if `after == L`. The rule says `after ≤ L`.
    AfterEquals,
    /// The client gives the number of a cancelled command to the next command.
    ReuseNumber,
    /// The client takes a final rejection of one transmission for the end of the command, although
    /// another transmission may have landed.
    RejectedResendIsFinal,
    /// Ingest answers a produce that timed out with a rejection, although the record may land.
    TimeoutIsRejection,
    /// The client reports a cancelled command as withdrawn at once, although it may be in the log.
    WithdrawnAtOnce,
    /// An eviction does not raise the floor.
    EvictWithoutFloor,
    /// An eviction sets the floor to the evicted session's time even if the floor was higher.
    FloorWithoutMax,
    /// The ledger's answer in `Tracked` comes from an older position of the log than the version in
    /// `Tracked`.
    ResolvedOlderThanVersion,
    /// A ref stores the ledger's entries sorted by writer, and so loses the order in which they are
    /// evicted.
    OrderNotInRef,
    /// The client takes `expired` in `Tracked` as a proof that its commands are not committed, and
    /// submits them again.
    ResubmitOnTrackedExpired,
    /// The client may have more numbers in flight than the ledger remembers.
    WindowTooWide,
    /// The client's new session may have a time that is not above the floor that refused the old
    /// session.
    SessionBelowFloor,
    /// The stream omits a mark, and the client does not notice.
    SilentGap,
}
