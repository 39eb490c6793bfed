//! The store contract in a folder of the local file system, with fsync, as
//! [`driftless_store::Store::open`] opens it.

use driftless_contract_tests::place::Place;

driftless_contract_tests::store_contract!(Place::folder());
