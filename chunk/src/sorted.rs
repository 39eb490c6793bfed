//! A map in the order of its keys: the standard library's B-tree, or [`leaves::LeafMap`] in
//! browsers.
//!
//! Both have the same methods and return entries in the same order, so the encoding of a content
//! does not depend on the choice. Servers use the map with the faster look-up, and browsers the one
//! with the smaller code (docs/decisions/0014-maps-and-readers-by-hand.md).

pub mod leaves;

/// The sorted map for the platform that is compiled for.
#[cfg(target_family = "wasm")]
pub type SortedMap<K, V> = leaves::LeafMap<K, V>;

/// The sorted map for the platform that is compiled for.
#[cfg(not(target_family = "wasm"))]
pub type SortedMap<K, V> = std::collections::BTreeMap<K, V>;
