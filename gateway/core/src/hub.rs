//! The hub: all chunks and sockets of a gateway.
//!
//! Handling one input is a turn. All frames of a turn for one socket leave in one [`Output::Send`],
//! in order. The answer to a Track describes the chunk at one position of the log, so that its
//! version, hash, ledger entry and content agree.

use crate::chunk::Chunk;
use crate::messages::{Input, Output};
use crate::partitions::PartitionState;
use crate::settings::Settings;
use crate::socket::{Socket, SocketId};
use bytes::Bytes;
use driftless_chunk::position::Position;
use driftless_chunk::world::World;
use driftless_runtime_core::pool::Pool;
use driftless_schemas::proto::event;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Partition, format, limits};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

mod loading;
mod log;
mod partitions;
mod requests;
mod sharing;
mod time;

use log::TurnUpdates;

/// All chunks and sockets of a gateway.
pub struct Hub {
    world: Arc<World>,
    settings: Settings,
    /// In the order of the partitions.
    partitions: Vec<PartitionState>,
    chunks: HashMap<ChunkId, Chunk>,
    sockets: FxHashMap<SocketId, Socket>,
    /// By chunk: updates of this turn that were not sent to the chunk's trackers yet.
    turn_updates: BTreeMap<ChunkId, TurnUpdates>,
    /// Sockets that have frames in this turn.
    turn_sockets: Vec<SocketId>,
    /// Chunks that each tick looks at: a request waits for them, or their replica may become idle.
    watched: BTreeSet<ChunkId>,
    /// The memory that all replicas take. Replicas and loads have one budget.
    replicas: Pool,
    /// The room that the loads in flight take.
    loads: Pool,
    /// Chunks whose load found no room in memory, in the order of the requests. Some of them may
    /// not be wanted any more.
    loads_without_room: VecDeque<ChunkId>,
    /// When users may next have to give memory up for others.
    share_at: MonotonicMs,
    /// The user that has given memory up: its loads wait while those of others do.
    yielding: Option<Arc<str>>,
    /// Approximate memory of all rings.
    ring_bytes: usize,
    /// The bytes that are queued for all sockets together.
    queued_bytes: usize,
    /// Chunks with records in their rings, in the order in which they are evicted.
    eviction_order: VecDeque<ChunkId>,
    /// Number of lagging chunks, summed over all sockets.
    lagging: usize,
    /// The time of the current input.
    now: MonotonicMs,
    outputs: VecDeque<Output>,
}

impl Hub {
    /// Creates a hub that has the shell open all partitions, and serves each one as soon as it has
    /// caught up.
    #[must_use]
    pub fn unopened(world: Arc<World>, settings: Settings) -> Self {
        let partitions = world.partitions().map(|_| PartitionState::unopened()).collect();
        Self::with(world, settings, partitions)
    }

    /// Creates a hub that serves all partitions at once. `positions` has one position for each
    /// partition, in the order of the partitions. The hub reads `updates` from these positions on
    /// (R4).
    #[must_use]
    pub fn new(world: Arc<World>, settings: Settings, positions: Vec<Position>) -> Self {
        Self::with(world, settings, positions.into_iter().map(PartitionState::served_from).collect())
    }

