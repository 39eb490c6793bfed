//! Tests of checks that gateways asked for, of rebuilt objects, and of copies of commands on which
//! a model failed. Owners must finish them in spite of crashes and outages of the store.

use bytes::Bytes;
use driftless_chunk::live::LiveChunk;
use driftless_replayer_core::{
    Input, LoadError, OlderError, OutOfRange, Output, PartitionCore, Settings, Stored, Stream,
};
use driftless_scenes::replayer::{self as scene, PARTITION, Wish, chunk, command, outputs, settings, world};
use driftless_schemas::proto::{
    Audit, CommandRecord, Fence, Updates, UpdatesRecord, command_record, updates_record::Body,
};
use driftless_schemas::stored::{Checkpoint, IndexEntry, Location, StoredRef};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Epoch, Hash, Offset, Version, WriterId};
use prost::Message;
use std::collections::BTreeSet;

/// A ref of the chunk's content, as if that content had been stored at `version`.
fn stored_as(live: &mut LiveChunk, version: u64) -> StoredRef {
    StoredRef {
        version: Version(version),
        hash: live.replica.hash(),
        location: Location::Object,
        through_offset: Offset(0),
        model_revision: 1,
        bytes: live.replica.encoded_bytes() as u64,
        ledger: Some(live.ledger.to_stored()),
    }
}

/// The owner text of the fence of an epoch.
fn name(epoch: u64) -> String {
    format!("owner {epoch}")
}

/// An owner that has not recovered yet.
fn owner(epoch: u64) -> PartitionCore {
    PartitionCore::new(
        world(),
        PARTITION,
        &name(epoch),
        Checkpoint { epoch: Epoch(epoch), ..Checkpoint::default() },
        settings(),
        MonotonicMs(0),
    )
}

fn fence(epoch: u64) -> Bytes {
    UpdatesRecord { epoch, n: 0, body: Some(Body::Fence(Fence { owner: name(epoch), ..Fence::default() })) }
        .encode_to_vec()
        .into()
}

fn dead_letters(outputs: &[Output]) -> Vec<Offset> {
    let offset = |output: &Output| match output {
        Output::DeadLetter { offset, .. } => Some(*offset),
        _ => None,
    };
    outputs.iter().filter_map(offset).collect()
}

#[test]
fn r9_the_copy_of_a_model_fault_survives_the_owner_that_decided_it() {
    let chunk = chunk();
    let fault = (Offset(0), scene::record(&chunk, command(WriterId([1; 16]), 1, 0, Wish::Put(1))));
    let mut first = owner(1).without_asking(BTreeSet::from([Offset(0)]));
    first.handle(Input::Updates(vec![(Offset(0), fence(1))]), MonotonicMs(0));
    first.handle(Input::Commands(vec![fault.clone()]), MonotonicMs(0));
    first.handle(Input::Loaded(chunk.clone(), Ok(None)), MonotonicMs(0));
    let told = outputs(&mut first);
    assert_eq!(dead_letters(&told), [Offset(0)]);
    let decided = told.into_iter().filter_map(|output| match output {
        Output::Append { n: 1, value, .. } => Some(value),
        _ => None,
    });
    let decided: Vec<Bytes> = decided.collect();

    // The decision is acknowledged, but the copy to `dead-letter` is not. So no snapshot may
    // contain the command, and `commands_next` may not pass it.
    first.handle(Input::Acked(0, Some(Offset(0))), MonotonicMs(0));
    first.handle(Input::Acked(1, Some(Offset(1))), MonotonicMs(0));
    first.handle(Input::Tick, MonotonicMs(1_000_000));
    let told = outputs(&mut first);
    assert!(!told.iter().any(|output| matches!(output, Output::PutSnapshot { .. })), "{told:?}");
    assert_eq!(first.commands_next(), Offset(0));

    let mut second = owner(2);
    let log = [fence(1), decided[0].clone(), fence(2)];
    second.handle(Input::Updates((0..).map(Offset).zip(log).collect()), MonotonicMs(0));
    second.handle(Input::Loaded(chunk, Ok(None)), MonotonicMs(0));
    second.handle(Input::Commands(vec![fault]), MonotonicMs(0));
    let told = outputs(&mut second);
    assert_eq!(dead_letters(&told), [Offset(0)]);
    let appended = told.iter().filter(|output| matches!(output, Output::Append { .. })).count();
    assert_eq!(appended, 1, "only the fence is appended: the command is decided already");
}

