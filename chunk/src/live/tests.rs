//! Attacks on a live chunk: models that fail, unreadable commands, wrong refs and records. The test
//! `interleavings` attacks the order of several writers' commands.

use super::*;
use crate::model::{Fault, Model, Refusal};
use driftless_schemas::proto::mark::Outcome;
use driftless_schemas::stored::Location;
use prost::Message;
use serde_json::Value;

/// A model that fails in the way that its command names. The content is a list of bytes.
struct Trouble {
    fold_is_atomic: bool,
}

const APPEND: u8 = 0;
const PANIC_IN_DECIDE: u8 = 1;
const FOLD_FAULT: u8 = 2;
const FOLD_PANIC: u8 = 3;
const CONSTANT: u8 = 4;
const ENORMOUS: u8 = 5;
const LONG_DETAIL: u8 = 6;
const ECHO_CONTEXT: u8 = 7;
const TAIL: u8 = 8;
const EMPTY: u8 = 9;

impl Model for Trouble {
    type State = Vec<u8>;

    fn initial(&self, _chunk: &ChunkId) -> Vec<u8> {
        Vec::new()
    }

    fn check(&self, _command: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn decide<'c>(&self, _state: &Vec<u8>, context: &Context<'_>, command: &'c [u8]) -> Decision<'c> {
        Decision::Committed(match command.first() {
            Some(&PANIC_IN_DECIDE) => panic!("on purpose"),
            Some(&CONSTANT) => Cow::Borrowed(&[APPEND, 77]),
            Some(&ENORMOUS) => Cow::Owned(vec![APPEND; limits::EFFECT_BYTES_MAX + 1]),
            Some(&LONG_DETAIL) => {
                let detail = format!("x{}", "é".repeat(500));
                return Decision::Discarded { reason: DiscardReason::Conflict, detail };
            }
            Some(&ECHO_CONTEXT) => {
                let c = context;
                let text = format!("\0{} {} {:?} {} {:016x}", c.chunk, c.author, c.roles, c.received_at_ms, c.seed);
                Cow::Owned(text.into_bytes())
            }
            Some(&TAIL) => Cow::Borrowed(&command[1..]),
            Some(&EMPTY) => Cow::Borrowed(&[]),
            _ => Cow::Borrowed(command),
        })
    }

    fn fold(&self, state: &mut Vec<u8>, effect: &[u8]) -> Result<(), Fault> {
        match effect.first() {
            Some(&FOLD_FAULT) => {
                state.push(1);
                Err(Fault("on purpose".into()))
            }
            Some(&FOLD_PANIC) => {
                state.push(2);
                panic!("on purpose")
            }
            _ => {
                state.extend(effect.iter().skip(1));
                Ok(())
            }
        }
    }

    fn fold_is_atomic(&self) -> bool {
        self.fold_is_atomic
    }

    fn encode<'s>(&self, state: &'s Vec<u8>) -> Cow<'s, [u8]> {
        Cow::Borrowed(state)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(bytes.to_vec())
    }

    fn command_from_json(&self, _json: &Value) -> Result<Vec<u8>, Refusal> {
        Err(Refusal("no JSON".into()))
    }

    fn command_to_json(&self, _command: &[u8]) -> Result<Value, Refusal> {
        Err(Refusal("no JSON".into()))
    }

    fn content_to_json(&self, _state: &Vec<u8>) -> Value {
        Value::Null
    }
}

const ANN: WriterId = WriterId([7; 16]);
const BOB: WriterId = WriterId([8; 16]);

fn chunk() -> ChunkId {
    "things/3/4".parse().unwrap()
}

fn live() -> LiveChunk {
    LiveChunk::initial(Arc::new(Trouble { fold_is_atomic: false }), &chunk())
}

fn asked(offset: i64, writer: WriterId, seq: u64, after: u64, body: AskedBody) -> Asked {
    Asked {
        offset: Offset(offset),
        writer,
        seq: Seq(seq),
        after: Seq(after),
        author: "ann".into(),
        received_at_ms: 12,
        roles: vec!["mason".into()],
        body,
    }
}

