//! What the hub knows of a socket: who it is, what it tracks, and how much waits for it.

use bytes::Bytes;
use driftless_schemas::access::Access;
use driftless_schemas::proto::Have;
use driftless_schemas::{ChunkId, WriterId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// Names a socket within a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// Encoded `ServerFrame`s, in order. Mostly it is one, which many sockets share.
pub type Frames = SmallVec<[Bytes; 1]>;

/// Who has come.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its writer id: it gets the outcomes of this writer.
    pub writer: WriterId,
    /// What it may read.
    pub access: Arc<Access>,
    /// The families whose models it has; `None` is all.
    pub families: Option<BTreeSet<String>>,
}

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub joined: Joined,
    /// What it tracks, or waits for.
    pub tracked: BTreeSet<ChunkId>,
    /// Chunks whose updates are skipped, with what it holds of them.
    pub lagging: BTreeMap<ChunkId, Option<Have>>,
    /// The last of them that was brought up to date.
    lagging_cursor: Option<ChunkId>,
    /// Bytes that were handed out and not yet reported as written.
    pub queued_bytes: usize,
    /// Gathered in this turn.
    turn: Frames,
    /// The last chunk that got a beacon.
    pub beacon_cursor: Option<ChunkId>,
    pub is_closing: bool,
}

impl Socket {
    pub fn new(joined: Joined) -> Self {
        Self {
            joined,
            tracked: BTreeSet::new(),
            lagging: BTreeMap::new(),
            lagging_cursor: None,
            queued_bytes: 0,
            turn: Frames::new(),
            beacon_cursor: None,
            is_closing: false,
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

    /// Takes out the lagging chunk whose turn it is; they take turns, so that a large one does not starve the others.
    pub fn next_lagging(&mut self) -> Option<(ChunkId, Option<Have>)> {
        let after = self.lagging_cursor.as_ref().and_then(|cursor| {
            let mut later = self.lagging.range::<ChunkId, _>((Excluded(cursor), Unbounded));
            later.next().map(|(id, _)| id.clone())
        });
        let id = after.or_else(|| self.lagging.keys().next().cloned())?;
        let have = self.lagging.remove(&id)?;
        self.lagging_cursor = Some(id.clone());
        Some((id, have))
    }

    /// Up to `count` tracked chunks, going on where the last round ended.
    pub fn next_for_beacons(&mut self, count: usize) -> Vec<ChunkId> {
        let after: Vec<ChunkId> = match &self.beacon_cursor {
            None => self.tracked.iter().take(count).cloned().collect(),
            Some(cursor) => {
                let rest = self.tracked.range::<ChunkId, _>((Excluded(cursor), Unbounded));
                let again = self.tracked.range::<ChunkId, _>(..=cursor);
                rest.chain(again).take(count).cloned().collect()
            }
        };
        self.beacon_cursor = after.last().cloned();
        after
    }
}
