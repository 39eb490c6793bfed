//! A chunk as the hub keeps it: ring, replica, trackers, and the requests that wait for the
//! replica.

use crate::reread::Reread;
use crate::ring::{Record, Ring};
use crate::socket::SocketId;
use crate::{Ask, Settings};
use bytes::Bytes;
use driftless_chunk::ledger::Ledger;
use driftless_chunk::live::LiveChunk;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::replica::ApplyError;
use driftless_chunk::world::{Family, Place};
use driftless_runtime_core::pool::Charge;
use driftless_schemas::proto::{self, Have};
use driftless_schemas::stored::StoredRef;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Version};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A chunk.
pub(crate) struct Chunk {
    pub family: Arc<Family>,
    pub partition: Partition,
    pub ring: Ring,
    /// The ref of the newest `SnapshotStored`.
    pub newest_ref: Option<StoredRef>,
    /// Replica and ledger at the position up to which the gateway has read; `None` until a state is
    /// loaded.
    pub live: Option<LiveChunk>,
    /// The replica's share of the memory for replicas, or the room that a load takes; `None`
    /// without either.
    pub charge: Option<Charge>,
    /// A whole state, encoded for sending: the loaded snapshot, or a later state. A client that
    /// needs a whole state gets this one and then the ring's later updates.
    pub base: Option<Base>,
    /// The newest hashes that the log published: (version, hash), newest last.
    pub hashes: VecDeque<(Version, Hash)>,
    pub trackers: BTreeSet<SocketId>,
    /// Sockets whose Track has no answer yet.
    pub waiting: BTreeMap<SocketId, Waiting>,
    /// Questions over HTTP that wait for the replica, each with its number.
    pub asks: Vec<(u64, Ask)>,
    pub load: Load,
    /// True if the hub's `loads_without_room` contains the chunk.
    pub waits_for_room: bool,
    /// When the last record of the chunk was read.
    pub recorded_at: MonotonicMs,
    /// True if the hub's `eviction_order` contains the chunk.
    pub is_in_eviction_order: bool,
    /// When a client last tracked the chunk or asked for it.
    pub used_at: MonotonicMs,
    /// When the last `SnapshotStored` of the chunk was read.
    pub ref_read_at: MonotonicMs,
    /// When the owner was last asked to check the chunk.
    pub audited_at: Option<MonotonicMs>,
    /// When the replica's hash was last checked because of a client's drift report.
    pub rechecked_at: Option<MonotonicMs>,
    /// For [`Mutant::ResolvedFromOlderPosition`]: the ledger before the newest record.
    pub older_ledger: Option<Ledger>,
}

/// A whole state, encoded once for all its receivers.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub version: Version,
    /// An encoded `ServerFrame` with one `Chunk` event.
    pub frame: Bytes,
}

/// A Track that is not answered yet. The answer waits for the replica, for the answers to the
/// socket's earlier requests, or for this gateway to catch up with the client's state (R12).
#[derive(Debug)]
pub(crate) struct Waiting {
    pub have: Option<Have>,
    /// When the gateway found that its replica is older than the client's state; `None` if it is
    /// not.
    pub behind_since: Option<MonotonicMs>,
}

/// The state of loading a chunk's stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Idle,
    /// The first attempt is in flight.
    InFlight,
    /// This many attempts failed in a row. The next attempt starts at this time.
    RetryAt {
        attempts: u32,
        at: MonotonicMs,
    },
    /// Another attempt is in flight, after this many failures in a row.
    Retrying {
        attempts: u32,
    },
    /// A load is in flight that began before the chunk's partition became degraded. Its result is
    /// dropped, because the records since then are not held. No other load begins before that.
    Abandoned,
}

/// Why a chunk's replica could not be restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// Records between the loaded state and the ring are missing: meanwhile the ring was trimmed
    /// for a newer ref, or it evicted more records than were reread.
    #[error("the loaded state is older than the oldest record that is still held")]
    Stale,
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Why a chunk's content cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    /// The replica's hash is not the one that the log published (R10).
    #[error(transparent)]
    Drift(#[from] ApplyError),
    /// Compression fails only if memory cannot be allocated.
    #[error("the content cannot be compressed: {0}")]
    Compress(String),
}

