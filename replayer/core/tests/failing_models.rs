//! Models that panic or never return while the owner checks a chunk. In a check the owner rebuilds
//! the chunk's content from an older stored state and the log, and compares it with the content in
//! memory. The core's guard surrounds each call of a model: after a panic, the owner gives up its
//! partition at worst, and the process goes on. The guard records each call for the watchdog before
//! the call begins, so that the watchdog can name a call that never returns.

use bytes::Bytes;
use driftless_chunk::model::{Context, Decision, Fault, Model, Models, Refusal};
use driftless_chunk::world::World;
use driftless_replayer_core::{Call, End, Input, OutOfRange, Output, PartitionCore, Settings, Stored, Stream, Working};
use driftless_schemas::proto::{
    Audit, Command, CommandRecord, Fence, UpdatesRecord, command, command_record, updates_record::Body,
};
use driftless_schemas::stored::{Checkpoint, IndexEntry, Location, StoredLedger, StoredRef};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::world::{FamilySpec, WorldSpec};
use driftless_schemas::{ChunkId, Epoch, Hash, Offset, Partition, Version, WriterId};
use prost::Message as _;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// The three model calls that a check makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Fold,
    Encode,
    Decode,
}

thread_local! {
    /// If set, the model panics at a call of this kind, after this many more calls of the kind.
    static PANICS: Cell<Option<(Asked, u32)>> = const { Cell::new(None) };
    /// The owner's record of its current model call. A watchdog would read it from another thread;
    /// in these tests the model reads it during the call.
    static WORKING: RefCell<Option<Arc<Working>>> = const { RefCell::new(None) };
    /// The model calls so far, each with the call that the watchdog would have read.
    static SEEN: RefCell<Vec<(Asked, Option<Call>)>> = const { RefCell::new(Vec::new()) };
}

/// Called at the beginning of each of the model's calls.
fn called(asked: Asked) {
    WORKING.with_borrow(|working| {
        if let Some(working) = working {
            let call = working.look().and_then(|(_, work)| work).map(|work| work.call);
            SEEN.with_borrow_mut(|seen| seen.push((asked, call)));
        }
    });
    match PANICS.get() {
        Some((kind, 0)) if kind == asked => {
            PANICS.set(None);
            panic!("a panic that the test asked for");
        }
        Some((kind, left)) if kind == asked => PANICS.set(Some((kind, left - 1))),
        _ => {}
    }
}

/// A model whose content is the newest command.
struct Newest;

impl Model for Newest {
    type State = Vec<u8>;

    fn initial(&self, _chunk: &ChunkId) -> Vec<u8> {
        Vec::new()
    }

    fn check(&self, _command: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn decide<'c>(&self, _content: &Vec<u8>, _context: &Context<'_>, command: &'c [u8]) -> Decision<'c> {
        Decision::Committed(Cow::Borrowed(command))
    }

    fn fold(&self, content: &mut Vec<u8>, effect: &[u8]) -> Result<(), Fault> {
        called(Asked::Fold);
        effect.clone_into(content);
        Ok(())
    }

    fn fold_is_atomic(&self) -> bool {
        true
    }

    fn encode<'s>(&self, content: &'s Vec<u8>) -> Cow<'s, [u8]> {
        called(Asked::Encode);
        Cow::Borrowed(content)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        called(Asked::Decode);
        Ok(bytes.to_vec())
    }

    fn command_from_json(&self, _json: &Value) -> Result<Vec<u8>, Refusal> {
        Err(Refusal("it has no JSON".into()))
    }

    fn command_to_json(&self, _command: &[u8]) -> Result<Value, Refusal> {
        Err(Refusal("it has no JSON".into()))
    }

    fn content_to_json(&self, content: &Vec<u8>) -> Value {
        json!(content)
    }
}

/// An owner of a partition with one chunk, and the records that it has appended.
struct Owner {
    core: PartitionCore,
    chunk: ChunkId,
    log: Vec<(Offset, Bytes)>,
    commands: i64,
    now: u64,
}

