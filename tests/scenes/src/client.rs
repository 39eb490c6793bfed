//! An in-memory server with one chunk, for tests of clients. It has a log of commands, a decider
//! (`LiveChunk`) and a log of updates, and it answers like a gateway that has read any part of that
//! log. The server decides by the real rules, so it is also the oracle. It can lose a part of its
//! logs and go on with another history, or with another world.

use bytes::{Bytes, BytesMut};
use driftless_chunk::ledger::Resolved;
use driftless_chunk::live::{Asked, AskedBody, LiveChunk};
use driftless_chunk::model::Models;
use driftless_schemas::proto::{
    self, Beacon, Beacons, Chunk, Family, Have, MapCommand, Outcomes, PutKey, Tracked, Updates, Welcome, event,
    map_command, mark, outcome, tracked,
};
use driftless_schemas::{ChunkId, Hash, HistoryId, Offset, Partition, Seq, SessionId, WorldId, WriterId, format};
use prost::Message as _;
use std::cmp::Ordering;
use std::collections::BTreeMap;

pub const CHUNK: &str = "things/0/0";

pub fn chunk() -> ChunkId {
    CHUNK.parse().unwrap()
}

/// A command that puts a key of a small map. Its value is unique, so that the oracle can identify
/// the command.
pub fn put(key: &str, value: &str, must_be_absent: bool) -> Bytes {
    let guard = must_be_absent.then(|| proto::MapGuard { is: Some(proto::map_guard::Is::Absent(proto::Absent {})) });
    let put = PutKey { key: key.into(), value: value.to_owned().into(), guard };
    MapCommand { body: Some(map_command::Body::Put(put)) }.encode_to_vec().into()
}

/// Returns the text that identifies a command: the value of a put, or all fields of a delete, whose
/// guard names the put that the delete undoes.
pub fn value_of(command: &[u8]) -> String {
    match MapCommand::decode(command).unwrap().body {
        Some(map_command::Body::Put(put)) => String::from_utf8(put.value.to_vec()).unwrap(),
        other => format!("{other:?}"),
    }
}

/// The chunk before its first command.
fn empty() -> LiveChunk {
    let models = Models::builtin();
    let (_, make) = models.get("map").unwrap();
    LiveChunk::initial(make(&serde_json::Map::new()).unwrap(), &chunk())
}

/// A record of `updates`, and the chunk's state after it.
pub struct Record {
    /// The history to which the record belongs.
    pub history: HistoryId,
    pub updates: Option<Updates>,
    pub marks: Vec<proto::Mark>,
    pub version: u64,
    pub hash: Hash,
    pub encoding: Vec<u8>,
    /// The ledger's floor after this record. Writers that are not younger are expired, unless the
    /// ledger knows them.
    floor_ms: u64,
    /// For each writer that had sent Hello by then, its resolved commands after this record.
    resolved: BTreeMap<WriterId, Resolved>,
    /// Replica and ledger after this record.
    live: LiveChunk,
    /// How many of `commands` were decided after this record.
    decided: usize,
}

/// The server, with its logs and the oracle.
pub struct Server {
    live: LiveChunk,
    commands: Vec<Asked>,
    /// How many of `commands` are decided.
    decided: usize,
    pub records: Vec<Record>,
    /// All writers that have sent a Hello.
    pub writers: Vec<WriterId>,
    /// The world's id; `None` for a world of format 1.
    pub world: Option<WorldId>,
    /// The present history.
    pub history: HistoryId,
    /// The oracle: the version at which each command was committed in the present history, by the
    /// text of [`value_of`]. The server panics if a command is committed twice.
    pub committed: BTreeMap<String, u64>,
    /// [`Self::committed`] at the end of each earlier history.
    pub committed_before: BTreeMap<HistoryId, BTreeMap<String, u64>>,
    sessions: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    pub fn new() -> Self {
        let mut server = Self {
            live: empty(),
            commands: Vec::new(),
            decided: 0,
            records: Vec::new(),
            writers: Vec::new(),
            world: None,
            history: HistoryId::FIRST,
            committed: BTreeMap::new(),
            committed_before: BTreeMap::new(),
            sessions: 0,
        };
        server.record(None, Vec::new());
        server
    }

    /// Loses the records of `updates` from index `keep` on and the commands from index `commands`
    /// on, and begins another history with a fence. `commands` may be any number; commands that the
    /// kept records decide are kept. The other kept commands are decided again.
    pub fn begin_history(&mut self, history: HistoryId, keep: usize, commands: usize) {
        self.records.truncate(keep);
        let (live, decided) = (self.newest().live.clone(), self.newest().decided);
        let mut kept = self.committed.clone();
        kept.retain(|_, version| *version <= live.replica.version().0);
        (self.live, self.decided) = (live, decided);
        self.commands.truncate(commands.max(self.decided));
        self.committed_before.insert(self.history, std::mem::replace(&mut self.committed, kept));
        self.history = history;
        self.record(None, Vec::new());
    }

