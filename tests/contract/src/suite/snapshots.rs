//! Claims about snapshots (R7). Both the store of the services and the simulator's store keep them.

use crate::place::Place;
use async_trait::async_trait;
use bytes::Bytes;
use driftless_schemas::stored::{Location, StoredRef};
use driftless_schemas::{Hash, Offset, Version, limits, storage};
use driftless_store::{Error, compress};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};

/// A store of snapshots under test, with operations that damage it.
#[async_trait(?Send)]
pub trait Snapshots {
    /// Stores an encoding under its hash.
    async fn put(&self, hash: Hash, encoding: &[u8]);
    /// Loads the snapshot that a ref names. Returns the stored bytes, and the canonical encoding in
    /// them.
    async fn load(&self, stored: &StoredRef) -> Result<(Bytes, Bytes), Refused>;
    /// The raw bytes that are stored under a hash, without verification.
    async fn object(&self, hash: Hash) -> Option<Bytes>;
    /// Replaces the bytes that are stored under a hash; `None` deletes the object.
    async fn replace(&self, hash: Hash, data: Option<Bytes>);
}

/// The reason why the store did not load a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// No object has the name in the ref.
    Missing,
    /// The content of the object does not match the object's name.
    Damaged,
}

#[async_trait(?Send)]
impl Snapshots for Place {
    async fn put(&self, hash: Hash, encoding: &[u8]) {
        self.store.put_snapshot(hash, encoding).await.expect("the snapshot can be stored");
    }

    async fn load(&self, stored: &StoredRef) -> Result<(Bytes, Bytes), Refused> {
        match self.store.stored(stored).await {
            Ok(snapshot) => Ok((snapshot.data, snapshot.encoding)),
            Err(e) => Err(refused(&e, self.store.url())),
        }
    }

    async fn object(&self, hash: Hash) -> Option<Bytes> {
        self.store.compressed_snapshot(hash).await.ok()
    }

    async fn replace(&self, hash: Hash, data: Option<Bytes>) {
        let (store, path) = (self.store.object_store(), Path::from(storage::snapshot(hash)));
        match data {
            Some(data) => drop(store.put(&path, PutPayload::from_bytes(data)).await.expect("the object can be put")),
            None => store.delete(&path).await.expect("the object can be deleted"),
        }
    }
}

/// Classifies an error of the store. Asserts that the error's text names the store's URL.
pub fn refused(error: &Error, url: &str) -> Refused {
    assert!(error.to_string().contains(url), "the error does not name {url}: {error}");
    match error {
        Error::Missing { .. } => Refused::Missing,
        Error::Damaged { .. } => Refused::Damaged,
        other => panic!("an object that is missing or damaged was expected: {other}"),
    }
}

/// Makes a ref to an object that contains one snapshot alone.
pub fn ref_to(hash: Hash) -> StoredRef {
    StoredRef {
        version: Version(1),
        hash,
        location: Location::Object,
        through_offset: Offset(0),
        model_revision: 1,
        bytes: 0,
        ledger: None,
    }
}

/// Makes bytes that resemble a chunk's content: neither all equal nor random.
pub fn content(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|i| (i % 7) as u8 ^ (i / 97) as u8 ^ seed).collect()
}

pub async fn r7_a_snapshot_comes_back_as_it_was(subject: &dyn Snapshots) {
    for bytes in [0, 1, 100, 65_536, limits::CONTENT_BYTES_MAX] {
        let encoding = content(bytes, 1);
        let hash = Hash::of(&encoding);
        subject.put(hash, &encoding).await;
        let (data, loaded) = subject.load(&ref_to(hash)).await.expect("the snapshot was stored");
        assert_eq!(loaded, encoding);
        let again = zstd::bulk::decompress(&data, limits::CONTENT_BYTES_MAX).expect("the stored bytes are zstd");
        assert_eq!(again, encoding);
    }
}

pub async fn r7_putting_a_snapshot_again_changes_nothing(subject: &dyn Snapshots) {
    let encoding = content(5_000, 2);
    let hash = Hash::of(&encoding);
    subject.put(hash, &encoding).await;
    let first = subject.object(hash).await;
    assert!(first.is_some());
    for _ in 0..3 {
        subject.put(hash, &encoding).await;
        assert_eq!(subject.object(hash).await, first);
    }
    // A put also repairs a damaged object, on which the owner relies.
    subject.replace(hash, Some(Bytes::from_static(b"damage"))).await;
    subject.put(hash, &encoding).await;
    assert_eq!(subject.object(hash).await, first);
}

pub async fn r7_a_missing_object_is_reported_as_missing(subject: &dyn Snapshots) {
    let encoding = content(300, 3);
    let hash = Hash::of(&encoding);
    assert_eq!(subject.load(&ref_to(hash)).await, Err(Refused::Missing));
    subject.put(hash, &encoding).await;
    subject.replace(hash, None).await;
    assert_eq!(subject.load(&ref_to(hash)).await, Err(Refused::Missing));
    // A ref with a flipped bit in its hash names another object.
    subject.put(hash, &encoding).await;
    let mut flipped = hash;
    flipped.0[17] ^= 4;
    assert_eq!(subject.load(&ref_to(flipped)).await, Err(Refused::Missing));
}

pub async fn r7_an_object_that_does_not_match_its_name_is_never_loaded(subject: &dyn Snapshots) {
    let encoding = content(4_000, 4);
    let hash = Hash::of(&encoding);
    subject.put(hash, &encoding).await;
    let whole = subject.object(hash).await.expect("the snapshot was stored");
    let mut damaged: Vec<(String, Bytes)> = vec![
        ("another snapshot".into(), compress(&content(4_000, 5)).into()),
        ("not compressed".into(), encoding.clone().into()),
        ("longer than any content".into(), compress(&vec![0; 4 * limits::CONTENT_BYTES_MAX]).into()),
        ("twice".into(), [&whole[..], &whole[..]].concat().into()),
        ("followed by other bytes".into(), [&whole[..], b"rubbish"].concat().into()),
    ];
    for bytes in [0, 1, 4, whole.len() / 2, whole.len() - 1] {
        damaged.push((format!("cut after {bytes} bytes"), whole.slice(..bytes)));
    }
    for (what, data) in damaged {
        subject.replace(hash, Some(data)).await;
        assert_eq!(subject.load(&ref_to(hash)).await, Err(Refused::Damaged), "{what}");
    }
    // Flips single bits all over the object. A few bits of zstd's format have no meaning. If such a
    // bit is flipped, the object still decompresses to the same content.
    let bits = whole.len() * 8;
    let mut noticed = 0;
    for bit in (0..bits).step_by((bits / 60).max(1) | 1) {
        let mut data = whole.to_vec();
        data[bit / 8] ^= 1 << (bit % 8);
        subject.replace(hash, Some(data.into())).await;
        match subject.load(&ref_to(hash)).await {
            Ok((_, loaded)) => assert_eq!(loaded, encoding, "bit {bit}"),
            Err(refused) => {
                assert_eq!(refused, Refused::Damaged, "bit {bit}");
                noticed += 1;
            }
        }
    }
    assert!(noticed > 30, "only {noticed} flipped bits were noticed");
}
