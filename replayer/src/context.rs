//! The context that all ownerships of a process share.

use crate::dead_letters::DeadLetters;
use crate::feed::Feed;
use crate::publisher::Publisher;
#[cfg(debug_assertions)]
use crate::report::Reports;
use crate::watchdog::Watchdog;
use driftless_chunk::world::World;
use driftless_log::Log;
use driftless_replayer_core::Settings;
use driftless_runtime::clock::Clock;
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{ChunkId, Epoch, HistoryId, Offset, Partition};
use driftless_store::Store;
use driftless_store::index::Indexes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The most objects that one process loads and stores at a time.
pub(crate) const STORE_CONCURRENCY: usize = 64;

/// The context of all ownerships of a process.
pub(crate) struct Context {
    pub world: Arc<World>,
    pub log: Arc<dyn Log>,
    pub store: Store,
    pub indexes: Indexes,
    pub feed: Feed,
    pub watchdog: Arc<Watchdog>,
    pub publisher: Publisher,
    pub dead_letters: DeadLetters,
    /// [`STORE_CONCURRENCY`] permits; the semaphore is never closed.
    pub store_permits: Semaphore,
    pub settings: Settings,
    pub chunks: ChunksMemory,
    /// The name of this process, which it uses as a static member of the group and at the start of
    /// the owner texts of its fences.
    pub member: String,
    pub clock: Clock,
    /// Chunks whose model failed after commands were decided
    /// ([`End::ModelFault`](driftless_replayer_core::End::ModelFault)). Later ownerships are
    /// careful with them.
    pub careful: Mutex<BTreeSet<ChunkId>>,
    /// The highest epoch that this process has read in each partition of `updates`, if that epoch
    /// has ended an ownership. The next claim uses an epoch above it.
    pub claim_above: Highest<Epoch>,
    /// The highest history that this process has read in each partition of `updates`, if that
    /// history has ended an ownership. The next history begins above it.
    pub begin_above: Highest<HistoryId>,
    /// The highest offset of each partition of `updates` up to which ownerships of this process
    /// have known the log, in its newest history. A log that ends below has lost its end.
    pub known_end: Highest<(HistoryId, Offset)>,
    /// Chunks that ownerships which mend are to load.
    pub to_mend: Mutex<BTreeSet<ChunkId>>,
    /// Chunks of which ownerships that mend have lost commits, and how many.
    pub lost: Mutex<BTreeMap<(Partition, ChunkId), String>>,
    /// The channels of all ownerships, over which a test orders a chunk to be damaged.
    #[cfg(debug_assertions)]
    pub damage: Mutex<Vec<Reports>>,
}

/// The memory that a process has for chunks. The ownerships of the process have equal parts of it.
pub(crate) struct ChunksMemory {
    bytes_max: usize,
    /// The limit that a setting puts on each ownership.
    of_each: Option<usize>,
    ownerships: AtomicUsize,
}

impl ChunksMemory {
    pub fn new(bytes_max: usize, of_each: Option<usize>) -> Self {
        Self { bytes_max, of_each, ownerships: AtomicUsize::new(0) }
    }

    /// Counts an ownership, until the value is dropped.
    pub fn join(context: &Arc<Context>) -> ChunksShare {
        context.chunks.ownerships.fetch_add(1, Ordering::Relaxed);
        ChunksShare { context: Arc::clone(context) }
    }
}

/// The part of one ownership in the memory for chunks.
pub(crate) struct ChunksShare {
    context: Arc<Context>,
}

impl ChunksShare {
    /// The size of the part now, in bytes.
    pub fn bytes_max(&self) -> usize {
        let ChunksMemory { bytes_max, of_each, ownerships } = &self.context.chunks;
        let share = bytes_max / ownerships.load(Ordering::Relaxed).max(1);
        of_each.map_or(share, |each| each.min(share))
    }
}

impl Drop for ChunksShare {
    fn drop(&mut self) {
        self.context.chunks.ownerships.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The highest value that was noted for each partition.
pub(crate) struct Highest<T>(Mutex<BTreeMap<Partition, T>>);

impl<T> Default for Highest<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Copy + Default + Ord> Highest<T> {
    pub fn note(&self, partition: Partition, value: T) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = noted.entry(partition).or_default();
        *highest = value.max(*highest);
    }

    /// The highest value of the partition; the default if none was noted.
    pub fn of(&self, partition: Partition) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&partition).copied().unwrap_or_default()
    }
}

impl Context {
    /// Makes later ownerships of the chunk's partition careful with the chunk.
    pub fn be_careful_with(&self, chunk: ChunkId) {
        self.careful.lock().unwrap_or_else(PoisonError::into_inner).insert(chunk);
    }

    /// The chunks of a partition that an ownership which mends is to load.
    pub fn to_mend(&self, partition: Partition) -> BTreeSet<ChunkId> {
        let chunks = self.to_mend.lock().unwrap_or_else(PoisonError::into_inner);
        let is_here = |chunk: &&ChunkId| self.world.place(chunk).is_ok_and(|place| place.partition == partition);
        chunks.iter().filter(is_here).cloned().collect()
    }

    /// Notes what is lost of a chunk.
    pub fn note_lost(&self, partition: Partition, chunk: ChunkId, reason: String) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert((partition, chunk), reason);
    }

    /// An owner text for a fence (R4). No other ownership has the same one, so that the owner
    /// recognises its fence.
    pub fn owner_text(&self) -> String {
        format!("{}/{:016x}", self.member, rand::random::<u64>())
    }

    /// A history of the partition that begins now; `None` if the world's format cannot name it.
    pub fn new_history(&self, partition: Partition, checkpoint: &Checkpoint) -> Option<HistoryId> {
        self.world.id()?;
        let after = checkpoint.history.max(self.begin_above.of(partition));
        let now_ms = u64::try_from(self.clock.now().unix.0).unwrap_or_default();
        Some(HistoryId::new(now_ms, rand::random(), after))
    }

    /// The chunks to be careful with.
    pub fn careful(&self) -> BTreeSet<ChunkId> {
        self.careful.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
