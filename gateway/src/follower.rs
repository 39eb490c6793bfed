//! What the hub reads: `updates` from the views' checkpoints on, and stored states.
//!
//! A view of each partition's index is opened once; the log is read from that view's `updates_low`, with the epoch and n
//! at that place (R4). Every newer ref comes through the log as `SnapshotStored`, so that nothing is missed and nothing
//! is polled. A stored state is verified by its hash (R7).

use driftless_chunk::position::Position;
use driftless_chunk::world::World;
use driftless_gateway_core::{LoadError, Loaded, Reread, newer_ref};
use driftless_log::{self as log, Log, Reader};
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::proto::Ref;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Offset, Partition};
use driftless_store::index::{IndexView, Indexes};
use driftless_store::{self as store, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;

use crate::metrics;
use crate::service::Error;

/// A started follower.
pub(crate) struct Follower {
    /// Has all partitions of `updates` assigned.
    pub reader: Box<dyn Reader>,
    /// Where each partition is read from.
    pub positions: Vec<Position>,
    /// The ends of the log at the start: ready when all are reached.
    pub goals: BTreeMap<Partition, Offset>,
    /// Loads stored states.
    pub loader: Loader,
}

/// Loads stored states.
#[derive(Clone)]
pub(crate) struct Loader {
    world: Arc<World>,
    store: Store,
    indexes: Indexes,
    views: Arc<Vec<View>>,
    log: Arc<dyn Log>,
    /// Loads that may run at a time: ten thousand clients that come at once ask for no more of the store than this.
    loads: Arc<Semaphore>,
    rereads: Arc<Semaphore>,
}

/// A view, and the one that takes its place now and then: a reader that follows for ever holds on to ever more.
struct View {
    partition: Partition,
    current: RwLock<Arc<IndexView>>,
}

/// States that are loaded at a time.
const LOADS_MAX: usize = 64;
/// Parts of the log that are read again at a time: each has a reader of its own.
const REREADS_MAX: usize = 2;
/// A part of the log that is not read again after this is given up for now.
const REREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a view is followed before it is opened anew. What the hub keeps of chunks that nobody tracks is as old at most.
const VIEW_LIFETIME: Duration = Duration::from_secs(600);

impl Follower {
    pub async fn start(world: &Arc<World>, log: &Arc<dyn Log>, store: &Store) -> Result<Self, Error> {
        let indexes = Indexes::new(store.object_store(), world.spec().generation);
        let topic = Arc::clone(&world.topics().updates);
        match log.partitions(&topic).await? {
            None => return Err(Error::NoTopic { topic: topic.to_string() }),
            Some(found) if found != world.spec().partitions => {
                let wanted = world.spec().partitions;
                return Err(log::Error::PartitionCount { topic: topic.to_string(), found, wanted }.into());
            }
            Some(_) => {}
        }
        let mut reader = log.reader()?;
        let (mut positions, mut views, mut goals) = (Vec::new(), Vec::new(), BTreeMap::new());
        for partition in world.partitions() {
            let view = indexes.view(partition).await?;
            let position = Position::of_checkpoint(&view.checkpoint().await?);
            let (_, high) = log.watermarks(&topic, partition).await?;
            reader.assign(&topic, partition, position.offset);
            positions.push(position);
            views.push(View { partition, current: RwLock::new(Arc::new(view)) });
            goals.insert(partition, high);
        }
        let loader = Loader {
            world: Arc::clone(world),
            store: store.clone(),
            indexes,
            views: Arc::new(views),
            log: Arc::clone(log),
            loads: Arc::new(Semaphore::new(LOADS_MAX)),
            rereads: Arc::new(Semaphore::new(REREADS_MAX)),
        };
        Ok(Self { reader, positions, goals, loader })
    }
}

impl Loader {
    /// The state of this ref or of the newest one in the index, whichever is newer; `None` where nothing is stored. And what
    /// is to be read again, unless that state contains it.
    pub async fn load(
        &self,
        chunk: &ChunkId,
        told: Option<Ref>,
        reread: Option<Box<Reread>>,
    ) -> (Result<Option<Loaded>, LoadError>, Option<Box<Reread>>) {
        // It is never closed.
        let _place = self.loads.acquire().await;
        let loaded = match self.stored(chunk, told).await {
            Ok(loaded) => loaded,
            Err(e) => return (Err(e), None),
        };
        let Some(reread) = reread.filter(|reread| !loaded.as_ref().is_some_and(|l| reread.is_covered_by(&l.stored)))
        else {
            return (Ok(loaded), None);
        };
        match tokio::time::timeout(REREAD_TIMEOUT, self.read_again(reread)).await {
            Ok(Ok(reread)) => (Ok(loaded), Some(reread)),
            Ok(Err(reason)) => (Err(LoadError::Unavailable(reason)), None),
            Err(_) => {
                (Err(LoadError::Unavailable(format!("the log was not read again within {REREAD_TIMEOUT:?}"))), None)
            }
        }
    }

    async fn stored(&self, chunk: &ChunkId, told: Option<Ref>) -> Result<Option<Loaded>, LoadError> {
        let indexed = self.newest_ref(chunk).await.map_err(LoadError::Unavailable)?;
        let Some(stored) = newer_ref(told, indexed) else { return Ok(None) };
        match self.store.stored(&stored).await {
            Ok(snapshot) => Ok(Some(Loaded { stored, data: snapshot.data, encoding: snapshot.encoding })),
            Err(e @ (store::Error::Missing { .. } | store::Error::Damaged { .. })) => {
                Err(LoadError::Lost { stored: Box::new(stored), reason: e.to_string() })
            }
            Err(e) => Err(LoadError::Unavailable(e.to_string())),
        }
    }

    async fn read_again(&self, mut reread: Box<Reread>) -> Result<Box<Reread>, String> {
        let _place = self.rereads.acquire().await;
        let Some(from) = reread.next() else { return Ok(reread) };
        metrics::reread();
        let mut reader = self.log.reader().map_err(|e| e.to_string())?;
        reader.assign(&self.world.topics().updates, reread.partition(), from);
        while reread.next().is_some() {
            let batches =
                reader.next().await.map_err(|e| format!("what no snapshot contains cannot be read again: {e}"))?;
            for batch in batches {
                reread.take(batch.records.into_iter().map(|record| (record.offset, record.value)).collect())?;
            }
        }
        Ok(reread)
    }

    /// Opens the views anew every ten minutes, one after the other, until the end. `renewed` hears since when all of them are.
    pub async fn renew_views(self, clock: Clock, shutdown: Shutdown, renewed: impl Fn(MonotonicMs)) {
        let pause = VIEW_LIFETIME / u32::try_from(self.views.len().max(1)).unwrap_or(u32::MAX);
        let mut opened = vec![None; self.views.len()];
        for (view, i) in self.views.iter().zip(0..).cycle() {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let now = clock.monotonic();
            match self.indexes.view(view.partition).await {
                Ok(new) => {
                    *view.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                    opened[i] = Some(now);
                    if let Some(Some(oldest)) = opened.iter().min() {
                        renewed(*oldest);
                    }
                }
                Err(e) => tracing::warn!(partition = view.partition.0, "the old view stays: {e}"),
            }
        }
    }

    async fn newest_ref(&self, chunk: &ChunkId) -> Result<Option<Ref>, String> {
        let place = self.world.place(chunk).map_err(|e| e.to_string())?;
        let view = usize::try_from(place.partition.0).ok().and_then(|i| self.views.get(i));
        let view = view.ok_or_else(|| format!("partition {} has no view", place.partition))?;
        let view = Arc::clone(&view.current.read().unwrap_or_else(PoisonError::into_inner));
        Ok(view.entry(chunk).await.map_err(|e| e.to_string())?.and_then(|entry| entry.newest))
    }
}
