//! The context that all ownerships of a process share.

use crate::dead_letters::DeadLetters;
use crate::feed::Feed;
use crate::publisher::Publisher;
#[cfg(debug_assertions)]
use crate::report::Reports;
use crate::watchdog::Watchdog;
use driftless_chunk::world::World;
use driftless_replayer_core::Settings;
use driftless_runtime::clock::Clock;
use driftless_schemas::ChunkId;
use driftless_store::Store;
use driftless_store::index::Indexes;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Objects that one process loads and stores at a time.
pub(crate) const STORE_CONCURRENCY: usize = 64;

/// The context of all ownerships of a process.
pub(crate) struct Context {
    pub world: Arc<World>,
    pub store: Store,
    pub indexes: Indexes,
    pub feed: Feed,
    pub watchdog: Arc<Watchdog>,
    pub publisher: Publisher,
    pub dead_letters: DeadLetters,
    /// [`STORE_CONCURRENCY`] permits; the semaphore is never closed.
    pub store_permits: Semaphore,
    pub settings: Settings,
    /// The name of this process: static membership, fences.
    pub member: String,
    pub clock: Clock,
    /// Chunks whose model panicked where the panic could not be contained; see
    /// [`End::ModelFault`](driftless_replayer_core::End::ModelFault).
    pub careful: Mutex<BTreeSet<ChunkId>>,
    /// Where the ownerships hear of a chunk to damage on purpose.
    #[cfg(debug_assertions)]
    pub damage: Mutex<Vec<Reports>>,
}

impl Context {
    /// The next ownership of the chunk's partition is careful with it.
    pub fn be_careful_with(&self, chunk: ChunkId) {
        self.careful.lock().unwrap_or_else(PoisonError::into_inner).insert(chunk);
    }

    /// The chunks to be careful with.
    pub fn careful(&self) -> BTreeSet<ChunkId> {
        self.careful.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
