//! How an ownership begins, step by step, to see where the time goes: one log line per ownership,
//! and a histogram of the whole.

use driftless_schemas::{Epoch, Partition};
use metrics::histogram;
use std::time::{Duration, Instant};

/// The steps of a beginning, as durations since the partition was assigned.
pub(crate) struct Beginning {
    partition: Partition,
    epoch: Epoch,
    assigned: Instant,
    claimed: Duration,
    fenced: Duration,
    /// Records of `updates` up to the own fence.
    records: usize,
}

impl Beginning {
    /// The partition is assigned.
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

    /// The index is open and the epoch durable.
    pub fn claimed(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.claimed = self.assigned.elapsed();
    }

    /// The fence is acknowledged.
    pub fn fenced(&mut self) {
        self.fenced = self.assigned.elapsed();
    }

    /// Records of `updates` were read.
    pub fn read(&mut self, records: usize) {
        self.records += records;
    }

    /// `updates` is read up to the own fence.
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

    /// The first record after the fence was handed over.
    pub fn decided(&self) {
        tracing::debug!(partition = self.partition.0, decided_ms = ms(self.assigned.elapsed()), "first decision");
    }
}

/// Milliseconds, in tenths.
fn ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}
