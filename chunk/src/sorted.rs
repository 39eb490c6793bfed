//! A map in the order of its keys: the standard library's B-tree, or [`leaves::LeafMap`] in
//! browsers.
//!
//! Both have the same methods, and the same entries give the same walk, so that the choice cannot
//! be seen in a content's encoding. Servers take the faster look-up, browsers the smaller code
//! (docs/decisions/0014-maps-and-readers-by-hand.md).

pub mod leaves;

/// The sorted map of this target.
#[cfg(target_family = "wasm")]
pub type SortedMap<K, V> = leaves::LeafMap<K, V>;

/// The sorted map of this target.
#[cfg(not(target_family = "wasm"))]
pub type SortedMap<K, V> = std::collections::BTreeMap<K, V>;
