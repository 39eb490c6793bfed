//! A replica: a chunk's content at a version, with its hash. Replayer, gateway and client use this
//! code (R10).

use crate::model::{AnyModel, Content, Fault};
use driftless_schemas::{ChunkId, Hash, Version, format, proto};
use std::borrow::Cow;
use std::sync::Arc;

/// A chunk's content, version and hash, advanced by effects.
#[derive(Clone)]
pub struct Replica {
    model: Arc<dyn AnyModel>,
    content: Content,
    version: Version,
    /// The hash of `content` and the length of its encoding in bytes; `None` if they are not
    /// computed since the last change.
    hash: Option<(Hash, usize)>,
}

/// The reason why updates cannot be applied. The replica must not be used after
/// [`ApplyError::Fold`] or [`ApplyError::Hash`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Updates are missing between the replica's version and the first update.
    #[error("updates from version {first} on, but the replica is at {version}")]
    Gap {
        /// The replica's version.
        version: Version,
        /// The first version in the updates.
        first: Version,
    },
    /// The model cannot read a canonical encoding.
    #[error("content of version {version}: {fault}")]
    Content {
        /// The version of the content.
        version: Version,
        /// The model's message.
        fault: Fault,
    },
    /// The model cannot use an effect.
    #[error("effect of version {version}: {fault}")]
    Fold {
        /// The version that the effect leads to.
        version: Version,
        /// The model's message.
        fault: Fault,
    },
    /// The content differs from the content of the owner that decided the updates (R10).
    #[error("at version {version} the hash is {found}, but should be {expected}")]
    Hash {
        /// The version at which the two differ.
        version: Version,
        /// The log's hash.
        expected: Hash,
        /// The replica's hash.
        found: Hash,
    },
    /// The updates or the stored state have an invalid format.
    #[error(transparent)]
    Format(#[from] format::Error),
}

impl Replica {
    /// Makes the replica of a chunk at version 0, to which no command was committed yet.
    #[must_use]
    pub fn initial(model: Arc<dyn AnyModel>, chunk: &ChunkId) -> Self {
        let content = model.initial(chunk);
        Self { model, content, version: Version(0), hash: None }
    }

    /// Makes a replica from a canonical encoding, after verifying that the encoding has the given
    /// hash (R7).
    ///
    /// # Errors
    /// [`ApplyError::Hash`] if the bytes have another hash; [`ApplyError::Content`] if the model
    /// cannot read them.
    pub fn restore(
        model: Arc<dyn AnyModel>,
        encoding: &[u8],
        version: Version,
        hash: Hash,
    ) -> Result<Self, ApplyError> {
        let found = Hash::of(encoding);
        if found != hash {
            return Err(ApplyError::Hash { version, expected: hash, found });
        }
        let content = model.decode(encoding).map_err(|fault| ApplyError::Content { version, fault })?;
        Ok(Self { model, content, version, hash: Some((hash, encoding.len())) })
    }

    /// The version: the number of commands that were committed to the chunk so far.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The state hash. It is computed at the first call after a change, and cached.
    pub fn hash(&mut self) -> Hash {
        self.hash_and_length().0
    }

    /// The length of the canonical encoding, in bytes; computed together with the hash.
    pub fn encoded_bytes(&mut self) -> usize {
        self.hash_and_length().1
    }

    fn hash_and_length(&mut self) -> (Hash, usize) {
        *self.hash.get_or_insert_with(|| {
            let encoding = self.model.encode(&self.content);
            (Hash::of(&encoding), encoding.len())
        })
    }

    /// Computes the state hash again from the content, because memory may have changed since the
    /// last time (R10).
    pub fn hash_again(&mut self) -> Hash {
        self.hash = None;
        self.hash()
    }

    /// The canonical encoding.
    #[must_use]
    pub fn encoding(&self) -> Cow<'_, [u8]> {
        self.model.encode(&self.content)
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<dyn AnyModel> {
        &self.model
    }

    /// Advances to a later version without changing the content. Used when commits were lost and an
    /// operator has accepted the loss. The versions of the lost commits are never used again, so
    /// the replica must skip them.
    pub fn skip_to(&mut self, version: Version) {
        self.version = self.version.max(version);
    }

