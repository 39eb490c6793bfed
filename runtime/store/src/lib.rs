//! The object store: snapshots under their hash, and the world spec (docs/design.md#object-store).
//!
//! The store keeps R7: an object's name is the hash of its content, and every read is verified. A
//! URL selects the store: `file:///path` or `s3://bucket/prefix` with the usual `AWS_…` variables.

pub mod index;

use bytes::Bytes;
use driftless_schemas::proto::{Ref, r#ref};
use driftless_schemas::storage::Unanswered;
use driftless_schemas::world::StoredWorld;
use driftless_schemas::{Hash, Partition, limits, storage};
use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use std::ffi::OsString;
use std::sync::Arc;

/// The zstd level of snapshots: a fast one, because snapshots are written far more often than read.
const COMPRESSION_LEVEL: i32 = 1;

/// The object store of a deployment.
#[derive(Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    url: Arc<str>,
}

/// A snapshot as loaded from the store.
#[derive(Clone, Debug)]
pub struct StoredSnapshot {
    /// The stored bytes: zstd.
    pub data: Bytes,
    /// The canonical encoding, verified.
    pub encoding: Bytes,
}

/// An error of the object store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not supported or not complete.
    #[error(
        "object store {url}: {problem}; use file:///absolute/path, or s3://bucket/prefix with AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION set as needed"
    )]
    Url {
        /// The URL as given.
        url: String,
        /// The problem.
        problem: String,
    },
    /// The object does not exist.
    #[error("{key} is not in {url}")]
    Missing {
        /// The object's key.
        key: String,
        /// The store's URL.
        url: Arc<str>,
    },
    /// The object exists, but its content does not match its name (R7).
    #[error("{key} in {url} is damaged: {problem}")]
    Damaged {
        /// The object's key.
        key: String,
        /// The store's URL.
        url: Arc<str>,
        /// The problem.
        problem: String,
    },
    /// The content exceeds the limit: no process could load it again.
    #[error("{key}: a content of {bytes} bytes exceeds the limit of {max}: the model must bound its content", max = limits::CONTENT_BYTES_MAX)]
    TooLarge {
        /// The object's key.
        key: String,
        /// The length of the canonical encoding.
        bytes: usize,
    },
    /// Nothing was stored, because zstd could not allocate memory.
    #[error(
        "{key} cannot be compressed: {source}; give this process more memory, or reduce the number of chunks that it holds"
    )]
    Compression {
        /// The object's key.
        key: String,
        /// The error of zstd.
        source: std::io::Error,
    },
    /// Another process changed the object meanwhile.
    #[error("{key} in {url} was changed by another process meanwhile: review the change, and try again")]
    Raced {
        /// The object's key.
        key: String,
        /// The store's URL.
        url: Arc<str>,
    },
    /// The store does not answer, or refuses the request.
    #[error("{key} in {url}: {source}")]
    Unavailable {
        /// The object's key.
        key: String,
        /// The store's URL.
        url: Arc<str>,
        /// The store's error.
        source: object_store::Error,
    },
}

impl Error {
    /// True if a retry may succeed because the store does not answer. A store that refuses will
    /// refuse again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use object_store::Error as Source;
        let Self::Unavailable { source, .. } = self else { return false };
        !matches!(source, Source::PermissionDenied { .. } | Source::Unauthenticated { .. } | Source::InvalidPath { .. })
    }
}

