//! Tests of whole replayers whose index is not what they believe: put back from a backup, deleted,
//! or a copy that another replayer uses as well (R4, docs/decisions/0016). Every command must still
//! be decided exactly once, in order, and every checkpoint must name a position of the log.

mod scene;

use bytes::Bytes;
use driftless_log::{Append, Delivery, Headers, Log as _};
use driftless_schemas::proto::{Decisions, Fence, UpdatesRecord, updates_record::Body};
use driftless_schemas::{Partition, limits};
use driftless_store::Store;
use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use prost::Message as _;
use scene::{CHUNKS, PATIENCE, Scene};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Objects of a store: their keys and contents.
type Objects = Vec<(Path, Bytes)>;

async fn objects(store: &Arc<dyn ObjectStore>, prefix: &str) -> Objects {
    let listed: Vec<_> = store.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
    let mut objects = Vec::new();
    for object in listed {
        let content = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        objects.push((object.location, content));
    }
    objects
}

/// Reads the objects as soon as no task of an ended process changes them any more. A copy of an
/// index that is being written may name files that it does not have.
async fn objects_at_rest(store: &Arc<dyn ObjectStore>, prefix: &str) -> Objects {
    let deadline = Instant::now() + PATIENCE;
    let mut before = objects(store, prefix).await;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = objects(store, prefix).await;
        if now == before {
            return now;
        }
        assert!(Instant::now() < deadline, "the store does not come to rest");
        before = now;
    }
}

async fn put(store: &Arc<dyn ObjectStore>, objects: Objects) {
    for (path, content) in objects {
        store.put(&path, PutPayload::from_bytes(content)).await.unwrap();
    }
}

impl Scene {
    /// Replaces the index by a saved one, which may be empty.
    async fn restore_index(&self, saved: Objects) {
        let store = self.store.object_store();
        for (path, _) in objects_at_rest(&store, "index").await {
            store.delete(&path).await.unwrap();
        }
        put(&store, saved).await;
    }

    /// Appends a fence to `updates` that no owner of this scene has written.
    async fn append_fence(&self, partition: Partition, epoch: u64) {
        let fence = Fence { owner: "a stranger".into(), ..Fence::default() };
        self.append(partition, UpdatesRecord { epoch, n: 0, body: Some(Body::Fence(fence)) }).await;
    }

    /// Appends a record to `updates` that no owner of this scene has written.
    async fn append(&self, partition: Partition, record: UpdatesRecord) {
        let producer = self.log.inner.producer(Delivery::Bounded(PATIENCE), Arc::new(|_| {})).unwrap();
        let append = Append {
            topic: Arc::clone(&self.world.topics().updates),
            partition,
            key: Bytes::new(),
            value: record.encode_to_vec().into(),
            headers: Headers::new(),
            token: 0,
        };
        assert!(producer.append(vec![append]).is_empty());
        assert!(producer.flush(PATIENCE).await);
    }

    /// The `updates_low` of a partition's checkpoint, and the number of records in `updates`.
    async fn checkpointed(&self, partition: Partition) -> (usize, usize) {
        let checkpoint = self.indexes().view(partition).await.unwrap().checkpoint().await.unwrap();
        let records = self.records(&self.world.topics().updates, partition).await.len();
        (usize::try_from(checkpoint.updates_low.0).unwrap(), records)
    }

