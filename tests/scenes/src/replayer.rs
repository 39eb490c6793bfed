//! One partition as a laboratory: a log, an index and an object store of plain collections, and owners whose every
//! message can be held back, lost or delivered late. Former owners stay on as zombies.
//!
//! The oracles stand beside the workload. A reference decides every command once, in the order of offsets; whatever
//! lands in `updates` and counts (R4, judged by code of its own) must be exactly what the reference decided, next in
//! line. Whatever is written into the index is compared with the log of that moment (R6), and restored from (R5).

pub mod actions;

use bytes::Bytes;
use driftless_chunk::live::{Asked, LiveChunk, read_updates};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_replayer_core::{End, Input, LoadError, Output, PartitionCore, Settings, Stored};
use driftless_schemas::proto::{
    self, Absent, Checkpoint, Command, CommandRecord, Decisions, DeleteKey, IndexEntry, MapCommand, MapGuard, Mark,
    PutKey, Ref, Settle, UpdatesRecord, command, command_record, map_command, map_guard, updates_record::Body,
};
use driftless_schemas::world::{FamilySpec, WorldSpec};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Version, WriterId};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub const PARTITION: Partition = Partition(0);

/// Two partitions, and maps so small that commands conflict and do not fit.
pub fn world() -> Arc<World> {
    let parameters = serde_json::json!({"entries_max": 3, "value_bytes_max": 8, "bytes_max": 60});
    let spec = WorldSpec {
        name: "lab".into(),
        generation: 1,
        partitions: 2,
        commands_retention_hours: 72,
        updates_retention_hours: None,
        families: vec![FamilySpec {
            name: "things".into(),
            model: "map".into(),
            parameters: parameters.as_object().cloned().unwrap(),
            coordinates: 1,
            bounds: 1000,
            region: 0,
        }],
    };
    Arc::new(World::new("lab", spec, &Models::builtin()).unwrap())
}

/// Everything happens soon and often.
pub fn settings() -> Settings {
    Settings {
        snapshot_every: 3,
        snapshot_max_age_ms: 500,
        snapshot_min_interval_ms: 150,
        snapshots_in_flight_max: 2,
        checkpoint_interval_ms: 200,
        chunks_bytes_max: 1_400,
        commands_in_flight_max: 12,
        load_retry_ms: 100,
        ..Settings::default()
    }
}

/// What a command wants.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    Put(u8),
    Claim(u8),
    Delete(u8),
    Nonsense,
    NoBody,
    Settle,
}

pub fn command(writer: WriterId, seq: u64, after: u64, wish: Wish) -> Command {
    let key = |k: u8| format!("key{k}");
    let value = || Bytes::from(seq.to_string());
    let absent = || Some(MapGuard { is: Some(map_guard::Is::Absent(Absent {})) });
    let map = |body| Some(command::Body::Command(MapCommand { body: Some(body) }.encode_to_vec().into()));
    let body = match wish {
        Wish::Put(k) => map(map_command::Body::Put(PutKey { key: key(k), value: value(), guard: None })),
        Wish::Claim(k) => map(map_command::Body::Put(PutKey { key: key(k), value: value(), guard: absent() })),
        Wish::Delete(k) => map(map_command::Body::Delete(DeleteKey { key: key(k), guard: None })),
        Wish::Nonsense => Some(command::Body::Command(Bytes::from_static(b"\xff\xff"))),
        Wish::NoBody => None,
        Wish::Settle => Some(command::Body::Settle(Settle {})),
    };
    Command { writer: writer.to_bytes(), author: "ann".into(), seq, after, body, ..Command::default() }
}

pub fn record(chunk: &ChunkId, command: Command) -> Bytes {
    let body = Some(command_record::Body::Command(command));
    CommandRecord { chunk_id: chunk.to_string(), body }.encode_to_vec().into()
}

/// A chunk's state after a decision.
#[derive(Clone, Debug, PartialEq)]
struct Stand {
    version: Version,
    hash: Hash,
    ledger: proto::Ledger,
}

