//! The ring: the recent records of one chunk. A ring keeps the records that no snapshot contains,
//! and a few more, from which resuming clients and `Refresh` are answered.
//!
//! A snapshot covers a record if the record's last mark is at or below the snapshot's
//! `through_offset`. Versions cannot decide this, because a discarded command does not raise the
//! version. A ring may evict records for lack of memory before a snapshot covers them. It then
//! keeps their position in the log, with the epoch and the record number n, so that R4 can judge
//! these records when they are read again.

use bytes::{BufMut, Bytes, BytesMut};
use driftless_chunk::mutant::Mutant;
use driftless_chunk::position::Position;
use driftless_schemas::proto::{Decisions, Updates};
use driftless_schemas::{Hash, Offset, Version};
use std::collections::VecDeque;

/// A valid record of decisions.
#[derive(Debug)]
pub(crate) struct Record {
    /// The position just before the record.
    pub at: Position,
    pub decisions: Decisions,
    pub updates: Option<Updates>,
    /// The offset in `commands` of the last mark: the last command that the record decides.
    pub through: Offset,
    /// An encoded `ServerFrame` around the log's updates; empty if the record committed nothing.
    pub frame: Bytes,
    /// True if the record's hash is not the hash of the content after this record. Such a record is
    /// never sent, because a client would take its own replica for drifted.
    pub has_wrong_hash: bool,
}

/// Records of one chunk, in the order of the log.
#[derive(Debug)]
pub(crate) struct Ring {
    records: VecDeque<Record>,
    bytes: usize,
    /// Records whose last mark is at or below this offset may have been trimmed. A stored state is
    /// too old to load if it does not contain all of them.
    pub trimmed_through: Offset,
    /// Evicted records that no snapshot contains; all of them are older than the records in the
    /// ring.
    evicted: Option<Evicted>,
}

/// The part of the log that has the evicted records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evicted {
    /// The position in `updates` before the first evicted record.
    pub from: Position,
    /// The position in `updates` just before the last evicted record. A log that was made anew has
    /// another record there.
    pub last: Position,
    /// The offset in `commands` of the last mark of the last evicted record.
    pub through: Offset,
}

impl Evicted {
    /// The offset in `updates` after the last evicted record.
    pub fn end(&self) -> Offset {
        self.last.offset.next()
    }
}

impl Record {
    pub fn new(at: Position, decisions: Decisions, updates: Option<Updates>) -> Self {
        let through = decisions.marks.last().map_or(Offset::NONE, |mark| Offset(mark.source_offset));
        let frame = updates_frame(&decisions.updates);
        Self { at, decisions, updates, through, frame, has_wrong_hash: false }
    }

    /// Approximate memory of the record, bytes.
    fn bytes(&self) -> usize {
        let entries = self.updates.as_ref().map_or(0, |updates| updates.entries.len());
        // The updates are in memory twice: in `decisions` and in `frame`.
        let held = 2 * self.frame.len() + size_of_val(&self.decisions.marks[..]);
        size_of::<Self>() + held + entries * size_of::<driftless_schemas::proto::Entry>()
    }

    /// The versions of the entries: (first, last). `None` if the record committed nothing.
    pub fn versions(&self) -> Option<(Version, Version)> {
        let updates = self.updates.as_ref()?;
        Some((Version(updates.first_version), Version(updates.first_version + updates.entries.len() as u64 - 1)))
    }

    /// The record's last version, with the hash that the log published for it. `None` if the record
    /// committed nothing.
    pub fn published(&self) -> Option<(Version, Hash)> {
        let hash = Hash::from_slice(&self.updates.as_ref()?.state_hash)?;
        Some((self.versions()?.1, hash))
    }
}

impl Ring {
    pub fn new() -> Self {
        Self { records: VecDeque::new(), bytes: 0, trimmed_through: Offset::NONE, evicted: None }
    }

    pub fn push(&mut self, record: Record) {
        self.bytes += record.bytes();
        self.records.push_back(record);
    }

    /// Approximate memory of all records in the ring, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn evicted(&self) -> Option<Evicted> {
        self.evicted
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.records.iter_mut()
    }

    /// Returns true if the ring holds no records, and a snapshot contains every record that the
    /// ring evicted.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.evicted.is_none()
    }

    fn pop(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        self.bytes -= record.bytes();
        if self.records.is_empty() {
            self.records = VecDeque::new();
        }
        Some(record)
    }

    /// Drops all but the newest `kept` records. `covered` is the `through_offset` of the newest
    /// ref. The ring remembers the position of dropped records that this ref does not contain.
    pub fn evict(&mut self, covered: Offset, kept: usize) {
        self.trim(covered, kept);
        while self.records.len() > kept
            && let Some(record) = self.pop()
        {
            if Mutant::EvictUnnoticed.is_on() {
                continue;
            }
            let from = self.evicted.map_or(record.at, |evicted| evicted.from);
            self.evicted = Some(Evicted { from, last: record.at, through: record.through });
        }
    }

    /// Drops records that a snapshot contains, but keeps at least the newest `kept` records.
    /// `through` is the snapshot's `through_offset`.
    pub fn trim(&mut self, through: Offset, kept: usize) {
        if let Some(evicted) = self.evicted.take_if(|evicted| evicted.through <= through) {
            self.trimmed_through = self.trimmed_through.max(evicted.through);
        }
        while self.records.len() > kept
            && self.records.front().is_some_and(|r| r.through <= through)
            && let Some(record) = self.pop()
        {
            self.trimmed_through = self.trimmed_through.max(record.through);
        }
    }

    /// A deliberate defect in place of [`Ring::trim`]: trims by version, although discards do not
    /// raise the version.
    pub fn trim_by_version(&mut self, version: Version) {
        self.records.retain(|record| record.versions().is_some_and(|(_, last)| last > version));
        self.bytes = self.records.iter().map(Record::bytes).sum();
    }

    /// The frames with all versions above `have` up to `newest`; `None` if the ring lacks one of
    /// these versions, or if a record has the wrong hash.
    pub fn frames_after(&self, have: Version, newest: Version) -> Option<Vec<Bytes>> {
        let mut frames = Vec::new();
        let mut wanted = newest;
        for record in self.records.iter().rev() {
            if wanted <= have {
                break;
            }
            let Some((first, last)) = record.versions() else { continue };
            if last < wanted || record.has_wrong_hash {
                return None;
            }
            frames.push(record.frame.clone());
            wanted = Version(first.0.saturating_sub(1));
        }
        frames.reverse();
        (wanted <= have).then_some(frames)
    }
}

