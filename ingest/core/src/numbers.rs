//! Remembers the newest command numbers of one socket for each chunk, to detect a number that is
//! used for two different commands (R8: a writer never uses a number twice).
//!
//! A resend has the same number and the same body, and is accepted; its `after` may differ. This
//! memory only helps authors of clients to find their mistakes. It cannot detect all of them,
//! because it is bounded and each socket has its own. The replayer's ledger enforces R8 without it.

use driftless_schemas::{ChunkId, limits, proto};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The largest number of remembered chunks. The chunk without a command for the longest time is
/// evicted first.
const CHUNKS_MAX: usize = 64;

/// The newest command numbers of one socket, by chunk.
#[derive(Debug, Default)]
pub struct Numbers {
    chunks: BTreeMap<ChunkId, Recent>,
    /// The number of remembered commands so far. It orders the chunks by their newest command.
    commands: u64,
}

#[derive(Debug, Default)]
struct Recent {
    /// The value of [`Numbers::commands`] at the chunk's newest command.
    touched: u64,
    /// (number, fingerprint of the body), at most [`limits::LEDGER_WINDOW`] of them.
    numbers: VecDeque<(u64, u64)>,
}

impl Numbers {
    /// Returns true if the number was used for this chunk with another body.
    #[must_use]
    pub fn is_reused(&self, chunk: &ChunkId, seq: u64, fingerprint: u64) -> bool {
        let Some(recent) = self.chunks.get(chunk) else { return false };
        recent.numbers.iter().any(|(number, other)| *number == seq && *other != fingerprint)
    }

    /// Remembers a command that is handed to the log.
    pub fn remember(&mut self, chunk: &ChunkId, seq: u64, fingerprint: u64) {
        self.commands += 1;
        if !self.chunks.contains_key(chunk) && self.chunks.len() >= CHUNKS_MAX {
            let oldest = self.chunks.iter().min_by_key(|(_, recent)| recent.touched).map(|(id, _)| id.clone());
            oldest.map(|id| self.chunks.remove(&id));
        }
        let recent = self.chunks.entry(chunk.clone()).or_default();
        recent.touched = self.commands;
        if recent.numbers.iter().any(|(number, _)| *number == seq) {
            return;
        }
        if recent.numbers.len() as u64 >= limits::LEDGER_WINDOW {
            recent.numbers.pop_front();
        }
        recent.numbers.push_back((seq, fingerprint));
    }
}

/// Returns a hash of a body. The hash is not cryptographic: a client that constructs a collision
/// affects only the memory of its own socket.
#[must_use]
pub fn fingerprint(body: Option<&proto::submit::Body>) -> u64 {
    // `new` uses fixed keys, so the hash is deterministic (R11).
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_in_chunks_and_in_numbers() {
        let mut numbers = Numbers::default();
        let chunk = |i: i32| ChunkId::new("a", &[i]).unwrap();
        for seq in 1..=65 {
            numbers.remember(&chunk(0), seq, 1);
        }
        assert!(!numbers.is_reused(&chunk(0), 1, 2), "the 65th number evicts the first");
        assert!(numbers.is_reused(&chunk(0), 2, 2) && !numbers.is_reused(&chunk(0), 2, 1));
        for i in 1..=64 {
            numbers.remember(&chunk(i), 1, 1);
        }
        assert!(!numbers.is_reused(&chunk(0), 2, 2), "64 other chunks evict it");
        assert_eq!(numbers.chunks.len(), CHUNKS_MAX);
    }
}
