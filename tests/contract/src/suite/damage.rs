//! Claims about the index on a real store when its data is missing, damaged, or not the index's
//! own.

use super::index::{chunk, entry};
use crate::harness::soon;
use crate::place::Place;
use bytes::Bytes;
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{Epoch, Offset, Partition, proto, storage};
use driftless_store::index::{Error, Indexes};
use futures_util::StreamExt as _;
use prost::Message as _;
use slatedb::Db;
use std::time::Duration;

const P: Partition = Partition(3);

fn indexes(place: &Place, generation: u32) -> Indexes {
    Indexes::new(place.store.object_store(), generation)
}

/// Writes a value directly into the database of the index, without the index's checks.
async fn put(place: &Place, key: &str, value: Bytes) {
    let db = Db::open(storage::index(1, P), place.store.object_store()).await.unwrap();
    db.put(key, value).await.unwrap();
    db.close().await.unwrap();
}

/// Asserts that the result is an error whose text names the key `wanted`.
fn assert_names<T: std::fmt::Debug>(result: Result<T, Error>, wanted: &str, what: &str) {
    match result {
        Err(Error::Damaged { key, problem }) => {
            assert_eq!(key, wanted, "{what}");
            assert!(!problem.is_empty(), "{what}");
        }
        other => panic!("{what}: an error about a damaged {wanted} was expected, this came: {other:?}"),
    }
}

pub async fn a_view_of_an_empty_index_writes_nothing(place: &Place) {
    let view = indexes(place, 1).view(P).await.unwrap();
    assert_eq!(view.checkpoint().await.unwrap(), Checkpoint::default());
    assert_eq!(view.entry(&chunk(0)).await.unwrap(), None);
    assert!(place.store.object_store().list(None).next().await.is_none());
    // The view stays empty even after an owner writes. This loses nothing, because the view's
    // reader starts at the first offset of the log.
    let (index, first) = indexes(place, 1).claim(P).await.unwrap();
    index.write(&first, &[(chunk(0), entry(1))]).await.unwrap();
    assert_eq!(view.entry(&chunk(0)).await.unwrap(), None);
}

pub async fn a_view_follows(place: &Place) {
    let (index, first) = indexes(place, 1).claim(P).await.unwrap();
    let view = indexes(place, 1).view(P).await.unwrap();
    let written = Checkpoint { commands_next: Offset(1), ..first };
    index.write(&written, &[(chunk(0), entry(1))]).await.unwrap();
    soon("the view sees it", async {
        while view.checkpoint().await.unwrap() != written {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(view.entry(&chunk(0)).await.unwrap(), Some(entry(1)));
}

pub async fn generations_are_independent(place: &Place) {
    let (one, first) = indexes(place, 1).claim(P).await.unwrap();
    one.write(&Checkpoint { commands_next: Offset(1), ..first }, &[(chunk(0), entry(1))]).await.unwrap();
    for generation in [2, 11] {
        assert_eq!(indexes(place, generation).view(P).await.unwrap().entry(&chunk(0)).await.unwrap(), None);
        let (index, begun) = indexes(place, generation).claim(P).await.unwrap();
        assert_eq!(begun, Checkpoint { epoch: Epoch(1), ..Checkpoint::default() });
        assert_eq!(index.entry(&chunk(0)).await.unwrap(), None);
    }
    one.write(&first, &[]).await.expect("an owner in another generation does not fence this one");
}

pub async fn a_foreign_value_is_named_and_never_taken_for_an_entry(place: &Place) {
    let (index, first) = indexes(place, 1).claim(P).await.unwrap();
    index.write(&first, &[(chunk(0), entry(5)), (chunk(1), entry(6))]).await.unwrap();
    index.close().await;
    let whole = entry(5).to_proto().encode_to_vec();
    let newer = [&whole[..], &[0x78, 1]].concat();
    let without = proto::IndexEntry { newest: None, older: vec![entry(5).newest.to_proto()] };
    for (what, value) in [
        ("text", b"not of ours".to_vec()),
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("nothing", vec![]),
        ("history without a newest", without.encode_to_vec()),
        ("a checkpoint", Checkpoint { epoch: Epoch(3), ..Checkpoint::default() }.to_proto().encode_to_vec()),
        ("a newer version's", newer),
    ] {
        put(place, chunk(0).as_str(), value.into()).await;
        let view = indexes(place, 1).view(P).await.unwrap();
        assert_names(view.entry(&chunk(0)).await, "canvas/0/0", what);
        assert_eq!(view.entry(&chunk(1)).await.unwrap(), Some(entry(6)), "{what}: the other entry is readable");
        let (index, _) = indexes(place, 1).claim(P).await.unwrap();
        assert_names(index.entry(&chunk(0)).await, "canvas/0/0", what);
        assert_eq!(index.entry(&chunk(1)).await.unwrap(), Some(entry(6)), "{what}: the other entry is readable");
        index.close().await;
    }
}

pub async fn a_foreign_checkpoint_is_named_and_never_taken_for_the_beginning(place: &Place) {
    let (index, first) = indexes(place, 1).claim(P).await.unwrap();
    let good = Checkpoint {
        commands_next: Offset(9),
        updates_low: Offset(8),
        updates_low_epoch: Epoch(1),
        updates_low_n: 7,
        ..first
    };
    index.write(&good, &[(chunk(0), entry(5))]).await.unwrap();
    index.close().await;
    let whole = good.to_proto().encode_to_vec();
    for (what, value) in [
        ("text", b"not of ours".to_vec()),
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("nothing", vec![]),
        ("an entry", entry(5).to_proto().encode_to_vec()),
        ("no epoch", Checkpoint { epoch: Epoch(0), ..good }.to_proto().encode_to_vec()),
        ("below the log", Checkpoint { commands_next: Offset(-1), ..good }.to_proto().encode_to_vec()),
        ("below the updates", Checkpoint { updates_low: Offset(-9), ..good }.to_proto().encode_to_vec()),
        ("a later epoch's place", Checkpoint { updates_low_epoch: Epoch(2), ..good }.to_proto().encode_to_vec()),
        ("a number of no epoch", Checkpoint { updates_low_epoch: Epoch(0), ..good }.to_proto().encode_to_vec()),
    ] {
        put(place, storage::CHECKPOINT, value.into()).await;
        assert_names(indexes(place, 1).claim(P).await.map(|(_, checkpoint)| checkpoint), storage::CHECKPOINT, what);
        let view = indexes(place, 1).view(P).await.unwrap();
        assert_names(view.checkpoint().await, storage::CHECKPOINT, what);
    }
    put(place, storage::CHECKPOINT, whole.into()).await;
    let (_, again) = indexes(place, 1).claim(P).await.unwrap();
    assert_eq!(again, Checkpoint { epoch: Epoch(2), ..good });
}
