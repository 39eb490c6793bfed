//! An owner of the partition, and what it waits for.

use bytes::Bytes;
use driftless_replayer_core::{End, PartitionCore};
use driftless_schemas::proto::{Checkpoint, IndexEntry};
use driftless_schemas::{ChunkId, Hash, Offset};
use std::collections::VecDeque;

/// What an owner has asked for and not got.
pub struct Owner {
    /// `None`: the process is gone; what it has handed to its producer may still land.
    pub core: Option<PartitionCore>,
    pub epoch: u64,
    pub to_append: VecDeque<(u64, Bytes)>,
    /// In the log, and not acknowledged.
    pub landed: VecDeque<(u64, Offset)>,
    /// Of what is acknowledged, the end in the log.
    pub(super) acked: Offset,
    pub loads: VecDeque<ChunkId>,
    pub puts: VecDeque<(ChunkId, Hash, Bytes)>,
    pub dead_letters: VecDeque<(u64, Offset)>,
    pub checkpoint: Option<(Checkpoint, Vec<(ChunkId, IndexEntry)>)>,
    pub written: Option<Result<(), String>>,
    pub reads_updates: Option<Offset>,
    pub reads_commands: Option<Offset>,
    pub end: Option<End>,
    /// Injected, so that an end by it is no surprise.
    pub was_failed: bool,
    /// A load failed: commands that were not kept meanwhile are read again by the next owner.
    pub was_away: bool,
}