impl Store {
    /// Opens a store by its URL, with the process's environment. Does not read from the store.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn open(url: &str) -> Result<Self, Error> {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self::open_with(url, std::env::vars_os().filter_map(text))
    }

    /// Like [`Store::open`], with the given environment variables: `AWS_…` configures S3.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn open_with(url: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        let refuse = |problem: String| Error::Url { url: url.to_owned(), problem };
        let inner: Arc<dyn ObjectStore> = if let Some(path) = url.strip_prefix("file://") {
            std::fs::create_dir_all(path).map_err(|e| refuse(format!("cannot create the folder {path}: {e}")))?;
            let local = object_store::local::LocalFileSystem::new_with_prefix(path)
                .map_err(|e| refuse(e.to_string()))?
                .with_fsync(true);
            Arc::new(local)
        } else if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(refuse("the bucket is missing".into()));
            }
            let s3 = s3_of(variables).with_bucket_name(bucket).build().map_err(|e| refuse(e.to_string()))?;
            match prefix.trim_end_matches('/') {
                "" => Arc::new(s3),
                prefix => Arc::new(PrefixStore::new(s3, Path::from(prefix))),
            }
        } else {
            return Err(refuse("the scheme is neither file:// nor s3://".into()));
        };
        Ok(Self { inner, url: url.into() })
    }

    /// Creates a store in memory, for tests.
    #[must_use]
    pub fn memory() -> Self {
        Self { inner: Arc::new(object_store::memory::InMemory::new()), url: "memory:".into() }
    }

    /// The store's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The underlying object store, for the index.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner)
    }

    /// Stores an encoding under its hash. The object is durable when this returns. Storing the same
    /// encoding again has no effect.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Compression`], [`Error::Unavailable`].
    pub async fn put_snapshot(&self, hash: Hash, encoding: &[u8]) -> Result<(), Error> {
        let key = storage::snapshot(hash);
        if encoding.len() > limits::CONTENT_BYTES_MAX {
            return Err(Error::TooLarge { key, bytes: encoding.len() });
        }
        let data = match try_compress(encoding) {
            Ok(data) => data,
            // An empty object under this key would be acknowledged, and could never be loaded.
            Err(source) => return Err(Error::Compression { key, source }),
        };
        self.inner
            .put(&Path::from(key.as_str()), PutPayload::from(data))
            .await
            .map(|_| ())
            .map_err(|source| self.failed(key, source))
    }

    /// Returns the object as stored: zstd(canonical encoding), not verified. [`Store::snapshot`]
    /// verifies.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Unavailable`].
    pub async fn compressed_snapshot(&self, hash: Hash) -> Result<Bytes, Error> {
        self.get(storage::snapshot(hash)).await
    }

    /// Returns a part of an object that holds many snapshots, in the form of
    /// [`Store::compressed_snapshot`].
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`] if the object is too short, [`Error::Unavailable`].
    pub async fn packed_snapshot(&self, key: &str, offset: u64, len: u64) -> Result<Bytes, Error> {
        let (path, end) = (Path::from(key), offset.saturating_add(len));
        let damaged = |problem| Error::Damaged { key: key.to_owned(), url: Arc::clone(&self.url), problem };
        // No packed snapshot is larger than this, so a wrong length never makes a process load
        // more.
        if len == 0 || len > limits::CONTENT_BYTES_MAX as u64 * 2 {
            return Err(damaged(format!("the ref names a packed snapshot of {len} bytes, which is not possible")));
        }
        match self.inner.get_range(&path, offset..end).await {
            Ok(data) if data.len() as u64 == len => Ok(data),
            Ok(data) => {
                Err(damaged(format!("bytes {offset}..{end} were requested, but {} bytes were returned", data.len())))
            }
            // Stores report a range beyond the end in different ways, so the object's length
            // decides.
            Err(source) => match self.inner.head(&path).await {
                Ok(head) if head.size < end => Err(damaged(format!(
                    "bytes {offset}..{end} were requested, but the object has {} bytes",
                    head.size
                ))),
                _ => Err(self.failed(key.to_owned(), source)),
            },
        }
    }

    /// Returns the encoding that a ref names, from its own object or from a pack; verified (R7).
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Unavailable`].
    pub async fn stored(&self, stored: &Ref) -> Result<StoredSnapshot, Error> {
        let unknown =
            |problem: &str| Error::Damaged { key: "a ref".into(), url: Arc::clone(&self.url), problem: problem.into() };
        let hash = Hash::from_slice(&stored.hash).ok_or_else(|| unknown("its hash does not have 32 bytes"))?;
        let data = match &stored.location {
            Some(r#ref::Location::Object(_)) => self.compressed_snapshot(hash).await?,
            Some(r#ref::Location::Pack(pack)) => self.packed_snapshot(&pack.key, pack.offset, pack.len).await?,
            None => return Err(unknown("it has no location that this version knows; upgrade this process")),
        };
        let encoding = self.verify(hash, &data)?;
        Ok(StoredSnapshot { data, encoding })
    }

    /// Returns the canonical encoding with this hash, verified (R7).
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Unavailable`].
    pub async fn snapshot(&self, hash: Hash) -> Result<Bytes, Error> {
        let data = self.compressed_snapshot(hash).await?;
        self.verify(hash, &data)
    }

    /// Decompresses the result of [`Store::compressed_snapshot`] and compares its hash.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn verify(&self, hash: Hash, data: &[u8]) -> Result<Bytes, Error> {
        let damaged =
            |problem: String| Error::Damaged { key: storage::snapshot(hash), url: Arc::clone(&self.url), problem };
        let encoding = zstd::bulk::decompress(data, limits::CONTENT_BYTES_MAX).map_err(|e| damaged(e.to_string()))?;
        let found = Hash::of(&encoding);
        if found != hash {
            return Err(damaged(format!("its content has the hash {found}")));
        }
        Ok(encoding.into())
    }

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

    /// Writes the world spec. Revision 1 requires that none is stored; a later revision requires
    /// that the one before it is stored.
    ///
    /// # Errors
    /// [`Error::Raced`] if another revision is stored meanwhile, [`Error::Unavailable`].
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

    /// Records a model call that did not return, for the partition's next owner.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn put_unanswered(&self, generation: u32, partition: Partition, call: &Unanswered) -> Result<(), Error> {
        let key = format!("{}/{call}", storage::unanswered(generation, partition));
        let put = self.inner.put(&Path::from(key.as_str()), PutPayload::new()).await;
        put.map(|_| ()).map_err(|source| self.failed(key, source))
    }

    /// Returns the recorded calls. Names that this version does not understand are skipped.
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

    /// Deletes a recorded call.
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

    async fn get(&self, key: String) -> Result<Bytes, Error> {
        let read = async { self.inner.get(&Path::from(key.as_str())).await?.bytes().await };
        read.await.map_err(|source| self.failed(key, source))
    }

    fn failed(&self, key: String, source: object_store::Error) -> Error {
        match source {
            object_store::Error::NotFound { .. } => Error::Missing { key, url: Arc::clone(&self.url) },
            source => Error::Unavailable { key, url: Arc::clone(&self.url), source },
        }
    }
}

/// Configures S3 from variables, as `AmazonS3Builder::from_env` does from the environment.
fn s3_of(variables: impl IntoIterator<Item = (String, String)>) -> AmazonS3Builder {
    let keys = variables.into_iter().filter(|(name, _)| name.starts_with("AWS_"));
    let known = keys.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)));
    known.fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value))
}

/// Compresses an encoding as it is stored and sent: zstd.
///
/// # Errors
/// zstd cannot allocate memory.
pub fn try_compress(encoding: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(encoding, COMPRESSION_LEVEL)
}

/// Like [`try_compress`], for data that is not stored. Returns an empty vector if zstd cannot
/// allocate memory; readers treat that as damaged.
#[must_use]
pub fn compress(encoding: &[u8]) -> Vec<u8> {
    try_compress(encoding).unwrap_or_default()
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_schemas::world::WorldSpec;

    #[tokio::test]
    async fn r7_a_snapshot_is_verified_on_every_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
        let hash = Hash::of(b"content");
        store.put_snapshot(hash, b"content").await.unwrap();
        store.put_snapshot(hash, b"content").await.unwrap();
        assert_eq!(store.snapshot(hash).await.unwrap(), &b"content"[..]);
        std::fs::write(folder.path().join(storage::snapshot(hash)), compress(b"other")).unwrap();
        assert!(matches!(store.snapshot(hash).await, Err(Error::Damaged { .. })));
        assert!(matches!(store.snapshot(Hash::of(b"?")).await, Err(Error::Missing { .. })));
    }

    #[tokio::test]
    async fn a_world_is_written_over_its_own_predecessor_only() {
        let folder = tempfile::tempdir().unwrap();
        for store in [Store::memory(), Store::open(&format!("file://{}", folder.path().display())).unwrap()] {
            assert!(store.world().await.unwrap().is_none());
            let world = |revision| StoredWorld { revision, spec: WorldSpec::dev() };
            store.put_world(&world(1)).await.unwrap();
            assert!(matches!(store.put_world(&world(1)).await, Err(Error::Raced { .. })));
            assert!(matches!(store.put_world(&world(3)).await, Err(Error::Raced { .. })));
            store.put_world(&world(2)).await.unwrap();
            assert_eq!(store.world().await.unwrap(), Some(world(2)));
        }
    }

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

    #[test]
    fn the_error_for_an_unusable_url_names_usable_ones() {
        for url in ["http://x/", "s3://", "nothing"] {
            let error = Store::open(url).unwrap_err().to_string();
            assert!(error.contains(url) && error.contains("file:///"), "{error}");
        }
    }
}
