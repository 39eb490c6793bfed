//! Chunk ids: `<family>/<coordinate>[/<coordinate>[/<coordinate>]]`, such as `canvas/0/-1`.
//!
//! An id is used as a key in Kafka, in ledgers and in the index, so every id has exactly one
//! spelling. A plus sign, a leading zero and `-0` are not allowed.

use crate::{Quoted, limits};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A checked chunk id. Cloning it is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(Arc<str>);

/// The reason why a text is not a chunk id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is no chunk id: {problem}; one looks like canvas/0/-1", Quoted(id))]
pub struct ChunkIdError {
    /// The text, cut to a readable length.
    pub id: String,
    /// The fault in it.
    pub problem: &'static str,
}

impl ChunkId {
    /// Makes an id from a family's name and 1 to 3 coordinates.
    ///
    /// # Errors
    /// If the name is invalid, or the number of coordinates is out of range.
    pub fn new(family: &str, coordinates: &[i32]) -> Result<Self, ChunkIdError> {
        let mut id = family.to_owned();
        for coordinate in coordinates {
            id.push('/');
            id.push_str(&coordinate.to_string());
        }
        id.parse()
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The family's name: the part of the id before the first slash.
    #[must_use]
    pub fn family(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The coordinates, of which there are 1 to 3.
    pub fn coordinates(&self) -> impl Iterator<Item = i32> + '_ {
        // The id was checked when it was made, so `filter_map` drops nothing.
        self.0.split('/').skip(1).filter_map(|c| c.parse().ok())
    }

    /// The Kafka key (R1): the id itself, or with `region = n` the id with its coordinates shifted
    /// right by n bits.
    #[must_use]
    pub fn partition_key(&self, region: u32) -> String {
        if region == 0 {
            return self.0.to_string();
        }
        let mut key = self.family().to_owned();
        for coordinate in self.coordinates() {
            key.push('/');
            key.push_str(&(coordinate >> region.min(31)).to_string());
        }
        key
    }
}

/// Whether a text is a valid name of at most `length_max` bytes: a lower-case letter, then
/// lower-case letters, digits, `_` and `-`.
pub(crate) fn is_name(text: &str, length_max: usize) -> bool {
    text.len() <= length_max
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn is_coordinate(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = match digits.as_bytes() {
        [b'0'] => text == "0",
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    canonical && text.parse::<i32>().is_ok()
}

impl FromStr for ChunkId {
    type Err = ChunkIdError;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let refuse = |problem| ChunkIdError { id: id.chars().take(80).collect(), problem };
        if id.len() > limits::CHUNK_ID_BYTES_MAX {
            return Err(refuse("it is too long"));
        }
        let mut parts = id.split('/');
        if !is_name(parts.next().unwrap_or_default(), limits::FAMILY_NAME_BYTES_MAX) {
            return Err(refuse("the family's name must be a-z, then a-z, 0-9, _ or -, 32 at most"));
        }
        let mut count = 0;
        for part in parts {
            count += 1;
            if !is_coordinate(part) {
                return Err(refuse("a coordinate must be a whole number of 32 bits without plus sign or leading zero"));
            }
        }
        if !(1..=limits::COORDINATES_MAX).contains(&count) {
            return Err(refuse("it must have 1 to 3 coordinates"));
        }
        Ok(Self(id.into()))
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_exactly_one_spelling() {
        for good in ["canvas/0/-1", "a/0", "blocks_2/-2147483648/2147483647/5"] {
            assert_eq!(good.parse::<ChunkId>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "canvas",
            "canvas/",
            "canvas/+1",
            "canvas/01",
            "canvas/-0",
            "canvas/1/2/3/4",
            "canvas/2147483648",
            "Canvas/1",
            "can vas/1",
            "canvas/1/",
            "/1",
            "canvas/١",
            "canvas/1\n",
            "canvas/--1",
            "canvas/-",
            "1c/1",
        ] {
            assert!(bad.parse::<ChunkId>().is_err(), "{bad:?}");
        }
        assert!(format!("{}/1", "a".repeat(33)).parse::<ChunkId>().is_err());
    }

    #[test]
    fn r1_a_region_key_shifts_coordinates_towards_minus_infinity() {
        let key = |id: &str, region| id.parse::<ChunkId>().unwrap().partition_key(region);
        assert_eq!(key("canvas/0/-1", 0), "canvas/0/-1");
        assert_eq!(key("canvas/0/-1", 2), "canvas/0/-1");
        assert_eq!(key("canvas/7/-5", 2), "canvas/1/-2");
        assert_eq!(key("canvas/7/-5", 99), "canvas/0/-1");
    }
}
