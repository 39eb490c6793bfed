//! A websocket's connection as its two halves share it: the reading task and the shard that writes.

use driftless_schemas::limits;
use driftless_schemas::time::MonotonicMs;
use driftless_web::stream::Stream;
use socket2::SockRef;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use tokio::sync::Notify;

/// The hub has not looked at the last requests yet.
const REQUESTS_PENDING: u8 = 1;
/// Much waits to be written.
const CONGESTED: u8 = 2;
/// The end was written, or never will be.
const ENDED: u8 = 4;

/// A connection.
pub(crate) struct SocketState {
    pub stream: Stream,
    state: AtomicU8,
    changed: Notify,
    /// When the peer last took bytes, by the gateway's monotonic clock.
    taken_ms: AtomicU64,
}

impl SocketState {
    pub fn new(stream: Stream) -> Self {
        if let Err(error) = SockRef::from(&stream).set_send_buffer_size(limits::SOCKET_SEND_BYTES) {
            tracing::debug!(%error, "the kernel chooses the send buffer");
        }
        Self { stream, state: AtomicU8::new(0), changed: Notify::new(), taken_ms: AtomicU64::new(0) }
    }

    /// Waits until something here has changed since it was last waited for. One task waits.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the peer may be heard: nobody can fill the hub's queue, or have answers made that it does not take.
    pub fn is_readable(&self) -> bool {
        self.state.load(Ordering::Acquire) & (REQUESTS_PENDING | CONGESTED) == 0
    }

    pub fn is_ended(&self) -> bool {
        self.state.load(Ordering::Acquire) & ENDED != 0
    }

    pub fn ask(&self) {
        self.set(REQUESTS_PENDING, true);
    }

    pub fn answered(&self) {
        self.set(REQUESTS_PENDING, false);
    }

    pub fn set_congested(&self, is_congested: bool) {
        self.set(CONGESTED, is_congested);
    }

    pub fn end(&self) {
        self.set(ENDED, true);
    }

    pub fn took_bytes(&self, now: MonotonicMs) {
        self.taken_ms.store(now.0, Ordering::Relaxed);
    }

    pub fn last_took_bytes(&self) -> MonotonicMs {
        MonotonicMs(self.taken_ms.load(Ordering::Relaxed))
    }

    fn set(&self, flag: u8, is_on: bool) {
        let before = match is_on {
            true => self.state.fetch_or(flag, Ordering::AcqRel),
            false => self.state.fetch_and(!flag, Ordering::AcqRel),
        };
        if (before & flag != 0) != is_on {
            self.changed.notify_one();
        }
    }
}
