//! A log in memory, for tests. Dropping the last handle deletes all records. Retention runs only
//! when a test calls `truncate_before`.

use super::local::groups::Groups;
use super::local::reader::LocalReader;
use super::local::tails::{Tail, Topic, Topics};
use super::outbox::{Outbox, QueueLimits, Settled, append_bytes};
use super::{AckSink, Append, AppendError, Delivery, Error, Log, Membership, Producer, Reader, Record, TopicSpec};
use async_trait::async_trait;
use driftless_runtime::clock::unix_now;
use driftless_schemas::time::UnixMs;
use driftless_schemas::{Offset, Partition};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A log in memory. Clones are handles to the same log.
#[derive(Clone, Default)]
pub struct MemoryLog {
    topics: Arc<Topics>,
    groups: Groups,
    creating: Arc<Mutex<()>>,
    queue: QueueLimits,
}

impl MemoryLog {
    /// Creates an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a handle whose producers use these limits on the records that they hold.
    #[must_use]
    pub fn with_queue(mut self, queue: QueueLimits) -> Self {
        self.queue = queue;
        self
    }

    /// Deletes all records below `offset`, as retention would.
    ///
    /// # Errors
    /// [`Error::NoSuchTopic`].
    pub fn truncate_before(&self, topic: &str, partition: Partition, offset: Offset) -> Result<(), Error> {
        self.tail(topic, partition)?.truncate_before(offset.0);
        Ok(())
    }

    fn tail(&self, topic: &str, partition: Partition) -> Result<Arc<Tail>, Error> {
        self.topics.tail(topic, partition).ok_or_else(|| Error::NoSuchTopic { topic: topic.to_owned() })
    }

    fn count(&self, topic: &str) -> Option<i32> {
        self.topics.get(topic).map(|topic| topic.partitions())
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    async fn partitions(&self, topic: &str) -> Result<Option<i32>, Error> {
        Ok(self.count(topic))
    }

    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        let _one_at_a_time = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if spec.is_satisfied_by(self.count(&spec.name))? {
            return Ok(());
        }
        self.topics.insert(Topic {
            name: spec.name.as_str().into(),
            record_bytes_max: spec.record_bytes_max,
            retention_ms: None,
            tails: (0..spec.partitions).map(|_| Arc::new(Tail::new(0, 0, usize::MAX))).collect(),
        });
        Ok(())
    }

    async fn watermarks(&self, topic: &str, partition: Partition) -> Result<(Offset, Offset), Error> {
        let (low, high) = self.tail(topic, partition)?.watermarks();
        Ok((Offset(low), Offset(high)))
    }

    fn producer(&self, delivery: Delivery, acks: AckSink) -> Result<Arc<dyn Producer>, Error> {
        let outbox = Arc::new(Outbox::new(self.queue, delivery, acks));
        let (settled, waiting) = mpsc::channel::<Vec<Settled>>();
        let out = Arc::clone(&outbox);
        std::thread::Builder::new()
            .name("memory-log-acks".into())
            .spawn(move || waiting.into_iter().for_each(|settled| out.settle(settled)))
            .map_err(|error| Error::Settings(format!("cannot start a thread: {error}")))?;
        Ok(Arc::new(MemoryProducer { topics: Arc::clone(&self.topics), outbox, settled: Mutex::new(settled) }))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(LocalReader::new(Arc::clone(&self.topics), None)))
    }

    fn join(&self, group: &str, topic: &str, member: &str) -> Result<Membership, Error> {
        let count = self.count(topic).ok_or_else(|| Error::NoSuchTopic { topic: topic.to_owned() })?;
        self.groups.join(group, topic, count, member)
    }
}

struct MemoryProducer {
    topics: Arc<Topics>,
    outbox: Arc<Outbox>,
    /// Sends acknowledgements to the thread that calls the sink. An append holds this lock, so that
    /// acknowledgements keep the order of the appends.
    settled: Mutex<mpsc::Sender<Vec<Settled>>>,
}

#[async_trait]
impl Producer for MemoryProducer {
    fn append(&self, mut batch: Vec<Append>) -> Vec<Append> {
        let rest = self.outbox.admit(&mut batch);
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let timestamp = unix_now();
        let mut touched: Vec<Arc<Tail>> = Vec::new();
        let acks = batch
            .into_iter()
            .map(|append| {
                let (token, bytes) = (append.token, append_bytes(&append));
                let result = self.append_one(append, bytes, timestamp, &mut touched);
                if let Err(error) = &result {
                    self.outbox.record_failure(error);
                }
                Settled::new(token, bytes, result.map(Some))
            })
            .collect();
        for tail in touched {
            tail.wake();
        }
        // The receiving thread lives as long as this sender, so the send cannot fail.
        let _ = settled.send(acks);
        rest
    }

    fn in_flight(&self) -> usize {
        self.outbox.in_flight()
    }

    async fn flush(&self, timeout: Duration) -> bool {
        self.outbox.flush(timeout).await
    }

    fn abandon(&self) {
        self.outbox.end(|| "the producer was abandoned".to_owned());
    }
}

impl MemoryProducer {
    fn append_one(
        &self,
        append: Append,
        bytes: usize,
        timestamp: UnixMs,
        touched: &mut Vec<Arc<Tail>>,
    ) -> Result<Offset, AppendError> {
        if let Some(ended) = self.outbox.ended() {
            return Err(ended);
        }
        let tail = self.topics.accepts(&append.topic, append.partition, bytes)?;
        let offset = tail.append(|offset| Record {
            offset: Offset(offset),
            timestamp,
            key: append.key,
            value: append.value,
            headers: append.headers,
        });
        if !touched.iter().any(|other| Arc::ptr_eq(other, &tail)) {
            touched.push(tail);
        }
        Ok(Offset(offset))
    }
}
