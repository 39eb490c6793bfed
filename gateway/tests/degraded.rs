//! A whole gateway with a partition that it cannot read. Only the chunks of this partition are
//! unavailable, every reader is told (R9), and the partition recovers without a restart.

mod scene;

use async_trait::async_trait;
use bytes::Bytes;
use driftless_gateway::{CoreSettings, Settings};
use driftless_log::{AckSink, Batch, Delivery, Error, Log, Membership, Producer, ReadError, Reader, TopicSpec};
use driftless_schemas::proto::{TrackRejectCode, TrackRejected, event};
use driftless_schemas::{Offset, Partition, SessionId, WriterId, storage};
use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use scene::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

const STRANGER: WriterId = WriterId([0xee; 16]);
/// Two chunks in different partitions. The tests damage the partition of the first one.
const HERE: &str = "canvas/0/0";
const THERE: &str = "canvas/1/0";

/// Settings of a gateway that soon tries a degraded partition again.
fn eager() -> Settings {
    let core = CoreSettings { partition_retry_max_ms: 100, ..settings().core };
    Settings { core, ..settings() }
}

/// A deployment in which both chunks have snapshots, and decisions after them.
async fn town() -> Town {
    let mut town = Town::new().await;
    for chunk in [HERE, THERE] {
        for i in 0..5 {
            town.decide(chunk, STRANGER, cells(i..i + 1, 9, None)).await;
        }
        town.snapshot(chunk).await;
        town.decide(chunk, STRANGER, cells(7..8, 2, None)).await;
    }
    assert_ne!(partition(&town, HERE), partition(&town, THERE));
    town
}

fn partition(town: &Town, chunk: &str) -> Partition {
    town.world.place(&id(chunk)).unwrap().partition
}

/// Overwrites every manifest of the index of `HERE`. Returns what they held.
async fn damage(town: &Town) -> Vec<(Path, Bytes)> {
    let store = town.store.object_store();
    let folder = Path::from(format!("{}/manifest", storage::index(1, partition(town, HERE))));
    let listed: Vec<_> = store.list(Some(&folder)).try_collect().await.unwrap();
    assert!(!listed.is_empty(), "{folder}");
    let mut saved = Vec::new();
    for object in listed {
        let content = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        store.put(&object.location, PutPayload::from_static(b"damaged")).await.unwrap();
        saved.push((object.location, content));
    }
    saved
}

async fn put_back(town: &Town, saved: Vec<(Path, Bytes)>) {
    for (path, content) in saved {
        town.store.object_store().put(&path, PutPayload::from_bytes(content)).await.unwrap();
    }
}

/// The next event, a rejection of the chunk as unavailable. Returns its text.
async fn unavailable(client: &mut Client, chunk: &str) -> String {
    let rejected = rejection(client).await;
    assert_eq!(rejected.chunk_id, chunk);
    rejected.message
}

/// The next event, a rejection of a chunk as unavailable.
async fn rejection(client: &mut Client) -> TrackRejected {
    match client.event().await {
        event::Body::TrackRejected(rejected) if rejected.code() == TrackRejectCode::Unavailable => rejected,
        other => panic!("no chunk is unavailable: {other:?}"),
    }
}

/// Tracks a chunk and checks that the client gets the content of the log.
async fn is_served(town: &mut Town, client: &mut Client, chunk: &str) {
    client.send([track(chunk, None)]).await;
    let tracked = client.tracked().await;
    let mut replica = client.chunk(&town.world).await;
    while replica.version().0 < tracked.version {
        replica.apply(&client.updates().await).unwrap();
    }
    assert_eq!(replica.hash(), town.live(chunk).replica.hash());
}

