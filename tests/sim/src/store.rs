//! The object store and the index of the simulation.
//!
//! Objects are immutable under their hash (R7). The index of a partition is what SlateDB gives: one writer at a time, who
//! fences the one before by opening; batches that are durable as a whole or not at all; views that may be a little stale.

use bytes::Bytes;
use driftless_schemas::proto::{Checkpoint, IndexEntry, Ref};
use driftless_schemas::{ChunkId, Hash, Partition, limits};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What one partition's index holds at a moment.
#[derive(Clone, Debug, Default)]
pub struct IndexState {
    /// `!checkpoint`.
    pub checkpoint: Checkpoint,
    /// The refs.
    pub entries: BTreeMap<ChunkId, IndexEntry>,
}

/// The right to write a partition's index: the newest one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterToken(u64);

/// A newer writer has opened the index.
#[derive(Debug)]
pub struct Fenced;

#[derive(Debug, Default)]
struct Index {
    writer: u64,
    /// Every durable state, oldest first.
    states: Vec<Rc<IndexState>>,
}

/// Both.
#[derive(Debug)]
pub struct Store {
    objects: BTreeMap<Hash, Bytes>,
    index: Vec<Index>,
    /// Nothing works at present.
    pub is_away: bool,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(partitions: i32) -> Self {
        Self { objects: BTreeMap::new(), index: (0..partitions).map(|_| Index::default()).collect(), is_away: false }
    }

    /// Stores an encoding under its hash.
    pub fn put(&mut self, hash: Hash, encoding: &[u8]) {
        self.objects.insert(hash, compress(encoding));
    }

    /// The object as it is stored: zstd(canonical encoding), whatever it holds.
    #[must_use]
    pub fn object(&self, hash: Hash) -> Option<&Bytes> {
        self.objects.get(&hash)
    }

    /// The object and its encoding, verified (R7).
    ///
    /// # Errors
    /// Where it is not there, or is not what its name says.
    pub fn load(&self, stored: &Ref) -> Result<(Bytes, Bytes), String> {
        let hash = Hash::from_slice(&stored.hash).ok_or("a ref whose hash has not 32 bytes")?;
        let data = self.objects.get(&hash).ok_or_else(|| format!("{hash} is not in the store"))?;
        let encoding = zstd::bulk::decompress(data, limits::CONTENT_BYTES_MAX).map_err(|e| e.to_string())?;
        match Hash::of(&encoding) == hash {
            true => Ok((data.clone(), encoding.into())),
            false => Err(format!("{hash} is damaged")),
        }
    }

    /// A fault: bits of an object flip.
    pub fn damage(&mut self, which: usize) -> Option<Hash> {
        let (hash, data) = self.objects.iter_mut().nth(which)?;
        *data = compress(b"something else");
        Some(*hash)
    }

    /// A fault: this is what is stored under that name now; `None`: nothing.
    pub fn replace(&mut self, hash: Hash, data: Option<Bytes>) {
        match data {
            Some(data) => drop(self.objects.insert(hash, data)),
            None => drop(self.objects.remove(&hash)),
        }
    }

    /// How many objects there are.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.objects.len()
    }

    /// Opens a partition's index as its writer: older writers are fenced.
    pub fn open(&mut self, partition: Partition) -> (WriterToken, Rc<IndexState>) {
        let index = &mut self.index[partition.0 as usize];
        index.writer += 1;
        (WriterToken(index.writer), index.states.last().cloned().unwrap_or_default())
    }

    /// Writes a batch, durable as a whole.
    ///
    /// # Errors
    /// [`Fenced`].
    pub fn write(
        &mut self,
        partition: Partition,
        token: WriterToken,
        checkpoint: Checkpoint,
        entries: &[(ChunkId, IndexEntry)],
    ) -> Result<(), Fenced> {
        let index = &mut self.index[partition.0 as usize];
        if token.0 != index.writer {
            return Err(Fenced);
        }
        let mut state = index.states.last().map(|state| IndexState::clone(state)).unwrap_or_default();
        state.checkpoint = checkpoint;
        state.entries.extend(entries.iter().cloned());
        index.states.push(Rc::new(state));
        Ok(())
    }

    /// What the index holds, `staleness` writes ago.
    #[must_use]
    pub fn view(&self, partition: Partition, staleness: usize) -> Rc<IndexState> {
        let states = &self.index[partition.0 as usize].states;
        let newest = states.len().saturating_sub(1);
        states.get(newest.saturating_sub(staleness)).cloned().unwrap_or_default()
    }
}

/// As the real store does it.
fn compress(encoding: &[u8]) -> Bytes {
    zstd::bulk::compress(encoding, 1).unwrap_or_default().into()
}
