//! Gathers the decisions of one poll into one record per chunk (R3).
//!
//! A record is sealed at the end of the poll, or earlier when it is above [`limits::DECISIONS_BYTES_TARGET`]. Sealing
//! takes the state hash, so that each chunk is hashed once a poll.

use crate::progress::{BatchId, Share, add_one};
use bytes::Bytes;
use driftless_chunk::live::{Decided, LiveChunk};
use driftless_schemas::proto::{Decisions, Entry, Mark, Updates};
use driftless_schemas::{ChunkId, Hash, Version, limits};
use prost::Message;

/// What was decided for one chunk and is not in a record yet.
#[derive(Default)]
pub(crate) struct Open {
    marks: Vec<Mark>,
    entries: Vec<Entry>,
    shares: Vec<Share>,
    bytes: usize,
}

/// A record's body, ready to be numbered.
pub(crate) struct Sealed {
    pub decisions: Decisions,
    pub shares: Vec<Share>,
    /// The version and hash that the record publishes, where it commits something.
    pub published: Option<(Version, Hash)>,
    /// The length of the content's encoding, where the record commits something.
    pub content_bytes: usize,
}

impl Open {
    pub fn push(&mut self, decided: Decided, batch: BatchId) {
        add_one(&mut self.shares, batch);
        self.bytes += decided.mark.encoded_len() + 8;
        self.marks.push(decided.mark);
        if let Some(entry) = decided.entry {
            self.bytes += entry.encoded_len() + 8;
            self.entries.push(entry);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= limits::DECISIONS_BYTES_TARGET
    }

    pub fn count(&self) -> u64 {
        self.marks.len() as u64
    }

    /// Makes the record's body; `live` is the chunk just after the last decision.
    pub fn seal(self, chunk: &ChunkId, live: &mut LiveChunk) -> Sealed {
        let mut updates = Bytes::new();
        let (mut published, mut content_bytes) = (None, 0);
        if !self.entries.is_empty() {
            let (version, hash) = (live.replica.version(), live.replica.hash());
            published = Some((version, hash));
            content_bytes = live.replica.encoded_bytes();
            let message = Updates {
                chunk_id: chunk.to_string(),
                first_version: version.0 + 1 - self.entries.len() as u64,
                entries: self.entries,
                state_hash: hash.to_bytes(),
            };
            updates = message.encode_to_vec().into();
        }
        let decisions = Decisions { chunk_id: chunk.to_string(), updates, marks: self.marks };
        Sealed { decisions, shares: self.shares, published, content_bytes }
    }
}
