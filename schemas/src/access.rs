//! The claims of a checked token, and the rule that says which chunks the bearer may read and write
//! (docs/design.md#access).
//!
//! An entry that ends in `/` is a prefix of chunk ids, and any other entry is an exact chunk id.
//! The right to write implies the right to read. The services check signatures, expiry and key
//! files. This module has only the rule, so that the pure cores can apply it.

use crate::ChunkId;
use serde::{Deserialize, Serialize};

/// The claims of a token about its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user's name (`sub`).
    pub sub: String,
    /// The name of the token itself (the claim `jti`); `None` if the token has no such claim.
    pub jti: Option<String>,
    /// When the token expires (the claim `exp`), in seconds since the Unix epoch.
    pub expires_at: i64,
    /// The claim `driftless`.
    pub access: Access,
    /// The key with which the token's signature was checked.
    pub key: KeyNumber,
}

/// The number of a key with which tokens are checked. Each process numbers its keys itself. A key
/// keeps its number when its file is read again, and a process never uses a number for two keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyNumber(pub u64);

/// The claim `driftless`, which names the chunks that the bearer may read and write. A token whose
/// claim has an unknown key is refused. The key `world` of the claim is not a part of this type:
/// the verifier compares it with the id of the served world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Prefixes and chunk ids that the bearer may read.
    #[serde(default)]
    pub read: Vec<String>,
    /// Prefixes and chunk ids that the bearer may write and read.
    #[serde(default)]
    pub write: Vec<String>,
    /// The bearer's roles, which a model may use in its decisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

impl Access {
    /// Whether the bearer may read the chunk.
    #[must_use]
    pub fn may_read(&self, chunk: &ChunkId) -> bool {
        covers(&self.read, chunk) || self.may_write(chunk)
    }

    /// Whether the bearer may read all chunks of a family.
    #[must_use]
    pub fn may_read_family(&self, family: &str) -> bool {
        let all = |entry: &String| entry.strip_suffix('/') == Some(family);
        self.read.iter().any(all) || self.write.iter().any(all)
    }

    /// Whether the bearer may write the chunk.
    #[must_use]
    pub fn may_write(&self, chunk: &ChunkId) -> bool {
        covers(&self.write, chunk)
    }
}

fn covers(entries: &[String], chunk: &ChunkId) -> bool {
    entries.iter().any(|entry| match entry.ends_with('/') {
        true => chunk.as_str().starts_with(entry.as_str()),
        false => chunk.as_str() == entry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_makes_a_prefix_and_anything_else_is_exact() {
        let access = Access {
            read: vec!["canvas/".into()],
            write: vec!["canvas/0/".into(), "things/1/1".into()],
            roles: vec![],
        };
        let id = |text: &str| text.parse::<ChunkId>().unwrap();
        for (chunk, read, write) in [
            ("canvas/0/1", true, true),
            ("canvas/1/1", true, false),
            ("canvas/0/-1", true, true),
            ("canvas2/0/1", false, false),
            ("things/1/1", true, true),
            ("things/1/11", false, false),
        ] {
            assert_eq!((access.may_read(&id(chunk)), access.may_write(&id(chunk))), (read, write), "{chunk}");
        }
    }

    #[test]
    fn a_whole_family_is_covered_by_its_own_prefix_only() {
        let access = Access {
            read: vec!["canvas/".into(), "maps/0/".into(), "notes".into()],
            write: vec!["things/".into()],
            roles: vec![],
        };
        let families = ["canvas", "things", "maps", "notes", "can", ""].map(|family| access.may_read_family(family));
        assert_eq!(families, [true, true, false, false, false, false]);
    }

    #[test]
    fn an_unknown_key_denies() {
        assert!(serde_json::from_str::<Access>(r#"{"read": ["a/"], "admin": true}"#).is_err());
    }
}
