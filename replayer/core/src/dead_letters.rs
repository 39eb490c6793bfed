//! Copies of commands to `dead-letter` that are not acknowledged yet (R9).
//!
//! A command's batch stays open until its copy is acknowledged. A chunk that has decided the
//! command is not stored before that either. So an owner that takes over after a crash reads the
//! command and its mark again, and makes the copy again.

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
    /// The chunk that has decided the command, and that must not be stored before the copy is
    /// acknowledged. `None`: no chunk waits for the copy.
    decided_by: Option<ChunkId>,
}

impl DeadLetters {
    /// Notes a copy that is handed to the log, and returns the copy's number.
    pub fn begin(&mut self, command: BatchPart, decided_by: Option<&ChunkId>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.in_flight.insert(id, InFlight { command, decided_by: decided_by.cloned() });
        id
    }

    /// Notes that the copy `id` is acknowledged. Returns the command whose batch waited for the
    /// copy, or `None` if no such copy is in flight.
    pub fn acknowledge(&mut self, id: u64) -> Option<BatchPart> {
        self.in_flight.remove(&id).map(|copy| copy.command)
    }

    /// The number that the next copy will have.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// True if each copy with a number below `id` is acknowledged.
    pub fn is_acknowledged_below(&self, id: u64) -> bool {
        self.in_flight.first_key_value().is_none_or(|(oldest, _)| *oldest >= id)
    }

    /// The chunks that have decided a command whose copy is in flight.
    pub fn chunks(&self) -> BTreeSet<&ChunkId> {
        self.in_flight.values().filter_map(|copy| copy.decided_by.as_ref()).collect()
    }
}
