//! What the hub knows of a socket: who it is, what it tracks, and how much waits for it.

use bytes::Bytes;
use driftless_schemas::access::Access;
use driftless_schemas::proto::Have;
use driftless_schemas::{ChunkId, WriterId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// Names a socket within a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// Encoded `ServerFrame`s, in order. Mostly it is one, which many sockets share.
pub type Frames = SmallVec<[Bytes; 1]>;

/// Who has come.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Joined {
    /// Its writer id: it gets the outcomes of this writer.
    pub writer: WriterId,
    /// What it may read.
    pub access: Arc<Access>,
    /// The families whose models it has; `None` is all.
    pub families: Option<BTreeSet<String>>,
}

/// A chunk that lags for a socket.
#[derive(Clone, Debug)]
pub(crate) struct Lag {
    /// What it holds of it.
    pub have: Option<Have>,
    pub since_ms: u64,
}

/// A socket. What each update touches comes first and together: with thousands of sockets, every line of it is a cache miss.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Socket {
    /// Bytes that were handed out and not yet reported as written.
    pub queued_bytes: usize,
    /// Gathered in this turn.
    turn: Frames,
    pub is_closing: bool,
    /// Chunks whose updates are skipped.
    pub lagging: BTreeMap<ChunkId, Lag>,
    /// What it asked to track and has no answer to, in the order of its requests.
    answer_queue: BTreeMap<NonZeroU64, ChunkId>,
    pub joined: Joined,
    /// What it tracks, or waits for, with the place of an answer that it waits for in turn.
    pub tracked: BTreeMap<ChunkId, Option<NonZeroU64>>,
    requests: u64,
    /// The last of the lagging chunks that was brought up to date.
    lagging_cursor: Option<ChunkId>,
    /// The last chunk that was looked at for a beacon.
    pub beacon_cursor: Option<ChunkId>,
    /// When its next beacons are due.
    pub beacons_ms: u64,
}

impl Socket {
    pub fn new(joined: Joined, beacons_ms: u64) -> Self {
        Self {
            queued_bytes: 0,
            turn: Frames::new(),
            is_closing: false,
            lagging: BTreeMap::new(),
            answer_queue: BTreeMap::new(),
            joined,
            tracked: BTreeMap::new(),
            requests: 0,
            lagging_cursor: None,
            beacon_cursor: None,
            beacons_ms,
        }
    }

    /// True where it is the first frame of a turn. After a close nothing goes out any more.
    pub fn send(&mut self, frame: Bytes) -> bool {
        if self.is_closing {
            return false;
        }
        self.queued_bytes += frame.len();
        self.turn.push(frame);
        self.turn.len() == 1
    }

    /// What it gets in this turn, if anything.
    pub fn end_turn(&mut self) -> Option<Frames> {
        (!self.turn.is_empty()).then(|| std::mem::take(&mut self.turn))
    }

    /// Takes a place for a chunk's answer, behind all that was asked for before. Who asks again keeps its place.
    pub fn enqueue_answer(&mut self, id: ChunkId) {
        if self.awaits_answer(&id) {
            return;
        }
        self.requests += 1;
        let place = NonZeroU64::new(self.requests);
        self.tracked.insert(id.clone(), place);
        self.answer_queue.extend(place.map(|place| (place, id)));
    }

    /// The chunk whose answer comes next.
    pub fn next_answer(&self) -> Option<&ChunkId> {
        self.answer_queue.first_key_value().map(|(_, id)| id)
    }

    /// Whether a chunk's answer has its place among the others.
    pub fn awaits_answer(&self, id: &ChunkId) -> bool {
        self.tracked.get(id).is_some_and(|place| place.is_some())
    }

    /// Gives up the place of a chunk's answer, which is still tracked.
    pub fn dequeue_answer(&mut self, id: &ChunkId) {
        if let Some(place) = self.tracked.get_mut(id).and_then(Option::take) {
            self.answer_queue.remove(&place);
        }
    }

    /// Tracks it no more. The time since when it lagged, if it did.
    pub fn untrack(&mut self, id: &ChunkId) -> Option<Lag> {
        self.dequeue_answer(id);
        self.tracked.remove(id);
        self.lagging.remove(id)
    }

    /// Takes out the lagging chunk whose turn it is; they take turns, so that a large one does not starve the others.
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

    /// The tracked chunks, beginning behind the last one that was looked at for a beacon.
    pub fn after_beacon_cursor(&self) -> impl Iterator<Item = &ChunkId> {
        let cursor = self.beacon_cursor.as_ref();
        let after = cursor.map_or(Unbounded, Excluded);
        let rest = self.tracked.range::<ChunkId, _>((after, Unbounded));
        let again = cursor.map(|cursor| self.tracked.range::<ChunkId, _>(..=cursor));
        rest.chain(again.into_iter().flatten()).map(|(id, _)| id)
    }
}
