//! Attacks on a replica: gaps, doubled and overlapping updates, drift, and invalid messages (R3,
//! R7, R10).

use bytes::Bytes;
use driftless_chunk::grid::Grid;
use driftless_chunk::model::AnyModel;
use driftless_chunk::replica::{ApplyError, Replica};
use driftless_schemas::proto::{Entry, GridCommand, SetCells, Updates, grid_command};
use driftless_schemas::{ChunkId, Hash, Version};
use proptest::prelude::*;
use prost::Message;
use std::sync::Arc;

fn chunk() -> ChunkId {
    "canvas/0/0".parse().unwrap()
}

fn model() -> Arc<dyn AnyModel> {
    let parameters = serde_json::json!({"size": [4, 1], "palette": 100});
    Arc::new(Grid::from_parameters(parameters.as_object().unwrap()).unwrap())
}

fn replica() -> Replica {
    Replica::initial(model(), &chunk())
}

/// The effect that leads to version v: it sets cell v mod 4 to v.
fn effect(version: u64) -> Bytes {
    let set = SetCells { cells: vec![version as u32 % 4], values: vec![version as u32], guards: vec![] };
    GridCommand { body: Some(grid_command::Body::Set(set)) }.encode_to_vec().into()
}

/// A replica at a version.
fn at(version: u64) -> Replica {
    let mut replica = replica();
    for version in 1..=version {
        replica.fold(&effect(version)).unwrap();
    }
    replica
}

fn updates(first: u64, last: u64) -> Updates {
    let entries = (first..=last).map(|v| Entry { writer: Bytes::from_static(&[1; 16]), seq: v, effect: effect(v) });
    Updates {
        chunk_id: chunk().to_string(),
        first_version: first,
        entries: entries.collect(),
        state_hash: at(last).hash().to_bytes(),
    }
}

#[test]
fn r3_a_gap_is_an_error_and_changes_nothing() {
    let mut replica = at(3);
    let before = replica.hash();
    assert_eq!(replica.apply(&updates(5, 6)), Err(ApplyError::Gap { version: Version(3), first: Version(5) }));
    assert_eq!((replica.version(), replica.hash()), (Version(3), before));
    assert_eq!(replica.apply(&updates(4, 6)), Ok(3));
    assert_eq!(replica.version(), Version(6));
}

#[test]
fn known_entries_are_skipped_one_by_one() {
    let mut replica = at(3);
    assert_eq!(replica.apply(&updates(1, 2)), Ok(0));
    assert_eq!(replica.apply(&updates(1, 3)), Ok(0));
    assert_eq!(replica.apply(&updates(2, 5)), Ok(2));
    assert_eq!((replica.version(), replica.hash()), (Version(5), at(5).hash()));
}

#[test]
fn r10_another_hash_is_found_even_without_new_entries() {
    let drifted = Updates { state_hash: Hash([9; 32]).to_bytes(), ..updates(3, 4) };
    let expected = Hash([9; 32]);
    for version in [2, 3, 4] {
        let error = at(version).apply(&drifted).unwrap_err();
        assert_eq!(error, ApplyError::Hash { version: Version(4), expected, found: at(4).hash() }, "from {version}");
    }
    assert_eq!(at(5).apply(&drifted), Ok(0), "of a version that it left it can say nothing");
}

#[test]
fn r10_a_replica_that_drifted_notices_at_the_next_update() {
    let mut replica = at(3);
    let mut other = at(2);
    other.fold(&effect(7)).unwrap();
    assert_eq!((replica.version(), other.version()), (Version(3), Version(3)));
    assert_ne!(replica.hash(), other.hash());
    assert_eq!(replica.apply(&updates(4, 4)), Ok(1));
    assert!(matches!(other.apply(&updates(4, 4)), Err(ApplyError::Hash { .. })));
}

#[test]
fn invalid_updates_are_refused_and_change_nothing() {
    for bad in [
        Updates { state_hash: Bytes::new(), ..updates(4, 4) },
        Updates { state_hash: Bytes::from_static(&[0; 33]), ..updates(4, 4) },
        Updates { first_version: 0, ..updates(4, 4) },
        Updates { entries: vec![], ..updates(4, 4) },
    ] {
        let mut replica = at(3);
        let before = replica.hash();
        assert!(matches!(replica.apply(&bad), Err(ApplyError::Format(_))), "{bad:?}");
        assert_eq!((replica.version(), replica.hash()), (Version(3), before));
    }
    let last = Updates { first_version: u64::MAX, ..updates(4, 4) };
    assert!(matches!(at(3).apply(&last), Err(ApplyError::Gap { .. })));
}

#[test]
fn an_effect_that_the_model_cannot_use_names_its_version() {
    let mut bad = updates(4, 5);
    bad.entries[1].effect = Bytes::from_static(b"?");
    match at(3).apply(&bad) {
        Err(ApplyError::Fold { version, .. }) => assert_eq!(version, Version(5)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn r7_content_is_its_name() {
    let mut replica = at(9);
    let bytes = replica.encoding().into_owned();
    let mut restored = Replica::restore(model(), &bytes, Version(9), replica.hash()).unwrap();
    assert_eq!((restored.version(), restored.hash()), (Version(9), replica.hash()));
    assert_eq!(restored.apply(&updates(9, 10)), Ok(1));
    let mut torn = bytes.clone();
    torn[14] ^= 1;
    assert!(matches!(Replica::restore(model(), &torn, Version(9), replica.hash()), Err(ApplyError::Hash { .. })));
    assert!(matches!(
        Replica::restore(model(), b"other", Version(9), Hash::of(b"other")),
        Err(ApplyError::Content { .. })
    ));
}

#[test]
fn the_largest_version_does_not_overflow() {
    let bytes = at(1).encoding().into_owned();
    let mut replica = Replica::restore(model(), &bytes, Version(u64::MAX), Hash::of(&bytes)).unwrap();
    for first_version in [1, u64::MAX - 1, u64::MAX] {
        let _ = replica.apply(&Updates { first_version, ..updates(4, 6) });
    }
    assert_eq!(replica.version(), Version(u64::MAX));
}

proptest! {
    #[test]
    fn r10_any_overlapping_pieces_without_a_gap_end_at_the_same_bytes(
        pieces in prop::collection::vec((1u64..30, 0u64..8), 1..40)
    ) {
        let mut replica = replica();
        for (first, more) in pieces {
            let before = replica.version();
            let last = first + more;
            match replica.apply(&updates(first, last)) {
                Ok(new) => {
                    prop_assert!(first <= before.0 + 1);
                    prop_assert_eq!(replica.version(), Version(before.0.max(last)));
                    prop_assert_eq!(new as u64, replica.version().0 - before.0);
                }
                Err(ApplyError::Gap { .. }) => prop_assert!(first > before.0 + 1),
                Err(other) => panic!("{other}"),
            }
            let version = replica.version().0;
            prop_assert_eq!(replica.hash(), at(version).hash());
        }
    }
}
