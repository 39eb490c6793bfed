//! The inputs and outputs of a [`crate::PartitionCore`].

use bytes::Bytes;
use driftless_schemas::stored::{Checkpoint, IndexEntry, StoredRef};
use driftless_schemas::{ChunkId, Epoch, Hash, HistoryId, Offset, Print, WorldId};
use std::fmt;

/// An event for the core.
#[derive(Debug)]
pub enum Input {
    /// Records of `updates`, in log order, between [`Output::ReadUpdates`] and
    /// [`Output::ReadCommands`].
    Updates(Vec<(Offset, Bytes)>),
    /// Records of `commands`, in log order, after [`Output::ReadCommands`].
    Commands(Vec<(Offset, Bytes)>),
    /// The log does not hold the offset that the core has to read next from a stream.
    OutOfRange(OutOfRange),
    /// The answer to [`Output::Load`]: the chunk's index entry and the encoding that its newest ref
    /// names, or `None` if nothing is stored for the chunk.
    Loaded(ChunkId, Result<Option<Stored>, LoadError>),
    /// The answer to [`Output::LoadOlder`]: the object's content.
    OlderLoaded(ChunkId, Result<Bytes, OlderError>),
    /// Records of `updates`, in log order, between [`Output::ReadHistory`] and
    /// [`Output::EndHistory`].
    History(Vec<(Offset, Bytes)>),
    /// Records of `updates`, in log order, between [`Output::ReadBack`] and
    /// [`Output::EndReadBack`].
    ReadBack(Vec<(Offset, Bytes)>),
    /// The log has acknowledged record `n` of [`Output::Append`], with the record's offset if the
    /// log reports one. Acknowledgements come in the order of `n`.
    Acked(u64, Option<Offset>),
    /// The log has not acknowledged record `n`; the text is the log's reason.
    AppendFailed(u64, String),
    /// The answer to [`Output::PutSnapshot`]: the object is durable, or the reason why it may not
    /// be.
    SnapshotPut(ChunkId, Hash, Result<(), String>),
    /// The answer to [`Output::DeadLetter`]: the log has acknowledged the copy with this id, or has
    /// refused it for good.
    DeadLettered(u64),
    /// The answer to [`Output::WriteCheckpoint`]: the batch is durable, or the index's reason why
    /// it may not be.
    CheckpointWritten(Result<(), String>),
    /// The answer to [`Output::AskCommandsEnd`]: the offset behind the last record of `commands`.
    CommandsEnd(Offset),
    /// The new limit for the estimated memory of all chunks, bytes. The shell divides the memory of
    /// a process among the partitions that it owns.
    ChunksBytesMax(usize),
    /// Time has passed: the core retries loads, and begins the checks, snapshots and checkpoints
    /// that are due.
    Tick,
    /// The ownership is to end in order. The core begins a last checkpoint, and decides commands
    /// until that checkpoint is written. Then the core takes no more commands, and ends when the
    /// log has acknowledged all its records.
    Drain,
    /// Flips bits in the memory of a chunk on purpose. Tests use this input to show that drift is
    /// found and healed.
    #[cfg(any(debug_assertions, feature = "mutants"))]
    Damage(ChunkId),
}

/// A stream of records that the core reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `updates`, which recovery reads up to this owner's own fence.
    Updates,
    /// `commands`.
    Commands,
    /// `updates`, read again for one chunk that is being checked or rebuilt.
    History,
    /// `updates`, read back to learn whether the own records count.
    ReadBack,
}

/// The core has to read an offset that the log does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{stream} holds offsets {low}..{high}, but {wanted} is wanted")]
pub struct OutOfRange {
    /// The stream that does not hold the offset.
    pub stream: Stream,
    /// The offset that the core has to read next.
    pub wanted: Offset,
    /// The log's first offset. If `low` is above `wanted`, retention has deleted the records from
    /// `wanted` to before `low`.
    pub low: Offset,
    /// The log's end, one offset above its last record. If `high` is below `wanted`, the index
    /// belongs to another log.
    pub high: Offset,
}

impl OutOfRange {
    /// True if the log does not hold the offset, and does not end just below it.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.wanted < self.low || self.wanted > self.high
    }
}

