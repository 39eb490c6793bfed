//! A log that is written by real deciders (owners, replaced owners, losses), a store, a hub at any place of the log, and
//! clients that check what they get. The valid part of the log, folded, is the oracle.

pub mod run;

use bytes::Bytes;
use driftless_chunk::live::{Asked, AskedBody, LiveChunk};
use driftless_chunk::model::{Context, Decision, Fault, Model, Models, ParameterError, Refusal};
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::replica::Replica;
use driftless_chunk::world::World;
use driftless_gateway_core::{Answer, Ask, Hub, Input, Joined, LoadError, Loaded, Output, Reread, Settings, SocketId};
use driftless_schemas::access::Access;
use driftless_schemas::proto::{
    self, Decisions, DiscardReason, Fence, Have, Ref, SnapshotStored, StoredObject, Updates, UpdatesRecord, event,
    mark, outcome, r#ref, request, tracked, updates_record::Body,
};
use driftless_schemas::world::{FamilySpec, WorldSpec};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Seq, SessionId, Version, WriterId, format, limits};
use prost::Message as _;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub const P: Partition = Partition(0);

thread_local! {
    /// Whoever folds now comes to another content: a replica that drifts.
    static DRIFTING: Cell<bool> = const { Cell::new(false) };
}

pub fn drifting<T>(act: impl FnOnce() -> T) -> T {
    DRIFTING.set(true);
    let result = act();
    DRIFTING.set(false);
    result
}

/// The content is the last 300 bytes that were written. A command that begins with `x` is discarded.
struct Tape;

impl Model for Tape {
    type State = Vec<u8>;

    fn initial(&self, chunk: &ChunkId) -> Vec<u8> {
        chunk.as_str().into()
    }
    fn check(&self, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }
    fn decide<'c>(&self, _: &Vec<u8>, _: &Context<'_>, command: &'c [u8]) -> Decision<'c> {
        match command.first() {
            Some(b'x') => Decision::Discarded { reason: DiscardReason::Conflict, detail: "an x".into() },
            _ => Decision::Committed(Cow::Borrowed(command)),
        }
    }
    fn fold(&self, state: &mut Vec<u8>, effect: &[u8]) -> Result<(), Fault> {
        state.extend_from_slice(effect);
        if DRIFTING.get() {
            state.push(b'!');
        }
        state.drain(..state.len().saturating_sub(300));
        Ok(())
    }
    fn encode<'s>(&self, state: &'s Vec<u8>) -> Cow<'s, [u8]> {
        Cow::Borrowed(state)
    }
    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(bytes.into())
    }
    fn command_from_json(&self, _: &serde_json::Value) -> Result<Vec<u8>, Refusal> {
        Err(Refusal("none".into()))
    }
    fn command_to_json(&self, _: &[u8]) -> Result<serde_json::Value, Refusal> {
        Err(Refusal("none".into()))
    }
    fn content_to_json(&self, _: &Vec<u8>) -> serde_json::Value {
        serde_json::Value::Null
    }
}

pub fn world() -> Arc<World> {
    let mut models = Models::builtin();
    models.register("tape", 3, |_| Ok::<_, ParameterError>(Tape));
    let family = |name: &str, model: &str| FamilySpec {
        name: name.into(),
        model: model.into(),
        parameters: serde_json::Map::new(),
        coordinates: 1,
        bounds: 9999,
        region: 0,
    };
    let families = vec![family("tape", "tape"), family("map", "map")];
    let spec = WorldSpec { partitions: 1, families, ..WorldSpec::dev() };
    Arc::new(World::new("test", spec, &models).unwrap())
}

pub fn id(text: &str) -> ChunkId {
    text.parse().unwrap()
}

pub fn writer(i: u8) -> WriterId {
    SessionId::new(1_800_000_000_000, [i; 10]).writer("ann")
}

pub fn track(chunk: &str, have: Option<Have>) -> request::Body {
    request::Body::Track(proto::Track { chunk_id: chunk.into(), have })
}

pub fn untrack(chunk: &str) -> request::Body {
    request::Body::Untrack(proto::Untrack { chunk_id: chunk.into() })
}

pub fn refresh(chunk: &str, version: u64) -> request::Body {
    request::Body::Refresh(proto::Refresh { chunk_id: chunk.into(), version })
}

// ---- The log ------------------------------------------------------------------------------------------------------

