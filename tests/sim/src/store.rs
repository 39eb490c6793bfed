//! The simulation's object store and index.
//!
//! Objects are immutable and named by their hash (R7). The index of a partition behaves as SlateDB
//! does. The index has one writer at a time, and opening it fences the previous writer. A batch is
//! durable as a whole or not at all. Views may be stale.

use bytes::Bytes;
use driftless_schemas::stored::{Checkpoint, IndexEntry, StoredRef};
use driftless_schemas::{ChunkId, Hash, Partition, limits};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The content of a partition's index at one time.
#[derive(Clone, Debug, Default)]
pub struct IndexState {
    /// The checkpoint, which the real index stores under `!checkpoint`.
    pub checkpoint: Checkpoint,
    /// The index entry of each chunk, which holds the chunk's refs.
    pub entries: BTreeMap<ChunkId, IndexEntry>,
}

/// The right to write a partition's index: only the newest token is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterToken(u64);

/// The error of a write by an older writer, after a newer writer has opened the index.
#[derive(Debug)]
pub struct Fenced;

#[derive(Clone, Debug, Default)]
struct Index {
    writer: u64,
    /// Writers up to this number opened the index before it was last put back or deleted.
    replaced: u64,
    /// All durable states, oldest first.
    states: Vec<Rc<IndexState>>,
}

/// The object store, and the index of each partition.
#[derive(Clone, Debug)]
pub struct Store {
    objects: BTreeMap<Hash, Bytes>,
    index: Vec<Index>,
    /// True during an outage, in which every operation fails.
    pub is_away: bool,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(partitions: i32) -> Self {
        Self { objects: BTreeMap::new(), index: (0..partitions).map(|_| Index::default()).collect(), is_away: false }
    }

    /// Compresses a canonical encoding and stores it under its hash.
    pub fn put(&mut self, hash: Hash, encoding: &[u8]) {
        self.objects.insert(hash, compress(encoding));
    }

    /// The raw bytes that are stored under a hash, without verification. An undamaged object is the
    /// zstd compression of the canonical encoding.
    #[must_use]
    pub fn object(&self, hash: Hash) -> Option<&Bytes> {
        self.objects.get(&hash)
    }

    /// Loads and verifies the object that a ref names (R7). Returns the stored bytes and the
    /// canonical encoding in them.
    ///
    /// # Errors
    /// If the object is missing, or its content does not match its name.
    pub fn load(&self, stored: &StoredRef) -> Result<(Bytes, Bytes), String> {
        let hash = stored.hash;
        let data = self.objects.get(&hash).ok_or_else(|| format!("{hash} is not in the store"))?;
        let encoding = zstd::bulk::decompress(data, limits::CONTENT_BYTES_MAX).map_err(|e| e.to_string())?;
        match Hash::of(&encoding) == hash {
            true => Ok((data.clone(), encoding.into())),
            false => Err(format!("{hash} is damaged")),
        }
    }

    /// Injects a fault: replaces the content of the object number `which`. Returns the object's
    /// name.
    pub fn damage(&mut self, which: usize) -> Option<Hash> {
        let (hash, data) = self.objects.iter_mut().nth(which)?;
        *data = compress(b"something else");
        Some(*hash)
    }

    /// Injects a fault: replaces the bytes that are stored under a hash; `None` deletes the object.
    pub fn replace(&mut self, hash: Hash, data: Option<Bytes>) {
        match data {
            Some(data) => drop(self.objects.insert(hash, data)),
            None => drop(self.objects.remove(&hash)),
        }
    }

    /// The number of objects.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.objects.len()
    }

    /// Opens a partition's index as its writer, which fences older writers.
    pub fn open(&mut self, partition: Partition) -> (WriterToken, Rc<IndexState>) {
        let index = &mut self.index[partition.0 as usize];
        index.writer += 1;
        (WriterToken(index.writer), index.states.last().cloned().unwrap_or_default())
    }

    /// Writes a checkpoint and index entries as one batch, which becomes durable as a whole.
    ///
    /// # Errors
    /// [`Fenced`] if a newer writer has opened the index.
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

    /// Writes a checkpoint, and forgets the offsets of `commands` in all entries, as the index does
    /// when another topic is taken up.
    ///
    /// # Errors
    /// [`Fenced`] if a newer writer has opened the index.
    pub fn forget_commands(
        &mut self,
        partition: Partition,
        token: WriterToken,
        checkpoint: Checkpoint,
    ) -> Result<(), Fenced> {
        let entries = self.view(partition, 0).entries.clone().into_iter();
        let entries: Vec<_> = entries.map(|(chunk, entry)| (chunk, entry.without_offsets())).collect();
        self.write(partition, token, checkpoint, &entries)
    }

    /// The number of durable states that a partition's index has had.
    #[must_use]
    pub fn states(&self, partition: Partition) -> usize {
        self.index[partition.0 as usize].states.len()
    }

    /// Injects a fault: puts the index of a partition back to its state number `which`, as an
    /// operator does who restores a backup. `None` deletes the index. The writer that has the index
    /// open is fenced.
    pub fn roll_back(&mut self, partition: Partition, which: Option<usize>) {
        let index = &mut self.index[partition.0 as usize];
        index.writer += 1;
        index.replaced = index.writer;
        let state = which.and_then(|which| index.states.get(which).cloned()).unwrap_or_default();
        index.states.push(state);
    }

    /// Reads a chunk's entry for the writer that has the index open.
    ///
    /// # Errors
    /// If the index was put back or deleted since, so that the files of that writer are gone.
    pub fn entry(
        &self,
        partition: Partition,
        token: WriterToken,
        chunk: &ChunkId,
    ) -> Result<Option<IndexEntry>, Fenced> {
        match token.0 > self.index[partition.0 as usize].replaced {
            true => Ok(self.view(partition, 0).entries.get(chunk).cloned()),
            false => Err(Fenced),
        }
    }

    /// The durable state number `which` of a partition's index.
    #[must_use]
    pub fn state(&self, partition: Partition, which: usize) -> Option<&IndexState> {
        self.index[partition.0 as usize].states.get(which).map(Rc::as_ref)
    }

    /// A view of the index that misses the last `staleness` writes.
    #[must_use]
    pub fn view(&self, partition: Partition, staleness: usize) -> Rc<IndexState> {
        let states = &self.index[partition.0 as usize].states;
        let newest = states.len().saturating_sub(1);
        states.get(newest.saturating_sub(staleness)).cloned().unwrap_or_default()
    }
}

/// Compresses an encoding as the real store does.
fn compress(encoding: &[u8]) -> Bytes {
    zstd::bulk::compress(encoding, 1).unwrap_or_default().into()
}