/// Reads a stream of events up to this text, or to its end.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let (mut bytes, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.contains(end) {
            return text;
        }
        let read = tokio::time::timeout_at(deadline, stream.read_buf(&mut bytes)).await;
        assert_ne!(read.unwrap_or_else(|_| panic!("no {end:?} in {text}")).unwrap(), 0, "no {end:?} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_damaged_index_file_makes_one_partition_unavailable_until_it_is_put_back() {
    let mut town = town().await;
    let saved = damage(&town).await;
    let running = town.gateway(eager()).await;
    let (damaged, count) = (partition(&town, HERE), town.world.spec().partitions);
    let said = running.ready_with(|said| !said.is_empty()).await;
    assert!(said.starts_with(&format!("degraded: 1 of {count} partitions; partition {damaged}: index: ")), "{said}");
    assert!(said.contains("restore the index"), "{said}");

    // Over websockets and HTTP, the chunk is refused, and chunks elsewhere are served.
    let mut client = running.greeted(&town.token("ann")).await;
    client.send([track(HERE, None)]).await;
    let said = unavailable(&mut client, HERE).await;
    assert!(said.contains(&format!("partition {damaged}")) && said.contains("ask again"), "{said}");
    is_served(&mut town, &mut client, THERE).await;
    let authorization = format!("Bearer {}", town.token("ann"));
    let headers = [("authorization", authorization.as_str())];
    let session = SessionId([1; 16]);
    for (chunk, status) in [(HERE, 503), (THERE, 200)] {
        for path in [format!("/v1/chunks/{chunk}"), format!("/v1/chunks/{chunk}/commands/{session}/1")] {
            let answer = running.http(&path, &headers).await;
            assert_eq!(answer.status, status, "{path}");
            if status == 503 {
                assert_eq!(answer.headers["content-type"], "application/problem+json");
                assert_eq!(answer.headers["retry-after"], "5");
                assert_eq!(answer.json()["type"], "urn:driftless:problem:unavailable");
                assert_eq!(answer.json()["detail"], said);
            }
        }
    }
    let answer = running.positions(&town.token_for_all("ann")).await;
    for one in answer["positions"].as_array().unwrap() {
        let state = if one["partition"] == damaged.0 { "degraded" } else { "serving" };
        assert_eq!(one["state"], state, "{one}");
    }

    // A stream of this chunk says so, and ends, so that a browser opens it again later.
    let mut stream = running.stream(&format!("/v1/chunks/{HERE}/events"), &headers).await;
    let events = read_until(&mut stream, "event:closed").await;
    assert!(events.contains("event:rejected") && events.contains("TRACK_REJECT_CODE_UNAVAILABLE"), "{events}");
    let mut retries = events.lines().filter_map(|line| line.strip_prefix("retry:")?.trim().parse::<u64>().ok());
    assert!(retries.next_back().unwrap() >= 5_000, "{events}");

    put_back(&town, saved).await;
    assert_eq!(running.ready_with(str::is_empty).await, "");
    is_served(&mut town, &mut client, HERE).await;
    let answer = running.http(&format!("/v1/chunks/{HERE}"), &headers).await;
    assert_eq!(answer.status, 200);
    town.decide(HERE, STRANGER, cells(9..10, 4, None)).await;
    assert_eq!(client.updates().await.first_version, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_readers_of_a_partition_that_fails_are_told_and_all_others_go_on() {
    let mut town = town().await;
    let running = town.gateway(eager()).await;
    let mut client = running.greeted(&town.token("ann")).await;
    for chunk in [HERE, THERE] {
        is_served(&mut town, &mut client, chunk).await;
    }
    let authorization = format!("Bearer {}", town.token("ann"));
    let path = format!("/v1/events?chunks={HERE},{THERE}");
    let mut stream = running.stream(&path, &[("authorization", &authorization)]).await;
    read_until(&mut stream, "\"first_version\":6").await;

    // A record of a newer version, with epoch 1, n 9, and a field 100 that this version does not
    // know.
    town.send_bytes(partition(&town, HERE), Bytes::from_static(&[0x08, 1, 0x10, 9, 0xa2, 6, 0]));
    let said = running.ready_with(|said| !said.is_empty()).await;
    assert!(said.contains("a newer version wrote it: upgrade this process"), "{said}");
    unavailable(&mut client, HERE).await;
    read_until(&mut stream, "TRACK_REJECT_CODE_UNAVAILABLE").await;
    town.decide(THERE, STRANGER, cells(20..21, 4, None)).await;
    assert_eq!(client.updates().await.chunk_id, THERE);
    read_until(&mut stream, "\"first_version\":7").await;
    assert_eq!(running.ready_with(|said| !said.is_empty()).await, said);
}

/// A log whose readers fail on demand.
struct FaultyLog {
    inner: Arc<dyn Log>,
    /// The partitions that no reader can read.
    faults: watch::Sender<Vec<Partition>>,
    /// How many readers there were.
    readers: AtomicUsize,
}

struct FaultyReader {
    inner: Box<dyn Reader>,
    faults: watch::Receiver<Vec<Partition>>,
    topic: Arc<str>,
    assigned: Vec<Partition>,
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
        self.inner.producer(delivery, acks)
    }
    fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        self.readers.fetch_add(1, Ordering::SeqCst);
        let faults = self.faults.subscribe();
        Ok(Box::new(FaultyReader { inner: self.inner.reader()?, faults, topic: "".into(), assigned: Vec::new() }))
    }
    fn join(&self, group: &str, topic: &str, member: &str) -> Result<Membership, Error> {
        self.inner.join(group, topic, member)
    }
}

