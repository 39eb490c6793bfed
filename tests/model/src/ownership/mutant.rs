//! What broke in earlier versions of the ownership rules: each is a change of one rule, and must be caught.

/// One rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Readers start at `updates_low` without the epoch and n just below it: they believe the first record.
    LowWithoutEpoch,
    /// Readers start at `updates_low` with the epoch that the checkpoint was written under.
    LowWithNewestEpoch,
    /// What is acknowledged at an offset is taken for the newest below it, though its producer may have written it twice.
    TrustEveryOffset,
    /// R4 without n.
    NoNumbers,
    /// A record that was not acknowledged is produced again, by hand.
    ProduceAgain,
    /// An acknowledgement counts though an earlier record has none.
    AcknowledgedOutOfOrder,
    /// A chunk counts as dirty while its version is above its ref's.
    DirtyByVersion,
    /// A gateway's ring is trimmed by the stored version.
    TrimByVersion,
    /// Whoever restores a chunk skips decisions at or below its version.
    ResumeByVersion,
    /// A gateway takes a ref that it loaded, though the ring was trimmed for a newer one in the meantime.
    LoadWhileTrimmed,
    /// A fenced owner opens the index again and keeps its epoch.
    ReopenIndex,
    /// The index is opened after the fence stands in the log.
    OpenAfterFence,
    /// The first record is no fence; a higher epoch speaks for itself.
    NoFence,
    /// A new owner reads to the end of `updates` instead of to its own fence.
    ReadToEnd,
    /// A ref is written before its decisions are acknowledged.
    RefBeforeAck,
    /// `commands_next` counts what is decided, acknowledged or not.
    NextBeforeAck,
    /// The fence is appended before the new epoch is durable.
    EpochNotDurable,
    /// What is decided already is told by one offset for the whole partition.
    SkipByPartition,
    /// An offset that fell off a log is silently replaced by the log's start.
    SilentReset,
    /// The index lets an older writer write.
    IndexWithoutFence,
    /// A dirty chunk's bound stands above the record that made it dirty.
    BoundAfterRecord,
}
