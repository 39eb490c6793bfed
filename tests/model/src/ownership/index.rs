//! The index of the partition: the durable refs and checkpoint, and the newest writer.

use super::log::{CHUNKS, Content, LogPosition};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Every command below this offset is decided, and the record of its decision is acknowledged.
    pub commands_next: u8,
    /// Every valid decision that no ref covers has an offset at or above this position.
    pub updates_low: LogPosition,
}

/// The ref of each chunk. In the model a ref is the content itself, because objects are immutable
/// and named by their hash (R7).
pub type Refs = [Content; CHUNKS];

/// The durable state of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Index {
    /// The newest owner that opened the index, counted from 1; 0 if none did, or if the index was
    /// put back to an older state since. The index refuses all other writers.
    pub writer: u8,
    pub epoch: u8,
    pub checkpoint: Checkpoint,
    pub refs: Refs,
}

/// A batch of refs and a checkpoint that an owner is writing to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    pub epoch: u8,
    pub checkpoint: Checkpoint,
    pub refs: [Option<Content>; CHUNKS],
    /// True if the batch is durable, although its writer may not know it yet.
    pub is_durable: bool,
}

impl Index {
    /// The index as an operator restores or copies it: no owner has it open.
    pub fn without_writer(self) -> Self {
        Self { writer: 0, ..self }
    }

    pub fn take(&mut self, batch: &Batch) {
        self.epoch = batch.epoch;
        self.checkpoint = batch.checkpoint;
        for (stored, newer) in self.refs.iter_mut().zip(batch.refs) {
            *stored = newer.unwrap_or(*stored);
        }
    }
}
