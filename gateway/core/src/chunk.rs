//! What the hub keeps of a chunk: ring, replica, trackers, and who waits for it.

use crate::ring::{Record, Ring};
use crate::socket::SocketId;
use crate::{Ask, Settings};
use bytes::Bytes;
use driftless_chunk::live::LiveChunk;
use driftless_chunk::replica::ApplyError;
use driftless_chunk::world::Family;
use driftless_schemas::proto::{self, Have, Ref};
use driftless_schemas::{ChunkId, Hash, Offset, Version};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A chunk.
pub(crate) struct Chunk {
    pub family: Arc<Family>,
    pub ring: Ring,
    /// From the newest `SnapshotStored`.
    pub newest_ref: Option<Ref>,
    /// Replica and ledger at the end of what was read.
    pub live: Option<LiveChunk>,
    /// The newest stored snapshot that was loaded, as it is sent.
    pub stored: Option<StoredChunk>,
    /// What the log said: (version, hash), newest last.
    pub hashes: VecDeque<(Version, Hash)>,
    pub trackers: BTreeMap<SocketId, ()>,
    pub waiting: Vec<Waiting>,
    pub load: Load,
    /// When it was last tracked or asked for.
    pub used_ms: u64,
}

/// A snapshot as it lies in the store.
#[derive(Clone, Debug)]
pub(crate) struct StoredChunk {
    pub version: Version,
    pub hash: Hash,
    /// zstd.
    pub data: Bytes,
}

/// Somebody who waits for a chunk's replica.
#[derive(Debug)]
pub(crate) enum Waiting {
    Track { socket: SocketId, have: Option<Have>, since_ms: u64 },
    Ask { id: u64, ask: Ask },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Idle,
    UnderWay,
    /// After this many failures in a row, again at this time.
    Again { attempts: u32, at_ms: u64 },
    /// Under way after failures.
    Retrying { attempts: u32 },
}

impl Chunk {
    pub fn new(family: Arc<Family>) -> Self {
        Self {
            family,
            ring: Ring::new(),
            newest_ref: None,
            live: None,
            stored: None,
            hashes: VecDeque::new(),
            trackers: BTreeMap::new(),
            waiting: Vec::new(),
            load: Load::Idle,
            used_ms: 0,
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
        let folded = match &mut self.live {
            Some(live) => live.fold(&record.decisions, record.updates.as_ref()).map(|_| ()),
            None => Ok(()),
        };
        self.ring.push(record);
        folded
    }

    /// Takes the news of a snapshot. An error says that its hash is not what the log said of that version.
    pub fn take_ref(&mut self, stored: Ref, settings: &Settings) -> Result<(), ApplyError> {
        let told = self.hashes.iter().find(|(version, _)| version.0 == stored.version).map(|(_, hash)| *hash);
        let found = Hash::from_slice(&stored.hash);
        let kept = if self.trackers.is_empty() { 0 } else { settings.ring_kept };
        self.ring.trim(Offset(stored.through_offset), kept);
        let version = Version(stored.version);
        self.newest_ref = Some(stored);
        match (told, found) {
            (Some(expected), Some(found)) if expected != found => Err(ApplyError::Hash { version, expected, found }),
            _ => Ok(()),
        }
    }

    /// Makes the replica out of a stored state and the ring. `Ok(false)`: the state is older than what was trimmed.
    pub fn restore(&mut self, chunk: &ChunkId, loaded: Option<crate::Loaded>) -> Result<bool, ApplyError> {
        let model = Arc::clone(&self.family.model);
        let (mut live, stored) = match loaded {
            None => (LiveChunk::initial(model, chunk), None),
            Some(loaded) => {
                let live = LiveChunk::restore(model, &loaded.stored, &loaded.encoding)?;
                let version = live.replica.version();
                let hash = Hash::from_slice(&loaded.stored.hash).unwrap_or(Hash([0; 32]));
                (live, Some(StoredChunk { version, hash, data: loaded.data }))
            }
        };
        if live.through_offset < self.ring.trimmed_through {
            return Ok(false);
        }
        for record in self.ring.iter() {
            // Records that a kept ring still has, but the snapshot contains, change nothing.
            if record.through > live.through_offset {
                live.fold(&record.decisions, record.updates.as_ref())?;
            }
        }
        self.live = Some(live);
        self.stored = stored;
        Ok(true)
    }

    /// The frames that bring a client from `have` to the replica's version, if the ring has them all and the client's
    /// hash is what the log said. `None`: it needs a Chunk.
    pub fn missing_since(&self, have: &Have, newest: (Version, Hash)) -> Option<Vec<Bytes>> {
        let have_hash = Hash::from_slice(&have.hash)?;
        let version = Version(have.version);
        let told = match version {
            _ if version == newest.0 => newest.1,
            _ => self.hashes.iter().find(|(v, _)| *v == version).map(|(_, hash)| *hash)?,
        };
        if told != have_hash {
            return None;
        }
        self.ring.frames_after(version, newest.0)
    }

    /// The frames of a whole state: the stored snapshot and the updates after it, or, where those outweigh the content,
    /// the replica encoded anew.
    pub fn whole(&self, chunk: &ChunkId) -> Option<Vec<Bytes>> {
        let live = self.live.as_ref()?;
        if let Some(stored) = &self.stored
            && let Some(updates) = self.ring.frames_after(stored.version, live.replica.version())
        {
            let weight: usize = updates.iter().map(Bytes::len).sum();
            if weight <= stored.data.len().max(1024) {
                let mut frames = vec![self.chunk_frame(chunk, stored.version, stored.hash, stored.data.clone())];
                frames.extend(updates);
                return Some(frames);
            }
        }
        let encoding = live.replica.encoding();
        let hash = Hash::of(&encoding);
        let data = zstd::bulk::compress(&encoding, 1).unwrap_or_default();
        Some(vec![self.chunk_frame(chunk, live.replica.version(), hash, data.into())])
    }

    fn chunk_frame(&self, chunk: &ChunkId, version: Version, hash: Hash, data: Bytes) -> Bytes {
        driftless_schemas::format::event(proto::event::Body::Chunk(proto::Chunk {
            chunk_id: chunk.to_string(),
            version: version.0,
            hash: hash.to_bytes(),
            model: self.family.spec.model.clone(),
            revision: self.family.revision,
            data,
        }))
    }

    /// What trackers had just before the newest record, as the log told it. `has_news`: that record committed something.
    pub fn told_before(&self, has_news: bool) -> Option<Have> {
        let (version, hash) = self.hashes.iter().rev().nth(usize::from(has_news))?;
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
