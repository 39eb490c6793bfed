//! The log, the index and the object store of one partition, and its owners.

mod oracles;
mod services;

use super::owner::Owner;
use super::reference::{LastValid, Reference};
use super::world::{PARTITION, Wish, command, record, settings, world};
use bytes::Bytes;
use driftless_chunk::live::{Asked, LiveChunk};
use driftless_chunk::world::World;
use driftless_replayer_core::{End, Input, Output, PartitionCore, Settings};
use driftless_schemas::proto::{Command, CommandRecord, UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::{Checkpoint, IndexEntry, StoredRef};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash, Offset, WriterId};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub struct Scene {
    pub world: Arc<World>,
    settings: Settings,
    pub now_ms: u64,
    pub commands: Vec<Bytes>,
    pub updates: Vec<Bytes>,
    pub checkpoint: Checkpoint,
    pub index: BTreeMap<ChunkId, IndexEntry>,
    objects: BTreeMap<Hash, Bytes>,
    pub dead_letters: BTreeSet<Offset>,
    pub owners: Vec<Owner>,
    /// Chunks of [`PARTITION`].
    pub chunks: Vec<ChunkId>,
    /// A chunk of the other partition.
    pub stranger: ChunkId,
    references: BTreeMap<ChunkId, Reference>,
    /// The offsets of the commands that must be copied to `dead-letter`.
    buried: BTreeSet<Offset>,
    last_valid: LastValid,
    /// For each offset of `updates`, and for its end, the last valid record below it.
    last_valid_at: Vec<LastValid>,
    /// The valid records of decisions: the record's offset, its chunk, and the highest offset of a
    /// command that it decides.
    valid: Vec<(Offset, ChunkId, i64)>,
    /// All refs that were ever written to the index.
    refs: Vec<(ChunkId, StoredRef)>,
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
            let states = vec![Reference::state_of(&mut live)];
            references.insert(chunk.clone(), Reference { live, marks: vec![], states, decided: 0 });
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
            last_valid: LastValid { epoch: 0, n: 0 },
            last_valid_at: vec![LastValid { epoch: 0, n: 0 }],
            valid: vec![],
            refs: vec![],
        }
    }

    // ---- `commands` ----

    /// Appends a command to `commands`, and lets the reference decide it. Returns the command's
    /// offset.
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
            reference.states.push(Reference::state_of(&mut reference.live));
        }
        offset
    }

    /// Appends a record that no chunk of the partition can take, and returns its offset.
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

    // ---- Owners ----

    /// A new owner claims the index. Returns its number. Earlier owners continue without noticing.
    pub fn claim(&mut self) -> usize {
        self.checkpoint.epoch = self.checkpoint.epoch.next();
        let world = Arc::clone(&self.world);
        let now = MonotonicMs(self.now_ms);
        let name = format!("lab#{}", self.owners.len());
        let core = PartitionCore::new(world, PARTITION, &name, self.checkpoint, self.settings.clone(), now);
        self.owners.push(Owner {
            core: Some(core),
            epoch: self.checkpoint.epoch.0,
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
            asks_commands_end: false,
            reads_back: None,
            end: None,
            was_failed: false,
            was_away: false,
        });
        let owner = self.owners.len() - 1;
        self.pump(owner);
        owner
    }

    /// Ends an owner's process. Records that it has given to its producer may still reach the log.
    pub fn kill(&mut self, owner: usize) {
        let owner = &mut self.owners[owner];
        owner.core = None;
        owner.checkpoint = None;
    }

    pub fn core(&self, owner: usize) -> &PartitionCore {
        self.owners[owner].core.as_ref().unwrap()
    }

    /// Gives an input to an owner, and takes its outputs.
    pub fn give(&mut self, owner: usize, input: Input) {
        let now = MonotonicMs(self.now_ms);
        if let Some(core) = &mut self.owners[owner].core {
            core.handle(input, now);
        }
        self.pump(owner);
        if std::mem::take(&mut self.owners[owner].asks_commands_end) {
            self.give(owner, Input::CommandsEnd(Offset(self.commands.len() as i64)));
        }
    }

    /// Takes the outputs of an owner, and checks each of them.
    fn pump(&mut self, index: usize) {
        let newest = self.checkpoint.epoch.0;
        let owner = &mut self.owners[index];
        let Some(core) = &mut owner.core else { return };
        while let Some(output) = core.poll_output() {
            assert_eq!(owner.end, None, "nothing comes after the end: {output:?}");
            match output {
                Output::Append { n, value, .. } => {
                    let record = UpdatesRecord::decode(value.clone()).unwrap();
                    assert_eq!((record.epoch, record.n), (owner.epoch, n));
                    if let Some(Body::SnapshotStored(stored)) = &record.body {
                        // R6: the object is stored first, then the ref, and then the notice is
                        // appended.
                        let r = stored.r#ref.as_ref().unwrap();
                        assert!(
                            self.objects.contains_key(&Hash::from_slice(&r.hash).unwrap()),
                            "r6: a notice without its object"
                        );
                        let is_stored =
                            self.refs.iter().any(|(c, s)| c.as_str() == stored.chunk_id && s.to_proto() == *r);
                        assert!(is_stored, "r6: a notice without its ref");
                    }
                    owner.to_append.push_back((n, value));
                }
                Output::ReadUpdates(from) => owner.reads_updates = Some(from),
                Output::ReadCommands(from) => {
                    owner.reads_updates = None;
                    owner.reads_commands = Some(from);
                }
                Output::AskCommandsEnd => owner.asks_commands_end = true,
                Output::ReadBack(from) => owner.reads_back = Some(from),
                Output::EndReadBack => owner.reads_back = None,
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
                Output::Reached(_) | Output::Drift(..) | Output::Stuck(..) | Output::Lost(..) => {}
                Output::LossAccepted(range) => panic!("the log has all records: {range}"),
                Output::Ended(end) => {
                    match &end {
                        End::Drained => {}
                        End::Replaced { epoch } => assert!(epoch.0 > owner.epoch),
                        End::FenceInvalid { epoch, current, .. } => {
                            assert_eq!(epoch.0, owner.epoch);
                            assert!(*current >= *epoch, "{end}");
                        }
                        End::AppendFailed { .. } => assert!(owner.was_failed, "{end}"),
                        End::Index { .. } => assert!(owner.was_failed || newest > owner.epoch, "{end}"),
                        End::Reread { .. } => assert!(owner.was_away, "{end}"),
                        End::NotCounted { .. }
                        | End::HistoryTooOld { .. }
                        | End::IndexTooOld { .. }
                        | End::AnotherWorld { .. }
                        | End::AnotherLog { .. }
                        | End::Unreadable { .. }
                        | End::ImpossibleMark { .. }
                        | End::OutOfRange(_)
                        | End::ModelFault { .. } => panic!("{end}"),
                    }
                    owner.end = Some(end);
                }
            }
        }
    }
}
