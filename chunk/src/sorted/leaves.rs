//! A sorted map for the browser's core.
//!
//! This map replaces the standard library's B-tree with less code. In the browser's core each type
//! of entry takes 1 KB, and with the B-tree 4 to 8 KB. A look-up takes longer than in the B-tree,
//! and a walk over all entries takes less time (docs/decisions/0014-maps-and-readers-by-hand.md).
//!
//! The entries are in consecutive vectors, called leaves, of at most [`LEAF_MAX`] entries each. A
//! look-up is two binary searches. Inserting and removing move the entries of one leaf at most.

use std::borrow::Borrow;

/// The largest number of entries in a leaf.
const LEAF_MAX: usize = 64;

/// A map whose entries are in the order of their keys.
#[derive(Clone, Debug)]
pub struct LeafMap<K, V> {
    /// The leaves in the order of their keys. No leaf is empty.
    leaves: Vec<Vec<(K, V)>>,
    len: usize,
}

impl<K, V> Default for LeafMap<K, V> {
    fn default() -> Self {
        Self { leaves: Vec::new(), len: 0 }
    }
}

impl<K: Ord, V> LeafMap<K, V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the map has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Finds the index of a key's leaf, and the key's index within that leaf. If the map does not
    /// have the key, the second result is `Err` with the index at which to insert it.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> (usize, Result<usize, usize>)
    where
        K: Borrow<Q>,
    {
        let ends_before = |leaf: &Vec<(K, V)>| leaf.last().is_some_and(|(last, _)| last.borrow() < key);
        let leaf = self.leaves.partition_point(ends_before);
        // A key above all others belongs at the end of the last leaf.
        let leaf = leaf.min(self.leaves.len().saturating_sub(1));
        let entries = self.leaves.get(leaf).map(Vec::as_slice).unwrap_or_default();
        (leaf, entries.binary_search_by(|(other, _)| other.borrow().cmp(key)))
    }

    /// A key's value; `None` if the map does not have the key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (leaf, at) = self.find(key);
        at.ok().map(|at| &self.leaves[leaf][at].1)
    }

    /// Whether the map has a key.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// A mutable reference to a key's value; `None` if the map does not have the key.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (leaf, at) = self.find(key);
        at.ok().map(|at| &mut self.leaves[leaf][at].1)
    }

    /// Sets a key's value, and returns the previous value if there was one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (at_leaf, at) = self.find(&key);
        let at = match at {
            Ok(at) => return Some(std::mem::replace(&mut self.leaves[at_leaf][at].1, value)),
            Err(at) => at,
        };
        self.len += 1;
        match self.leaves.get_mut(at_leaf) {
            Some(leaf) if leaf.len() < LEAF_MAX => leaf.insert(at, (key, value)),
            Some(leaf) if at < LEAF_MAX => {
                let mut rest = leaf.split_off(LEAF_MAX / 2);
                match at.checked_sub(LEAF_MAX / 2) {
                    Some(at) => rest.insert(at, (key, value)),
                    None => leaf.insert(at, (key, value)),
                }
                self.leaves.insert(at_leaf + 1, rest);
            }
            // The key belongs at the end of a full leaf. Put it into a new leaf instead of
            // splitting the full one, so that inserting in key order leaves full leaves behind.
            Some(_) => self.leaves.insert(at_leaf + 1, vec![(key, value)]),
            None => self.leaves.push(vec![(key, value)]),
        }
        None
    }

    /// Removes a key, and returns its value if the map had the key.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (at_leaf, at) = self.find(key);
        let leaf = self.leaves.get_mut(at_leaf)?;
        let (_, value) = leaf.remove(at.ok()?);
        self.len -= 1;
        if leaf.is_empty() {
            self.leaves.remove(at_leaf);
        }
        self.merge(at_leaf);
        self.merge(at_leaf.saturating_sub(1));
        Some(value)
    }

    /// Merges the leaf at index `at` and the next one if together they have at most half of
    /// [`LEAF_MAX`] entries. This bounds the memory: whatever the order of insertions and removals,
    /// the map takes at most four times the room that its entries need.
    fn merge(&mut self, at: usize) {
        let length = |at: usize| self.leaves.get(at).map_or(LEAF_MAX, Vec::len);
        if length(at) + length(at + 1) <= LEAF_MAX / 2 {
            let next = self.leaves.remove(at + 1);
            self.leaves[at].extend(next);
        }
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.leaves.iter().flatten().map(|(key, value)| (key, value))
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

/// Two maps are equal if their entries are equal. The leaves may differ, because they depend on the
/// order of insertion.
impl<K: Ord, V: PartialEq> PartialEq for LeafMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Ord, V: Eq> Eq for LeafMap<K, V> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The number of entries for which memory is allocated.
    fn room<K, V>(map: &LeafMap<K, V>) -> usize {
        map.leaves.iter().map(Vec::capacity).sum()
    }

    fn check(map: &LeafMap<u16, u32>, like: &BTreeMap<u16, u32>) {
        assert_eq!(map.len(), like.len());
        assert_eq!(map.is_empty(), like.is_empty());
        assert!(map.iter().eq(like.iter()));
        assert!(map.values().eq(like.values()));
        assert!(map.leaves.iter().all(|leaf| (1..=LEAF_MAX).contains(&leaf.len())));
        assert!(room(map) <= 4 * (map.len() + LEAF_MAX), "{} entries take {}", map.len(), room(map));
    }

    #[test]
    fn inserting_in_order_fills_the_leaves() {
        let mut map = LeafMap::new();
        for n in 0..10_000u32 {
            assert_eq!(map.insert(n, ()), None);
        }
        assert_eq!(map.leaves.len(), 10_000usize.div_ceil(LEAF_MAX));
        map.clear();
        assert!(map.is_empty() && map.get(&1).is_none() && map.remove(&1).is_none());
    }

    /// Fills a leaf and removes all but one of its entries again, a thousand times.
    #[test]
    fn removals_do_not_leave_nearly_empty_leaves() {
        let mut map = LeafMap::new();
        for leaf in 0..1_000 {
            let entries = (0..=LEAF_MAX).map(|n| leaf * 1_000 + n);
            entries.clone().for_each(|key| assert_eq!(map.insert(key, ()), None));
            entries.skip(1).for_each(|key| assert_eq!(map.remove(&key), Some(())));
        }
        assert_eq!(map.len(), 1_000);
        assert!(room(&map) <= 4 * (map.len() + LEAF_MAX), "{}", room(&map));
    }

    #[test]
    fn maps_with_the_same_entries_are_equal() {
        let (mut up, mut down) = (LeafMap::new(), LeafMap::new());
        for n in 0..200u32 {
            up.insert(n, n);
            down.insert(199 - n, 199 - n);
        }
        assert!(up == down);
        assert_ne!(up.leaves.len(), down.leaves.len());
        *down.get_mut(&7).unwrap() = 8;
        assert!(up != down);
        down.remove(&7);
        assert!(up != down);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_btree(steps in prop::collection::vec((0u16..400, any::<u32>(), 0u8..8), 0..2_000), range in 1u16..400) {
            let (mut map, mut like) = (LeafMap::new(), BTreeMap::new());
            for (key, value, what) in steps {
                let key = key % range;
                match what {
                    0..=3 => prop_assert_eq!(map.insert(key, value), like.insert(key, value)),
                    4..=5 => prop_assert_eq!(map.remove(&key), like.remove(&key)),
                    6 => {
                        prop_assert_eq!(map.get(&key), like.get(&key));
                        prop_assert_eq!(map.contains_key(&key), like.contains_key(&key));
                    }
                    _ => prop_assert_eq!(map.get_mut(&key), like.get_mut(&key)),
                }
            }
            check(&map, &like);
        }
    }
}
