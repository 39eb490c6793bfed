//! Integration tests need servers or a browser besides Rust. Each package declares the needs of its
//! test suites in its manifest:
//!
//! ```toml
//! [package.metadata.driftless.needs]
//! store_s3 = ["s3"]
//! ```
//!
//! `cargo xtask test --quick` leaves out the suites with needs. A full run fails if no suite that
//! needs Kafka ran a test.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A server or a program that a test suite needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Kafka,
    S3,
    Browser,
}

/// A test suite: one file or folder in the `tests/` of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrationTest {
    pub name: String,
    pub needs: Vec<Need>,
}

impl Need {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "kafka" => Some(Self::Kafka),
            "s3" => Some(Self::S3),
            "browser" => Some(Self::Browser),
            _ => None,
        }
    }
}

/// Adds to each suite the needs that the manifest declares; `metadata` is Cargo's view of them.
/// Fails if a declaration names an unknown suite or need.
pub fn declared(names: Vec<String>, metadata: &Value) -> Result<Vec<IntegrationTest>> {
    let declared = &metadata["driftless"]["needs"];
    if let Some(unknown) = declared.as_object().into_iter().flatten().find(|(suite, _)| !names.contains(suite)) {
        bail!("package.metadata.driftless.needs names {}, but tests/ has no such suite", unknown.0);
    }
    let needs_of = |name: &str| -> Result<Vec<Need>> {
        let words = declared[name].as_array().into_iter().flatten();
        let need = |word: &Value| word.as_str().and_then(Need::parse);
        words.map(|word| need(word).with_context(|| format!("{name} needs {word}: use kafka, s3 or browser"))).collect()
    };
    names.into_iter().map(|name| Ok(IntegrationTest { needs: needs_of(&name)?, name })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(needs: &Value) -> Result<Vec<IntegrationTest>> {
        declared(vec!["log_kafka".into(), "log_memory".into()], &json!({ "driftless": { "needs": needs } }))
    }

    #[test]
    fn a_suite_without_a_declaration_needs_nothing() {
        let suites = read(&json!({ "log_kafka": ["kafka", "s3"] })).unwrap();
        assert_eq!(suites[0].needs, [Need::Kafka, Need::S3]);
        assert!(suites[1].needs.is_empty());
        let all = declared(vec!["log_memory".into()], &Value::Null).unwrap();
        assert!(all[0].needs.is_empty());
    }

    #[test]
    fn a_misspelt_declaration_is_an_error() {
        let suite = read(&json!({ "log_kafak": ["kafka"] })).unwrap_err().to_string();
        assert!(suite.contains("log_kafak"), "{suite}");
        let need = read(&json!({ "log_kafka": ["kafak"] })).unwrap_err().to_string();
        assert!(need.contains("kafak") && need.contains("kafka, s3 or browser"), "{need}");
    }
}
