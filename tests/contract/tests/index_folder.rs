//! The index contract against SlateDB in a folder of the local file system, with fsync.

use driftless_contract_tests::place::Place;

driftless_contract_tests::index_contract_on!(Place::folder());
