//! The stored states of one chunk, as its owner knows them.
//!
//! The refs differ from an index entry in one point: an entry must name a newest state, and the
//! refs may have none. That is so if nothing was stored yet, or if a check has shown that the
//! newest state is wrong. The owner then stores a good state first, before it writes an entry.

use driftless_schemas::stored::{IndexEntry, StoredRef};
use driftless_schemas::{Hash, Version, limits};

/// The refs of a chunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refs {
    /// The newest stored state with its ledger; `None` if there is no state to begin with.
    pub newest: Option<StoredRef>,
    /// Older states, newest first, without ledgers.
    pub older: Vec<StoredRef>,
}

impl Refs {
    /// All refs, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &StoredRef> {
        self.newest.iter().chain(&self.older)
    }

    /// Returns the index entry with `newest` in front of the known refs. The ledgers of older refs
    /// are dropped, because owners decide commands with the newest state only.
    pub fn entry_with(&self, newest: StoredRef) -> IndexEntry {
        let older = self.iter().filter(|stored| stored.version != newest.version);
        let without_ledger = |stored: &StoredRef| StoredRef { ledger: None, ..stored.clone() };
        let older = older.take(limits::OLDER_REFS_MAX).map(without_ledger).collect();
        IndexEntry { newest, older }
    }

    /// Forgets the states with a version above `base`, because they may contain the error that a
    /// check has found.
    pub fn drop_above(&mut self, base: Version) {
        self.older.retain(|older| older.version <= base);
        self.newest = self.newest.take().filter(|newest| newest.version <= base);
    }
}

impl From<IndexEntry> for Refs {
    fn from(entry: IndexEntry) -> Self {
        Self { newest: Some(entry.newest), older: entry.older }
    }
}

/// The version of the newest state of an entry, and the hash that its ref names.
pub(crate) fn newest_of(entry: &IndexEntry) -> (Version, Hash) {
    (entry.newest.version, entry.newest.hash)
}
