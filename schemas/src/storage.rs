//! Names in the object store (docs/design.md#object-store).

use crate::{ChunkId, Hash, Offset, Partition};

/// The key of the object that holds the world spec with its revision.
pub const WORLD: &str = "world.json";

/// The key of the checkpoint in the index. No chunk id starts with an exclamation mark.
pub const CHECKPOINT: &str = "!checkpoint";

/// The key of a snapshot, `snapshots/<hh>/<64 hex>`. The object is a canonical encoding, compressed
/// with zstd. Its name is the hash of the uncompressed encoding.
#[must_use]
pub fn snapshot(hash: Hash) -> String {
    let hex = hash.to_string();
    format!("snapshots/{}/{hex}", &hex[..2])
}

/// The folder of a partition's SlateDB database, `index/<generation>/<partition>`.
#[must_use]
pub fn index(generation: u32, partition: Partition) -> String {
    format!("index/{generation}/{partition}")
}

/// The folder of the notes about model calls that never returned,
/// `unanswered/<generation>/<partition>`.
///
/// Each note is an empty object. Its name is an offset of `commands` if the call decided a command,
/// and a chunk id if the call encoded a content.
#[must_use]
pub fn unanswered(generation: u32, partition: Partition) -> String {
    format!("unanswered/{generation}/{partition}")
}

/// The key of an empty object that a process stores for a moment at its start, to compare its clock
/// with the store's: `clock/<16 hex>`.
#[must_use]
pub fn clock(id: u64) -> String {
    format!("clock/{id:016x}")
}

/// A call of a model that never returned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unanswered {
    /// The call decided the command at this offset of `commands`.
    Command(Offset),
    /// The call encoded the content of this chunk.
    Chunk(ChunkId),
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command(offset) => write!(f, "{offset}"),
            Self::Chunk(chunk) => write!(f, "{chunk}"),
        }
    }
}

impl std::str::FromStr for Unanswered {
    type Err = crate::ChunkIdError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.parse() {
            Ok(offset) => Ok(Self::Command(Offset(offset))),
            Err(_) => Ok(Self::Chunk(name.parse()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_unanswered_call_is_read_as_it_was_written() {
        for call in [Unanswered::Command(Offset(12)), Unanswered::Chunk("canvas/0/-1".parse().unwrap())] {
            assert_eq!(call.to_string().parse(), Ok(call));
        }
        assert!("..".parse::<Unanswered>().is_err());
    }
}