    fn with(world: Arc<World>, settings: Settings, partitions: Vec<PartitionState>) -> Self {
        Self {
            replicas: Pool::new(settings.replicas_bytes_max.unwrap_or(limits::REPLICAS_BYTES_MAX)),
            loads: Pool::new(settings.replicas_bytes_max.unwrap_or(limits::REPLICAS_BYTES_MAX)),
            world,
            settings,
            partitions,
            chunks: HashMap::new(),
            sockets: FxHashMap::default(),
            turn_updates: BTreeMap::new(),
            turn_sockets: Vec::new(),
            watched: BTreeSet::new(),
            loads_without_room: VecDeque::new(),
            share_at: MonotonicMs::default(),
            yielding: None,
            ring_bytes: 0,
            queued_bytes: 0,
            eviction_order: VecDeque::new(),
            lagging: 0,
            now: MonotonicMs::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Handles an input.
    pub fn handle(&mut self, input: Input, now: MonotonicMs) {
        self.now = now;
        match input {
            Input::Opened(partition, opened) => self.take_opened(partition, opened),
            Input::Failed(partition, fault) => self.degrade(partition, fault),
            Input::Records(partition, records) => self.take_records(partition, records),
            Input::Joined(socket, joined) => {
                let beacons_at = self.first_beacons_at(socket);
                self.sockets.insert(socket, Socket::new(joined, beacons_at));
            }
            Input::Renewed(socket, access) => self.renew(socket, access),
            Input::Request(socket, body) => self.take_request(socket, body),
            Input::Written(socket, bytes) => self.take_written(socket, bytes),
            Input::Left(socket) => self.leave(socket),
            Input::Loaded(chunk, loaded, reread) => self.take_loaded(chunk, loaded, reread),
            Input::Asked(id, chunk, ask) => self.ask(id, chunk, ask),
            Input::ViewRenewed(partition, opened) => self.forget_unused(partition, opened),
            Input::Tick => self.tick(),
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

    /// Returns the next output; `None` if all outputs of the inputs so far were taken.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The position up to which a partition was read.
    #[must_use]
    pub fn position(&self, partition: Partition) -> Option<Position> {
        Some(self.partition(partition)?.position)
    }

    /// Number of sockets that have joined.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Number of chunks of which the hub keeps a replica, records or a ref.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Number of lagging chunks, summed over all sockets.
    #[must_use]
    pub fn lagging(&self) -> usize {
        self.lagging
    }

    /// Approximate memory of all rings, bytes.
    #[must_use]
    pub fn ring_bytes(&self) -> usize {
        self.ring_bytes
    }

    /// The bytes that are queued for all sockets together.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Approximate memory of all replicas, and the room that loads in flight take, bytes.
    #[must_use]
    pub fn replica_bytes(&self) -> usize {
        self.replicas.used() + self.loads.used()
    }

    /// Forgets unused chunks of a partition whose newest ref was read before `opened`. The view of
    /// the partition's index was opened at `opened` or later, so it contains these refs.
    fn forget_unused(&mut self, partition: Partition, opened: MonotonicMs) {
        self.chunks.retain(|_, chunk| chunk.partition != partition || !chunk.is_forgettable(opened));
        let chunks = &mut self.chunks;
        self.eviction_order.retain(|id| {
            let Some(chunk) = chunks.get_mut(id) else { return false };
            chunk.is_in_eviction_order = chunk.ring.bytes() > 0;
            chunk.is_in_eviction_order
        });
    }

    fn end_turn(&mut self) {
        while let Some((id, updates)) = self.turn_updates.pop_first() {
            self.send_updates(&id, updates);
        }
        for id in std::mem::take(&mut self.turn_sockets) {
            if let Some(socket) = self.sockets.get_mut(&id)
                && let Some(frames) = socket.end_turn()
            {
                self.outputs.push_back(Output::Send(id, frames));
            }
        }
    }

    fn send(&mut self, id: SocketId, frame: Bytes) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let before = socket.queued_bytes;
        if socket.send(frame) {
            self.turn_sockets.push(id);
        }
        self.queued_bytes += socket.queued_bytes - before;
    }

    /// The bytes that one socket may have queued now. While the queues of all sockets together are
    /// full, it is so little that only clients which take their bytes get more.
    fn queue_bytes_max(&self) -> usize {
        let max = self.settings.socket_queue_bytes_max;
        match self.queued_bytes > self.settings.output_bytes_max.unwrap_or(limits::OUTPUT_BYTES_MAX) {
            true => max.min(limits::OUTPUT_FREE_BYTES),
            false => max,
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
