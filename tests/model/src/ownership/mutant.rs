//! Changes that broke earlier versions of the ownership rules. Each mutant makes one such change,
//! and a property must catch it.

/// The rules that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Readers start at `updates_low` without the epoch and n just below it, so they accept the
    /// first record that they read.
    LowWithoutEpoch,
    /// Readers start at `updates_low` with the epoch under which the checkpoint was written,
    /// although older epochs may follow in the log.
    LowWithNewestEpoch,
    /// An owner counts an acknowledged record although there is a gap before the record. In the
    /// gap, the producer may have appended records again, or another owner may have fenced this
    /// one.
    TrustEveryOffset,
    /// An owner takes any valid fence of its epoch for its own.
    OwnFenceByEpoch,
    /// R4 does not compare n, so records after a hole count.
    NoNumbers,
    /// The owner itself appends an unacknowledged record again.
    ProduceAgain,
    /// An acknowledgement counts although an earlier record is not acknowledged.
    AcknowledgedOutOfOrder,
    /// A chunk counts as dirty only while its version is above the version of its ref. Discarded
    /// commands do not raise the version, so their decisions get lost.
    DirtyByVersion,
    /// A gateway trims its ring by the version of the stored ref, instead of its `through_offset`.
    TrimByVersion,
    /// An owner that restores a chunk skips decisions at or below the chunk's version, instead of
    /// its `through_offset`.
    ResumeByVersion,
    /// A gateway uses a ref that it has loaded, although it trimmed the ring for a newer ref
    /// meanwhile.
    LoadWhileTrimmed,
    /// A fenced owner opens the index again and keeps its epoch.
    ReopenIndex,
    /// An owner appends no fence, so its first record takes over by its higher epoch.
    NoFence,
    /// A new owner reads to the end of `updates` instead of to its own fence.
    ReadToEnd,
    /// An owner writes a ref before the decisions in it are acknowledged.
    RefBeforeAck,
    /// `commands_next` counts decided commands even if their decisions are not acknowledged.
    NextBeforeAck,
    /// An owner's new epoch is never durable, so the next owner claims the same one. Each owner
    /// takes any fence of its epoch for its own.
    ReuseEpoch,
    /// A new owner skips decided commands by one offset for the whole partition, instead of one for
    /// each chunk.
    SkipByPartition,
    /// If retention has deleted an offset that an owner must read, the owner silently begins at the
    /// log's start.
    SilentReset,
    /// The index accepts writes of an older writer.
    IndexWithoutFence,
    /// The bound of a dirty chunk is above the record that made the chunk dirty, so `updates_low`
    /// passes that record.
    BoundAfterRecord,
}
