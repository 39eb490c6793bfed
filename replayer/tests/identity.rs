//! Tests of whole replayers whose world, store, index and log do not belong together
//! (docs/decisions/0018). No such replayer decides anything, and its error names both sides. A loss
//! that an operator accepts begins a new history.

mod scene;

use bytes::Bytes;
use driftless_log::{Append, Delivery, Headers, Log as _, memory::MemoryLog};
use driftless_replayer::{Mending, State};
use driftless_schemas::proto::{Fence, UpdatesRecord, updates_record::Body};
use driftless_schemas::{HistoryId, Offset, Partition, WorldId, limits};
use driftless_store::Store;
use futures_util::TryStreamExt as _;
use object_store::{ObjectStoreExt as _, PutPayload};
use prost::Message as _;
use scene::{CHUNKS, PATIENCE, Process, Scene, settings};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Scene {
    /// Replaces the log by another one. The topics for which `is_kept` is true have the same
    /// records there, the others have none.
    async fn replace_log(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.replace_log_by(|topic, length| if is_kept(topic) { length } else { 0 }).await;
    }

    /// Replaces the log by another one, which begins with the same records: of each partition as
    /// many as `kept` says for its topic and length.
    async fn replace_log_by(&mut self, kept: impl Fn(&str, usize) -> usize) {
        let topics = self.world.topics().clone();
        let other = Self::new().await.log.inner;
        for topic in [&topics.commands, &topics.updates] {
            for partition in self.world.partitions() {
                let records = self.records(topic, partition).await;
                let count = kept(topic, records.len());
                for record in records.into_iter().take(count) {
                    append(&other, topic, partition, record.value).await;
                }
            }
        }
        self.use_log(other);
    }

    /// Lets a replayer decide commands until every chunk has a snapshot.
    async fn store_all(&mut self) {
        let process = self.start("a").await;
        process.owns(4).await;
        for _ in 0..10 {
            (0..CHUNKS).for_each(|chunk| self.submit(chunk));
        }
        self.snapshots_stored(usize::try_from(CHUNKS).unwrap()).await;
        process.end().await.unwrap();
    }

    /// Checks after a loss that a replayer decides every command, and that log and index name the
    /// same histories.
    async fn goes_on(&mut self) {
        let process = self.start("d").await;
        process.owns(4).await;
        (0..CHUNKS).for_each(|chunk| self.submit(chunk));
        self.all_checkpointed().await;
        process.end().await.unwrap();
        histories(self).await;
    }

    async fn mending(&self) -> Mending {
        let (world, log) = (Arc::clone(&self.world), Arc::new(self.log.clone()));
        Mending::open(settings("operator"), world, log, self.store.clone()).await.unwrap()
    }

    fn with_id(&mut self, id: Option<WorldId>) {
        self.world = Arc::new(self.world.as_ref().clone().with_id(id));
    }

    /// How many records each partition of `updates` has.
    async fn lengths(&self) -> Vec<usize> {
        let mut lengths = Vec::new();
        for partition in self.world.partitions() {
            lengths.push(self.records(&self.world.topics().updates, partition).await.len());
        }
        lengths
    }
}

async fn append(log: &MemoryLog, topic: &Arc<str>, partition: Partition, value: Bytes) {
    let producer = log.producer(Delivery::Bounded(PATIENCE), Arc::new(|_| {})).unwrap();
    let append =
        Append { topic: Arc::clone(topic), partition, key: Bytes::new(), value, headers: Headers::new(), token: 0 };
    assert!(producer.append(vec![append]).is_empty());
    assert!(producer.flush(PATIENCE).await);
}

