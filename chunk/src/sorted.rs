//! A map in the order of its keys.
//!
//! The standard library's B-tree does the same, and finds a text among thousands in two thirds of the time; but each type of entry
//! brings 4 to 8 KB of it into the browser's core, and this 1 KB. Walking over all entries, as encoding and hashing a content does,
//! takes less than half as long here (docs/decisions/0011). Entries are in leaves of at most [`LEAF_MAX`], one after the other:
//! finding is two binary searches, and inserting and removing move one leaf's entries at most.

use std::borrow::Borrow;

/// Entries of a leaf.
const LEAF_MAX: usize = 64;

/// A map whose entries are in the order of their keys.
#[derive(Clone, Debug)]
pub struct SortedMap<K, V> {
    /// None is empty.
    leaves: Vec<Vec<(K, V)>>,
    len: usize,
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self { leaves: Vec::new(), len: 0 }
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// No entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In which leaf a key is or belongs, and where there.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> (usize, Result<usize, usize>)
    where
        K: Borrow<Q>,
    {
        let ends_before = |leaf: &Vec<(K, V)>| leaf.last().is_some_and(|(last, _)| last.borrow() < key);
        let leaf = self.leaves.partition_point(ends_before);
        // What is above all belongs to the end of the last leaf.
        let leaf = leaf.min(self.leaves.len().saturating_sub(1));
        let entries = self.leaves.get(leaf).map(Vec::as_slice).unwrap_or_default();
        (leaf, entries.binary_search_by(|(other, _)| other.borrow().cmp(key)))
    }

    /// A key's value.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (leaf, at) = self.find(key);
        at.ok().map(|at| &self.leaves[leaf][at].1)
    }

    /// A key's value, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (leaf, at) = self.find(key);
        at.ok().map(|at| &mut self.leaves[leaf][at].1)
    }

    /// Gives a key its value, and gives back the one that it had.
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
            // Who inserts in order leaves full leaves behind.
            Some(_) => self.leaves.insert(at_leaf + 1, vec![(key, value)]),
            None => self.leaves.push(vec![(key, value)]),
        }
        None
    }

    /// Takes a key out, and gives back the value that it had.
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

    /// Makes one leaf of this one and the next where they have no more than half a leaf of entries together: what is taken out and put
    /// in, in whatever order, takes no more than four times the room that it needs.
    fn merge(&mut self, at: usize) {
        let length = |at: usize| self.leaves.get(at).map_or(LEAF_MAX, Vec::len);
        if length(at) + length(at + 1) <= LEAF_MAX / 2 {
            let next = self.leaves.remove(at + 1);
            self.leaves[at].extend(next);
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.leaves.iter().flatten().map(|(key, value)| (key, value))
    }
}

/// Equal where the entries are: how they lie in leaves depends on the order in which they came.
impl<K: Ord, V: PartialEq> PartialEq for SortedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Ord, V: Eq> Eq for SortedMap<K, V> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Entries that there is room for.
    fn room<K, V>(map: &SortedMap<K, V>) -> usize {
        map.leaves.iter().map(Vec::capacity).sum()
    }

    fn check(map: &SortedMap<u16, u32>, like: &BTreeMap<u16, u32>) {
        assert_eq!(map.len(), like.len());
        assert_eq!(map.is_empty(), like.is_empty());
        assert!(map.iter().eq(like.iter()));
        assert!(map.leaves.iter().all(|leaf| (1..=LEAF_MAX).contains(&leaf.len())));
        assert!(room(map) <= 4 * (map.len() + LEAF_MAX), "{} entries take {}", map.len(), room(map));
    }

    #[test]
    fn in_order_it_is_full() {
        let mut map = SortedMap::new();
        for n in 0..10_000u32 {
            assert_eq!(map.insert(n, ()), None);
        }
        assert_eq!(map.leaves.len(), 10_000usize.div_ceil(LEAF_MAX));
        map.clear();
        assert!(map.is_empty() && map.get(&1).is_none() && map.remove(&1).is_none());
    }

    /// A leaf is filled, and all but one of its entries are taken out again, a thousand times.
    #[test]
    fn who_leaves_holes_gets_no_more_room() {
        let mut map = SortedMap::new();
        for leaf in 0..1_000 {
            let entries = (0..=LEAF_MAX).map(|n| leaf * 1_000 + n);
            entries.clone().for_each(|key| assert_eq!(map.insert(key, ()), None));
            entries.skip(1).for_each(|key| assert_eq!(map.remove(&key), Some(())));
        }
        assert_eq!(map.len(), 1_000);
        assert!(room(&map) <= 4 * (map.len() + LEAF_MAX), "{}", room(&map));
    }

    #[test]
    fn equal_is_who_has_the_same_entries() {
        let (mut up, mut down) = (SortedMap::new(), SortedMap::new());
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
        fn it_does_what_a_btree_does(steps in prop::collection::vec((0u16..400, any::<u32>(), 0u8..8), 0..2_000), range in 1u16..400) {
            let (mut map, mut like) = (SortedMap::new(), BTreeMap::new());
            for (key, value, what) in steps {
                let key = key % range;
                match what {
                    0..=3 => prop_assert_eq!(map.insert(key, value), like.insert(key, value)),
                    4..=5 => prop_assert_eq!(map.remove(&key), like.remove(&key)),
                    6 => prop_assert_eq!(map.get(&key), like.get(&key)),
                    _ => prop_assert_eq!(map.get_mut(&key), like.get_mut(&key)),
                }
            }
            check(&map, &like);
        }
    }
}
