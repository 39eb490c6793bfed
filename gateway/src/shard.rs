//! The writing half of many websockets: a shard is one task that owns what waits for its sockets.
//!
//! It takes what the hub has for all of them in one turn, and gives each socket its part in one vectored write of shared
//! bytes: a frame for many sockets is encoded once and copied nowhere. Only a socket that does not take everything gets a
//! queue, which the hub bounds (R9). One that takes nothing for `write_timeout` is closed with a code that says
//! "reconnect".

use crate::connection::now_ms;
use crate::hub::{Out, Written};
use crate::line::Line;
use crate::metrics;
use bytes::Bytes;
use driftless_gateway_core::{Frames, SocketId};
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime::socket::{FAREWELL, close_payload};
use driftless_runtime::stream::Stream;
use driftless_schemas::{close, limits};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{SmallVec, smallvec};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown as Half;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Frames are joined into a message up to this, so that browsers need not wait for much; a large Chunk goes alone.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(MESSAGE_BYTES_MAX <= limits::SERVER_FRAME_BYTES_MAX);
/// Above this, nothing more is read from a socket whose answers would wait here; below half of it, it is heard again.
const CLOGGED_BYTES: usize = 64 * 1024;
/// Parts of one vectored write.
const PARTS_MAX: usize = 64;
/// Turns and wishes taken before what was written is told.
const TURN_MAX: usize = 256;
const TICK: Duration = Duration::from_millis(100);

/// What a shard is told.
pub(crate) enum ToShard {
    /// A connection.
    Opened(SocketId, Arc<Line>),
    /// What the hub has for sockets of this shard, in order.
    Turn(Vec<(SocketId, Out)>),
    /// Events of the session itself, which the hub does not count.
    Own(SocketId, Bytes),
    /// The answer to a websocket ping.
    Pong(SocketId, Bytes),
    /// Write a close frame and be done.
    Close(SocketId, u16, String),
    /// As a close frame that came: it is answered by the same.
    Echo(SocketId, Bytes),
    /// The reading half has ended.
    Left(SocketId),
}

/// How shards behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub write_timeout: Duration,
    /// At the end, sockets are closed one after the other over this time.
    pub drain: Duration,
}

/// Starts a shard.
pub(crate) fn start(
    rules: Rules,
    written: impl Fn(Written) + Send + 'static,
    shutdown: Shutdown,
) -> UnboundedSender<ToShard> {
    let (to, received) = unbounded_channel();
    let shard = Shard {
        rules,
        writers: FxHashMap::default(),
        stuck: FxHashSet::default(),
        awaited: FxHashSet::default(),
        blocked: FuturesUnordered::new(),
        written: Vec::new(),
        tell: written,
        draining: None,
    };
    tokio::spawn(shard.run(received, shutdown));
    to
}

struct Shard<F> {
    rules: Rules,
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
}

struct Draining {
    began_ms: i64,
    count: usize,
    /// Those that are not closed yet.
    sockets: Vec<SocketId>,
}

/// What waits for a socket.
struct Writer {
    line: Arc<Line>,
    queue: VecDeque<Message>,
    /// Bytes of the first message that the socket has taken already.
    sent: usize,
    queued_bytes: usize,
    /// When it last took something, while anything waits.
    took_ms: i64,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    /// The last message in the queue is the end; it is not waited for longer than this.
    By(i64),
}

/// A websocket message: a head, and shared frames.
struct Message {
    head: SmallVec<[u8; 10]>,
    frames: Frames,
    len: usize,
    /// Bytes that the hub counts.
    counted: usize,
}

impl Message {
    fn new(opcode: OpCode, frames: Frames, is_counted: bool) -> Self {
        let bytes = frames.iter().map(Bytes::len).sum();
        let head = head(opcode, bytes);
        Self { len: head.len() + bytes, counted: if is_counted { bytes } else { 0 }, head, frames }
    }