/// Waits until the replayer says that it decides for none of its partitions, with this text.
async fn refuses(process: &Process, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = process.replayer.readiness()().err().unwrap_or_default();
        if said.matches(text).count() == 4 {
            return;
        }
        assert!(Instant::now() < deadline, "{text:?} is not said four times: {said}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// `commands` is deleted and made anew, and ingest has written more records to it than the old one
/// had. Without the print, the owner would go on at the old offset, and the commands below it would
/// never be decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commands_topic_that_was_made_anew_is_refused_even_if_it_is_longer() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    scene.all_checkpointed().await;
    let topics = scene.world.topics().clone();
    scene.replace_log(|topic| *topic == *topics.updates).await;
    for partition in scene.world.partitions() {
        for n in 0..200 {
            append(&scene.log.inner, &topics.commands, partition, Bytes::from(format!("command {n}"))).await;
        }
    }
    let before = scene.lengths().await;
    let process = scene.start("b").await;
    refuses(&process, "is not the log that the index in memory: describes: the print of the record is").await;
    // A retry looks before it appends a fence.
    tokio::time::sleep(Duration::from_secs(4)).await;
    process.end().await.unwrap();
    let after: Vec<_> = before.iter().map(|length| length + 1).collect();
    assert_eq!(scene.lengths().await, after, "one fence in each partition, and no decision");
}

/// `updates` is made anew, and other owners have written more records to it than the old one had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_updates_topic_that_was_made_anew_is_refused_even_if_it_is_longer() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    let topics = scene.world.topics().clone();
    scene.replace_log(|topic| *topic == *topics.commands).await;
    for partition in scene.world.partitions() {
        for epoch in 2..300 {
            let fence = Fence { owner: format!("b/{epoch}"), ..Fence::default() };
            let fence = UpdatesRecord { epoch, n: 0, body: Some(Body::Fence(fence)) };
            append(&scene.log.inner, &topics.updates, partition, fence.encode_to_vec().into()).await;
        }
    }
    let process = scene.start("c").await;
    refuses(&process, " is not the log that the index in ").await;
    process.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_another_world_is_refused_before_anything_is_appended() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    let before = scene.lengths().await;
    for (id, text) in [
        (Some(WorldId([2; 16])), "but world.json there says 02020202020202020202020202020202"),
        (None, "but world.json there says nothing of an id"),
    ] {
        scene.with_id(id);
        let process = scene.start("b").await;
        refuses(&process, text).await;
        process.end().await.unwrap();
        assert_eq!(scene.lengths().await, before, "nothing is appended");
    }
}

/// Another world has the same name, and so the same topics. Its store is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_index_does_not_take_the_log_of_another_world() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    let before = scene.lengths().await;
    let own = std::mem::replace(&mut scene.store, Store::memory());
    scene.with_id(Some(WorldId([2; 16])));
    let stranger = scene.start("b").await;
    refuses(&stranger, "the log belongs to the world with the id 01010101010101010101010101010101").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    stranger.end().await.unwrap();
    let after: Vec<_> = before.iter().map(|length| length + 1).collect();
    assert_eq!(scene.lengths().await, after, "one fence in each partition, and none by a retry");

    // The stranger's fences do not keep the world's own owners from going on.
    scene.store = own;
    scene.with_id(Some(WorldId([1; 16])));
    scene.work("c").await;
}

/// A world that version 0.1.0 made has no ids. Its index is taken over when the world gets one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_owner_after_an_update_takes_the_index_into_the_world() {
    let mut scene = Scene::new().await;
    scene.with_id(None);
    scene.work("a").await;
    let checkpoint =
        async |scene: &Scene| scene.indexes().view(Partition(0)).await.unwrap().checkpoint().await.unwrap();
    let old = checkpoint(&scene).await;
    assert_eq!((old.world, old.commands_print), (None, None), "version 0.1.0 can read it");
    for record in scene.records(&scene.world.topics().updates, Partition(0)).await {
        if let Some(Body::Fence(fence)) = UpdatesRecord::decode(record.value).unwrap().body {
            assert_eq!(fence, Fence { owner: fence.owner.clone(), ..Fence::default() }, "version 0.1.0 can read it");
        }
    }
    scene.with_id(Some(WorldId([1; 16])));
    scene.work("b").await;
    let new = checkpoint(&scene).await;
    assert!(new.world == Some(WorldId([1; 16])) && new.commands_print.is_some(), "{new:?}");
}

