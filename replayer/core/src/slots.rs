//! The chunks that an owner holds: on their way in, or live; clean or dirty.
//!
//! A chunk is dirty while a decision of it is in no stored ref. Its bound is a position in `updates` that is not above
//! the first such decision; the smallest bound is the checkpoint's `updates_low` (R6). A bound is always the position
//! after an *earlier* record that is trusted (decision 0012), never a record's own acknowledged offset.

use crate::outbox::Open;
use crate::progress::{BatchId, Share};
use bytes::Bytes;
use driftless_chunk::live::{Asked, LiveChunk, read_updates};
use driftless_chunk::position::Position;
use driftless_chunk::replica::ApplyError;
use driftless_chunk::world::Place;
use driftless_schemas::proto::{
    Decisions, DiscardReason, IndexEntry, Mark, Ref, SnapshotStored, Updates, UpdatesRecord, mark, updates_record::Body,
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
    /// The chunk is there, and compared with ref and log.
    pub is_check: bool,
    /// Of its commands, those that do not count against the others.
    pub aside: usize,
    /// Commands that were not kept, after those that wait.
    pub dropped: usize,
    /// Its lost object could not be made again.
    pub is_given_up: bool,
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
    /// While the log is still being read: what was folded, in case that what follows cannot be.
    pub recovered: Vec<Recovered>,
    /// Commits whose content is lost, as an operator has accepted.
    pub lost: u64,
    /// Audits that stay open until the healed state is durable: a crash must not lose them.
    pub audits: Vec<Share>,
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
    /// Of a chunk that is compared with ref and log, which may take long: its commands hold up nobody else's.
    pub fn of_check() -> Self {
        Self { is_check: true, ..Self::default() }
    }

    /// Keeps a command until the chunk is there. True where it holds up nobody else's: that of a chunk that cannot be loaded,
    /// of which those above `max` are not kept, and, while there is room, that of one that is checked.
    pub fn wait(&mut self, waiting: Waiting, max: usize, has_room: bool) -> bool {
        let is_failing = self.attempts > 0;
        match is_failing && (self.dropped > 0 || !has_room || self.waiting.len() >= max) {
            true => self.dropped += 1,
            false => self.waiting.push(waiting),
        }
        let is_aside = is_failing || (self.is_check && has_room);
        self.aside += usize::from(is_aside);
        is_aside
    }

    /// From now on those that wait hold up nobody else. Gives how many they are.
    pub fn put_aside(&mut self) -> usize {
        let more = self.waiting.len() - self.aside.min(self.waiting.len());
        self.aside += more;
        more
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

    /// The offsets of commands that a model failed on.
    pub fn model_faults(&self) -> impl Iterator<Item = Offset> {
        let marks = match self {
            Self::Decisions(decisions, _) => &decisions.marks[..],
            Self::Stored(_) => &[],
        };
        let is_fault = |mark: &&Mark| matches!(&mark.outcome, Some(mark::Outcome::Discarded(d)) if d.reason() == DiscardReason::ModelFault);
        marks.iter().filter(is_fault).map(|mark| Offset(mark.source_offset))
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
/// last word of the log about a version and its hash. `lost` counts the commits whose content is lost, where that is
/// accepted: those after a gap, since they were decided on what is not there any more.
pub(crate) fn fold_recovered(
    live: &mut LiveChunk,
    recovered: &[Recovered],
    published: &mut Option<(Version, Hash)>,
    accept_loss: bool,
    lost: &mut u64,
) -> Result<u64, String> {
    let mut folded = 0;
    for record in recovered {
        let said = match record {
            Recovered::Decisions(decisions, updates) => {
                let before = live.replica.version();
                let whole = match *lost {
                    0 => Some(live.fold_effects(decisions, updates.as_ref())),
                    _ => None,
                };
                let news = match whole {
                    Some(Err(ApplyError::Gap { .. })) if accept_loss => None,
                    whole => whole,
                };
                let is_lost = news.is_none();
                let news = news.unwrap_or_else(|| live.fold_without_content(decisions, updates.as_ref()));
                let news = news.map_err(|e| e.to_string())?;
                if is_lost {
                    *lost += live.replica.version().0 - before.0;
                }
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
    Ok(folded)
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

    /// Where the first decision stands that no ref contains; the snapshot in `Step::Writing` counts as a ref.
    pub fn bound(&self) -> Option<Position> {
        match &self.snapshot {
            Some(snapshot) if snapshot.step == Step::Writing => snapshot.dirty_after.map(|d| d.bound),
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
