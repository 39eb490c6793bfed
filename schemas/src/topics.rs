//! Topic names: `<world>.<generation>.<topic>` (docs/design.md#topics). Offsets mean something only
//! within one generation.

use std::sync::Arc;

/// The three topics of a world's generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Holds `CommandRecord`s, keyed and partitioned by chunk.
    pub commands: Arc<str>,
    /// Holds `UpdatesRecord`s, in the same number of partitions as `commands`.
    pub updates: Arc<str>,
    /// Holds the raw bytes of records that could not be decoded, in one partition.
    pub dead_letter: Arc<str>,
}

impl Topics {
    /// Names the topics of one generation of a world.
    #[must_use]
    pub fn new(world: &str, generation: u32) -> Self {
        let name = |what: &str| Arc::from(format!("{world}.{generation}.{what}"));
        Self { commands: name("commands"), updates: name("updates"), dead_letter: name("dead-letter") }
    }
}
