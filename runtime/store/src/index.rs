//! The index of a partition: a SlateDB database on the object store that maps each chunk id to an
//! `IndexEntry`, and the key `!checkpoint` to a `Checkpoint` (docs/design.md#object-store).
//!
//! Only the owner of a partition keeps its database open ([`Index`]). Opening it fences older
//! owners and stores the epoch of the new ownership durably (R4). All other processes read through
//! an [`IndexView`].
//!
//! The settings come from measurements with SlateDB 0.18. There is no background flush
//! (`flush_interval: None`), because the owner flushes at each checkpoint. The memtable is flushed
//! every 64 checkpoints, because opening took 225 ms instead of 14 ms after 1,500 checkpoints
//! without such flushes. All databases of a process share one block cache, because the default
//! cache is 640 MB per database.

use crate::clock::{self, IndexClock};
use bytes::Bytes;
use driftless_schemas::stored::{Checkpoint, IndexEntry};
use driftless_schemas::{ChunkId, Epoch, Partition, format, limits, proto, storage};
use object_store::ObjectStore;
use prost::Message;
use slatedb::admin::Admin;
use slatedb::config::{DbReaderOptions, FlushOptions, FlushType, GarbageCollectorOptions, Settings};
use slatedb::db_cache::DbCache;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::{CloseReason, Db, DbReader, DbReaderMode, ErrorKind, WriteBatch};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The size of the block cache that all databases of a process share, unless
/// [`Indexes::with_memory`] says another one.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// The size of a table of new entries at which SlateDB stores it. SlateDB's own default is 64 MiB,
/// and an owner would hold so much for each partition.
const TABLE_BYTES: usize = 4 * 1024 * 1024;
/// The bytes of tables that are not stored yet, above which a write waits.
const UNFLUSHED_BYTES_MAX: usize = 16 * 1024 * 1024;
const MANIFEST_POLL: Duration = Duration::from_secs(10);
const STORE_RETRIES: u32 = 8;
/// A part of the error text by which SlateDB 0.18 reports a lost race of two owners. The kind of
/// the error is the same as for damaged data, so only this text distinguishes them. The contract
/// suite provokes such races.
const LOST_RACE: &str = "version already exists";
/// The memtable is flushed after this many checkpoints, so that opening stays fast.
const MEMTABLE_FLUSH_EVERY: u64 = 64;
/// A part of the error text by which SlateDB 0.18 reports that the clock is below a time which the
/// database has seen. The time follows in backquotes.
const CLOCK_BEHIND: &str = "invalid clock tick, must be monotonic. last_tick=`";
/// How often a database is opened with a clock that is moved ahead, before the error counts.
const CLOCK_TRIES: u32 = 3;
/// How many entries one batch rewrites.
const ENTRIES_PER_BATCH: usize = 500;
/// The leap of an ordinary claim: the epoch after the newest one.
pub const NEXT: NonZeroU64 = NonZeroU64::MIN;
/// The interval at which an owner deletes files of its database that no state uses any more.
const COLLECT_INTERVAL: Duration = Duration::from_secs(60);

/// Opens the databases of one generation of a world.
#[derive(Clone)]
pub struct Indexes {
    store: Arc<dyn ObjectStore>,
    generation: u32,
    cache: Arc<dyn DbCache>,
    opened: Arc<AtomicU64>,
    /// Corrects the machine's wall clock to the store's time, in milliseconds.
    correction_ms: i64,
}

/// The database of a partition, opened by its owner.
pub struct Index {
    db: Db,
    checkpoints: AtomicU64,
    collector: tokio::task::AbortHandle,
}

/// A read-only view of a partition's database. The view follows the owner's writes.
pub struct IndexView {
    /// `None` if the database did not exist when the view was opened.
    reader: Option<DbReader>,
}

/// An error of the index.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A newer owner has opened the database: this owner must stop at once.
    #[error("a newer owner has opened the index of this partition")]
    Fenced,
    /// The store does not answer.
    #[error("index: {0}")]
    Unavailable(String),
    /// The next epoch would be above [`limits::EPOCH_MAX`].
    #[error(
        "no owner can claim epoch {0}: the limit is {max}. A program that is no owner has written a fence to the topic updates, or the index is damaged. Restore the log and the index to a state from before, or give the world a new generation",
        max = limits::EPOCH_MAX
    )]
    EpochTooHigh(Epoch),
    /// A stored value cannot be decoded.
    #[error("index: {key}: {problem}")]
    Damaged {
        /// The key.
        key: String,
        /// The problem.
        problem: String,
    },
}

