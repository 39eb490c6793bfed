//! The core's state of one websocket: the progress of Hello and Welcome, pings, and the frames that
//! wait to be sent.
//!
//! Requests are batched. Each request is appended to the last frame in the queue. A new frame
//! begins when the shell has taken that frame, or when it has reached the server's limit.

use bytes::Bytes;
use driftless_schemas::proto::{self, Ping, Request, request};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{WorldId, limits, wire};
use std::collections::VecDeque;

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Down,
    /// The socket is open, and Hello is not sent yet. Hello may have to wait until the other socket
    /// has got the session.
    Open,
    /// Hello is sent; Welcome is not received yet.
    HelloSent,
    Welcomed,
}

/// The state of one websocket.
pub(crate) struct Connection {
    /// How far the connection is from opening to Welcome.
    pub phase: Phase,
    /// The token that Hello carries.
    pub token: String,
    /// The world that the server named in its Welcome; `None` before Welcome, and for a world
    /// without an id.
    pub world: Option<WorldId>,
    /// When the server's last message arrived; at first, when the socket opened.
    received_at: MonotonicMs,
    /// When the client last sent Ping; at first, when the socket opened.
    pinged_at: MonotonicMs,
    nonce: u64,
    /// The largest frame that the server accepts, in bytes.
    frame_bytes_max: usize,
    /// Encoded frames to which no request can be added, in the order of sending.
    full_frames: VecDeque<Vec<u8>>,
    /// The encoded frame to which requests are added.
    frame: Vec<u8>,
    /// The number of requests in `frame`.
    requests: usize,
}

impl Connection {
    pub fn new() -> Self {
        Self {
            phase: Phase::Down,
            token: String::new(),
            world: None,
            received_at: MonotonicMs(0),
            pinged_at: MonotonicMs(0),
            nonce: 0,
            frame_bytes_max: limits::CLIENT_FRAME_BYTES_MAX,
            full_frames: VecDeque::new(),
            frame: Vec::new(),
            requests: 0,
        }
    }

    pub fn open(&mut self, now: MonotonicMs, token: String) {
        *self = Self { phase: Phase::Open, token, received_at: now, pinged_at: now, ..Self::new() };
    }

    pub fn close(&mut self) {
        *self = Self::new();
    }

    pub fn is_welcomed(&self) -> bool {
        self.phase == Phase::Welcomed
    }

    pub fn limits(&mut self, limits: &proto::Limits) {
        let bytes = usize::try_from(limits.frame_bytes_max).unwrap_or(usize::MAX);
        if bytes > 0 {
            self.frame_bytes_max = bytes.min(limits::CLIENT_FRAME_BYTES_MAX);
        }
    }

    pub fn push(&mut self, body: request::Body) {
        if self.phase == Phase::Down {
            return;
        }
        let request = wire::encode(&Request { body: Some(body) });
        // The tag and the length in front of each request take at most 6 bytes together.
        let is_full = self.frame.len() + request.len() + 6 > self.frame_bytes_max;
        if self.requests > 0 && (is_full || self.requests >= limits::CLIENT_FRAME_REQUESTS_MAX) {
            self.full_frames.push_back(std::mem::take(&mut self.frame));
            self.requests = 0;
        }
        self.requests += 1;
        wire::push(&mut self.frame, &request);
    }

    /// Takes the next frame to send; `None` if no request waits.
    pub fn take_frame(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.full_frames.pop_front() {
            return Some(frame.into());
        }
        self.requests = 0;
        (!self.frame.is_empty()).then(|| std::mem::take(&mut self.frame).into())
    }

    pub fn has_output(&self) -> bool {
        !self.full_frames.is_empty() || !self.frame.is_empty()
    }

    pub fn received(&mut self, now: MonotonicMs) {
        self.received_at = now;
    }

    pub fn is_dead(&self, now: MonotonicMs, dead_after_ms: u64) -> bool {
        self.phase != Phase::Down && now >= self.received_at.plus_ms(dead_after_ms)
    }

    pub fn ping(&mut self, now: MonotonicMs, interval_ms: u64) {
        if self.is_welcomed() && now >= self.pinged_at.plus_ms(interval_ms) {
            self.pinged_at = now;
            self.nonce += 1;
            self.push(request::Body::Ping(Ping { nonce: self.nonce }));
        }
    }

    pub fn deadline(&self, interval_ms: u64, dead_after_ms: u64) -> MonotonicMs {
        let dead = self.received_at.plus_ms(dead_after_ms);
        match self.phase {
            Phase::Down => MonotonicMs::NEVER,
            Phase::Welcomed => dead.min(self.pinged_at.plus_ms(interval_ms)),
            Phase::Open | Phase::HelloSent => dead,
        }
    }
}
