//! A hub in a test shell. The test decides when the shell reads records, answers loads and delivers
//! messages, one step at a time.

use super::client::{Client, ClientChunk, track};
use super::log::{Log, Snapshot};
use super::world::{P, id};
use bytes::Bytes;
use driftless_gateway_core::{
    Answer, Ask, Fault, Hub, Input, Joined, LoadError, Loaded, Opened, Output, Reread, Settings, SocketId,
};
use driftless_schemas::access::Access;
use driftless_schemas::proto::request;
use driftless_schemas::stored::StoredRef;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Offset, Version, WriterId, features};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A hub with its test shell and its clients.
pub struct Gateway {
    pub hub: Hub,
    /// The number of records that the hub has read.
    pub read: usize,
    /// The hub's time, milliseconds.
    pub now: u64,
    pub loads: VecDeque<(ChunkId, Option<StoredRef>)>,
    /// For each of `loads`, the part of the log that the load has to read again, if any.
    rereads: VecDeque<Option<Box<Reread>>>,
    /// The records that the hub has read.
    pub seen: Vec<(Offset, Bytes)>,
    /// How many loads have read a part of the log again.
    pub reread: usize,
    /// For each lag that has ended, how long the lag took, milliseconds.
    pub lagging_ended: Vec<u64>,
    pub clients: BTreeMap<SocketId, Client>,
    /// The hub's answers to [`Gateway::ask`], by the number of the question.
    pub answers: BTreeMap<u64, Answer>,
    pub drifts: Vec<String>,
    pub audits: Vec<(ChunkId, Version)>,
    /// The reasons for which the partition became degraded.
    pub degraded: Vec<String>,
    /// How often the partition has recovered.
    pub recovered: usize,
    /// True if the hub waits for the partition to be opened.
    pub is_opening: bool,
    next_socket: u64,
}

/// A load that the test has taken out of the queue, to answer it later.
pub struct PutOff {
    chunk: ChunkId,
    stored: Option<StoredRef>,
    reread: Option<Box<Reread>>,
}

pub fn settings() -> Settings {
    Settings { beacon_interval_ms: u64::MAX / 2, ..Settings::default() }
}

impl Gateway {
    pub fn new(log: &Log, settings: Settings, from: usize) -> Self {
        let mut hub = Hub::new(Arc::clone(&log.world), settings, vec![log.positions[from]]);
        // The first beacons are due at once. This tick comes before the first client joins, so that
        // no client receives them.
        hub.handle(Input::Tick, MonotonicMs(0));
        Self {
            hub,
            read: from,
            now: 1000,
            loads: VecDeque::new(),
            rereads: VecDeque::new(),
            seen: Vec::new(),
            reread: 0,
            lagging_ended: Vec::new(),
            clients: BTreeMap::new(),
            answers: BTreeMap::new(),
            drifts: Vec::new(),
            audits: Vec::new(),
            degraded: Vec::new(),
            recovered: 0,
            is_opening: false,
            next_socket: 0,
        }
    }

