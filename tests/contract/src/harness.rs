//! Tools that the claims share: unique topics, records, a sink that collects acknowledgements, and
//! waits with a deadline.

use crate::Subject;
use bytes::Bytes;
use driftless_log::{
    Ack, AckSink, Append, AppendError, Batch, Delivery, Log, Producer, ReadError, Reader, Record, TopicSpec,
};
use driftless_schemas::{Offset, Partition};
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// The deadline of each wait for something that must happen. It is long enough for a machine that
/// is busy with a build.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for `future`, and panics with `what` when [`DEADLINE`] passes first.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: did not happen within {DEADLINE:?}"),
    }
}

/// Makes a name that no other test uses, not even on a broker that keeps the topics of earlier
/// runs.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_micros();
    format!("{name}.{now}.{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The settings of the topics that the claims create.
pub fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, retention_ms: None, record_bytes_max: 256 << 10 }
}

/// Creates a topic with a unique name.
pub async fn topic(subject: &dyn Subject, partitions: i32) -> Arc<str> {
    let name = unique("contract");
    let log = subject.log();
    soon("creating a topic", log.create_topic(&spec(&name, partitions))).await.expect("the topic can be created");
    name.into()
}

/// Makes a record with this token and value.
pub fn record(topic: &Arc<str>, partition: i32, token: u64, value: impl Into<Bytes>) -> Append {
    Append {
        topic: Arc::clone(topic),
        partition: Partition(partition),
        key: Bytes::from_static(b"key"),
        value: value.into(),
        headers: Vec::new(),
        token,
    }
}

/// Makes records for one partition. Each number of the range is the token and the value of one
/// record.
pub fn numbered(topic: &Arc<str>, partition: i32, numbers: std::ops::Range<u64>) -> Vec<Append> {
    numbers.map(|number| record(topic, partition, number, number.to_string())).collect()
}

/// Returns the number that [`numbered`] wrote into a record's value.
pub fn number(record: &Record) -> u64 {
    let text = std::str::from_utf8(&record.value).expect("a number is text");
    text.parse().unwrap_or_else(|_| panic!("the record's value is no number: {text}"))
}

/// Collects a producer's acknowledgements.
#[derive(Default)]
pub struct Acks {
    seen: Mutex<Vec<Ack>>,
    more: Notify,
}

impl Acks {
    /// Makes a producer of `log` whose acknowledgements the returned `Acks` collects.
    pub fn producer(log: &dyn Log, delivery: Delivery) -> (Arc<dyn Producer>, Arc<Self>) {
        let acks = Arc::new(Self::default());
        let producer = log.producer(delivery, acks.sink()).expect("a producer can be made");
        (producer, acks)
    }

    pub fn sink(self: &Arc<Self>) -> AckSink {
        let acks = Arc::clone(self);
        Arc::new(move |batch| {
            assert!(!batch.is_empty(), "the sink was called with an empty batch");
            acks.seen.lock().unwrap().extend(batch);
            acks.more.notify_one();
        })
    }

    /// Waits until there are `count` acknowledgements, and removes and returns them, oldest first.
    pub async fn take(&self, count: usize) -> Vec<(u64, Result<Option<Offset>, AppendError>)> {
        let wait = async {
            loop {
                {
                    let mut seen = self.seen.lock().unwrap();
                    if seen.len() >= count {
                        return seen.drain(..count).map(|ack| (ack.token, ack.result)).collect();
                    }
                }
                self.more.notified().await;
            }
        };
        match tokio::time::timeout(DEADLINE, wait).await {
            Ok(acks) => acks,
            Err(_) => panic!("{count} acknowledgements were expected, these came: {:?}", self.seen.lock().unwrap()),
        }
    }
}

/// The delivery guarantee that ingest uses, with a time-out for a busy machine.
pub fn bounded() -> Delivery {
    Delivery::Bounded(DEADLINE)
}

/// Appends all records, even when they exceed the producer's queue, and waits until each is
/// acknowledged.
pub async fn write(log: &dyn Log, records: Vec<Append>) {
    let (producer, acks) = Acks::producer(log, bounded());
    let count = records.len();
    let mut rest = producer.append(records);
    while !rest.is_empty() {
        assert!(producer.flush(DEADLINE).await, "the queue drains");
        rest = producer.append(rest);
    }
    for (token, result) in acks.take(count).await {
        assert!(matches!(result, Ok(Some(_))), "record {token}: {result:?}");
    }
}

/// Reads until `count` records have arrived. Panics if more arrived.
pub async fn read(reader: &mut dyn Reader, count: usize) -> Vec<(Partition, Record)> {
    let mut records = Vec::new();
    while records.len() < count {
        let what = format!("{count} records, of which {} came", records.len());
        for batch in soon(&what, reader.next()).await.expect("reading succeeds") {
            assert!(!batch.records.is_empty(), "the reader returned an empty batch");
            records.extend(batch.records.into_iter().map(|record| (batch.partition, record)));
        }
    }
    assert_eq!(records.len(), count, "more records came than were expected");
    records
}

/// Waits for the reader's next error. Records that arrive before the error are dropped.
pub async fn read_error(reader: &mut dyn Reader) -> ReadError {
    loop {
        if let Err(error) = soon("an error", reader.next()).await {
            return error;
        }
    }
}

/// Proves that a reader has no record pending. Appends one record to a partition that the reader
/// has read to its end. The next call of `next` must return this record and nothing else.
pub async fn read_only_a_marker(log: &dyn Log, reader: &mut dyn Reader, topic: &Arc<str>, partition: i32) {
    const MARKER: u64 = 999_999_999;
    write(log, vec![record(topic, partition, 0, MARKER.to_string())]).await;
    let batches = soon("the marker", reader.next()).await.expect("reading the marker succeeds");
    let came: Vec<_> = batches
        .iter()
        .flat_map(|batch| batch.records.iter().map(|record| (batch.topic.clone(), batch.partition, number(record))))
        .collect();
    assert_eq!(came, [(Arc::clone(topic), Partition(partition), MARKER)], "only the marker was pending");
}

/// The offsets of a batch's records.
pub fn offsets(batch: &Batch) -> Vec<i64> {
    batch.records.iter().map(|record| record.offset.0).collect()
}
