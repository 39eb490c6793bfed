//! Gathers the decisions of one poll into one record per chunk (R3).
//!
//! A record is sealed at the end of the poll, or earlier when it is above
//! [`limits::DECISIONS_BYTES_TARGET`]. Sealing computes the hash of the chunk's content, so that a
//! chunk is hashed once per record and not once per command.

use crate::progress::{BatchId, BatchPart};
use bytes::Bytes;
use driftless_chunk::live::{Decided, LiveChunk};
use driftless_schemas::proto::{Decisions, Entry, Mark, Updates};
use driftless_schemas::{ChunkId, Hash, Version, limits};
use prost::Message;

/// Decisions for one chunk that are not in a record yet.
#[derive(Default)]
pub(crate) struct Open {
    marks: Vec<Mark>,
    entries: Vec<Entry>,
    commands: Vec<BatchPart>,
    bytes: usize,
}

/// A record's body, which [`RecordTrail::append`](crate::trail::RecordTrail::append) numbers and
/// encodes.
pub(crate) struct Sealed {
    pub decisions: Decisions,
    /// The commands that the record decides.
    pub commands: Vec<BatchPart>,
    /// The version and hash that the record publishes, if it commits a command.
    pub published: Option<(Version, Hash)>,
    /// The length of the content's encoding, if the record commits a command.
    pub content_bytes: usize,
}

impl Open {
    pub fn push(&mut self, decided: Decided, batch: BatchId) {
        BatchPart::add_one(&mut self.commands, batch);
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

    /// True if the record must be sealed now, because it has reached its target size.
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
        Sealed { decisions, commands: self.commands, published, content_bytes }
    }
}