fn command(bytes: &[u8]) -> AskedBody {
    AskedBody::Command(Bytes::copy_from_slice(bytes))
}

fn decide(live: &mut LiveChunk, asked: &Asked) -> Option<Decided> {
    live.decide(&chunk(), Partition(3), asked)
}

/// Asserts a discard and returns its reason and detail.
fn discard(decided: Option<Decided>) -> (DiscardReason, String) {
    let decided = decided.unwrap();
    assert_eq!(decided.entry, None);
    match decided.mark.outcome {
        Some(Outcome::Discarded(d)) => {
            let reason = d.reason();
            assert_eq!(decided.is_model_fault, reason == DiscardReason::ModelFault);
            (reason, d.detail)
        }
        other => panic!("{other:?}"),
    }
}

/// Asserts a commit and returns its effect.
fn effect(decided: Option<Decided>) -> Bytes {
    let decided = decided.unwrap();
    assert_eq!(decided.mark.outcome, Some(Outcome::Committed(Committed {})));
    decided.entry.unwrap().effect
}

/// The record that an owner would write.
fn record(live: &mut LiveChunk, first_version: u64, decided: Vec<Decided>) -> Decisions {
    let (marks, entries): (Vec<_>, Vec<_>) = decided.into_iter().map(|d| (d.mark, d.entry)).unzip();
    let entries: Vec<Entry> = entries.into_iter().flatten().collect();
    let updates = match entries.is_empty() {
        true => Bytes::new(),
        false => {
            let state_hash = live.replica.hash().to_bytes();
            Updates { chunk_id: chunk().to_string(), first_version, entries, state_hash }.encode_to_vec().into()
        }
    };
    Decisions { chunk_id: chunk().to_string(), updates, marks }
}

#[test]
fn a_model_that_fails_costs_its_command_and_nothing_else() {
    let mut live = live();
    effect(decide(&mut live, &asked(0, ANN, 1, 0, command(&[APPEND, 5]))));
    let before = (live.replica.encoding().into_owned(), live.replica.hash(), live.replica.version());
    let mut offset = 0;
    for (what, expected) in [
        (PANIC_IN_DECIDE, "panicked while deciding"),
        (FOLD_FAULT, "on purpose"),
        (FOLD_PANIC, "panicked while folding"),
        (ENORMOUS, "an effect of 262145 bytes: 262144 are allowed"),
    ] {
        offset += 1;
        let seq = offset as u64 + 1;
        let (reason, detail) = discard(decide(&mut live, &asked(offset, ANN, seq, seq - 1, command(&[what]))));
        assert_eq!(reason, DiscardReason::ModelFault);
        assert!(detail.contains(expected), "{detail}");
        let after = (live.replica.encoding().into_owned(), live.replica.hash(), live.replica.version());
        assert_eq!(after, before, "the content is as it was");
        assert_eq!(live.through_offset, Offset(offset));
        assert_eq!(live.ledger.resolved(ANN).is_committed(Seq(seq)), Some(false));
    }
    effect(decide(&mut live, &asked(9, ANN, 6, 5, command(&[APPEND, 6]))));
    effect(decide(&mut live, &asked(10, BOB, 1, 0, command(&[APPEND, 7]))));
    assert_eq!(*live.replica.encoding(), [5, 6, 7]);
    assert_eq!(live.replica.version(), Version(3));
}

#[test]
fn a_fold_declared_atomic_is_trusted_and_its_panic_is_still_caught() {
    let model = Arc::new(Trouble { fold_is_atomic: true });
    let mut live = LiveChunk::initial(model, &chunk());
    let (reason, _) = discard(decide(&mut live, &asked(0, ANN, 1, 0, command(&[FOLD_PANIC]))));
    assert_eq!(reason, DiscardReason::ModelFault);
    assert_eq!(live.replica.version(), Version(0));
}

