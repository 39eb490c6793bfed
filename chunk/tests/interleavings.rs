//! R2, R3, R5 and R8 under random interleavings. Commands of several writers are delayed, doubled,
//! overtaken, withdrawn and sent again. The owner decides in batches and is replaced in the middle.
//! Readers fold the owner's records, sometimes twice, and sometimes starting at a ref. In every
//! case owner and readers end with the same ledger and the same bytes, and each command was decided
//! at most once, in its writer's order.

use bytes::Bytes;
use driftless_chunk::ledger::{Ledger, Resolved};
use driftless_chunk::live::{Asked, AskedBody, LiveChunk, read_updates};
use driftless_chunk::map::Map;
use driftless_chunk::model::AnyModel;
use driftless_schemas::proto::{
    Absent, Decisions, DeleteKey, Entry, MapCommand, MapGuard, Mark, PutKey, Ref, Updates, map_command, map_guard,
    mark::Outcome,
};
use driftless_schemas::stored::{Location, StoredRef};
use driftless_schemas::{ChunkId, Offset, Partition, Seq, WriterId};
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

fn chunk() -> ChunkId {
    "things/3/4".parse().unwrap()
}

/// A map so small that commands often conflict or do not fit.
fn model() -> Arc<dyn AnyModel> {
    let parameters = serde_json::json!({"entries_max": 3, "value_bytes_max": 8, "bytes_max": 60});
    Arc::new(Map::from_parameters(parameters.as_object().unwrap()).unwrap())
}

#[derive(Clone, Copy, Debug)]
enum Wish {
    Put(u8),
    Claim(u8),
    Delete(u8),
    Nonsense,
    Undecodable,
    Settle,
}

/// One number in a writer's plan, and the command that the writer sends under it.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The distance from the previous number.
    gap: u64,
    wish: Wish,
    /// True if the author withdraws the number, before or after sending it for the first time.
    is_withdrawn: bool,
}

/// A transmission: the index of the writer, the index of the step in the writer's plan, and true if
/// the author has already withdrawn the numbers that the plan withdraws.
type Sent = (u8, u8, bool);

/// An event after the owner has decided a batch.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// Nothing happens.
    On,
    /// The reader folds the record twice.
    Twice,
    /// The reader folds an older record again.
    Old(u8),
    /// The owner stores a ref.
    Store,
    /// The reader loses its state and begins again at the newest ref.
    Restore,
    /// A new owner begins at the newest ref, reads `updates`, then `commands` from the start.
    NewOwner,
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        4 => (0..5u8).prop_map(Wish::Put),
        2 => (0..5u8).prop_map(Wish::Claim),
        2 => (0..5u8).prop_map(Wish::Delete),
        1 => Just(Wish::Nonsense),
        1 => Just(Wish::Undecodable),
        1 => Just(Wish::Settle),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let gap = prop_oneof![9 => Just(1u64), 1 => 2..70u64];
    let is_withdrawn = prop_oneof![3 => Just(false), 1 => Just(true)];
    (gap, wish(), is_withdrawn).prop_map(|(gap, wish, is_withdrawn)| Step { gap, wish, is_withdrawn })
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        3 => Just(Turn::On),
        1 => Just(Turn::Twice),
        1 => any::<u8>().prop_map(Turn::Old),
        2 => Just(Turn::Store),
        1 => Just(Turn::Restore),
        1 => Just(Turn::NewOwner),
    ]
}

fn writer(index: usize) -> WriterId {
    WriterId([index as u8 + 1; 16])
}

fn seq_of(plan: &[Step], step: usize) -> u64 {
    plan[..=step].iter().map(|step| step.gap).sum()
}

/// The numbers of a step's transmission: `seq` and `after`. If the author `knows` its withdrawals,
/// `after` skips the withdrawn numbers.
fn numbers(plan: &[Step], step: usize, knows: bool) -> (u64, u64) {
    let before = (0..step).rev().find(|i| !(knows && plan[*i].is_withdrawn));
    (seq_of(plan, step), before.map_or(0, |i| seq_of(plan, i)))
}

fn body(wish: Wish, seq: u64) -> AskedBody {
    let key = |k: u8| format!("key{k}");
    let value = || Bytes::from(seq.to_string());
    let absent = || Some(MapGuard { is: Some(map_guard::Is::Absent(Absent {})) });
    let body = match wish {
        Wish::Put(k) => map_command::Body::Put(PutKey { key: key(k), value: value(), guard: None }),
        Wish::Claim(k) => map_command::Body::Put(PutKey { key: key(k), value: value(), guard: absent() }),
        Wish::Delete(k) => map_command::Body::Delete(DeleteKey { key: key(k), guard: None }),
        Wish::Nonsense => return AskedBody::Command(Bytes::from_static(b"\xff\xff")),
        Wish::Undecodable => return AskedBody::Undecodable("no body".into()),
        Wish::Settle => return AskedBody::Settle,
    };
    AskedBody::Command(MapCommand { body: Some(body) }.encode_to_vec().into())
}

