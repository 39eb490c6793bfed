//! Reads `updates` for the hub, and loads stored states.
//!
//! To open a partition is to open a view of its index. The follower then reads the log from that
//! view's `updates_low` on, with the epoch and n at that offset (R4). Each newer ref arrives
//! through the log as `SnapshotStored`, so the follower never polls the index. A stored state is
//! verified by its hash (R7). The hub decides when to open a partition, and what a failure means.

use driftless_chunk::position::Position;
use driftless_chunk::recognition::Known;
use driftless_chunk::world::World;
use driftless_gateway_core::{Fault, LoadError, Loaded, Opened, Reread, newer_ref};
use driftless_log::{self as log, Batch, Log, ReadError, Reader};
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::stored::{Checkpoint, StoredRef};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Offset, Partition};
use driftless_store::Store;
use driftless_store::index::{self, IndexView, Indexes};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};

use crate::metrics;
use crate::turns::Turns;

/// Reads the partitions of `updates` that are open.
pub(crate) struct Follower {
    log: Arc<dyn Log>,
    topic: Arc<str>,
    /// `None` before the first partition is open.
    reader: Option<Box<dyn Reader>>,
    pub loader: Loader,
}

/// Opens partitions and loads stored states.
#[derive(Clone)]
pub(crate) struct Loader {
    world: Arc<World>,
    store: Store,
    indexes: Indexes,
    views: Arc<Vec<View>>,
    log: Arc<dyn Log>,
    /// Bounds concurrent loads, so that ten thousand clients at once do not flood the store. Users
    /// load in turn.
    loads: Turns,
    /// Bounds concurrent readers of old parts of the log.
    rereads: Arc<Semaphore>,
}

/// A view of one partition's index. A newer view replaces it now and then, because a SlateDB reader
/// accumulates state for as long as it follows the index.
struct View {
    partition: Partition,
    /// `None` before the partition was opened.
    current: RwLock<Option<Arc<IndexView>>>,
    /// Held while a view is opened, so that no view is replaced by an older one.
    opening: Mutex<()>,
}

/// Limit on concurrent loads of stored states.
const LOADS_MAX: usize = 64;
/// Limit on concurrent rereads of the log, each of which has its own reader.
const REREADS_MAX: usize = 2;
/// Limit on the time of a reread. A reread that takes longer fails, and the hub retries the load.
const REREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Limit on the time to open a partition. A store that never answers must not keep the partition in
/// doubt for ever.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a view is used before it is replaced. The hub may forget a chunk without trackers once
/// the view is newer than the chunk's last ref, so it keeps such chunks about this long.
const VIEW_LIFETIME: Duration = Duration::from_secs(600);

impl Follower {
    /// Checks the topic. No partition is open yet. The block cache of all indexes takes
    /// `cache_bytes`.
    pub async fn start(
        world: &Arc<World>,
        log: &Arc<dyn Log>,
        store: &Store,
        cache_bytes: usize,
    ) -> Result<Self, log::Error> {
        let indexes = Indexes::new(store.object_store(), world.spec().generation).with_memory(cache_bytes);
        let topic = Arc::clone(&world.topics().updates);
        log::check_topic(&**log, &topic, world.spec().partitions).await?;
        let views = world.partitions().map(|partition| View {
            partition,
            current: RwLock::default(),
            opening: Mutex::default(),
        });
        let loader = Loader {
            world: Arc::clone(world),
            store: store.clone(),
            indexes,
            views: Arc::new(views.collect()),
            log: Arc::clone(log),
            loads: Turns::new(LOADS_MAX),
            rereads: Arc::new(Semaphore::new(REREADS_MAX)),
        };
        Ok(Self { log: Arc::clone(log), topic, reader: None, loader })
    }

    /// Waits for records. Cancel-safe. An error names one partition, which is not read any more.
    pub async fn next(&mut self) -> Result<Vec<Batch>, ReadError> {
        match &mut self.reader {
            Some(reader) => reader.next().await,
            None => std::future::pending().await,
        }
    }

    /// Begins to read a partition. `is_alone` is true if no other partition is read.
    ///
    /// # Errors
    /// The log has no reader.
    pub fn read(&mut self, partition: Partition, from: Offset, is_alone: bool) -> Result<(), log::Error> {
        // The other partitions may have failed because the reader has failed, which does not
        // recover.
        let reader = match self.reader.take().filter(|_| !is_alone) {
            Some(reader) => reader,
            None => self.log.reader()?,
        };
        self.reader.insert(reader).assign(&self.topic, partition, from);
        Ok(())
    }

    pub fn stop_reading(&mut self, partition: Partition) {
        if let Some(reader) = &mut self.reader {
            reader.unassign(&self.topic, partition);
        }
    }
}