    /// Becomes another world, which is empty.
    pub fn begin_world(&mut self, world: WorldId, history: HistoryId) {
        self.committed_before.insert(self.history, std::mem::take(&mut self.committed));
        (self.world, self.history) = (Some(world), history);
        (self.live, self.decided) = (empty(), 0);
        self.commands.clear();
        self.records.clear();
        self.record(None, Vec::new());
    }

    /// The versions at which commands were committed in this history, and in each one after it.
    pub fn committed_since(&self, history: HistoryId) -> impl Iterator<Item = &BTreeMap<String, u64>> {
        self.committed_before.range(history..).map(|(_, committed)| committed).chain([&self.committed])
    }

    pub fn family() -> Family {
        Family {
            name: "things".into(),
            model: "map".into(),
            model_revision: driftless_chunk::map::REVISION,
            parameters: "{}".into(),
            coordinates: 2,
            coordinate_min: -10,
            coordinate_max: 10,
            region: 0,
        }
    }

    /// Answers a Hello: returns the Welcome and the writer id.
    pub fn hello(&mut self, now: u64, hello: &proto::Hello, sub: &str) -> (Welcome, WriterId) {
        let session = SessionId::from_slice(&hello.session).unwrap_or_else(|| {
            self.sessions += 1;
            let mut random = [0; 10];
            random[2..].copy_from_slice(&self.sessions.to_be_bytes());
            SessionId::new(now.max(hello.session_after_ms + 1), random)
        });
        let writer = session.writer(sub);
        if !self.writers.contains(&writer) {
            self.writers.push(writer);
        }
        let welcome = Welcome {
            session: session.to_bytes(),
            writer: writer.to_bytes(),
            families: vec![Self::family()],
            world: "test".into(),
            world_id: self.world.map(WorldId::to_bytes).unwrap_or_default(),
            ..Welcome::default()
        };
        (welcome, writer)
    }

    /// Appends a command, as ingest does.
    pub fn append(&mut self, writer: WriterId, submit: &proto::Submit) {
        let body = match &submit.body {
            Some(proto::submit::Body::Command(command)) => AskedBody::Command(command.clone()),
            _ => AskedBody::Settle,
        };
        self.commands.push(Asked {
            offset: Offset(self.commands.len() as i64),
            writer,
            seq: Seq(submit.seq),
            after: Seq(submit.after),
            author: "x".into(),
            received_at_ms: 0,
            roles: Vec::new(),
            body,
        });
    }

    /// Appends commands of 1,024 new writers, so that the ledger evicts all writers that it has
    /// now.
    pub fn fill_ledger(&mut self, now: u64) {
        self.sessions += 1;
        for i in 0..1024u64 {
            let mut id = [0xee; 16];
            id[..6].copy_from_slice(&now.to_be_bytes()[2..]);
            id[8..].copy_from_slice(&(self.sessions << 16 | i).to_be_bytes());
            let submit = proto::Submit {
                seq: 1,
                body: Some(proto::submit::Body::Settle(proto::Settle {})),
                ..Default::default()
            };
            self.append(WriterId(id), &submit);
        }
    }

    pub fn undecided(&self) -> usize {
        self.commands.len() - self.decided
    }

    /// Decides up to `count` commands in one record.
    pub fn decide(&mut self, count: usize) {
        let mut marks = Vec::new();
        let first_version = self.live.replica.version().0 + 1;
        let mut entries = Vec::new();
        for _ in 0..count.min(self.undecided()) {
            let asked = self.commands[self.decided].clone();
            self.decided += 1;
            let Some(decided) = self.live.decide(&chunk(), Partition(0), &asked) else { continue };
            if let Some(entry) = decided.entry {
                let AskedBody::Command(command) = &asked.body else { panic!("a settle was committed") };
                let version = first_version + entries.len() as u64;
                let before = self.committed.insert(value_of(command), version);
                assert_eq!(before, None, "R2: {} was committed twice", value_of(command));
                entries.push(entry);
            }
            marks.push(decided.mark);
        }
        if marks.is_empty() {
            return;
        }
        let hash = self.live.replica.hash();
        let updates = (!entries.is_empty()).then(|| Updates {
            chunk_id: CHUNK.into(),
            first_version,
            entries,
            state_hash: hash.to_bytes(),
        });
        self.record(updates, marks);
    }

    fn record(&mut self, updates: Option<Updates>, marks: Vec<proto::Mark>) {
        let resolved = self.writers.iter().map(|writer| (*writer, self.live.ledger.resolved(*writer))).collect();
        self.records.push(Record {
            history: self.history,
            updates,
            marks,
            version: self.live.replica.version().0,
            hash: self.live.replica.hash(),
            encoding: self.live.replica.encoding().into_owned(),
            floor_ms: self.live.ledger.floor_ms(),
            resolved,
            live: self.live.clone(),
            decided: self.decided,
        });
    }

    /// The newest record, with the chunk's state after it.
    pub fn newest(&self) -> &Record {
        self.records.last().unwrap()
    }

