//! The writing half of many websockets: a shard is one task that owns what waits for its sockets.
//!
//! It takes what the hub has for all of them in one turn, and gives each socket its part in one vectored write of shared
//! bytes: a frame for many sockets is encoded once and copied nowhere. Only a socket that does not take everything gets a
//! queue, which the hub bounds (R9). One that takes nothing for `write_timeout` is closed with a code that says
//! "reconnect".

use crate::hub::{Outgoing, Written};
use crate::metrics;
use crate::socket_state::SocketState;
use bytes::Bytes;
use driftless_gateway_core::{Frames, SocketId};
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::admission::spread_ms;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{close, limits};
use driftless_web::batch::{BATCH_MAX, Batches};
use driftless_web::socket::close_payload;
use driftless_web::stream::{CLOSE_TIMEOUT, Stream};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{SmallVec, smallvec};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown as Half;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Frames are joined into a message up to this, so that browsers need not wait for much; a large Chunk goes alone.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(MESSAGE_BYTES_MAX <= limits::SERVER_FRAME_BYTES_MAX);
/// Above this, nothing more is read from a socket whose answers would wait here; below half of it, it is heard again.
const CONGESTED_BYTES: usize = 64 * 1024;
/// Up to this, a message is put together in one piece; above, its frame is not copied.
const CONTIGUOUS_BYTES_MAX: usize = 16 * 1024;
/// Parts of one vectored write.
const PARTS_MAX: usize = 64;
/// Turns and wishes taken before what was written is told.
const TURN_MAX: usize = 256;
const TICK: Duration = Duration::from_millis(100);

/// What a shard is told.
pub(crate) enum ToShard {
    /// A connection.
    Opened(SocketId, Arc<SocketState>),
    /// What the hub has for sockets of this shard, in order.
    Batch(Vec<(SocketId, Outgoing)>),
    /// Events of the session itself, which the hub does not count.
    SessionEvents(SocketId, Bytes),
    /// The answer to a websocket ping.
    Pong(SocketId, Bytes),
    /// Write a close frame and be done.
    Close(SocketId, u16, String),
    /// As a close frame that came: it is answered by the same.
    CloseReply(SocketId, Bytes),
    /// The reading half has ended.
    Left(SocketId),
}

/// How shards behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardSettings {
    pub write_timeout: Duration,
    /// At the end, sockets are closed one after the other over this time.
    pub drain: Duration,
    /// They are told to come again at this rate.
    pub admissions_per_second: u32,
    /// Write to many at once where the kernel can.
    pub io_uring: bool,
}

/// Starts a shard.
pub(crate) fn start(
    rules: ShardSettings,
    clock: Clock,
    written: impl Fn(Written) + Send + 'static,
    shutdown: Shutdown,
) -> UnboundedSender<ToShard> {
    let (to, received) = unbounded_channel();
    let shard = Shard {
        rules,
        clock,
        writers: FxHashMap::default(),
        stuck: FxHashSet::default(),
        awaited: FxHashSet::default(),
        blocked: FuturesUnordered::new(),
        written: Vec::new(),
        tell: written,
        draining: None,
        batches: if rules.io_uring { batches() } else { Batches::default() },
        gathered: Vec::new(),
        batch: 0,
    };
    tokio::spawn(shard.run(received, shutdown));
    to
}

fn batches() -> Batches {
    static SAID: Once = Once::new();
    Batches::with_io_uring().unwrap_or_else(|e| {
        SAID.call_once(|| tracing::info!("there is no io_uring ({e}): sockets are written to one by one"));
        Batches::default()
    })
}

struct Shard<F> {
    rules: ShardSettings,
    clock: Clock,
    writers: FxHashMap<SocketId, Writer>,
    /// Sockets that have not taken everything.
    stuck: FxHashSet<SocketId>,
    /// Sockets that are waited for in `blocked`.
    awaited: FxHashSet<SocketId>,
    blocked: FuturesUnordered<BoxFuture<'static, SocketId>>,
    /// Bytes of the hub that were written in this turn.
    written: Written,
    tell: F,
    draining: Option<Draining>,
    batches: Batches,
    /// Messages that go out together: each in one part, to a socket that has nothing waiting, and no two to the same.
    gathered: Vec<(SocketId, Arc<SocketState>, Message)>,
    /// Counts the batches.
    batch: u64,
}

