//! A shard: one task that writes to many websockets.
//!
//! A shard takes the hub's output of one turn for all its sockets, and writes the frames of each
//! socket with one call. A frame for many sockets is encoded once, and the sockets share its bytes.
//! Where the kernel has io_uring, one call writes to up to [`BATCH_MAX`] sockets. Only a socket
//! whose write was partial gets a backlog, and the hub bounds its size (R9). A socket that takes no
//! bytes for `write_timeout` is closed with a code that asks the client to reconnect.

mod message;
mod writer;

use crate::metrics;
use crate::socket_state::SocketState;
use bytes::Bytes;
use driftless_gateway_core::{Frames, SocketId};
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::admission::spread_ms;
use driftless_schemas::close;
use driftless_schemas::time::MonotonicMs;
use driftless_web::batch::{BATCH_MAX, Batches};
use driftless_web::socket::close_payload;
use driftless_web::stream::CLOSE_TIMEOUT;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use message::{Message, MessageCache};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use writer::{End, Flushed, Writer, send};

/// Limit on the messages handled before the shard reports written bytes to the hub.
const MESSAGES_PER_REPORT: usize = 256;
/// Interval at which a shard retries stuck sockets and, at shutdown, closes the sockets that are
/// due.
const TICK: Duration = Duration::from_millis(100);

/// The hub's output for a socket in one turn.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Frames to write, in order.
    Frames(Frames),
    /// Close with this code and reason, after the frames before it.
    Close(u16, String),
}

/// Bytes of the hub's frames that were written, by socket.
pub(crate) type Written = Vec<(SocketId, usize)>;

/// A message to a shard.
pub(crate) enum ToShard {
    /// A websocket was opened.
    Opened(SocketId, Arc<SocketState>),
    /// The hub's output for sockets of this shard, in order.
    Batch(Vec<(SocketId, Outgoing)>),
    /// Events of the socket's session. The hub does not count their bytes as queued.
    SessionEvents(SocketId, Bytes),
    /// A websocket ping waits for its pong ([`SocketState::take_ping`]).
    Pinged(SocketId),
    /// Write a close frame with this code and reason, then nothing more.
    Close(SocketId, u16, String),
    /// The client closed the socket: answer with the payload of its close frame.
    CloseReply(SocketId, Bytes),
    /// The reading half has ended, so the shard drops the socket.
    Left(SocketId),
}

/// Settings of the shards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardSettings {
    /// Number of shards.
    pub count: usize,
    /// A socket that takes none of its queued bytes for this long is closed.
    pub write_timeout: Duration,
    /// At shutdown, a shard closes its sockets one after the other over this time.
    pub drain: Duration,
    /// At shutdown, the close reasons spread the clients' reconnections over time at this rate.
    pub admissions_per_second: u32,
    /// Write to many sockets with one system call where the kernel can.
    pub io_uring: bool,
}

/// Starts a shard and returns the channel for its messages. The shard calls `report` with the bytes
/// that it has written to each socket.
pub(crate) fn start(
    settings: ShardSettings,
    clock: Clock,
    report: impl Fn(Written) + Send + 'static,
    shutdown: Shutdown,
) -> UnboundedSender<ToShard> {
    let (to, received) = unbounded_channel();
    let shard = Shard {
        settings,
        clock,
        writers: FxHashMap::default(),
        stuck: FxHashSet::default(),
        awaited: FxHashSet::default(),
        blocked: FuturesUnordered::new(),
        written: Vec::new(),
        report,
        draining: None,
        batches: if settings.io_uring { batches() } else { Batches::default() },
        gathered: Vec::new(),
        batch: 0,
    };
    tokio::spawn(shard.run(received, shutdown));
    to
}

fn batches() -> Batches {
    static LOGGED: Once = Once::new();
    Batches::with_io_uring().unwrap_or_else(|e| {
        LOGGED.call_once(|| tracing::info!("io_uring is not available ({e}): each socket gets a send of its own"));
        Batches::default()
    })
}

struct Shard<F> {
    settings: ShardSettings,
    clock: Clock,
    writers: FxHashMap<SocketId, Writer>,
    /// Sockets with a backlog whose last write blocked.
    stuck: FxHashSet<SocketId>,
    /// Sockets that have a future in `blocked`.
    awaited: FxHashSet<SocketId>,
    /// Futures of blocked sockets. Each resolves when its socket is writable again.
    blocked: FuturesUnordered<BoxFuture<'static, SocketId>>,
    /// Bytes of the hub's frames that were written and not yet reported.
    written: Written,
    report: F,
    draining: Option<Draining>,
    batches: Batches,
    /// Messages that go out with one call: each has one part, its socket has no backlog, and no two
    /// are for the same socket.
    gathered: Vec<(SocketId, Arc<SocketState>, Message)>,
    /// Number of the current batch, to compare with [`Writer::batch`].
    batch: u64,
}