/// What should be decided for a chunk, and how far the log has come with it.
struct Reference {
    live: LiveChunk,
    marks: Vec<Mark>,
    /// `stands[i]`: after `i` marks.
    stands: Vec<Stand>,
    decided: usize,
}

impl Reference {
    fn stand(live: &mut LiveChunk) -> Stand {
        let (version, hash) = (live.replica.version(), live.replica.hash());
        Stand { version, hash, ledger: live.ledger.to_proto() }
    }

    /// How many marks stand at or below that offset of `commands`.
    fn marks_through(&self, offset: i64) -> usize {
        self.marks.partition_point(|mark| mark.source_offset <= offset)
    }
}

/// R4, written down once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Judge {
    epoch: u64,
    n: u64,
}

impl Judge {
    fn counts(&mut self, record: &UpdatesRecord) -> bool {
        let is_fence = matches!(record.body, Some(Body::Fence(_)));
        let counts = match is_fence {
            true => record.epoch > self.epoch,
            false => record.epoch == self.epoch && record.n == self.n + 1,
        };
        if counts {
            (self.epoch, self.n) = (record.epoch, record.n);
        }
        counts
    }
}

/// What an owner has asked for and not got.
pub struct Owner {
    /// `None`: the process is gone; what it has handed to its producer may still land.
    pub core: Option<PartitionCore>,
    pub epoch: u64,
    pub to_append: VecDeque<(u64, Bytes)>,
    /// In the log, and not acknowledged.
    pub landed: VecDeque<(u64, Offset)>,
    /// Of what is acknowledged, the end in the log.
    acked: Offset,
    pub loads: VecDeque<ChunkId>,
    pub puts: VecDeque<(ChunkId, Hash, Bytes)>,
    pub dead_letters: VecDeque<(u64, Offset)>,
    pub checkpoint: Option<(Checkpoint, Vec<(ChunkId, IndexEntry)>)>,
    pub written: Option<Result<(), String>>,
    pub reads_updates: Option<Offset>,
    pub reads_commands: Option<Offset>,
    pub end: Option<End>,
    /// Injected, so that an end by it is no surprise.
    pub was_failed: bool,
    /// A load failed: commands that were not kept meanwhile are read again by the next owner.
    pub was_away: bool,
}

