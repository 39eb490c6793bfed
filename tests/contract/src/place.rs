//! Where an object store lies: in memory, in a folder, on an S3 server; each as the services open it.

use crate::harness::unique;
use driftless_store::Store;

/// A store of its own, empty at first.
pub struct Place {
    /// The store.
    pub store: Store,
    /// Whether a conditional update is one. In a folder it is not: it is for one machine, where nobody races.
    pub updates_are_conditional: bool,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    /// In memory.
    pub fn memory() -> Self {
        Self { store: Store::memory(), updates_are_conditional: true, _folder: None }
    }

    /// In a folder of the local file system.
    pub fn folder() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let store = Store::open(&format!("file://{}", folder.path().display())).expect("a folder can be opened");
        Self { store, updates_are_conditional: false, _folder: Some(folder) }
    }

    /// On the S3 server that all tests of a process share (or on that of `DRIFTLESS_TEST_S3`), under a prefix of its own.
    pub async fn s3() -> Self {
        let shared = tokio::task::spawn_blocking(driftless_testbed::shared_s3).await.expect("it does not panic");
        let access = shared.expect("an S3 server can be had");
        let url = format!("{}/{}", access.url.trim_end_matches('/'), unique("contract"));
        let store = Store::open_with(&url, access.env.iter().cloned()).expect("a bucket can be opened");
        Self { store, updates_are_conditional: true, _folder: None }
    }
}
