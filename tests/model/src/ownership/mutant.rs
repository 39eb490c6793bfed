//! Changes that broke earlier versions of the ownership rules. Each mutant changes one rule and
//! must be caught.

/// The rules that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Readers start at `updates_low` without the epoch and n just below it: they believe the first
    /// record.
    LowWithoutEpoch,
    /// Readers start at `updates_low` with the epoch that the checkpoint was written under.
    LowWithNewestEpoch,
    /// An acknowledged offset is taken for the record's last copy, although the producer may have
    /// appended the record again after it.
    TrustEveryOffset,
    /// R4 without n.
    NoNumbers,
    /// The owner itself appends an unacknowledged record again.
    ProduceAgain,
    /// An acknowledgement counts although an earlier record has none.
    AcknowledgedOutOfOrder,
    /// A chunk counts as dirty while its version is above its ref's.
    DirtyByVersion,
    /// A gateway's ring is trimmed by the stored version.
    TrimByVersion,
    /// Restoring a chunk skips decisions at or below its version.
    ResumeByVersion,
    /// A gateway uses a ref that it loaded, although the ring was trimmed for a newer ref
    /// meanwhile.
    LoadWhileTrimmed,
    /// A fenced owner opens the index again and keeps its epoch.
    ReopenIndex,
    /// The index is opened after the fence stands in the log.
    OpenAfterFence,
    /// An owner appends no fence: its first record takes over by its higher epoch.
    NoFence,
    /// A new owner reads to the end of `updates` instead of to its own fence.
    ReadToEnd,
    /// A ref is written before its decisions are acknowledged.
    RefBeforeAck,
    /// `commands_next` counts decided commands, whether the decisions are acknowledged or not.
    NextBeforeAck,
    /// The fence is appended before the new epoch is durable.
    EpochNotDurable,
    /// A new owner skips decided commands by one offset for the whole partition.
    SkipByPartition,
    /// An offset below the log's start is silently replaced by the log's start.
    SilentReset,
    /// The index lets an older writer write.
    IndexWithoutFence,
    /// A dirty chunk's bound is above the record that made the chunk dirty.
    BoundAfterRecord,
}