#[test]
fn a_check_waits_for_a_store_that_does_not_answer() {
    let (world, chunk) = (world(), chunk());
    let mut live = LiveChunk::initial(world.place(&chunk).unwrap().family.model.clone(), &chunk);
    let encoding = Bytes::from(live.replica.encoding().into_owned());
    let hash = live.replica.hash();
    let newest = stored_as(&mut live, 0);
    let stored = Stored { entry: IndexEntry { newest, older: vec![] }, encoding: encoding.clone() };
    let mut core = owner(1);
    core.handle(Input::Updates(vec![(Offset(0), fence(1))]), MonotonicMs(0));
    let audit = Audit { version: 1, hash: Hash([9; 32]).to_bytes(), ..Audit::default() };
    let body = Some(command_record::Body::Audit(audit));
    let audit = CommandRecord { chunk_id: chunk.to_string(), body }.encode_to_vec();
    core.handle(Input::Commands(vec![(Offset(5), audit.into())]), MonotonicMs(0));
    core.handle(Input::Loaded(chunk.clone(), Ok(Some(stored))), MonotonicMs(0));
    core.handle(Input::Acked(0, Some(Offset(0))), MonotonicMs(0));
    let asks = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::LoadOlder(..)));
    outputs(&mut core);
    core.handle(Input::Tick, MonotonicMs(1));
    assert!(asks(&outputs(&mut core)));
    core.handle(Input::OlderLoaded(chunk.clone(), Err(OlderError::Unavailable)), MonotonicMs(2));
    let told = outputs(&mut core);
    assert!(!told.iter().any(|output| matches!(output, Output::Stuck(..))), "{told:?}");
    assert_eq!(core.commands_next(), Offset(5), "the audit stays open");
    core.handle(Input::Tick, MonotonicMs(2 + settings().load_retry_ms));
    assert!(asks(&outputs(&mut core)), "the check is tried again");
    core.handle(Input::OlderLoaded(chunk, Ok(encoding)), MonotonicMs(3));
    let told = outputs(&mut core);
    assert!(told.iter().any(|output| matches!(output, Output::Repair { hash: of, .. } if *of == hash)), "{told:?}");
    assert_eq!(core.commands_next(), Offset(6));
}

/// A situation in which an owner's memory was damaged before the owner stored version 1. The ref
/// names the chunk's initial content, but the log leads to another content. Returns the log, which
/// ends with the fence of a second owner, and the wrong stored state.
fn stored_wrong(chunk: &ChunkId) -> (Vec<(Offset, Bytes)>, Stored) {
    let put = (Offset(0), scene::record(chunk, command(WriterId([1; 16]), 1, 0, Wish::Put(1))));
    let mut first = owner(1);
    first.handle(Input::Updates(vec![(Offset(0), fence(1))]), MonotonicMs(0));
    first.handle(Input::Commands(vec![put]), MonotonicMs(0));
    first.handle(Input::Loaded(chunk.clone(), Ok(None)), MonotonicMs(0));
    let decided = outputs(&mut first).into_iter().find_map(|output| match output {
        Output::Append { n: 1, value, .. } => Some(value),
        _ => None,
    });
    let log = (0..).map(Offset).zip([fence(1), decided.unwrap(), fence(2)]).collect();
    let mut live = LiveChunk::initial(world().place(chunk).unwrap().family.model.clone(), chunk);
    let encoding = Bytes::from(live.replica.encoding().into_owned());
    let newest = stored_as(&mut live, 1);
    (log, Stored { entry: IndexEntry { newest, older: vec![] }, encoding })
}

/// A second owner that has recovered, and cannot load the chunk because the object is lost.
fn without_the_object(chunk: &ChunkId, log: &[(Offset, Bytes)], stored: &Stored, accept_loss: bool) -> PartitionCore {
    let checkpoint = Checkpoint { epoch: Epoch(2), ..Checkpoint::default() };
    let settings = Settings { accept_loss, ..settings() };
    let mut second = PartitionCore::new(world(), PARTITION, &name(2), checkpoint, settings, MonotonicMs(0));
    second.handle(Input::Updates(log.to_vec()), MonotonicMs(0));
    let entry = Box::new(stored.entry.clone());
    second.handle(
        Input::Loaded(chunk.clone(), Err(LoadError::Lost { entry, reason: "it is gone".into() })),
        MonotonicMs(0),
    );
    second.handle(Input::Acked(0, Some(Offset(2))), MonotonicMs(0));
    second.handle(Input::CommandsEnd(Offset(1)), MonotonicMs(0));
    second.handle(Input::Tick, MonotonicMs(1));
    outputs(&mut second);
    second
}