/// A snapshot in the store.
#[derive(Clone)]
pub struct Snapshot {
    pub stored: Ref,
    pub encoding: Bytes,
}

impl Snapshot {
    pub fn of(live: &mut LiveChunk) -> Self {
        let encoding = Bytes::from(live.replica.encoding().into_owned());
        let hash = live.replica.hash();
        let stored = Ref {
            version: live.replica.version().0,
            hash: hash.to_bytes(),
            location: Some(r#ref::Location::Object(StoredObject {})),
            through_offset: live.through_offset.0,
            model_revision: 3,
            bytes: encoding.len() as u64,
            ledger: Some(live.ledger.to_proto()),
        };
        Self { stored, encoding }
    }

    pub fn loaded(&self) -> Loaded {
        let data = zstd::bulk::compress(&self.encoding, 1).unwrap().into();
        Loaded { stored: self.stored.clone(), data, encoding: self.encoding.clone() }
    }
}

/// What became of a writer's command, by the valid log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Committed(u64),
    Discarded,
}

pub struct Log {
    pub world: Arc<World>,
    /// `updates`.
    pub records: Vec<Bytes>,
    /// The place before each record, and the end.
    pub positions: Vec<Position>,
    /// Of each valid record of decisions: chunk and last offset in `commands`.
    through: Vec<Option<(ChunkId, i64)>>,
    commands: Vec<(ChunkId, Asked)>,
    seqs: BTreeMap<(ChunkId, WriterId), u64>,
    pub truth: BTreeMap<ChunkId, LiveChunk>,
    pub fates: BTreeMap<(ChunkId, WriterId, u64), Fate>,
    /// Refs that are durable, oldest first.
    pub index: BTreeMap<ChunkId, Vec<Snapshot>>,
    /// (version, hash) of every version that the log names.
    pub hashes: BTreeMap<(ChunkId, u64), Hash>,
    epochs: u64,
}

