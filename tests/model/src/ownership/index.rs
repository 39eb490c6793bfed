//! The index: what is durable of refs and checkpoint, and which writer is the newest.

use super::log::{CHUNKS, Content, Place};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Every command below it is decided and its decision acknowledged.
    pub commands_next: u8,
    /// Every valid decision that no ref covers stands at or above it.
    pub updates_low: Place,
}

/// A ref is the content itself: objects are immutable and named by their hash (R7).
pub type Refs = [Content; CHUNKS];

/// What is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Index {
    /// The newest owner that opened it, counted from 1: everybody else's writes are refused.
    pub writer: u8,
    pub epoch: u8,
    pub checkpoint: Checkpoint,
    pub refs: Refs,
}

/// A batch of refs and checkpoint on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    pub epoch: u8,
    pub checkpoint: Checkpoint,
    pub refs: [Option<Content>; CHUNKS],
    /// It is durable; its writer may not know it yet.
    pub is_durable: bool,
}

impl Index {
    pub fn take(&mut self, batch: &Batch) {
        self.epoch = batch.epoch;
        self.checkpoint = batch.checkpoint;
        for (stored, newer) in self.refs.iter_mut().zip(batch.refs) {
            *stored = newer.unwrap_or(*stored);
        }
    }
}