/// The shutdown of a shard's sockets.
struct Draining {
    began: MonotonicMs,
    /// Number of sockets when the shutdown began.
    count: usize,
    /// Sockets that are still to be closed.
    sockets: Vec<SocketId>,
}

async fn writable(id: SocketId, socket: Arc<SocketState>) -> SocketId {
    // An error is ignored, because the next write reports it.
    let _ = socket.stream.writable().await;
    id
}

impl<F: Fn(Written)> Shard<F> {
    async fn run(mut self, mut received: UnboundedReceiver<ToShard>, shutdown: Shutdown) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = received.recv() => match message {
                    Some(message) => {
                        self.take(message);
                        for _ in 0..MESSAGES_PER_REPORT {
                            let Ok(message) = received.try_recv() else { break };
                            self.take(message);
                        }
                    }
                    // The hub and all sockets are gone.
                    None => return,
                },
                Some(id) = self.blocked.next() => {
                    self.awaited.remove(&id);
                    self.flush(id);
                }
                _ = tick.tick() => self.tick(),
                () = shutdown.wait(), if self.draining.is_none() => self.drain(),
            }
            if !self.written.is_empty() {
                (self.report)(std::mem::take(&mut self.written));
            }
            if self.draining.is_some() && self.writers.is_empty() {
                return;
            }
        }
    }

    fn take(&mut self, message: ToShard) {
        match message {
            ToShard::Opened(id, socket) => {
                self.writers.insert(id, Writer::new(socket));
                if self.draining.is_some() {
                    self.shut(id);
                }
            }
            ToShard::Batch(outgoing) => self.take_batch(outgoing),
            ToShard::SessionEvents(id, frame) => {
                let bytes = frame.len();
                self.write(id, Message::session(frame));
                if let Some(writer) = self.writers.get(&id) {
                    writer.socket.took_over(bytes);
                }
            }
            ToShard::Pinged(id) => self.pong(id),
            ToShard::Close(id, code, reason) => self.close(id, code, &reason),
            ToShard::CloseReply(id, payload) => self.end(id, payload),
            ToShard::Left(id) => {
                if self.awaited.contains(&id) {
                    self.give_up(id);
                }
                self.writers.remove(&id);
                self.stuck.remove(&id);
            }
        }
    }

    fn take_batch(&mut self, outgoing: Vec<(SocketId, Outgoing)>) {
        let mut cache = MessageCache::default();
        let is_batch = self.batches.is_worth_it(outgoing.len());
        self.batch += 1;
        for (id, outgoing) in outgoing {
            match outgoing {
                Outgoing::Frames(frames) if is_batch => cache.messages(frames, |message| self.gather(id, message)),
                Outgoing::Frames(frames) => cache.messages(frames, |message| self.write(id, message)),
                Outgoing::Close(code, reason) => {
                    self.send_gathered();
                    self.close(id, code, &reason);
                }
            }
        }
        self.send_gathered();
    }

    /// Adds a message to the batch if one call can write it together with others. Keeps the order
    /// of each socket's messages.
    fn gather(&mut self, id: SocketId, message: Message) {
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let is_gathered = writer.batch == self.batch;
        if message.parts.len() == 1 && writer.backlog.is_none() && writer.end == End::No && !is_gathered {
            writer.batch = self.batch;
            self.gathered.push((id, Arc::clone(&writer.socket), message));
            if self.gathered.len() >= BATCH_MAX {
                self.send_gathered();
            }
            return;
        }
        if is_gathered {
            self.send_gathered();
        }
        self.write(id, message);
    }

    fn send_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let gathered = std::mem::take(&mut self.gathered);
        self.batch += 1;
        let sends: Vec<_> =
            gathered.iter().map(|(_, socket, message)| (socket.stream.as_fd(), &message.parts[0][..])).collect();
        let mut results = Vec::with_capacity(sends.len());
        self.batches.send(&sends, &mut results);
        for ((id, _, message), sent) in gathered.into_iter().zip(results) {
            self.sent(id, message, sent);
        }
    }

    fn write(&mut self, id: SocketId, message: Message) {
        let Some(writer) = self.writers.get_mut(&id).filter(|writer| writer.end == End::No) else { return };
        if let Some(backlog) = &mut writer.backlog {
            backlog.push(message, &writer.socket);
            return;
        }
        let mut parts = SmallVec::new();
        message.parts(0, &mut parts);
        let sent = send(&writer.socket.stream, &parts);
        drop(parts);
        self.sent(id, message, sent);
    }

    /// Writes the pong that waits. Behind a backlog it waits on, so that pings cannot make the
    /// backlog longer.
    fn pong(&mut self, id: SocketId) {
        let waiting = self.writers.get(&id).filter(|writer| writer.backlog.is_none());
        if let Some(payload) = waiting.and_then(|writer| writer.socket.take_ping()) {
            self.write(id, Message::pong(payload));
        }
    }

    /// Handles the result of writing a message to a socket without a backlog.
    fn sent(&mut self, id: SocketId, message: Message, sent: std::io::Result<usize>) {
        match sent {
            Ok(count) if count == message.len => {
                if message.counted > 0 {
                    self.written.push((id, message.counted));
                }
            }
            Ok(0) => self.give_up(id),
            Ok(count) => self.keep(id, message, count),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => self.keep(id, message, 0),
            Err(_) => self.give_up(id),
        }
    }

    /// Enqueues the rest of a partial write.
    fn keep(&mut self, id: SocketId, message: Message, sent: usize) {
        let Some(writer) = self.writers.get_mut(&id) else { return };
        writer.keep(message, sent, self.clock.monotonic());
        self.flush(id);
    }

    /// Writes as much of a backlog as the socket takes now.
    fn flush(&mut self, id: SocketId) {
        let Some(writer) = self.writers.get_mut(&id) else { return };
        match writer.flush(self.clock, &mut |bytes| self.written.push((id, bytes))) {
            Flushed::All => {
                self.stuck.remove(&id);
                self.pong(id);
            }
            Flushed::Broken => self.give_up(id),
            Flushed::Blocked => {
                self.stuck.insert(id);
                if self.awaited.insert(id) {
                    self.blocked.push(Box::pin(writable(id, Arc::clone(&writer.socket))));
                }
            }
        }
    }

    fn close(&mut self, id: SocketId, code: u16, reason: &str) {
        if self.writers.get(&id).is_some_and(|writer| writer.end == End::No) {
            metrics::closed(code);
        }
        self.end(id, close_payload(code, reason));
    }

    /// Enqueues the close frame.
    fn end(&mut self, id: SocketId, payload: Bytes) {
        self.write(id, Message::close(payload));
        let Some(writer) = self.writers.get_mut(&id).filter(|writer| writer.end == End::No) else { return };
        writer.end = End::By(self.clock.monotonic().plus_ms(CLOSE_TIMEOUT.as_millis() as u64));
        if writer.backlog.is_none() {
            writer.finish();
        }
    }

    fn give_up(&mut self, id: SocketId) {
        self.stuck.remove(&id);
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.give_up();
        }
    }

    fn tick(&mut self) {
        let now = self.clock.monotonic();
        for id in self.stuck.iter().copied().collect::<Vec<_>>() {
            self.retry(id, now);
        }
        self.drain_on(now);
    }

    /// Tries to write to a stuck socket, and closes it if it has taken nothing for too long.
    ///
    /// The kernel calls a socket writable only when a large part of its buffer is free, which on a
    /// slow line takes longer than the write timeout. So the shard also tries at each tick.
    fn retry(&mut self, id: SocketId, now: MonotonicMs) {
        self.flush(id);
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let Some(backlog) = &mut writer.backlog else { return };
        match writer.end {
            End::By(at) if now >= at => self.give_up(id),
            End::No if now.ms_since(backlog.took) > self.settings.write_timeout.as_millis() as u64 => {
                let reason = format!("the socket took nothing for {:?}", self.settings.write_timeout);
                if !backlog.keep_partial_message() {
                    writer.backlog = None;
                }
                self.close(id, close::WRITE_TIMEOUT, &reason);
            }
            _ => {}
        }
    }

    fn drain(&mut self) {
        let mut sockets: Vec<SocketId> = self.writers.keys().copied().collect();
        // Sockets are taken from the end: the oldest first.
        sockets.sort_unstable_by(|a, b| b.cmp(a));
        let now = self.clock.monotonic();
        self.draining = Some(Draining { began: now, count: sockets.len(), sockets });
        self.drain_on(now);
    }

    /// Closes the sockets that are due, spread over the drain time, so that clients do not all
    /// reconnect at once.
    fn drain_on(&mut self, now: MonotonicMs) {
        let Some(draining) = &mut self.draining else { return };
        let passed = usize::try_from(now.ms_since(draining.began)).unwrap_or(usize::MAX);
        let all = draining.count;
        let share = all.saturating_mul(passed).checked_div(self.settings.drain.as_millis() as usize);
        let due = share.map_or(all, |share| all.min(share + 1));
        for id in draining.sockets.split_off((all - due).min(draining.sockets.len())) {
            self.shut(id);
        }
    }

    fn shut(&mut self, id: SocketId) {
        let count = self.draining.as_ref().map_or(0, |draining| draining.count);
        let after_ms = rand::random_range(0..=spread_ms(count, self.settings.admissions_per_second));
        let reason = close::come_again("the server is shutting down: connect to another one", after_ms);
        self.close(id, close::SHUTTING_DOWN, &reason);
    }
}
