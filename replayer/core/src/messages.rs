//! What goes into and comes out of a [`crate::PartitionCore`].

use bytes::Bytes;
use driftless_schemas::proto::{Checkpoint, IndexEntry, Ref};
use driftless_schemas::{ChunkId, Epoch, Hash, Offset};

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// Records of `updates`, in order; only until the own fence was read.
    Updates(Vec<(Offset, Bytes)>),
    /// Retention has taken what recovery needs of `updates`, the log begins here, and an operator accepts it
    /// ([`crate::Settings::accept_loss`]).
    UpdatesCut(Offset),
    /// Records of `commands`, in order; only after [`Output::ReadCommands`]. `(offset, value)`.
    Commands(Vec<(Offset, Bytes)>),
    /// Retention has taken what should come next of `commands`, the log begins here, and an operator accepts it.
    CommandsCut(Offset),
    /// The answer to [`Output::Load`]: the index entry and the newest ref's canonical encoding, or nothing is stored.
    Loaded(ChunkId, Result<Option<Stored>, LoadError>),
    /// The answer to [`Output::LoadOlder`].
    OlderLoaded(ChunkId, Result<Bytes, OlderError>),
    /// Records of `updates`, in order, after [`Output::ReadHistory`] and before [`Output::EndHistory`].
    History(Vec<(Offset, Bytes)>),
    /// What [`Output::ReadHistory`] asked for is not there any more: the log begins here.
    HistoryCut(Offset),
    /// Record `n` is acknowledged, at an offset where the log knows it. In the order of n.
    Acked(u64, Option<Offset>),
    /// A record was not acknowledged.
    AppendFailed(u64, String),
    /// The answer to [`Output::PutSnapshot`]: the object is durable, or not.
    SnapshotPut(ChunkId, Hash, Result<(), String>),
    /// The answer to [`Output::DeadLetter`]: the record is acknowledged.
    DeadLettered(u64),
    /// The answer to [`Output::WriteCheckpoint`].
    CheckpointWritten(Result<(), String>),
    /// Time has passed.
    Tick,
    /// End in order: write a checkpoint and decide until it is written, then take nothing more and wait for what is on its
    /// way.
    Drain,
    /// Bits flip in the memory of a chunk, on purpose: to show that drift is found and healed.
    #[cfg(any(debug_assertions, feature = "mutants"))]
    Damage(ChunkId),
}

/// A stored state as the shell loaded it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The index's entry.
    pub entry: IndexEntry,
    /// The canonical encoding that the newest ref names.
    pub encoding: Bytes,
}

/// Why a stored state was not loaded.
#[derive(Clone, Debug, PartialEq)]
pub enum LoadError {
    /// The store does not answer. It may answer later.
    Unavailable(String),
    /// The object of the newest ref is not there, or is not what its name says. The log may still know its content.
    Lost {
        /// The index's entry.
        entry: Box<IndexEntry>,
        /// What is wrong with the object.
        reason: String,
    },
}

/// Why an older ref's object was not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderError {
    /// The store does not answer. It may answer later.
    Unavailable,
    /// It is not there, or is not what its name says.
    Lost,
}

/// What is to be done.
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
    /// Read `updates` from here on.
    ReadUpdates(Offset),
    /// The own fence was read: stop reading `updates`, and read `commands` from here on.
    ReadCommands(Offset),
    /// Beside `commands`, read `updates` from here on; report [`Input::History`] or [`Input::HistoryCut`].
    ReadHistory(Offset),
    /// Stop that.
    EndHistory,
    /// Load a chunk's stored state.
    Load(ChunkId),
    /// Load the object of an older ref; report [`Input::OlderLoaded`].
    LoadOlder(ChunkId, Ref),
    /// Store an encoding under its hash.
    PutSnapshot {
        /// Whose.
        chunk: ChunkId,
        /// BLAKE3 of the encoding.
        hash: Hash,
        /// The canonical encoding.
        encoding: Bytes,
    },
    /// Store an object again that was lost. Nobody waits for it.
    Repair {
        /// Whose.
        chunk: ChunkId,
        /// BLAKE3 of the encoding.
        hash: Hash,
        /// The canonical encoding.
        encoding: Bytes,
    },
    /// Write refs and checkpoint in one batch, durable.
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
        /// Its bytes.
        value: Bytes,
        /// Why.
        reason: String,
    },
    /// Commits of a chunk are lost, as an operator has accepted: for the operator.
    Lost(ChunkId, String),
    /// A chunk was not what the log says (R10), and is now: for the operator.
    Drift(ChunkId, String),
    /// A chunk cannot be loaded or checked for now; its commands wait, the others go on: for the operator.
    Stuck(ChunkId, String),
    /// The ownership is over; nothing more comes.
    Ended(End),
}

/// Why an ownership is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// It was asked for, and everything is written.
    #[error("drained")]
    Drained,
    /// A newer owner has fenced this one.
    #[error("epoch {epoch} owns the partition now")]
    Replaced {
        /// The newer epoch.
        epoch: Epoch,
    },
    /// A record was not acknowledged: nobody knows whether it is in the log. The next owner finds out.
    #[error("record {n} of updates was not acknowledged: {reason}")]
    AppendFailed {
        /// Its number.
        n: u64,
        /// What the log said.
        reason: String,
    },
    /// A record of `updates` cannot be read: to skip it would be to decide again what is decided.
    #[error("updates offset {offset} cannot be read: {reason}")]
    Unreadable {
        /// Where.
        offset: Offset,
        /// Why.
        reason: String,
    },
    /// The model failed where a decision cannot be taken back. The next owner is to be careful with that chunk.
    #[error(
        "the model of {chunk} panicked while encoding, or its content is too large to be stored; its commands are tried one by one from here on"
    )]
    ModelFault {
        /// Which chunk.
        chunk: ChunkId,
    },
    /// A chunk that could not be loaded for long can be now; the commands that were not kept for it are read again.
    #[error("{chunk} can be loaded again; its commands are read once more")]
    Reread {
        /// Which chunk.
        chunk: ChunkId,
    },
    /// The index refuses: another writer has fenced this one, or the store fails.
    #[error("the index cannot be written: {reason}")]
    Index {
        /// What it said.
        reason: String,
    },
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
    /// Chunks that were compared with ref + log because of an audit or a doubt.
    pub checks: u64,
    /// Of them, and of those that were restored, the ones that differed from the log.
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
    /// The counters of another, with its own gauges: what is left when an ownership is over.
    #[must_use]
    pub fn with_counters_of(self, other: &Self) -> Self {
        let Self { chunks, chunk_bytes, dirty_chunks, commands_open, stuck_chunks, .. } = self;
        Self { chunks, chunk_bytes, dirty_chunks, commands_open, stuck_chunks, ..*other }
    }
}
