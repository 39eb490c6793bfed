//! The object store, which holds snapshots under the hash of their content, the world spec, and the
//! index of each partition (docs/design.md#object-store).
//!
//! The store keeps R7: an object's name is the hash of its content, and every read is verified. A
//! URL selects the store: `file:///path` or `s3://bucket/prefix` with the usual `AWS_…` variables.

mod clock;
mod error;
pub mod index;
mod snapshot;
mod unanswered;
mod world;

pub use error::Error;
pub use snapshot::{StoredSnapshot, compress, try_compress};

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _};
use std::ffi::OsString;
use std::sync::Arc;

/// The object store of a deployment.
#[derive(Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    url: Arc<str>,
}

impl Store {
    /// Opens a store by its URL, with the process's environment. Does not read from the store.
    ///
    /// # Errors
    /// [`Error::Url`] if the URL is not supported or not complete.
    pub fn open(url: &str) -> Result<Self, Error> {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self::open_with(url, std::env::vars_os().filter_map(text))
    }

    /// Like [`Store::open`], with these variables in place of the process's environment. Variables
    /// named `AWS_…` configure S3.
    ///
    /// # Errors
    /// [`Error::Url`] if the URL is not supported or not complete.
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

    /// The underlying object store, which the index needs.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner)
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

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_an_unusable_url_names_usable_ones() {
        for url in ["http://x/", "s3://", "nothing"] {
            let error = Store::open(url).unwrap_err().to_string();
            assert!(error.contains(url) && error.contains("file:///"), "{error}");
        }
    }
}