impl From<slatedb::Error> for Error {
    fn from(e: slatedb::Error) -> Self {
        match e.kind() {
            ErrorKind::Closed(CloseReason::Fenced) => Self::Fenced,
            // Two owners that open at once write the same version of the manifest. SlateDB reports
            // the loser's error as damaged data.
            ErrorKind::Data if e.to_string().contains(LOST_RACE) => Self::Fenced,
            ErrorKind::Data => Self::Damaged { key: "its database".into(), problem: e.to_string() },
            _ => Self::Unavailable(e.to_string()),
        }
    }
}

impl Indexes {
    /// Creates access to the databases of one generation of a world. Opens none of them yet.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, generation: u32) -> Self {
        Self { store, generation, cache: cache(CACHE_BYTES), opened: Arc::default(), correction_ms: 0 }
    }

    /// Limits the memory of the block cache that all databases of the process share, in bytes.
    #[must_use]
    pub fn with_memory(self, bytes: usize) -> Self {
        Self { cache: cache(bytes as u64), ..self }
    }

    /// Creates access to the databases of one generation of a world, which then use the store's
    /// time in place of the machine's wall clock. If the store does not show its time, they use the
    /// wall clock.
    pub async fn at_store_time(store: &crate::Store, generation: u32) -> Self {
        let skew_ms = match store.clock_skew_ms().await {
            Ok(0) => 0,
            Ok(skew_ms) => {
                let (seconds, side) = (skew_ms.unsigned_abs() / 1000, if skew_ms > 0 { "ahead of" } else { "behind" });
                tracing::warn!(
                    "the clock of this machine is {seconds} s {side} the object store's; the index uses the store's time. Set the machine's clock, because tokens and sessions use it"
                );
                skew_ms
            }
            Err(e) => {
                tracing::warn!("cannot compare the machine's clock with the object store's: {e}");
                0
            }
        };
        Self::new(store.object_store(), generation).with_clock_skew_ms(skew_ms)
    }

    /// Lets the databases use the machine's wall clock less this skew, which
    /// [`crate::Store::clock_skew_ms`] measures.
    #[must_use]
    pub fn with_clock_skew_ms(self, skew_ms: i64) -> Self {
        Self { correction_ms: skew_ms.saturating_neg(), ..self }
    }

    /// How far the machine's wall clock is ahead of the time that the databases use, in
    /// milliseconds.
    #[must_use]
    pub fn clock_skew_ms(&self) -> i64 {
        self.correction_ms.saturating_neg()
    }

    /// Opens a partition's database as its owner, with the epoch after the stored one; see
    /// [`Indexes::claim_above`].
    ///
    /// # Errors
    /// The errors of [`Indexes::claim_above`].
    pub async fn claim(&self, partition: Partition) -> Result<(Index, Checkpoint), Error> {
        self.claim_above(partition, Epoch::default(), NEXT).await
    }

    /// Opens a partition's database as its owner. Opening fences older owners. The claimed epoch is
    /// `leap` above the stored one or above `above`, whichever is higher. The fence and the epoch
    /// are durable when this function returns. Each call makes exactly one new epoch and one fence.
    /// Returns the database, and its checkpoint with the new epoch.
    ///
    /// `leap` is [`NEXT`], or a random number up to [`limits::EPOCH_LEAP_MAX`] for an ownership
    /// that accepts a loss.
    ///
    /// # Errors
    /// [`Error::Fenced`] if another owner opens the database at the same time;
    /// [`Error::EpochTooHigh`], [`Error::Unavailable`], [`Error::Damaged`].
    pub async fn claim_above(
        &self,
        partition: Partition,
        above: Epoch,
        leap: NonZeroU64,
    ) -> Result<(Index, Checkpoint), Error> {
        let clock = Arc::new(IndexClock::new(self.correction_ms));
        let mut tries = 0;
        let db = loop {
            tries += 1;
            match self.open(partition, &clock).await {
                Ok(db) => break db,
                Err(e) => match clock_behind(&e).filter(|_| tries < CLOCK_TRIES) {
                    Some(seen_ms) => clock.pass(seen_ms),
                    None => return Err(e.into()),
                },
            }
        };
        // Each write contains the checkpoint, so no write is younger. Without this, the first write
        // of an owner would wait for up to ten seconds and then fail.
        let newest = db.get_key_value(storage::CHECKPOINT).await?;
        if let Some(newest) = &newest {
            clock.pass(newest.create_ts);
        }
        let mut checkpoint = decode_checkpoint(newest.map(|newest| newest.value))?;
        let index = Index { db, checkpoints: AtomicU64::new(0), collector: self.collect(partition) };
        let highest = checkpoint.epoch.max(above);
        let claimed = Epoch(highest.0.saturating_add(leap.get()));
        if claimed.0 > limits::EPOCH_MAX {
            index.close().await;
            return Err(Error::EpochTooHigh(highest));
        }
        checkpoint.epoch = claimed;
        index.write(&checkpoint, &[]).await?;
        Ok((index, checkpoint))
    }

    async fn open(&self, partition: Partition, clock: &Arc<IndexClock>) -> Result<Db, slatedb::Error> {
        let settings = Settings {
            flush_interval: None,
            manifest_poll_interval: MANIFEST_POLL,
            object_store_max_retries: Some(STORE_RETRIES),
            garbage_collector_options: None,
            l0_sst_size_bytes: TABLE_BYTES,
            max_unflushed_bytes: UNFLUSHED_BYTES_MAX,
            ..Settings::default()
        };
        Db::builder(storage::index(self.generation, partition), Arc::clone(&self.store))
            .with_settings(settings)
            .with_db_cache(Arc::clone(&self.cache), self.cache_id())
            .with_system_clock(clock::shared(clock))
            .build()
            .await
    }

    /// Begins to delete, once a minute, the files of a partition's database that no state uses any
    /// more.
    fn collect(&self, partition: Partition) -> tokio::task::AbortHandle {
        let collector = self.collector(partition);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(COLLECT_INTERVAL).await;
                if let Err(e) = collector.run_gc_once(collecting()).await {
                    tracing::warn!(partition = partition.0, "cannot delete old files of the index: {e}");
                }
            }
        });
        task.abort_handle()
    }

    /// The collector has a clock of its own, which is never moved ahead: by a clock that is ahead,
    /// files that a view still reads would be old enough to be deleted.
    fn collector(&self, partition: Partition) -> Admin {
        let clock = Arc::new(IndexClock::new(self.correction_ms));
        let path = storage::index(self.generation, partition);
        Admin::builder(path, Arc::clone(&self.store)).with_system_clock(clock::shared(&clock)).build()
    }

    /// Opens a read-only view of a partition's database. If the database does not exist, the view
    /// is empty and stays so.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn view(&self, partition: Partition) -> Result<IndexView, Error> {
        let path = storage::index(self.generation, partition);
        if !self.exists(&path).await? {
            return Ok(IndexView { reader: None });
        }
        let options = DbReaderOptions {
            manifest_poll_interval: MANIFEST_POLL,
            object_store_max_retries: Some(STORE_RETRIES),
            max_memtable_bytes: TABLE_BYTES as u64,
            ..DbReaderOptions::default()
        };
        let reader = DbReader::builder(path, Arc::clone(&self.store))
            .with_reader_mode(DbReaderMode::FollowLatest)
            .with_options(options)
            .with_db_cache(Arc::clone(&self.cache), self.cache_id())
            .with_system_clock(clock::shared(&Arc::new(IndexClock::new(self.correction_ms))))
            .build()
            .await?;
        Ok(IndexView { reader: Some(reader) })
    }

    /// Deletes a partition's database.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete(&self, partition: Partition) -> Result<(), Error> {
        use futures_util::{StreamExt as _, TryStreamExt as _};
        let folder = object_store::path::Path::from(storage::index(self.generation, partition));
        let files = self.store.list(Some(&folder)).map_ok(|file| file.location).boxed();
        let deleted = self.store.delete_stream(files).try_collect::<Vec<_>>().await;
        deleted.map(drop).map_err(|e| Error::Unavailable(e.to_string()))
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        use futures_util::StreamExt as _;
        let prefix = object_store::path::Path::from(format!("{path}/manifest"));
        match self.store.list(Some(&prefix)).next().await {
            None => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(e)) => Err(Error::Unavailable(e.to_string())),
        }
    }

    fn cache_id(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::Relaxed)
    }
}

