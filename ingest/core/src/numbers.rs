//! A memory of the newest numbers per chunk on one socket, to find a number that is used for two commands (R8: "never
//! uses a number twice"). A resend is the same number with the same body, and is fine; `after` may differ.
//!
//! It is a help for authors of clients, not a proof: it is bounded, and another socket has another memory. R8 holds
//! without it, by the ledger.

use driftless_schemas::{ChunkId, limits, proto};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Chunks that are remembered; the one that was written longest ago goes first.
const CHUNKS_MAX: usize = 64;

/// The numbers seen on one socket.
#[derive(Debug, Default)]
pub struct Numbers {
    chunks: BTreeMap<ChunkId, Recent>,
    clock: u64,
}

#[derive(Debug, Default)]
struct Recent {
    touched: u64,
    /// (number, fingerprint of the body), at most a ledger's window of them.
    numbers: VecDeque<(u64, u64)>,
}

impl Numbers {
    /// Whether the number came with another body.
    #[must_use]
    pub fn is_reused(&self, chunk: &ChunkId, seq: u64, fingerprint: u64) -> bool {
        let Some(recent) = self.chunks.get(chunk) else { return false };
        recent.numbers.iter().any(|(number, other)| *number == seq && *other != fingerprint)
    }

    /// Remembers a command that goes to the log.
    pub fn remember(&mut self, chunk: &ChunkId, seq: u64, fingerprint: u64) {
        self.clock += 1;
        if !self.chunks.contains_key(chunk) && self.chunks.len() >= CHUNKS_MAX {
            let oldest = self.chunks.iter().min_by_key(|(_, recent)| recent.touched).map(|(id, _)| id.clone());
            oldest.map(|id| self.chunks.remove(&id));
        }
        let recent = self.chunks.entry(chunk.clone()).or_default();
        recent.touched = self.clock;
        if recent.numbers.iter().any(|(number, _)| *number == seq) {
            return;
        }
        if recent.numbers.len() as u64 >= limits::LEDGER_WINDOW {
            recent.numbers.pop_front();
        }
        recent.numbers.push_back((seq, fingerprint));
    }
}

/// 64 bits that tell bodies apart. Whoever makes two collide fools only their own socket's memory.
#[must_use]
pub fn fingerprint(body: Option<&proto::submit::Body>) -> u64 {
    // `new` has fixed keys: no chance in it.
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_in_both_directions() {
        let mut numbers = Numbers::default();
        let chunk = |i: i32| ChunkId::new("a", &[i]).unwrap();
        for seq in 1..=65 {
            numbers.remember(&chunk(0), seq, 1);
        }
        assert!(!numbers.is_reused(&chunk(0), 1, 2), "the 65th pushed the first out");
        assert!(numbers.is_reused(&chunk(0), 2, 2) && !numbers.is_reused(&chunk(0), 2, 1));
        for i in 1..=64 {
            numbers.remember(&chunk(i), 1, 1);
        }
        assert!(!numbers.is_reused(&chunk(0), 2, 2), "64 other chunks pushed it out");
        assert_eq!(numbers.chunks.len(), CHUNKS_MAX);
    }
}