/// A loss of records of `updates` that an operator has accepted. The own fence begins a new
/// history, and the log may be shorter than the checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedLoss {
    /// The history that begins with the fence of this ownership. It must be above every history
    /// that the partition has had.
    pub history: HistoryId,
    /// The offset at which recovery begins to read `updates`, in place of the checkpoint's
    /// `updates_low`, if records of `updates` are lost. The epoch and n there need not be known.
    pub updates_from: Option<Offset>,
    /// The offset of `commands` from which commands are decided again, in place of the checkpoint's
    /// `commands_next`, because their decisions may be lost. `None` if `commands` is another topic.
    pub commands_from: Option<Offset>,
}

/// A chunk's newest stored state, as the shell loaded it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The chunk's entry in the index.
    pub entry: IndexEntry,
    /// The canonical encoding of the content that the entry's newest ref names.
    pub encoding: Bytes,
}

/// Why a chunk's newest stored state was not loaded.
#[derive(Clone, Debug, PartialEq)]
pub enum LoadError {
    /// The store does not answer now. The same load may succeed later.
    Unavailable(String),
    /// The object of the newest ref does not exist, or the hash of its content is not the hash in
    /// its name. The owner may still be able to rebuild the content from an older state and the
    /// log.
    Lost {
        /// The chunk's entry in the index.
        entry: Box<IndexEntry>,
        /// The problem with the object.
        reason: String,
    },
}

/// Why an older ref's object was not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderError {
    /// The store does not answer now. The same load may succeed later.
    Unavailable,
    /// The object does not exist, or the hash of its content is not the hash in its name.
    Lost,
}

/// A task for the shell, which takes up the tasks in the order in which the core gives them.
#[derive(Debug)]
pub enum Output {
    /// Append a record to `updates`, behind the records of earlier outputs. Report [`Input::Acked`]
    /// or [`Input::AppendFailed`].
    Append {
        /// The record's number.
        n: u64,
        /// The Kafka key of the record: the key of the record's chunk, and empty for the fence.
        key: String,
        /// The encoded `UpdatesRecord`.
        value: Bytes,
    },
    /// Read `updates` from this offset on; report [`Input::Updates`] or [`Input::OutOfRange`].
    ReadUpdates(Offset),
    /// Stop reading `updates`, and read `commands` from this offset on; report [`Input::Commands`]
    /// or [`Input::OutOfRange`]. Records of `commands` that were fetched before this output are
    /// still to be reported.
    ReadCommands(Offset),
    /// Ask the log for the end of `commands`; report [`Input::CommandsEnd`].
    AskCommandsEnd,
    /// Read `updates` from this offset on, at the same time as `commands`; report
    /// [`Input::History`] or [`Input::OutOfRange`].
    ReadHistory(Offset),
    /// Stop the reading that [`Output::ReadHistory`] began.
    EndHistory,
    /// Read `updates` from this offset on, at the same time as `commands`; report
    /// [`Input::ReadBack`] or [`Input::OutOfRange`]. The core reads `updates` either for this
    /// output or for [`Output::ReadHistory`], never for both at a time.
    ReadBack(Offset),
    /// Stop the reading that [`Output::ReadBack`] began.
    EndReadBack,
    /// Load a chunk's stored state; report [`Input::Loaded`].
    Load(ChunkId),
    /// Load the object of an older ref; report [`Input::OlderLoaded`].
    LoadOlder(ChunkId, StoredRef),
    /// Store an encoding as an object that is named by its hash; report [`Input::SnapshotPut`].
    PutSnapshot {
        /// The chunk.
        chunk: ChunkId,
        /// BLAKE3 of the encoding.
        hash: Hash,
        /// The canonical encoding.
        encoding: Bytes,
    },
    /// Store an object again because it is lost, or because a gateway may be unable to load it. The
    /// core expects no report.
    Repair {
        /// The chunk.
        chunk: ChunkId,
        /// BLAKE3 of the encoding.
        hash: Hash,
        /// The canonical encoding.
        encoding: Bytes,
    },
    /// Write the checkpoint and the changed entries to the index in one durable batch; report
    /// [`Input::CheckpointWritten`].
    WriteCheckpoint {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The index entries that have a new newest ref.
        entries: Vec<(ChunkId, IndexEntry)>,
    },
    /// Copy a record of `commands` to `dead-letter`; report [`Input::DeadLettered`] with the id.
    DeadLetter {
        /// The copy's number, which the report repeats.
        id: u64,
        /// The record's offset in `commands`.
        offset: Offset,
        /// The record's bytes.
        value: Bytes,
        /// Why the record is copied to `dead-letter`.
        reason: String,
    },
    /// The ownership has reached this milestone. The shell logs and measures milestones, and runs
    /// more loads at a time after the last one.
    Reached(Milestone),
    /// A message for the operator: commits of this chunk are lost. An operator has accepted that
    /// ([`crate::Settings::accept_loss`]).
    Lost(ChunkId, String),
    /// A message for the operator: the commands from offset `wanted` to before `low` are lost. An
    /// operator has accepted that ([`crate::Settings::accept_loss`]).
    LossAccepted(OutOfRange),
    /// A message for the operator: this chunk's content differed from the content that the log
    /// leads to (R10), and the owner has corrected it. The text names the hashes.
    Drift(ChunkId, String),
    /// A message for the operator: this chunk cannot be loaded or checked for now. Commands of a
    /// chunk that is not loaded wait, while commands of other chunks are decided.
    Stuck(ChunkId, String),
    /// The ownership is over; no output follows.
    Ended(End),
}

