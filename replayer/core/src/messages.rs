//! The inputs and outputs of a [`crate::PartitionCore`].

use bytes::Bytes;
use driftless_schemas::stored::{Checkpoint, IndexEntry, StoredRef};
use driftless_schemas::{ChunkId, Epoch, Hash, Offset};
use std::fmt;

/// An event for the core.
#[derive(Debug)]
pub enum Input {
    /// Records of `updates`, in order, after [`Output::ReadUpdates`] and before
    /// [`Output::ReadCommands`].
    Updates(Vec<(Offset, Bytes)>),
    /// Records of `commands`, in order, after [`Output::ReadCommands`].
    Commands(Vec<(Offset, Bytes)>),
    /// A stream that the core reads does not hold the offset that comes next.
    OutOfRange(OutOfRange),
    /// The answer to [`Output::Load`]: the index entry and the newest ref's canonical encoding, or
    /// nothing is stored.
    Loaded(ChunkId, Result<Option<Stored>, LoadError>),
    /// The answer to [`Output::LoadOlder`].
    OlderLoaded(ChunkId, Result<Bytes, OlderError>),
    /// Records of `updates`, in order, after [`Output::ReadHistory`] and before
    /// [`Output::EndHistory`].
    History(Vec<(Offset, Bytes)>),
    /// Record `n` is acknowledged, at an offset if the log knows it. In the order of n.
    Acked(u64, Option<Offset>),
    /// Record `n` was not acknowledged, for this reason.
    AppendFailed(u64, String),
    /// The answer to [`Output::PutSnapshot`]: the object is durable, or not.
    SnapshotPut(ChunkId, Hash, Result<(), String>),
    /// The answer to [`Output::DeadLetter`]: the copy is acknowledged.
    DeadLettered(u64),
    /// The answer to [`Output::WriteCheckpoint`].
    CheckpointWritten(Result<(), String>),
    /// Time has passed.
    Tick,
    /// End in order: write a checkpoint and decide until it is written, then take no more commands
    /// and wait for what is in flight.
    Drain,
    /// Bits flip in the memory of a chunk, on purpose: to show that drift is found and healed.
    #[cfg(any(debug_assertions, feature = "mutants"))]
    Damage(ChunkId),
}

/// A stream of records that the core reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `updates`, up to the own fence.
    Updates,
    /// `commands`.
    Commands,
    /// `updates`, read again for one chunk.
    History,
}

/// The offset that a stream wants next is outside of what the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{stream} holds offsets {low}..{high}, but {wanted} is wanted")]
pub struct OutOfRange {
    /// The stream.
    pub stream: Stream,
    /// The offset that comes next.
    pub wanted: Offset,
    /// The log's first offset. Above `wanted`: retention has taken the records in between.
    pub low: Offset,
    /// The log's end. Below `wanted`: the index belongs to another log.
    pub high: Offset,
}

/// A stored state as the shell loaded it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The index's entry.
    pub entry: IndexEntry,
    /// The canonical encoding of the newest ref.
    pub encoding: Bytes,
}

/// Why a stored state was not loaded.
#[derive(Clone, Debug, PartialEq)]
pub enum LoadError {
    /// The store does not answer. It may answer later.
    Unavailable(String),
    /// The object of the newest ref does not exist, or its content has another hash than its name.
    /// The log may still lead to the content.
    Lost {
        /// The index's entry.
        entry: Box<IndexEntry>,
        /// The problem with the object.
        reason: String,
    },
}

/// Why an older ref's object was not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderError {
    /// The store does not answer. It may answer later.
    Unavailable,
    /// The object does not exist, or its content has another hash than its name.
    Lost,
}

