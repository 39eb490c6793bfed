//! The newest records of every partition, in memory, and who waits for the next one.
//!
//! A [`Tail`] is the only place that readers look at; what it no longer holds comes from a [`super::reader::History`].
//! Records enter after they are safe (memory: at once; sqlite: after the commit), so no reader ever sees a record that
//! could vanish again. Nobody polls: [`Tail::extend`] wakes the readers that registered.

use super::super::{AppendError, Error, Record, TopicSpec};
use driftless_schemas::Partition;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use tokio::sync::Notify;

/// What memory overhead a record has beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// All topics of a log.
#[derive(Default)]
pub(crate) struct Topics {
    by_name: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
}

/// One topic.
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

    /// The tail that a record of `bytes` is to go to, or why it cannot.
    pub(crate) fn accepts(&self, topic: &str, partition: Partition, bytes: usize) -> Result<Arc<Tail>, AppendError> {
        let Some(found) = self.get(topic) else {
            return Err(AppendError::Refused(format!("there is no topic {topic}")));
        };
        let tail = usize::try_from(partition.0).ok().and_then(|index| found.tails.get(index));
        let Some(tail) = tail else {
            return Err(AppendError::Refused(format!("topic {topic} has no partition {partition}")));
        };
        if bytes > found.record_bytes_max {
            return Err(AppendError::Refused(format!(
                "a record of {bytes} bytes is larger than the {} that topic {topic} takes",
                found.record_bytes_max
            )));
        }
        Ok(Arc::clone(tail))
    }
}

impl Topic {
    pub(crate) fn partitions(&self) -> i32 {
        // Made from an i32.
        i32::try_from(self.tails.len()).unwrap_or(i32::MAX)
    }
}

/// Is a topic as `spec` wants it? `Ok(false)`: there is none, and it can be created.
pub(crate) fn check_spec(existing: Option<i32>, spec: &TopicSpec) -> Result<bool, Error> {
    if spec.partitions < 1 {
        return Err(Error::Settings(format!(
            "topic {} is to have {} partitions; at least 1 is needed",
            spec.name, spec.partitions
        )));
    }
    match existing {
        None => Ok(false),
        Some(found) if found == spec.partitions => Ok(true),
        Some(found) => Err(Error::PartitionCount { topic: spec.name.clone(), found, wanted: spec.partitions }),
    }
}

/// The tail of one partition.
pub(crate) struct Tail {
    /// Beyond this many bytes the oldest records leave memory; `usize::MAX` keeps everything.
    bytes_max: usize,
    state: Mutex<State>,
}

struct State {
    /// The offset of the first record that the log holds.
    low: i64,
    /// The next record's offset.
    high: i64,
    /// In offset order, dense, up to `high - 1`.
    records: VecDeque<Record>,
    bytes: usize,
    waiting: Vec<Weak<Notify>>,
}

/// What a look at a tail brought.
pub(crate) enum Lookup {
    /// These come next, in order, never empty.
    Records(Vec<Record>),
    /// Nothing is there yet.
    Nothing,
    /// What comes next is older than the tail, which begins at `until`.
    Older { until: i64 },
    /// The log does not hold that offset.
    OutOfRange { low: i64, high: i64 },
}

impl Tail {
    pub(crate) fn new(low: i64, high: i64, bytes_max: usize) -> Self {
        let state = State { low, high, records: VecDeque::new(), bytes: 0, waiting: Vec::new() };
        Self { bytes_max, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing in here panics half-way, so a poisoned lock guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// (low, high).
    pub(crate) fn watermarks(&self) -> (i64, i64) {
        let state = self.state();
        (state.low, state.high)
    }

    /// Calls `wake` whenever something changes here, until its last strong reference is gone.
    pub(crate) fn watch(&self, wake: &Arc<Notify>) {
        let mut state = self.state();
        state.waiting.retain(|other| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(wake)));
        state.waiting.push(Arc::downgrade(wake));
    }

    /// No longer wakes `wake`.
    pub(crate) fn unwatch(&self, wake: &Arc<Notify>) {
        self.state().waiting.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(wake)));
    }

    /// Adds records whose offsets follow on `high`, and wakes the readers.
    pub(crate) fn extend(&self, records: impl IntoIterator<Item = Record>) {
        let mut state = self.state();
        for record in records {
            debug_assert_eq!(record.offset.0, state.high, "offsets are dense");
            state.high = record.offset.0 + 1;
            state.bytes += memory_bytes(&record);
            state.records.push_back(record);
        }
        while state.bytes > self.bytes_max
            && let Some(oldest) = state.records.pop_front()
        {
            state.bytes -= memory_bytes(&oldest);
        }
        state.wake();
    }

    /// Adds one record at the next offset, which is returned, and wakes nobody yet: for the log that has no store
    /// behind the tail.
    pub(crate) fn append(&self, record: impl FnOnce(i64) -> Record) -> i64 {
        let mut state = self.state();
        let offset = state.high;
        let record = record(offset);
        state.bytes += memory_bytes(&record);
        state.records.push_back(record);
        state.high += 1;
        offset
    }

    /// Wakes the readers.
    pub(crate) fn wake(&self) {
        self.state().wake();
    }

    /// Forgets what is below `low` (retention). Never moves backwards and never beyond the end.
    pub(crate) fn truncate_before(&self, low: i64) {
        let mut state = self.state();
        state.low = low.clamp(state.low, state.high);
        while state.records.front().is_some_and(|record| record.offset.0 < state.low)
            && let Some(oldest) = state.records.pop_front()
        {
            state.bytes -= memory_bytes(&oldest);
        }
        state.wake();
    }

    /// What comes next from `from`, at most `bytes_max` (but one record at least).
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
            bytes += memory_bytes(record);
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

/// What a record takes in memory.
pub(crate) fn memory_bytes(record: &Record) -> usize {
    let headers = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    record.key.len() + record.value.len() + headers + RECORD_OVERHEAD_BYTES
}
