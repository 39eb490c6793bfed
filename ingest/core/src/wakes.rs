//! Which chunks have had commands lately.
//!
//! A command to any other chunk makes the owner of its partition load the chunk and store it again,
//! however small the command is. So such a command costs its user the size of the content. A
//! process knows only the commands that it has taken itself, so a chunk that others write to may
//! cost its first command here as well.

use driftless_schemas::ChunkId;
use driftless_schemas::limits::{WAKE_CHUNKS_MAX, WAKE_MS};
use driftless_schemas::time::MonotonicMs;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The chunks that have had commands in the last minute or two.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Mutex<Generations>);

/// The newer set takes chunks for a while, or until it is full. Then it becomes the older one.
#[derive(Debug, Default)]
struct Generations {
    newer: BTreeSet<ChunkId>,
    older: BTreeSet<ChunkId>,
    since: MonotonicMs,
}

impl Wakes {
    /// Whether a command to this chunk most likely wakes it.
    pub fn wakes(&self, chunk: &ChunkId, now: MonotonicMs) -> bool {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.turn(now);
        !generations.newer.contains(chunk) && !generations.older.contains(chunk)
    }

    /// Notes a command to this chunk.
    pub fn note(&self, chunk: &ChunkId, now: MonotonicMs) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.turn(now);
        if !generations.newer.contains(chunk) {
            generations.newer.insert(chunk.clone());
        }
    }
}

impl Generations {
    fn turn(&mut self, now: MonotonicMs) {
        if now.ms_since(self.since) >= WAKE_MS || self.newer.len() >= WAKE_CHUNKS_MAX {
            self.older = std::mem::take(&mut self.newer);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: usize) -> ChunkId {
        format!("canvas/{number}/0").parse().unwrap()
    }

    #[test]
    fn a_chunk_is_awake_for_a_while_after_a_command() {
        let wakes = Wakes::default();
        let at = MonotonicMs;
        assert!(wakes.wakes(&chunk(1), at(0)) && wakes.wakes(&chunk(1), at(0)), "asking wakes nothing");
        wakes.note(&chunk(1), at(1));
        assert!(!wakes.wakes(&chunk(1), at(WAKE_MS - 1)) && wakes.wakes(&chunk(2), at(WAKE_MS - 1)));
        assert!(!wakes.wakes(&chunk(1), at(WAKE_MS)), "the older set still has it");
        wakes.note(&chunk(1), at(WAKE_MS + 1));
        assert!(!wakes.wakes(&chunk(1), at(2 * WAKE_MS)), "a chunk in use stays awake");
        assert!(wakes.wakes(&chunk(1), at(4 * WAKE_MS)));
    }

    #[test]
    fn the_memory_of_chunks_is_bounded() {
        let wakes = Wakes::default();
        (0..3 * WAKE_CHUNKS_MAX).for_each(|i| wakes.note(&chunk(i), MonotonicMs(5)));
        let generations = wakes.0.lock().unwrap();
        assert!(generations.newer.len() + generations.older.len() <= 2 * WAKE_CHUNKS_MAX);
    }
}