impl FaultyReader {
    fn broken(&mut self) -> Option<ReadError> {
        let faults = self.faults.borrow_and_update().clone();
        let partition = self.assigned.iter().copied().find(|p| faults.contains(p))?;
        self.unassign(&Arc::clone(&self.topic), partition);
        Some(ReadError::Broken { topic: Arc::clone(&self.topic), partition, reason: "no leader".into() })
    }
}

#[async_trait]
impl Reader for FaultyReader {
    fn assign(&mut self, topic: &str, partition: Partition, from: Offset) {
        self.topic = topic.into();
        self.assigned.push(partition);
        self.inner.assign(topic, partition, from);
    }
    fn unassign(&mut self, topic: &str, partition: Partition) {
        self.assigned.retain(|p| *p != partition);
        self.inner.unassign(topic, partition);
    }
    fn pause(&mut self, topic: &str, partition: Partition) {
        self.inner.pause(topic, partition);
    }
    fn resume(&mut self, topic: &str, partition: Partition) {
        self.inner.resume(topic, partition);
    }
    async fn next(&mut self) -> Result<Vec<Batch>, ReadError> {
        loop {
            if let Some(error) = self.broken() {
                return Err(error);
            }
            tokio::select! {
                batches = self.inner.next() => return batches,
                changed = self.faults.changed() => changed.expect("the log lives as long as the test"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_the_log_cannot_read_recovers_and_a_failed_reader_is_replaced() {
    let mut town = town().await;
    let (faults, _) = watch::channel(Vec::new());
    let log = Arc::new(FaultyLog { inner: Arc::clone(&town.log), faults, readers: AtomicUsize::new(0) });
    town.log = Arc::clone(&log) as Arc<dyn Log>;
    let running = town.gateway(eager()).await;
    let mut client = running.greeted(&town.token("ann")).await;
    for chunk in [HERE, THERE] {
        is_served(&mut town, &mut client, chunk).await;
    }
    let fail = |partitions: Vec<Partition>| drop(log.faults.send_replace(partitions));

    // One partition fails. The others go on with the same reader.
    fail(vec![partition(&town, HERE)]);
    let said = running.ready_with(|said| !said.is_empty()).await;
    assert!(said.contains("no leader. The gateway tries again"), "{said}");
    unavailable(&mut client, HERE).await;
    town.decide(THERE, STRANGER, cells(20..21, 4, None)).await;
    assert_eq!(client.updates().await.chunk_id, THERE);
    fail(vec![]);
    running.ready_with(str::is_empty).await;
    is_served(&mut town, &mut client, HERE).await;
    assert_eq!(log.readers.load(Ordering::SeqCst), 1);

    // All partitions fail, as they do if the reader itself fails.
    fail(town.world.partitions().collect());
    let mut told = [rejection(&mut client).await.chunk_id, rejection(&mut client).await.chunk_id];
    told.sort_unstable();
    assert_eq!(told, [HERE, THERE]);
    fail(vec![]);
    running.ready_with(str::is_empty).await;
    assert!(log.readers.load(Ordering::SeqCst) > 1, "the reader was not replaced");
    for chunk in [HERE, THERE] {
        is_served(&mut town, &mut client, chunk).await;
    }
}
