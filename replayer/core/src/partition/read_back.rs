//! Reads `updates` back while the owner runs, to learn whether the own records count (R4).
//!
//! The owner reads back in two cases. An acknowledgement has left a gap
//! ([`RecordTrail`](crate::trail::RecordTrail)). Or the owner is idle: with no record of its own on
//! the way, no acknowledgement would show that another process writes. So an owner learns within
//! about a second that it was replaced (docs/decisions/0016). An owner that is busy and alone reads
//! nothing back.

use super::{PartitionCore, Phase};
use crate::messages::{End, Output};
use crate::recovered::read_record;
use crate::trail::ReadBack;
use bytes::Bytes;
use driftless_schemas::Offset;
use driftless_schemas::time::MonotonicMs;

/// An owner without records in flight reads back after this time. Owners with a few edits a second
/// need not begin and end a reading for each of them.
const IDLE_MS: u64 = 500;

/// The reading back of one ownership.
#[derive(Default)]
pub(super) struct ReadingBack {
    is_reading: bool,
    /// Since when no record is in flight; `None` while one is.
    idle_since: Option<MonotonicMs>,
}

impl PartitionCore {
    pub(super) fn take_read_back(&mut self, records: Vec<(Offset, Bytes)>) {
        for (offset, value) in records {
            let record = match read_record(value.clone()) {
                Ok(record) => record,
                Err(reason) => return self.end(End::Unreadable { offset, reason }),
            };
            match self.trail.read_back(offset, &value, &record) {
                Ok(ReadBack::Own) => {}
                Ok(ReadBack::Foreign) => self.stats.foreign_records += 1,
                Err(end) => return self.end(end),
            }
        }
        self.settle();
    }

    /// Takes the records that are certain to count now, and begins or ends a reading.
    pub(super) fn settle(&mut self) {
        match self.trail.settle() {
            Ok(commands) => commands.into_iter().for_each(|part| self.progress.done(part)),
            Err(end) => return self.end(end),
        }
        match (self.trail.is_uncertain(), self.reading_back.is_reading) {
            (true, false) => self.begin_read_back(),
            (false, true) if !self.trail.is_acknowledged_to_the_end() => self.end_read_back(),
            _ => {}
        }
    }

    /// Begins to read back if the owner has been idle for long enough.
    pub(super) fn watch_while_idle(&mut self, now: MonotonicMs) {
        if !self.trail.is_acknowledged_to_the_end() {
            self.reading_back.idle_since = None;
            return;
        }
        let since = *self.reading_back.idle_since.get_or_insert(now);
        let is_busy = self.reading_back.is_reading || self.histories.is_reading();
        if !is_busy && now.ms_since(since) >= IDLE_MS {
            self.begin_read_back();
        }
    }

    /// Ends a reading that only watched the idle log, because a record of this owner follows.
    pub(super) fn end_watch(&mut self) {
        if self.reading_back.is_reading && !self.trail.is_uncertain() {
            self.end_read_back();
        }
    }

    fn begin_read_back(&mut self) {
        if matches!(self.phase, Phase::Recovering | Phase::Ended) {
            return;
        }
        self.interrupt_history();
        self.reading_back.is_reading = true;
        self.outputs.push_back(Output::ReadBack(self.trail.known().offset));
    }

    fn end_read_back(&mut self) {
        self.reading_back.is_reading = false;
        self.outputs.push_back(Output::EndReadBack);
    }

    pub(super) fn is_reading_back(&self) -> bool {
        self.reading_back.is_reading
    }
}
