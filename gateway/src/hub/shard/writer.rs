//! A socket as its shard sees it, and the backlog of a socket whose last write was partial.

use super::message::{Message, PARTS_MAX};
use crate::socket_state::SocketState;
use driftless_runtime::clock::Clock;
use driftless_schemas::time::MonotonicMs;
use driftless_web::stream::Stream;
use smallvec::SmallVec;
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown as Half;
use std::sync::Arc;

/// If the backlog has more bytes than this, the socket is not read, because answers would only make
/// the backlog longer. Once the backlog has less than half as many, the socket is read again.
const CONGESTED_BYTES: usize = 64 * 1024;

/// A socket.
pub(super) struct Writer {
    pub socket: Arc<SocketState>,
    /// Messages that the socket has not taken yet. Boxed, because only slow sockets have one.
    pub backlog: Option<Box<Backlog>>,
    pub end: End,
    /// Number of the last batch that has a message for this socket.
    pub batch: u64,
}

/// Whether the close frame was enqueued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The close frame was not enqueued.
    No,
    /// The close frame was enqueued as the last message. If the socket has not taken it by this
    /// time, the shard gives up on the socket.
    By(MonotonicMs),
}

/// Messages that wait until their socket takes them. There is at least one.
pub(super) struct Backlog {
    queue: VecDeque<Message>,
    /// Bytes of the first message that were written.
    sent: usize,
    queued_bytes: usize,
    /// When the socket last took bytes, or when the backlog began if it took none since.
    pub took: MonotonicMs,
}

/// The result of writing a backlog.
pub(super) enum Flushed {
    /// The whole backlog was written.
    All,
    /// The socket takes no more bytes now.
    Blocked,
    /// The connection is broken.
    Broken,
}

impl Writer {
    pub fn new(socket: Arc<SocketState>) -> Self {
        Self { socket, backlog: None, end: End::No, batch: 0 }
    }

    /// Starts a backlog with a message of which `sent` bytes were written.
    pub fn keep(&mut self, message: Message, sent: usize, now: MonotonicMs) {
        let mut backlog = Backlog { queue: VecDeque::new(), sent, queued_bytes: 0, took: now };
        backlog.push(message, &self.socket);
        backlog.queued_bytes -= sent;
        self.backlog = Some(Box::new(backlog));
    }

    /// Writes as much of the backlog as the socket takes. Calls `written` for each message that was
    /// written completely, with the number of its bytes that the hub counts.
    pub fn flush(&mut self, clock: Clock, written: &mut dyn FnMut(usize)) -> Flushed {
        while let Some(backlog) = &mut self.backlog {
            let sent = send(&self.socket.stream, &backlog.parts());
            match sent {
                Ok(0) => return Flushed::Broken,
                Ok(count) => {
                    let is_empty = backlog.advance(count, clock.monotonic(), written);
                    self.socket.took_bytes(backlog.took);
                    if backlog.queued_bytes < CONGESTED_BYTES / 2 {
                        self.socket.set_congested(false);
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

    /// Shuts the writing half of the connection after the close frame was written, so that the peer
    /// sees the end. The reading half still drains what the peer sends.
    pub fn finish(&self) {
        self.socket.stream.shut(Half::Write);
        self.socket.set_ended();
    }

    /// Drops the backlog and tells the reading half that nothing more can be written.
    pub fn give_up(&mut self) {
        self.backlog = None;
        self.end = End::By(MonotonicMs::default());
        // Also wakes the future that waits for the socket to become writable.
        self.socket.stream.shut(Half::Both);
        self.socket.set_ended();
    }
}

impl Backlog {
    pub fn push(&mut self, message: Message, socket: &SocketState) {
        self.queued_bytes += message.len;
        self.queue.push_back(message);
        if self.queued_bytes > CONGESTED_BYTES {
            socket.set_congested(true);
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

    /// Removes `count` written bytes. Returns true if nothing is left.
    fn advance(&mut self, mut count: usize, now: MonotonicMs, written: &mut dyn FnMut(usize)) -> bool {
        self.took = now;
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

    /// Drops all messages except one whose write was partial, because the rest of that message must
    /// come before a close frame. Returns false if no message is left.
    pub fn keep_partial_message(&mut self) -> bool {
        self.queue.truncate(usize::from(self.sent > 0));
        self.queued_bytes = self.queue.front().map_or(0, |first| first.len - self.sent);
        !self.queue.is_empty()
    }
}

/// Writes without asking tokio first whether the socket is writable: it almost always is, and
/// reading tokio's readiness costs a cache miss (a tenth of the gateway's own cost of a delivery).
/// A blocked write is tried again through tokio, so that tokio watches the socket.
pub(super) fn send(stream: &Stream, parts: &[IoSlice<'_>]) -> std::io::Result<usize> {
    let socket = SockRef::from(stream);
    // A plain send is cheaper than a vectored one, because the kernel need not read a list.
    let sent = match parts {
        [one] => socket.send(one),
        many => socket.send_vectored(many),
    };
    match sent {
        Err(e) if e.kind() == ErrorKind::WouldBlock => stream.try_write_vectored(parts),
        sent => sent,
    }
}
