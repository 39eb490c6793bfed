//! The state of a websocket's connection that its two halves share: the task that reads, and the
//! shard that writes.

use bytes::Bytes;
use driftless_schemas::limits;
use driftless_schemas::time::MonotonicMs;
use driftless_web::stream::Stream;
use socket2::SockRef;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Flag: the hub has not handled the socket's last requests yet.
const REQUESTS_PENDING: u8 = 1;
/// Flag: the socket's backlog of unwritten bytes is too long to read more requests.
const CONGESTED: u8 = 2;
/// Flag: the close frame was written, or can never be written.
const ENDED: u8 = 4;

/// The state of a websocket's connection.
pub(crate) struct SocketState {
    pub stream: Stream,
    flags: AtomicU8,
    changed: Notify,
    /// The bytes of session events that are on their way to the shard.
    owed: AtomicUsize,
    /// The payload of the newest ping that has no pong yet. RFC 6455 allows one pong for several
    /// pings, so never more than one waits.
    ping: Mutex<Option<Bytes>>,
    /// When the peer last took bytes, by the gateway's monotonic clock.
    took_bytes_ms: AtomicU64,
}

impl SocketState {
    pub fn new(stream: Stream) -> Self {
        if let Err(error) = SockRef::from(&stream).set_send_buffer_size(limits::SOCKET_SEND_BYTES) {
            tracing::debug!(%error, "cannot set the send buffer's size: the kernel chooses it");
        }
        Self {
            stream,
            flags: AtomicU8::new(0),
            changed: Notify::new(),
            owed: AtomicUsize::new(0),
            ping: Mutex::default(),
            took_bytes_ms: AtomicU64::new(0),
        }
    }

    /// Waits until a flag has changed since the last wait. Only one task may wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns true if the socket may be read. Otherwise more requests would grow the hub's queue,
    /// or produce answers that the client does not take.
    pub fn is_readable(&self) -> bool {
        self.flags.load(Ordering::Acquire) & (REQUESTS_PENDING | CONGESTED) == 0
            && self.owed.load(Ordering::Acquire) <= limits::UNSENT_BYTES_MAX
    }

    /// Notes session events that are sent to the shard. Their number has no other limit than that
    /// the socket is not read while there are many.
    pub fn owes(&self, bytes: usize) {
        self.owed.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Notes that the shard has taken session events. From now on they are a part of its backlog.
    pub fn took_over(&self, bytes: usize) {
        let before = self.owed.fetch_sub(bytes, Ordering::AcqRel);
        if before > limits::UNSENT_BYTES_MAX && before - bytes <= limits::UNSENT_BYTES_MAX {
            self.changed.notify_one();
        }
    }

    /// Notes a ping that needs a pong. Returns true if no pong was waiting yet, so that the shard
    /// must be told.
    pub fn pinged(&self, payload: Bytes) -> bool {
        self.ping.lock().unwrap_or_else(PoisonError::into_inner).replace(payload).is_none()
    }

    /// Takes the payload of the pong that waits.
    pub fn take_ping(&self) -> Option<Bytes> {
        self.ping.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns true if nothing more can be written, because the close frame was written or the
    /// shard gave up on the socket.
    pub fn is_ended(&self) -> bool {
        self.flags.load(Ordering::Acquire) & ENDED != 0
    }

    pub fn set_requests_pending(&self, is_pending: bool) {
        self.set(REQUESTS_PENDING, is_pending);
    }

    pub fn set_congested(&self, is_congested: bool) {
        self.set(CONGESTED, is_congested);
    }

    pub fn set_ended(&self) {
        self.set(ENDED, true);
    }

    pub fn took_bytes(&self, now: MonotonicMs) {
        self.took_bytes_ms.store(now.0, Ordering::Relaxed);
    }

    /// When the peer last took bytes of a backlog; the clock's start if it never did.
    pub fn last_took_bytes(&self) -> MonotonicMs {
        MonotonicMs(self.took_bytes_ms.load(Ordering::Relaxed))
    }

    fn set(&self, flag: u8, is_on: bool) {
        let before = match is_on {
            true => self.flags.fetch_or(flag, Ordering::AcqRel),
            false => self.flags.fetch_and(!flag, Ordering::AcqRel),
        };
        if (before & flag != 0) != is_on {
            self.changed.notify_one();
        }
    }
}
