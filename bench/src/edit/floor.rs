//! The floor for the latency of an edit: two bare rdkafka hops (produce → consume → produce →
//! consume), without any code of ours in between. The records have about the number, size and
//! partitions of the edits' records.

use super::EditArgs;
use crate::quantiles::Quantiles;
use anyhow::{Context, Result, bail};
use driftless_schemas::world::WorldSpec;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The approximate length of an edit's record in `commands`, and of its decision in `updates`.
const RECORD_BYTES: usize = 110;
const WARM_UP_RECORDS: usize = 200;
const GRACE: Duration = Duration::from_secs(20);

type PlainProducer = ThreadedProducer<DefaultProducerContext>;

/// Measures the floor in one round. `args` gives the rate and the duration.
pub(super) fn measure(brokers: &str, name: &str, args: &EditArgs) -> Result<Quantiles> {
    let partitions = WorldSpec::dev().partitions;
    let topics = [format!("{name}-a"), format!("{name}-b")];
    create(brokers, &topics, partitions)?;
    let stop = Arc::new(AtomicBool::new(false));
    let first = consumer(brokers, &topics[0], partitions)?;
    let second = consumer(brokers, &topics[1], partitions)?;
    let forward = {
        let (stop, producer, to) = (Arc::clone(&stop), producer(brokers)?, topics[1].clone());
        std::thread::spawn(move || forward(&first, &producer, &to, &stop))
    };
    let sender = producer(brokers)?;
    // On each hop the first record waits half a second until the broker has given the producer its
    // id. The warm-up keeps this wait out of the floor.
    for i in 0..WARM_UP_RECORDS {
        send(&sender, &topics[0], i32::try_from(i)? % partitions, &[0; RECORD_BYTES])?;
    }
    warm_up(&second)?;
    let total = (u64::from(args.rate) * u64::from(args.duration)) as usize;
    let start = Instant::now();
    let deadline = start + Duration::from_secs(args.duration.into()) + GRACE;
    let receive = std::thread::spawn(move || receive(&second, total, start, deadline));
    for i in 0..total {
        let due = Duration::from_secs_f64(i as f64 / f64::from(args.rate));
        if let Some(wait) = due.checked_sub(start.elapsed()) {
            std::thread::sleep(wait);
        }
        let mut payload = [0; RECORD_BYTES];
        payload[..8].copy_from_slice(&u64::try_from(due.as_nanos())?.to_le_bytes());
        let partition = i32::try_from(i / 7 % usize::from(args.chunks))? % partitions;
        send(&sender, &topics[0], partition, &payload)?;
    }
    let latencies = receive.join().map_err(|_| anyhow::anyhow!("the receiving thread panicked"))??;
    stop.store(true, Ordering::Relaxed);
    forward.join().map_err(|_| anyhow::anyhow!("the forwarding thread panicked"))??;
    sender.flush(GRACE)?;
    if latencies.len() < total {
        bail!(
            "the floor itself saw only {} of {total} records: the rate is too high for Kafka on this machine",
            latencies.len()
        );
    }
    Ok(Quantiles::of(latencies))
}

/// The middle of the two hops: copies records from the first topic to the second.
fn forward(from: &BaseConsumer, producer: &PlainProducer, to: &str, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        if let Some(message) = from.poll(Duration::from_millis(50)) {
            let message = message?;
            send(producer, to, message.partition(), message.payload().unwrap_or_default())?;
        }
    }
    Ok(())
}

/// Reads the records of the warm-up.
fn warm_up(consumer: &BaseConsumer) -> Result<()> {
    let deadline = Instant::now() + GRACE;
    let mut warm = 0;
    while warm < WARM_UP_RECORDS && Instant::now() < deadline {
        if let Some(message) = consumer.poll(Duration::from_millis(50)) {
            message?;
            warm += 1;
        }
    }
    Ok(())
}

/// Reads `total` records, or fewer if the deadline comes first. Returns how long after its due time
/// each record arrived.
fn receive(consumer: &BaseConsumer, total: usize, start: Instant, deadline: Instant) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(total);
    while latencies.len() < total && Instant::now() < deadline {
        let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
        let message = message?;
        let due = message.payload().and_then(|p| p.first_chunk::<8>()).context("a record without its time")?;
        latencies.push(start.elapsed().saturating_sub(Duration::from_nanos(u64::from_le_bytes(*due))));
    }
    Ok(latencies)
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn producer(brokers: &str) -> Result<PlainProducer> {
    let mut config = config(brokers);
    config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "0").set("compression.type", "lz4");
    Ok(config.create()?)
}

fn consumer(brokers: &str, topic: &str, partitions: i32) -> Result<BaseConsumer> {
    let mut config = config(brokers);
    config.set("group.id", "driftless-bench-floor").set("enable.auto.commit", "false");
    config.set("fetch.queue.backoff.ms", "1").set("fetch.wait.max.ms", "100");
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

fn send(producer: &PlainProducer, topic: &str, partition: i32, payload: &[u8]) -> Result<()> {
    let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(payload);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((e, back)) if e.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) => {
                record = back;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((e, _)) => return Err(e.into()),
        }
    }
}

fn create(brokers: &str, topics: &[String], partitions: i32) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(brokers).create()?;
    let new: Vec<_> = topics.iter().map(|t| NewTopic::new(t, partitions, TopicReplication::Fixed(-1))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for result in runtime.block_on(admin.create_topics(&new, &AdminOptions::new()))? {
        result.map_err(|(topic, e)| anyhow::anyhow!("cannot create topic {topic}: {e}"))?;
    }
    Ok(())
}
