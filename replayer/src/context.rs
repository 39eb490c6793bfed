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
use driftless_schemas::{ChunkId, Epoch, Partition};
use driftless_store::Store;
use driftless_store::index::Indexes;
use std::collections::{BTreeMap, BTreeSet};
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
    pub claim_above: Mutex<BTreeMap<Partition, Epoch>>,
    /// The channels of all ownerships, over which a test orders a chunk to be damaged.
    #[cfg(debug_assertions)]
    pub damage: Mutex<Vec<Reports>>,
}

impl Context {
    /// Makes later ownerships of the chunk's partition careful with the chunk.
    pub fn be_careful_with(&self, chunk: ChunkId) {
        self.careful.lock().unwrap_or_else(PoisonError::into_inner).insert(chunk);
    }

    /// Makes later ownerships of the partition claim an epoch above this one.
    pub fn claim_above(&self, partition: Partition, epoch: Epoch) {
        let mut claimed = self.claim_above.lock().unwrap_or_else(PoisonError::into_inner);
        let above = claimed.entry(partition).or_default();
        *above = epoch.max(*above);
    }

    /// The epoch above which an ownership of the partition must claim.
    pub fn epoch_to_pass(&self, partition: Partition) -> Epoch {
        let claimed = self.claim_above.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.get(&partition).copied().unwrap_or_default()
    }

    /// The chunks to be careful with.
    pub fn careful(&self) -> BTreeSet<ChunkId> {
        self.careful.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
