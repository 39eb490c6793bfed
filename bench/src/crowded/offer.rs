//! Commands to random chunks, appended to the log at a rate, whatever the replayers do.

use crate::commands::set_cell;
use anyhow::{Context, Result, bail};
use driftless_chunk::world::World;
use driftless_log::{Append, Delivery, Log, Producer};
use driftless_schemas::ChunkId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time limit for delivering a record to Kafka.
const DELIVERY: Duration = Duration::from_secs(60);
/// Commands are sent in batches at this interval.
const PACE: Duration = Duration::from_millis(2);

/// The stream of commands. Dropping it ends them.
pub(super) struct Offer {
    stop: Arc<AtomicBool>,
    pacing: Option<JoinHandle<Result<u64>>>,
}

impl Offer {
    /// Starts `rate` commands a second.
    pub fn start(log: &dyn Log, world: Arc<World>, chunks: Arc<[ChunkId]>, rate: u32) -> Result<Self> {
        let producer = log.producer(Delivery::Bounded(DELIVERY), Arc::new(|_| {}))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // A thread, because tokio's timers have a resolution of a millisecond.
        let pacing = std::thread::spawn(move || pace(&*producer, &world, &chunks, rate, &stopped));
        Ok(Self { stop, pacing: Some(pacing) })
    }

    /// Ends the commands, and waits until the log has them. Returns their number.
    pub fn end(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let pacing = self.pacing.take().context("`end` is called once")?;
        pacing.join().map_err(|_| anyhow::anyhow!("the pacing thread panicked"))?
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn pace(producer: &dyn Producer, world: &World, chunks: &[ChunkId], rate: u32, stop: &AtomicBool) -> Result<u64> {
    let (start, mut sent) = (Instant::now(), 0_u64);
    let mut seqs = vec![0_u64; chunks.len()];
    // xorshift64 by Marsaglia, with a fixed seed: each run offers the same commands.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        let mut batch = Vec::new();
        while sent < due {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let index = (state % chunks.len() as u64) as usize;
            seqs[index] += 1;
            batch.push(command(world, &chunks[index], seqs[index])?);
            sent += 1;
        }
        let mut rest = producer.append(batch);
        while !rest.is_empty() {
            // The queue of the producer is full for a moment.
            std::thread::sleep(PACE);
            rest = producer.append(rest);
        }
        std::thread::sleep(PACE);
    }
    let deadline = Instant::now() + DELIVERY;
    while producer.in_flight() > 0 {
        if Instant::now() >= deadline {
            bail!("Kafka does not acknowledge {} commands", producer.in_flight());
        }
        std::thread::sleep(PACE);
    }
    Ok(sent)
}

/// Makes a command that sets one cell.
fn command(world: &World, chunk: &ChunkId, seq: u64) -> Result<Append> {
    let place = world.place(chunk)?;
    let key = place.key.to_string();
    Ok(set_cell(&world.topics().commands, place.partition, key, chunk, seq, 32_768))
}