    /// The parts behind the first `skip` bytes.
    fn parts<'m>(&'m self, mut skip: usize, parts: &mut SmallVec<[IoSlice<'m>; 8]>) {
        for part in std::iter::once(&self.head[..]).chain(self.frames.iter().map(|frame| &frame[..])) {
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
fn messages(frames: Frames, is_counted: bool, mut take: impl FnMut(Message)) {
    let mut bytes = 0;
    let mut joined = Frames::new();
    for frame in frames {
        if bytes + frame.len() > MESSAGE_BYTES_MAX && !joined.is_empty() {
            take(Message::new(OpCode::Data(Data::Binary), std::mem::take(&mut joined), is_counted));
            bytes = 0;
        }
        bytes += frame.len();
        joined.push(frame);
    }
    if !joined.is_empty() {
        take(Message::new(OpCode::Data(Data::Binary), joined, is_counted));
    }
}

async fn writable(id: SocketId, line: Arc<Line>) -> SocketId {
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
                let writer =
                    Writer { line, queue: VecDeque::new(), sent: 0, queued_bytes: 0, took_ms: 0, end: End::No };
                self.writers.insert(id, writer);
                if self.draining.is_some() {
                    self.shut(id);
                }
            }
            ToShard::Turn(outs) => {
                for (id, out) in outs {
                    match out {
                        Out::Frames(frames) => messages(frames, true, |message| self.write(id, message)),
                        Out::Close(code, reason) => self.close(id, code, &reason),
                    }
                }
            }
            ToShard::Own(id, frame) => messages(smallvec![frame], false, |message| self.write(id, message)),
            ToShard::Pong(id, payload) => {
                self.write(id, Message::new(OpCode::Control(Control::Pong), smallvec![payload], false));
            }
            ToShard::Close(id, code, reason) => self.close(id, code, &reason),
            ToShard::Echo(id, payload) => self.end(id, payload),
            ToShard::Left(id) => {
                if self.awaited.contains(&id) {
                    self.give_up(id);
                }
                self.writers.remove(&id);
                self.stuck.remove(&id);
            }
        }
    }

    fn write(&mut self, id: SocketId, message: Message) {
        let Some(writer) = self.writers.get_mut(&id).filter(|writer| writer.end == End::No) else { return };
        let waits = !writer.queue.is_empty();
        writer.queued_bytes += message.len;
        writer.queue.push_back(message);
        if writer.queued_bytes > CLOGGED_BYTES {
            writer.line.clog(true);
        }
        if !waits {
            writer.took_ms = 0;
            self.flush(id);
        }
    }

