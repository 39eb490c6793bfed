//! Reads a part of the log again for one chunk, to get back the records that the chunk's ring
//! evicted for lack of memory.
//!
//! The ring kept the position before the first evicted record. Reading starts there, so that R4
//! accepts exactly the same records as in the first pass.

use crate::ring::{Evicted, Record};
use bytes::Bytes;
use driftless_chunk::live::read_updates;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::position::{Position, Validity};
use driftless_schemas::proto::{UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::StoredRef;
use driftless_schemas::{ChunkId, Offset, Partition, format};

/// The part of the log to read, and the chunk's records that were read from it.
#[derive(Debug)]
pub struct Reread {
    chunk: ChunkId,
    partition: Partition,
    position: Position,
    evicted: Evicted,
    records: Vec<Record>,
}

impl Reread {
    pub(crate) fn new(chunk: ChunkId, partition: Partition, evicted: Evicted) -> Self {
        let position = match Mutant::RereadWithoutEpoch.is_on() {
            true => Position { offset: evicted.from.offset, ..Position::START },
            false => evicted.from,
        };
        Self { chunk, partition, position, evicted, records: Vec::new() }
    }

    /// The partition of `updates` to read.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The next offset to read; `None` once the whole part was read.
    #[must_use]
    pub fn next(&self) -> Option<Offset> {
        (self.position.offset < self.evicted.end()).then_some(self.position.offset)
    }

    /// Returns true if a stored state contains all evicted records, so that nothing needs to be
    /// read.
    #[must_use]
    pub fn is_covered_by(&self, stored: &StoredRef) -> bool {
        stored.through_offset >= self.evicted.through
    }

    /// Takes records in the order of the log, and skips those outside the part to read.
    ///
    /// # Errors
    /// If a record cannot be decoded, although the first reading decoded it.
    pub fn take(&mut self, records: Vec<(Offset, Bytes)>) -> Result<(), String> {
        for (offset, value) in records {
            if self.next().is_none_or(|next| offset < next) {
                continue;
            }
            let at = Position { offset, ..self.position };
            let unreadable = |e: &dyn std::fmt::Display| format!("updates[{}] offset {offset}: {e}", self.partition);
            let record: UpdatesRecord = format::decode_known("UpdatesRecord", value).map_err(|e| unreadable(&e))?;
            let validity = self.position.judge(offset, &record);
            let Some(Body::Decisions(decisions)) = record.body else { continue };
            if validity == Validity::Valid && decisions.chunk_id == self.chunk.as_str() {
                let updates = read_updates(&decisions).map_err(|e| unreadable(&e))?;
                self.records.push(Record::new(at, decisions, updates));
            }
        }
        Ok(())
    }

    /// Returns the reread records. `evicted` is what the chunk's ring lacks now. Returns `None` if
    /// some of these records are missing, because not all were read, the ring evicted more
    /// meanwhile, or the log was made anew and has others.
    pub(crate) fn into_records(self, evicted: Option<Evicted>) -> Option<Vec<Record>> {
        let Evicted { last, through, .. } = self.evicted;
        let is_last = |record: &Record| record.at == last && record.through == through;
        let is_own = self.records.last().is_some_and(is_last);
        let is_whole = self.next().is_none() && evicted.is_none_or(|evicted| evicted.end() <= self.evicted.end());
        (is_own && is_whole).then_some(self.records)
    }
}
