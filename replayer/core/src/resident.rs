//! A chunk in an owner's memory: its content, its refs, and its decisions that no ref contains.
//!
//! A chunk is dirty while it has a decision that no stored ref contains. Its bound is a position in
//! `updates` that is not above the first such decision; the smallest bound is the checkpoint's
//! `updates_low` (R6). A bound is the position after an *earlier* record whose offset is trusted
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
    /// Decisions that are not in a record yet; empty between polls.
    pub open: Open,
    /// Decisions that no stored ref contains.
    pub dirty: Option<Dirty>,
    /// A snapshot under way.
    pub snapshot: Option<Snapshot>,
    pub last_snapshot_at: Option<MonotonicMs>,
    /// The result of folding the log so far. `published` is the newest version whose hash the log
    /// names, with that hash.
    pub folded: Folded,
    /// True if the content must be stored and announced at once, because trackers may have another
    /// content.
    pub is_urgent: bool,
    /// Estimate of the memory that the chunk takes.
    pub bytes: usize,
    /// The records that were folded during recovery. They are folded again if a later record does
    /// not fit and the chunk is loaded again. Empty after recovery.
    pub recovered: Vec<Recovered>,
    /// Audits that stay open until the healed state is durable, so that a crash does not lose them.
    pub audits: Vec<BatchPart>,
}

/// Decisions that no ref contains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dirty {
    /// A position in `updates` at or below the first of these decisions.
    pub bound: Position,
    /// When the first of these decisions was noted.
    pub since: MonotonicMs,
    /// The number of these decisions.
    pub decisions: u64,
}

/// A snapshot under way.
pub(crate) struct Snapshot {
    pub stored: StoredRef,
    /// The number of the last record that the snapshot contains. No reader may see the ref before
    /// the log has acknowledged that record.
    pub requires_n: u64,
    /// Decisions that were made after the snapshot's content was encoded.
    pub dirty_after: Option<Dirty>,
    pub step: Step,
}

/// How far a snapshot has come.
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
    /// Makes a clean chunk. `encoded_bytes` is the length of its content's encoding.
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

    /// Returns the version and the hash of the content. The hash is computed anew, because memory
    /// may be damaged since it was last computed (R10).
    pub fn measure(&mut self, calls: Calls<'_>) -> Result<(Version, Hash), ModelPanicked> {
        self.live.run(calls, Call::Encode, |live| (live.replica.version(), live.replica.hash_again()))
    }

    /// Returns the version and the hash of the content. A hash that is known is not computed again.
    pub fn version_and_hash(&mut self, calls: Calls<'_>) -> Result<(Version, Hash), ModelPanicked> {
        self.live.run(calls, Call::Encode, |live| (live.replica.version(), live.replica.hash()))
    }

    /// The content's canonical encoding.
    pub fn encoding(&mut self, calls: Calls<'_>) -> Result<Bytes, ModelPanicked> {
        self.live.run(calls, Call::Encode, |live| Bytes::from(live.replica.encoding().into_owned()))
    }

    /// True if the log names a hash for this version, and that hash is not `hash`.
    pub fn differs_from_log(&self, version: Version, hash: Hash) -> bool {
        self.folded.published.is_some_and(|(at, said)| at == version && said != hash)
    }

    /// Notes decisions that go into a record after the position `bound`.
    pub fn mark_dirty(&mut self, bound: Position, now: MonotonicMs, decisions: u64) {
        let dirty = match &mut self.snapshot {
            Some(snapshot) => &mut snapshot.dirty_after,
            None => &mut self.dirty,
        };
        dirty.get_or_insert(Dirty { bound, since: now, decisions: 0 }).decisions += decisions;
    }

    /// Asks for the content to be stored and announced at once, even if no decision has made the
    /// chunk dirty.
    pub fn mark_urgent(&mut self, bound: Position, now: MonotonicMs) {
        self.is_urgent = true;
        self.dirty.get_or_insert(Dirty { bound, since: now, decisions: 0 });
    }

    /// A position at or below the first decision that no ref contains; `None` if there is no such
    /// decision. A ref that is being written counts as a ref.
    pub fn bound(&self) -> Option<Position> {
        match &self.snapshot {
            Some(snapshot) if snapshot.step == Step::Writing => snapshot.dirty_after.map(|d| d.bound),
            _ => self.dirty.map(|d| d.bound),
        }
    }

    /// Estimates the memory that the chunk takes, if its content's encoding has this length.
    pub fn estimate_bytes(&self, encoded_bytes: usize) -> usize {
        encoded_bytes + self.live.ledger_writers() * 96 + 512
    }

    pub fn is_clean(&self) -> bool {
        self.dirty.is_none() && self.snapshot.is_none()
    }
}