/// Who decides, or believes so.
#[derive(Clone)]
pub struct Owner {
    pub epoch: u64,
    pub n: u64,
    live: BTreeMap<ChunkId, LiveChunk>,
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Log {
    pub fn new() -> Self {
        Self {
            world: world(),
            records: Vec::new(),
            positions: vec![Position::START],
            through: Vec::new(),
            commands: Vec::new(),
            seqs: BTreeMap::new(),
            truth: BTreeMap::new(),
            fates: BTreeMap::new(),
            index: BTreeMap::new(),
            hashes: BTreeMap::new(),
            epochs: 0,
        }
    }

    pub fn fresh(&self, chunk: &ChunkId) -> LiveChunk {
        LiveChunk::initial(Arc::clone(&self.world.place(chunk).unwrap().family.model), chunk)
    }

    pub fn truth(&mut self, chunk: &str) -> &mut LiveChunk {
        let fresh = self.fresh(&id(chunk));
        self.truth.entry(id(chunk)).or_insert(fresh)
    }

    /// Version and hash at the end of the valid log.
    pub fn newest(&mut self, chunk: &str) -> (u64, Hash) {
        let truth = self.truth(chunk);
        (truth.replica.version().0, truth.replica.hash())
    }

    pub fn have(&mut self, chunk: &str) -> Have {
        let (version, hash) = self.newest(chunk);
        Have { version, hash: hash.to_bytes() }
    }

    /// A command comes in.
    pub fn command(&mut self, chunk: &str, writer: WriterId, text: &str) -> u64 {
        let seq = self.seqs.entry((id(chunk), writer)).or_default();
        *seq += 1;
        let (seq, after) = (Seq(*seq), Seq(*seq - 1));
        self.ask(chunk, writer, seq, after, text);
        seq.0
    }

    fn ask(&mut self, chunk: &str, writer: WriterId, seq: Seq, after: Seq, text: &str) {
        let asked = Asked {
            offset: Offset(self.commands.len() as i64),
            writer,
            seq,
            after,
            author: "ann".into(),
            received_at_ms: 0,
            roles: vec![],
            body: AskedBody::Command(Bytes::from(text.to_owned())),
        };
        self.commands.push((id(chunk), asked));
    }

    /// A command whose predecessor is not in the log.
    pub fn too_early(&mut self, chunk: &str, writer: WriterId) {
        let seq = self.seqs.get(&(id(chunk), writer)).copied().unwrap_or(0);
        self.ask(chunk, writer, Seq(seq + 9), Seq(seq + 8), "early");
    }

    pub fn owner(&mut self) -> Owner {
        self.epochs += 1;
        let owner = Owner { epoch: self.epochs, n: 0, live: self.truth.clone() };
        let body = Some(Body::Fence(Fence { owner: "me".into() }));
        self.append(&UpdatesRecord { epoch: owner.epoch, n: 0, body });
        owner
    }

    pub fn append(&mut self, record: &UpdatesRecord) {
        let mut position = *self.positions.last().unwrap();
        let validity = position.judge(Offset(self.records.len() as i64), record);
        self.positions.push(position);
        self.records.push(record.encode_to_vec().into());
        let through = match (&record.body, validity) {
            (Some(Body::Decisions(decisions)), Validity::Valid) => Some(self.count(decisions)),
            _ => None,
        };
        self.through.push(through);
    }

    fn count(&mut self, decisions: &Decisions) -> (ChunkId, i64) {
        let chunk = id(&decisions.chunk_id);
        let updates = driftless_chunk::live::read_updates(decisions).unwrap();
        let fresh = self.fresh(&chunk);
        let truth = self.truth.entry(chunk.clone()).or_insert(fresh);
        let mut version = truth.replica.version().0;
        truth.fold(decisions, updates.as_ref()).unwrap();
        for mark in &decisions.marks {
            let fate = match &mark.outcome {
                Some(mark::Outcome::Committed(_)) => {
                    version += 1;
                    Fate::Committed(version)
                }
                Some(mark::Outcome::Discarded(_)) => Fate::Discarded,
                _ => continue,
            };
            let writer = WriterId::from_slice(&mark.writer).unwrap();
            let before = self.fates.insert((chunk.clone(), writer, mark.seq), fate);
            assert_eq!(before, None, "R2");
        }
        self.hashes.insert((chunk.clone(), truth.replica.version().0), truth.replica.hash());
        (chunk, decisions.marks.last().unwrap().source_offset)
    }

    /// What is decided is put into the store; the index has it.
    pub fn snapshot(&mut self, chunk: &str) -> Snapshot {
        let snapshot = Snapshot::of(self.truth(chunk));
        self.index.entry(id(chunk)).or_default().push(snapshot.clone());
        snapshot
    }

    /// The newest checkpoint's `updates_low`: the first record with a decision that no ref covers.
    pub fn low(&self) -> usize {
        let is_open = |through: &Option<(ChunkId, i64)>| {
            through.as_ref().is_some_and(|(chunk, offset)| {
                let newest = self.index.get(chunk).and_then(|all| all.last());
                newest.is_none_or(|newest| newest.stored.through_offset < *offset)
            })
        };
        self.through.iter().position(is_open).unwrap_or(self.records.len())
    }
}

impl Owner {
    fn next(&mut self, body: Body) -> UpdatesRecord {
        self.n += 1;
        UpdatesRecord { epoch: self.epoch, n: self.n, body: Some(body) }
    }

    /// Decides up to `count` commands; the record may get lost on its way. Gives the number of decisions.
    pub fn decide(&mut self, log: &mut Log, chunk: &str, count: usize, is_lost: bool) -> usize {
        let fresh = log.fresh(&id(chunk));
        let live = self.live.entry(id(chunk)).or_insert(fresh);
        let first_version = live.replica.version().0 + 1;
        let (mut marks, mut entries) = (Vec::new(), Vec::new());
        for (to, asked) in &log.commands {
            if marks.len() < count
                && *to == id(chunk)
                && let Some(decided) = live.decide(&id(chunk), P, asked)
            {
                entries.extend(decided.entry);
                marks.push(decided.mark);
            }
        }
        let count = marks.len();
        if count > 0 {
            let state_hash = live.replica.hash().to_bytes();
            let updates = match entries.is_empty() {
                true => Bytes::new(),
                false => Updates { chunk_id: chunk.into(), first_version, entries, state_hash }.encode_to_vec().into(),
            };
            let record = self.next(Body::Decisions(Decisions { chunk_id: chunk.into(), updates, marks }));
            if !is_lost {
                log.append(&record);
            }
        }
        count
    }

