//! What an owner owes beyond its decisions, through crashes and outages of the store: checks that were asked for, and copies
//! of what a model failed on.

use bytes::Bytes;
use driftless_chunk::live::LiveChunk;
use driftless_replayer_core::{Input, LoadError, OlderError, Output, PartitionCore, Settings, Stored};
use driftless_scenes::replayer::{self as scene, PARTITION, Wish, command, settings, world};
use driftless_schemas::proto::{
    Audit, Checkpoint, CommandRecord, Fence, IndexEntry, Ref, StoredObject, UpdatesRecord, command_record, r#ref,
    updates_record::Body,
};
use driftless_schemas::{ChunkId, Hash, Offset, WriterId};
use prost::Message;
use std::collections::BTreeSet;

fn chunk() -> ChunkId {
    let world = world();
    let ids = (0..100).map(|i| format!("things/{i}").parse::<ChunkId>().unwrap());
    ids.into_iter().find(|id| world.place(id).unwrap().partition == PARTITION).unwrap()
}

fn outputs(core: &mut PartitionCore) -> Vec<Output> {
    std::iter::from_fn(|| core.poll_output()).collect()
}

/// An owner, not yet running.
fn owner(epoch: u64) -> PartitionCore {
    PartitionCore::new(world(), PARTITION, "a", Checkpoint { epoch, ..Checkpoint::default() }, settings(), 0)
}

fn fence(epoch: u64) -> Bytes {
    UpdatesRecord { epoch, n: 0, body: Some(Body::Fence(Fence::default())) }.encode_to_vec().into()
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
    first.handle(Input::Updates(vec![(Offset(0), fence(1))]), 0);
    first.handle(Input::Commands(vec![fault.clone()]), 0);
    first.handle(Input::Loaded(chunk.clone(), Ok(None)), 0);
    let told = outputs(&mut first);
    assert_eq!(dead_letters(&told), [Offset(0)]);
    let decided = told.into_iter().filter_map(|output| match output {
        Output::Append { n: 1, value, .. } => Some(value),
        _ => None,
    });
    let decided: Vec<Bytes> = decided.collect();

    // The decision arrives, the copy does not: no snapshot and no position may go past it.
    first.handle(Input::Acked(0, Some(Offset(0))), 0);
    first.handle(Input::Acked(1, Some(Offset(1))), 0);
    first.handle(Input::Tick, 1_000_000);
    let told = outputs(&mut first);
    assert!(!told.iter().any(|output| matches!(output, Output::PutSnapshot { .. })), "{told:?}");
    assert_eq!(first.commands_next(), Offset(0));

    let mut second = owner(2);
    let log = [fence(1), decided[0].clone(), fence(2)];
    second.handle(Input::Updates((0..).map(Offset).zip(log).collect()), 0);
    second.handle(Input::Loaded(chunk, Ok(None)), 0);
    second.handle(Input::Commands(vec![fault]), 0);
    let told = outputs(&mut second);
    assert_eq!(dead_letters(&told), [Offset(0)]);
    let appended = told.iter().filter(|output| matches!(output, Output::Append { .. })).count();
    assert_eq!(appended, 1, "its fence: the command is decided already");
}

