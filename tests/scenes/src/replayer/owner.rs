//! An owner of the partition, with its unanswered requests.

use bytes::Bytes;
use driftless_replayer_core::{End, PartitionCore};
use driftless_schemas::stored::{Checkpoint, IndexEntry};
use driftless_schemas::{ChunkId, Hash, Offset};
use std::collections::VecDeque;

/// An owner with its unanswered requests.
pub struct Owner {
    /// `None` if the owner's process is gone. Records that the owner has given to its producer may
    /// still reach the log.
    pub core: Option<PartitionCore>,
    pub epoch: u64,
    /// Records that the owner has given to its producer and that are not in the log yet.
    pub to_append: VecDeque<(u64, Bytes)>,
    /// Records that are in the log and not acknowledged, with their offsets.
    pub landed: VecDeque<(u64, Offset)>,
    /// The offset after the last acknowledged record.
    pub(super) acked: Offset,
    pub loads: VecDeque<ChunkId>,
    pub puts: VecDeque<(ChunkId, Hash, Bytes)>,
    pub dead_letters: VecDeque<(u64, Offset)>,
    /// The batch that the owner wants to write to the index.
    pub checkpoint: Option<(Checkpoint, Vec<(ChunkId, IndexEntry)>)>,
    /// The result of a write to the index that the owner does not know yet.
    pub written: Option<Result<(), String>>,
    pub reads_updates: Option<Offset>,
    pub reads_commands: Option<Offset>,
    /// True if the owner has asked for the end of `commands`.
    pub asks_commands_end: bool,
    /// The next offset that the owner reads back.
    pub reads_back: Option<Offset>,
    pub end: Option<End>,
    /// True if the scene has injected a failure that may end the owner.
    pub was_failed: bool,
    /// True if a load has failed. The owner may then drop commands, and end later so that they are
    /// read again.
    pub was_away: bool,
}