/// The shell's report that the log begins at offset `low` now.
fn cut(low: i64) -> Input {
    let (wanted, low, high) = (Offset(0), Offset(low), Offset(9));
    Input::OutOfRange(OutOfRange { stream: Stream::History, wanted, low, high })
}

fn has_drifted(told: &[Output]) -> bool {
    told.iter().any(|output| matches!(output, Output::Drift(..)))
}

/// The stored object is wrong and lost. The chunk's initial content and the whole log are intact,
/// so the owner rebuilds the right content.
#[test]
fn a_lost_object_that_was_stored_wrong_is_made_again_as_the_log_says() {
    let chunk = chunk();
    let (log, stored) = stored_wrong(&chunk);
    let mut second = without_the_object(&chunk, &log, &stored, false);
    second.handle(Input::History(log), MonotonicMs(2));
    let told = outputs(&mut second);
    let repaired = told.iter().find_map(|output| match output {
        Output::Repair { hash, encoding, .. } => Some((*hash, Hash::of(encoding))),
        _ => None,
    });
    let (repaired, content) = repaired.unwrap_or_else(|| panic!("nothing is repaired: {told:?}"));
    assert!(repaired == content && content != Hash::of(&stored.encoding) && has_drifted(&told), "{told:?}");
    assert_eq!(second.stats().stuck_chunks, 0);
    // The rebuilt content is stored and announced, so that every gateway loads it. No index entry
    // contains the wrong ref any more.
    second.handle(Input::Tick, MonotonicMs(3));
    let told = outputs(&mut second);
    assert!(
        told.iter().any(|output| matches!(output, Output::PutSnapshot { hash, .. } if *hash == content)),
        "{told:?}"
    );
    second.handle(Input::SnapshotPut(chunk, content, Ok(())), MonotonicMs(4));
    second.handle(Input::Tick, MonotonicMs(5));
    let told = outputs(&mut second);
    let entries = told.iter().find_map(|output| match output {
        Output::WriteCheckpoint { entries, .. } => Some(entries),
        _ => None,
    });
    let entry = &entries.unwrap_or_else(|| panic!("no checkpoint: {told:?}"))[0].1;
    assert_eq!(entry.newest.hash, content);
    assert!(entry.older.is_empty(), "{entry:?}");
}

/// The store returns the wrong object after all, while the owner rebuilds it. The owner must still
/// check the chunk against the log.
#[test]
fn an_object_that_was_stored_wrong_and_is_loaded_after_all_is_checked() {
    let chunk = chunk();
    let (log, stored) = stored_wrong(&chunk);
    let mut second = without_the_object(&chunk, &log, &stored, false);
    second.handle(Input::Loaded(chunk, Ok(Some(stored))), MonotonicMs(2));
    second.handle(Input::History(log.clone()), MonotonicMs(3));
    let told = outputs(&mut second);
    assert!(!has_drifted(&told), "nothing is healed yet: {told:?}");
    second.handle(Input::Tick, MonotonicMs(4));
    second.handle(Input::History(log), MonotonicMs(5));
    let told = outputs(&mut second);
    assert!(has_drifted(&told), "{told:?}");
}

/// The only older state leads to a hash that the ref does not name, and retention has deleted the
/// beginning of the log, so that no second base can confirm the result. An operator's acceptance
/// replaces that second base. No record that the log still has is lost.
#[test]
fn a_lost_object_that_was_stored_wrong_needs_an_operator_if_the_log_is_cut() {
    let chunk = chunk();
    for accept_loss in [false, true] {
        let (log, mut stored) = stored_wrong(&chunk);
        let newest = &mut stored.entry.newest;
        let older = StoredRef { version: Version(0), ledger: None, ..newest.clone() };
        newest.hash = Hash([9; 32]);
        stored.entry.older.push(older);
        let mut second = without_the_object(&chunk, &log, &stored, accept_loss);
        second.handle(Input::OlderLoaded(chunk.clone(), Ok(stored.encoding.clone())), MonotonicMs(2));
        second.handle(Input::History(log.clone()), MonotonicMs(3));
        assert!(!has_drifted(&outputs(&mut second)), "the chunk's beginning is tried first");
        second.handle(cut(2), MonotonicMs(4));
        second.handle(Input::History(log[2..].to_vec()), MonotonicMs(5));
        let told = outputs(&mut second);
        let is_stuck =
            told.iter().any(|output| matches!(output, Output::Stuck(_, why) if why.contains("recover apply --chunk")));
        let is_lost = told.iter().any(|output| matches!(output, Output::Lost(..)));
        assert_eq!((has_drifted(&told), is_stuck, is_lost), (accept_loss, !accept_loss, false), "{told:?}");
    }
}