fn cache(bytes: u64) -> Arc<dyn DbCache> {
    Arc::new(MokaCache::new_with_opts(MokaCacheOptions { max_capacity: bytes, ..MokaCacheOptions::default() }))
}

fn collecting() -> GarbageCollectorOptions {
    GarbageCollectorOptions {
        boundary_files_enabled: false,
        object_store_max_retries: Some(STORE_RETRIES),
        ..GarbageCollectorOptions::default()
    }
}

/// The time that the database has seen, in milliseconds since the Unix epoch, if the error says
/// that the clock is behind it.
fn clock_behind(e: &slatedb::Error) -> Option<i64> {
    let text = e.to_string();
    let (_, rest) = text.split_once(CLOCK_BEHIND)?;
    rest.split('`').next()?.parse().ok()
}

impl Drop for Index {
    fn drop(&mut self) {
        self.collector.abort();
    }
}

impl Index {
    /// Returns the stored checkpoint; all zero if there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn checkpoint(&self) -> Result<Checkpoint, Error> {
        decode_checkpoint(self.db.get(storage::CHECKPOINT).await?)
    }

    /// Returns a chunk's entry.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn entry(&self, chunk: &ChunkId) -> Result<Option<IndexEntry>, Error> {
        decode_entry(chunk, self.db.get(chunk.as_str()).await?)
    }

    /// Writes a checkpoint and the index entries of the chunks that it changes, in one batch. The
    /// batch is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Fenced`] if a newer owner has opened the database; [`Error::Unavailable`].
    pub async fn write(&self, checkpoint: &Checkpoint, entries: &[(ChunkId, IndexEntry)]) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        batch.put(storage::CHECKPOINT, checkpoint.to_proto().encode_to_vec());
        for (chunk, entry) in entries {
            batch.put(chunk.as_str(), entry.to_proto().encode_to_vec());
        }
        let written = self.db.write(batch).await?;
        // The write of a fenced writer still returns Ok; only the flush reports the fence (SlateDB
        // 0.18).
        let count = self.checkpoints.fetch_add(1, Ordering::Relaxed) + 1;
        self.db.flush().await?;
        written.await_durable().await?;
        if count.is_multiple_of(MEMTABLE_FLUSH_EVERY) {
            self.db.flush_with_options(FlushOptions { flush_type: FlushType::MemTable }).await?;
        }
        Ok(())
    }

    /// Forgets which offsets of `commands` the chunks have decided, because `commands` is another
    /// topic now. Writes each entry without them, and then the checkpoint. The order in which a
    /// ledger's writers have decided stays. Older refs are dropped, because records of the old
    /// topic lead from them to the newest. Returns how many chunks the index has.
    ///
    /// If this fails halfway, it can be called again. Until then the old checkpoint names an offset
    /// of the old topic, so that no owner uses the index.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn forget_commands(&self, checkpoint: &Checkpoint) -> Result<u64, Error> {
        let mut entries = self.db.scan::<std::ops::RangeFull>(..).await?;
        let (mut batch, mut in_batch, mut chunks) = (WriteBatch::new(), 0, 0);
        while let Some(found) = entries.next().await? {
            if found.key == storage::CHECKPOINT.as_bytes() {
                continue;
            }
            let key = String::from_utf8_lossy(&found.key).into_owned();
            let chunk: ChunkId = key.parse().map_err(|e: driftless_schemas::ChunkIdError| Error::Damaged {
                key: key.clone(),
                problem: e.to_string(),
            })?;
            let Some(entry) = decode_entry(&chunk, Some(found.value))? else { continue };
            batch.put(chunk.as_str(), entry.without_offsets().to_proto().encode_to_vec());
            (in_batch, chunks) = (in_batch + 1, chunks + 1);
            if in_batch == ENTRIES_PER_BATCH {
                self.db.write(std::mem::take(&mut batch)).await?;
                self.db.flush().await?;
                in_batch = 0;
            }
        }
        if in_batch > 0 {
            self.db.write(batch).await?;
        }
        self.write(checkpoint, &[]).await?;
        Ok(chunks)
    }

    /// Closes the database. All writes are durable already, so a failure is only logged.
    pub async fn close(&self) {
        self.collector.abort();
        if let Err(e) = self.db.close().await {
            tracing::debug!(error = %e, "closing an index failed; its writes are durable");
        }
    }
}

