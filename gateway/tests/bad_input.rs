//! A whole gateway over bad input: damaged snapshots and refs, a foreign record, an index of
//! another log. The gateway names each problem, never serves content that it could not verify (R7),
//! and serves all chunks that the problem does not concern.

mod scene;

use bytes::Bytes;
use driftless_gateway::{CoreSettings, Settings};
use driftless_log::TopicSpec;
use driftless_log::memory::MemoryLog;
use driftless_schemas::proto::{TrackRejectCode, UpdatesRecord, event};
use driftless_schemas::{Partition, WriterId, limits, storage};
use driftless_store::compress;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use scene::*;
use std::sync::Arc;

const C: &str = "canvas/0/0";
const STRANGER: WriterId = WriterId([0xee; 16]);

/// Settings of a gateway that retries a load only a few times.
fn impatient() -> Settings {
    let core = CoreSettings { load_retry_ms: 20, load_attempts_max: 2, ..settings().core };
    Settings { core, ..settings() }
}

/// A deployment with a stored snapshot of the chunk, and decisions after it.
async fn stored() -> Town {
    let mut town = Town::new().await;
    for i in 0..5 {
        town.decide(C, STRANGER, cells(i..i + 1, 9, None)).await;
    }
    town.snapshot(C).await;
    town
}

fn partition(town: &Town) -> Partition {
    town.world.place(&id(C)).unwrap().partition
}

/// A chunk in another partition than `C`.
fn elsewhere(town: &Town) -> &'static str {
    ["canvas/1/0", "canvas/64/0", "canvas/0/64", "canvas/64/64"]
        .into_iter()
        .find(|chunk| town.world.place(&id(chunk)).unwrap().partition != partition(town))
        .unwrap()
}

/// The beginning of what `/readyz` says if the partition of `C` is degraded and all others are not.
fn degraded(town: &Town) -> String {
    format!("degraded: 1 of {} partitions; partition {}: ", town.world.spec().partitions, partition(town))
}

impl Town {
    /// Writes a value into the index of the chunk's partition, past all checks.
    async fn garble(&self, key: &str, value: &'static [u8]) {
        let db = slatedb::Db::open(storage::index(1, partition(self)), self.store.object_store()).await.unwrap();
        db.put(key, value).await.unwrap();
        db.close().await.unwrap();
    }
}

