//! What the claims share: topics of their own, records, a sink that can be waited for, and waiting with a deadline.

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

/// Nothing that is expected to happen takes this long, not even on a machine that is busy with a build.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for something that has to happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// A name that nothing else uses, also not on a broker that keeps the topics of earlier runs.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_micros();
    format!("{name}.{now}.{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A topic as the claims use it.
pub fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, retention_ms: None, record_bytes_max: 256 << 10 }
}

/// A new topic.
pub async fn topic(subject: &dyn Subject, partitions: i32) -> Arc<str> {
    let name = unique("contract");
    let log = subject.log();
    soon("creating a topic", log.create_topic(&spec(&name, partitions))).await.expect("the topic can be created");
    name.into()
}

/// A record whose value is `value` and whose token is `token`.
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

/// `count` records to one partition; token and value are the number.
pub fn numbered(topic: &Arc<str>, partition: i32, numbers: std::ops::Range<u64>) -> Vec<Append> {
    numbers.map(|number| record(topic, partition, number, number.to_string())).collect()
}

/// The number that [`numbered`] wrote.
pub fn number(record: &Record) -> u64 {
    let text = std::str::from_utf8(&record.value).expect("a number is text");
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// Collects acknowledgements.
#[derive(Default)]
pub struct Acks {
    seen: Mutex<Vec<Ack>>,
    more: Notify,
}

impl Acks {
    /// A producer of `log` whose acknowledgements come here.
    pub fn producer(log: &dyn Log, delivery: Delivery) -> (Arc<dyn Producer>, Arc<Self>) {
        let acks = Arc::new(Self::default());
        let producer = log.producer(delivery, acks.sink()).expect("a producer can be made");
        (producer, acks)
    }

    pub fn sink(self: &Arc<Self>) -> AckSink {
        let acks = Arc::clone(self);
        Arc::new(move |batch| {
            assert!(!batch.is_empty(), "a sink is not called for nothing");
            acks.seen.lock().unwrap().extend(batch);
            acks.more.notify_one();
        })
    }

    /// The first `count` acknowledgements, which are taken out.
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
            Err(_) => panic!("{count} acknowledgements expected, these came: {:?}", self.seen.lock().unwrap()),
        }
    }
}

/// Ingest's way to deliver, with time enough for a busy machine.
pub fn bounded() -> Delivery {
    Delivery::Bounded(DEADLINE)
}

/// Appends everything, however small the queue, and waits until it is acknowledged.
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

/// Reads until `count` records have come, which must be exactly what comes.
pub async fn read(reader: &mut dyn Reader, count: usize) -> Vec<(Partition, Record)> {
    let mut records = Vec::new();
    while records.len() < count {
        let what = format!("{count} records, of which {} came", records.len());
        for batch in soon(&what, reader.next()).await.expect("reading goes well") {
            assert!(!batch.records.is_empty(), "a batch is never empty");
            records.extend(batch.records.into_iter().map(|record| (batch.partition, record)));
        }
    }
    assert_eq!(records.len(), count, "more came than was written");
    records
}

/// The error that comes next; records before it are dropped.
pub async fn read_error(reader: &mut dyn Reader) -> ReadError {
    loop {
        if let Err(error) = soon("an error", reader.next()).await {
            return error;
        }
    }
}

/// Proves that nothing is pending: appends one record to a partition that the reader has read to its
/// end, and sees that the next call of `next` returns this record and nothing else.
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

/// All offsets of a batch.
pub fn offsets(batch: &Batch) -> Vec<i64> {
    batch.records.iter().map(|record| record.offset.0).collect()
}
