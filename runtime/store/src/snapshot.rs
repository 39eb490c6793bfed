//! Snapshots: stored under their hash, compressed, verified on every read (R7).

use super::{Error, Store};
use bytes::Bytes;
use driftless_schemas::stored::{Location, StoredRef};
use driftless_schemas::{Hash, limits, storage};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use std::sync::Arc;

/// The zstd level of snapshots. Level 1 is fast, because snapshots are written far more often than
/// they are read.
const COMPRESSION_LEVEL: i32 = 1;

/// A snapshot as loaded from the store.
#[derive(Clone, Debug)]
pub struct StoredSnapshot {
    /// The stored bytes, compressed with zstd.
    pub data: Bytes,
    /// The canonical encoding of the content, verified against its hash.
    pub encoding: Bytes,
}

impl Store {
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
            // The error must be returned. An empty object would count as stored, and could never be
            // loaded.
            Err(source) => return Err(Error::Compression { key, source }),
        };
        self.inner
            .put(&Path::from(key.as_str()), PutPayload::from(data))
            .await
            .map(|_| ())
            .map_err(|source| self.failed(key, source))
    }

    /// Returns the object as it is stored: the canonical encoding compressed with zstd. The hash is
    /// not verified here; [`Store::snapshot`] verifies it.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Unavailable`].
    pub async fn compressed_snapshot(&self, hash: Hash) -> Result<Bytes, Error> {
        self.get(storage::snapshot(hash)).await
    }

    /// Returns one snapshot from a pack, which is an object that holds many snapshots. The result
    /// is compressed and not verified, as with [`Store::compressed_snapshot`]. `offset` and `len`
    /// are bytes.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::Damaged`] if the object is too short or `len` is impossible;
    /// [`Error::Unavailable`].
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

    /// Returns the snapshot that a ref names, from an object of its own or from a pack. Its hash is
    /// verified (R7).
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Unavailable`].
    pub async fn stored(&self, stored: &StoredRef) -> Result<StoredSnapshot, Error> {
        let data = match &stored.location {
            Location::Object => self.compressed_snapshot(stored.hash).await?,
            Location::Pack { key, offset, len } => self.packed_snapshot(key, *offset, *len).await?,
        };
        let encoding = self.verify(stored.hash, &data)?;
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

    /// Decompresses the result of [`Store::compressed_snapshot`], checks that it has this hash, and
    /// returns it.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the bytes cannot be decompressed, or have another hash.
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
}

/// Compresses an encoding with zstd, the form in which snapshots are stored and sent.
///
/// # Errors
/// Fails if zstd cannot allocate memory.
pub fn try_compress(encoding: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(encoding, COMPRESSION_LEVEL)
}

/// Like [`try_compress`], for data that is sent and not stored. Returns an empty vector if zstd
/// cannot allocate memory; readers treat an empty vector as damaged.
#[must_use]
pub fn compress(encoding: &[u8]) -> Vec<u8> {
    try_compress(encoding).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
