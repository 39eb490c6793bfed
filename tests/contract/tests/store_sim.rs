//! The claims about snapshots, against the simulator's store.

use async_trait::async_trait;
use bytes::Bytes;
use driftless_contract_tests::suite::snapshots::{Refused, Snapshots};
use driftless_schemas::Hash;
use driftless_schemas::stored::StoredRef;
use driftless_sim::store::Store;
use std::cell::RefCell;

struct Sim(RefCell<Store>);

#[async_trait(?Send)]
impl Snapshots for Sim {
    async fn put(&self, hash: Hash, encoding: &[u8]) {
        self.0.borrow_mut().put(hash, encoding);
    }

    async fn load(&self, stored: &StoredRef) -> Result<(Bytes, Bytes), Refused> {
        self.0.borrow().load(stored).map_err(|reason| match reason.contains("is not in the store") {
            true => Refused::Missing,
            false => Refused::Damaged,
        })
    }

    async fn object(&self, hash: Hash) -> Option<Bytes> {
        self.0.borrow().object(hash).cloned()
    }

    async fn replace(&self, hash: Hash, data: Option<Bytes>) {
        self.0.borrow_mut().replace(hash, data);
    }
}

driftless_contract_tests::snapshot_contract!(Sim(RefCell::new(Store::new(1))));
