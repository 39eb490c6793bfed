//! What the hub keeps of a chunk: ring, replica, trackers, and who waits for it.

use crate::reread::Reread;
use crate::ring::{Record, Ring};
use crate::socket::SocketId;
use crate::{Ask, Settings};
use bytes::Bytes;
use driftless_chunk::ledger::Ledger;
use driftless_chunk::live::LiveChunk;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::replica::ApplyError;
use driftless_chunk::world::Family;
use driftless_schemas::proto::{self, Have, Ref};
use driftless_schemas::{ChunkId, Hash, Offset, Version};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A chunk.
pub(crate) struct Chunk {
    pub family: Arc<Family>,
    pub ring: Ring,
    /// From the newest `SnapshotStored`.
    pub newest_ref: Option<Ref>,
    /// Replica and ledger at the end of what was read.
    pub live: Option<LiveChunk>,
    /// A state as it is sent, to which the ring's updates can be added: the snapshot that was loaded, or a later one.
    pub base: Option<Base>,
    /// What the log said: (version, hash), newest last.
    pub hashes: VecDeque<(Version, Hash)>,
    pub trackers: BTreeSet<SocketId>,
    /// Sockets that track it and have no answer yet.
    pub waiting: BTreeMap<SocketId, Waiting>,
    /// Questions that wait for the replica.
    pub asks: Vec<(u64, Ask)>,
    pub load: Load,
    /// When the log last had something of it.
    pub recorded_ms: u64,
    /// Among the hub's chunks that have a ring.
    pub is_in_eviction_order: bool,
    /// When it was last tracked or asked for.
    pub used_ms: u64,
    /// When a snapshot of it was last told of.
    pub noticed_ms: u64,
    /// When the owner was last asked to check it.
    pub audited_ms: Option<u64>,
    /// When the replica was last compared because a client drifted.
    pub looked_ms: Option<u64>,
    /// [`Mutant::ResolvedFromOlderPosition`]: the ledger before the newest record.
    pub older_ledger: Option<Ledger>,
}

/// A whole state, encoded once for all who get it.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub version: Version,
    /// An encoded `ServerFrame` with the Chunk.
    pub frame: Bytes,
}

/// Why a socket waits: for the replica, for its turn, or until this gateway has caught up with what it has (R12).
#[derive(Debug)]
pub(crate) struct Waiting {
    pub have: Option<Have>,
    /// Since when the replica has been known to be behind.
    pub behind_since_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Idle,
    InFlight,
    /// After this many failures in a row, again at this time.
    Again {
        attempts: u32,
        at_ms: u64,
    },
    /// Under way after failures.
    Retrying {
        attempts: u32,
    },
}

/// Why a chunk's replica was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// The ring was trimmed for a newer ref in the meantime, or gave up more than was read again.
    #[error("the stored state is older than the log that is still held")]
    Stale,
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Why a chunk's content cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    /// The replica is not what the log says (R10).
    #[error(transparent)]
    Drift(#[from] ApplyError),
    /// zstd fails only where it cannot allocate.
    #[error("the content cannot be compressed: {0}")]
    Compress(String),
}

/// Updates of so many bytes are sent as they are, however small the content.
const UPDATES_ALWAYS_BYTES: usize = 1024;

impl Chunk {
    pub fn new(family: Arc<Family>) -> Self {
        Self {
            family,
            ring: Ring::new(),
            newest_ref: None,
            live: None,
            base: None,
            hashes: VecDeque::new(),
            trackers: BTreeSet::new(),
            waiting: BTreeMap::new(),
            asks: Vec::new(),
            load: Load::Idle,
            recorded_ms: 0,
            is_in_eviction_order: false,
            used_ms: 0,
            noticed_ms: 0,
            audited_ms: None,
            looked_ms: None,
            older_ledger: None,
        }
    }

    /// Takes a valid record: into the ring, and into the replica if there is one.
    pub fn push(&mut self, record: Record, settings: &Settings) -> Result<(), ApplyError> {
        if let Some(published) = record.published() {
            self.hashes.push_back(published);
            while self.hashes.len() > settings.hashes_kept {
                self.hashes.pop_front();
            }
        }
        if Mutant::ResolvedFromOlderPosition.is_on() {
            self.older_ledger = self.live.as_ref().map(|live| live.ledger.clone());
        }
        let mut record = record;
        let folded = match &mut self.live {
            Some(live) => live.fold(&record.decisions, record.updates.as_ref()).map(|_| ()),
            None => Ok(()),
        };
        record.has_wrong_hash = matches!(folded, Err(ApplyError::Hash { .. }));
        self.ring.push(record);
        folded
    }

