//! The stored world spec: one object, which each revision replaces. Revisions are numbered from 1
//! without gaps.

use super::{Error, Store};
use driftless_schemas::storage;
use driftless_schemas::world::StoredWorld;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion};
use std::sync::Arc;

impl Store {
    /// Returns the stored world spec, if there is one.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Unavailable`].
    pub async fn world(&self) -> Result<Option<StoredWorld>, Error> {
        match self.get(storage::WORLD.into()).await {
            Err(Error::Missing { .. }) => Ok(None),
            Err(e) => Err(e),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::Damaged {
                key: storage::WORLD.into(),
                url: Arc::clone(&self.url),
                problem: e.to_string(),
            }),
        }
    }

    /// Writes a revision of the world spec. Revision 1 requires that no spec is stored. A later
    /// revision requires that the previous revision is stored.
    ///
    /// # Errors
    /// [`Error::Raced`] if the required revision is not the stored one; [`Error::Unavailable`].
    pub async fn put_world(&self, world: &StoredWorld) -> Result<(), Error> {
        let key = || storage::WORLD.to_owned();
        let raced = || Error::Raced { key: key(), url: Arc::clone(&self.url) };
        let path = Path::from(storage::WORLD);
        let mode = if world.revision <= 1 {
            PutMode::Create
        } else {
            let head = self.inner.head(&path).await.map_err(|source| self.failed(key(), source))?;
            match self.world().await? {
                Some(stored) if stored.revision + 1 == world.revision => {}
                _ => return Err(raced()),
            }
            PutMode::Update(UpdateVersion { e_tag: head.e_tag, version: head.version })
        };
        let text = serde_json::to_vec_pretty(world).map_err(|e| Error::Damaged {
            key: key(),
            url: Arc::clone(&self.url),
            problem: e.to_string(),
        })?;
        let put = |mode| self.inner.put_opts(&path, PutPayload::from(text.clone()), PutOptions::from(mode));
        match put(mode).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Err(raced()),
            // The local file system has no conditional update. It serves a single machine, where no
            // second writer exists.
            Err(object_store::Error::NotImplemented { .. }) => {
                put(PutMode::Overwrite).await.map(|_| ()).map_err(|source| self.failed(key(), source))
            }
            Err(source) => Err(self.failed(key(), source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_schemas::world::WorldSpec;

    /// A revision is written only if the previous revision is the stored one.
    #[tokio::test]
    async fn a_world_is_written_over_its_own_predecessor_only() {
        let folder = tempfile::tempdir().unwrap();
        for store in [Store::memory(), Store::open(&format!("file://{}", folder.path().display())).unwrap()] {
            assert!(store.world().await.unwrap().is_none());
            let world = |revision| StoredWorld { revision, spec: WorldSpec::dev(), id: None };
            store.put_world(&world(1)).await.unwrap();
            assert!(matches!(store.put_world(&world(1)).await, Err(Error::Raced { .. })));
            assert!(matches!(store.put_world(&world(3)).await, Err(Error::Raced { .. })));
            store.put_world(&world(2)).await.unwrap();
            assert_eq!(store.world().await.unwrap(), Some(world(2)));
        }
    }
}