/// The log has an effect that the model cannot fold, as after a change of the model's code. The
/// fold may have broken the content, so that an owner whose operator accepts loss goes on with the
/// base.
#[test]
fn a_lost_object_behind_an_effect_that_cannot_be_folded_goes_on_with_the_base_if_loss_is_accepted() {
    let chunk = chunk();
    for accept_loss in [false, true] {
        let (mut log, stored) = stored_wrong(&chunk);
        log[1].1 = with_a_bad_effect(&log[1].1);
        let mut second = without_the_object(&chunk, &log, &stored, accept_loss);
        second.handle(Input::History(log), MonotonicMs(2));
        let told = outputs(&mut second);
        let is_stuck =
            told.iter().any(|output| matches!(output, Output::Stuck(_, why) if why.contains("recover apply --chunk")));
        let is_lost = told.iter().any(|output| matches!(output, Output::Lost(..)));
        assert_eq!((is_stuck, is_lost), (!accept_loss, accept_loss), "{told:?}");
        assert_eq!(second.stats().stuck_chunks, usize::from(!accept_loss));
    }
}

/// Retention has deleted the owner's fence, and a second fence of its epoch stands behind the cut.
/// By the records alone, the owner's later records do not count, and the end never comes.
#[test]
fn a_check_ends_although_the_fence_is_cut_off_and_a_second_one_stands_behind_the_cut() {
    let chunk = chunk();
    let mut owner = owner(1);
    owner.handle(Input::Updates(vec![(Offset(0), fence(1))]), MonotonicMs(0));
    owner.handle(Input::Acked(0, Some(Offset(0))), MonotonicMs(0));
    let mut log = vec![(Offset(0), fence(1))];
    for (seq, offset) in [(1, 1), (2, 3)] {
        let put = scene::record(&chunk, command(WriterId([1; 16]), seq, seq - 1, Wish::Put(1)));
        owner.handle(Input::Commands(vec![(Offset(seq as i64 - 1), put)]), MonotonicMs(0));
        if seq == 1 {
            owner.handle(Input::Loaded(chunk.clone(), Ok(None)), MonotonicMs(0));
        }
        let decided = outputs(&mut owner).into_iter().find_map(|output| match output {
            Output::Append { n, value, .. } if n == seq => Some(value),
            _ => None,
        });
        log.push((Offset(offset), decided.expect("the command is decided")));
        owner.handle(Input::Acked(seq, Some(Offset(offset))), MonotonicMs(0));
    }
    log.insert(2, (Offset(2), fence(1)));
    owner.handle(Input::ReadBack(log[2..].to_vec()), MonotonicMs(0));
    let audit = Audit { version: 1, hash: Hash([9; 32]).to_bytes(), ..Audit::default() };
    let body = Some(command_record::Body::Audit(audit));
    let audit = CommandRecord { chunk_id: chunk.to_string(), body }.encode_to_vec();
    owner.handle(Input::Commands(vec![(Offset(2), audit.into())]), MonotonicMs(0));
    owner.handle(Input::Tick, MonotonicMs(1));
    owner.handle(cut(2), MonotonicMs(1));
    outputs(&mut owner);
    owner.handle(Input::History(log[2..].to_vec()), MonotonicMs(1));
    let told = outputs(&mut owner);
    assert!(matches!(&told[..], [Output::EndHistory, Output::Stuck(of, _)] if *of == chunk), "{told:?}");
}

/// A record of decisions whose first effect is not one of the model's.
fn with_a_bad_effect(record: &Bytes) -> Bytes {
    let mut record = UpdatesRecord::decode(record.clone()).unwrap();
    let Some(Body::Decisions(decisions)) = &mut record.body else { panic!("no decisions: {record:?}") };
    let mut updates = Updates::decode(decisions.updates.clone()).unwrap();
    updates.entries[0].effect = Bytes::from_static(b"\xff\xff");
    decisions.updates = updates.encode_to_vec().into();
    record.encode_to_vec().into()
}