/// A step in the life of an ownership. There is no milestone for the end of recovery, because
/// [`Output::ReadCommands`] marks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The log has acknowledged the fence.
    FenceAcknowledged,
    /// The core has given the first record after the fence to the shell.
    FirstRecord,
    /// The log has acknowledged the first record after the fence.
    FirstRecordAcknowledged,
}

/// Why an ownership is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The shell asked for the end ([`Input::Drain`]), and everything is written.
    #[error("drained")]
    Drained,
    /// A newer owner has fenced this one.
    #[error("epoch {epoch} owns the partition now")]
    Replaced {
        /// The newer epoch.
        epoch: Epoch,
    },
    /// The own fence is invalid by R4, so no reader would count a record of this ownership. The
    /// ownership has written nothing but its fence. The next claim must use an epoch above
    /// `current`.
    #[error(
        "the fence of epoch {epoch}, at offset {offset} of updates, is invalid: epoch {current} owns the partition already. Another owner was faster, or the index is older than the log; the next claim uses an epoch above {current}"
    )]
    FenceInvalid {
        /// The epoch of this ownership.
        epoch: Epoch,
        /// The offset of the own fence in `updates`.
        offset: Offset,
        /// The valid epoch at that offset. It is not below `epoch`.
        current: Epoch,
    },
    /// The own fence does not begin the history that its [`AcceptedLoss`] names, because the
    /// partition has had a later one. The ownership has written nothing but its fence. The next
    /// claim that accepts the loss must use a history above `current`.
    #[error(
        "the fence of epoch {epoch} does not begin history {history}: the log of the partition has reached history {current} already. The clock of this machine is behind, or the index is older than the log; the next attempt begins a later history"
    )]
    HistoryTooOld {
        /// The epoch of this ownership.
        epoch: Epoch,
        /// The history that the fence names.
        history: HistoryId,
        /// The history of the log at the fence.
        current: HistoryId,
    },
    /// The index is from before a fence that took up another topic of `commands`, so its offsets
    /// belong to the old topic.
    #[error(
        "the index is older than offset {offset} of updates, from which on commands is another topic. Make the index again: `driftless index rebuild`"
    )]
    IndexTooOld {
        /// The offset of the fence.
        offset: Offset,
    },
    /// The index knows nothing of the log yet, and the log belongs to another world. The ownership
    /// has written nothing but its fence.
    #[error(
        "the log belongs to the world with the id {found}, as offset {offset} of updates says, but world.json says {own}. Another world of this name uses these topics. Name the store or the brokers of this world, or give the world another name or generation"
    )]
    AnotherWorld {
        /// The offset of the fence that names the other world.
        offset: Offset,
        /// The world that the fence names.
        found: WorldId,
        /// The id of the own world, or the text that it has none.
        own: String,
    },
    /// A record of `updates` is not the one that the index has noted at its offset. The ownership
    /// has written nothing but its fence.
    #[error(
        "updates is not the log that the index describes: the print of the record at offset {offset} is {found}, and not {known}"
    )]
    AnotherLog {
        /// The offset of the record.
        offset: Offset,
        /// The print of the record.
        found: Print,
        /// The print in the index.
        known: Print,
    },
    /// The log has acknowledged a record that does not count (R4), so no reader uses it.
    #[error("record {n} of updates was acknowledged, but does not count: {reason}")]
    NotCounted {
        /// The record's number.
        n: u64,
        /// Which records stand in its place.
        reason: String,
    },
    /// The log did not acknowledge a record, so that the record may or may not be in the log. The
    /// next owner reads the log and so learns which is the case.
    #[error("record {n} of updates was not acknowledged: {reason}")]
    AppendFailed {
        /// The record's number.
        n: u64,
        /// The log's reason.
        reason: String,
    },
    /// A record of `updates` cannot be decoded. An owner that skipped it would decide its commands
    /// a second time.
    #[error("updates offset {offset} cannot be read: {reason}")]
    Unreadable {
        /// The record's offset in `updates`.
        offset: Offset,
        /// Why the record cannot be decoded.
        reason: String,
    },
    /// A valid record of `updates` decides a command that cannot have been decided then. No owner
    /// writes such a record. An owner that believed it would skip commands that are not decided.
    #[error(
        "updates offset {offset} is impossible: it decides offset {source_offset} of commands for {chunk}, but {reason}. A program that is no owner wrote it. Restore the log and the index to a state from before, or give the world a new generation"
    )]
    ImpossibleMark {
        /// The record's offset in `updates`.
        offset: Offset,
        /// The chunk that the record is about.
        chunk: ChunkId,
        /// The offset in `commands` that the mark names.
        source_offset: Offset,
        /// Why no owner can have decided it.
        reason: String,
    },
    /// The log does not hold the offset that the core has to read next. Either no operator accepts
    /// the loss ([`crate::Settings::accept_loss`]), or the loss is of a kind that cannot be
    /// accepted.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The chunk's model failed after the chunk had decided commands, and those decisions cannot be
    /// undone in memory. So the ownership ends, and the next owner is to try that chunk's commands
    /// one by one ([`crate::PartitionCore::careful_with`]).
    #[error(
        "the model of {chunk} panicked while encoding, or its content is too large to be stored; its commands are tried one by one from here on"
    )]
    ModelFault {
        /// The chunk.
        chunk: ChunkId,
    },
    /// A chunk that could not be loaded for long can be loaded now. Not all its commands were kept,
    /// so the ownership ends, and the next owner reads them again.
    #[error("{chunk} can be loaded again; its commands are read once more")]
    Reread {
        /// The chunk.
        chunk: ChunkId,
    },
    /// A checkpoint could not be written: another owner has fenced this one in the index, or the
    /// store fails.
    #[error("the index cannot be written: {reason}")]
    Index {
        /// The index's reason.
        reason: String,
    },
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Updates | Self::History | Self::ReadBack => "updates",
            Self::Commands => "commands",
        })
    }
}