    /// The Tracked that a gateway sends to `writer` after it has read `records[..=at]`.
    pub fn tracked(&self, at: usize, writer: WriterId) -> event::Body {
        let record = &self.records[at];
        let young = || {
            let is_young = writer.time_ms() > record.floor_ms;
            if is_young { Resolved::Known { seq: Seq(0), committed_bits: 0 } } else { Resolved::Expired }
        };
        let resolved = match record.resolved.get(&writer).copied().unwrap_or_else(young) {
            Resolved::Known { seq, committed_bits } => {
                tracked::Resolved::Ledger(proto::Resolved { seq: seq.0, committed_bits })
            }
            Resolved::Expired => tracked::Resolved::Expired(proto::ResolvedExpired {}),
        };
        event::Body::Tracked(Tracked {
            chunk_id: CHUNK.into(),
            version: record.version,
            hash: record.hash.to_bytes(),
            resolved: Some(resolved),
            history: record.history.to_field(),
        })
    }

    /// The Chunk event with the content after the record `at`.
    pub fn chunk(&self, at: usize) -> event::Body {
        let record = &self.records[at];
        event::Body::Chunk(Chunk {
            chunk_id: CHUNK.into(),
            version: record.version,
            hash: record.hash.to_bytes(),
            model: "map".into(),
            revision: driftless_chunk::map::REVISION,
            data: zstd::encode_all(&record.encoding[..], 1).unwrap().into(),
        })
    }

    /// The Updates events of `records[from..=at]`, without records up to version `version`.
    pub fn updates_above(&self, version: u64, from: usize, at: usize) -> Vec<event::Body> {
        let new = self.records[from..=at].iter().filter(|record| record.version > version);
        new.filter_map(|record| record.updates.as_ref()).map(updates).collect()
    }

    /// True if `have` names a state of the log at or before the record `at`, in the history of that
    /// record.
    pub fn knows(&self, have: &Have, at: usize) -> bool {
        let is_of = |history: HistoryId| history.to_field() == have.history;
        is_of(self.records[at].history)
            && self.records[..=at].iter().any(|r| r.version == have.version && r.hash.0[..] == have.hash[..])
    }

    /// True if a gateway that has read `records[..=at]` is behind `have`, so that it must hold the
    /// Track (R12).
    pub fn is_behind(&self, have: &Have, at: usize) -> bool {
        let record = &self.records[at];
        match HistoryId::from_field(&have.history).unwrap().cmp(&record.history) {
            Ordering::Less => false,
            Ordering::Equal => have.version > record.version,
            Ordering::Greater => true,
        }
    }

    /// The frame that one tracker receives for the record `at`: the updates, and the outcomes of
    /// the tracker's own commands. `outcomes_first` selects their order. `None`: the record has
    /// nothing for this tracker.
    pub fn live(&self, at: usize, writer: WriterId, outcomes_first: bool) -> Option<Bytes> {
        let record = &self.records[at];
        let own = record.marks.iter().filter(|mark| mark.writer[..] == writer.0[..]);
        let outcomes: Vec<_> = own
            .filter_map(|mark| {
                let outcome = match mark.outcome.clone()? {
                    mark::Outcome::Committed(_) => return None,
                    mark::Outcome::Discarded(discarded) => outcome::Outcome::Discarded(discarded),
                    mark::Outcome::OutOfOrder(it) => outcome::Outcome::OutOfOrder(it),
                    mark::Outcome::SessionExpired(it) => outcome::Outcome::SessionExpired(it),
                };
                Some(proto::Outcome { seq: mark.seq, outcome: Some(outcome) })
            })
            .collect();
        let mut bodies: Vec<_> = record.updates.as_ref().map(updates).into_iter().collect();
        if !outcomes.is_empty() {
            let body = event::Body::Outcomes(Outcomes { chunk_id: CHUNK.into(), outcomes });
            bodies.insert(if outcomes_first { 0 } else { bodies.len() }, body);
        }
        (!bodies.is_empty()).then(|| frame(bodies))
    }

    pub fn beacon(&self, at: usize) -> event::Body {
        let record = &self.records[at];
        let beacon = Beacon { chunk_id: CHUNK.into(), version: record.version, hash: record.hash.to_bytes() };
        event::Body::Beacons(Beacons { beacons: vec![beacon] })
    }
}

pub fn updates(updates: &Updates) -> event::Body {
    event::Body::Updates(updates.encode_to_vec().into())
}

pub fn frame(bodies: impl IntoIterator<Item = event::Body>) -> Bytes {
    let mut bytes = BytesMut::new();
    bodies.into_iter().for_each(|body| format::push_event(&mut bytes, body));
    bytes.freeze()
}

pub fn requests(frame: Bytes) -> Vec<proto::request::Body> {
    let frame: proto::ClientFrame = format::decode("ClientFrame", frame).unwrap();
    frame.requests.into_iter().map(|request| request.body.unwrap()).collect()
}