/// The topics `commands` and `updates` of one chunk, its owner, and a reader that folds.
struct Scene {
    plans: Vec<Vec<Step>>,
    commands: Vec<Asked>,
    updates: Vec<Bytes>,
    owner: LiveChunk,
    folder: LiveChunk,
    /// The newest ref with its encoding, and how many records it contains.
    stored: Option<(StoredRef, Vec<u8>, usize)>,
    /// A plain model of R8: per writer, the newest resolved number.
    newest: BTreeMap<WriterId, u64>,
    /// The decided numbers, and whether each was committed.
    decided: BTreeMap<(WriterId, u64), bool>,
    batch: Vec<(Mark, Option<Entry>)>,
}

impl Scene {
    fn new(plans: Vec<Vec<Step>>) -> Self {
        let new = || LiveChunk::initial(model(), &chunk());
        Self {
            plans,
            commands: Vec::new(),
            updates: Vec::new(),
            owner: new(),
            folder: new(),
            stored: None,
            newest: BTreeMap::new(),
            decided: BTreeMap::new(),
            batch: Vec::new(),
        }
    }

    /// Appends a transmission to the log, and lets the owner decide it.
    fn arrive(&mut self, index: usize, step: usize, knows: bool) {
        let (seq, after) = numbers(&self.plans[index], step, knows);
        let asked = Asked {
            offset: Offset(2 * self.commands.len() as i64),
            writer: writer(index),
            seq: Seq(seq),
            after: Seq(after),
            author: format!("user {index}"),
            received_at_ms: 0,
            roles: vec![],
            body: body(self.plans[index][step].wish, seq),
        };
        self.commands.push(asked.clone());
        let decided = self.owner.decide(&chunk(), Partition(0), &asked);
        let newest = self.newest.entry(asked.writer).or_default();
        let Some(decided) = decided else {
            assert!(seq <= *newest, "{seq} after {after} had no answer, but only {newest} is resolved");
            return;
        };
        assert!(seq > *newest, "{seq} was resolved already");
        match decided.mark.outcome.as_ref().unwrap() {
            Outcome::OutOfOrder(_) => assert!(after > *newest, "{seq} after {after} follows {newest}"),
            Outcome::SessionExpired(_) => panic!("few writers: nobody is evicted"),
            outcome @ (Outcome::Committed(_) | Outcome::Discarded(_)) => {
                assert!(after <= *newest, "{seq} after {after} overtook what is missing after {newest}");
                *newest = seq;
                let is_committed = matches!(outcome, Outcome::Committed(_));
                assert_eq!(decided.entry.is_some(), is_committed);
                assert_eq!(self.decided.insert((asked.writer, seq), is_committed), None, "R2: decided twice");
            }
        }
        self.batch.push((decided.mark, decided.entry));
    }

    /// The owner publishes its new decisions, and the reader folds them.
    fn publish(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let (marks, entries): (Vec<_>, Vec<_>) = std::mem::take(&mut self.batch).into_iter().unzip();
        let entries: Vec<Entry> = entries.into_iter().flatten().collect();
        let mut updates = Bytes::new();
        if !entries.is_empty() {
            let first_version = self.owner.replica.version().0 + 1 - entries.len() as u64;
            assert_eq!(first_version, self.folder.replica.version().0 + 1, "R3: versions are dense");
            let state_hash = self.owner.replica.hash().to_bytes();
            let chunk_id = chunk().to_string();
            updates = Updates { chunk_id, first_version, entries, state_hash }.encode_to_vec().into();
        }
        let record = Decisions { chunk_id: chunk().to_string(), updates, marks };
        self.updates.push(record.encode_to_vec().into());
        let last = self.updates.len() - 1;
        let is_news = fold(&mut self.folder, &self.updates[last]);
        assert!(is_news);
        self.compare();
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::On => {}
            Turn::Twice => {
                let Some(last) = self.updates.last() else { return };
                assert!(!fold(&mut self.folder, last));
            }
            Turn::Old(which) => {
                if self.updates.is_empty() {
                    return;
                }
                let which = which as usize % self.updates.len();
                assert!(!fold(&mut self.folder, &self.updates[which]));
            }
            Turn::Store => {
                let stored = StoredRef {
                    version: self.owner.replica.version(),
                    hash: self.owner.replica.hash(),
                    location: Location::Object,
                    through_offset: self.owner.through_offset,
                    model_revision: 1,
                    bytes: self.owner.replica.encoded_bytes() as u64,
                    ledger: Some(self.owner.ledger.to_stored()),
                };
                let written = stored.to_proto().encode_to_vec();
                assert_eq!(StoredRef::from_proto(Ref::decode(&written[..]).unwrap()).as_ref(), Ok(&stored));
                self.stored = Some((stored, self.owner.replica.encoding().into_owned(), self.updates.len()));
            }
            Turn::Restore => self.folder = self.rebuilt(1),
            Turn::NewOwner => {
                self.owner = self.rebuilt(3);
                for asked in &self.commands {
                    let again = self.owner.decide(&chunk(), Partition(0), asked);
                    assert_eq!(again, None, "R2: a new owner decides {} again", asked.offset);
                }
            }
        }
        self.compare();
    }

    /// Rebuilds the live chunk from the newest ref and the log. Begins `overlap` records too early,
    /// so these records are in the ref already.
    fn rebuilt(&self, overlap: usize) -> LiveChunk {
        let (mut live, from) = match &self.stored {
            Some((stored, encoding, from)) => (LiveChunk::restore(model(), stored, encoding).unwrap(), *from),
            None => (LiveChunk::initial(model(), &chunk()), 0),
        };
        for record in &self.updates[from.saturating_sub(overlap)..] {
            fold(&mut live, record);
        }
        live
    }

    fn compare(&mut self) {
        assert_eq!(self.owner.ledger, self.folder.ledger);
        assert_eq!(self.owner.through_offset, self.folder.through_offset);
        assert_eq!(self.owner.replica.version(), self.folder.replica.version());
        assert_eq!(self.owner.replica.hash(), self.folder.replica.hash());
        assert_eq!(Ledger::from_stored(&self.owner.ledger.to_stored()).unwrap(), self.owner.ledger);
    }

    /// Every author resends from its oldest number until all is resolved, as clients do.
    fn finish(&mut self) {
        for index in 0..self.plans.len() {
            for step in 0..self.plans[index].len() {
                if !self.plans[index][step].is_withdrawn {
                    self.arrive(index, step, true);
                }
            }
            self.publish();
        }
        for (index, plan) in self.plans.iter().enumerate() {
            let resolved = self.folder.ledger.resolved(writer(index));
            let Resolved::Known { seq: newest, .. } = resolved else { panic!("expired") };
            for (step, planned) in plan.iter().enumerate() {
                let seq = seq_of(plan, step);
                let decided = self.decided.get(&(writer(index), seq));
                assert!(planned.is_withdrawn || decided.is_some(), "{seq} of writer {index} was lost");
                if seq <= newest.0 && newest.0 - seq < 64 {
                    let answer = resolved.is_committed(Seq(seq));
                    assert_eq!(answer, Some(decided.copied().unwrap_or(false)), "the ledger lies about {seq}");
                }
            }
        }
        let committed = self.decided.values().filter(|is_committed| **is_committed).count();
        assert_eq!(self.owner.replica.version().0, committed as u64, "each committed command is one version");
    }
}