impl IndexView {
    /// Returns the stored checkpoint; all zero if there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn checkpoint(&self) -> Result<Checkpoint, Error> {
        match &self.reader {
            None => Ok(Checkpoint::default()),
            Some(reader) => decode_checkpoint(reader.get(storage::CHECKPOINT).await?),
        }
    }

    /// Returns a chunk's entry.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn entry(&self, chunk: &ChunkId) -> Result<Option<IndexEntry>, Error> {
        match &self.reader {
            None => Ok(None),
            Some(reader) => decode_entry(chunk, reader.get(chunk.as_str()).await?),
        }
    }
}

fn decode_checkpoint(bytes: Option<Bytes>) -> Result<Checkpoint, Error> {
    let Some(bytes) = bytes else { return Ok(Checkpoint::default()) };
    let found = format::decode_known::<proto::Checkpoint>("Checkpoint", bytes).and_then(Checkpoint::from_proto);
    found.map_err(|e| Error::Damaged { key: storage::CHECKPOINT.into(), problem: e.to_string() })
}

fn decode_entry(chunk: &ChunkId, bytes: Option<Bytes>) -> Result<Option<IndexEntry>, Error> {
    let Some(bytes) = bytes else { return Ok(None) };
    let found = format::decode_known::<proto::IndexEntry>("IndexEntry", bytes).and_then(IndexEntry::from_proto);
    found.map(Some).map_err(|e| Error::Damaged { key: chunk.to_string(), problem: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_schemas::stored::{Location, StoredRef};
    use driftless_schemas::{Epoch, Hash, Offset, Version};

    fn entry(version: u64) -> IndexEntry {
        let newest = StoredRef {
            version: Version(version),
            hash: Hash::of(b""),
            location: Location::Object,
            through_offset: Offset(0),
            model_revision: 1,
            bytes: 0,
            ledger: None,
        };
        IndexEntry { newest, older: vec![] }
    }

    #[tokio::test]
    async fn r4_a_new_owner_gets_a_new_epoch_and_fences_the_old_one() {
        let indexes = Indexes::new(crate::Store::memory().object_store(), 1);
        let chunk: ChunkId = "canvas/0/0".parse().unwrap();
        assert_eq!(indexes.view(Partition(0)).await.unwrap().entry(&chunk).await.unwrap(), None);

        let (old, first) = indexes.claim(Partition(0)).await.unwrap();
        assert_eq!(first, Checkpoint { epoch: Epoch(1), ..Checkpoint::default() });
        let written = Checkpoint { commands_next: Offset(7), updates_low: Offset(5), ..first };
        old.write(&written, &[(chunk.clone(), entry(3))]).await.unwrap();

        let (new, second) = indexes.claim(Partition(0)).await.unwrap();
        assert_eq!(second, Checkpoint { epoch: Epoch(2), ..written });
        assert_eq!(new.entry(&chunk).await.unwrap(), Some(entry(3)));
        assert!(matches!(old.write(&written, &[(chunk.clone(), entry(9))]).await, Err(Error::Fenced)));
        assert_eq!(new.entry(&chunk).await.unwrap(), Some(entry(3)));

        let view = indexes.view(Partition(0)).await.unwrap();
        assert_eq!(view.checkpoint().await.unwrap(), second);
        assert_eq!(view.entry(&chunk).await.unwrap(), Some(entry(3)));
        new.close().await;
    }

    #[tokio::test]
    async fn an_index_forgets_the_offsets_of_another_commands_topic_in_every_entry() {
        for chunks in [0, 1, 2 * ENTRIES_PER_BATCH, 2 * ENTRIES_PER_BATCH + 1] {
            let indexes = Indexes::new(crate::Store::memory().object_store(), 1);
            let (index, checkpoint) = indexes.claim(Partition(0)).await.unwrap();
            let chunk = |n: usize| ChunkId::new("canvas", &[i32::try_from(n).unwrap(), 0]).unwrap();
            let entries: Vec<_> = (0..chunks).map(|n| (chunk(n), entry(3))).collect();
            index.write(&checkpoint, &entries).await.unwrap();
            let moved = Checkpoint { commands_next: Offset(0), ..checkpoint };
            assert_eq!(index.forget_commands(&moved).await.unwrap(), chunks as u64);
            for n in 0..chunks {
                assert_eq!(index.entry(&chunk(n)).await.unwrap(), Some(entry(3).without_offsets()), "{n} of {chunks}");
            }
            assert_eq!(index.checkpoint().await.unwrap(), moved);
            index.close().await;
        }
    }

    #[tokio::test]
    async fn r4_a_claim_goes_above_the_epochs_of_the_log_and_never_overflows() {
        let indexes = Indexes::new(crate::Store::memory().object_store(), 1);
        let claim = async |above: u64| indexes.claim_above(Partition(0), Epoch(above), NEXT).await;
        assert_eq!(claim(0).await.unwrap().1.epoch, Epoch(1));
        assert_eq!(claim(7).await.unwrap().1.epoch, Epoch(8));
        assert_eq!(claim(3).await.unwrap().1.epoch, Epoch(9), "the stored epoch is higher");
        for above in [limits::EPOCH_MAX, u64::MAX] {
            let Err(refused) = claim(above).await else { panic!("epoch {above} was claimed") };
            assert!(refused.to_string().contains(&above.to_string()), "{refused}");
        }
        assert_eq!(claim(0).await.unwrap().1.epoch, Epoch(10), "the refused claims have written nothing");
    }

    /// The index as a process leaves it whose clock was ahead by this time. Its files and its
    /// newest write are from that time.
    async fn left_by_a_clock_ahead(store: &crate::Store, by: Duration) -> Checkpoint {
        let skew_ms = -i64::try_from(by.as_millis()).unwrap();
        let indexes = Indexes::new(store.object_store(), 1).with_clock_skew_ms(skew_ms);
        let (index, mut checkpoint) = indexes.claim(Partition(0)).await.unwrap();
        for next in 1..=MEMTABLE_FLUSH_EVERY as i64 + 3 {
            checkpoint.commands_next = Offset(next);
            index.write(&checkpoint, &[]).await.unwrap();
        }
        checkpoint
    }

    #[tokio::test]
    async fn a_clock_that_was_ahead_locks_no_other_process_out() {
        for by in [Duration::from_secs(60), Duration::from_secs(86_400)] {
            let store = crate::Store::memory();
            let left = left_by_a_clock_ahead(&store, by).await;
            let indexes = Indexes::new(store.object_store(), 1);
            // With the wall clock, SlateDB would wait for ten seconds and then refuse the claim.
            let (index, mut found) = indexes.claim(Partition(0)).await.unwrap();
            assert_eq!(found, Checkpoint { epoch: left.epoch.next(), ..left });
            // Files of the new owner must not be older than those of the old one.
            for next in 100..=100 + 2 * MEMTABLE_FLUSH_EVERY as i64 {
                found.commands_next = Offset(next);
                index.write(&found, &[]).await.unwrap();
            }
            let view = indexes.view(Partition(0)).await.unwrap();
            assert_eq!(view.checkpoint().await.unwrap(), found);
            index.close().await;
        }
    }

    /// The owner's clock is a day ahead, and the store shows it. What was written just now is not
    /// old enough to be deleted, and a view goes on reading it.
    #[tokio::test]
    async fn an_owner_whose_clock_is_ahead_deletes_no_file_that_a_view_reads() {
        let store = crate::Store::memory();
        let day_ms = 86_400_000;
        for is_corrected in [true, false] {
            let correction_ms = if is_corrected { 0 } else { day_ms };
            let indexes = Indexes { correction_ms, ..Indexes::new(store.object_store(), 1) };
            let (index, mut checkpoint) = indexes.claim(Partition(0)).await.unwrap();
            let chunk: ChunkId = "canvas/0/0".parse().unwrap();
            index.write(&checkpoint, &[(chunk.clone(), entry(3))]).await.unwrap();
            let before = files(&store).await;
            for next in 1..=3 * MEMTABLE_FLUSH_EVERY as i64 {
                checkpoint.commands_next = Offset(next);
                index.write(&checkpoint, &[]).await.unwrap();
            }
            indexes.collector(Partition(0)).run_gc_once(collecting()).await.unwrap();
            let after = files(&store).await;
            let is_kept = before.iter().all(|file| after.contains(file));
            assert_eq!(is_kept, is_corrected, "with a clock that is not corrected, the collector deletes too much");
            index.close().await;
        }
    }

    async fn files(store: &crate::Store) -> Vec<object_store::path::Path> {
        use futures_util::TryStreamExt as _;
        let listed = store.object_store().list(None).map_ok(|object| object.location);
        listed.try_collect().await.unwrap()
    }
}
