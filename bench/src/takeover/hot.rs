//! The hot chunks: each is edited all the time, in open loop, by records appended to `commands`.
//!
//! The edits bypass ingest on purpose. The benchmark measures how long no owner decides, so the
//! edits must not depend on the services under test.

use crate::commands::set_cell;
use anyhow::{Context, Result, bail};
use driftless_log::{Append, Delivery, Log, Producer};
use driftless_schemas::{ChunkId, Partition};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time limit for delivering a record to Kafka; a record that exceeds it ends the benchmark.
/// Appending needs Kafka and no owner, so the pause that is measured does not delay a delivery.
const DELIVERY: Duration = Duration::from_secs(60);
/// Edits are sent in batches at this interval.
const PACE: Duration = Duration::from_millis(2);

/// The stream of edits. Dropping it ends the edits.
pub(super) struct HotChunks {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    pacing: Option<JoinHandle<Result<()>>>,
}

/// The ids of the hot chunks.
pub(super) fn chunks(count: u32) -> Result<Vec<ChunkId>> {
    (0..i32::try_from(count)?).map(|i| Ok(ChunkId::new("canvas", &[i % 64, i / 64])?)).collect()
}

impl HotChunks {
    /// Starts `rate` edits a second, over the chunks in turn.
    pub fn start(log: &dyn Log, topic: Arc<str>, chunks: Vec<ChunkId>, rate: u32) -> Result<Self> {
        let producer = log.producer(Delivery::Bounded(DELIVERY), Arc::new(|_| {}))?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let pacing = {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            // A thread, because tokio's timers have a resolution of a millisecond.
            std::thread::spawn(move || pace(&*producer, &topic, &chunks, rate, &stop, &sent))
        };
        Ok(Self { stop, sent, pacing: Some(pacing) })
    }

    /// Ends the edits. Returns their number.
    pub fn end(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let pacing = self.pacing.take().context("`end` is called once")?;
        pacing.join().map_err(|_| anyhow::anyhow!("the pacing thread panicked"))??;
        Ok(self.sent.load(Ordering::Relaxed))
    }
}

impl Drop for HotChunks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn pace(
    producer: &dyn Producer,
    topic: &Arc<str>,
    chunks: &[ChunkId],
    rate: u32,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<()> {
    let start = Instant::now();
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        let batch: Vec<Append> = (next..due).map(|i| edit(topic, chunks, i)).collect();
        if !producer.append(batch).is_empty() {
            bail!("the producer's queue is full: {rate} edits a second are too many for this Kafka");
        }
        next = due;
        sent.store(next, Ordering::Relaxed);
        std::thread::sleep(PACE);
    }
    let deadline = Instant::now() + DELIVERY;
    while producer.in_flight() > 0 && Instant::now() < deadline {
        std::thread::sleep(PACE);
    }
    Ok(())
}

/// Makes the i-th edit, which sets one cell of the next chunk.
fn edit(topic: &Arc<str>, chunks: &[ChunkId], i: u64) -> Append {
    let count = chunks.len() as u64;
    let (chunk, seq) = (&chunks[(i % count) as usize], i / count + 1);
    set_cell(topic, Partition(0), chunk.to_string(), chunk, seq, 4096)
}
