//! Measures the speed of a log: `cargo run --release -p driftless-contract-tests --example
//! log_speed -- sqlite`. The argument is `sqlite`, `memory` or `kafka`. With `kafka` the program
//! uses the brokers in `DRIFTLESS_TEST_BROKERS`, or starts a server.
//!
//! The program prints two figures. The first is the number of records per second that are appended
//! and read again at full speed. The second is the time that one record takes from `append` to the
//! reader.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use driftless_log::kafka::{KafkaLog, KafkaSettings};
use driftless_log::memory::MemoryLog;
use driftless_log::sqlite::SqliteLog;
use driftless_log::{Append, Delivery, Log, Reader, TopicSpec};
use driftless_schemas::{Offset, Partition};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PARTITIONS: i32 = 12;
const VALUE_BYTES: usize = 100;
const RECORDS: usize = 400_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let in_flight = std::env::var("IN_FLIGHT").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let log: Arc<dyn Log> = match std::env::args().nth(1).as_deref() {
        Some("memory") => Arc::new(MemoryLog::new()),
        Some("sqlite") => Arc::new(SqliteLog::open(&folder.path().join("log.db"))?),
        Some("kafka") => {
            let brokers = tokio::task::spawn_blocking(driftless_testbed::shared_kafka).await??.to_owned();
            Arc::new(KafkaLog::new(KafkaSettings { brokers, producer_in_flight: in_flight, ..Default::default() })?)
        }
        _ => bail!("say memory, sqlite or kafka"),
    };
    let micros = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    println!("{}", log.describe());
    for round in 0..3 {
        throughput(&*log, &format!("speed.{micros}.{round}")).await?;
    }
    for (rate, group) in [(1_000, 1), (10_000, 1), (40_000, 40)] {
        latency(&*log, &format!("latency.{micros}.{rate}"), rate, group).await?;
    }
    if let Ok(size) = std::fs::metadata(folder.path().join("log.db")) {
        println!("the file has {:.1} MB", size.len() as f64 / 1e6);
    }
    Ok(())
}

async fn prepare(log: &dyn Log, topic: &str) -> Result<Box<dyn Reader>> {
    let spec =
        TopicSpec { name: topic.to_owned(), partitions: PARTITIONS, retention_ms: None, record_bytes_max: 1 << 20 };
    log.create_topic(&spec).await?;
    let mut reader = log.reader()?;
    for partition in 0..PARTITIONS {
        reader.assign(topic, Partition(partition), Offset(0));
    }
    Ok(reader)
}

fn record(topic: &Arc<str>, n: usize, start: Instant) -> Append {
    let mut value = vec![b'.'; VALUE_BYTES];
    value[..8].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_le_bytes());
    Append {
        topic: Arc::clone(topic),
        partition: Partition((n % PARTITIONS as usize) as i32),
        key: Bytes::from_static(b"canvas/12/-7"),
        value: value.into(),
        headers: Vec::new(),
        token: n as u64,
    }
}

async fn throughput(log: &dyn Log, topic: &str) -> Result<()> {
    let mut reader = prepare(log, topic).await?;
    let producer = log.producer(Delivery::Bounded(Duration::from_secs(60)), Arc::new(|_| ()))?;
    let topic: Arc<str> = topic.into();
    let (start, cpu) = (Instant::now(), cpu()?);
    let feed = Arc::clone(&producer);
    let feeding = tokio::task::spawn_blocking(move || {
        let mut rest: Vec<Append> = Vec::new();
        let mut next = 0;
        while next < RECORDS || !rest.is_empty() {
            if rest.is_empty() {
                rest = (next..next + 500).map(|n| record(&topic, n, start)).collect();
                next += 500;
            }
            rest = feed.append(rest);
            if !rest.is_empty() {
                std::thread::sleep(Duration::from_micros(500));
            }
        }
    });
    let mut seen = 0;
    while seen < RECORDS {
        seen += reader.next().await?.iter().map(|batch| batch.records.len()).sum::<usize>();
    }
    feeding.await?;
    let took = start.elapsed();
    producer.flush(Duration::from_secs(60)).await;
    println!(
        "append and read: {:.0} records/s, {:.2} CPU s per million records",
        RECORDS as f64 / took.as_secs_f64(),
        (self::cpu()? - cpu) / RECORDS as f64 * 1e6
    );
    Ok(())
}

async fn latency(log: &dyn Log, topic: &str, rate: usize, group: usize) -> Result<()> {
    let mut reader = prepare(log, topic).await?;
    let producer = log.producer(Delivery::Bounded(Duration::from_secs(60)), Arc::new(|_| ()))?;
    let topic: Arc<str> = topic.into();
    let count = rate * 3;
    // The first record also waits until connections are open, so it is not counted.
    let first = Instant::now();
    assert!(producer.append(vec![record(&topic, 0, first)]).is_empty());
    reader.next().await?;
    println!("the first record after {:.1} ms", first.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let feed = Arc::clone(&producer);
    let cpu = cpu()?;
    let feeding = tokio::task::spawn_blocking(move || {
        for first in (0..count).step_by(group) {
            let due = start + Duration::from_secs_f64(first as f64 / rate as f64);
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            let rest = feed.append((first..first + group).map(|n| record(&topic, n, start)).collect());
            assert!(rest.is_empty(), "the log does not keep up");
        }
    });
    let mut nanos: Vec<u64> = Vec::with_capacity(count);
    while nanos.len() < count {
        for batch in reader.next().await? {
            let now = start.elapsed().as_nanos() as u64;
            for record in batch.records {
                let sent = record.value.first_chunk::<8>().context("a record of ours")?;
                nanos.push(now.saturating_sub(u64::from_le_bytes(*sent)));
            }
        }
    }
    feeding.await?;
    nanos.sort_unstable();
    let at = |part: f64| nanos[((nanos.len() - 1) as f64 * part) as usize] as f64 / 1e6;
    println!(
        "append to reader at {rate}/s (appends of {group}): p50 {:.2} ms, p99 {:.2} ms, {:.0}% of a core",
        at(0.5),
        at(0.99),
        (self::cpu()? - cpu) / start.elapsed().as_secs_f64() * 100.0
    );
    Ok(())
}

/// CPU seconds that this process has used so far.
fn cpu() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("a stat line")?.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