    pub fn notice(&mut self, log: &mut Log, chunk: &str, snapshot: &Snapshot) {
        let stored = SnapshotStored { chunk_id: chunk.into(), r#ref: Some(snapshot.stored.clone()) };
        let record = self.next(Body::SnapshotStored(stored));
        log.append(&record);
    }
}

/// One writer writes, and the owner decides at once: a record per text.
pub fn write(log: &mut Log, owner: &mut Owner, chunk: &str, by: WriterId, texts: &[&str]) {
    for text in texts {
        log.command(chunk, by, text);
        assert_eq!(owner.decide(log, chunk, usize::MAX, false), 1);
    }
}

// ---- The gateway --------------------------------------------------------------------------------------------------

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

// ---- A client -----------------------------------------------------------------------------------------------------

/// A client checks all that it gets.
pub struct Client {
    pub writer: WriterId,
    pub pipe: VecDeque<Vec<Bytes>>,
    pub chunks: BTreeMap<ChunkId, Held>,
    pub closed: Option<u16>,
    pub got: Vec<String>,
    /// Chunks in the order of their Tracked.
    pub tracked: Vec<String>,
}

#[derive(Default)]
pub struct Held {
    pub replica: Option<Replica>,
    pub is_asked: bool,
    /// Tracked came, and no Lagging since.
    pub is_followed: bool,
    /// The newest Tracked, until the replica is there.
    target: Option<(u64, Hash)>,
    /// Own numbers: committed or not.
    pub known: BTreeMap<u64, bool>,
    pub rejected: Option<i32>,
}

impl Held {
    pub fn version(&self) -> Option<u64> {
        self.replica.as_ref().map(|replica| replica.version().0)
    }

    pub fn have(&mut self) -> Option<Have> {
        let replica = self.replica.as_mut()?;
        Some(Have { version: replica.version().0, hash: replica.hash().to_bytes() })
    }

    fn learn(&mut self, seq: u64, is_committed: bool) {
        let before = self.known.insert(seq, is_committed);
        assert!(before.is_none_or(|before| before == is_committed), "a conclusion on {seq} was taken back");
    }
}

impl Client {
    fn new(writer: WriterId) -> Self {
        Self {
            writer,
            pipe: VecDeque::new(),
            chunks: BTreeMap::new(),
            closed: None,
            got: Vec::new(),
            tracked: Vec::new(),
        }
    }

    pub fn held(&mut self, chunk: &str) -> &mut Held {
        self.chunks.entry(id(chunk)).or_default()
    }

    fn turn(&mut self, log: &Log, frames: Vec<Bytes>) {
        for bytes in frames {
            let frame: proto::ServerFrame = format::decode("ServerFrame", bytes).unwrap();
            for event in frame.events {
                self.event(log, event.body.unwrap());
            }
        }
        // A turn that has Tracked has all that it announces.
        for (chunk, held) in &mut self.chunks {
            if let Some((version, hash)) = held.target.take() {
                let replica = held.replica.as_mut().unwrap_or_else(|| panic!("{chunk}: Tracked without content"));
                assert!(replica.version().0 >= version, "{chunk}: Tracked {version}, content {}", replica.version());
                assert!(replica.version().0 != version || replica.hash() == hash, "{chunk}: R10");
            }
        }
    }

