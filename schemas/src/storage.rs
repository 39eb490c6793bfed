//! Names in the object store (section 5).

use crate::{Hash, Partition};

/// The world spec with its revision.
pub const WORLD: &str = "world.json";

/// The index's key of the checkpoint. No chunk id starts with an exclamation mark.
pub const CHECKPOINT: &str = "!checkpoint";

/// `snapshots/<hh>/<64 hex>`: zstd(canonical encoding), named by the hash of the uncompressed encoding.
#[must_use]
pub fn snapshot(hash: Hash) -> String {
    let hex = hash.to_string();
    format!("snapshots/{}/{hex}", &hex[..2])
}

/// `index/<generation>/<partition>`: where the SlateDB database of a partition lives.
#[must_use]
pub fn index(generation: u32, partition: Partition) -> String {
    format!("index/{generation}/{partition}")
}