/// The approximate memory of one writer in a ledger, in bytes.
const LEDGER_ENTRY_BYTES: usize = 96;
/// The approximate memory of a replica beside its content, in bytes.
const REPLICA_BYTES: usize = 512;

/// Updates of up to this many bytes are sent without a comparison, even if the whole content would
/// be smaller.
const UPDATES_ALWAYS_BYTES: usize = 1024;

impl Chunk {
    pub fn new(place: Place) -> Self {
        Self {
            family: place.family,
            partition: place.partition,
            ring: Ring::new(),
            newest_ref: None,
            live: None,
            charge: None,
            base: None,
            hashes: VecDeque::new(),
            trackers: BTreeSet::new(),
            waiting: BTreeMap::new(),
            asks: Vec::new(),
            waits_for_room: false,
            load: Load::Idle,
            recorded_at: MonotonicMs::default(),
            is_in_eviction_order: false,
            used_at: MonotonicMs::default(),
            ref_read_at: MonotonicMs::default(),
            audited_at: None,
            rechecked_at: None,
            older_ledger: None,
        }
    }

    /// Adds a valid record to the ring, and folds it into the replica if there is one.
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

    /// Takes the ref of a stored snapshot, and trims the records that the snapshot contains.
    ///
    /// # Errors
    /// [`ApplyError::Hash`] if the snapshot's hash differs from the hash that the log
    /// published for its version. The chunk keeps the ref even then.
    pub fn take_ref(&mut self, stored: StoredRef, settings: &Settings, now: MonotonicMs) -> Result<(), ApplyError> {
        self.ref_read_at = now;
        let (version, found) = (stored.version, stored.hash);
        let published = self.hashes.iter_mut().find(|(published, _)| *published == version).map(|(_, hash)| {
            // All readers load the snapshot from now on, so its hash replaces the published one.
            std::mem::replace(hash, found)
        });
        if published.is_none() {
            // Remember the hash. A load in flight may bring a different, older state of this
            // version, which `restore` must reject.
            let at = self.hashes.partition_point(|(published, _)| *published < version);
            self.hashes.insert(at, (version, found));
            while self.hashes.len() > settings.hashes_kept {
                self.hashes.pop_front();
            }
        }
        // The published hash may have been dropped from `hashes`. The replica, if it is at this
        // version, has that hash too.
        let own = self.live.as_mut().filter(|live| live.replica.version() == version).map(|live| live.replica.hash());
        let published = published.or(own);
        let kept = if self.trackers.is_empty() { 0 } else { settings.ring_kept };
        if Mutant::TrimByVersion.is_on() {
            self.ring.trim_by_version(version);
        } else {
            self.ring.trim(stored.through_offset, kept);
        }
        // Keep the newest ref: the state to load must contain all records that were trimmed.
        if self.newest_ref.as_ref().is_none_or(|newest| newest.through_offset <= stored.through_offset) {
            self.newest_ref = Some(stored);
        }
        match published {
            Some(expected) if expected != found => Err(ApplyError::Hash { version, expected, found }),
            _ => Ok(()),
        }
    }

    /// The approximate memory of the replica, the encoded state and the ledger; 0 without a
    /// replica.
    pub fn replica_bytes(&mut self) -> usize {
        let base = self.base.as_ref().map_or(0, |base| base.frame.len());
        let Some(live) = &mut self.live else { return 0 };
        live.replica.encoded_bytes() + base + live.ledger.len() * LEDGER_ENTRY_BYTES + REPLICA_BYTES
    }

    /// True if the hub may forget the chunk: the chunk is not in use, and its newest ref was read
    /// before `opened`. Each view of the index that was opened at `opened` or later then contains
    /// this ref.
    pub fn is_forgettable(&self, opened: MonotonicMs) -> bool {
        let is_unused = self.live.is_none() && !self.is_wanted() && self.trackers.is_empty() && self.load == Load::Idle;
        is_unused && self.ring.is_empty() && self.ref_read_at < opened
    }

