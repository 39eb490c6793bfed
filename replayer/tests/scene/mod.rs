//! A scene with several replayers over one log in memory and one store in memory. Each replayer has
//! its own runtime and so plays a process of its own. When a test kills the runtime, the replayer's
//! tasks stop in the middle of their work.

#![allow(dead_code, reason = "each test file uses a part of it")]

use async_trait::async_trait;
use bytes::Bytes;
use driftless_chunk::live::read_updates;
use driftless_chunk::model::Models;
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::world::World;
use driftless_log::memory::MemoryLog;
use driftless_log::{
    AckSink, Append, Batch, Delivery, Error, Headers, Log, Membership, Producer, ReadError, Reader, Record, TopicSpec,
};
use driftless_replayer::{CoreSettings, Replayer, Settings};
use driftless_runtime::shutdown::ShutdownSource;
use driftless_schemas::proto::{
    Command, CommandRecord, MapCommand, Mark, PutKey, UpdatesRecord, command, command_record, map_command,
    updates_record::Body,
};
use driftless_schemas::world::{FamilySpec, WorldSpec};
use driftless_schemas::{ChunkId, Offset, Partition, WorldId, WriterId, limits};
use driftless_store::Store;
use driftless_store::index::Indexes;
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The deadline of every wait. A wait that takes this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const PARTITIONS: i32 = 4;
/// The number of chunks that [`Scene::work`] edits.
pub const CHUNKS: i32 = 12;

pub struct Scene {
    pub world: Arc<World>,
    pub log: FaultyLog,
    pub store: Store,
    submitter: Arc<dyn Producer>,
    /// For each chunk, the number of the newest command of its only writer.
    seqs: BTreeMap<ChunkId, u64>,
}

/// A replayer with its own runtime, which plays a process.
pub struct Process {
    pub replayer: Replayer,
    pub shutdown: ShutdownSource,
    pub runtime: tokio::runtime::Runtime,
}