    /// Takes the news of a snapshot. An error says that its hash is not what the log said of that version.
    pub fn take_ref(&mut self, stored: Ref, settings: &Settings, now_ms: u64) -> Result<(), ApplyError> {
        self.noticed_ms = now_ms;
        let version = Version(stored.version);
        let found = Hash::from_slice(&stored.hash);
        let told = self.hashes.iter_mut().find(|(told, _)| *told == version).map(|(_, hash)| {
            // What is stored is what everybody loads from now on: the older word counts no more.
            std::mem::replace(hash, found.unwrap_or(*hash))
        });
        if let (None, Some(found)) = (told, found) {
            // An older state that is on its way in just now must not pass for this one.
            let at = self.hashes.partition_point(|(told, _)| *told < version);
            self.hashes.insert(at, (version, found));
            while self.hashes.len() > settings.hashes_kept {
                self.hashes.pop_front();
            }
        }
        // What was said may be forgotten; the replica is there.
        let own = self.live.as_mut().filter(|live| live.replica.version() == version).map(|live| live.replica.hash());
        let told = told.or(own);
        let kept = if self.trackers.is_empty() { 0 } else { settings.ring_kept };
        if Mutant::TrimByVersion.is_on() {
            self.ring.trim_by_version(version);
        } else {
            self.ring.trim(Offset(stored.through_offset), kept);
        }
        // What was trimmed for a newer ref must be in the one that is loaded.
        if self.newest_ref.as_ref().is_none_or(|newest| newest.through_offset <= stored.through_offset) {
            self.newest_ref = Some(stored);
        }
        match (told, found) {
            (Some(expected), Some(found)) if expected != found => Err(ApplyError::Hash { version, expected, found }),
            _ => Ok(()),
        }
    }

    /// Whether nobody uses it, and views that were opened after that time tell all that is kept of it.
    pub fn is_forgettable(&self, opened_ms: u64) -> bool {
        let is_unused = self.live.is_none() && !self.is_wanted() && self.trackers.is_empty() && self.load == Load::Idle;
        is_unused && self.ring.is_empty() && self.noticed_ms < opened_ms
    }

    /// Whether anybody waits for it.
    pub fn is_wanted(&self) -> bool {
        !self.waiting.is_empty() || !self.asks.is_empty()
    }

    /// Whether a state of it is being loaded.
    pub fn is_loading(&self) -> bool {
        matches!(self.load, Load::InFlight | Load::Retrying { .. })
    }

    /// Gives up records: those of a replica that is here, but for a few, or all.
    pub fn evict(&mut self, kept: usize) {
        let covered = self.newest_ref.as_ref().map_or(Offset::NONE, |newest| Offset(newest.through_offset));
        self.ring.evict(covered, kept);
    }

    /// Whether a ref is known that contains all that the ring has lost.
    pub fn has_ref_for_trimmed(&self) -> bool {
        self.newest_ref.as_ref().is_some_and(|newest| Offset(newest.through_offset) >= self.ring.trimmed_through)
    }

    /// Makes the replica out of a stored state, what was read again, and the ring.
    pub fn restore(
        &mut self,
        chunk: &ChunkId,
        loaded: Option<crate::Loaded>,
        reread: Option<Box<Reread>>,
    ) -> Result<(), RestoreError> {
        let model = Arc::clone(&self.family.model);
        let (mut live, base) = match loaded {
            None => (LiveChunk::initial(model, chunk), None),
            Some(loaded) => {
                let live = LiveChunk::restore(model, &loaded.stored, &loaded.encoding)?;
                let version = live.replica.version();
                let frame = self.chunk_frame(chunk, version, loaded.stored.hash.clone(), loaded.data);
                (live, Some(Base { version, frame }))
            }
        };
        if live.through_offset < self.ring.trimmed_through && !Mutant::TrimUnderLoad.is_on() {
            return Err(RestoreError::Stale);
        }
        let evicted = self.ring.evicted();
        let again = reread.and_then(|reread| reread.into_records(evicted));
        if again.is_none() && evicted.is_some_and(|evicted| live.through_offset < evicted.through) {
            return Err(RestoreError::Stale);
        }
        for record in again.into_iter().flatten() {
            if record.through > live.through_offset {
                live.fold_effects(&record.decisions, record.updates.as_ref())?;
            }
        }
        for record in self.ring.iter_mut() {
            // Records that a kept ring still has, but the snapshot contains, change nothing.
            if record.through > live.through_offset {
                let folded = live.fold_effects(&record.decisions, record.updates.as_ref())?;
                record.has_wrong_hash = folded.published.is_some_and(|said| said != live.replica.hash());
            }
        }
        // R10: what the log said last of this version, in a record or by a notice.
        let version = live.replica.version();
        if let Some((_, said)) = self.hashes.iter().rev().find(|(told, _)| *told == version) {
            live.replica.compare(*said)?;
        }
        self.live = Some(live);
        self.base = base;
        Ok(())
    }

