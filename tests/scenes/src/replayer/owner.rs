//! An owner of the partition, and the answers that it waits for.

use bytes::Bytes;
use driftless_replayer_core::{End, PartitionCore};
use driftless_schemas::stored::{Checkpoint, IndexEntry};
use driftless_schemas::{ChunkId, Hash, Offset};
use std::collections::VecDeque;

/// An owner with its unanswered requests.
pub struct Owner {
    /// `None` if the process is gone. Records that it has given to its producer may still land.
    pub core: Option<PartitionCore>,
    pub epoch: u64,
    pub to_append: VecDeque<(u64, Bytes)>,
    /// Records that are in the log and not acknowledged.
    pub landed: VecDeque<(u64, Offset)>,
    /// The offset after the last acknowledged record.
    pub(super) acked: Offset,
    pub loads: VecDeque<ChunkId>,
    pub puts: VecDeque<(ChunkId, Hash, Bytes)>,
    pub dead_letters: VecDeque<(u64, Offset)>,
    pub checkpoint: Option<(Checkpoint, Vec<(ChunkId, IndexEntry)>)>,
    pub written: Option<Result<(), String>>,
    pub reads_updates: Option<Offset>,
    pub reads_commands: Option<Offset>,
    pub end: Option<End>,
    /// True if the scene injected a failure, so that an end because of it is expected.
    pub was_failed: bool,
    /// True if a load failed. The owner may then drop commands, and end so that they are read
    /// again.
    pub was_away: bool,
}
