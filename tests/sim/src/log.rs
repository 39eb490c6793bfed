//! The simulation's log, which keeps Kafka's promises and no more.
//!
//! A record lands at the end of its partition and keeps its offset for ever. Retention may delete
//! records at the start. The simulation decides whether and when a record lands, and whether its
//! producer learns of it: see `replayer::producer`.

use bytes::Bytes;
use driftless_schemas::{Offset, Partition};

/// A record of one partition.
#[derive(Clone, Debug)]
pub struct Record {
    /// The Kafka key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

/// A partition of a topic.
#[derive(Debug, Default)]
pub struct PartitionLog {
    low: usize,
    records: Vec<Record>,
}

/// A copy in `dead-letter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The record's partition of `commands`.
    pub partition: Partition,
    /// The record's offset in this partition.
    pub offset: Offset,
}

/// All topics of the world.
#[derive(Debug)]
pub struct Log {
    /// The partitions of `commands`.
    pub commands: Vec<PartitionLog>,
    /// The partitions of `updates`.
    pub updates: Vec<PartitionLog>,
    /// The only partition of `dead-letter`.
    pub dead_letters: Vec<DeadLetter>,
}

impl Log {
    /// Empty topics.
    #[must_use]
    pub fn new(partitions: i32) -> Self {
        let topic = || (0..partitions).map(|_| PartitionLog::default()).collect();
        Self { commands: topic(), updates: topic(), dead_letters: Vec::new() }
    }
}

impl PartitionLog {
    /// Appends a record and returns its offset.
    pub fn append(&mut self, key: Bytes, value: Bytes) -> Offset {
        self.records.push(Record { key, value });
        Offset(self.records.len() as i64 - 1)
    }

    /// The offset of the next record.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset(self.records.len() as i64)
    }

    /// The first offset that retention has not deleted.
    #[must_use]
    pub fn low(&self) -> Offset {
        Offset(self.low as i64)
    }

    /// The record at an offset, even if retention deleted it: for oracles.
    #[must_use]
    pub fn get(&self, offset: Offset) -> Option<&Record> {
        self.records.get(usize::try_from(offset.0).ok()?)
    }

    /// At most `count` records from an offset on; `None` if the offset is out of range, that is
    /// deleted or beyond the end.
    #[must_use]
    pub fn read(&self, from: Offset, count: usize) -> Option<Vec<(Offset, Bytes)>> {
        let from = usize::try_from(from.0).ok().filter(|from| *from >= self.low)?;
        let records = self.records.get(from..)?.iter().take(count).zip(from..);
        Some(records.map(|(record, offset)| (Offset(offset as i64), record.value.clone())).collect())
    }

    /// Retention deletes all records below that offset.
    pub fn cut(&mut self, low: Offset) {
        self.low = self.low.max(usize::try_from(low.0).unwrap_or(0)).min(self.records.len());
    }
}
