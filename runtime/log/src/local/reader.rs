//! The reader of the in-process logs. It reads from the tails in memory, requests older records
//! from a [`History`], and sleeps until a tail or the history wakes it.

use super::super::{Batch, ReadError, Reader, Record};
use super::tails::{Lookup, Tail, Topics};
use async_trait::async_trait;
use driftless_schemas::{Offset, Partition};
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};

/// The limit on the bytes of records that one call of `next` returns. The next call returns the
/// rest.
const NEXT_BYTES_MAX: usize = 4 << 20;

/// Reads records that the tail no longer holds, on a thread of its own.
pub(crate) trait History: Send + Sync {
    /// Replies with the records from `request.from` on, in order, and then wakes the reader.
    fn read(&self, request: HistoryRequest);
}

/// A reader's request to a [`History`].
pub(crate) struct HistoryRequest {
    pub topic: Arc<str>,
    pub partition: Partition,
    pub from: i64,
    pub until: i64,
    pub bytes_max: usize,
    pub reply: oneshot::Sender<Result<Vec<Record>, String>>,
    pub wake: Arc<Notify>,
}

pub(crate) struct LocalReader {
    topics: Arc<Topics>,
    history: Option<Arc<dyn History>>,
    wake: Arc<Notify>,
    positions: Vec<Position>,
    /// Counts the calls. Each call starts with another partition, so that a busy partition does not
    /// starve the others.
    turn: usize,
}

struct Position {
    topic: Arc<str>,
    partition: Partition,
    next: i64,
    is_paused: bool,
    tail: Option<Arc<Tail>>,
    /// The reply of a [`History`] that has not arrived yet. It is stored here and not in a future,
    /// so that `next` is cancel-safe.
    pending: Option<oneshot::Receiver<Result<Vec<Record>, String>>>,
}

impl LocalReader {
    pub(crate) fn new(topics: Arc<Topics>, history: Option<Arc<dyn History>>) -> Self {
        Self { topics, history, wake: Arc::new(Notify::new()), positions: Vec::new(), turn: 0 }
    }

    fn position(&mut self, topic: &str, partition: Partition) -> Option<&mut Position> {
        self.positions.iter_mut().find(|p| p.partition == partition && &*p.topic == topic)
    }

    /// Takes the records that are ready in each partition.
    fn gather(&mut self) -> Result<Vec<Batch>, ReadError> {
        let mut batches = Vec::new();
        let mut bytes_left = NEXT_BYTES_MAX;
        let count = self.positions.len();
        self.turn = self.turn.wrapping_add(1);
        for step in 0..count {
            let index = (self.turn.wrapping_add(step)) % count;
            let position = &mut self.positions[index];
            match position.take(bytes_left, self.history.as_deref(), &self.wake) {
                Ok(None) => {}
                Ok(Some(records)) => {
                    bytes_left = bytes_left.saturating_sub(records.iter().map(Record::memory_bytes).sum());
                    let (topic, partition) = (Arc::clone(&position.topic), position.partition);
                    batches.push(Batch { topic, partition, records });
                    if bytes_left == 0 {
                        break;
                    }
                }
                // The records read so far are returned first; the next call finds the error again.
                Err(_) if !batches.is_empty() => {}
                Err(error) => {
                    self.positions.swap_remove(index);
                    return Err(error);
                }
            }
        }
        Ok(batches)
    }
}

impl Position {
    fn take(
        &mut self,
        bytes_max: usize,
        history: Option<&dyn History>,
        wake: &Arc<Notify>,
    ) -> Result<Option<Vec<Record>>, ReadError> {
        if self.is_paused {
            return Ok(None);
        }
        let Some(tail) = self.tail.clone() else {
            return Err(self.broken("the topic or partition does not exist".into()));
        };
        if let Some(pending) = &mut self.pending {
            let answer = match pending.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return Ok(None),
                Err(oneshot::error::TryRecvError::Closed) => Err("the log was closed".into()),
                Ok(answer) => answer,
            };
            match answer {
                Ok(records) if records.first().is_some_and(|first| first.offset.0 == self.next) => {
                    self.pending = None;
                    return Ok(Some(self.advance(records)));
                }
                // Retention has deleted the requested records meanwhile; the lookup below reports
                // that.
                Ok(_) if tail.watermarks().0 > self.next => self.pending = None,
                Ok(_) => return Err(self.broken(format!("record {} is missing", self.next))),
                Err(reason) => return Err(self.broken(reason)),
            }
        }
        match tail.lookup(self.next, bytes_max) {
            Lookup::Nothing => Ok(None),
            Lookup::Records(records) => Ok(Some(self.advance(records))),
            Lookup::OutOfRange { low, high } => Err(ReadError::OutOfRange {
                topic: Arc::clone(&self.topic),
                partition: self.partition,
                wanted: Offset(self.next),
                low: Offset(low),
                high: Offset(high),
            }),
            Lookup::Older { until } => {
                let Some(history) = history else {
                    return Err(self.broken(format!("record {} is missing", self.next)));
                };
                let (reply, pending) = oneshot::channel();
                history.read(HistoryRequest {
                    topic: Arc::clone(&self.topic),
                    partition: self.partition,
                    from: self.next,
                    until,
                    bytes_max: NEXT_BYTES_MAX,
                    reply,
                    wake: Arc::clone(wake),
                });
                self.pending = Some(pending);
                Ok(None)
            }
        }
    }

    fn advance(&mut self, records: Vec<Record>) -> Vec<Record> {
        if let Some(last) = records.last() {
            self.next = last.offset.0 + 1;
        }
        records
    }

    fn broken(&self, reason: String) -> ReadError {
        ReadError::Broken { topic: Arc::clone(&self.topic), partition: self.partition, reason }
    }
}

#[async_trait]
impl Reader for LocalReader {
    fn assign(&mut self, topic: &str, partition: Partition, from: Offset) {
        self.unassign(topic, partition);
        let tail = self.topics.tail(topic, partition);
        if let Some(tail) = &tail {
            tail.watch(&self.wake);
        }
        self.positions.push(Position {
            topic: topic.into(),
            partition,
            next: from.0,
            is_paused: false,
            tail,
            pending: None,
        });
        self.wake.notify_one();
    }

    fn unassign(&mut self, topic: &str, partition: Partition) {
        self.positions.retain(|p| {
            let goes = p.partition == partition && &*p.topic == topic;
            if goes && let Some(tail) = &p.tail {
                tail.unwatch(&self.wake);
            }
            !goes
        });
    }

    fn pause(&mut self, topic: &str, partition: Partition) {
        if let Some(position) = self.position(topic, partition) {
            position.is_paused = true;
        }
    }

    fn resume(&mut self, topic: &str, partition: Partition) {
        if let Some(position) = self.position(topic, partition) {
            position.is_paused = false;
        }
        self.wake.notify_one();
    }

    async fn next(&mut self) -> Result<Vec<Batch>, ReadError> {
        // A reader that always finds records must not starve other tasks on this thread.
        tokio::task::coop::consume_budget().await;
        loop {
            let batches = self.gather()?;
            if !batches.is_empty() {
                return Ok(batches);
            }
            // A wake-up between the check and this wait is stored as a permit, so it is not lost.
            self.wake.notified().await;
        }
    }
}