    pub fn input(&mut self, input: Input) {
        self.hub.handle(input, MonotonicMs(self.now));
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Send(socket, frames) => {
                    assert!(!frames.is_empty());
                    if let Some(client) = self.clients.get_mut(&socket) {
                        assert_eq!(client.closed, None, "the hub sent to a socket that it closed");
                        client.pipe.push_back(frames.into_vec());
                    }
                }
                Output::Close(socket, code, _) => {
                    if let Some(client) = self.clients.get_mut(&socket) {
                        client.closed = Some(code);
                    }
                }
                Output::Load(chunk, stored, reread) => {
                    self.loads.push_back((chunk, stored));
                    self.rereads.push_back(reread);
                }
                Output::Answer(id, answer) => assert!(self.answers.insert(id, answer).is_none()),
                Output::Drift(_, reason) => self.drifts.push(reason),
                Output::Audit(chunk, version, _) => self.audits.push((chunk, version)),
                Output::DriftReported(..) | Output::LaggingBegan => {}
                Output::LaggingEnded(after_ms) => self.lagging_ended.push(after_ms),
                Output::Open(P) => self.is_opening = true,
                Output::Degraded(P, reason) => self.degraded.push(reason),
                Output::Recovered(P) => self.recovered += 1,
                Output::StopReading(P) | Output::Standings(_) => {}
                Output::Open(p) | Output::StopReading(p) | Output::Degraded(p, _) | Output::Recovered(p) => {
                    panic!("there is no partition {p}")
                }
            }
        }
    }

    /// Reads up to `count` more records in one poll.
    pub fn read(&mut self, log: &Log, count: usize) {
        let end = self.read.saturating_add(count).min(log.records.len());
        let records: Vec<_> = (self.read..end).map(|i| (Offset(i as i64), log.records[i].clone())).collect();
        self.read = end;
        self.seen.extend(records.iter().cloned());
        self.input(Input::Records(P, records));
    }

    /// Reports a fault that keeps the partition from being read.
    pub fn fail(&mut self) {
        self.input(Input::Failed(P, Fault::Log("no leader".into())));
    }

    /// Opens the partition as the index is now, if the hub waits for that.
    pub fn open(&mut self, log: &Log) {
        if std::mem::take(&mut self.is_opening) {
            self.read = log.low();
            let (position, high) = (log.positions[self.read], Offset(log.records.len() as i64));
            self.input(Input::Opened(P, Opened { position, low: Offset(0), high, known_end: Offset(0), known: None }));
        }
    }

    pub fn join(&mut self, writer: WriterId) -> SocketId {
        self.join_with(writer, Access { read: vec!["tape/".into(), "map/".into()], ..Access::default() }, None)
    }

    pub fn join_with(&mut self, writer: WriterId, access: Access, families: Option<BTreeSet<String>>) -> SocketId {
        let user = "ann".into();
        self.join_as(Joined {
            user,
            writer,
            access: access.into(),
            families,
            features: features::HISTORIES,
            bucket: None,
        })
    }

    /// Adds a client with this identity.
    pub fn join_as(&mut self, joined: Joined) -> SocketId {
        self.next_socket += 1;
        let socket = SocketId(self.next_socket);
        self.clients.insert(socket, Client::new(joined.writer));
        self.input(Input::Joined(socket, joined));
        socket
    }

    pub fn request(&mut self, socket: SocketId, body: request::Body) {
        if let request::Body::Track(track) = &body {
            let held = self.clients.get_mut(&socket).unwrap().held(&track.chunk_id);
            held.is_asked = true;
            held.is_followed = false;
        }
        self.input(Input::Request(socket, body));
    }

    pub fn leave(&mut self, socket: SocketId) -> Client {
        self.input(Input::Left(socket));
        self.clients.remove(&socket).unwrap()
    }

    /// Answers the next load with this result. Returns the chunk and the ref that the load asked
    /// for.
    pub fn loaded(&mut self, loaded: Result<Option<Loaded>, String>) -> (ChunkId, Option<StoredRef>) {
        let (chunk, stored) = self.loads.pop_front().expect("a load is open");
        let loaded = loaded.map_err(LoadError::Unavailable);
        let mut reread = self.rereads.pop_front().flatten();
        if let Some(reread) = &mut reread {
            self.reread += 1;
            reread.take(self.seen.clone()).unwrap();
            assert_eq!(reread.next(), None, "a load asks for records that the hub has not read");
        }
        self.input(Input::Loaded(chunk.clone(), loaded, reread));
        (chunk, stored)
    }

    /// Answers the next load with the snapshot of the ref that it names, or with the newest one in
    /// the index if it names none.
    pub fn load(&mut self, log: &Log) {
        let (chunk, stored) = self.loads.front().expect("a load is open");
        let all = log.index.get(chunk).map(Vec::as_slice).unwrap_or_default();
        let found = match stored {
            Some(stored) => Some(all.iter().find(|s| s.stored == *stored).expect("the ref was stored")),
            None => all.last(),
        };
        let loaded = found.map(Snapshot::loaded);
        self.loaded(Ok(loaded));
    }

    /// Takes the next load out of the queue, so that later loads are answered before it.
    pub fn put_off_load(&mut self) -> PutOff {
        let (chunk, stored) = self.loads.pop_front().expect("a load is open");
        PutOff { chunk, stored, reread: self.rereads.pop_front().flatten() }
    }

    pub fn load_now(&mut self, log: &Log, load: PutOff) {
        self.loads.push_front((load.chunk, load.stored));
        self.rereads.push_front(load.reread);
        self.load(log);
    }

    /// Answers a load that was put off with this result.
    pub fn loaded_late(&mut self, load: PutOff, loaded: Result<Option<Loaded>, String>) {
        self.loads.push_front((load.chunk, load.stored));
        self.rereads.push_front(load.reread);
        self.loaded(loaded);
    }

    /// Lets the client read everything. Returns the chunks for which it got a Tracked since the
    /// last call, in order of arrival.
    pub fn tracked_in_order(&mut self, log: &Log, socket: SocketId) -> Vec<String> {
        self.take_all(log, socket);
        std::mem::take(&mut self.clients.get_mut(&socket).unwrap().tracked)
    }

    pub fn load_all(&mut self, log: &Log) {
        while !self.loads.is_empty() {
            self.load(log);
        }
    }

    pub fn tick(&mut self, ms: u64) {
        self.now += ms;
        self.input(Input::Tick);
    }

    pub fn ask(&mut self, number: u64, chunk: &str, ask: Ask) {
        self.input(Input::Asked(number, id(chunk), ask));
    }

    /// Lets the client read the next batch of frames that the hub sent. Returns false if there is
    /// no batch.
    pub fn take(&mut self, log: &Log, socket: SocketId) -> bool {
        let Some(client) = self.clients.get_mut(&socket) else { return false };
        let Some(turn) = client.pipe.pop_front() else { return false };
        let bytes = turn.iter().map(Bytes::len).sum();
        client.turn(log, turn);
        self.input(Input::Written(socket, bytes));
        true
    }

    pub fn take_all(&mut self, log: &Log, socket: SocketId) {
        while self.take(log, socket) {}
    }

    /// Lets the client read everything. Returns descriptions of the events that came since the last
    /// call.
    pub fn got(&mut self, log: &Log, socket: SocketId) -> Vec<String> {
        self.take_all(log, socket);
        std::mem::take(&mut self.clients.get_mut(&socket).unwrap().got)
    }

    pub fn held(&mut self, socket: SocketId, chunk: &str) -> &mut ClientChunk {
        self.clients.get_mut(&socket).unwrap().held(chunk)
    }

    /// Adds a client that tracks a chunk and has its newest content.
    pub fn tracker(&mut self, log: &Log, by: WriterId, chunk: &str) -> SocketId {
        let socket = self.join(by);
        self.request(socket, track(chunk, None));
        self.load_all(log);
        self.got(log, socket);
        assert!(self.held(socket, chunk).is_followed);
        socket
    }
}