    /// Writes what the socket takes now.
    fn flush(&mut self, id: SocketId) {
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let done = writer.flush(|stream, parts| stream.try_write_vectored(parts), &mut |bytes| {
            self.written.push((id, bytes));
        });
        match done {
            Done::All => drop(self.stuck.remove(&id)),
            Done::Broken => self.give_up(id),
            Done::Blocked => {
                if writer.took_ms == 0 {
                    writer.took_ms = now_ms();
                }
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
        writer.end = End::By(now_ms() + FAREWELL.as_millis() as i64);
        if writer.queue.is_empty() {
            writer.finish();
        }
    }

    /// Nothing more can be written: the reading half is told.
    fn give_up(&mut self, id: SocketId) {
        self.stuck.remove(&id);
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.queue.clear();
            writer.queued_bytes = 0;
            writer.end = End::By(0);
            // Whoever waits until it is writable waits no more.
            writer.line.stream.shut(Half::Both);
            writer.line.end();
        }
    }

    fn tick(&mut self) {
        let now = now_ms();
        for id in self.stuck.iter().copied().collect::<Vec<_>>() {
            self.look_at(id, now);
        }
        self.drain_on(now);
    }

    /// The kernel calls a socket writable when a good part of its buffer is free: on a thin line that takes longer than
    /// anybody waits. So a write is tried now and then.
    fn look_at(&mut self, id: SocketId, now: i64) {
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let done = writer.flush(|stream, parts| SockRef::from(stream).send_vectored(parts), &mut |bytes| {
            self.written.push((id, bytes));
        });
        match (done, writer.end) {
            (Done::All, _) => drop(self.stuck.remove(&id)),
            (Done::Broken, _) => self.give_up(id),
            (Done::Blocked, End::By(at)) if now >= at => self.give_up(id),
            (Done::Blocked, End::No) if now - writer.took_ms > self.rules.write_timeout.as_millis() as i64 => {
                let reason = format!("the socket took nothing for {:?}", self.rules.write_timeout);
                // What it has begun to take must be whole before the close frame.
                writer.drop_what_waits();
                self.close(id, close::WRITE_TIMEOUT, &reason);
            }
            (Done::Blocked, _) => {}
        }
    }

    fn drain(&mut self) {
        let mut sockets: Vec<SocketId> = self.writers.keys().copied().collect();
        // The oldest first, from the end.
        sockets.sort_unstable_by(|a, b| b.cmp(a));
        self.draining = Some(Draining { began_ms: now_ms(), count: sockets.len(), sockets });
        self.drain_on(now_ms());
    }

    /// Closes as many sockets as are due, so that not all of them connect again at once.
    fn drain_on(&mut self, now: i64) {
        let Some(draining) = &mut self.draining else { return };
        let passed = usize::try_from(now - draining.began_ms).unwrap_or(0);
        let all = draining.count;
        let share = (all * passed).checked_div(self.rules.drain.as_millis() as usize);
        let due = share.map_or(all, |share| all.min(share + 1));
        for id in draining.sockets.split_off((all - due).min(draining.sockets.len())) {
            self.shut(id);
        }
    }

    fn shut(&mut self, id: SocketId) {
        self.close(id, close::SHUTTING_DOWN, "the server is shutting down: connect to another one");
    }
}

enum Done {
    All,
    Blocked,
    Broken,
}

impl Writer {
    fn flush(
        &mut self,
        mut write: impl FnMut(&Stream, &[IoSlice<'_>]) -> std::io::Result<usize>,
        written: &mut dyn FnMut(usize),
    ) -> Done {
        let is_late = self.took_ms > 0;
        while !self.queue.is_empty() {
            let mut parts = SmallVec::new();
            let mut skip = self.sent;
            for message in &self.queue {
                message.parts(skip, &mut parts);
                skip = 0;
                if parts.len() >= PARTS_MAX {
                    break;
                }
            }
            match write(&self.line.stream, &parts) {
                Ok(0) => return Done::Broken,
                Ok(count) => {
                    drop(parts);
                    self.advance(count, written);
                    if is_late || !self.queue.is_empty() {
                        self.took_ms = now_ms();
                        self.line.took(self.took_ms);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Done::Blocked,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Done::Broken,
            }
        }
        self.took_ms = 0;
        if self.end != End::No {
            self.finish();
        }
        Done::All
    }

    fn advance(&mut self, mut count: usize, written: &mut dyn FnMut(usize)) {
        self.queued_bytes = self.queued_bytes.saturating_sub(count);
        while let Some(first) = self.queue.front() {
            let left = first.len - self.sent;
            if count < left {
                self.sent += count;
                break;
            }
            count -= left;
            self.sent = 0;
            if first.counted > 0 {
                written(first.counted);
            }
            self.queue.pop_front();
        }
        if self.queued_bytes < CLOGGED_BYTES / 2 {
            self.line.clog(false);
        }
        if self.queue.is_empty() {
            // Memory is for those who are slow now.
            self.queue = VecDeque::new();
        }
    }

    /// All but the message that is being written.
    fn drop_what_waits(&mut self) {
        self.queue.truncate(usize::from(self.sent > 0));
        self.queued_bytes = self.queue.front().map_or(0, |first| first.len - self.sent);
    }

    /// All was written. The peer hears that nothing more comes; what it still sends is read to its end.
    fn finish(&self) {
        self.line.stream.shut(Half::Write);
        self.line.end();
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
            messages(frames, true, |message| sizes.push(message.counted));
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
        let whole = [&message.head[..], b"abcdefg"].concat();
        for skip in 0..message.len {
            let mut parts = SmallVec::new();
            message.parts(skip, &mut parts);
            let joined: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            assert_eq!(joined, whole[skip..], "{skip}");
        }
    }
}