pub fn settings(member: &str) -> Settings {
    let core = CoreSettings {
        snapshot_every: 8,
        snapshot_max_age_ms: 300,
        snapshot_min_interval_ms: 50,
        checkpoint_interval_ms: 60,
        chunks_bytes_max: Some(4_000),
        load_retry_ms: 50,
        ..CoreSettings::default()
    };
    Settings { member: member.into(), core, ..Settings::default() }
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(&Models::builtin(), "map").await
    }

    /// A scene in which all chunks have the model named `model`.
    pub async fn with(models: &Models, model: &str) -> Self {
        let spec = WorldSpec {
            name: "shell".into(),
            generation: 1,
            partitions: PARTITIONS,
            commands_retention_hours: 72,
            updates_retention_hours: None,
            families: vec![FamilySpec {
                name: "things".into(),
                model: model.into(),
                parameters: serde_json::Map::new(),
                coordinates: 1,
                bounds: 1000,
                region: 0,
            }],
        };
        let world = Arc::new(World::new("shell", spec, models).unwrap().with_id(Some(WorldId([1; 16]))));
        let log = FaultyLog { inner: MemoryLog::new(), faults: Arc::default() };
        let topics = world.topics().clone();
        for (name, partitions) in [(topics.commands, PARTITIONS), (topics.updates, PARTITIONS), (topics.dead_letter, 1)]
        {
            let record_bytes_max = limits::RECORD_BYTES_MAX;
            let spec = TopicSpec { name: name.to_string(), partitions, retention_ms: None, record_bytes_max };
            log.create_topic(&spec).await.unwrap();
        }
        let submitter = log.inner.producer(Delivery::Bounded(PATIENCE), Arc::new(|_| {})).unwrap();
        Self { world, log, store: Store::memory(), submitter, seqs: BTreeMap::new() }
    }

    /// Runs one process, which decides a few commands of every chunk, and ends it in order.
    pub async fn work(&mut self, name: &str) {
        self.working(name, 10).await.end().await.unwrap();
    }

    /// Starts a process, and lets it decide so many commands of every chunk.
    pub async fn working(&mut self, name: &str, commands: usize) -> Process {
        let process = self.start(name).await;
        process.owns(4).await;
        for _ in 0..commands {
            (0..CHUNKS).for_each(|chunk| self.submit(chunk));
        }
        self.all_decided().await;
        process
    }

    /// Uses another log from now on.
    pub fn use_log(&mut self, inner: MemoryLog) {
        self.submitter = inner.producer(Delivery::Bounded(PATIENCE), Arc::new(|_| {})).unwrap();
        self.log = FaultyLog { inner, faults: Arc::default() };
    }

    /// Starts a process that joins the group under the name `member`.
    pub async fn start(&self, member: &str) -> Process {
        self.start_with(settings(member)).await
    }

    pub async fn start_with(&self, settings: Settings) -> Process {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shutdown = ShutdownSource::new();
        let (world, store) = (Arc::clone(&self.world), self.store.clone());
        let log: Arc<dyn Log> = Arc::new(self.log.clone());
        let started = Replayer::start(settings, world, log, store, shutdown.handle());
        let replayer = runtime.spawn(started).await.unwrap().unwrap();
        Process { replayer, shutdown, runtime }
    }

    pub fn chunk(&self, number: i32) -> ChunkId {
        ChunkId::new("things", &[number]).unwrap()
    }

    /// Submits the next command of the chunk's writer.
    pub fn submit(&mut self, number: i32) {
        let seq = self.seqs.get(&self.chunk(number)).copied().unwrap_or(0) + 1;
        let put =
            PutKey { key: format!("k{}", seq % 5), value: Bytes::from(format!("{seq} of {number}")), guard: None };
        self.submit_command(number, MapCommand { body: Some(map_command::Body::Put(put)) }.encode_to_vec());
    }

    pub fn submit_command(&mut self, number: i32, command: Vec<u8>) {
        let chunk = self.chunk(number);
        let seq = self.seqs.entry(chunk.clone()).or_insert(0);
        *seq += 1;
        let body = command::Body::Command(command.into());
        let command = Command {
            writer: WriterId([7; 16]).to_bytes(),
            author: "ann".into(),
            seq: *seq,
            after: *seq - 1,
            body: Some(body),
            ..Command::default()
        };
        let body = Some(command_record::Body::Command(command));
        let value = CommandRecord { chunk_id: chunk.to_string(), body }.encode_to_vec();
        let partition = self.world.place(&chunk).unwrap().partition;
        self.submit_raw(partition, value.into());
    }

    pub fn submit_raw(&self, partition: Partition, value: Bytes) {
        let append = Append {
            topic: Arc::clone(&self.world.topics().commands),
            partition,
            key: Bytes::new(),
            value,
            headers: Headers::new(),
            token: 0,
        };
        assert!(self.submitter.append(vec![append]).is_empty());
    }

    /// Reads all records that a partition of a topic has now.
    pub async fn records(&self, topic: &str, partition: Partition) -> Vec<Record> {
        let (low, high) = self.log.inner.watermarks(topic, partition).await.unwrap();
        let mut reader = self.log.inner.reader().unwrap();
        reader.assign(topic, partition, low);
        let mut records = Vec::new();
        while records.len() < usize::try_from(high.0 - low.0).unwrap() {
            for batch in reader.next().await.unwrap() {
                records.extend(batch.records);
            }
        }
        records
    }

    /// Returns the marks of the valid records in `updates`, by chunk. Checks on the way that
    /// numbers and versions have no gap (R2, R3, R8).
    pub async fn decided(&self) -> BTreeMap<ChunkId, Vec<Mark>> {
        let mut decided: BTreeMap<ChunkId, Vec<Mark>> = BTreeMap::new();
        let mut versions: BTreeMap<ChunkId, u64> = BTreeMap::new();
        for partition in self.world.partitions() {
            let mut position = Position::START;
            for record in self.records(&self.world.topics().updates, partition).await {
                let update = UpdatesRecord::decode(record.value).unwrap();
                let (Validity::Valid, Some(Body::Decisions(decisions))) =
                    (position.judge(record.offset, &update), &update.body)
                else {
                    continue;
                };
                let chunk: ChunkId = decisions.chunk_id.parse().unwrap();
                if let Some(updates) = read_updates(decisions).unwrap() {
                    let version = versions.entry(chunk.clone()).or_default();
                    assert_eq!(updates.first_version, *version + 1, "r3: {chunk}");
                    *version += updates.entries.len() as u64;
                }
                let marks = decided.entry(chunk.clone()).or_default();
                for mark in &decisions.marks {
                    assert_eq!(mark.seq, marks.last().map_or(0, |last: &Mark| last.seq) + 1, "r2, r8: {chunk}");
                    marks.push(mark.clone());
                }
            }
        }
        decided
    }

    /// Waits until each submitted command is decided exactly once.
    pub async fn all_decided(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let decided = self.decided().await;
            let open: Vec<_> = self
                .seqs
                .iter()
                .filter(|(chunk, seq)| decided.get(*chunk).map_or(0, Vec::len) as u64 != **seq)
                .map(|(chunk, seq)| format!("{chunk}: {} of {seq}", decided.get(chunk).map_or(0, Vec::len)))
                .collect();
            if open.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "not decided: {open:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the checkpoint of each partition has `commands_next` at the end of `commands`.
    pub async fn all_checkpointed(&self) {
        let deadline = Instant::now() + PATIENCE;
        for partition in self.world.partitions() {
            let (_, high) = self.log.watermarks(&self.world.topics().commands, partition).await.unwrap();
            loop {
                let checkpoint = self.indexes().view(partition).await.unwrap().checkpoint().await.unwrap();
                if checkpoint.commands_next == high {
                    break;
                }
                assert!(Instant::now() < deadline, "{partition}: {checkpoint:?}, but the log ends at {high}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Waits until at least `count` snapshots are announced in `updates`.
    pub async fn snapshots_stored(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut found = 0;
            for partition in self.world.partitions() {
                let records = self.records(&self.world.topics().updates, partition).await;
                let updates = records.into_iter().map(|record| UpdatesRecord::decode(record.value).unwrap());
                found += updates.filter(|update| matches!(update.body, Some(Body::SnapshotStored(_)))).count();
            }
            if found >= count {
                return;
            }
            assert!(Instant::now() < deadline, "{found} of {count} snapshots");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn indexes(&self) -> Indexes {
        Indexes::new(self.store.object_store(), 1)
    }

    /// The position in `updates` at `offset`: the last valid record below it, as R4 judges when
    /// reading from the start of the log.
    pub async fn position_at(&self, partition: Partition, offset: Offset) -> Position {
        let mut position = Position::START;
        for record in self.records(&self.world.topics().updates, partition).await {
            if record.offset < offset {
                position.judge(record.offset, &UpdatesRecord::decode(record.value).unwrap());
            }
        }
        position
    }
}

impl Process {
    pub async fn owns(&self, count: usize) {
        let ready = tokio::time::timeout(PATIENCE, self.replayer.ready(count)).await;
        ready.expect("the replayer becomes ready").expect("no partition needs an operator");
    }

    /// Shuts the process down in order.
    pub async fn end(self) -> Result<(), driftless_replayer::Error> {
        tokio::time::timeout(PATIENCE, self.shutdown.end()).await.expect("the replayer ends in time");
        let ended = self.replayer.join().await;
        self.runtime.shutdown_background();
        ended
    }

    /// Kills the process: its tasks stop where they are.
    pub fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// Faults of the log. Each happens once after its flag is set, and clears the flag.
#[derive(Default)]
pub struct Faults {
    /// The read of `commands` that brings the next records fails directly after them.
    pub break_read: AtomicBool,
    /// The gapless producer fails at the next append, and every later append fails too.
    pub fail_append: AtomicBool,
    /// The task that makes the next append panics.
    pub panic_append: AtomicBool,
}

/// A log in memory that can fail on request.
#[derive(Clone)]
pub struct FaultyLog {
    pub inner: MemoryLog,
    pub faults: Arc<Faults>,
}

struct FaultyProducer {
    inner: Arc<dyn Producer>,
    faults: Arc<Faults>,
}

struct FaultyReader {
    inner: Box<dyn Reader>,
    faults: Arc<Faults>,
    fails: Option<(Arc<str>, Partition)>,
}

#[async_trait]
impl Log for FaultyLog {
    fn describe(&self) -> String {
        self.inner.describe()
    }
    async fn partitions(&self, topic: &str) -> Result<Option<i32>, Error> {
        self.inner.partitions(topic).await
    }
    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.inner.create_topic(spec).await
    }
    async fn watermarks(&self, topic: &str, partition: Partition) -> Result<(Offset, Offset), Error> {
        self.inner.watermarks(topic, partition).await
    }
    fn producer(&self, delivery: Delivery, acks: AckSink) -> Result<Arc<dyn Producer>, Error> {
        let inner = self.inner.producer(delivery, acks)?;
        Ok(match delivery {
            Delivery::Gapless => Arc::new(FaultyProducer { inner, faults: Arc::clone(&self.faults) }),
            Delivery::Bounded(_) => inner,
        })
    }
    fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        let (inner, faults) = (self.inner.reader()?, Arc::clone(&self.faults));
        Ok(Box::new(FaultyReader { inner, faults, fails: None }))
    }
    fn join(&self, group: &str, topic: &str, member: &str) -> Result<Membership, Error> {
        self.inner.join(group, topic, member)
    }
}

#[async_trait]
impl Producer for FaultyProducer {
    fn append(&self, batch: Vec<Append>) -> Vec<Append> {
        assert!(!self.faults.panic_append.swap(false, Ordering::SeqCst), "a panic that the test asked for");
        if self.faults.fail_append.swap(false, Ordering::SeqCst) {
            self.inner.abandon();
        }
        self.inner.append(batch)
    }
    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }
    async fn flush(&self, timeout: Duration) -> bool {
        self.inner.flush(timeout).await
    }
    fn abandon(&self) {
        self.inner.abandon();
    }
}

#[async_trait]
impl Reader for FaultyReader {
    fn assign(&mut self, topic: &str, partition: Partition, from: Offset) {
        self.inner.assign(topic, partition, from);
    }
    fn unassign(&mut self, topic: &str, partition: Partition) {
        self.inner.unassign(topic, partition);
    }
    fn pause(&mut self, topic: &str, partition: Partition) {
        self.inner.pause(topic, partition);
    }
    fn resume(&mut self, topic: &str, partition: Partition) {
        self.inner.resume(topic, partition);
    }
    async fn next(&mut self) -> Result<Vec<Batch>, ReadError> {
        if let Some((topic, partition)) = self.fails.take() {
            self.inner.unassign(&topic, partition);
            return Err(ReadError::Broken { topic, partition, reason: "the test asked for it".into() });
        }
        let batches = self.inner.next().await?;
        if let Some(batch) = batches.iter().find(|batch| batch.topic.ends_with(".commands"))
            && self.faults.break_read.swap(false, Ordering::SeqCst)
        {
            self.fails = Some((Arc::clone(&batch.topic), batch.partition));
        }
        Ok(batches)
    }
}