#[test]
fn a_check_waits_for_a_store_that_does_not_answer() {
    let (world, chunk) = (world(), chunk());
    let mut live = LiveChunk::initial(world.place(&chunk).unwrap().family.model.clone(), &chunk);
    let encoding = Bytes::from(live.replica.encoding().into_owned());
    let hash = live.replica.hash();
    let newest = Ref {
        hash: hash.to_bytes(),
        location: Some(r#ref::Location::Object(StoredObject {})),
        ledger: Some(live.ledger.to_proto()),
        ..Ref::default()
    };
    let stored = Stored { entry: IndexEntry { newest: Some(newest), older: vec![] }, encoding: encoding.clone() };
    let mut core = owner(1);
    core.handle(Input::Updates(vec![(Offset(0), fence(1))]), 0);
    let audit = Audit { version: 1, hash: Hash([9; 32]).to_bytes(), ..Audit::default() };
    let body = Some(command_record::Body::Audit(audit));
    let audit = CommandRecord { chunk_id: chunk.to_string(), body }.encode_to_vec();
    core.handle(Input::Commands(vec![(Offset(5), audit.into())]), 0);
    core.handle(Input::Loaded(chunk.clone(), Ok(Some(stored))), 0);
    core.handle(Input::Acked(0, Some(Offset(0))), 0);
    let asks = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::LoadOlder(..)));
    outputs(&mut core);
    core.handle(Input::Tick, 1);
    assert!(asks(&outputs(&mut core)));
    core.handle(Input::OlderLoaded(chunk.clone(), Err(OlderError::Unavailable)), 2);
    let told = outputs(&mut core);
    assert!(!told.iter().any(|output| matches!(output, Output::Stuck(..))), "{told:?}");
    assert_eq!(core.commands_next(), Offset(5), "the audit stays open");
    core.handle(Input::Tick, 2 + settings().load_retry_ms);
    assert!(asks(&outputs(&mut core)), "it is tried again");
    core.handle(Input::OlderLoaded(chunk, Ok(encoding)), 3);
    let told = outputs(&mut core);
    assert!(told.iter().any(|output| matches!(output, Output::Repair { hash: of, .. } if *of == hash)), "{told:?}");
    assert_eq!(core.commands_next(), Offset(6));
}

