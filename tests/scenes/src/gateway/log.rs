//! The log `updates`, the owners that write it, and the content that results from folding its valid
//! records.

use super::world::{P, id, world};
use bytes::Bytes;
use driftless_chunk::live::{Asked, AskedBody, LiveChunk};
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::world::World;
use driftless_gateway_core::Loaded;
use driftless_schemas::proto::{
    Decisions, Fence, Have, SnapshotStored, Updates, UpdatesRecord, mark, updates_record::Body,
};
use driftless_schemas::stored::{Location, StoredRef};
use driftless_schemas::{ChunkId, Hash, HistoryId, Offset, Seq, WriterId};
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A stored snapshot and its ref.
#[derive(Clone)]
pub struct Snapshot {
    pub stored: StoredRef,
    pub encoding: Bytes,
}

impl Snapshot {
    pub fn of(live: &mut LiveChunk) -> Self {
        let encoding = Bytes::from(live.replica.encoding().into_owned());
        let hash = live.replica.hash();
        let stored = StoredRef {
            version: live.replica.version(),
            hash,
            location: Location::Object,
            through_offset: live.through_offset,
            model_revision: 3,
            bytes: encoding.len() as u64,
            ledger: Some(live.ledger.to_stored()),
        };
        Self { stored, encoding }
    }

    pub fn loaded(&self) -> Loaded {
        let data = zstd::bulk::compress(&self.encoding, 1).unwrap().into();
        Loaded { stored: self.stored.clone(), data, encoding: self.encoding.clone() }
    }
}

/// The decision about a command in the valid part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Committed(u64),
    Discarded,
}

pub struct Log {
    pub world: Arc<World>,
    /// The records of `updates`.
    pub records: Vec<Bytes>,
    /// The position before each record, and at the end the position after the last record.
    pub positions: Vec<Position>,
    /// For each record: its chunk and its last offset in `commands`, if it holds valid decisions.
    through: Vec<Option<(ChunkId, i64)>>,
    commands: Vec<(ChunkId, Asked)>,
    seqs: BTreeMap<(ChunkId, WriterId), u64>,
    /// The oracle: each chunk as the valid records lead to it.
    pub truth: BTreeMap<ChunkId, LiveChunk>,
    /// The oracle: the decision about each command, by chunk, writer and number.
    pub fates: BTreeMap<(ChunkId, WriterId, u64), Fate>,
    /// The durable refs of each chunk, oldest first.
    pub index: BTreeMap<ChunkId, Vec<Snapshot>>,
    /// For each version at which a valid record ends, the hash of the content.
    pub hashes: BTreeMap<(ChunkId, u64), Hash>,
    epochs: u64,
}

/// An owner of the partition, which decides commands. It may have been replaced without noticing.
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

    /// A chunk's version and hash at the end of the log.
    pub fn newest(&mut self, chunk: &str) -> (u64, Hash) {
        let truth = self.truth(chunk);
        (truth.replica.version().0, truth.replica.hash())
    }

    pub fn have(&mut self, chunk: &str) -> Have {
        let (version, hash) = self.newest(chunk);
        Have { version, hash: hash.to_bytes(), ..Have::default() }
    }

    /// Appends a writer's next command to `commands`, and returns its number.
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

    /// Appends a command whose predecessor is not in the log.
    pub fn too_early(&mut self, chunk: &str, writer: WriterId) {
        let seq = self.seqs.get(&(id(chunk), writer)).copied().unwrap_or(0);
        self.ask(chunk, writer, Seq(seq + 9), Seq(seq + 8), "early");
    }

    pub fn owner(&mut self) -> Owner {
        self.owner_with(HistoryId::FIRST)
    }

    /// An owner whose fence begins a history, unless it is the first one.
    pub fn owner_with(&mut self, history: HistoryId) -> Owner {
        self.epochs += 1;
        let owner = Owner { epoch: self.epochs, n: 0, live: self.truth.clone() };
        let fence = Fence { owner: "me".into(), history: history.to_field(), ..Fence::default() };
        let body = Some(Body::Fence(fence));
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

    /// Stores a snapshot of a chunk's newest state, and its ref in the index.
    pub fn snapshot(&mut self, chunk: &str) -> Snapshot {
        let snapshot = Snapshot::of(self.truth(chunk));
        self.index.entry(id(chunk)).or_default().push(snapshot.clone());
        snapshot
    }

    /// The `updates_low` that a checkpoint would have now: the offset of the first record that no
    /// stored ref contains.
    pub fn low(&self) -> usize {
        let is_open = |through: &Option<(ChunkId, i64)>| {
            through.as_ref().is_some_and(|(chunk, offset)| {
                let newest = self.index.get(chunk).and_then(|all| all.last());
                newest.is_none_or(|newest| newest.stored.through_offset.0 < *offset)
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

    /// Decides up to `count` commands of a chunk in one record. If `is_lost` is true, the record
    /// never reaches the log. Returns the number of decisions.
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
        let stored = SnapshotStored { chunk_id: chunk.into(), r#ref: Some(snapshot.stored.to_proto()) };
        let record = self.next(Body::SnapshotStored(stored));
        log.append(&record);
    }
}

/// Appends a command for each text. The owner decides each command at once, in a record of its own.
pub fn write(log: &mut Log, owner: &mut Owner, chunk: &str, by: WriterId, texts: &[&str]) {
    for text in texts {
        log.command(chunk, by, text);
        assert_eq!(owner.decide(log, chunk, usize::MAX, false), 1);
    }
}