async fn rejection(client: &mut Client) -> String {
    client.send([track(C, None)]).await;
    match client.event().await {
        event::Body::TrackRejected(rejected) => {
            assert_eq!((rejected.chunk_id.as_str(), rejected.code()), (C, TrackRejectCode::Unavailable));
            rejected.message
        }
        other => panic!("a content that is in doubt was served: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_a_damaged_snapshot_is_never_served() {
    let mut town = stored().await;
    let hash = town.live(C).replica.hash();
    let path = Path::from(storage::snapshot(hash));
    let objects = town.store.object_store();
    let whole = town.store.compressed_snapshot(hash).await.unwrap();
    let mut flipped = whole.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 8;
    // Another valid state of the chunk. A damage below stores it under the name of the first state.
    town.decide(C, STRANGER, cells(9..10, 3, None)).await;
    let other = compress(&town.live(C).replica.encoding());
    let running = town.gateway(impatient()).await;
    let mut client = running.greeted(&town.token("ann")).await;
    let authorization = format!("Bearer {}", town.token("ann"));
    for (what, data) in [
        ("cut", Some(whole.slice(..whole.len() - 3))),
        ("empty", Some(Bytes::new())),
        ("a flipped bit", Some(flipped.into())),
        ("another content", Some(other.into())),
        ("gone", None),
    ] {
        match data {
            Some(data) => drop(objects.put(&path, PutPayload::from_bytes(data)).await.unwrap()),
            None => objects.delete(&path).await.unwrap(),
        }
        let said = rejection(&mut client).await;
        assert!(said.contains(&hash.to_string()), "{what}: {said}");
        let answer = running.http(&format!("/v1/chunks/{C}"), &[("authorization", &authorization)]).await;
        assert_eq!(answer.status, 503, "{what}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(&hash.to_string()), "{what}");
    }
    // Once the right object is stored again, the chunk can be tracked.
    town.store.put_snapshot(hash, &zstd::bulk::decompress(&whole, limits::CONTENT_BYTES_MAX).unwrap()).await.unwrap();
    client.send([track(C, None)]).await;
    assert_eq!(client.tracked().await.version, 6);
    let mut replica = client.chunk(&town.world).await;
    replica.apply(&client.updates().await).unwrap();
    assert_eq!(replica.hash(), town.live(C).replica.hash());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_a_damaged_ref_is_named_and_its_chunk_is_not_served() {
    for value in [&b"not of ours"[..], b""] {
        let town = stored().await;
        town.garble(C, value).await;
        let running = town.gateway(impatient()).await;
        let mut client = running.greeted(&town.token("ann")).await;
        let said = rejection(&mut client).await;
        assert!(said.contains(C), "{said}");
        // Other chunks are served.
        client.send([track("canvas/0/1", None)]).await;
        assert_eq!(client.tracked().await.version, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_checkpoint_is_named_and_its_partition_is_degraded() {
    let town = stored().await;
    town.garble(storage::CHECKPOINT, b"not of ours").await;
    let running = town.gateway(impatient()).await;
    let said = running.ready_with(|said| !said.is_empty()).await;
    assert!(said.starts_with(&degraded(&town)) && said.contains(storage::CHECKPOINT), "{said}");
    let mut client = running.greeted(&town.token("ann")).await;
    rejection(&mut client).await;
    client.send([track(elsewhere(&town), None)]).await;
    assert_eq!(client.tracked().await.version, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_record_in_updates_degrades_its_partition_and_is_named() {
    let mut town = stored().await;
    let running = town.gateway(settings()).await;
    let mut client = running.greeted(&town.token("ann")).await;
    client.send([track(C, None)]).await;
    client.tracked().await;
    client.chunk(&town.world).await;
    let (_, high) = town.log.watermarks(&town.world.topics().updates, partition(&town)).await.unwrap();
    // A fence, five decisions and a SnapshotStored come before the record.
    town.send(partition(&town), UpdatesRecord { epoch: 1, n: 7, body: None });
    town.decide(C, STRANGER, cells(0..1, 3, None)).await;
    let said = running.ready_with(|said| !said.is_empty()).await;
    assert!(said.starts_with(&degraded(&town)) && said.contains(&format!("offset {high} ")), "{said}");
    let event::Body::TrackRejected(rejected) = client.event().await else { panic!("the client is not told") };
    assert_eq!((rejected.chunk_id.as_str(), rejected.code()), (C, TrackRejectCode::Unavailable));
    // Chunks elsewhere are followed as before.
    let elsewhere = elsewhere(&town);
    client.send([track(elsewhere, None)]).await;
    assert_eq!(client.tracked().await.version, 0);
    client.chunk(&town.world).await;
    town.decide(elsewhere, STRANGER, cells(0..1, 3, None)).await;
    assert_eq!(client.updates().await.first_version, 1);
}

/// The index's checkpoint names offsets that this log does not have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_ahead_of_the_log_degrades_its_partition_and_names_the_offsets() {
    let mut town = stored().await;
    let wanted = town.log.watermarks(&town.world.topics().updates, partition(&town)).await.unwrap().1.0 - 1;
    town.log = Arc::new(MemoryLog::new());
    let spec = TopicSpec {
        name: town.world.topics().updates.to_string(),
        partitions: town.world.spec().partitions,
        retention_ms: None,
        record_bytes_max: limits::RECORD_BYTES_MAX,
    };
    town.log.create_topic(&spec).await.unwrap();
    let running = town.gateway(settings()).await;
    let said = running.ready_with(|said| !said.is_empty()).await;
    assert!(said.starts_with(&degraded(&town)), "{said}");
    assert!(said.contains(&format!("{wanted} is wanted")) && said.contains("another log"), "{said}");
}