/// `updates` is lost. An operator accepts that, and the fence begins a history that the index, and
/// every later owner, then names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_loss_begins_a_history() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    let topics = scene.world.topics().clone();
    scene.replace_log(|topic| *topic == *topics.commands).await;
    let process = scene.start("b").await;
    refuses(&process, "driftless recover plan").await;
    process.end().await.unwrap();

    let mending = scene.mending().await;
    for partition in scene.world.partitions() {
        let found = mending.examine(partition).await.unwrap();
        assert!(matches!(found.updates, State::Another { low: 0, .. }) && found.commands == State::Whole, "{found:?}");
        let mended = mending.mend(&found, &[], false).await.unwrap();
        assert!(mended.is_new_history, "{mended:?}");
        assert!(mending.examine(partition).await.unwrap().is_sound());
    }
    let histories = histories(&scene).await;
    assert!(histories.iter().all(|history| *history > HistoryId::FIRST), "{histories:?}");

    // Every later owner goes on in this history.
    for name in ["c", "d"] {
        let process = scene.start(name).await;
        process.owns(4).await;
        (0..CHUNKS).for_each(|chunk| scene.submit(chunk));
        scene.all_checkpointed().await;
        process.end().await.unwrap();
        assert_eq!(self::histories(&scene).await, histories);
    }
}

/// The index is put back to an older state, and then `updates` is lost while an owner runs. Neither
/// tells the epoch of that owner. Its records, which are still on their way, must not count behind
/// the fence of the operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_an_accepted_loss_claims_an_epoch_that_no_owner_has() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    scene.all_checkpointed().await;
    let topics = scene.world.topics().clone();
    let mut owners = Vec::new();
    for partition in scene.world.partitions() {
        owners.push(scene.indexes().view(partition).await.unwrap().checkpoint().await.unwrap().epoch);
    }
    scene.replace_log(|topic| *topic == *topics.commands).await;
    let mending = scene.mending().await;
    for (partition, owner) in scene.world.partitions().zip(owners) {
        let found = mending.examine(partition).await.unwrap();
        mending.mend(&found, &[], false).await.unwrap();
        let fence = scene.position_at(partition, Offset(1)).await;
        // The epochs of the owners that an older index does not know are next to its own.
        assert!(fence.epoch.0 > owner.0 + 4, "the fence after {owner:?} has {:?}", fence.epoch);
        assert!(fence.epoch.0 <= owner.0 + limits::EPOCH_LEAP_MAX, "{:?}", fence.epoch);
    }
    scene.goes_on().await;
}

/// `commands` is deleted and made anew. What was not decided is lost with it; everything after that
/// is decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_commands_topic_is_taken_up_on_an_operators_order() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    scene.all_checkpointed().await;
    let topics = scene.world.topics().clone();
    scene.replace_log(|topic| *topic == *topics.updates).await;
    let mending = scene.mending().await;
    for partition in scene.world.partitions() {
        let found = mending.examine(partition).await.unwrap();
        assert!(matches!(found.commands, State::Another { .. }) && found.updates == State::Whole, "{found:?}");
        let mended = mending.mend(&found, &[], false).await.unwrap();
        assert_eq!((mended.is_new_history, mended.commands_from), (true, 0));
    }
    for name in ["b", "c"] {
        scene.work(name).await;
    }
    scene.all_checkpointed().await;
    let found = mending.examine(Partition(0)).await.unwrap();
    assert!(found.is_sound(), "{found:?}");
    histories(&scene).await;
}

/// The log is put back to an older state, and the bucket is not. No owner goes on before an
/// operator has accepted that, and then every later command is decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_lost_its_end_is_taken_up_on_an_operators_order() {
    let mut scene = Scene::new().await;
    for name in ["a", "b"] {
        scene.work(name).await;
    }
    scene.all_checkpointed().await;
    scene.replace_log_by(|_, length| length / 2).await;
    let process = scene.start("c").await;
    refuses(&process, "driftless recover plan").await;
    process.end().await.unwrap();
    let mending = scene.mending().await;
    for partition in scene.world.partitions() {
        let found = mending.examine(partition).await.unwrap();
        assert!(!found.is_sound(), "{found:?}");
        let mended = mending.mend(&found, &[], false).await.unwrap();
        assert!(mended.is_new_history, "{mended:?}");
    }
    scene.goes_on().await;
}

