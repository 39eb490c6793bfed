//! The store contract in memory, and the names themselves.

use driftless_contract_tests::place::Place;
use driftless_contract_tests::suite::store::assert_no_folders;
use driftless_schemas::{Hash, Partition, storage};

driftless_contract_tests::store_contract!(Place::memory());

/// Whatever hash, generation or partition there is.
#[test]
fn no_name_that_we_make_is_a_folder_of_another() {
    let hashes = (0..2_000_u32).map(|n| Hash::of(&n.to_le_bytes()));
    // Such as share all they can.
    let alike = (0..=255).map(|byte| Hash([byte; 32])).chain([Hash([0; 32])]);
    let indexes = (1..130).flat_map(|generation| {
        [0, 1, 2, 9, 10, 11, 99, 100, 999].map(|partition| storage::index(generation, Partition(partition)))
    });
    let names = hashes.chain(alike).map(storage::snapshot).chain(indexes).chain([storage::WORLD.to_owned()]).collect();
    assert_no_folders(&names);
    for name in &names {
        // As object_store writes it: nothing is escaped, nothing is lost.
        assert_eq!(object_store::path::Path::from(name.as_str()).to_string(), *name);
    }
}