/// Encodes `ServerFrame { events: [Event { updates }] }` around updates that are encoded already.
fn updates_frame(updates: &Bytes) -> Bytes {
    if updates.is_empty() {
        return Bytes::new();
    }
    // Event.updates is field 19, ServerFrame.events is field 1, both length-delimited.
    const EVENT_UPDATES: [u8; 2] = [0x9a, 0x01];
    let inner = EVENT_UPDATES.len() + prost::length_delimiter_len(updates.len()) + updates.len();
    let mut frame = BytesMut::with_capacity(1 + prost::length_delimiter_len(inner) + inner);
    frame.put_u8(0x0a);
    prost::encoding::encode_varint(inner as u64, &mut frame);
    frame.put_slice(&EVENT_UPDATES);
    prost::encoding::encode_varint(updates.len() as u64, &mut frame);
    frame.put_slice(updates);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_schemas::proto::{Entry, Mark, event::Body};
    use driftless_schemas::{Epoch, format};
    use prost::Message;

    fn record(first: u64, count: usize, through: i64) -> Record {
        let updates = Updates {
            chunk_id: "canvas/0/0".into(),
            first_version: first,
            entries: vec![Entry::default(); count],
            state_hash: vec![0; 32].into(),
        };
        let encoded = if count == 0 { Bytes::new() } else { updates.encode_to_vec().into() };
        let marks = vec![Mark { source_offset: through, ..Mark::default() }];
        let decisions = Decisions { chunk_id: "canvas/0/0".into(), updates: encoded, marks };
        let at =
            Position { offset: Offset(through + 100), epoch: Epoch(1), n: through.unsigned_abs(), ..Position::START };
        Record::new(at, decisions, (count > 0).then_some(updates))
    }

    #[test]
    fn a_frame_is_what_the_encoder_writes() {
        let record = record(1, 2, 5);
        assert_eq!(record.frame, format::event(Body::Updates(record.decisions.updates.clone())));
    }

    #[test]
    fn frames_after_a_version_have_no_gap() {
        let mut ring = Ring::new();
        for r in [record(1, 2, 1), record(0, 0, 2), record(3, 1, 3), record(4, 3, 9)] {
            ring.push(r);
        }
        let count = |have, newest| ring.frames_after(Version(have), Version(newest)).map(|f| f.len());
        assert_eq!(
            [count(6, 6), count(5, 6), count(3, 6), count(2, 6), count(1, 6), count(0, 6)],
            [Some(0), Some(1), Some(1), Some(2), Some(3), Some(3)]
        );
        assert_eq!(count(6, 7), None);
        ring.trim(Offset(3), 1);
        assert_eq!(ring.trimmed_through, Offset(3));
        assert_eq!(ring.frames_after(Version(2), Version(6)), None);
        assert_eq!(ring.frames_after(Version(3), Version(6)).map(|f| f.len()), Some(1));
    }

    #[test]
    fn the_position_of_evicted_records_is_kept_until_a_snapshot_contains_them() {
        let mut ring = Ring::new();
        for r in [record(1, 2, 1), record(3, 1, 3), record(0, 0, 5), record(4, 3, 9)] {
            ring.push(r);
        }
        let whole = ring.bytes();
        ring.evict(Offset::NONE, 3);
        ring.evict(Offset::NONE, 1);
        let at = |through: i64| Position {
            offset: Offset(through + 100),
            epoch: Epoch(1),
            n: through.unsigned_abs(),
            ..Position::START
        };
        assert_eq!(ring.evicted(), Some(Evicted { from: at(1), last: at(5), through: Offset(5) }));
        assert!(ring.bytes() < whole && ring.bytes() > 0);
        ring.trim(Offset(3), 0);
        assert!(ring.evicted().is_some(), "some of the evicted records are in no snapshot");
        ring.trim(Offset(5), 1);
        assert_eq!((ring.evicted(), ring.trimmed_through, ring.is_empty()), (None, Offset(5), false));
        ring.trim(Offset(9), 0);
        assert_eq!((ring.bytes(), ring.is_empty()), (0, true));
    }

    #[test]
    fn records_that_a_snapshot_contains_are_not_reread() {
        let mut ring = Ring::new();
        for r in [record(1, 2, 1), record(3, 1, 3), record(4, 3, 9)] {
            ring.push(r);
        }
        // `trim` keeps these records for `Refresh`, although the snapshot contains two of them.
        ring.trim(Offset(3), 3);
        ring.evict(Offset(3), 1);
        assert_eq!((ring.evicted(), ring.trimmed_through), (None, Offset(3)));
    }
}
