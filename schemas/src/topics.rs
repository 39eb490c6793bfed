//! Topic names: `<world>.<generation>.<what>`. Offsets mean something only within a generation (section 4).

use std::sync::Arc;

/// The three topics of a world's generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// `CommandRecord`s, keyed and partitioned by chunk.
    pub commands: Arc<str>,
    /// `UpdatesRecord`s, with the same partitions.
    pub updates: Arc<str>,
    /// Raw bytes of what could not be decoded, one partition.
    pub dead_letter: Arc<str>,
}

impl Topics {
    /// The topics of a world's generation.
    #[must_use]
    pub fn new(world: &str, generation: u32) -> Self {
        let name = |what: &str| Arc::from(format!("{world}.{generation}.{what}"));
        Self { commands: name("commands"), updates: name("updates"), dead_letter: name("dead-letter") }
    }
}