    /// The frames that bring a client from what it has to `newest`, which is the replica's version: nothing, the updates,
    /// or a whole state, whichever fits and is smaller.
    ///
    /// # Errors
    /// [`ContentError`]: nothing of it goes out.
    pub fn content_after(
        &mut self,
        chunk: &ChunkId,
        have: Option<&Have>,
        newest: (Version, Hash),
    ) -> Result<Vec<Bytes>, ContentError> {
        let missing = have.and_then(|have| self.missing_since(have, newest));
        let worth_comparing = self.base.as_ref().map_or(0, |base| base.frame.len()).max(UPDATES_ALWAYS_BYTES);
        match missing {
            Some(updates) if bytes_of(&updates) <= worth_comparing => Ok(updates),
            Some(updates) => {
                let whole = self.whole_state(chunk, newest)?;
                Ok(if bytes_of(&updates) <= bytes_of(&whole) { updates } else { whole })
            }
            None => self.whole_state(chunk, newest),
        }
    }

    /// The frames that bring a client from `have` to the replica's version, if the ring has them all and the client's
    /// hash is what the log said. `None`: it needs a Chunk.
    fn missing_since(&self, have: &Have, newest: (Version, Hash)) -> Option<Vec<Bytes>> {
        let have_hash = Hash::from_slice(&have.hash)?;
        let version = Version(have.version);
        let told = match version.cmp(&newest.0) {
            Ordering::Equal => newest.1,
            // A ref may tell of a version that the log never came to.
            Ordering::Greater => return None,
            Ordering::Less => self.hashes.iter().find(|(v, _)| *v == version).map(|(_, hash)| *hash)?,
        };
        if told != have_hash {
            return None;
        }
        self.ring.frames_after(version, newest.0)
    }

    /// A whole state: one that is encoded already and the updates after it, or, where those outweigh it, the replica
    /// encoded anew.
    fn whole_state(&mut self, chunk: &ChunkId, newest: (Version, Hash)) -> Result<Vec<Bytes>, ContentError> {
        if let Some(base) = &self.base
            && let Some(updates) = self.ring.frames_after(base.version, newest.0)
            && bytes_of(&updates) <= base.frame.len().max(UPDATES_ALWAYS_BYTES)
        {
            return Ok(std::iter::once(base.frame.clone()).chain(updates).collect());
        }
        let encoding = self.verified_encoding(newest)?;
        let data = zstd::bulk::compress(&encoding, 1).map_err(|e| ContentError::Compress(e.to_string()))?;
        let frame = self.chunk_frame(chunk, newest.0, newest.1.to_bytes(), data.into());
        self.base = Some(Base { version: newest.0, frame: frame.clone() });
        Ok(vec![frame])
    }

    /// The replica's encoding, if it still is what the log says of `newest` (R10).
    ///
    /// # Errors
    /// [`ApplyError::Hash`].
    pub fn verified_encoding(&self, newest: (Version, Hash)) -> Result<Vec<u8>, ApplyError> {
        let encoding = self.live.as_ref().map(|live| live.replica.encoding().into_owned()).unwrap_or_default();
        match Hash::of(&encoding) {
            found if found == newest.1 => Ok(encoding),
            found => Err(ApplyError::Hash { version: newest.0, expected: newest.1, found }),
        }
    }

    fn chunk_frame(&self, chunk: &ChunkId, version: Version, hash: Bytes, data: Bytes) -> Bytes {
        driftless_schemas::format::event(proto::event::Body::Chunk(proto::Chunk {
            chunk_id: chunk.to_string(),
            version: version.0,
            hash,
            model: self.family.spec.model.clone(),
            revision: self.family.revision,
            data,
        }))
    }

    /// What a tracker has at `version`, as the log told it; `None` where that is not known any more.
    pub fn published_at(&self, version: Version) -> Option<Have> {
        let (version, hash) = self.hashes.iter().rev().find(|(told, _)| *told == version)?;
        Some(Have { version: version.0, hash: hash.to_bytes() })
    }

    /// Version and hash of the replica: the log's hash where the log told one.
    pub fn newest(&mut self) -> Option<(Version, Hash)> {
        let live = self.live.as_mut()?;
        let version = live.replica.version();
        let told = self.hashes.back().filter(|(v, _)| *v == version).map(|(_, hash)| *hash);
        Some((version, told.unwrap_or_else(|| live.replica.hash())))
    }
}

fn bytes_of(frames: &[Bytes]) -> usize {
    frames.iter().map(Bytes::len).sum()
}