    /// Returns true if a Track or a question waits for the replica.
    pub fn is_wanted(&self) -> bool {
        !self.waiting.is_empty() || !self.asks.is_empty()
    }

    /// Returns true if a load is in flight.
    pub fn is_loading(&self) -> bool {
        matches!(self.load, Load::InFlight | Load::Retrying { .. })
    }

    /// Drops all but the newest `kept` records from the ring; see [`Ring::evict`].
    pub fn evict(&mut self, kept: usize) {
        let covered = self.newest_ref.as_ref().map_or(Offset::NONE, |newest| newest.through_offset);
        self.ring.evict(covered, kept);
    }

    /// True if the state of the newest ref contains all records that the ring has trimmed.
    pub fn has_ref_for_trimmed(&self) -> bool {
        self.newest_ref.as_ref().is_some_and(|newest| newest.through_offset >= self.ring.trimmed_through)
    }

    /// Restores the replica from a stored state (`None`: the initial state), the reread records,
    /// and the ring.
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
                let frame = self.chunk_frame(chunk, version, loaded.stored.hash.to_bytes(), loaded.data);
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
            // The ring may keep records that the snapshot already contains; skip those.
            if record.through > live.through_offset {
                let folded = live.fold_effects(&record.decisions, record.updates.as_ref())?;
                record.has_wrong_hash = folded.published.is_some_and(|said| said != live.replica.hash());
            }
        }
        // R10: compare the replica with the last hash that the log has for this version, from a
        // record or a `SnapshotStored`.
        let version = live.replica.version();
        if let Some((_, hash)) = self.hashes.iter().rev().find(|(published, _)| *published == version) {
            live.replica.compare(*hash)?;
        }
        self.live = Some(live);
        self.base = base;
        Ok(())
    }

    /// The frames that bring a client from its state `have` to the replica's state, whose version
    /// and hash are `newest`. They are no frames, the missing updates, or a whole state, whichever
    /// is smallest.
    ///
    /// # Errors
    /// [`ContentError`]. The caller must then send no content of this chunk.
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

    /// The update frames that bring a client from `have` to the replica's version. `None` if the
    /// ring lacks some of them, or if the client's hash differs from the hash in the log. The
    /// client then needs a whole state.
    fn missing_since(&self, have: &Have, newest: (Version, Hash)) -> Option<Vec<Bytes>> {
        let have_hash = Hash::from_slice(&have.hash)?;
        let version = Version(have.version);
        let published = match version.cmp(&newest.0) {
            Ordering::Equal => newest.1,
            // `hashes` may hold a version that the log never reached, from the ref of a wrong
            // snapshot.
            Ordering::Greater => return None,
            Ordering::Less => self.hashes.iter().find(|(v, _)| *v == version).map(|(_, hash)| *hash)?,
        };
        if published != have_hash {
            return None;
        }
        self.ring.frames_after(version, newest.0)
    }

    /// The frames of a whole state: the base and the updates after it. If those updates are larger
    /// than the base, or missing, the replica is encoded anew and becomes the base.
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

    /// The replica's canonical encoding, after a check that its hash still equals the hash in
    /// `newest` (R10).
    ///
    /// # Errors
    /// [`ApplyError::Hash`] if the hashes differ, because memory was damaged.
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

    /// This version, with the hash that the log published for it; `None` if `hashes` no longer has
    /// this version.
    pub fn published_at(&self, version: Version) -> Option<Have> {
        let (version, hash) = self.hashes.iter().rev().find(|(published, _)| *published == version)?;
        Some(Have { version: version.0, hash: hash.to_bytes(), ..Have::default() })
    }

    /// Version and hash of the replica; `None` without a replica. If the last hash in the log is
    /// for this version, that hash is returned instead of the replica's own.
    pub fn newest(&mut self) -> Option<(Version, Hash)> {
        let live = self.live.as_mut()?;
        let version = live.replica.version();
        let published = self.hashes.back().filter(|(v, _)| *v == version).map(|(_, hash)| *hash);
        Some((version, published.unwrap_or_else(|| live.replica.hash())))
    }
}

fn bytes_of(frames: &[Bytes]) -> usize {
    frames.iter().map(Bytes::len).sum()
}
