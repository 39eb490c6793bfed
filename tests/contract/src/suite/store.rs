//! Claims about the object store: packs, the world spec with its conditional puts, lists, and
//! object names.

use super::index::entry;
use super::snapshots::{Refused, Snapshots as _, content, ref_to, refused};
use crate::harness::soon;
use crate::place::Place;
use driftless_schemas::stored::{Checkpoint, Location, StoredRef};
use driftless_schemas::world::{StoredWorld, WorldSpec};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, storage};
use driftless_store::index::Indexes;
use driftless_store::{Error, compress};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use std::collections::BTreeSet;

const RACERS: usize = 16;

pub async fn r7_a_part_of_a_pack_is_verified_as_a_whole_object_is(place: &Place) {
    let encodings = [content(3_000, 1), content(10, 2), content(900, 3)];
    let parts: Vec<Vec<u8>> = encodings.iter().map(|encoding| compress(encoding)).collect();
    let (key, pack) = ("packs/1", parts.concat());
    place.store.object_store().put(&Path::from(key), PutPayload::from(pack.clone())).await.unwrap();
    let stored = |key: &str, offset: usize, len: usize, which: usize| {
        let location = Location::Pack { key: key.into(), offset: offset as u64, len: len as u64 };
        StoredRef { location, ..ref_to(Hash::of(&encodings[which])) }
    };
    let mut offset = 0;
    for (which, part) in parts.iter().enumerate() {
        let (data, encoding) = place.load(&stored(key, offset, part.len(), which)).await.unwrap();
        assert_eq!((&data[..], &encoding[..]), (&part[..], &encodings[which][..]));
        offset += part.len();
    }
    let (first, end) = (parts[0].len(), pack.len());
    for (what, offset, len) in [
        ("another part", first, parts[1].len()),
        ("one byte late", 1, first),
        ("one byte short", 0, first - 1),
        ("nothing", 0, 0),
        ("beyond the end", 0, end + 1),
        ("from the end", end, 5),
        ("far away", usize::MAX / 2, 5),
        ("endless", 0, usize::MAX),
        ("endless from somewhere", 3, usize::MAX),
    ] {
        assert_eq!(place.load(&stored(key, offset, len, 0)).await.unwrap_err(), Refused::Damaged, "{what}");
    }
    assert_eq!(place.load(&stored("packs/2", 0, first, 0)).await.unwrap_err(), Refused::Missing);
}

fn world(revision: u32, name: &str) -> StoredWorld {
    StoredWorld { revision, spec: WorldSpec { name: name.into(), ..WorldSpec::dev() }, id: None }
}

fn is_raced(result: &Result<(), Error>, place: &Place) -> bool {
    match result {
        Ok(()) => false,
        Err(e @ Error::Raced { .. }) => {
            assert!(e.to_string().contains(place.store.url()), "{e}");
            true
        }
        Err(other) => panic!("the put failed, and not because of a race: {other}"),
    }
}

pub async fn a_world_is_made_once_and_changed_over_its_predecessor_only(place: &Place) {
    let store = &place.store;
    assert_eq!(store.world().await.unwrap(), None);
    let nothing = store.put_world(&world(2, "a")).await.unwrap_err();
    assert!(matches!(nothing, Error::Missing { .. }), "{nothing}");
    store.put_world(&world(1, "a")).await.unwrap();
    for other in [world(1, "b"), world(1, "a"), world(3, "b"), world(9, "b")] {
        assert!(is_raced(&store.put_world(&other).await, place), "revision {} was stored", other.revision);
        assert_eq!(store.world().await.unwrap(), Some(world(1, "a")));
    }
    store.put_world(&world(2, "c")).await.unwrap();
    assert!(is_raced(&store.put_world(&world(2, "d")).await, place));
    store.put_world(&world(3, "e")).await.unwrap();
    assert_eq!(store.world().await.unwrap(), Some(world(3, "e")));
}