/// Counters and gauges for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commands that were decided as committed.
    pub committed: u64,
    /// Commands that were decided as discarded.
    pub discarded: u64,
    /// Commands that were decided as out of order.
    pub out_of_order: u64,
    /// Commands that had been decided already, so that they needed no decision.
    pub resends: u64,
    /// Commands that were decided as those of an expired session.
    pub expired: u64,
    /// Records of `commands` that were given to the shell for `dead-letter`.
    pub dead_letters: u64,
    /// Audits by gateways that the owner has read.
    pub audits: u64,
    /// Chunks that were compared with their ref and the log, because a gateway audited them or
    /// because the owner doubted their content.
    pub checks: u64,
    /// Chunks whose content differed from the log when the owner compared or rebuilt it.
    pub drifts: u64,
    /// Lost objects that were rebuilt from an older state and the log.
    pub reconstructed: u64,
    /// Records that this ownership has appended to `updates`, its fence included.
    pub records: u64,
    /// Records of other processes that this ownership has found behind its fence. None of them
    /// counts; a record that counts ends the ownership.
    pub foreign_records: u64,
    /// Snapshots whose refs are durable in the index.
    pub snapshots: u64,
    /// Checkpoints that were written.
    pub checkpoints: u64,
    /// Chunks that have a slot now, loading ones included.
    pub chunks: usize,
    /// The estimated memory of the chunks in memory now, bytes.
    pub chunk_bytes: usize,
    /// Chunks with a decision that no stored ref contains, or with a snapshot under way.
    pub dirty_chunks: usize,
    /// Commands that were read and are not done.
    pub commands_open: usize,
    /// Chunks whose last load failed.
    pub stuck_chunks: usize,
}

impl Stats {
    /// Returns the counters of `other` with the gauges of `self`. When an ownership is over, its
    /// last counters remain valid, but its gauges do not.
    #[must_use]
    pub fn with_counters_of(self, other: &Self) -> Self {
        let Self { chunks, chunk_bytes, dirty_chunks, commands_open, stuck_chunks, .. } = self;
        Self { chunks, chunk_bytes, dirty_chunks, commands_open, stuck_chunks, ..*other }
    }
}