#[test]
fn an_effect_may_be_a_part_of_the_command_or_a_constant_or_nothing() {
    let mut live = live();
    let bytes = Bytes::from_static(&[TAIL, APPEND, 1, 2]);
    let part = effect(decide(&mut live, &asked(0, ANN, 1, 0, AskedBody::Command(bytes.clone()))));
    assert_eq!(part, [APPEND, 1, 2][..]);
    assert_eq!(part.as_ptr(), bytes[1..].as_ptr(), "not copied");
    assert_eq!(effect(decide(&mut live, &asked(1, ANN, 2, 1, command(&[CONSTANT])))), [APPEND, 77][..]);
    assert_eq!(effect(decide(&mut live, &asked(2, ANN, 3, 2, command(&[EMPTY])))), Bytes::new());
    assert_eq!(effect(decide(&mut live, &asked(3, ANN, 4, 3, command(&[])))), Bytes::new());
    assert_eq!(*live.replica.encoding(), [1, 2, 77]);
    assert_eq!(live.replica.version(), Version(4));
}

#[test]
fn a_command_that_ingest_would_refuse_for_its_size_is_discarded() {
    let mut live = live();
    let long = vec![APPEND; limits::COMMAND_BYTES_MAX + 1];
    let (reason, detail) = discard(decide(&mut live, &asked(0, ANN, 1, 0, command(&long))));
    assert_eq!((reason, detail.as_str()), (DiscardReason::Invalid, "a command of 16385 bytes: 16384 are allowed"));
    effect(decide(&mut live, &asked(1, ANN, 2, 1, command(&long[1..]))));
}

#[test]
fn r11_a_decision_knows_its_context_and_its_chance_is_fixed_for_ever() {
    let mut live = live();
    let said = effect(decide(&mut live, &asked(41, ANN, 1, 0, command(&[ECHO_CONTEXT]))));
    // BLAKE3("driftless seed" ‖ 03 00 00 00 ‖ 29 00 00 00 00 00 00 00), first 8 bytes,
    // little-endian.
    let mut bytes = b"driftless seed".to_vec();
    bytes.extend([3, 0, 0, 0, 41, 0, 0, 0, 0, 0, 0, 0]);
    let seed = u64::from_le_bytes(Hash::of(&bytes).0[..8].try_into().unwrap());
    let expected = format!("\0things/3/4 ann [\"mason\"] 12 {seed:016x}");
    assert_eq!(said, expected);
    assert_eq!(seed, 0xd9c9_28ba_bf14_9a65, "a changed seed would be a changed model");
}

#[test]
fn a_detail_is_cut_to_its_limit_between_characters() {
    let mut live = live();
    let (_, detail) = discard(decide(&mut live, &asked(0, ANN, 1, 0, command(&[LONG_DETAIL]))));
    assert_eq!(detail.len(), 255);
    assert!(detail.ends_with('é'));
}

#[test]
fn r9_an_undecodable_command_waits_for_its_turn_and_blocks_nobody() {
    let mut live = live();
    let broken = || AskedBody::Undecodable("no body".into());
    let early = decide(&mut live, &asked(0, ANN, 2, 1, broken())).unwrap();
    assert_eq!(early.mark.outcome, Some(Outcome::OutOfOrder(OutOfOrder {})), "R8 is applied first");
    effect(decide(&mut live, &asked(1, ANN, 1, 0, command(&[APPEND, 1]))));
    let (reason, detail) = discard(decide(&mut live, &asked(2, ANN, 2, 1, broken())));
    assert_eq!((reason, detail.as_str()), (DiscardReason::Undecodable, "no body"));
    assert_eq!(decide(&mut live, &asked(3, ANN, 2, 1, broken())), None);
    effect(decide(&mut live, &asked(4, ANN, 3, 2, command(&[APPEND, 3]))));
    assert_eq!(live.ledger.resolved(ANN), crate::ledger::Resolved::Known { seq: Seq(3), committed_bits: 0b101 });
}

