//! The chunks that an owner holds: on their way in, or live; clean or dirty.
//!
//! A chunk is dirty while a decision of it is in no stored ref. Its bound is a position in `updates` that is not above
//! the first such decision; the smallest bound is the checkpoint's `updates_low` (R6). A bound is always the position
//! after an *earlier* record whose offset is known, never a record's own acknowledged offset.

use crate::outbox::Open;
use crate::progress::BatchId;
use bytes::Bytes;
use driftless_chunk::live::{Asked, LiveChunk};
use driftless_chunk::position::Position;
use driftless_chunk::world::Place;
use driftless_schemas::proto::{Decisions, IndexEntry, Ref, SnapshotStored, Updates};
use driftless_schemas::{Hash, Version};

/// A chunk's place in an owner's memory.
pub(crate) struct Slot {
    pub place: Place,
    /// Counts up with every use; the smallest is the least recently used.
    pub last_used: u64,
    pub state: State,
}

pub(crate) enum State {
    Loading(Loading),
    Live(Box<Held>),
}

/// What waits for a chunk's stored state.
#[derive(Default)]
pub(crate) struct Loading {
    /// Where the first recovered decision stands.
    pub bound: Option<Position>,
    /// Valid records that were read before the own fence.
    pub recovered: Vec<Recovered>,
    /// Commands, in order.
    pub waiting: Vec<Waiting>,
    /// When to ask for the state again, after a failure.
    pub retry_at_ms: Option<u64>,
}

/// A command whose chunk is on its way in.
pub(crate) struct Waiting {
    pub asked: Asked,
    /// The record's bytes.
    pub value: Bytes,
    pub batch: BatchId,
}

/// A valid record of an earlier owner.
pub(crate) enum Recovered {
    Decisions(Decisions, Option<Updates>),
    Stored(SnapshotStored),
}

/// A chunk in memory.
pub(crate) struct Held {
    pub live: LiveChunk,
    /// As it stands in the index.
    pub entry: IndexEntry,
    /// Decided and not in a record yet; empty between polls.
    pub open: Open,
    /// Decisions that no stored ref contains.
    pub dirty: Option<Dirty>,
    /// A snapshot on its way.
    pub snapshot: Option<Snapshot>,
    pub last_snapshot_ms: Option<u64>,
    /// What the log was last told.
    pub published: Option<(Version, Hash)>,
    /// Estimate of the memory that the chunk takes.
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Dirty {
    pub bound: Position,
    pub since_ms: u64,
    pub decisions: u64,
}

pub(crate) struct Snapshot {
    pub stored: Ref,
    /// The last record that it contains: the ref must not be seen before that is acknowledged.
    pub requires_n: u64,
    /// What was decided since.
    pub dirty_after: Option<Dirty>,
    pub step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The object is on its way.
    Putting,
    /// The object is durable.
    Put,
    /// The ref is in the checkpoint that is being written.
    Writing,
}

impl Held {
    /// Notes decisions that go into a record after `known`.
    pub fn soil(&mut self, known: Position, now_ms: u64, decisions: u64) {
        let dirty = match &mut self.snapshot {
            Some(snapshot) => &mut snapshot.dirty_after,
            None => &mut self.dirty,
        };
        dirty.get_or_insert(Dirty { bound: known, since_ms: now_ms, decisions: 0 }).decisions += decisions;
    }

    /// Where the first decision stands that no ref contains; `with_ref` counts the snapshot in `Step::Writing` as a ref.
    pub fn bound(&self, with_ref: bool) -> Option<Position> {
        match &self.snapshot {
            Some(snapshot) if with_ref && snapshot.step == Step::Writing => snapshot.dirty_after.map(|d| d.bound),
            _ => self.dirty.map(|d| d.bound),
        }
    }

    /// Roughly the memory that the chunk takes, with a canonical encoding of this length.
    pub fn estimate_bytes(&self, encoding: usize) -> usize {
        encoding + self.live.ledger.len() * 96 + 512
    }

    pub fn is_clean(&self) -> bool {
        self.dirty.is_none() && self.snapshot.is_none()
    }
}
