//! How an ownership begins, step by step, for whoever asks where the time goes: the log says it once per ownership, and
//! a histogram keeps the whole.

use driftless_schemas::Partition;
use metrics::histogram;
use std::time::{Duration, Instant};

/// The steps of section 6, as durations since the partition was assigned.
pub(crate) struct Beginning {
    partition: Partition,
    assigned: Instant,
    claimed: Duration,
    fenced: Duration,
    /// Records of `updates` up to the own fence.
    records: usize,
    is_recovered: bool,
    has_decided: bool,
}

impl Beginning {
    pub fn new(partition: Partition) -> Self {
        Self {
            partition,
            assigned: Instant::now(),
            claimed: Duration::ZERO,
            fenced: Duration::ZERO,
            records: 0,
            is_recovered: false,
            has_decided: false,
        }
    }

    /// The index is open and the epoch durable.
    pub fn claimed(&mut self) {
        self.claimed = self.assigned.elapsed();
    }

    /// The fence is acknowledged.
    pub fn fenced(&mut self) {
        self.fenced = self.assigned.elapsed();
    }

    /// Some of `updates` was read.
    pub fn read(&mut self, records: usize) {
        self.records += records;
    }

    /// `updates` is read up to the own fence.
    pub fn recovered(&mut self, epoch: u64) {
        if std::mem::replace(&mut self.is_recovered, true) {
            return;
        }
        let recovered = self.assigned.elapsed();
        histogram!("driftless_replayer_takeover_seconds").record(recovered.as_secs_f64());
        tracing::info!(
            partition = self.partition.0,
            epoch,
            records = self.records,
            claimed_ms = ms(self.claimed),
            fenced_ms = ms(self.fenced),
            recovered_ms = ms(recovered),
            "deciding"
        );
    }

    /// Something was decided.
    pub fn decided(&mut self) {
        if !std::mem::replace(&mut self.has_decided, true) {
            tracing::debug!(partition = self.partition.0, decided_ms = ms(self.assigned.elapsed()), "first decision");
        }
    }
}

/// In tenths.
fn ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}
