//! The records of a producer that are not acknowledged yet. The outbox limits their number and
//! bytes (backpressure), ends a gapless producer at its first failure, and passes acknowledgements
//! to the sink.

use super::{Ack, AckSink, Append, AppendError, Delivery};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Limits of the records that a producer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// The largest number of records without an acknowledgement.
    pub records_max: usize,
    /// The largest number of bytes in records without an acknowledgement: keys, values and headers.
    pub bytes_max: usize,
}

impl QueueLimits {
    /// The default limits, lowered to what fits into `memory` bytes. The keys, values and headers
    /// may take `bytes_max` of it. Each record takes some hundred bytes more.
    #[must_use]
    pub fn within(memory: usize, bytes_max: usize) -> Self {
        let default = Self::default();
        Self { records_max: default.records_max.min(memory / 4 / 512), bytes_max: default.bytes_max.min(bytes_max) }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { records_max: 100_000, bytes_max: 64 << 20 }
    }
}

pub(super) struct Outbox {
    limits: QueueLimits,
    is_gapless: bool,
    sink: AckSink,
    state: Mutex<State>,
    idle: Notify,
}

#[derive(Default)]
struct State {
    records: usize,
    bytes: usize,
    /// The reason why all later appends fail, once the producer has ended.
    ended: Option<String>,
}

/// An acknowledgement on its way to the sink, with the number of bytes that it frees.
pub(super) struct Settled {
    pub ack: Ack,
    pub bytes: usize,
}

impl Settled {
    pub(super) fn new(
        token: u64,
        bytes: usize,
        result: Result<Option<driftless_schemas::Offset>, AppendError>,
    ) -> Self {
        Self { ack: Ack { token, result }, bytes }
    }
}

/// The bytes of a record that count against the limits.
pub(super) fn append_bytes(append: &Append) -> usize {
    append.key.len()
        + append.value.len()
        + append.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

impl Outbox {
    pub(super) fn new(limits: QueueLimits, delivery: Delivery, sink: AckSink) -> Self {
        let is_gapless = delivery == Delivery::Gapless;
        Self { limits, is_gapless, sink, state: Mutex::default(), idle: Notify::new() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // No code panics while it holds this lock, so the state behind a poisoned lock is
        // consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps in `batch` the records that fit, counts them as in flight, and returns the rest. An
    /// empty queue accepts one record of any size.
    pub(super) fn admit(&self, batch: &mut Vec<Append>) -> Vec<Append> {
        let mut state = self.state();
        let mut fits = 0;
        for append in batch.iter() {
            let bytes = append_bytes(append);
            let is_full = state.records >= self.limits.records_max || state.bytes + bytes > self.limits.bytes_max;
            if is_full && state.records > 0 {
                break;
            }
            state.records += 1;
            state.bytes += bytes;
            fits += 1;
        }
        batch.split_off(fits)
    }

    /// Returns the reason why the producer has ended, if it has.
    pub(super) fn ended(&self) -> Option<AppendError> {
        self.state().ended.clone().map(AppendError::Unknown)
    }

    /// Ends the producer: all later appends fail. If the producer has ended already, the first
    /// reason is kept.
    pub(super) fn end(&self, reason: impl FnOnce() -> String) {
        self.state().ended.get_or_insert_with(reason);
    }

    /// Records a failed append, whether it failed before or after it reached the log. The failure
    /// ends a gapless producer.
    pub(super) fn record_failure(&self, error: &AppendError) {
        if self.is_gapless {
            self.end(|| format!("this gapless producer ended at its first failure: {error}"));
        }
    }

    /// Passes acknowledgements to the sink in order, and then releases their room in the queue.
    pub(super) fn settle(&self, settled: Vec<Settled>) {
        if settled.is_empty() {
            return;
        }
        let (records, bytes) = (settled.len(), settled.iter().map(|settled| settled.bytes).sum::<usize>());
        let acks: Vec<Ack> = settled.into_iter().map(|settled| settled.ack).collect();
        if let Some(error) = acks.iter().find_map(|ack| ack.result.as_ref().err()) {
            self.record_failure(error);
        }
        (self.sink)(acks);
        let mut state = self.state();
        state.records = state.records.saturating_sub(records);
        state.bytes = state.bytes.saturating_sub(bytes);
        if state.records == 0 {
            drop(state);
            self.idle.notify_waiters();
        }
    }

    pub(super) fn is_gapless(&self) -> bool {
        self.is_gapless
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state().records
    }

    /// Waits until no record is in flight. Returns false if `timeout` passes first.
    pub(super) async fn flush(&self, timeout: Duration) -> bool {
        let idle = async {
            loop {
                let mut notified = std::pin::pin!(self.idle.notified());
                // Registered before the check below, so that no wake-up between check and wait is
                // lost.
                notified.as_mut().enable();
                if self.in_flight() == 0 {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(timeout, idle).await.is_ok()
    }
}
