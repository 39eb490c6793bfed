//! Writers in open loop: each edit is submitted when it is due, even if earlier edits are not
//! committed.

use crate::generator::{self, Connected};
use anyhow::{Context, Result};
use driftless_schemas::{ChunkId, WriterId, proto::event};
use driftless_web::socket;
use futures_util::{SinkExt, StreamExt};
use std::collections::HashMap;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// The identity of an edit: its writer, the index of its chunk, and its number.
pub(crate) type EditKey = (WriterId, u16, u64);

/// Writers, each with a socket.
pub(crate) struct Writers {
    chunks: u16,
    writers: Vec<Writer>,
}

struct Writer {
    id: WriterId,
    /// Sends chunk and sequence number of each due edit to the task that owns the socket.
    due: mpsc::UnboundedSender<(u16, u64)>,
    /// The sequence number of the last edit for each chunk.
    seqs: HashMap<u16, u64>,
}

/// Edits in the order in which they are due.
pub(crate) struct Schedule(Vec<Edit>);

struct Edit {
    due: Instant,
    writer: mpsc::UnboundedSender<(u16, u64)>,
    chunk: u16,
    seq: u64,
}

impl Writers {
    /// Connects a writer for each token, to write to these chunks.
    pub async fn connect(ingest_ws: &str, tokens: Vec<String>, chunks: &[ChunkId]) -> Result<Self> {
        let mut writers = Vec::new();
        for token in tokens {
            let connected = generator::connect(ingest_ws, socket::INGEST, token).await?;
            let (due, dues) = mpsc::unbounded_channel();
            writers.push(Writer { id: connected.writer, due, seqs: HashMap::new() });
            tokio::spawn(write(connected, chunks.to_vec(), dues));
        }
        Ok(Self { chunks: u16::try_from(chunks.len()).unwrap_or(u16::MAX), writers })
    }

    /// Plans edits that are spread evenly over time, writers and chunks. Returns the schedule, and
    /// the due time of each edit.
    pub fn schedule(&mut self, start: Instant, rate: u32, duration: Duration) -> (Schedule, HashMap<EditKey, Instant>) {
        let total = (f64::from(rate) * duration.as_secs_f64()) as usize;
        let mut due_at = HashMap::with_capacity(total);
        let mut schedule = Vec::with_capacity(total);
        for i in 0..total {
            let due = start + Duration::from_secs_f64(i as f64 / f64::from(rate));
            let index = i % self.writers.len();
            let writer = &mut self.writers[index];
            let chunk = (i / 7 % usize::from(self.chunks)) as u16;
            let seq = writer.seqs.entry(chunk).or_default();
            *seq += 1;
            due_at.insert((writer.id, chunk, *seq), due);
            schedule.push(Edit { due, writer: writer.due.clone(), chunk, seq: *seq });
        }
        (Schedule(schedule), due_at)
    }
}

impl Schedule {
    /// Sends each edit to its writer when it is due. A thread does this, because tokio's timers
    /// have a resolution of a millisecond.
    pub fn pace(self) -> JoinHandle<()> {
        std::thread::spawn(move || {
            for Edit { due, writer, chunk, seq } in self.0 {
                if let Some(wait) = due.checked_duration_since(Instant::now()) {
                    std::thread::sleep(wait);
                }
                // The edits of a writer that has ended count as lost.
                let _ = writer.send((chunk, seq));
            }
        })
    }
}

/// Sends due edits, several in one message if they are due together. Answers pings.
async fn write(
    mut connected: Connected,
    chunks: Vec<ChunkId>,
    mut dues: mpsc::UnboundedReceiver<(u16, u64)>,
) -> Result<()> {
    loop {
        tokio::select! {
            due = dues.recv() => {
                let Some(mut next) = due else { return Ok(()) };
                let mut message = bytes::BytesMut::new();
                loop {
                    let (chunk, seq) = next;
                    message.extend_from_slice(&generator::edit(&chunks[usize::from(chunk)], seq, (seq % 16_384) as u32));
                    match dues.try_recv() {
                        Ok(more) if message.len() < 128 * 1024 => next = more,
                        Ok(more) => {
                            connected.out.send(Message::Binary(message.split().freeze())).await?;
                            next = more;
                        }
                        Err(_) => break,
                    }
                }
                connected.out.send(Message::Binary(message.freeze())).await?;
            }
            message = connected.events.next() => {
                for event in generator::decode(message.context("ingest closed the socket")??)? {
                    match event {
                        event::Body::Rejected(rejected) => {
                            eprintln!("rejected: {} {}: {}", rejected.chunk_id, rejected.seq, rejected.message);
                        }
                        event::Body::Ping(ping) => {
                            connected.out.send(Message::Binary(generator::pong(&ping))).await?;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}
