//! The newest records of every partition, in memory, and the readers that wait for the next one.
//!
//! Readers get recent records from the [`Tail`] of a partition, and records that the tail no longer
//! holds from a [`super::reader::History`]. A record enters the tail once it is durable (memory: at
//! once; sqlite: after the commit), so that no reader sees a record that could still vanish.
//! Readers do not poll: [`Tail::extend`] wakes the readers that have registered with
//! [`Tail::watch`].

use super::super::{AppendError, Record};
use driftless_schemas::Partition;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use tokio::sync::Notify;

/// All topics of a log.
#[derive(Default)]
pub(crate) struct Topics {
    by_name: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
}

/// A topic with the tails of its partitions.
pub(crate) struct Topic {
    pub name: Arc<str>,
    pub record_bytes_max: usize,
    pub retention_ms: Option<i64>,
    pub tails: Vec<Arc<Tail>>,
}

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn insert(&self, topic: Topic) {
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(Arc::clone(&topic.name), Arc::new(topic));
    }

    pub(crate) fn tail(&self, topic: &str, partition: Partition) -> Option<Arc<Tail>> {
        let topic = self.get(topic)?;
        let index = usize::try_from(partition.0).ok()?;
        topic.tails.get(index).cloned()
    }

    /// Returns the tail for a record of `bytes` bytes, or the reason why the topic refuses it.
    pub(crate) fn accepts(&self, topic: &str, partition: Partition, bytes: usize) -> Result<Arc<Tail>, AppendError> {
        let Some(found) = self.get(topic) else {
            return Err(AppendError::Refused(format!("topic {topic} does not exist")));
        };
        let tail = usize::try_from(partition.0).ok().and_then(|index| found.tails.get(index));
        let Some(tail) = tail else {
            return Err(AppendError::Refused(format!("topic {topic} has no partition {partition}")));
        };
        if bytes > found.record_bytes_max {
            return Err(AppendError::Refused(format!(
                "a record of {bytes} bytes exceeds the limit of {} bytes of topic {topic}",
                found.record_bytes_max
            )));
        }
        Ok(Arc::clone(tail))
    }
}

impl Topic {
    pub(crate) fn partitions(&self) -> i32 {
        // The number of tails was made from an i32.
        i32::try_from(self.tails.len()).unwrap_or(i32::MAX)
    }
}

/// The tail of one partition.
pub(crate) struct Tail {
    /// The limit on the bytes of records in memory. Above it the oldest records are evicted;
    /// `usize::MAX` keeps all records.
    bytes_max: usize,
    state: Mutex<State>,
}

struct State {
    /// The offset of the first record that the log holds.
    low: i64,
    /// The next record's offset.
    high: i64,
    /// The records in offset order without gaps, up to `high - 1`.
    records: VecDeque<Record>,
    bytes: usize,
    waiting: Vec<Weak<Notify>>,
}

/// The result of a lookup in a tail.
pub(crate) enum Lookup {
    /// The next records, in order; never empty.
    Records(Vec<Record>),
    /// The requested offset is the end of the log, so no record exists there yet.
    Nothing,
    /// The next records are older than the tail, which begins at `until`.
    Older { until: i64 },
    /// The log does not hold the requested offset; it holds `low..high`.
    OutOfRange { low: i64, high: i64 },
}

impl Tail {
    pub(crate) fn new(low: i64, high: i64, bytes_max: usize) -> Self {
        let state = State { low, high, records: VecDeque::new(), bytes: 0, waiting: Vec::new() };
        Self { bytes_max, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // No code panics while it holds this lock, so the state behind a poisoned lock is
        // consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns (low, high).
    pub(crate) fn watermarks(&self) -> (i64, i64) {
        let state = self.state();
        (state.low, state.high)
    }

    /// Notifies `wake` at each change of this tail, as long as the caller keeps a strong reference
    /// to `wake`.
    pub(crate) fn watch(&self, wake: &Arc<Notify>) {
        let mut state = self.state();
        state.waiting.retain(|other| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(wake)));
        state.waiting.push(Arc::downgrade(wake));
    }

    /// Stops notifying `wake`.
    pub(crate) fn unwatch(&self, wake: &Arc<Notify>) {
        self.state().waiting.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(wake)));
    }

    /// Adds records whose offsets continue at `high`, and wakes the readers.
    pub(crate) fn extend(&self, records: impl IntoIterator<Item = Record>) {
        let mut state = self.state();
        for record in records {
            debug_assert_eq!(record.offset.0, state.high, "offsets are dense");
            state.high = record.offset.0 + 1;
            state.bytes += record.memory_bytes();
            state.records.push_back(record);
        }
        while state.bytes > self.bytes_max
            && let Some(oldest) = state.records.pop_front()
        {
            state.bytes -= oldest.memory_bytes();
        }
        state.wake();
    }

    /// Adds one record at the next offset and returns that offset. Does not wake readers: the
    /// memory log wakes them once per batch.
    pub(crate) fn append(&self, record: impl FnOnce(i64) -> Record) -> i64 {
        let mut state = self.state();
        let offset = state.high;
        let record = record(offset);
        state.bytes += record.memory_bytes();
        state.records.push_back(record);
        state.high += 1;
        offset
    }

    /// Wakes the readers.
    pub(crate) fn wake(&self) {
        self.state().wake();
    }

    /// Drops the records below `low` (retention). `low` never moves backwards, and never beyond the
    /// end.
    pub(crate) fn truncate_before(&self, low: i64) {
        let mut state = self.state();
        state.low = low.clamp(state.low, state.high);
        while state.records.front().is_some_and(|record| record.offset.0 < state.low)
            && let Some(oldest) = state.records.pop_front()
        {
            state.bytes -= oldest.memory_bytes();
        }
        state.wake();
    }

    /// Returns the records from `from` on, at most `bytes_max` bytes but at least one record.
    pub(crate) fn lookup(&self, from: i64, bytes_max: usize) -> Lookup {
        let state = self.state();
        if from < state.low || from > state.high {
            return Lookup::OutOfRange { low: state.low, high: state.high };
        }
        if from == state.high {
            return Lookup::Nothing;
        }
        let until = state.records.front().map_or(state.high, |record| record.offset.0);
        let Ok(skip) = usize::try_from(from - until) else {
            return Lookup::Older { until };
        };
        let mut bytes = 0;
        let fits = state.records.range(skip..).take_while(|record| {
            let is_first = bytes == 0;
            bytes += record.memory_bytes();
            is_first || bytes <= bytes_max
        });
        let records: Vec<Record> = fits.cloned().collect();
        if records.is_empty() { Lookup::Older { until } } else { Lookup::Records(records) }
    }
}

impl State {
    fn wake(&mut self) {
        self.waiting.retain(|waiting| match waiting.upgrade() {
            Some(waiting) => {
                waiting.notify_one();
                true
            }
            None => false,
        });
    }
}