/// Folds an encoded record. Returns true if the record had news for the chunk.
fn fold(live: &mut LiveChunk, record: &Bytes) -> bool {
    let record = Decisions::decode(record.clone()).unwrap();
    let updates = read_updates(&record).unwrap();
    let folded = live.fold(&record, updates.as_ref()).unwrap();
    assert!(folded.is_news || folded.entries == 0);
    folded.is_news
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn r8_a_delayed_doubled_or_overtaken_command_is_neither_lost_nor_applied_twice(
        plans in prop::collection::vec(prop::collection::vec(step(), 1..9), 1..4),
        batches in prop::collection::vec((prop::collection::vec(any::<Sent>(), 0..8), turn()), 0..16),
    ) {
        let mut scene = Scene::new(plans);
        for (sent, turn) in batches {
            for (index, step, knows) in sent {
                let index = index as usize % scene.plans.len();
                let step = step as usize % scene.plans[index].len();
                // An author does not send a number that it has withdrawn.
                if !(knows && scene.plans[index][step].is_withdrawn) {
                    scene.arrive(index, step, knows);
                }
            }
            scene.publish();
            scene.turn(turn);
        }
        scene.finish();
        scene.turn(Turn::NewOwner);
        scene.turn(Turn::Store);
        scene.turn(Turn::Restore);
    }

    #[test]
    fn r8_whatever_the_numbers_are_decider_and_folder_agree(
        commands in prop::collection::vec((0..3usize, 0..8u64, 0..8u64, wish(), 1..3i64), 0..60)
    ) {
        // Numbers that no client sends: `after` above `seq`, `seq` 0, in any order.
        let mut owner = LiveChunk::initial(model(), &chunk());
        let mut folder = owner.clone();
        let mut offset = 0;
        for (index, seq, after, wish, step) in commands {
            offset += step;
            let before = owner.ledger.clone();
            let asked = Asked {
                offset: Offset(offset),
                writer: writer(index),
                seq: Seq(seq),
                after: Seq(after),
                author: String::new(),
                received_at_ms: 0,
                roles: vec![],
                body: body(wish, seq),
            };
            let Some(decided) = owner.decide(&chunk(), Partition(0), &asked) else {
                prop_assert_eq!(&owner.ledger, &before);
                continue;
            };
            let mut record = Decisions { chunk_id: chunk().to_string(), marks: vec![decided.mark], ..Default::default() };
            if let Some(entry) = decided.entry {
                let first_version = owner.replica.version().0;
                let state_hash = owner.replica.hash().to_bytes();
                let updates = Updates { chunk_id: chunk().to_string(), first_version, entries: vec![entry], state_hash };
                record.updates = updates.encode_to_vec().into();
            }
            prop_assert!(fold(&mut folder, &record.encode_to_vec().into()));
            prop_assert_eq!(&owner.ledger, &folder.ledger);
            prop_assert_eq!(owner.replica.hash(), folder.replica.hash());
        }
    }
}