#[test]
fn r8_settle_resolves_withdrawn_numbers_and_a_late_command_does_nothing() {
    let mut live = live();
    effect(decide(&mut live, &asked(0, ANN, 1, 0, command(&[APPEND, 1]))));
    let (reason, _) = discard(decide(&mut live, &asked(1, ANN, 4, 1, AskedBody::Settle)));
    assert_eq!(reason, DiscardReason::Settled);
    assert_eq!(decide(&mut live, &asked(2, ANN, 2, 1, command(&[APPEND, 2]))), None);
    assert_eq!(decide(&mut live, &asked(3, ANN, 3, 2, command(&[APPEND, 3]))), None);
    assert_eq!(*live.replica.encoding(), [1]);
    assert_eq!(live.ledger.resolved(ANN).is_committed(Seq(3)), Some(false));
}

#[test]
fn r2_an_offset_is_decided_once() {
    let mut live = live();
    effect(decide(&mut live, &asked(5, ANN, 1, 0, command(&[APPEND, 1]))));
    for offset in [5, 4, 0, -1] {
        assert_eq!(decide(&mut live, &asked(offset, BOB, 1, 0, command(&[APPEND, 9]))), None);
    }
    assert_eq!(live.through_offset, Offset(5));
}

#[test]
fn a_command_without_numbers_cannot_be_asked() {
    let body = Some(command::Body::Command(Bytes::from_static(b"x")));
    let good = proto::Command { writer: ANN.to_bytes(), seq: 1, body, roles: vec!["r".into()], ..Default::default() };
    let read = Asked::from_proto(Offset(4), good.clone()).unwrap();
    assert_eq!((read.writer, read.seq, read.offset, read.roles), (ANN, Seq(1), Offset(4), vec!["r".to_owned()]));
    for bad in [
        proto::Command { writer: Bytes::from_static(&[1; 15]), ..good.clone() },
        proto::Command { writer: Bytes::new(), ..good.clone() },
        proto::Command { seq: 0, ..good.clone() },
    ] {
        assert!(Asked::from_proto(Offset(4), bad).is_err());
    }
    let unknown = Asked::from_proto(Offset(4), proto::Command { body: None, ..good }).unwrap();
    assert!(matches!(unknown.body, AskedBody::Undecodable(_)), "a body of a newer version");
}

#[test]
fn r5_a_ref_that_cannot_be_trusted_is_refused() {
    let mut live = live();
    effect(decide(&mut live, &asked(5, ANN, 1, 0, command(&[APPEND, 1]))));
    let stored = StoredRef {
        version: Version(1),
        hash: live.replica.hash(),
        location: Location::Object,
        through_offset: Offset(5),
        model_revision: 1,
        bytes: 1,
        ledger: Some(live.ledger.to_stored()),
    };
    let restore =
        |stored: &StoredRef, bytes: &[u8]| LiveChunk::restore(Arc::clone(live.replica.model()), stored, bytes);
    let restored = restore(&stored, &[1]).unwrap();
    assert_eq!((restored.ledger, restored.through_offset), (live.ledger.clone(), Offset(5)));
    assert!(matches!(restore(&stored, &[2]), Err(ApplyError::Hash { .. })));
    for bad in [
        // An older ref of an index entry has no ledger. With an empty one, resolved numbers would
        // be decided again.
        StoredRef { ledger: None, ..stored.clone() },
        StoredRef { through_offset: Offset(4), ..stored.clone() },
        // The next version would be above the maximum.
        StoredRef { version: Version(u64::MAX), ..stored.clone() },
    ] {
        assert!(matches!(restore(&bad, &[1]), Err(ApplyError::Format(_))), "{bad:?}");
    }
}

