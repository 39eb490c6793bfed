//! Reads `updates` for the hub, and loads stored states.
//!
//! The follower opens a view of each partition's index at start and reads the log from that view's
//! `updates_low` on, with the epoch and n at that offset (R4). Each newer ref arrives through the
//! log as `SnapshotStored`, so the follower never polls the index. A stored state is verified by
//! its hash (R7).

use driftless_chunk::position::Position;
use driftless_chunk::world::World;
use driftless_gateway_core::{LoadError, Loaded, Reread, newer_ref};
use driftless_log::{self as log, Log, Reader};
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::stored::StoredRef;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Offset, Partition};
use driftless_store::Store;
use driftless_store::index::{IndexView, Indexes};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::metrics;

/// A started follower.
pub(crate) struct Follower {
    /// Reads all partitions of `updates`.
    pub reader: Box<dyn Reader>,
    /// By partition: the position at which the reader starts.
    pub positions: Vec<Position>,
    /// The end of each partition when the follower started. The gateway is ready once it has read
    /// up to all these offsets.
    pub goals: BTreeMap<Partition, Offset>,
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
    /// Bounds concurrent loads, so that ten thousand clients at once do not flood the store.
    loads: Arc<Semaphore>,
    /// Bounds concurrent readers of old parts of the log.
    rereads: Arc<Semaphore>,
}

/// A view of one partition's index. A newer view replaces it now and then, because a SlateDB reader
/// accumulates state for as long as it follows the index.
struct View {
    partition: Partition,
    current: RwLock<Arc<IndexView>>,
}

/// Limit on concurrent loads of stored states.
const LOADS_MAX: usize = 64;
/// Limit on concurrent rereads of the log, each of which has its own reader.
const REREADS_MAX: usize = 2;
/// Limit on the time of a reread. A reread that takes longer fails, and the hub retries the load.
const REREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a view is used before it is replaced. The hub may forget a chunk without trackers once
/// all views are newer than the chunk's last ref, so it keeps such chunks about this long.
const VIEW_LIFETIME: Duration = Duration::from_secs(600);

impl Follower {
    pub async fn start(world: &Arc<World>, log: &Arc<dyn Log>, store: &Store) -> Result<Self, Error> {
        let indexes = Indexes::new(store.object_store(), world.spec().generation);
        let topic = Arc::clone(&world.topics().updates);
        log::check_topic(&**log, &topic, world.spec().partitions).await?;
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
    /// Loads the state of `logged`, which is a ref from the log, or of the newest ref in the index,
    /// whichever is newer. The state is `None` if no state of the chunk is stored. Also rereads the
    /// records that the hub evicted, unless the loaded state contains them.
    pub async fn load(
        &self,
        chunk: &ChunkId,
        logged: Option<StoredRef>,
        reread: Option<Box<Reread>>,
    ) -> (Result<Option<Loaded>, LoadError>, Option<Box<Reread>>) {
        // The semaphore is never closed.
        let _permit = self.loads.acquire().await;
        let loaded = match self.stored(chunk, logged).await {
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
            Err(_) => (
                Err(LoadError::Unavailable(format!(
                    "evicted records were not read from the log within {REREAD_TIMEOUT:?}"
                ))),
                None,
            ),
        }
    }

    async fn stored(&self, chunk: &ChunkId, logged: Option<StoredRef>) -> Result<Option<Loaded>, LoadError> {
        let indexed = self.newest_ref(chunk).await.map_err(LoadError::Unavailable)?;
        let Some(stored) = newer_ref(logged, indexed) else { return Ok(None) };
        match self.store.stored(&stored).await {
            Ok(snapshot) => Ok(Some(Loaded { stored, data: snapshot.data, encoding: snapshot.encoding })),
            Err(e) if e.is_lost() => Err(LoadError::Lost { stored: Box::new(stored), reason: e.to_string() }),
            Err(e) => Err(LoadError::Unavailable(e.to_string())),
        }
    }

    async fn read_again(&self, mut reread: Box<Reread>) -> Result<Box<Reread>, String> {
        let _permit = self.rereads.acquire().await;
        let Some(from) = reread.next() else { return Ok(reread) };
        metrics::reread();
        let mut reader = self.log.reader().map_err(|e| e.to_string())?;
        reader.assign(&self.world.topics().updates, reread.partition(), from);
        while reread.next().is_some() {
            let batches = reader
                .next()
                .await
                .map_err(|e| format!("cannot read evicted records, which no snapshot contains, from the log: {e}"))?;
            for batch in batches {
                reread.take(batch.records.into_iter().map(|record| (record.offset, record.value)).collect())?;
            }
        }
        Ok(reread)
    }

    /// Replaces each view every ten minutes, one after the other, until the shutdown. Calls
    /// `renewed` with a time after which all current views were opened.
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
                Err(e) => tracing::warn!(
                    partition = view.partition.0,
                    "cannot open a new view of the index, so the old one stays: {e}"
                ),
            }
        }
    }

    async fn newest_ref(&self, chunk: &ChunkId) -> Result<Option<StoredRef>, String> {
        let place = self.world.place(chunk).map_err(|e| e.to_string())?;
        let view = usize::try_from(place.partition.0).ok().and_then(|i| self.views.get(i));
        let view = view.ok_or_else(|| format!("partition {} has no view", place.partition))?;
        let view = Arc::clone(&view.current.read().unwrap_or_else(PoisonError::into_inner));
        Ok(view.entry(chunk).await.map_err(|e| e.to_string())?.map(|entry| entry.newest))
    }
}