struct Draining {
    began: MonotonicMs,
    count: usize,
    /// Those that are not closed yet.
    sockets: Vec<SocketId>,
}

/// A socket, as its shard sees it.
struct Writer {
    line: Arc<SocketState>,
    /// Of a socket that has not taken everything. Memory is for those who are slow now.
    backlog: Option<Box<Backlog>>,
    end: End,
    /// The last batch that it was a part of.
    batch: u64,
}

/// What waits for a socket: at least one message.
struct Backlog {
    queue: VecDeque<Message>,
    /// Bytes of the first message that the socket has taken already.
    sent: usize,
    queued_bytes: usize,
    /// When it last took something.
    took: MonotonicMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    /// The last message in the queue is the end; it is not waited for longer than this.
    By(MonotonicMs),
}

/// A websocket message.
struct Message {
    /// In one part, which many sockets share, or as a head and shared frames.
    parts: Frames,
    len: usize,
    /// Bytes that the hub counts.
    counted: usize,
}

impl Message {
    fn new(opcode: OpCode, frames: Frames, is_counted: bool) -> Self {
        let bytes = frames.iter().map(Bytes::len).sum();
        let head = head(opcode, bytes);
        let len = head.len() + bytes;
        let counted = if is_counted { bytes } else { 0 };
        let parts = match len <= CONTIGUOUS_BYTES_MAX && frames.len() <= 1 {
            true => smallvec![[&head[..], frames.first().map_or(&[][..], |frame| &frame[..])].concat().into()],
            false => std::iter::once(Bytes::copy_from_slice(&head)).chain(frames).collect(),
        };
        Self { parts, len, counted }
    }

    /// The parts behind the first `skip` bytes.
    fn parts<'m>(&'m self, mut skip: usize, parts: &mut SmallVec<[IoSlice<'m>; 8]>) {
        for part in &self.parts {
            if parts.len() >= PARTS_MAX {
                return;
            }
            if skip >= part.len() {
                skip -= part.len();
            } else {
                parts.push(IoSlice::new(&part[skip..]));
                skip = 0;
            }
        }
    }
}

/// The message around the frame that was last written: a frame for many sockets is put into a message once.
#[derive(Default)]
struct MessageCache(Option<(Bytes, Bytes)>);

impl MessageCache {
    /// The message of one frame that the hub counts.
    fn message(&mut self, frame: Bytes) -> Message {
        if let Some((known, whole)) = &self.0
            && known.as_ptr() == frame.as_ptr()
            && known.len() == frame.len()
        {
            return Message { len: whole.len(), counted: frame.len(), parts: smallvec![whole.clone()] };
        }
        let message = Message::new(OpCode::Data(Data::Binary), smallvec![frame.clone()], true);
        // The frame is held, so that no other can come to stand in its place.
        self.0 = match &message.parts[..] {
            [whole] => Some((frame, whole.clone())),
            _ => None,
        };
        message
    }
}

/// A server's frame header: final, not masked.
fn head(opcode: OpCode, length: usize) -> SmallVec<[u8; 10]> {
    let first = 0x80 | u8::from(opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => smallvec![first, length],
        (_, Ok(length)) => {
            let [a, b] = length.to_be_bytes();
            smallvec![first, 126, a, b]
        }
        _ => {
            let mut head = smallvec![first, 127];
            head.extend_from_slice(&(length as u64).to_be_bytes());
            head
        }
    }
}