    /// Checks that every partition's checkpoint has the epoch and n of its place in the log.
    async fn checkpoints_hold(&self) {
        for partition in self.world.partitions() {
            let checkpoint = self.indexes().view(partition).await.unwrap().checkpoint().await.unwrap();
            let position = self.position_at(partition, checkpoint.updates_low).await;
            assert_eq!(
                (position.epoch, position.n),
                (checkpoint.updates_low_epoch, checkpoint.updates_low_n),
                "r4: {partition}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_an_index_from_four_ownerships_ago_loses_no_command() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    let saved = objects_at_rest(&scene.store.object_store(), "index").await;
    for name in ["b", "c", "d", "e"] {
        scene.work(name).await;
    }
    scene.restore_index(saved).await;
    for name in ["f", "g"] {
        scene.work(name).await;
    }
    scene.checkpoints_hold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_a_deleted_index_is_made_again_from_the_log() {
    let mut scene = Scene::new().await;
    for name in ["a", "b", "c"] {
        scene.work(name).await;
    }
    scene.restore_index(Objects::new()).await;
    for name in ["d", "e"] {
        scene.work(name).await;
    }
    scene.checkpoints_hold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_a_replayer_with_a_copy_of_the_store_joins_and_every_command_is_decided_once() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    let copy = Store::memory();
    put(&copy.object_store(), objects_at_rest(&scene.store.object_store(), "").await).await;
    scene.work("a").await;
    let first = scene.start("a").await;
    first.owns(4).await;
    let own = std::mem::replace(&mut scene.store, copy);
    let second = scene.start("b").await;
    let copy = std::mem::replace(&mut scene.store, own);
    second.owns(2).await;
    for _ in 0..10 {
        (0..CHUNKS).for_each(|chunk| scene.submit(chunk));
    }
    scene.all_decided().await;
    // The partitions go back and forth between the two stores.
    second.end().await.unwrap();
    first.owns(4).await;
    (0..CHUNKS).for_each(|chunk| scene.submit(chunk));
    scene.all_decided().await;
    first.end().await.unwrap();
    scene.checkpoints_hold().await;
    scene.store = copy;
    scene.checkpoints_hold().await;
}

/// Another program fences the partition. The owner has no reason to look at the index, and it is
/// idle, so that nothing but the log can show it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_a_running_owner_notices_a_newer_fence_and_claims_above_it() {
    let mut scene = Scene::new().await;
    let process = scene.working("a", 1).await;
    let partition = scene.world.place(&scene.chunk(0)).unwrap().partition;
    scene.append_fence(partition, 100).await;
    (0..CHUNKS).for_each(|chunk| scene.submit(chunk));
    scene.all_decided().await;
    let checkpoint = scene.indexes().view(partition).await.unwrap().checkpoint().await.unwrap();
    assert_eq!(checkpoint.epoch.0, 101, "the next epoch is above the stranger's");
    process.end().await.unwrap();
    scene.checkpoints_hold().await;
}

/// Another program writes a record under an epoch that no fence has begun. No reader counts it. A
/// checkpoint that names the position behind it would make the next owner take the log for another
/// one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_a_foreign_record_of_a_later_epoch_locks_no_later_owner_out() {
    let mut scene = Scene::new().await;
    let process = scene.working("a", 1).await;
    let partition = scene.world.place(&scene.chunk(0)).unwrap().partition;
    let foreign = UpdatesRecord { epoch: 50, n: 1, body: Some(Body::Decisions(Decisions::default())) };
    // The log is at rest when everything is stored.
    let deadline = Instant::now() + PATIENCE;
    while scene.checkpointed(partition).await.0 < scene.checkpointed(partition).await.1 {
        assert!(Instant::now() < deadline, "the log does not come to rest");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.append(partition, foreign).await;
    let (low, end) = scene.checkpointed(partition).await;
    assert_eq!(low + 1, end, "the foreign record is the last one");
    // An idle owner reads the record within a second, and would write its checkpoint soon after.
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        assert!(scene.checkpointed(partition).await.0 < end, "the checkpoint names the position behind the record");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    process.end().await.unwrap();
    let process = scene.working("b", 1).await;
    process.end().await.unwrap();
}

/// A fence with the highest number there is can never be passed. The partition stays without an
/// owner, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_an_epoch_that_no_owner_can_pass_stops_its_partition_only() {
    for epoch in [limits::EPOCH_MAX, u64::MAX] {
        let mut scene = Scene::new().await;
        let partition = scene.world.place(&scene.chunk(0)).unwrap().partition;
        let elsewhere = (1..).find(|n| scene.world.place(&scene.chunk(*n)).unwrap().partition != partition).unwrap();
        scene.append_fence(partition, epoch).await;
        let process = scene.start("a").await;
        for _ in 0..3 {
            scene.submit(elsewhere);
        }
        scene.all_decided().await;
        let deadline = Instant::now() + PATIENCE;
        while process.replayer.readiness()().is_ok() {
            assert!(Instant::now() < deadline, "the replayer says that it decides for every partition");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let fences = scene.records(&scene.world.topics().updates, partition).await.len();
        assert_eq!(fences, 2, "the stranger's fence, and one of the owner that learned of it");
        process.end().await.unwrap();
    }
}
