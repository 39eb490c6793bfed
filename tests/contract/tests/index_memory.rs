//! The index contract against SlateDB in memory, and the effect of damaged files on an index.

use driftless_contract_tests::harness::soon;
use driftless_contract_tests::place::Place;
use driftless_contract_tests::suite::index::{chunk, entry};
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{Epoch, Offset, Partition};
use driftless_store::index::{Error, Indexes};
use futures_util::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

driftless_contract_tests::index_contract_on!(Place::memory());

const P: Partition = Partition(0);

async fn files(store: &dyn ObjectStore) -> BTreeMap<Path, Vec<u8>> {
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut files = BTreeMap::new();
    for object in all {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        files.insert(object.location, bytes.to_vec());
    }
    files
}

/// Reads the index as a view and as a new owner. Asserts that both see the same batches, each as a
/// whole and without a gap. Returns the number of the newest batch.
async fn read(indexes: &Indexes, what: &str) -> Result<i64, Error> {
    let view = indexes.view(P).await?;
    let checkpoint = view.checkpoint().await?;
    let newest = checkpoint.commands_next.0;
    let expected = |n: i64| (n <= newest).then(|| entry(n as u64 + 1));
    for n in 0..BATCHES {
        assert_eq!(view.entry(&chunk(n as i32)).await?, expected(n), "{what}: chunk {n}");
    }
    let (index, claimed) = indexes.claim(P).await?;
    assert_eq!(claimed, Checkpoint { epoch: Epoch(2), ..checkpoint }, "{what}");
    for n in 0..BATCHES {
        assert_eq!(index.entry(&chunk(n as i32)).await?, expected(n), "{what}: chunk {n}");
    }
    index.close().await;
    Ok(newest)
}

/// The number of batches that the test writes. The index flushes SlateDB's memtable after 64
/// batches, so the two newest are in the WAL alone.
const BATCHES: i64 = 66;

/// Deletes or cuts each kind of file of an index, or flips a bit in it, one file at a time.
///
/// SlateDB 0.18 does not notice three kinds of damage, so the index does not notice them either.
/// Only the durability of the object store protects against them. The first is a flipped bit in a
/// manifest, because manifests have no checksum. The second is a missing manifest, because SlateDB
/// then uses the previous one. The third is a missing or empty WAL file, because SlateDB marks a
/// new owner by an empty WAL file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_an_error_and_never_another_entry() {
    let place = Place::memory();
    let (index, first) = Indexes::new(place.store.object_store(), 1).claim(P).await.unwrap();
    for n in 0..BATCHES {
        index
            .write(&Checkpoint { commands_next: Offset(n), ..first }, &[(chunk(n as i32), entry(n as u64 + 1))])
            .await
            .unwrap();
    }
    // The test does not close the index, so that the newest batches are in the WAL alone.
    let whole = Arc::new(files(&*place.store.object_store()).await);
    let mut kinds: BTreeMap<String, Vec<Path>> = BTreeMap::new();
    for path in whole.keys() {
        kinds.entry(path.parts().nth(3).unwrap().as_ref().to_owned()).or_default().push(path.clone());
    }
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["compacted", "compactions", "manifest", "wal"]);
    let mut cases = Vec::new();
    for (kind, paths) in kinds {
        // The two oldest and the two newest files represent all files of their kind.
        let chosen: BTreeSet<Path> = paths.iter().take(2).chain(paths.iter().rev().take(2)).cloned().collect();
        for path in chosen {
            for (how, data) in damage(&whole[&path]).into_iter().enumerate() {
                let is_blind = match kind.as_str() {
                    "manifest" => !CUT.contains(&how),
                    "wal" => GONE.contains(&how),
                    _ => false,
                };
                if is_blind {
                    continue;
                }
                let (whole, kind, path) = (Arc::clone(&whole), kind.clone(), path.clone());
                cases.push(tokio::spawn(async move {
                    let store = Arc::new(InMemory::new());
                    for (other, bytes) in &*whole {
                        let bytes = if *other == path { data.as_ref() } else { Some(bytes) };
                        let Some(bytes) = bytes else { continue };
                        store.put(other, PutPayload::from(bytes.clone())).await.unwrap();
                    }
                    let what = format!("{path}, way {how}");
                    let found = soon(&what, read(&Indexes::new(store, 1), &what)).await;
                    (kind, found, what)
                }));
            }
        }
    }
    let (mut noticed, mut harmless) = (BTreeMap::new(), 0);
    for case in cases {
        match case.await.expect("the case does not panic") {
            // The index no longer reads the file, or the flipped bit has no meaning.
            (_, Ok(newest), _) if newest == BATCHES - 1 => harmless += 1,
            (_, Ok(newest), what) => panic!("{what}: the newest batch was lost, {newest} is the newest"),
            (kind, Err(error), what) => {
                *noticed.entry(kind.clone()).or_insert(0) += 1;
                match error {
                    Error::Damaged { problem, .. } | Error::Unavailable(problem) => assert!(!problem.is_empty()),
                    // The compactor's epochs are in these files, so damage can look like a fence.
                    Error::Fenced => assert_eq!(kind, "compactions", "{what}"),
                    Error::EpochTooHigh(_) => panic!("{what}: {error}"),
                }
            }
        }
    }
    // Damage must be noticed in each kind of file from which the index reads entries.
    for (kind, least) in [("compacted", WAYS - 2), ("wal", WAYS - 2), ("manifest", 1)] {
        assert!(noticed.get(kind).is_some_and(|count| *count >= least), "{kind}: {noticed:?}, {harmless} harmless");
    }
}

const WAYS: usize = 8;
/// Indexes of damaged forms. `GONE` has the forms without content (deleted or empty). `CUT` has the
/// forms that were cut (empty or half).
const GONE: std::ops::Range<usize> = 0..2;
const CUT: std::ops::Range<usize> = 1..3;

/// Makes the damaged forms of a file: deleted, empty, cut in half, and with one flipped bit at five
/// places.
fn damage(bytes: &[u8]) -> [Option<Vec<u8>>; WAYS] {
    let flipped = |at: usize| {
        let mut flipped = bytes.to_vec();
        match flipped.get_mut(bytes.len() * at / 6) {
            Some(byte) => *byte ^= 1 << at,
            // SlateDB marks a new owner by an empty file, which has no bit to flip.
            None => flipped.push(at as u8),
        }
        Some(flipped)
    };
    let half = bytes[..bytes.len() / 2].to_vec();
    [None, Some(vec![]), Some(half), flipped(1), flipped(2), flipped(3), flipped(4), flipped(5)]
}
