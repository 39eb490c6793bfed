//! Copies of commands to `dead-letter` that are not acknowledged yet (R9).
//!
//! A command's batch stays open until its copy is acknowledged, and a chunk that has decided the
//! command is not stored before: an owner that takes over after a crash finds the command and its
//! mark, and copies the command again.

use crate::progress::BatchPart;
use driftless_schemas::ChunkId;
use std::collections::{BTreeMap, BTreeSet};

/// The copies in flight of one ownership.
#[derive(Default)]
pub(crate) struct DeadLetters {
    in_flight: BTreeMap<u64, InFlight>,
    next_id: u64,
}

struct InFlight {
    command: BatchPart,
    /// The chunk that has decided the command.
    decided_by: Option<ChunkId>,
}

impl DeadLetters {
    /// Notes a copy; the number names it.
    pub fn begin(&mut self, command: BatchPart, decided_by: Option<&ChunkId>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.in_flight.insert(id, InFlight { command, decided_by: decided_by.cloned() });
        id
    }

    /// A copy is acknowledged; gives the command that waited for it.
    pub fn acknowledge(&mut self, id: u64) -> Option<BatchPart> {
        self.in_flight.remove(&id).map(|copy| copy.command)
    }

    /// The number that the next copy will have.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Whether each copy below `id` is acknowledged.
    pub fn is_acknowledged_below(&self, id: u64) -> bool {
        self.in_flight.first_key_value().is_none_or(|(oldest, _)| *oldest >= id)
    }

    /// The chunks that have decided a command whose copy is in flight.
    pub fn chunks(&self) -> BTreeSet<&ChunkId> {
        self.in_flight.values().filter_map(|copy| copy.decided_by.as_ref()).collect()
    }
}