impl Owner {
    /// Makes an owner that has recovered. The chunk's initial content is stored as version 0.
    fn new() -> Self {
        let mut models = Models::builtin();
        models.register("newest", 1, |_| Ok(Newest));
        let spec = WorldSpec {
            name: "failing".into(),
            generation: 1,
            partitions: 1,
            commands_retention_hours: 72,
            updates_retention_hours: None,
            families: vec![FamilySpec {
                name: "things".into(),
                model: "newest".into(),
                parameters: serde_json::Map::new(),
                coordinates: 1,
                bounds: 10,
                region: 0,
            }],
        };
        let world = Arc::new(World::new("failing", spec, &models).unwrap());
        let checkpoint = Checkpoint { epoch: Epoch(1), ..Checkpoint::default() };
        let core =
            PartitionCore::new(world, Partition(0), "a", checkpoint, Settings::default(), MonotonicMs::default());
        let mut owner = Self { core, chunk: "things/1".parse().unwrap(), log: Vec::new(), commands: 0, now: 0 };
        let fence =
            UpdatesRecord { epoch: 1, n: 0, body: Some(Body::Fence(Fence { owner: "a".into(), ..Fence::default() })) };
        owner.outputs();
        owner.give(Input::Updates(vec![(Offset(0), fence.encode_to_vec().into())]));
        owner
    }

    fn give(&mut self, input: Input) {
        self.now += 1;
        self.core.handle(input, MonotonicMs(self.now));
    }

    /// Takes the owner's outputs. The records among them are appended to the log and acknowledged
    /// at once.
    fn outputs(&mut self) -> Vec<Output> {
        let mut all = Vec::new();
        while let Some(output) = self.core.poll_output() {
            if let Output::Append { n, value, .. } = &output {
                let offset = Offset(self.log.len() as i64);
                self.log.push((offset, value.clone()));
                self.give(Input::Acked(*n, Some(offset)));
            }
            all.push(output);
        }
        all
    }

    fn record(&mut self, body: command_record::Body) {
        let record = CommandRecord { chunk_id: self.chunk.to_string(), body: Some(body) };
        let offset = Offset(self.commands);
        self.commands += 1;
        self.give(Input::Commands(vec![(offset, record.encode_to_vec().into())]));
    }

    fn put(&mut self, seq: u64) {
        self.record(command_record::Body::Command(Command {
            writer: WriterId([1; 16]).to_bytes(),
            seq,
            after: seq - 1,
            body: Some(command::Body::Command(vec![seq as u8].into())),
            ..Command::default()
        }));
    }

    fn audit(&mut self) {
        let audit = Audit { version: 1, hash: Hash([9; 32]).to_bytes(), ..Audit::default() };
        self.record(command_record::Body::Audit(audit));
    }

    /// Makes an owner that has loaded the chunk, decided one command and begun a check. The check
    /// has asked for the stored state of version 0.
    fn checking() -> Self {
        let mut owner = Self::new();
        owner.put(1);
        let stored = StoredRef {
            version: Version(0),
            hash: Hash::of(b""),
            location: Location::Object,
            through_offset: Offset(-1),
            model_revision: 1,
            bytes: 0,
            ledger: Some(StoredLedger::default()),
        };
        let entry = IndexEntry { newest: stored, older: vec![] };
        owner.give(Input::Loaded(owner.chunk.clone(), Ok(Some(Stored { entry, encoding: Bytes::new() }))));
        owner.audit();
        owner.outputs();
        owner.give(Input::Tick);
        assert!(owner.outputs().iter().any(|output| matches!(output, Output::LoadOlder(..))), "its check begins");
        owner
    }

    /// Answers the check's requests until there are no more, and returns the outputs.
    fn check(&mut self) -> Vec<Output> {
        self.give(Input::OlderLoaded(self.chunk.clone(), Ok(Bytes::new())));
        let mut all = Vec::new();
        loop {
            let outputs = self.outputs();
            let is_read = outputs.iter().any(|output| matches!(output, Output::ReadHistory(_)));
            all.extend(outputs);
            if !is_read {
                return all;
            }
            self.give(Input::History(self.log.clone()));
        }
    }