/// Puts a revision of the world spec from many tasks at once, each under another world name.
/// Returns the names of the puts that succeeded.
async fn race(place: &Place, revision: u32) -> Vec<String> {
    let names = (0..RACERS).map(|n| format!("racer-{revision}-{n}"));
    let racers: Vec<_> = names
        .map(|name| {
            let store = place.store.clone();
            tokio::spawn(async move { (store.put_world(&world(revision, &name)).await, name) })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        let (result, name) = soon("a racer", racer).await.unwrap();
        if !is_raced(&result, place) {
            winners.push(name);
        }
    }
    winners
}

pub async fn exactly_one_of_sixteen_creators_of_a_world_wins(place: &Place) {
    let winners = race(place, 1).await;
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(place.store.world().await.unwrap(), Some(world(1, &winners[0])));
}

pub async fn one_of_sixteen_changes_of_a_world_stays(place: &Place) {
    place.store.put_world(&world(1, "a")).await.unwrap();
    for revision in 2..5 {
        let winners = race(place, revision).await;
        let stored = place.store.world().await.unwrap().unwrap();
        assert_eq!(stored.revision, revision);
        // Even without conditional updates, the stored world is exactly the world of one racer, and
        // no mixture.
        assert!(winners.contains(&stored.spec.name), "{winners:?}: {stored:?}");
        assert!(winners.len() == 1 || !place.updates_are_conditional, "{winners:?}");
    }
}

pub async fn an_unreadable_world_is_not_taken_for_a_missing_one(place: &Place) {
    let path = Path::from(storage::WORLD);
    place.store.put_world(&world(1, "a")).await.unwrap();
    let whole = place.store.object_store().get(&path).await.unwrap().bytes().await.unwrap();
    for data in [whole.slice(..whole.len() / 2), whole.slice(..0), "[]".into(), "\u{0}\u{1}".into()] {
        place.store.object_store().put(&path, PutPayload::from_bytes(data)).await.unwrap();
        let error = place.store.world().await.unwrap_err();
        assert_eq!(refused(&error, place.store.url()), Refused::Damaged);
        assert!(error.to_string().contains(storage::WORLD), "{error}");
        assert!(place.store.put_world(&world(2, "b")).await.is_err(), "an unreadable world was overwritten");
        assert!(is_raced(&place.store.put_world(&world(1, "b")).await, place));
    }
}

async fn keys(place: &Place, prefix: &str) -> BTreeSet<String> {
    let prefix = Path::from(prefix);
    let listed = place.store.object_store().list(Some(&prefix)).map_ok(|object| object.location.to_string());
    let listed: Vec<String> = listed.try_collect().await.expect("the store can be listed");
    let keys: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(keys.len(), listed.len(), "a key was listed twice: {listed:?}");
    keys
}

pub async fn a_list_has_exactly_the_keys_under_a_folder(place: &Place) {
    assert_eq!(keys(place, "snapshots").await, BTreeSet::new());
    let mut stored = BTreeSet::new();
    // S3 lists at most 1,000 keys on one page, so this list needs a second page.
    let puts = (0..1_100_u32).map(|n| {
        let encoding = n.to_le_bytes();
        let hash = Hash::of(&encoding);
        stored.insert(storage::snapshot(hash));
        let store = place.store.clone();
        async move { store.put_snapshot(hash, &encoding).await.unwrap() }
    });
    let puts: Vec<_> = puts.collect();
    futures_util::stream::iter(puts).buffer_unordered(16).collect::<Vec<()>>().await;
    place.store.put_world(&world(1, "a")).await.unwrap();
    for key in ["index/1/1/manifest/1", "index/1/12/manifest/1", "index/11/1/manifest/1"] {
        place.store.object_store().put(&Path::from(key), PutPayload::from_static(b"x")).await.unwrap();
    }
    assert_eq!(keys(place, "snapshots").await, stored);
    // A prefix names a folder, so a key that only begins with the same letters does not match.
    assert_eq!(keys(place, "index/1/1/manifest").await, ["index/1/1/manifest/1".to_owned()].into());
    assert_eq!(keys(place, "index/1").await.len(), 2);
    assert_eq!(keys(place, "").await.len(), 1_100 + 4);
}

/// Asserts that no object of a whole deployment has a key that is a folder prefix of another key.
/// Some S3 servers refuse such a pair of keys.
pub async fn no_key_is_a_folder_of_another(place: &Place) {
    let indexes = Indexes::new(place.store.object_store(), 1);
    place.store.put_world(&world(1, "a")).await.unwrap();
    for partition in [0, 1, 12].map(Partition) {
        for _ in 0..2 {
            let (index, mut checkpoint) = indexes.claim(partition).await.unwrap();
            // Writes enough checkpoints to make SlateDB flush its memtable, so that every kind of
            // file exists.
            for n in 0..70 {
                checkpoint = Checkpoint { commands_next: Offset(n), ..checkpoint };
                let chunk = ChunkId::new("canvas", &[n as i32, partition.0]).unwrap();
                index.write(&checkpoint, &[(chunk, entry(1))]).await.unwrap();
            }
            index.close().await;
        }
    }
    for n in 0..20_u8 {
        place.store.put_snapshot(Hash::of(&[n]), &[n]).await.unwrap();
    }
    let all = keys(place, "").await;
    assert!(all.len() > 20 + 3 * 5, "{all:?}");
    assert_no_folders(&all);
}

/// Asserts that no key is a folder prefix of another.
pub fn assert_no_folders(keys: &BTreeSet<String>) {
    for key in keys {
        for (at, _) in key.match_indices('/') {
            assert!(!keys.contains(&key[..at]), "{} is a key, and a folder of {key}", &key[..at]);
        }
    }
}
