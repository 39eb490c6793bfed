//! The claims about offsets, order, watermarks and out-of-range errors, against the simulator's
//! log.
//!
//! The adapter below adds no behaviour to the simulator's log. The simulator's log has no limits,
//! groups or headers, and does not wake readers. The simulation itself decides what is delivered
//! and what is lost. So the other claims do not run here.

use async_trait::async_trait;
use driftless_contract_tests::Subject;
use driftless_log::{
    Ack, AckSink, Append, AppendError, Batch, Delivery, Error, Log, Membership, Producer, ReadError, Reader, Record,
    TopicSpec,
};
use driftless_schemas::time::UnixMs;
use driftless_schemas::{Offset, Partition};
use driftless_sim::log::PartitionLog;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// The limit on the records of a partition in one call of `next`. It is low, so that a test needs
/// many calls.
const RECORDS_PER_READ: usize = 7;

type Topics = BTreeMap<String, Vec<PartitionLog>>;

#[derive(Clone)]
struct Sim {
    topics: Arc<Mutex<Topics>>,
    /// The number of appends so far. Waiting readers subscribe to it.
    appended: watch::Sender<u64>,
}

impl Sim {
    fn new() -> Self {
        Self { topics: Arc::default(), appended: watch::Sender::new(0) }
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap()
    }
}

fn partition_of<'a>(topics: &'a mut Topics, topic: &str, partition: Partition) -> Option<&'a mut PartitionLog> {
    topics.get_mut(topic)?.get_mut(usize::try_from(partition.0).ok()?)
}

#[async_trait]
impl Subject for Sim {
    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.clone())
    }

    async fn truncate_before(&self, topic: &str, partition: Partition, before: Offset) {
        partition_of(&mut self.topics(), topic, partition).expect("the topic exists").cut(before);
    }
}

#[async_trait]
impl Log for Sim {
    fn describe(&self) -> String {
        "the simulator's".to_owned()
    }

    async fn partitions(&self, topic: &str) -> Result<Option<i32>, Error> {
        Ok(self.topics().get(topic).map(|partitions| partitions.len() as i32))
    }

    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        let partitions = (0..spec.partitions).map(|_| PartitionLog::default()).collect();
        self.topics().insert(spec.name.clone(), partitions);
        Ok(())
    }

    async fn watermarks(&self, topic: &str, partition: Partition) -> Result<(Offset, Offset), Error> {
        match partition_of(&mut self.topics(), topic, partition) {
            Some(log) => Ok((log.low(), log.end())),
            None => Err(Error::NoSuchTopic { topic: topic.to_owned() }),
        }
    }

    fn producer(&self, _delivery: Delivery, acks: AckSink) -> Result<Arc<dyn Producer>, Error> {
        Ok(Arc::new(SimProducer { log: self.clone(), acks }))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        let appended = self.appended.subscribe();
        Ok(Box::new(SimReader { log: self.clone(), appended, assigned: BTreeMap::new() }))
    }

    fn join(&self, _group: &str, _topic: &str, _member: &str) -> Result<Membership, Error> {
        Err(Error::Settings("the simulator has no groups".into()))
    }
}

struct SimProducer {
    log: Sim,
    acks: AckSink,
}

#[async_trait]
impl Producer for SimProducer {
    fn append(&self, batch: Vec<Append>) -> Vec<Append> {
        let mut topics = self.log.topics();
        let land = |append: Append| {
            let result = match partition_of(&mut topics, &append.topic, append.partition) {
                Some(log) => Ok(Some(log.append(append.key, append.value))),
                None => Err(AppendError::Refused("there is no such partition".into())),
            };
            Ack { token: append.token, result }
        };
        // The sink is called under the lock, so that acknowledgements have the order of the
        // appends.
        (self.acks)(batch.into_iter().map(land).collect());
        drop(topics);
        self.log.appended.send_modify(|count| *count += 1);
        Vec::new()
    }

    fn in_flight(&self) -> usize {
        0
    }

    async fn flush(&self, _timeout: Duration) -> bool {
        true
    }

    fn abandon(&self) {}
}

struct SimReader {
    log: Sim,
    appended: watch::Receiver<u64>,
    assigned: BTreeMap<(Arc<str>, Partition), Offset>,
}

#[async_trait]
impl Reader for SimReader {
    fn assign(&mut self, topic: &str, partition: Partition, from: Offset) {
        self.assigned.insert((topic.into(), partition), from);
    }

    fn unassign(&mut self, topic: &str, partition: Partition) {
        self.assigned.remove(&(topic.into(), partition));
    }

    fn pause(&mut self, topic: &str, partition: Partition) {
        self.unassign(topic, partition);
    }

    fn resume(&mut self, _topic: &str, _partition: Partition) {}

    async fn next(&mut self) -> Result<Vec<Batch>, ReadError> {
        loop {
            self.appended.borrow_and_update();
            let batches = self.read()?;
            if !batches.is_empty() {
                return Ok(batches);
            }
            // The reader holds a handle of the log, so the sender is never dropped.
            let _ = self.appended.changed().await;
        }
    }
}

impl SimReader {
    fn read(&mut self) -> Result<Vec<Batch>, ReadError> {
        let mut topics = self.log.topics();
        let mut batches = Vec::new();
        for ((topic, partition), next) in &mut self.assigned {
            let (topic, partition, wanted) = (Arc::clone(topic), *partition, *next);
            let Some(log) = partition_of(&mut topics, &topic, partition) else {
                return Err(ReadError::Broken { topic, partition, reason: "there is no such partition".into() });
            };
            let Some(records) = log.read(wanted, RECORDS_PER_READ) else {
                if !batches.is_empty() {
                    // Returns the batches that were read before the error. A later call returns
                    // the error.
                    return Ok(batches);
                }
                let (low, high) = (log.low(), log.end());
                self.assigned.remove(&(Arc::clone(&topic), partition));
                return Err(ReadError::OutOfRange { topic, partition, wanted, low, high });
            };
            let Some((last, _)) = records.last() else { continue };
            *next = Offset(last.0 + 1);
            let whole = |(offset, value)| {
                let key = log.get(offset).expect("the record was just read").key.clone();
                Record { offset, timestamp: UnixMs(0), key, value, headers: Vec::new() }
            };
            let records = records.into_iter().map(whole).collect();
            batches.push(Batch { topic, partition, records });
        }
        Ok(batches)
    }
}

driftless_contract_tests::partition_contract!(Sim::new());