/// A task for the shell, in the order of the outputs.
#[derive(Debug)]
pub enum Output {
    /// Append to `updates`, in this order; report [`Input::Acked`] or [`Input::AppendFailed`].
    Append {
        /// The record's number.
        n: u64,
        /// The partition key.
        key: String,
        /// The encoded `UpdatesRecord`.
        value: Bytes,
    },
    /// Read `updates` from this offset on; report [`Input::Updates`] or [`Input::OutOfRange`].
    ReadUpdates(Offset),
    /// Stop reading `updates`, and read `commands` from this offset on; report [`Input::Commands`]
    /// or [`Input::OutOfRange`]. Commands that were read before are still wanted.
    ReadCommands(Offset),
    /// Beside `commands`, read `updates` from this offset on; report [`Input::History`] or
    /// [`Input::OutOfRange`].
    ReadHistory(Offset),
    /// Stop reading what [`Output::ReadHistory`] asked for.
    EndHistory,
    /// Load a chunk's stored state; report [`Input::Loaded`].
    Load(ChunkId),
    /// Load the object of an older ref; report [`Input::OlderLoaded`].
    LoadOlder(ChunkId, StoredRef),
    /// Store an encoding under its hash; report [`Input::SnapshotPut`].
    PutSnapshot {
        /// The chunk.
        chunk: ChunkId,
        /// BLAKE3 of the encoding.
        hash: Hash,
        /// The canonical encoding.
        encoding: Bytes,
    },
    /// Store an object again that was lost. The core does not wait for it.
    Repair {
        /// The chunk.
        chunk: ChunkId,
        /// BLAKE3 of the encoding.
        hash: Hash,
        /// The canonical encoding.
        encoding: Bytes,
    },
    /// Write refs and checkpoint in one batch, durable; report [`Input::CheckpointWritten`].
    WriteCheckpoint {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The entries that changed.
        entries: Vec<(ChunkId, IndexEntry)>,
    },
    /// Copy a record of `commands` to `dead-letter`; report [`Input::DeadLettered`] with the id.
    DeadLetter {
        /// Names the copy.
        id: u64,
        /// Where the record stands in `commands`.
        offset: Offset,
        /// The record's bytes.
        value: Bytes,
        /// Why it is copied.
        reason: String,
    },
    /// The ownership has come so far: for logs, metrics, and what the shell allows from then on.
    Reached(Milestone),
    /// For the operator: commits of a chunk are lost, as an operator has accepted.
    Lost(ChunkId, String),
    /// For the operator: the records from `wanted` to `low` are lost, as an operator has accepted.
    LossAccepted(OutOfRange),
    /// For the operator: the content of a chunk was not what the log says (R10), and now it is.
    Drift(ChunkId, String),
    /// For the operator: a chunk cannot be loaded or checked for now. Its commands wait, those of
    /// other chunks are decided.
    Stuck(ChunkId, String),
    /// The ownership is over; no output follows.
    Ended(End),
}

/// A step in the life of an ownership. That recovery is over is [`Output::ReadCommands`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The log has acknowledged the fence.
    FenceAcknowledged,
    /// The first record after the fence is handed over.
    FirstRecord,
    /// The log has acknowledged the first record after the fence.
    FirstRecordAcknowledged,
}

/// Why an ownership is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The end was asked for, and everything is written.
    #[error("drained")]
    Drained,
    /// A newer owner has fenced this one.
    #[error("epoch {epoch} owns the partition now")]
    Replaced {
        /// The newer epoch.
        epoch: Epoch,
    },
    /// A record was not acknowledged, so that it may or may not be in the log. The next owner finds
    /// out.
    #[error("record {n} of updates was not acknowledged: {reason}")]
    AppendFailed {
        /// The record's number.
        n: u64,
        /// The log's answer.
        reason: String,
    },
    /// A record of `updates` cannot be read: to skip it would decide its commands again.
    #[error("updates offset {offset} cannot be read: {reason}")]
    Unreadable {
        /// Where the record stands.
        offset: Offset,
        /// Why it cannot be read.
        reason: String,
    },
    /// The log does not hold what comes next, and no operator accepts the loss
    /// ([`crate::Settings::accept_loss`]), or accepting it would not help.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The model failed where a decision cannot be taken back. The next owner is to be careful with
    /// that chunk.
    #[error(
        "the model of {chunk} panicked while encoding, or its content is too large to be stored; its commands are tried one by one from here on"
    )]
    ModelFault {
        /// The chunk.
        chunk: ChunkId,
    },
    /// A chunk that could not be loaded for long can be loaded now; the commands that were not kept
    /// for it are read again.
    #[error("{chunk} can be loaded again; its commands are read once more")]
    Reread {
        /// The chunk.
        chunk: ChunkId,
    },
    /// The index refuses: another writer has fenced this one, or the store fails.
    #[error("the index cannot be written: {reason}")]
    Index {
        /// The index's answer.
        reason: String,
    },
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Updates | Self::History => "updates",
            Self::Commands => "commands",
        })
    }
}

/// Counters and gauges for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stats {
    pub committed: u64,
    pub discarded: u64,
    pub out_of_order: u64,
    pub resends: u64,
    pub expired: u64,
    pub dead_letters: u64,
    pub audits: u64,
    /// Chunks that were compared with ref and log because of an audit or a doubt.
    pub checks: u64,
    /// Chunks that differed from the log when they were compared or restored.
    pub drifts: u64,
    /// Lost objects that were made again out of the log.
    pub reconstructed: u64,
    pub records: u64,
    pub snapshots: u64,
    pub checkpoints: u64,
    pub chunks: usize,
    pub chunk_bytes: usize,
    pub dirty_chunks: usize,
    pub commands_open: usize,
    /// Chunks that cannot be loaded.
    pub stuck_chunks: usize,
}

impl Stats {
    /// The counters of another, with the gauges of this one: what is left when an ownership is
    /// over.
    #[must_use]
    pub fn with_counters_of(self, other: &Self) -> Self {
        let Self { chunks, chunk_bytes, dirty_chunks, commands_open, stuck_chunks, .. } = self;
        Self { chunks, chunk_bytes, dirty_chunks, commands_open, stuck_chunks, ..*other }
    }
}