    fn event(&mut self, log: &Log, body: event::Body) {
        let writer = self.writer;
        match body {
            event::Body::Tracked(t) => {
                self.got.push(format!("tracked {}", t.version));
                self.tracked.push(t.chunk_id.clone());
                let chunk = id(&t.chunk_id);
                let held = self.held(&t.chunk_id);
                assert!(held.is_asked, "Tracked for what was not asked for");
                assert!(held.version().is_none_or(|version| version <= t.version), "R12: back in time");
                held.is_followed = true;
                held.target = Some((t.version, Hash::from_slice(&t.hash).unwrap()));
                check_resolved(log, held, &chunk, writer, &t);
            }
            event::Body::Chunk(c) => {
                self.got.push(format!("chunk {}", c.version));
                let model = Arc::clone(&log.world.place(&id(&c.chunk_id)).unwrap().family.model);
                let held = self.held(&c.chunk_id);
                assert!(held.is_followed, "a Chunk before its Tracked");
                assert_eq!((c.model.as_str(), c.revision), ("tape", 3));
                let encoding = zstd::bulk::decompress(&c.data, limits::CONTENT_BYTES_MAX).unwrap();
                let hash = Hash::from_slice(&c.hash).unwrap();
                let replica = Replica::restore(model, &encoding, Version(c.version), hash).unwrap();
                // What the content is, says the log.
                let told = log.hashes.get(&(id(&c.chunk_id), c.version));
                assert!(told.is_none_or(|told| *told == hash), "a Chunk of another content");
                if held.version().is_none_or(|version| version < c.version) {
                    held.replica = Some(replica);
                }
            }
            event::Body::Updates(bytes) => {
                let updates: Updates = format::decode("Updates", bytes).unwrap();
                let last = updates.first_version + updates.entries.len() as u64 - 1;
                self.got.push(format!("updates {}-{last}", updates.first_version));
                let held = self.held(&updates.chunk_id);
                assert!(held.is_followed, "Updates outside of following");
                // No gap, no wrong hash, ever.
                held.replica.as_mut().expect("Updates before content").apply(&updates).unwrap();
                for (entry, version) in updates.entries.iter().zip(updates.first_version..) {
                    if entry.writer[..] == writer.0 {
                        let fate = log.fates[&(id(&updates.chunk_id), writer, entry.seq)];
                        assert_eq!(fate, Fate::Committed(version));
                        held.learn(entry.seq, true);
                    }
                }
            }
            event::Body::Outcomes(outcomes) => {
                for o in outcomes.outcomes {
                    let held = self.chunks.entry(id(&outcomes.chunk_id)).or_default();
                    assert!(held.is_followed, "Outcomes outside of following");
                    match o.outcome.unwrap() {
                        outcome::Outcome::Discarded(_) => {
                            let fate = log.fates[&(id(&outcomes.chunk_id), writer, o.seq)];
                            assert_eq!(fate, Fate::Discarded, "somebody else's outcome");
                            held.learn(o.seq, false);
                            self.got.push(format!("discarded {}", o.seq));
                        }
                        outcome::Outcome::OutOfOrder(_) => self.got.push(format!("out of order {}", o.seq)),
                        outcome::Outcome::SessionExpired(_) => self.got.push(format!("expired {}", o.seq)),
                    }
                }
            }
            event::Body::Beacons(beacons) => {
                for beacon in beacons.beacons {
                    self.got.push(format!("beacon {}", beacon.version));
                    let held = self.held(&beacon.chunk_id);
                    assert!(held.is_followed, "a beacon outside of following");
                    let replica = held.replica.as_mut().expect("a beacon before content");
                    assert_eq!(replica.version().0, beacon.version, "a beacon is the version last sent");
                    assert_eq!(replica.hash().to_bytes(), beacon.hash, "R10");
                }
            }
            event::Body::Lagging(lagging) => {
                self.got.push("lagging".into());
                self.held(&lagging.chunk_id).is_followed = false;
            }
            event::Body::TrackRejected(r) => {
                self.got.push(format!("rejected {}", r.code().as_str_name().replace("TRACK_REJECT_CODE_", "")));
                if let Ok(chunk) = r.chunk_id.parse() {
                    self.chunks.insert(chunk, Held { rejected: Some(r.code), ..Held::default() });
                }
            }
            event::Body::Refused(r) => {
                self.got.push(format!("refused {}", r.code().as_str_name().replace("REFUSAL_CODE_", "")));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// All of Tracked is taken at one position: every own commit up to its version is resolved in it, and none above.
fn check_resolved(log: &Log, held: &mut Held, chunk: &ChunkId, writer: WriterId, t: &proto::Tracked) {
    let Some(tracked::Resolved::Ledger(ledger)) = &t.resolved else { panic!("{:?}", t.resolved) };
    for ((_, _, seq), fate) in log.fates.range((chunk.clone(), writer, 0)..=(chunk.clone(), writer, u64::MAX)) {
        let bit = ledger.seq.checked_sub(*seq).filter(|d| *d < 64).map(|d| ledger.committed_bits >> d & 1 == 1);
        match fate {
            Fate::Committed(version) if *version <= t.version => {
                assert_eq!(bit, Some(true), "{seq} is contained in version {} but not resolved", t.version);
            }
            Fate::Committed(_) => assert_eq!(bit, None, "{seq} is resolved but not contained in {}", t.version),
            Fate::Discarded => assert_ne!(bit, Some(true)),
        }
        if let Some(bit) = bit {
            held.learn(*seq, bit);
        }
    }
}