pub struct Scene {
    pub world: Arc<World>,
    settings: Settings,
    pub now_ms: u64,
    pub commands: Vec<Bytes>,
    pub updates: Vec<Bytes>,
    pub checkpoint: Checkpoint,
    pub index: BTreeMap<ChunkId, IndexEntry>,
    objects: BTreeMap<[u8; 32], Bytes>,
    pub dead_letters: BTreeSet<Offset>,
    pub owners: Vec<Owner>,
    /// Chunks of [`PARTITION`].
    pub chunks: Vec<ChunkId>,
    pub stranger: ChunkId,
    references: BTreeMap<ChunkId, Reference>,
    /// Offsets that belong into `dead-letter`.
    buried: BTreeSet<Offset>,
    judge: Judge,
    /// The judge below each offset of `updates`; one more than there are records.
    judged: Vec<Judge>,
    /// Valid decisions: (offset, chunk, newest source offset).
    valid: Vec<(Offset, ChunkId, i64)>,
    refs: Vec<(ChunkId, Ref)>,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        let world = world();
        let all: Vec<ChunkId> = (0..40).map(|i| ChunkId::new("things", &[i]).unwrap()).collect();
        let (mut chunks, strangers): (Vec<ChunkId>, Vec<ChunkId>) =
            all.into_iter().partition(|chunk| world.place(chunk).unwrap().partition == PARTITION);
        chunks.truncate(4);
        let stranger = strangers[0].clone();
        let mut references = BTreeMap::new();
        for chunk in &chunks {
            let mut live = LiveChunk::initial(Arc::clone(&world.place(chunk).unwrap().family.model), chunk);
            let stands = vec![Reference::stand(&mut live)];
            references.insert(chunk.clone(), Reference { live, marks: vec![], stands, decided: 0 });
        }
        Self {
            world,
            settings,
            now_ms: 1_000,
            commands: vec![],
            updates: vec![],
            checkpoint: Checkpoint::default(),
            index: BTreeMap::new(),
            objects: BTreeMap::new(),
            dead_letters: BTreeSet::new(),
            owners: vec![],
            chunks,
            stranger,
            references,
            buried: BTreeSet::new(),
            judge: Judge { epoch: 0, n: 0 },
            judged: vec![Judge { epoch: 0, n: 0 }],
            valid: vec![],
            refs: vec![],
        }
    }

    // ---- `commands` -----------------------------------------------------------------------------------------------

    pub fn submit(&mut self, chunk: usize, command: Command) -> Offset {
        let chunk = self.chunks[chunk % self.chunks.len()].clone();
        let offset = Offset(self.commands.len() as i64);
        self.commands.push(record(&chunk, command.clone()));
        if command.body.is_none() {
            self.buried.insert(offset);
        }
        let asked = Asked::from_proto(offset, command).unwrap();
        let reference = self.references.get_mut(&chunk).unwrap();
        if let Some(decided) = reference.live.decide(&chunk, PARTITION, &asked) {
            reference.marks.push(decided.mark);
            reference.stands.push(Reference::stand(&mut reference.live));
        }
        offset
    }

    /// Something that nobody can place.
    pub fn submit_rubbish(&mut self, kind: u8) -> Offset {
        let offset = Offset(self.commands.len() as i64);
        self.commands.push(match kind % 3 {
            0 => Bytes::from_static(b"\xff\xff\xff"),
            1 => record(&self.stranger, command(WriterId([9; 16]), 1, 0, Wish::Put(0))),
            _ => CommandRecord { chunk_id: self.chunks[0].to_string(), body: None }.encode_to_vec().into(),
        });
        self.buried.insert(offset);
        offset
    }

    // ---- Owners ---------------------------------------------------------------------------------------------------

    /// A new owner claims the index; whoever was there before goes on without knowing.
    pub fn claim(&mut self) -> usize {
        self.checkpoint.epoch += 1;
        let world = Arc::clone(&self.world);
        let core = PartitionCore::new(world, PARTITION, "lab", self.checkpoint, self.settings.clone(), self.now_ms);
        self.owners.push(Owner {
            core: Some(core),
            epoch: self.checkpoint.epoch,
            to_append: VecDeque::new(),
            landed: VecDeque::new(),
            acked: Offset(0),
            loads: VecDeque::new(),
            puts: VecDeque::new(),
            dead_letters: VecDeque::new(),
            checkpoint: None,
            written: None,
            reads_updates: None,
            reads_commands: None,
            end: None,
            was_failed: false,
            was_away: false,
        });
        let owner = self.owners.len() - 1;
        self.pump(owner);
        owner
    }

    pub fn kill(&mut self, owner: usize) {
        let owner = &mut self.owners[owner];
        owner.core = None;
        owner.checkpoint = None;
    }

    pub fn core(&self, owner: usize) -> &PartitionCore {
        self.owners[owner].core.as_ref().unwrap()
    }

    /// Hands an input to an owner, and takes what it wants then.
    pub fn give(&mut self, owner: usize, input: Input) {
        let now = self.now_ms;
        if let Some(core) = &mut self.owners[owner].core {
            core.handle(input, now);
        }
        self.pump(owner);
    }

    fn pump(&mut self, index: usize) {
        let newest = self.checkpoint.epoch;
        let owner = &mut self.owners[index];
        let Some(core) = &mut owner.core else { return };
        while let Some(output) = core.poll_output() {
            assert_eq!(owner.end, None, "nothing comes after the end: {output:?}");
            match output {
                Output::Append { n, value, .. } => {
                    let record = UpdatesRecord::decode(value.clone()).unwrap();
                    assert_eq!((record.epoch, record.n), (owner.epoch, n));
                    if let Some(Body::SnapshotStored(stored)) = &record.body {
                        // R6: first the object, then the ref, then the notice.
                        let r = stored.r#ref.as_ref().unwrap();
                        assert!(self.objects.contains_key(&r.hash[..]), "r6: a notice without its object");
                        let is_stored = self.refs.iter().any(|(c, s)| c.as_str() == stored.chunk_id && s == r);
                        assert!(is_stored, "r6: a notice without its ref");
                    }
                    owner.to_append.push_back((n, value));
                }
                Output::ReadUpdates(from) => owner.reads_updates = Some(from),
                Output::ReadCommands(from) => {
                    owner.reads_updates = None;
                    owner.reads_commands = Some(from);
                }
                Output::Load(chunk) => owner.loads.push_back(chunk),
                Output::PutSnapshot { chunk, hash, encoding } => {
                    assert_eq!(Hash::of(&encoding), hash, "r7: content is its name");
                    owner.puts.push_back((chunk, hash, encoding));
                }
                Output::WriteCheckpoint { checkpoint, entries } => {
                    assert!(owner.checkpoint.is_none() && owner.written.is_none(), "one checkpoint at a time");
                    owner.checkpoint = Some((checkpoint, entries));
                }
                Output::DeadLetter { id, offset, value, .. } => {
                    assert_eq!(Some(&value), self.commands.get(offset.0 as usize), "r9: the raw bytes");
                    owner.dead_letters.push_back((id, offset));
                }
                Output::LoadOlder(..) | Output::ReadHistory(_) | Output::EndHistory | Output::Repair { .. } => {}
                Output::Drift(..) | Output::Stuck(..) | Output::Lost(..) => {}
                Output::Ended(end) => {
                    match &end {
                        End::Drained => {}
                        End::Replaced { epoch } => assert!(epoch.0 > owner.epoch),
                        End::AppendFailed { .. } => assert!(owner.was_failed, "{end}"),
                        End::Index { .. } => assert!(owner.was_failed || newest > owner.epoch, "{end}"),
                        End::Reread { .. } => assert!(owner.was_away, "{end}"),
                        End::Unreadable { .. } | End::ModelFault { .. } => panic!("{end}"),
                    }
                    owner.end = Some(end);
                }
            }
        }
    }

    // ---- The world around them ------------------------------------------------------------------------------------

    /// The next record of an owner reaches the log.
    pub fn land(&mut self, owner: usize) -> bool {
        let Some((n, value)) = self.owners[owner].to_append.pop_front() else { return false };
        let offset = Offset(self.updates.len() as i64);
        self.owners[owner].landed.push_back((n, offset));
        let record = UpdatesRecord::decode(value.clone()).unwrap();
        self.updates.push(value);
        let counts = self.judge.counts(&record);
        self.judged.push(self.judge);
        if counts && let Some(Body::Decisions(decisions)) = record.body {
            self.check_decisions(offset, &decisions);
        }
        true
    }

    /// R2, R3, R8: what counts is what the reference decided, next in line.
    fn check_decisions(&mut self, at: Offset, decisions: &Decisions) {
        let chunk: ChunkId = decisions.chunk_id.parse().unwrap();
        let reference = self.references.get_mut(&chunk).unwrap();
        let before = reference.decided;
        for mark in &decisions.marks {
            let expected = reference.marks.get(reference.decided);
            assert_eq!(Some(mark), expected, "r2, r8: updates {at}, decision {} of {chunk}", reference.decided);
            reference.decided += 1;
        }
        if let Some(updates) = read_updates(decisions).unwrap() {
            let (from, to) = (&reference.stands[before], &reference.stands[reference.decided]);
            assert_eq!(updates.first_version, from.version.0 + 1, "r3: {chunk} at updates {at}");
            assert_eq!(updates.first_version + updates.entries.len() as u64 - 1, to.version.0, "r3: {chunk}");
            assert_eq!(updates.state_hash[..], to.hash.0, "r10: {chunk} at updates {at}");
        }
        let newest = decisions.marks.last().unwrap().source_offset;
        self.valid.push((at, chunk, newest));
    }

    pub fn ack(&mut self, owner: usize, knows_offset: bool) -> bool {
        let Some((n, offset)) = self.owners[owner].landed.pop_front() else { return false };
        if self.owners[owner].was_failed {
            return true;
        }
        self.owners[owner].acked = offset.next();
        self.give(owner, Input::Acked(n, knows_offset.then_some(offset)));
        true
    }

    /// The producer writes once more what has landed and is not acknowledged, before what comes next (decision 0012).
    pub fn write_again(&mut self, owner: usize) -> bool {
        let o = &mut self.owners[owner];
        let is_any = !o.landed.is_empty();
        while let Some((n, offset)) = o.landed.pop_back() {
            o.to_append.push_front((n, self.updates[offset.0 as usize].clone()));
        }
        is_any
    }

    /// An append fails. Where it `is_lost` it never lands, but what was handed over behind it may.
    pub fn fail(&mut self, owner: usize, is_lost: bool) -> bool {
        let o = &mut self.owners[owner];
        let Some(n) = o.landed.front().map(|l| l.0).or_else(|| o.to_append.front().map(|a| a.0)) else { return false };
        if o.was_failed {
            return false;
        }
        o.was_failed = true;
        o.landed.clear();
        if is_lost && o.to_append.front().is_some_and(|a| a.0 == n) {
            o.to_append.pop_front();
        }
        self.give(owner, Input::AppendFailed(n, "lost".into()));
        assert!(self.owners[owner].core.is_none() || self.owners[owner].end.is_some());
        true
    }

    pub fn load(&mut self, owner: usize, is_ok: bool) -> bool {
        let Some(chunk) = self.owners[owner].loads.pop_front() else { return false };
        let stored =
            self.index.get(&chunk).map(|entry| Stored { entry: entry.clone(), encoding: self.encoding(entry) });
        self.owners[owner].was_away |= !is_ok;
        let loaded = if is_ok { Ok(stored) } else { Err(LoadError::Unavailable("the store is away".into())) };
        self.give(owner, Input::Loaded(chunk, loaded));
        true
    }

    fn encoding(&self, entry: &IndexEntry) -> Bytes {
        let newest = entry.newest.as_ref().unwrap();
        self.objects.get(&newest.hash[..]).expect("r6: a ref without its object").clone()
    }

    pub fn put(&mut self, owner: usize, is_ok: bool) -> bool {
        let Some((chunk, hash, encoding)) = self.owners[owner].puts.pop_front() else { return false };
        if is_ok {
            self.objects.insert(hash.0, encoding);
        }
        let result = if is_ok { Ok(()) } else { Err("the store is away".into()) };
        self.give(owner, Input::SnapshotPut(chunk, hash, result));
        true
    }

    pub fn bury(&mut self, owner: usize) -> bool {
        let Some((id, offset)) = self.owners[owner].dead_letters.pop_front() else { return false };
        self.dead_letters.insert(offset);
        self.give(owner, Input::DeadLettered(id));
        true
    }

    /// The index takes the batch (or not); the owner does not know yet.
    pub fn write(&mut self, owner: usize, is_ok: bool) -> bool {
        let o = &mut self.owners[owner];
        let Some((checkpoint, entries)) = o.checkpoint.take() else { return false };
        if o.epoch != self.checkpoint.epoch {
            o.written = Some(Err("fenced".into()));
            return true;
        }
        o.was_failed |= !is_ok;
        o.written = Some(if is_ok { Ok(()) } else { Err("no answer".into()) });
        self.check_refs(owner, &entries);
        for (chunk, entry) in entries {
            self.refs.push((chunk.clone(), entry.newest.clone().unwrap()));
            self.index.insert(chunk, entry);
        }
        self.checkpoint = checkpoint;
        self.check_checkpoint(owner);
        self.check_restore();
        true
    }

    pub fn tell_written(&mut self, owner: usize) -> bool {
        let Some(result) = self.owners[owner].written.take() else { return false };
        self.give(owner, Input::CheckpointWritten(result));
        true
    }

    pub fn read_updates(&mut self, owner: usize, count: usize) -> bool {
        let Some(from) = self.owners[owner].reads_updates else { return false };
        let records = slice(&self.updates, from, count);
        let Some(last) = records.last().map(|r| r.0) else { return false };
        self.owners[owner].reads_updates = Some(last.next());
        self.give(owner, Input::Updates(records));
        true
    }

    pub fn read_commands(&mut self, owner: usize, count: usize) -> bool {
        let o = &mut self.owners[owner];
        let (Some(from), Some(core)) = (o.reads_commands, &o.core) else { return false };
        let records = slice(&self.commands, from, count);
        let Some(last) = records.last().map(|r| r.0) else { return false };
        if !core.wants_commands() {
            return false;
        }
        o.reads_commands = Some(last.next());
        self.give(owner, Input::Commands(records));
        true
    }

    pub fn tick(&mut self, owner: usize, ms: u64) {
        self.now_ms += ms;
        self.give(owner, Input::Tick);
    }

    /// Everything that an owner waits for, once.
    pub fn serve(&mut self, owner: usize) {
        while self.land(owner) {}
        while self.ack(owner, true) {}
        while self.read_updates(owner, 7) {}
        while self.load(owner, true) {}
        while self.put(owner, true) {}
        while self.bury(owner) {}
        self.write(owner, true);
        self.tell_written(owner);
        while self.read_commands(owner, 7) {}
        self.tick(owner, 50);
    }

    /// A last owner in good weather: everything is decided, stored, and handed over in order.
    pub fn finish(&mut self) {
        let owner = self.claim();
        for round in 0.. {
            for zombie in 0..owner {
                self.land(zombie);
            }
            self.serve(owner);
            assert_eq!(self.owners[owner].end, None);
            let stats = self.core(owner).stats();
            let is_done = self.core(owner).commands_next().0 == self.commands.len() as i64;
            if is_done && stats.dirty_chunks == 0 && stats.commands_open == 0 {
                break;
            }
            assert!(round < 400, "it hangs: {stats:?}, commands_next {}", self.core(owner).commands_next());
        }
        for (chunk, reference) in &self.references {
            assert_eq!(reference.decided, reference.marks.len(), "r2: a command of {chunk} is lost");
        }
        assert_eq!(self.dead_letters, self.buried, "r9: dead letters");
        self.give(owner, Input::Drain);
        for _ in 0..10 {
            self.serve(owner);
        }
        assert_eq!(self.owners[owner].end, Some(End::Drained));
        assert_eq!(self.checkpoint.commands_next, self.commands.len() as i64);
        self.check_restore();
    }

    // ---- Oracles --------------------------------------------------------------------------------------------------

    /// R6: a ref contains nothing that is not in the log, valid and acknowledged.
    fn check_refs(&self, owner: usize, entries: &[(ChunkId, IndexEntry)]) {
        for (chunk, entry) in entries {
            let newest = entry.newest.as_ref().unwrap();
            assert!(self.objects.contains_key(&newest.hash[..]), "r6: a ref without its object");
            assert!(entry.older.iter().all(|older| older.ledger.is_none() && older.version != newest.version));
            let reference = &self.references[chunk];
            let contained = reference.marks_through(newest.through_offset);
            assert!(contained <= reference.decided, "r6: a ref of {chunk} contains what is not in the log");
            let stand = &reference.stands[contained];
            assert_eq!((newest.version, &newest.hash[..]), (stand.version.0, &stand.hash.0[..]), "r6: {chunk}");
            assert_eq!(newest.ledger.as_ref(), Some(&stand.ledger), "r6: the ledger of {chunk}");
            let owner = &self.owners[owner];
            for (at, _, newest_mark) in self.valid.iter().filter(|v| v.1 == *chunk) {
                let is_known = *at < owner.acked || self.judged[at.0 as usize + 1].epoch < owner.epoch;
                assert!(
                    is_known || *newest_mark > newest.through_offset,
                    "r6: a ref of {chunk} contains updates {at}, which is not acknowledged"
                );
            }
        }
    }

    /// R6: the checkpoint points past nothing.
    fn check_checkpoint(&self, owner: usize) {
        let low = self.checkpoint.updates_low;
        let here = self.judged.get(low as usize).expect("updates_low is in the log");
        let triple = (self.checkpoint.updates_low_epoch, self.checkpoint.updates_low_n);
        assert_eq!(triple, (here.epoch, here.n), "r4: the triple of updates_low {low}");
        for (at, chunk, newest) in self.valid.iter().filter(|v| v.0.0 < low) {
            let through = self.index.get(chunk).and_then(|e| e.newest.as_ref()).map_or(-1, |r| r.through_offset);
            assert!(*newest <= through, "r6: updates {at} is below updates_low {low} and in no ref of {chunk}");
        }
        for (chunk, reference) in &self.references {
            let due = reference.marks.partition_point(|mark| mark.source_offset < self.checkpoint.commands_next);
            assert!(due <= reference.decided, "r6: commands_next passes an undecided command of {chunk}");
            let owner = &self.owners[owner];
            for (at, _, newest) in self.valid.iter().filter(|v| v.1 == *chunk) {
                let is_known = *at < owner.acked || self.judged[at.0 as usize + 1].epoch < owner.epoch;
                assert!(is_known || *newest >= self.checkpoint.commands_next, "r6: updates {at} is not acknowledged");
            }
        }
        let next = Offset(self.checkpoint.commands_next);
        assert!(
            self.buried.range(..next).all(|o| self.dead_letters.contains(o)),
            "r9: commands_next passes a dead letter that is not copied"
        );
    }

    /// R5: checkpoint, refs, objects and log give every chunk back as the log's decisions made it.
    pub fn check_restore(&self) {
        for (chunk, reference) in &self.references {
            let model = Arc::clone(&self.world.place(chunk).unwrap().family.model);
            let mut live = match self.index.get(chunk) {
                None => LiveChunk::initial(model, chunk),
                Some(entry) => {
                    LiveChunk::restore(model, entry.newest.as_ref().unwrap(), &self.encoding(entry)).unwrap()
                }
            };
            let (epoch, n) = (self.checkpoint.updates_low_epoch, self.checkpoint.updates_low_n);
            let mut judge = Judge { epoch, n };
            for value in &self.updates[self.checkpoint.updates_low as usize..] {
                let record = UpdatesRecord::decode(value.clone()).unwrap();
                if judge.counts(&record)
                    && let Some(Body::Decisions(decisions)) = &record.body
                    && decisions.chunk_id == chunk.as_str()
                {
                    live.fold(decisions, read_updates(decisions).unwrap().as_ref()).unwrap();
                }
            }
            let expected = &reference.stands[reference.decided];
            assert_eq!(&Reference::stand(&mut live), expected, "r5: {chunk} restored");
        }
    }

    /// The decisions that count, of one chunk: (source offset, version after it).
    pub fn decided(&self, chunk: usize) -> usize {
        self.references[&self.chunks[chunk]].decided
    }
}

fn slice(log: &[Bytes], from: Offset, count: usize) -> Vec<(Offset, Bytes)> {
    let all = log.iter().enumerate().skip(from.0 as usize).take(count.max(1));
    all.map(|(i, value)| (Offset(i as i64), value.clone())).collect()
}