/// An owner's memory was damaged before it stored version 1: its ref names the chunk's beginning, and the log leads elsewhere.
/// Gives the log with the fence of a second owner, and what is stored.
fn stored_wrong(chunk: &ChunkId) -> (Vec<(Offset, Bytes)>, Stored) {
    let put = (Offset(0), scene::record(chunk, command(WriterId([1; 16]), 1, 0, Wish::Put(1))));
    let mut first = owner(1);
    first.handle(Input::Updates(vec![(Offset(0), fence(1))]), 0);
    first.handle(Input::Commands(vec![put]), 0);
    first.handle(Input::Loaded(chunk.clone(), Ok(None)), 0);
    let decided = outputs(&mut first).into_iter().find_map(|output| match output {
        Output::Append { n: 1, value, .. } => Some(value),
        _ => None,
    });
    let log = (0..).map(Offset).zip([fence(1), decided.unwrap(), fence(2)]).collect();
    let mut live = LiveChunk::initial(world().place(chunk).unwrap().family.model.clone(), chunk);
    let encoding = Bytes::from(live.replica.encoding().into_owned());
    let newest = Ref {
        version: 1,
        hash: live.replica.hash().to_bytes(),
        location: Some(r#ref::Location::Object(StoredObject {})),
        ledger: Some(live.ledger.to_proto()),
        ..Ref::default()
    };
    (log, Stored { entry: IndexEntry { newest: Some(newest), older: vec![] }, encoding })
}

/// A second owner, which cannot load the chunk.
fn without_the_object(chunk: &ChunkId, log: &[(Offset, Bytes)], stored: &Stored, accept_loss: bool) -> PartitionCore {
    let checkpoint = Checkpoint { epoch: 2, ..Checkpoint::default() };
    let mut second = PartitionCore::new(world(), PARTITION, "b", checkpoint, Settings { accept_loss, ..settings() }, 0);
    second.handle(Input::Updates(log.to_vec()), 0);
    let entry = Box::new(stored.entry.clone());
    second.handle(Input::Loaded(chunk.clone(), Err(LoadError::Lost { entry, reason: "it is gone".into() })), 0);
    second.handle(Input::Acked(0, Some(Offset(2))), 0);
    second.handle(Input::Tick, 1);
    outputs(&mut second);
    second
}

fn has_drifted(told: &[Output]) -> bool {
    told.iter().any(|output| matches!(output, Output::Drift(..)))
}

/// The chunk's beginning and the whole log are what is left of it, and they are right.
#[test]
fn what_was_stored_wrong_and_lost_is_made_again_as_the_log_says() {
    let chunk = chunk();
    let (log, stored) = stored_wrong(&chunk);
    let mut second = without_the_object(&chunk, &log, &stored, false);
    second.handle(Input::History(log), 2);
    let told = outputs(&mut second);
    let repaired = told.iter().find_map(|output| match output {
        Output::Repair { hash, encoding, .. } => Some((*hash, Hash::of(encoding))),
        _ => None,
    });
    let (repaired, content) = repaired.unwrap_or_else(|| panic!("nothing is repaired: {told:?}"));
    assert!(repaired == content && content != Hash::of(&stored.encoding) && has_drifted(&told), "{told:?}");
    assert_eq!(second.stats().stuck_chunks, 0);
    // It is stored, so that everybody hears of it; the wrong ref is in no entry any more.
    second.handle(Input::Tick, 3);
    let told = outputs(&mut second);
    assert!(
        told.iter().any(|output| matches!(output, Output::PutSnapshot { hash, .. } if *hash == content)),
        "{told:?}"
    );
    second.handle(Input::SnapshotPut(chunk, content, Ok(())), 4);
    second.handle(Input::Tick, 5);
    let told = outputs(&mut second);
    let entries = told.iter().find_map(|output| match output {
        Output::WriteCheckpoint { entries, .. } => Some(entries),
        _ => None,
    });
    let entry = &entries.unwrap_or_else(|| panic!("no checkpoint: {told:?}"))[0].1;
    assert_eq!(entry.newest.as_ref().map(|newest| newest.hash.clone()), Some(content.to_bytes()));
    assert!(entry.older.is_empty(), "{entry:?}");
}

/// The object is there after all while it is being made again: what the log says of it is not forgotten.
#[test]
fn what_was_stored_wrong_and_is_loaded_after_all_is_checked() {
    let chunk = chunk();
    let (log, stored) = stored_wrong(&chunk);
    let mut second = without_the_object(&chunk, &log, &stored, false);
    second.handle(Input::Loaded(chunk, Ok(Some(stored))), 2);
    second.handle(Input::History(log.clone()), 3);
    let told = outputs(&mut second);
    assert!(!has_drifted(&told), "nothing is mended yet: {told:?}");
    second.handle(Input::Tick, 4);
    second.handle(Input::History(log), 5);
    let told = outputs(&mut second);
    assert!(has_drifted(&told), "{told:?}");
}

/// One older state leads elsewhere, and the beginning is cut off: an operator's word stands for the second opinion, and nothing
/// that the log has is lost.
#[test]
fn what_was_stored_wrong_and_lost_behind_a_cut_log_takes_an_operators_word() {
    let chunk = chunk();
    for accept_loss in [false, true] {
        let (log, mut stored) = stored_wrong(&chunk);
        let newest = stored.entry.newest.as_mut().unwrap();
        let older = Ref { version: 0, ledger: None, ..newest.clone() };
        newest.hash = Hash([9; 32]).to_bytes();
        stored.entry.older.push(older);
        let mut second = without_the_object(&chunk, &log, &stored, accept_loss);
        second.handle(Input::OlderLoaded(chunk.clone(), Ok(stored.encoding.clone())), 2);
        second.handle(Input::History(log.clone()), 3);
        assert!(!has_drifted(&outputs(&mut second)), "the beginning is asked first");
        second.handle(Input::HistoryCut(Offset(2)), 4);
        second.handle(Input::History(log[2..].to_vec()), 5);
        let told = outputs(&mut second);
        let is_stuck =
            told.iter().any(|output| matches!(output, Output::Stuck(_, why) if why.contains("--accept-loss")));
        let is_lost = told.iter().any(|output| matches!(output, Output::Lost(..)));
        assert_eq!((has_drifted(&told), is_stuck, is_lost), (accept_loss, !accept_loss, false), "{told:?}");
    }
}