/// Joins frames into messages that stay below the limit, where a single frame does.
fn messages(framed: &mut MessageCache, mut frames: Frames, mut take: impl FnMut(Message)) {
    if frames.len() == 1 {
        return frames.pop().into_iter().for_each(|frame| take(framed.message(frame)));
    }
    let mut bytes = 0;
    let mut joined = Frames::new();
    for frame in frames {
        if bytes + frame.len() > MESSAGE_BYTES_MAX && !joined.is_empty() {
            take(Message::new(OpCode::Data(Data::Binary), std::mem::take(&mut joined), true));
            bytes = 0;
        }
        bytes += frame.len();
        joined.push(frame);
    }
    if !joined.is_empty() {
        take(Message::new(OpCode::Data(Data::Binary), joined, true));
    }
}

/// Writes without asking tokio first whether the socket can be written: mostly it can, and the look at tokio's own word on
/// it costs a cache miss (a tenth of what the gateway itself needs for a delivery). What a blocked socket leaves is asked
/// for through tokio, which then knows to watch it.
fn send(stream: &Stream, parts: &[IoSlice<'_>]) -> std::io::Result<usize> {
    let socket = SockRef::from(stream);
    // A flat send spares the kernel the list.
    let sent = match parts {
        [one] => socket.send(one),
        many => socket.send_vectored(many),
    };
    match sent {
        Err(e) if e.kind() == ErrorKind::WouldBlock => stream.try_write_vectored(parts),
        sent => sent,
    }
}

async fn writable(id: SocketId, line: Arc<SocketState>) -> SocketId {
    // An error is found by the write.
    let _ = line.stream.writable().await;
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
                        for _ in 0..TURN_MAX {
                            let Ok(message) = received.try_recv() else { break };
                            self.take(message);
                        }
                    }
                    // Neither the hub nor a socket is left.
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
                (self.tell)(std::mem::take(&mut self.written));
            }
            if self.draining.is_some() && self.writers.is_empty() {
                return;
            }
        }
    }

    fn take(&mut self, message: ToShard) {
        match message {
            ToShard::Opened(id, line) => {
                self.writers.insert(id, Writer { line, backlog: None, end: End::No, batch: 0 });
                if self.draining.is_some() {
                    self.shut(id);
                }
            }
            ToShard::Batch(outs) => {
                let mut framed = MessageCache::default();
                let is_batch = self.batches.is_worth_it(outs.len());
                self.batch += 1;
                for (id, out) in outs {
                    match out {
                        Outgoing::Frames(frames) if is_batch => {
                            messages(&mut framed, frames, |message| self.gather(id, message));
                        }
                        Outgoing::Frames(frames) => messages(&mut framed, frames, |message| self.write(id, message)),
                        Outgoing::Close(code, reason) => {
                            self.send_gathered();
                            self.close(id, code, &reason);
                        }
                    }
                }
                self.send_gathered();
            }
            ToShard::SessionEvents(id, frame) => {
                self.write(id, Message::new(OpCode::Data(Data::Binary), smallvec![frame], false));
            }
            ToShard::Pong(id, payload) => {
                self.write(id, Message::new(OpCode::Control(Control::Pong), smallvec![payload], false));
            }
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

    /// Writes it together with others, in the order of each socket.
    fn gather(&mut self, id: SocketId, message: Message) {
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let is_gathered = writer.batch == self.batch;
        if message.parts.len() == 1 && writer.backlog.is_none() && writer.end == End::No && !is_gathered {
            writer.batch = self.batch;
            self.gathered.push((id, Arc::clone(&writer.line), message));
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
            gathered.iter().map(|(_, line, message)| (line.stream.as_fd(), &message.parts[0][..])).collect();
        let mut results = Vec::with_capacity(sends.len());
        self.batches.send(&sends, &mut results);
        for ((id, _, message), sent) in gathered.into_iter().zip(results) {
            self.sent(id, message, sent);
        }
    }

    fn write(&mut self, id: SocketId, message: Message) {
        let Some(writer) = self.writers.get_mut(&id).filter(|writer| writer.end == End::No) else { return };
        if let Some(backlog) = &mut writer.backlog {
            backlog.push(message, &writer.line);
            return;
        }
        let mut parts = SmallVec::new();
        message.parts(0, &mut parts);
        let sent = send(&writer.line.stream, &parts);
        drop(parts);
        self.sent(id, message, sent);
    }

    /// A message was offered to a socket that had nothing waiting.
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

    /// What a socket did not take waits.
    fn keep(&mut self, id: SocketId, message: Message, sent: usize) {
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let mut backlog = Backlog { queue: VecDeque::new(), sent, queued_bytes: 0, took: self.clock.monotonic() };
        backlog.push(message, &writer.line);
        backlog.queued_bytes -= sent;
        writer.backlog = Some(Box::new(backlog));
        self.flush(id);
    }

    /// Writes what the socket takes now.
    fn flush(&mut self, id: SocketId) {
        let Some(writer) = self.writers.get_mut(&id) else { return };
        match writer.flush(self.clock, &mut |bytes| self.written.push((id, bytes))) {
            Flushed::All => drop(self.stuck.remove(&id)),
            Flushed::Broken => self.give_up(id),
            Flushed::Blocked => {
                self.stuck.insert(id);
                if self.awaited.insert(id) {
                    self.blocked.push(Box::pin(writable(id, Arc::clone(&writer.line))));
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

    fn end(&mut self, id: SocketId, payload: Bytes) {
        self.write(id, Message::new(OpCode::Control(Control::Close), smallvec![payload], false));
        let Some(writer) = self.writers.get_mut(&id).filter(|writer| writer.end == End::No) else { return };
        writer.end = End::By(self.clock.monotonic().plus_ms(CLOSE_TIMEOUT.as_millis() as u64));
        if writer.backlog.is_none() {
            writer.finish();
        }
    }

    /// Nothing more can be written: the reading half is told.
    fn give_up(&mut self, id: SocketId) {
        self.stuck.remove(&id);
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.backlog = None;
            writer.end = End::By(MonotonicMs::default());
            // Whoever waits until it is writable waits no more.
            writer.line.stream.shut(Half::Both);
            writer.line.end();
        }
    }

    fn tick(&mut self) {
        let now = self.clock.monotonic();
        for id in self.stuck.iter().copied().collect::<Vec<_>>() {
            self.retry(id, now);
        }
        self.drain_on(now);
    }

    /// The kernel calls a socket writable when a good part of its buffer is free: on a thin line that takes longer than
    /// anybody waits. So a write is tried now and then.
    fn retry(&mut self, id: SocketId, now: MonotonicMs) {
        self.flush(id);
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let Some(backlog) = &mut writer.backlog else { return };
        match writer.end {
            End::By(at) if now >= at => self.give_up(id),
            End::No if now.ms_since(backlog.took) > self.rules.write_timeout.as_millis() as u64 => {
                let reason = format!("the socket took nothing for {:?}", self.rules.write_timeout);
                // What it has begun to take must be whole before the close frame.
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
        // The oldest first, from the end.
        sockets.sort_unstable_by(|a, b| b.cmp(a));
        self.draining = Some(Draining { began: self.clock.monotonic(), count: sockets.len(), sockets });
        self.drain_on(self.clock.monotonic());
    }

    /// Closes as many sockets as are due, so that not all of them connect again at once.
    fn drain_on(&mut self, now: MonotonicMs) {
        let Some(draining) = &mut self.draining else { return };
        let passed = usize::try_from(now.ms_since(draining.began)).unwrap_or(0);
        let all = draining.count;
        let share = (all * passed).checked_div(self.rules.drain.as_millis() as usize);
        let due = share.map_or(all, |share| all.min(share + 1));
        for id in draining.sockets.split_off((all - due).min(draining.sockets.len())) {
            self.shut(id);
        }
    }

    fn shut(&mut self, id: SocketId) {
        let count = self.draining.as_ref().map_or(0, |draining| draining.count);
        let after_ms = rand::random_range(0..=spread_ms(count, self.rules.admissions_per_second));
        let reason = close::come_again("the server is shutting down: connect to another one", after_ms);
        self.close(id, close::SHUTTING_DOWN, &reason);
    }
}

enum Flushed {
    All,
    Blocked,
    Broken,
}

impl Writer {
    fn flush(&mut self, clock: Clock, written: &mut dyn FnMut(usize)) -> Flushed {
        while let Some(backlog) = &mut self.backlog {
            let sent = send(&self.line.stream, &backlog.parts());
            match sent {
                Ok(0) => return Flushed::Broken,
                Ok(count) => {
                    let is_empty = backlog.advance(count, written);
                    backlog.took = clock.monotonic();
                    self.line.took_bytes(backlog.took);
                    if backlog.queued_bytes < CONGESTED_BYTES / 2 {
                        self.line.set_congested(false);
                    }
                    if is_empty {
                        self.backlog = None;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Flushed::Broken,
            }
        }
        if self.end != End::No {
            self.finish();
        }
        Flushed::All
    }

    /// All was written. The peer hears that nothing more comes; what it still sends is read to its end.
    fn finish(&self) {
        self.line.stream.shut(Half::Write);
        self.line.end();
    }
}

impl Backlog {
    fn push(&mut self, message: Message, line: &SocketState) {
        self.queued_bytes += message.len;
        self.queue.push_back(message);
        if self.queued_bytes > CONGESTED_BYTES {
            line.set_congested(true);
        }
    }

    fn parts(&self) -> SmallVec<[IoSlice<'_>; 8]> {
        let mut parts = SmallVec::new();
        let mut skip = self.sent;
        for message in &self.queue {
            message.parts(skip, &mut parts);
            skip = 0;
            if parts.len() >= PARTS_MAX {
                break;
            }
        }
        parts
    }

    /// So many bytes were taken. True: nothing is left.
    fn advance(&mut self, mut count: usize, written: &mut dyn FnMut(usize)) -> bool {
        self.queued_bytes = self.queued_bytes.saturating_sub(count);
        while let Some(first) = self.queue.front() {
            let left = first.len - self.sent;
            if count < left {
                self.sent += count;
                return false;
            }
            count -= left;
            self.sent = 0;
            if first.counted > 0 {
                written(first.counted);
            }
            self.queue.pop_front();
        }
        true
    }

    /// All but the message that is being written. False: there is none.
    fn keep_partial_message(&mut self) -> bool {
        self.queue.truncate(usize::from(self.sent > 0));
        self.queued_bytes = self.queue.front().map_or(0, |first| first.len - self.sent);
        !self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;

    #[test]
    fn a_head_is_what_the_library_writes() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let mut expected = Vec::new();
            let payload = vec![0; length];
            Frame::message(payload.clone(), OpCode::Data(Data::Binary), true).format(&mut expected).unwrap();
            assert_eq!([&head(OpCode::Data(Data::Binary), length)[..], &payload].concat(), expected, "{length}");
        }
        assert_eq!(head(OpCode::Control(Control::Close), 2)[..], [0x88, 2]);
    }

    #[test]
    fn frames_are_joined_up_to_the_limit() {
        let sizes = |frames: &[usize]| {
            let mut sizes = Vec::new();
            let frames = frames.iter().map(|n| Bytes::from(vec![7; *n])).collect();
            messages(&mut MessageCache::default(), frames, |message| sizes.push(message.counted));
            sizes
        };
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&[5, 6, 7]), [18]);
        let most = MESSAGE_BYTES_MAX;
        assert_eq!(sizes(&[most - 1, 1, 1, 2]), [most, 3]);
        assert_eq!(sizes(&[1, most, most + 1, 2]), [1, most, most + 1, 2]);
    }

    #[test]
    fn parts_go_on_where_the_socket_stopped() {
        let frames = [Bytes::from_static(b"abc"), Bytes::from_static(b"defg")];
        let message = Message::new(OpCode::Data(Data::Binary), frames.into_iter().collect(), true);
        let whole = [&head(OpCode::Data(Data::Binary), 7)[..], b"abcdefg"].concat();
        for skip in 0..message.len {
            let mut parts = SmallVec::new();
            message.parts(skip, &mut parts);
            let joined: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            assert_eq!(joined, whole[skip..], "{skip}");
        }
    }
}
