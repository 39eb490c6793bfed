//! Measures how long the steps of an ownership's beginning take. The result is one log line per
//! ownership, and a histogram of the whole time.

use driftless_schemas::{Epoch, Partition};
use metrics::histogram;
use std::time::{Duration, Instant};

/// The times of one ownership's steps, measured from the assignment of the partition.
pub(crate) struct Beginning {
    partition: Partition,
    epoch: Epoch,
    assigned: Instant,
    claimed: Duration,
    fenced: Duration,
    /// The number of records of `updates` that recovery has read.
    records: usize,
}

impl Beginning {
    /// Starts measuring: the partition was assigned now.
    pub fn new(partition: Partition) -> Self {
        Self {
            partition,
            epoch: Epoch(0),
            assigned: Instant::now(),
            claimed: Duration::ZERO,
            fenced: Duration::ZERO,
            records: 0,
        }
    }

    /// Notes that the index is open and the epoch is durable.
    pub fn claimed(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.claimed = self.assigned.elapsed();
    }

    /// Notes that the log has acknowledged the fence.
    pub fn fenced(&mut self) {
        self.fenced = self.assigned.elapsed();
    }

    /// Notes that recovery has read this many records of `updates`.
    pub fn read(&mut self, records: usize) {
        self.records += records;
    }

    /// Notes that recovery has read `updates` up to the own fence, and reports the times.
    pub fn recovered(&self) {
        let recovered = self.assigned.elapsed();
        histogram!("driftless_replayer_takeover_seconds").record(recovered.as_secs_f64());
        tracing::info!(
            partition = self.partition.0,
            epoch = self.epoch.0,
            records = self.records,
            claimed_ms = ms(self.claimed),
            fenced_ms = ms(self.fenced),
            recovered_ms = ms(recovered),
            "deciding"
        );
    }

    /// Logs that the first record after the fence was given to the producer.
    pub fn decided(&self) {
        tracing::debug!(partition = self.partition.0, decided_ms = ms(self.assigned.elapsed()), "first decision");
    }
}

/// Converts a duration to milliseconds, rounded to tenths.
fn ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}