#[test]
fn a_record_whose_marks_and_entries_disagree_is_refused() {
    let mut live = live();
    let decided = [
        asked(0, ANN, 1, 0, command(&[APPEND, 1])),
        asked(1, ANN, 2, 1, command(&[PANIC_IN_DECIDE])),
        asked(2, BOB, 1, 0, command(&[APPEND, 2])),
    ]
    .map(|a| decide(&mut live, &a).unwrap());
    let good = record(&mut live, 1, decided.to_vec());
    let updates = read_updates(&good).unwrap().unwrap();
    assert_eq!(updates.entries.len(), 2);
    let with = |change: &dyn Fn(&mut Decisions, &mut Updates)| {
        let (mut decisions, mut updates) = (good.clone(), updates.clone());
        change(&mut decisions, &mut updates);
        if !decisions.updates.is_empty() {
            decisions.updates = updates.encode_to_vec().into();
        }
        read_updates(&decisions)
    };
    assert!(with(&|_, _| {}).is_ok());
    assert!(with(&|d, _| d.updates = Bytes::new()).is_err());
    assert!(with(&|_, u| _ = u.entries.pop()).is_err());
    assert!(with(&|d, _| _ = d.marks.remove(0)).is_err());
    assert!(with(&|_, u| u.chunk_id = "things/3/5".into()).is_err());
    assert!(with(&|_, u| u.entries.swap(0, 1)).is_err(), "the i-th entry belongs to the i-th committed mark");
    assert!(with(&|_, u| u.entries[0].seq = 9).is_err());
    assert!(with(&|_, u| u.first_version = u64::MAX).is_err(), "the last version would be none");
    assert!(with(&|d, _| d.marks[1].source_offset = 0).is_err(), "offsets rise");
    let mut torn = good.clone();
    torn.updates = torn.updates.slice(..torn.updates.len() - 1);
    assert!(read_updates(&torn).is_err());
    let mut newer = good.clone();
    newer.updates = [&newer.updates[..], &[0x78, 1]].concat().into();
    assert!(matches!(read_updates(&newer), Err(format::Error::TooNew { .. })));
}

#[test]
fn r5_a_reader_ends_at_the_deciders_state_even_if_it_folds_twice() {
    let (mut decider, mut folder) = (live(), live());
    let decided = [
        asked(3, ANN, 1, 0, command(&[APPEND, 1])),
        asked(5, ANN, 3, 2, command(&[APPEND, 1])),
        asked(6, WriterId([0; 16]), 1, 0, command(&[APPEND, 1])),
        asked(8, ANN, 2, 1, command(&[FOLD_FAULT])),
    ]
    .map(|a| decide(&mut decider, &a).unwrap());
    assert!(matches!(decided[2].mark.outcome, Some(Outcome::SessionExpired(SessionExpired { floor_ms: 0 }))));
    let record = record(&mut decider, 1, decided.to_vec());
    let updates = read_updates(&record).unwrap();
    let published = Some(decider.replica.hash());
    assert_eq!(folder.fold(&record, updates.as_ref()), Ok(Folded { entries: 1, is_news: true, published }));
    assert_eq!(folder.fold(&record, updates.as_ref()), Ok(Folded { published, ..Folded::default() }));
    assert_eq!((folder.through_offset, &folder.ledger), (Offset(8), &decider.ledger));
    assert_eq!(folder.replica.hash(), decider.replica.hash());
}

#[test]
fn a_mark_without_an_outcome_or_writer_stops_a_reader() {
    let mark = Mark { source_offset: 1, writer: ANN.to_bytes(), seq: 1, ..Default::default() };
    let of = |mark: Mark| Decisions { marks: vec![mark], ..Default::default() };
    assert!(matches!(live().fold(&of(mark.clone()), None), Err(ApplyError::Format(_))));
    let discarded = Some(Outcome::Discarded(Discarded::default()));
    let short = Mark { writer: Bytes::from_static(&[1; 3]), outcome: discarded, ..mark };
    assert!(matches!(live().fold(&of(short), None), Err(ApplyError::Format(_))));
}