    /// Flips a bit of the content as bad memory would, without changing the version or the cached
    /// hash. This shows that drift is found and healed (R10). Returns false if no flipped bit gives
    /// a valid content. Only the debug build of `driftless dev` and the browser's SDK offer this
    /// function.
    pub fn damage(&mut self) -> bool {
        self.hash();
        let encoding = self.encoding().into_owned();
        let flipped = (0..encoding.len()).rev().find_map(|at| {
            let mut bytes = encoding.clone();
            bytes[at] ^= 1;
            self.model.decode(&bytes).ok()
        });
        let Some(content) = flipped else { return false };
        self.content = content;
        true
    }

    /// Folds one effect into the content, and increments the version.
    ///
    /// # Errors
    /// The model's [`Fault`] if it cannot use the effect.
    pub fn fold(&mut self, effect: &[u8]) -> Result<(), Fault> {
        self.model.fold(&mut self.content, effect)?;
        self.version = self.version.next();
        self.hash = None;
        Ok(())
    }

    /// Applies updates and returns the number of new entries.
    ///
    /// Entries that the replica already has are skipped one by one. The updates contain the hash
    /// after their last entry. The replica's hash is compared with that hash, unless the replica's
    /// version is already higher.
    ///
    /// # Errors
    /// [`ApplyError`]. After [`ApplyError::Gap`] or [`ApplyError::Format`] the replica is
    /// unchanged.
    pub fn apply(&mut self, updates: &proto::Updates) -> Result<usize, ApplyError> {
        let (fresh, published) = self.apply_effects(updates)?;
        if let Some(expected) = published {
            self.compare(expected)?;
        }
        Ok(fresh)
    }

    /// Compares the replica's hash with another component's hash of the same version (R10).
    ///
    /// # Errors
    /// [`ApplyError::Hash`].
    pub fn compare(&mut self, expected: Hash) -> Result<(), ApplyError> {
        match self.hash() {
            found if found == expected => Ok(()),
            found => Err(ApplyError::Hash { version: self.version, expected, found }),
        }
    }

    /// Applies updates like [`Replica::apply`], but without comparing the hash: after many updates
    /// in a row one comparison is enough. Returns the number of new entries, and the log's hash of
    /// the replica's version if the last entry is exactly that version.
    ///
    /// # Errors
    /// [`ApplyError`] other than [`ApplyError::Hash`].
    pub fn apply_effects(&mut self, updates: &proto::Updates) -> Result<(usize, Option<Hash>), ApplyError> {
        self.apply_each(updates, |_, _, _| {})
    }

    /// Applies updates like [`Replica::apply_effects`], and calls `before` with each new entry and
    /// the content that the entry is about to be folded into.
    ///
    /// # Errors
    /// [`ApplyError`] other than [`ApplyError::Hash`].
    pub fn apply_each(
        &mut self,
        updates: &proto::Updates,
        mut before: impl FnMut(&dyn AnyModel, &Content, &proto::Entry),
    ) -> Result<(usize, Option<Hash>), ApplyError> {
        let expected = Hash::from_slice(&updates.state_hash).ok_or_else(|| {
            format::field("Updates", "state_hash", format!("{} bytes instead of 32", updates.state_hash.len()))
        })?;
        if updates.first_version == 0 || updates.entries.is_empty() {
            return Err(format::field("Updates", "entries", "the first version is 0, or there are no entries").into());
        }
        if updates.first_version > self.version.next().0 {
            return Err(ApplyError::Gap { version: self.version, first: Version(updates.first_version) });
        }
        // There is no gap: the first version is at most the replica's plus 1.
        let known = self.version.next().0 - updates.first_version;
        let skip = usize::try_from(known).unwrap_or(usize::MAX);
        let fresh = updates.entries.get(skip..).unwrap_or_default();
        for entry in fresh {
            before(self.model.as_ref(), &self.content, entry);
            self.fold(&entry.effect).map_err(|fault| ApplyError::Fold { version: self.version.next(), fault })?;
        }
        let last = updates.first_version.saturating_add(updates.entries.len() as u64 - 1);
        Ok((fresh.len(), (last == self.version.0).then_some(expected)))
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replica(version {}, hash {:?})", self.version, self.hash.map(|(hash, _)| hash))
    }
}
