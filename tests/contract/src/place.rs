//! The places where an object store can be: in memory, in a folder, on an S3 server. Each is opened
//! as the services open it.

use crate::harness::unique;
use driftless_store::Store;

/// A place with an empty store that belongs to one test alone.
pub struct Place {
    /// The store.
    pub store: Store,
    /// True if the store refuses a conditional update when the object has changed. A folder does
    /// not refuse it, because it is meant for one machine, on which no two processes update the
    /// same object.
    pub updates_are_conditional: bool,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    /// A store in memory.
    pub fn memory() -> Self {
        Self { store: Store::memory(), updates_are_conditional: true, _folder: None }
    }

    /// A store in a folder of the local file system.
    pub fn folder() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let store = Store::open(&format!("file://{}", folder.path().display())).expect("a folder can be opened");
        Self { store, updates_are_conditional: false, _folder: Some(folder) }
    }

    /// A store on an S3 server, under a unique prefix. All tests of a process share the server. The
    /// variable `DRIFTLESS_TEST_S3` can name an existing server.
    pub async fn s3() -> Self {
        let shared = tokio::task::spawn_blocking(driftless_testbed::shared_s3).await;
        let access = shared.expect("starting an S3 server does not panic").expect("an S3 server can be started");
        let url = format!("{}/{}", access.url.trim_end_matches('/'), unique("contract"));
        let store = Store::open_with(&url, access.env.iter().cloned()).expect("a bucket can be opened");
        Self { store, updates_are_conditional: true, _folder: None }
    }
}
