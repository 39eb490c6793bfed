//! A chunk in an owner's memory: its content, its refs, and what of it no ref contains.
//!
//! A chunk is dirty while a decision of it is in no stored ref. Its bound is a position in
//! `updates` that is not above the first such decision; the smallest bound is the checkpoint's
//! `updates_low` (R6). A bound is the position after an *earlier* record that is trusted
//! (docs/decisions/0012), never the acknowledged offset of the decision's own record.

use crate::guard::{Calls, Guarded, ModelPanicked};
use crate::outbox::Open;
use crate::progress::BatchPart;
use crate::recovered::{Folded, Recovered};
use crate::refs::Refs;
use crate::working::Call;
use bytes::Bytes;
use driftless_chunk::live::LiveChunk;
use driftless_chunk::position::Position;
use driftless_schemas::stored::StoredRef;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{Hash, Version};

/// A chunk in memory.
pub(crate) struct Resident {
    pub live: Guarded<LiveChunk>,
    /// The chunk's stored states.
    pub refs: Refs,
    /// Decided and not in a record yet; empty between polls.
    pub open: Open,
    /// Decisions that no stored ref contains.
    pub dirty: Option<Dirty>,
    /// A snapshot under way.
    pub snapshot: Option<Snapshot>,
    pub last_snapshot_at: Option<MonotonicMs>,
    /// The result of the log so far; `published` is the newest version and hash that the log says.
    pub folded: Folded,
    /// The log was told a hash that is not the content's: the content must be stored and announced
    /// at once.
    pub is_urgent: bool,
    /// Estimate of the memory that the chunk takes.
    pub bytes: usize,
    /// While recovery still reads the log: the records that were folded, in case that a later one
    /// does not fit.
    pub recovered: Vec<Recovered>,
    /// Audits that stay open until the healed state is durable, so that a crash does not lose them.
    pub audits: Vec<BatchPart>,
}

/// Decisions that no ref contains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dirty {
    pub bound: Position,
    pub since: MonotonicMs,
    pub decisions: u64,
}

/// A snapshot under way.
pub(crate) struct Snapshot {
    pub stored: StoredRef,
    /// The last record that the snapshot contains: no reader may see the ref before that record is
    /// acknowledged.
    pub requires_n: u64,
    /// Decisions since the snapshot.
    pub dirty_after: Option<Dirty>,
    pub step: Step,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The object is being stored.
    Putting,
    /// The object is durable.
    Put,
    /// The ref is in the checkpoint that is being written.
    Writing,
}

impl Resident {
    /// A chunk whose content has that encoded length.
    pub fn new(live: Guarded<LiveChunk>, refs: Refs, folded: Folded, encoded_bytes: usize) -> Self {
        let mut resident = Self {
            live,
            refs,
            open: Open::default(),
            dirty: None,
            snapshot: None,
            last_snapshot_at: None,
            folded,
            is_urgent: false,
            bytes: 0,
            recovered: Vec::new(),
            audits: Vec::new(),
        };
        resident.bytes = resident.estimate_bytes(encoded_bytes);
        resident
    }

    /// Version and hash of the content; the hash is computed again, because memory may have changed
    /// under it (R10).
    pub fn measure(&mut self, calls: Calls<'_>) -> Result<(Version, Hash), ModelPanicked> {
        self.live.run(calls, Call::Encode, |live| (live.replica.version(), live.replica.hash_again()))
    }

    /// The content's canonical encoding.
    pub fn encoding(&mut self, calls: Calls<'_>) -> Result<Bytes, ModelPanicked> {
        self.live.run(calls, Call::Encode, |live| Bytes::from(live.replica.encoding().into_owned()))
    }

    /// Whether the log says another hash of this version.
    pub fn differs_from_log(&self, version: Version, hash: Hash) -> bool {
        self.folded.published.is_some_and(|(at, said)| at == version && said != hash)
    }

    /// From now on, the log says this of the chunk, unless it says more of a later version.
    pub fn publish(&mut self, version: Version, hash: Hash) {
        if self.folded.published.is_none_or(|(known, _)| known <= version) {
            self.folded.published = Some((version, hash));
        }
    }

    /// Notes decisions that go into a record after the position `known`.
    pub fn mark_dirty(&mut self, known: Position, now: MonotonicMs, decisions: u64) {
        let dirty = match &mut self.snapshot {
            Some(snapshot) => &mut snapshot.dirty_after,
            None => &mut self.dirty,
        };
        dirty.get_or_insert(Dirty { bound: known, since: now, decisions: 0 }).decisions += decisions;
    }

    /// Asks for the content to be stored and announced at once, also where no decision made it
    /// dirty.
    pub fn mark_urgent(&mut self, known: Position, now: MonotonicMs) {
        self.is_urgent = true;
        self.dirty.get_or_insert(Dirty { bound: known, since: now, decisions: 0 });
    }

    /// Where the first decision stands that no ref contains; a ref that is being written counts.
    pub fn bound(&self) -> Option<Position> {
        match &self.snapshot {
            Some(snapshot) if snapshot.step == Step::Writing => snapshot.dirty_after.map(|d| d.bound),
            _ => self.dirty.map(|d| d.bound),
        }
    }

    /// Roughly the memory that the chunk takes, with a canonical encoding of this length.
    pub fn estimate_bytes(&self, encoded_bytes: usize) -> usize {
        encoded_bytes + self.live.ledger_writers() * 96 + 512
    }

    pub fn is_clean(&self) -> bool {
        self.dirty.is_none() && self.snapshot.is_none()
    }
}
