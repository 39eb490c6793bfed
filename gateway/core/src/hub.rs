//! The hub: all chunks and sockets of a gateway.
//!
//! Everything a socket is to get in one turn (one input) leaves in one [`Output::Send`], in order. An answer to Track is
//! taken at one position of the log: version, hash, the tracker's ledger entry and the content agree.

use crate::chunk::Chunk;
use crate::messages::{Input, Output};
use crate::settings::Settings;
use crate::socket::{Socket, SocketId};
use bytes::Bytes;
use driftless_chunk::position::Position;
use driftless_chunk::world::World;
use driftless_schemas::proto::event;
use driftless_schemas::{ChunkId, Partition, format};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

mod loading;
mod log;
mod requests;
mod time;

use log::TurnUpdates;

/// All chunks and sockets of a gateway.
pub struct Hub {
    world: Arc<World>,
    settings: Settings,
    positions: Vec<Position>,
    chunks: HashMap<ChunkId, Chunk>,
    sockets: FxHashMap<SocketId, Socket>,
    /// What the trackers of these chunks are to get in this turn.
    turn_updates: BTreeMap<ChunkId, TurnUpdates>,
    /// Sockets that got something in this turn.
    turn: Vec<SocketId>,
    /// Chunks that somebody waits for, or whose replica may become idle.
    watched: BTreeSet<ChunkId>,
    /// About what all rings take in memory.
    ring_bytes: usize,
    /// The chunks that have something in their rings, in the order in which they give it up.
    eviction_order: VecDeque<ChunkId>,
    /// Chunks that lag, for all sockets.
    lagging: usize,
    /// Of the input that is being handled.
    now_ms: u64,
    outputs: VecDeque<Output>,
}

impl Hub {
    /// A hub that reads each partition of `updates` from a position (R4), in the order of the partitions.
    #[must_use]
    pub fn new(world: Arc<World>, settings: Settings, positions: Vec<Position>) -> Self {
        Self {
            world,
            settings,
            positions,
            chunks: HashMap::new(),
            sockets: FxHashMap::default(),
            turn_updates: BTreeMap::new(),
            turn: Vec::new(),
            watched: BTreeSet::new(),
            ring_bytes: 0,
            eviction_order: VecDeque::new(),
            lagging: 0,
            now_ms: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, input: Input, now_ms: u64) {
        self.now_ms = now_ms;
        match input {
            Input::Records(partition, records) => self.take_records(partition, records, now_ms),
            Input::Joined(socket, joined) => {
                let beacons_ms = self.first_beacons_ms(socket, now_ms);
                self.sockets.insert(socket, Socket::new(joined, beacons_ms));
            }
            Input::Renewed(socket, access) => self.renew(socket, access, now_ms),
            Input::Request(socket, body) => self.take_request(socket, body, now_ms),
            Input::Written(socket, bytes) => self.take_written(socket, bytes),
            Input::Left(socket) => self.leave(socket, now_ms),
            Input::Loaded(chunk, loaded, reread) => self.take_loaded(chunk, loaded, reread, now_ms),
            Input::Asked(id, chunk, ask) => self.ask(id, chunk, ask, now_ms),
            Input::ViewsRenewed(opened_ms) => self.forget_unused(opened_ms),
            Input::Tick => self.tick(now_ms),
            #[cfg(any(debug_assertions, feature = "mutants"))]
            Input::Damage(chunk) => {
                if let Some(live) = self.chunks.get_mut(&chunk).and_then(|chunk| chunk.live.as_mut()) {
                    live.replica.damage();
                }
            }
        }
        self.end_turn();
        self.evict();
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How far a partition was read.
    #[must_use]
    pub fn position(&self, partition: Partition) -> Option<Position> {
        self.positions.get(usize::try_from(partition.0).ok()?).copied()
    }

    /// Sockets that have joined.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Chunks that are kept in some form.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Chunks that lag, for all sockets together.
    #[must_use]
    pub fn lagging(&self) -> usize {
        self.lagging
    }

    /// About what all rings take in memory, bytes.
    #[must_use]
    pub fn ring_bytes(&self) -> usize {
        self.ring_bytes
    }

    /// Forgets what all views of the index have.
    fn forget_unused(&mut self, opened_ms: u64) {
        self.chunks.retain(|_, chunk| !chunk.is_forgettable(opened_ms));
        let chunks = &mut self.chunks;
        self.eviction_order.retain(|id| {
            let Some(chunk) = chunks.get_mut(id) else { return false };
            chunk.is_in_eviction_order = chunk.ring.bytes() > 0;
            chunk.is_in_eviction_order
        });
    }

    fn end_turn(&mut self) {
        while let Some((id, told)) = self.turn_updates.pop_first() {
            self.send_updates(&id, told);
        }
        for id in std::mem::take(&mut self.turn) {
            if let Some(socket) = self.sockets.get_mut(&id)
                && let Some(frames) = socket.end_turn()
            {
                self.outputs.push_back(Output::Send(id, frames));
            }
        }
    }

    fn send(&mut self, id: SocketId, frame: Bytes) {
        if let Some(socket) = self.sockets.get_mut(&id)
            && socket.send(frame)
        {
            self.turn.push(id);
        }
    }

    fn send_event(&mut self, id: SocketId, body: event::Body) {
        self.send(id, format::event(body));
    }

    fn close(&mut self, id: SocketId, code: u16, why: &str) {
        if let Some(socket) = self.sockets.get_mut(&id)
            && !std::mem::replace(&mut socket.is_closing, true)
        {
            if let Some(frames) = socket.end_turn() {
                self.outputs.push_back(Output::Send(id, frames));
            }
            self.outputs.push_back(Output::Close(id, code, why.to_owned()));
        }
    }
}
