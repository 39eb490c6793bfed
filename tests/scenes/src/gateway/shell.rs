//! The hub with its shell: reads, loads and sockets of a gateway, one call each.

use super::client::{Client, Held, track};
use super::log::{Log, Snapshot};
use super::world::{P, id};
use bytes::Bytes;
use driftless_gateway_core::{Answer, Ask, Hub, Input, Joined, LoadError, Loaded, Output, Reread, Settings, SocketId};
use driftless_schemas::access::Access;
use driftless_schemas::proto::{Ref, request};
use driftless_schemas::{ChunkId, Offset, Version, WriterId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub struct Gateway {
    pub hub: Hub,
    /// Records that were read.
    pub read: usize,
    pub now: u64,
    pub loads: VecDeque<(ChunkId, Option<Ref>)>,
    /// What each of the loads is to read again.
    rereads: VecDeque<Option<Box<Reread>>>,
    /// The log as far as it was read.
    seen: Vec<(Offset, Bytes)>,
    pub reread: usize,
    pub lagging_ended: Vec<u64>,
    pub clients: BTreeMap<SocketId, Client>,
    pub answers: BTreeMap<u64, Answer>,
    pub drifts: Vec<String>,
    pub audits: Vec<(ChunkId, Version)>,
    pub fatal: Option<String>,
    next_socket: u64,
}

/// A load that was put off.
pub struct PutOff {
    chunk: ChunkId,
    stored: Option<Ref>,
    reread: Option<Box<Reread>>,
}

pub fn settings() -> Settings {
    Settings { beacon_interval_ms: u64::MAX / 2, ..Settings::default() }
}

impl Gateway {
    pub fn new(log: &Log, settings: Settings, from: usize) -> Self {
        let mut hub = Hub::new(Arc::clone(&log.world), settings, vec![log.positions[from]]);
        // The first beacons are due at once, and there is nobody yet.
        hub.handle(Input::Tick, 0);
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
            fatal: None,
            next_socket: 0,
        }
    }

    pub fn input(&mut self, input: Input) {
        self.hub.handle(input, self.now);
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Send(socket, frames) => {
                    assert!(!frames.is_empty());
                    if let Some(client) = self.clients.get_mut(&socket) {
                        assert_eq!(client.closed, None, "nothing after the end");
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
                Output::Fatal(reason) => self.fatal = Some(reason),
            }
        }
    }

    /// Up to `count` more records, in one poll.
    pub fn read(&mut self, log: &Log, count: usize) {
        let end = self.read.saturating_add(count).min(log.records.len());
        let records: Vec<_> = (self.read..end).map(|i| (Offset(i as i64), log.records[i].clone())).collect();
        self.read = end;
        self.seen.extend(records.iter().cloned());
        self.input(Input::Records(P, records));
    }

    pub fn join(&mut self, writer: WriterId) -> SocketId {
        self.join_with(writer, Access { read: vec!["tape/".into(), "map/".into()], ..Access::default() }, None)
    }

    pub fn join_with(&mut self, writer: WriterId, access: Access, families: Option<BTreeSet<String>>) -> SocketId {
        self.next_socket += 1;
        let socket = SocketId(self.next_socket);
        self.clients.insert(socket, Client::new(writer));
        self.input(Input::Joined(socket, Joined { writer, access: access.into(), families }));
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

    /// The next load ends with this.
    pub fn loaded(&mut self, loaded: Result<Option<Loaded>, String>) -> (ChunkId, Option<Ref>) {
        let (chunk, stored) = self.loads.pop_front().expect("nothing is to be loaded");
        let loaded = loaded.map_err(LoadError::Unavailable);
        let mut reread = self.rereads.pop_front().flatten();
        if let Some(reread) = &mut reread {
            self.reread += 1;
            reread.take(self.seen.clone()).unwrap();
            assert_eq!(reread.next(), None, "all of it was read before");
        }
        self.input(Input::Loaded(chunk.clone(), loaded, reread));
        (chunk, stored)
    }

    /// The next load ends as it should: the ref that it names, or the index's newest.
    pub fn load(&mut self, log: &Log) {
        let (chunk, stored) = self.loads.front().expect("nothing is to be loaded");
        let all = log.index.get(chunk).map(Vec::as_slice).unwrap_or_default();
        let found = match stored {
            Some(stored) => Some(all.iter().find(|s| s.stored == *stored).expect("a ref that nobody stored")),
            None => all.last(),
        };
        let loaded = found.map(Snapshot::loaded);
        self.loaded(Ok(loaded));
    }

    /// The next load takes longer than others.
    pub fn put_off_load(&mut self) -> PutOff {
        let (chunk, stored) = self.loads.pop_front().expect("nothing is to be loaded");
        PutOff { chunk, stored, reread: self.rereads.pop_front().flatten() }
    }

    pub fn load_now(&mut self, log: &Log, load: PutOff) {
        self.loads.push_front((load.chunk, load.stored));
        self.rereads.push_front(load.reread);
        self.load(log);
    }

    /// The chunks of which a Tracked came since the last call.
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

    /// The socket takes its next turn off the wire. False: nothing waits.
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

    /// Everything that waits for a socket is read; what came since the last call, by name.
    pub fn got(&mut self, log: &Log, socket: SocketId) -> Vec<String> {
        self.take_all(log, socket);
        std::mem::take(&mut self.clients.get_mut(&socket).unwrap().got)
    }

    pub fn held(&mut self, socket: SocketId, chunk: &str) -> &mut Held {
        self.clients.get_mut(&socket).unwrap().held(chunk)
    }

    /// A socket that tracks a chunk and has all of it.
    pub fn tracker(&mut self, log: &Log, by: WriterId, chunk: &str) -> SocketId {
        let socket = self.join(by);
        self.request(socket, track(chunk, None));
        self.load_all(log);
        self.got(log, socket);
        assert!(self.held(socket, chunk).is_followed);
        socket
    }
}