/// The log loses only its newest records, and may still hold every offset from which an owner
/// reads. The index knows the end of the log, so this is noticed as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_a_log_that_has_lost_its_last_record_is_refused() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    scene.all_checkpointed().await;
    let updates = scene.world.topics().updates.clone();
    // Behind the end that the index knows, notices of snapshots may follow.
    let mut known = usize::MAX;
    for partition in scene.world.partitions() {
        let checkpoint = scene.indexes().view(partition).await.unwrap().checkpoint().await.unwrap();
        known = known.min(usize::try_from(checkpoint.updates_end.0).unwrap());
    }
    scene.replace_log_by(|topic, length| if *topic == *updates { length.min(known - 1) } else { length }).await;
    let process = scene.start("b").await;
    refuses(&process, "driftless recover plan").await;
    process.end().await.unwrap();
    let mending = scene.mending().await;
    for partition in scene.world.partitions() {
        let found = mending.examine(partition).await.unwrap();
        assert!(matches!(found.updates, State::Another { .. }), "{found:?}");
        assert!(mending.mend(&found, &[], false).await.unwrap().is_new_history);
    }
    scene.goes_on().await;
}

/// Only gateways and clients know what is lost, so the operator orders a history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_can_begin_a_history_although_nothing_is_found_lost() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    let mending = scene.mending().await;
    for partition in scene.world.partitions() {
        let found = mending.examine(partition).await.unwrap();
        assert!(found.is_sound(), "{found:?}");
        let mended = mending.mend(&found, &[], true).await.unwrap();
        assert!(mended.is_new_history && mended.commands_from == 0, "{mended:?}");
    }
    for name in ["b", "c"] {
        scene.work(name).await;
    }
    histories(&scene).await;
}

/// A ref is written to the index that no decision of the log leads to, as an owner of version 0.1.0
/// did. The comparison finds it, and a rebuilt index has the ref of the log again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_a_ref_that_contradicts_the_log_is_found_and_the_index_is_made_again() {
    let mut scene = Scene::new().await;
    scene.store_all().await;
    let mending = scene.mending().await;
    let mut chunk = None;
    for partition in scene.world.partitions() {
        let compared = mending.compare_index(partition).await.unwrap();
        assert!(compared.agreeing > 0 && compared.foreign.is_empty(), "{partition}: {compared:?}");
        chunk = (0..CHUNKS).map(|n| scene.chunk(n)).find(|chunk| mending.is_in(chunk, partition));
    }
    let (chunk, partition) = (chunk.unwrap(), Partition(scene.world.spec().partitions - 1));
    let (index, checkpoint) = scene.indexes().claim(partition).await.unwrap();
    let right = index.entry(&chunk).await.unwrap().unwrap();
    let mut wrong = right.clone();
    wrong.newest.version = wrong.newest.version.next();
    index.write(&checkpoint, &[(chunk.clone(), wrong)]).await.unwrap();
    index.close().await;
    let compared = mending.compare_index(partition).await.unwrap();
    assert!(matches!(&compared.foreign[..], [(found, _)] if *found == chunk), "{compared:?}");
    mending.rebuild_index(partition, |_, _| {}).await.unwrap();
    let compared = mending.compare_index(partition).await.unwrap();
    assert!(compared.foreign.is_empty(), "{compared:?}");
    scene.work("b").await;
}

/// The objects of the old bucket are copied while no replayer runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_moves_to_another_bucket() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let moved = Store::memory();
    let objects: Vec<_> = scene.store.object_store().list(None).try_collect().await.unwrap();
    for object in objects {
        let content = scene.store.object_store().get(&object.location).await.unwrap().bytes().await.unwrap();
        moved.object_store().put(&object.location, PutPayload::from_bytes(content)).await.unwrap();
    }
    scene.store = moved;
    for name in ["b", "c"] {
        scene.work(name).await;
    }
    for partition in scene.world.partitions() {
        assert!(scene.mending().await.examine(partition).await.unwrap().is_sound());
    }
}

