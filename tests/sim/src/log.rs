//! The simulation's log. It keeps the promises that Kafka makes and no others.
//!
//! A record that lands is added to the end of its partition and keeps its offset for ever.
//! Retention may delete records at the start. The simulation decides whether and when a record
//! lands, and whether its producer gets an acknowledgement (see `replayer::producer`).

use bytes::Bytes;
use driftless_schemas::{Offset, Partition};

/// A record whose producer is gone and that may still land in the log, as partition, key and value.
pub type OrphanRecord = (Partition, Bytes, Bytes);

/// A record of one partition.
#[derive(Clone, Debug)]
pub struct Record {
    /// The record's Kafka key.
    pub key: Bytes,
    /// The record's value.
    pub value: Bytes,
}

/// A partition of a topic.
#[derive(Debug, Default)]
pub struct PartitionLog {
    low: usize,
    records: Vec<Record>,
    /// How often the partition has lost records at its end. Kafka tells a reader of an older state
    /// that its offset is not the log's any more.
    losses: u32,
}

/// A copy of a record in the topic `dead-letter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The partition of `commands` that holds the original record.
    pub partition: Partition,
    /// The offset of the original record in this partition.
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

    /// True if a topic has lost records of the partition.
    #[must_use]
    pub fn has_lost_records(&self, partition: Partition) -> bool {
        [&self.commands, &self.updates].iter().any(|topic| topic[partition.0 as usize].losses > 0)
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

    /// The record at an offset, even if retention has deleted it. Only oracles may use this.
    #[must_use]
    pub fn get(&self, offset: Offset) -> Option<&Record> {
        self.records.get(usize::try_from(offset.0).ok()?)
    }

    /// Returns up to `count` records, beginning at offset `from`. Returns `None` if retention
    /// deleted this offset or if it is beyond the end.
    #[must_use]
    pub fn read(&self, from: Offset, count: usize) -> Option<Vec<(Offset, Bytes)>> {
        let from = usize::try_from(from.0).ok().filter(|from| *from >= self.low)?;
        let records = self.records.get(from..)?.iter().take(count).zip(from..);
        Some(records.map(|(record, offset)| (Offset(offset as i64), record.value.clone())).collect())
    }

    /// Injects a fault: the records from offset `end` on are gone. If `end` is 0, the topic was
    /// made anew, so retention has deleted nothing of it.
    pub fn lose_from(&mut self, end: Offset) {
        self.records.truncate(usize::try_from(end.0).unwrap_or(0));
        self.low = self.low.min(self.records.len());
        if end == Offset(0) {
            self.low = 0;
        }
        self.losses += 1;
    }

    /// How often the partition has lost records at its end.
    #[must_use]
    pub fn losses(&self) -> u32 {
        self.losses
    }

    /// Applies retention: deletes all records below the offset `low`.
    pub fn cut(&mut self, low: Offset) {
        self.low = self.low.max(usize::try_from(low.0).unwrap_or(0)).min(self.records.len());
    }
}