    /// Asserts that the owner decides the chunk's next command, which has the number `seq`.
    fn assert_decides(&mut self, seq: u64) {
        let before = self.core.stats().committed;
        self.put(seq);
        self.outputs();
        assert_eq!(self.core.stats().committed, before + 1, "the chunk lives on");
    }
}

fn ended(outputs: &[Output]) -> Option<&End> {
    outputs.iter().find_map(|output| match output {
        Output::Ended(end) => Some(end),
        _ => None,
    })
}

#[test]
fn a_check_without_a_fault_finds_nothing() {
    let mut owner = Owner::checking();
    let outputs = owner.check();
    assert!(!outputs.iter().any(|output| matches!(output, Output::Drift(..) | Output::Stuck(..))), "{outputs:?}");
    owner.assert_decides(2);
}

#[test]
fn a_model_that_panics_in_decode_or_fold_while_its_chunk_is_checked_stops_no_partition() {
    for asked in [Asked::Decode, Asked::Fold] {
        let mut owner = Owner::checking();
        PANICS.set(Some((asked, 0)));
        let outputs = owner.check();
        assert_eq!(PANICS.get(), None, "{asked:?} was called");
        assert_eq!(ended(&outputs), None, "{asked:?}");
        owner.assert_decides(2);
    }
}

#[test]
fn if_the_rebuilt_content_cannot_be_encoded_the_chunk_stays_as_it_is() {
    let mut owner = Owner::checking();
    PANICS.set(Some((Asked::Encode, 0)));
    let outputs = owner.check();
    let is_told = |output: &Output| matches!(output, Output::Stuck(_, why) if why.contains("panicked while encoding"));
    assert!(outputs.iter().any(is_told), "{outputs:?}");
    assert_eq!(ended(&outputs), None);
    owner.assert_decides(2);
}

#[test]
fn r10_a_content_in_memory_that_cannot_be_encoded_is_replaced_by_the_rebuilt_content() {
    let mut owner = Owner::checking();
    // The first encoding is of the rebuilt content, the second of the content in memory. The second
    // one panics.
    PANICS.set(Some((Asked::Encode, 1)));
    let outputs = owner.check();
    let is_drift = |output: &Output| matches!(output, Output::Drift(_, why) if why.contains("cannot be encoded"));
    assert!(outputs.iter().any(is_drift), "{outputs:?}");
    owner.assert_decides(2);
}

#[test]
fn a_content_that_can_neither_be_encoded_nor_rebuilt_ends_the_ownership_and_the_end_names_the_chunk() {
    let mut owner = Owner::checking();
    let lost = owner.log.clone();
    owner.give(Input::OlderLoaded(owner.chunk.clone(), Ok(Bytes::new())));
    PANICS.set(Some((Asked::Encode, 0)));
    // The check reads the log from its start, but retention has deleted all records. So the owner
    // cannot rebuild the content.
    let (wanted, low) = (Offset(0), Offset(lost.len() as i64));
    owner.give(Input::OutOfRange(OutOfRange { stream: Stream::History, wanted, low, high: low }));
    let outputs = owner.outputs();
    assert_eq!(ended(&outputs), Some(&End::ModelFault { chunk: owner.chunk.clone() }), "{outputs:?}");
}

#[test]
fn the_watchdog_knows_of_each_call_of_a_check() {
    let mut owner = Owner::checking();
    WORKING.set(Some(owner.core.working()));
    owner.check();
    WORKING.set(None);
    let seen = SEEN.take();
    for asked in [Asked::Decode, Asked::Fold, Asked::Encode] {
        assert!(seen.iter().any(|(seen, _)| *seen == asked), "{asked:?} is called: {seen:?}");
    }
    for (asked, call) in &seen {
        let expected = if *asked == Asked::Encode { Call::Encode } else { Call::Restore };
        assert_eq!(*call, Some(expected), "the watchdog would blame the wrong call of {asked:?}: {seen:?}");
    }
}