/// A file of the index is lost. The index that is made again leads to the same decisions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_made_again_from_the_log_and_the_snapshots() {
    let mut scene = Scene::new().await;
    scene.store_all().await;
    let mending = scene.mending().await;
    let store = scene.store.object_store();
    let files: Vec<_> = store.list(Some(&"index/1/0".into())).try_collect().await.unwrap();
    for file in files {
        store.put(&file.location, PutPayload::from_static(b"damaged")).await.unwrap();
    }
    let found = mending.examine(Partition(0)).await.unwrap();
    assert!(found.index.is_some(), "{found:?}");
    let refused = mending.mend(&found, &[], false).await.unwrap_err();
    assert!(refused.contains("driftless index rebuild"), "{refused}");
    let checked = std::sync::atomic::AtomicUsize::new(0);
    let rebuilt = mending
        .rebuild_index(Partition(0), |done, _| checked.store(done, std::sync::atomic::Ordering::Relaxed))
        .await
        .unwrap();
    assert!(rebuilt.chunks > 0 && rebuilt.lost_objects.is_empty(), "{rebuilt:?}");
    assert_eq!(checked.into_inner(), rebuilt.chunks, "every snapshot is compared with its hash");
    assert!(mending.examine(Partition(0)).await.unwrap().is_sound());
    for name in ["b", "c"] {
        scene.work(name).await;
    }
}

/// The index is put back to a state from before another topic of `commands` was taken up. Its
/// offsets belong to the old topic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_from_before_another_commands_topic_has_to_be_made_again() {
    let mut scene = Scene::new().await;
    scene.work("a").await;
    scene.all_checkpointed().await;
    let store = scene.store.object_store();
    let mut saved = Vec::new();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let files: Vec<_> = store.list(Some(&"index/1/0".into())).try_collect().await.unwrap();
    for file in files {
        let content = store.get(&file.location).await.unwrap().bytes().await.unwrap();
        saved.push((file.location, content));
    }
    let topics = scene.world.topics().clone();
    scene.replace_log(|topic| *topic == *topics.updates).await;
    let mending = scene.mending().await;
    for partition in scene.world.partitions() {
        let found = mending.examine(partition).await.unwrap();
        mending.mend(&found, &[], false).await.unwrap();
    }
    scene.work("b").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let files: Vec<_> = store.list(Some(&"index/1/0".into())).try_collect().await.unwrap();
    for file in files {
        store.delete(&file.location).await.unwrap();
    }
    for (path, content) in saved {
        store.put(&path, PutPayload::from_bytes(content)).await.unwrap();
    }
    let process = scene.start("c").await;
    let deadline = Instant::now() + PATIENCE;
    while !process.replayer.readiness()().is_err_and(|said| said.contains("partition 0")) {
        assert!(Instant::now() < deadline, "the replayer takes the index");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    process.end().await.unwrap();
    mending.rebuild_index(Partition(0), |_, _| {}).await.unwrap();
    for name in ["d", "e"] {
        scene.work(name).await;
    }
}

/// The history of each partition, according to its index. The log must say the same.
async fn histories(scene: &Scene) -> Vec<HistoryId> {
    let mut histories = Vec::new();
    for partition in scene.world.partitions() {
        let checkpoint = scene.indexes().view(partition).await.unwrap().checkpoint().await.unwrap();
        let position = scene.position_at(partition, checkpoint.updates_low).await;
        assert_eq!(position.history, checkpoint.history, "{partition}");
        histories.push(checkpoint.history);
    }
    histories
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_of_format_1_accepts_no_loss_because_it_cannot_name_the_history() {
    let mut scene = Scene::new().await;
    scene.with_id(None);
    scene.work("a").await;
    let topics = scene.world.topics().clone();
    scene.replace_log(|topic| *topic == *topics.commands).await;
    let mending = scene.mending().await;
    let found = mending.examine(Partition(0)).await.unwrap();
    let refused = mending.mend(&found, &[], false).await.unwrap_err();
    assert!(refused.contains("driftless init --update"), "{refused}");
    assert_eq!(scene.lengths().await, [0; 4]);
}
