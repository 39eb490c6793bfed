//! The chunks that an owner holds: on their way in, or live; clean or dirty.
//!
//! A chunk is dirty while a decision of it is in no stored ref. Its bound is a position in `updates` that is not above
//! the first such decision; the smallest bound is the checkpoint's `updates_low` (R6). A bound is always the position
//! after an *earlier* record whose offset is known, never a record's own acknowledged offset.

use crate::outbox::Open;
use crate::progress::BatchId;
use bytes::Bytes;
use driftless_chunk::live::{Asked, LiveChunk, read_updates};
use driftless_chunk::position::Position;
use driftless_chunk::replica::ApplyError;
use driftless_chunk::world::Place;
use driftless_schemas::proto::{
    Decisions, IndexEntry, Ref, SnapshotStored, Updates, UpdatesRecord, updates_record::Body,
};
use driftless_schemas::{ChunkId, Hash, Offset, Version};

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
    /// It is compared with ref and log; its commands wait.
    Checking(Box<Held>, Loading),
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
    /// Loads that failed.
    pub attempts: u32,
    /// Commands that were not kept, after those that wait.
    pub dropped: usize,
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
    /// The log was told a hash that is not the content's: it is to be stored and announced at once.
    pub is_urgent: bool,
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

impl Slot {
    /// Whether its chunk cannot be loaded.
    pub fn is_failing(&self) -> bool {
        matches!(&self.state, State::Loading(loading) if loading.attempts > 0)
    }
}

impl Loading {
    /// Keeps a command until the chunk is there. Gives how many commands more are stuck: of a chunk that cannot be loaded,
    /// and above `max` of them not kept.
    pub fn wait(&mut self, waiting: Waiting, max: usize) -> usize {
        let is_failing = self.attempts > 0;
        match is_failing && (self.dropped > 0 || self.waiting.len() >= max) {
            true => self.dropped += 1,
            false => self.waiting.push(waiting),
        }
        usize::from(is_failing)
    }
}

impl Recovered {
    /// Of a valid record: whose it is and what it says. `None`: nothing about a chunk.
    pub fn read(record: UpdatesRecord) -> Result<Option<(ChunkId, Self)>, String> {
        let (chunk_id, recovered) = match record.body {
            Some(Body::Decisions(decisions)) => {
                let updates = read_updates(&decisions).map_err(|e| e.to_string())?;
                (decisions.chunk_id.clone(), Self::Decisions(decisions, updates))
            }
            Some(Body::SnapshotStored(stored)) => (stored.chunk_id.clone(), Self::Stored(stored)),
            _ => return Ok(None),
        };
        let chunk = chunk_id.parse().map_err(|e: driftless_schemas::ChunkIdError| e.to_string())?;
        Ok(Some((chunk, recovered)))
    }

    /// The newest offset of `commands` that it decides.
    pub fn through(&self) -> Offset {
        match self {
            Self::Decisions(decisions, _) => {
                decisions.marks.last().map_or(Offset::NONE, |mark| Offset(mark.source_offset))
            }
            Self::Stored(_) => Offset::NONE,
        }
    }
}

/// Folds what earlier owners decided (R5). Gives the number of decisions that no ref contained; `published` becomes the
/// last word of the log about a version and its hash. The second number says how many commits were skipped because those
/// before them are lost, where that is accepted.
pub(crate) fn fold_recovered(
    live: &mut LiveChunk,
    recovered: &[Recovered],
    published: &mut Option<(Version, Hash)>,
    accept_loss: bool,
) -> Result<(u64, u64), String> {
    let (mut folded, mut lost) = (0, 0);
    for record in recovered {
        let said = match record {
            Recovered::Decisions(decisions, updates) => {
                let before = live.replica.version();
                let news = match live.fold_effects(decisions, updates.as_ref()) {
                    Err(ApplyError::Gap { .. }) if accept_loss => {
                        let news = live.fold_without_content(decisions, updates.as_ref()).map_err(|e| e.to_string())?;
                        lost += live.replica.version().0 - before.0;
                        news
                    }
                    news => news.map_err(|e| e.to_string())?,
                };
                if news.is_news {
                    folded += decisions.marks.len() as u64;
                }
                news.published.map(|hash| (live.replica.version(), hash))
            }
            Recovered::Stored(notice) => notice
                .r#ref
                .as_ref()
                .and_then(|stored| Some((Version(stored.version), Hash::from_slice(&stored.hash)?))),
        };
        if let Some(said) = said
            && published.is_none_or(|(version, _)| version <= said.0)
        {
            *published = Some(said);
        }
    }
    Ok((folded, lost))
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
