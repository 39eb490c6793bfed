//! The store contract in memory, and a claim about object names.

use driftless_contract_tests::place::Place;
use driftless_contract_tests::suite::store::assert_no_folders;
use driftless_schemas::{Hash, Partition, storage};

driftless_contract_tests::store_contract!(Place::memory());

/// Compares the object names for many hashes, generations and partitions.
#[test]
fn no_object_name_is_a_folder_of_another() {
    let hashes = (0..2_000_u32).map(|n| Hash::of(&n.to_le_bytes()));
    // These hashes have names that share as many characters as possible.
    let alike = (0..=255).map(|byte| Hash([byte; 32])).chain([Hash([0; 32])]);
    let indexes = (1..130).flat_map(|generation| {
        [0, 1, 2, 9, 10, 11, 99, 100, 999].map(|partition| storage::index(generation, Partition(partition)))
    });
    let names = hashes.chain(alike).map(storage::snapshot).chain(indexes).chain([storage::WORLD.to_owned()]).collect();
    assert_no_folders(&names);
    for name in &names {
        // object_store neither escapes nor drops a character of the name.
        assert_eq!(object_store::path::Path::from(name.as_str()).to_string(), *name);
    }
}
