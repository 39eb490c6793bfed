//! Notes about model calls that did not return. An owner whose model call hangs writes a note, and
//! its process aborts. The partition's next owner reads the notes, so that it does not make the
//! same call and hang too. A note is an empty object whose name identifies the call.

use super::{Error, Store};
use driftless_schemas::Partition;
use driftless_schemas::storage::{self, Unanswered};
use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};

impl Store {
    /// Records a model call that did not return, for the partition's next owner.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn put_unanswered(&self, generation: u32, partition: Partition, call: &Unanswered) -> Result<(), Error> {
        let key = format!("{}/{call}", storage::unanswered(generation, partition));
        let put = self.inner.put(&Path::from(key.as_str()), PutPayload::new()).await;
        put.map(|_| ()).map_err(|source| self.failed(key, source))
    }

    /// Returns the recorded calls of a partition. Objects whose names this version does not
    /// understand are skipped.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn unanswered(&self, generation: u32, partition: Partition) -> Result<Vec<Unanswered>, Error> {
        let folder = storage::unanswered(generation, partition);
        let prefix = Path::from(folder.as_str());
        let listed = self.inner.list(Some(&prefix)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|source| self.failed(folder, source))?;
        let name = |path: &Path| path.as_ref().strip_prefix(prefix.as_ref())?.strip_prefix('/')?.parse().ok();
        Ok(listed.iter().filter_map(|object| name(&object.location)).collect())
    }

    /// Deletes the record of a call. A record that does not exist is not an error.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn remove_unanswered(
        &self,
        generation: u32,
        partition: Partition,
        call: &Unanswered,
    ) -> Result<(), Error> {
        let key = format!("{}/{call}", storage::unanswered(generation, partition));
        match self.inner.delete(&Path::from(key.as_str())).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed(key, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unanswered_model_call_is_recorded_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let calls = ["7", "12", "canvas/0/-1"].map(|name| name.parse().unwrap());
        for store in [Store::memory(), Store::open(&format!("file://{}", folder.path().display())).unwrap()] {
            let recorded = async || {
                let mut recorded = store.unanswered(1, Partition(1)).await.unwrap();
                recorded.sort();
                recorded
            };
            assert_eq!(recorded().await, []);
            for call in &calls {
                store.put_unanswered(1, Partition(1), call).await.unwrap();
                store.put_unanswered(1, Partition(1), call).await.unwrap();
            }
            store.put_unanswered(1, Partition(11), &calls[0]).await.unwrap();
            assert_eq!(recorded().await, calls);
            store.remove_unanswered(1, Partition(1), &calls[0]).await.unwrap();
            store.remove_unanswered(1, Partition(1), &calls[0]).await.unwrap();
            assert_eq!(recorded().await, calls[1..]);
        }
    }
}
