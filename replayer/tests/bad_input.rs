//! Tests of whole replayers with input that they must not trust: foreign records, the index of
//! another log, corrupt snapshots and refs. The replayer's error names each fault, and the replayer
//! decides no command on a doubtful content (R5, R7).

mod scene;

use bytes::Bytes;
use driftless_chunk::live::{LiveChunk, read_updates};
use driftless_chunk::position::{Position, Validity};
use driftless_log::memory::MemoryLog;
use driftless_log::{Append, Delivery, Headers, Log as _, TopicSpec};
use driftless_schemas::proto::{Fence, UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::{IndexEntry, StoredRef};
use driftless_schemas::{ChunkId, Offset, Partition, limits, storage};
use driftless_store::compress;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use prost::Message as _;
use scene::{PARTITIONS, PATIENCE, Process, Scene};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHUNKS: i32 = 12;

/// A world in which a replayer has decided commands, stored snapshots, and shut down in order.
async fn worked_on() -> Scene {
    let mut scene = Scene::new().await;
    let process = scene.start("a").await;
    process.owns(4).await;
    for _ in 0..20 {
        (0..CHUNKS).for_each(|chunk| scene.submit(chunk));
    }
    scene.all_decided().await;
    scene.snapshots_stored(usize::try_from(CHUNKS).unwrap()).await;
    process.end().await.unwrap();
    scene
}

/// Waits until the replayer says that an operator must act, and returns what it says. Checks that
/// its readiness names this partition and no other.
async fn needs_operator(process: &Process, partition: Partition) -> String {
    let ready = tokio::time::timeout(PATIENCE, process.replayer.ready(usize::MAX)).await;
    let reason = ready.expect("the replayer says why it is not ready").expect_err("the partition has no owner");
    let others: Vec<_> = (0..PARTITIONS).map(Partition).filter(|p| *p != partition).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = process.replayer.readiness()().err().unwrap_or_default();
        if said.starts_with("1 of 4 partitions") {
            assert!(said.contains(&format!("partition {partition}: {reason}")), "{said}");
            assert!(!others.iter().any(|p| said.contains(&format!("partition {p}:"))), "{said}");
            return reason;
        }
        assert!(Instant::now() < deadline, "{said}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Scene {
    fn partition(&self, number: i32) -> Partition {
        self.world.place(&self.chunk(number)).unwrap().partition
    }

    async fn append(&self, topic: &Arc<str>, partition: Partition, value: Bytes) -> Offset {
        let producer = self.log.inner.producer(Delivery::Bounded(PATIENCE), Arc::new(|_| {})).unwrap();
        let append =
            Append { topic: Arc::clone(topic), partition, key: Bytes::new(), value, headers: Headers::new(), token: 0 };
        assert!(producer.append(vec![append]).is_empty());
        assert!(producer.flush(PATIENCE).await);
        Offset(self.log.inner.watermarks(topic, partition).await.unwrap().1.0 - 1)
    }

    async fn entry(&self, chunk: &ChunkId) -> IndexEntry {
        let partition = self.world.place(chunk).unwrap().partition;
        self.indexes().view(partition).await.unwrap().entry(chunk).await.unwrap().expect("the chunk was stored")
    }

    async fn object(&self, stored: &StoredRef) -> Bytes {
        self.store.compressed_snapshot(stored.hash).await.unwrap()
    }

    async fn replace(&self, stored: &StoredRef, data: Bytes) {
        let path = Path::from(storage::snapshot(stored.hash));
        self.store.object_store().put(&path, PutPayload::from_bytes(data)).await.unwrap();
    }

    /// Writes a value into a partition's index without any check.
    async fn garble(&self, partition: Partition, key: &str, value: &'static [u8]) {
        let db = slatedb::Db::open(storage::index(1, partition), self.store.object_store()).await.unwrap();
        db.put(key, value).await.unwrap();
        db.close().await.unwrap();
    }

    /// Checks that every hash in the log is the hash of the content that the log's effects lead to
    /// (R10).
    async fn fold(&self) {
        for partition in self.world.partitions() {
            let mut position = Position::START;
            let mut live: std::collections::BTreeMap<ChunkId, LiveChunk> = std::collections::BTreeMap::new();
            for record in self.records(&self.world.topics().updates, partition).await {
                let update = UpdatesRecord::decode(record.value).unwrap();
                let validity = position.judge(record.offset, &update);
                let (Validity::Valid, Some(Body::Decisions(decisions))) = (validity, &update.body) else { continue };
                let chunk: ChunkId = decisions.chunk_id.parse().unwrap();
                let model = Arc::clone(&self.world.place(&chunk).unwrap().family.model);
                let live = live.entry(chunk.clone()).or_insert_with(|| LiveChunk::initial(model, &chunk));
                if let Some(updates) = read_updates(decisions).unwrap() {
                    live.replica.apply(&updates).unwrap_or_else(|e| panic!("{chunk}: {e}"));
                }
            }
        }
    }

    async fn decided_of(&self, chunk: &ChunkId) -> usize {
        self.decided().await.get(chunk).map_or(0, Vec::len)
    }

    /// Waits until at least `count` commands of the chunk are decided.
    async fn decided_at_least(&self, chunk: &ChunkId, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let decided = self.decided_of(chunk).await;
            if decided >= count {
                return;
            }
            assert!(Instant::now() < deadline, "{chunk}: {decided} of {count}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// An owner that cannot read a record of `updates` must end, and its error must name the offset. If
/// it skipped the record, it would decide commands again that the record may have decided. The
/// other partitions go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_a_foreign_record_in_updates_leaves_its_partition_without_an_owner() {
    let fence =
        |epoch| UpdatesRecord { epoch, n: 0, body: Some(Body::Fence(Fence { owner: "x".into(), ..Fence::default() })) };
    let newer = [fence(2).encode_to_vec(), vec![0x78, 1]].concat();
    let bodiless = UpdatesRecord { epoch: 1, n: 9_999, body: None }.encode_to_vec();
    for (foreign, because) in
        [(b"\xff\xff rubbish".to_vec(), "not a UpdatesRecord"), (newer, "upgrade"), (bodiless, "upgrade")]
    {
        let scene = worked_on().await;
        let partition = Partition(2);
        let offset = scene.append(&scene.world.topics().updates, partition, foreign.into()).await;
        let process = scene.start("b").await;
        let said = needs_operator(&process, partition).await;
        assert!(said.contains(&format!("offset {offset}")) && said.contains(because), "{said}");
        process.end().await.unwrap();
    }
}

/// The checkpoint names offsets above the end of the log, so the index belongs to another log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_an_index_that_is_ahead_of_the_log_is_refused_with_the_offsets() {
    let mut scene = worked_on().await;
    let topics = scene.world.topics().clone();
    // The test keeps the store, and replaces the log by an empty one.
    scene.log.inner = MemoryLog::new();
    for (topic, partitions) in [(&topics.commands, PARTITIONS), (&topics.updates, PARTITIONS), (&topics.dead_letter, 1)]
    {
        let record_bytes_max = limits::RECORD_BYTES_MAX;
        let spec = TopicSpec { name: topic.to_string(), partitions, retention_ms: None, record_bytes_max };
        scene.log.create_topic(&spec).await.unwrap();
    }
    let process = scene.start("b").await;
    let deadline = Instant::now() + PATIENCE;
    let said = loop {
        let said = process.replayer.readiness()().err().unwrap_or_default();
        if said.matches("is wanted").count() == 4 {
            break said;
        }
        assert!(Instant::now() < deadline, "{said}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(said.starts_with("4 of 4 partitions do not decide") && said.contains("another log"), "{said}");
    // The next ownerships of the process append no fence. Fences would make the log longer, until
    // it holds the offsets that the index names.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    for partition in scene.world.partitions() {
        assert_eq!(scene.records(&topics.updates, partition).await.len(), 1, "one fence, from before the refusal");
    }
    assert!(scene.decided().await.is_empty(), "nothing was decided");
    process.end().await.unwrap();
}

/// Retention has deleted records that the checkpoint points to, and no operator accepts the loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_a_log_that_begins_behind_the_checkpoint_stops_its_partition_only() {
    for is_commands in [true, false] {
        let mut scene = worked_on().await;
        let partition = scene.partition(0);
        let topics = scene.world.topics().clone();
        let topic = if is_commands { topics.commands } else { topics.updates };
        let (_, high) = scene.log.inner.watermarks(&topic, partition).await.unwrap();
        for _ in 0..5 {
            scene.submit(0);
            // An invalid record of a replaced owner, which only makes the log longer.
            let zombie = UpdatesRecord {
                epoch: 0,
                n: 7,
                body: Some(Body::Fence(Fence { owner: "z".into(), ..Fence::default() })),
            };
            scene.append(&scene.world.topics().updates, partition, zombie.encode_to_vec().into()).await;
        }
        scene.log.inner.truncate_before(&topic, partition, Offset(high.0 + 3)).unwrap();
        // Two replayers run, and neither ends. The other partitions go on.
        let (first, second) = (scene.start("b").await, scene.start("c").await);
        let deadline = Instant::now() + PATIENCE;
        let is_refused = |process: &Process| {
            let said = process.replayer.readiness()().err().unwrap_or_default();
            said.starts_with("1 of ")
                && said.contains(&format!("partition {partition}: "))
                && said.contains("is wanted")
        };
        while !is_refused(&first) && !is_refused(&second) {
            assert!(
                Instant::now() < deadline,
                "{:?}, {:?}",
                first.replayer.readiness()(),
                second.replayer.readiness()()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let elsewhere = (1..CHUNKS).find(|n| scene.partition(*n) != partition).unwrap();
        let before = scene.decided_of(&scene.chunk(elsewhere)).await;
        scene.submit(elsewhere);
        scene.decided_at_least(&scene.chunk(elsewhere), before + 1).await;
        first.end().await.unwrap();
        second.end().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_a_spoilt_snapshot_is_made_again_from_the_log() {
    let mut scene = worked_on().await;
    // The test corrupts every stored object in one of four ways.
    for number in 0..CHUNKS {
        let entry = scene.entry(&scene.chunk(number)).await;
        for stored in std::iter::once(&entry.newest).chain(&entry.older) {
            let whole = scene.object(stored).await;
            let spoilt = match number % 4 {
                0 => whole.slice(..whole.len() / 2),
                1 => compress(b"what another content is").into(),
                2 => Bytes::from(
                    whole.iter().enumerate().map(|(i, b)| if i == 9 { b ^ 4 } else { *b }).collect::<Vec<_>>(),
                ),
                _ => Bytes::new(),
            };
            scene.replace(stored, spoilt).await;
        }
    }
    let process = scene.start("b").await;
    for _ in 0..3 {
        (0..CHUNKS).for_each(|chunk| scene.submit(chunk));
    }
    scene.all_decided().await;
    scene.fold().await;
    process.end().await.unwrap();
}

/// Neither the store nor the log has the content any more. The chunk's commands wait until the
/// object is back; those of other chunks are decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_nothing_is_decided_on_a_snapshot_that_is_lost_for_good() {
    let mut scene = worked_on().await;
    let (lost, topics) = (scene.chunk(0), scene.world.topics().clone());
    let partition = scene.partition(0);
    let neighbour = (1..).find(|n| scene.partition(*n) == partition).unwrap();
    let checkpoint = scene.indexes().view(partition).await.unwrap().checkpoint().await.unwrap();
    let entry = scene.entry(&lost).await;
    let mut kept = Vec::new();
    for stored in std::iter::once(&entry.newest).chain(&entry.older) {
        kept.push((stored.clone(), scene.object(stored).await));
        scene.replace(stored, Bytes::from_static(b"spoilt")).await;
    }
    // Retention deletes all records below the checkpoint's `updates_low`. The rest of the log is
    // judged from there, with the checkpoint's epoch and n.
    let before = scene.decided().await;
    let (decided, others) = (before[&lost].len(), before.get(&scene.chunk(neighbour)).map_or(0, Vec::len));
    let all = scene.records(&topics.updates, partition).await;
    scene.log.inner.truncate_before(&topics.updates, partition, checkpoint.updates_low).unwrap();

    let process = scene.start("b").await;
    process.owns(4).await;
    for _ in 0..3 {
        scene.submit(0);
        scene.submit(neighbour);
    }
    let deadline = Instant::now() + PATIENCE;
    let new_marks = async |chunk: &ChunkId| {
        let mut marks = 0;
        for record in scene.records(&topics.updates, partition).await {
            let Ok(UpdatesRecord { body: Some(Body::Decisions(decisions)), .. }) = UpdatesRecord::decode(record.value)
            else {
                continue;
            };
            let is_new = record.offset.0 >= all.len() as i64 && decisions.chunk_id == chunk.as_str();
            marks += if is_new { decisions.marks.len() } else { 0 };
        }
        marks
    };
    while new_marks(&scene.chunk(neighbour)).await < 3 {
        assert!(Instant::now() < deadline, "the neighbour of {others} goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(new_marks(&lost).await, 0, "{decided} were decided before");
    // An operator brings the objects back.
    for (stored, data) in kept {
        scene.replace(&stored, data).await;
    }
    while new_marks(&lost).await < 3 {
        assert!(Instant::now() < deadline, "the chunk's commands are decided once the object is back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    process.end().await.unwrap();
    // The deleted records and the records in the log must together be one consistent history.
    let mut live = LiveChunk::initial(Arc::clone(&scene.world.place(&lost).unwrap().family.model), &lost);
    let rest = scene.records(&topics.updates, partition).await;
    let mut position = Position::START;
    for record in all.iter().chain(rest.iter().filter(|record| record.offset.0 >= all.len() as i64)) {
        let update = UpdatesRecord::decode(record.value.clone()).unwrap();
        let validity = position.judge(record.offset, &update);
        if let (Validity::Valid, Some(Body::Decisions(decisions))) = (validity, &update.body)
            && decisions.chunk_id == lost.as_str()
            && let Some(updates) = read_updates(decisions).unwrap()
        {
            live.replica.apply(&updates).unwrap();
        }
    }
    assert_eq!(live.replica.version().0, 23);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_a_spoilt_ref_keeps_its_chunk_waiting_and_nobody_else() {
    let mut scene = worked_on().await;
    let (spoilt, partition) = (scene.chunk(0), scene.partition(0));
    let neighbour = (1..).find(|n| scene.partition(*n) == partition).unwrap();
    scene.garble(partition, spoilt.as_str(), b"not of ours").await;
    let before = scene.decided_of(&spoilt).await;
    let others = scene.decided_of(&scene.chunk(neighbour)).await;
    let process = scene.start("b").await;
    process.owns(4).await;
    for _ in 0..3 {
        scene.submit(0);
        scene.submit(neighbour);
    }
    scene.decided_at_least(&scene.chunk(neighbour), others + 3).await;
    assert_eq!(scene.decided_of(&spoilt).await, before);
    process.end().await.unwrap();
    scene.fold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_a_spoilt_checkpoint_keeps_its_partition_without_an_owner() {
    let mut scene = worked_on().await;
    let (partition, topics) = (scene.partition(0), scene.world.topics().clone());
    let elsewhere = (1..).find(|n| scene.partition(*n) != partition).unwrap();
    scene.garble(partition, storage::CHECKPOINT, b"").await;
    let before = scene.log.inner.watermarks(&topics.updates, partition).await.unwrap();
    let others = scene.decided_of(&scene.chunk(elsewhere)).await;
    let process = scene.start("b").await;
    for _ in 0..3 {
        scene.submit(0);
        scene.submit(elsewhere);
    }
    scene.decided_at_least(&scene.chunk(elsewhere), others + 3).await;
    let after = scene.log.inner.watermarks(&topics.updates, partition).await.unwrap();
    assert_eq!(after, before, "the log has not even a fence: its epoch would be one that was given out before");
    assert!(process.replayer.readiness()().is_err(), "the replayer is not ready");
    process.end().await.unwrap();
}