impl Loader {
    /// Opens a partition: later loads use the new view of its index.
    pub async fn open(&self, partition: Partition) -> Result<Opened, Fault> {
        let Some(view) = self.view(partition) else { return Err(Fault::Index("there is no such partition".into())) };
        let opening = async {
            let _alone = view.opening.lock().await;
            let opened = self.indexes.view(partition).await.map_err(|e| Fault::Index(e.to_string()))?;
            let checkpoint = opened.checkpoint().await.map_err(|e| Fault::Index(e.to_string()))?;
            self.check_world(&checkpoint)?;
            let watermarks = self.log.watermarks(&self.world.topics().updates, partition).await;
            let (low, high) = watermarks.map_err(|e| Fault::Log(e.to_string()))?;
            view.set(opened);
            let (position, known_end) = (Position::of_checkpoint(&checkpoint), checkpoint.updates_end);
            Ok(Opened { position, low, high, known_end, known: Known::of_updates_end(&checkpoint) })
        };
        let timed_out = || Err(Fault::Index(format!("the index and the log did not answer within {OPEN_TIMEOUT:?}")));
        tokio::time::timeout(OPEN_TIMEOUT, opening).await.unwrap_or_else(|_| timed_out())
    }

    /// Fails if the index belongs to another world.
    fn check_world(&self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        match checkpoint.world {
            Some(index) if Some(index) != self.world.id() => {
                Err(Fault::AnotherWorld { index, own: self.world.id_text() })
            }
            _ => Ok(()),
        }
    }

    /// Loads the state of `logged`, which is a ref from the log, or of the newest ref in the index,
    /// whichever is newer. The state is `None` if no state of the chunk is stored. Also rereads the
    /// records that the hub evicted, unless the loaded state contains them. The load waits for the
    /// turn of `user`.
    pub async fn load(
        &self,
        chunk: &ChunkId,
        logged: Option<StoredRef>,
        reread: Option<Box<Reread>>,
        user: &Arc<str>,
    ) -> (Result<Option<Loaded>, LoadError>, Option<Box<Reread>>) {
        let permit = self.loads.permit(user).await;
        let loaded = match self.stored(chunk, logged).await {
            Ok(loaded) => loaded,
            Err(e) => return (Err(e), None),
        };
        // A reread may wait for a minute, and other loads must not wait behind it.
        drop(permit);
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
    /// `renewed` with the time before the new view was opened.
    pub async fn renew_views(self, clock: Clock, shutdown: Shutdown, renewed: impl Fn(Partition, MonotonicMs)) {
        let pause = VIEW_LIFETIME / u32::try_from(self.views.len().max(1)).unwrap_or(u32::MAX);
        for view in self.views.iter().cycle() {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if view.get().is_none() {
                // The hub has the partition opened.
                continue;
            }
            let partition = view.partition;
            let now = clock.monotonic();
            match tokio::time::timeout(OPEN_TIMEOUT, self.replace(view)).await {
                Ok(Ok(())) => renewed(partition, now),
                Ok(Err(e)) => tracing::warn!(
                    partition = partition.0,
                    "cannot open a new view of the index, so the old one stays: {e}"
                ),
                Err(_) => tracing::warn!(
                    partition = partition.0,
                    "the index did not answer within {OPEN_TIMEOUT:?}, so the old view stays"
                ),
            }
        }
    }

    async fn replace(&self, view: &View) -> Result<(), index::Error> {
        let _alone = view.opening.lock().await;
        view.set(self.indexes.view(view.partition).await?);
        Ok(())
    }

    async fn newest_ref(&self, chunk: &ChunkId) -> Result<Option<StoredRef>, String> {
        let place = self.world.place(chunk).map_err(|e| e.to_string())?;
        let no_view = || format!("partition {} has no view", place.partition);
        let view = self.view(place.partition).ok_or_else(no_view)?;
        let entry = match view.get().ok_or_else(no_view)?.entry(chunk).await {
            // An operator may have put the index back to a state that lacks files of this view. A
            // new view names the files that the index has now.
            Err(index::Error::Damaged { problem, .. }) => {
                let opened = tokio::time::timeout(OPEN_TIMEOUT, self.replace(view)).await;
                opened.map_err(|_| problem)?.map_err(|e| e.to_string())?;
                view.get().ok_or_else(no_view)?.entry(chunk).await
            }
            entry => entry,
        };
        Ok(entry.map_err(|e| e.to_string())?.map(|entry| entry.newest))
    }

    fn view(&self, partition: Partition) -> Option<&View> {
        self.views.get(usize::try_from(partition.0).ok()?)
    }
}

impl View {
    fn get(&self) -> Option<Arc<IndexView>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, new: IndexView) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(new));
    }
}
