//! A socket as the hub keeps it: its writer and access, the chunks that it tracks, and its queued
//! bytes.

use bytes::Bytes;
use driftless_runtime_core::rate::Bucket;
use driftless_schemas::access::Access;
use driftless_schemas::proto::Have;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, WriterId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// The id of a socket within a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// Encoded `ServerFrame`s for one socket, in order. Usually there is a single frame, whose bytes
/// many sockets share.
pub type Frames = SmallVec<[Bytes; 1]>;

/// The identity of a socket that joins.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Joined {
    /// The user's name, the token's `sub`.
    pub user: Arc<str>,
    /// The socket gets the outcomes of this writer.
    pub writer: WriterId,
    /// The chunks that the socket may read.
    pub access: Arc<Access>,
    /// The families whose models the client has; `None` means all families.
    pub families: Option<BTreeSet<String>>,
    /// The features that the client understands, as its Hello says.
    pub features: u32,
    /// The user's [requests, bytes of answers]; `None` if answers are not counted.
    pub bucket: Option<Bucket<2>>,
}

/// A chunk that lags for a socket.
#[derive(Clone, Debug)]
pub(crate) struct Lag {
    /// The state of the chunk that the client has. The updates that end the lag start after this
    /// state. `None` means that the client needs a whole state.
    pub have: Option<Have>,
    /// When the chunk began to lag.
    pub since: MonotonicMs,
}

/// A socket. Fields that each update touches come first and together, because with thousands of
/// sockets each further cache line costs a cache miss.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Socket {
    /// Bytes of frames that were sent and not yet reported as written.
    pub queued_bytes: usize,
    /// Frames for this socket in the current turn, which is the handling of one input.
    turn: Frames,
    /// True once the hub has closed the socket, which then gets no more frames.
    pub is_closing: bool,
    /// Chunks whose updates the hub skips for this socket until the queue has drained (R9).
    pub lagging: BTreeMap<ChunkId, Lag>,
    /// Chunks whose Track is not answered yet, in the order of the requests.
    answer_queue: BTreeMap<NonZeroU64, ChunkId>,
    pub joined: Joined,
    /// Tracked chunks, each with the key of its entry in `answer_queue`, if it has one.
    pub tracked: BTreeMap<ChunkId, Option<NonZeroU64>>,
    /// The last key that was used in `answer_queue`.
    last_key: u64,
    /// The lagging chunk that was brought up to date last.
    lagging_cursor: Option<ChunkId>,
    /// The last chunk that was considered for a beacon.
    pub beacon_cursor: Option<ChunkId>,
    /// When the next beacons are due.
    pub beacons_at: MonotonicMs,
}

impl Socket {
    pub fn new(joined: Joined, beacons_at: MonotonicMs) -> Self {
        Self {
            queued_bytes: 0,
            turn: Frames::new(),
            is_closing: false,
            lagging: BTreeMap::new(),
            answer_queue: BTreeMap::new(),
            joined,
            tracked: BTreeMap::new(),
            last_key: 0,
            lagging_cursor: None,
            beacon_cursor: None,
            beacons_at,
        }
    }

    /// Adds a frame to this turn; a closing socket gets no more frames. Returns true if this is the
    /// first frame of the turn.
    pub fn send(&mut self, frame: Bytes) -> bool {
        if self.is_closing {
            return false;
        }
        self.queued_bytes += frame.len();
        self.turn.push(frame);
        self.turn.len() == 1
    }

    /// Takes the frames of this turn; `None` if there are none.
    pub fn end_turn(&mut self) -> Option<Frames> {
        (!self.turn.is_empty()).then(|| std::mem::take(&mut self.turn))
    }

    /// Tracks a chunk and enqueues its answer. A repeated request keeps its place in the queue.
    pub fn enqueue_answer(&mut self, id: ChunkId) {
        if self.awaits_answer(&id) {
            return;
        }
        self.last_key += 1;
        let key = NonZeroU64::new(self.last_key);
        self.tracked.insert(id.clone(), key);
        self.answer_queue.extend(key.map(|key| (key, id)));
    }

    /// The chunk whose answer is next in the queue.
    pub fn next_answer(&self) -> Option<&ChunkId> {
        self.answer_queue.first_key_value().map(|(_, id)| id)
    }

    /// Returns true if a chunk's answer is in the queue.
    pub fn awaits_answer(&self, id: &ChunkId) -> bool {
        self.tracked.get(id).is_some_and(|key| key.is_some())
    }

    /// Removes a chunk's answer from the queue; the chunk stays tracked.
    pub fn dequeue_answer(&mut self, id: &ChunkId) {
        if let Some(key) = self.tracked.get_mut(id).and_then(Option::take) {
            self.answer_queue.remove(&key);
        }
    }

    /// Stops tracking a chunk. Returns its lag, if it lagged.
    pub fn untrack(&mut self, id: &ChunkId) -> Option<Lag> {
        self.dequeue_answer(id);
        self.tracked.remove(id);
        self.lagging.remove(id)
    }

    /// Removes and returns the next lagging chunk, round robin, so that a large chunk does not
    /// starve the others.
    pub fn next_lagging(&mut self) -> Option<(ChunkId, Lag)> {
        let after = self.lagging_cursor.as_ref().and_then(|cursor| {
            let mut later = self.lagging.range::<ChunkId, _>((Excluded(cursor), Unbounded));
            later.next().map(|(id, _)| id.clone())
        });
        let id = after.or_else(|| self.lagging.keys().next().cloned())?;
        let lag = self.lagging.remove(&id)?;
        self.lagging_cursor = Some(id.clone());
        Some((id, lag))
    }

    /// All tracked chunks, starting after the last one that was considered for a beacon.
    pub fn after_beacon_cursor(&self) -> impl Iterator<Item = &ChunkId> {
        let cursor = self.beacon_cursor.as_ref();
        let after = cursor.map_or(Unbounded, Excluded);
        let rest = self.tracked.range::<ChunkId, _>((after, Unbounded));
        let again = cursor.map(|cursor| self.tracked.range::<ChunkId, _>(..=cursor));
        rest.chain(again.into_iter().flatten()).map(|(id, _)| id)
    }
}
