//! Tests of marks whose positions no owner can have written. An owner that believed them would skip
//! commands that are not decided (R2).

use bytes::Bytes;
use driftless_replayer_core::{End, Input, Output, PartitionCore};
use driftless_scenes::replayer::{self as scene, PARTITION, Wish, chunk, command, outputs, world};
use driftless_schemas::proto::{Decisions, Discarded, Fence, Mark, UpdatesRecord, mark::Outcome, updates_record::Body};
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{Epoch, Offset, WriterId};
use prost::Message;

fn fence(epoch: u64) -> Bytes {
    let body = Some(Body::Fence(Fence { owner: format!("owner {epoch}"), ..Fence::default() }));
    UpdatesRecord { epoch, n: 0, body }.encode_to_vec().into()
}

/// A record of epoch 1 that discards the commands at these offsets. Their numbers rise from `seq`.
fn discarded(n: u64, seq: u64, sources: &[i64]) -> Bytes {
    let mark = |(seq, source): (u64, &i64)| Mark {
        source_offset: *source,
        writer: WriterId([1; 16]).to_bytes(),
        seq,
        outcome: Some(Outcome::Discarded(Discarded::default())),
        ..Mark::default()
    };
    let marks = (seq..).zip(sources).map(mark).collect();
    let decisions = Decisions { chunk_id: chunk().to_string(), updates: Bytes::new(), marks };
    UpdatesRecord { epoch: 1, n, body: Some(Body::Decisions(decisions)) }.encode_to_vec().into()
}

/// An owner of epoch 2 that has read these records of epoch 1, and its own fence behind them.
fn recovered(records: &[Bytes]) -> (PartitionCore, Vec<Output>) {
    let checkpoint = Checkpoint { epoch: Epoch(2), ..Checkpoint::default() };
    let mut core = PartitionCore::new(world(), PARTITION, "owner 2", checkpoint, scene::settings(), MonotonicMs(0));
    let log = [fence(1)].into_iter().chain(records.iter().cloned()).chain([fence(2)]);
    core.handle(Input::Updates((0..).map(Offset).zip(log).collect()), MonotonicMs(0));
    core.handle(Input::Loaded(chunk(), Ok(None)), MonotonicMs(0));
    core.handle(Input::Acked(0, Some(Offset(records.len() as i64 + 1))), MonotonicMs(0));
    let told = outputs(&mut core);
    (core, told)
}

fn writes_checkpoint(core: &mut PartitionCore) -> bool {
    core.handle(Input::Tick, MonotonicMs(1_000_000));
    outputs(core).iter().any(|output| matches!(output, Output::WriteCheckpoint { .. }))
}

fn asks(told: &[Output]) -> bool {
    told.iter().any(|output| matches!(output, Output::AskCommandsEnd))
}

#[test]
fn r2_a_mark_beyond_the_end_of_commands_ends_the_ownership() {
    let (mut core, told) = recovered(&[discarded(1, 1, &[0]), discarded(2, 2, &[1 << 40])]);
    assert!(asks(&told), "{told:?}");
    let next = command(WriterId([1; 16]), 3, 2, Wish::Put(1));
    core.handle(Input::Commands(vec![(Offset(1), scene::record(&chunk(), next))]), MonotonicMs(0));
    assert!(!writes_checkpoint(&mut core), "the command at offset 1 may not be decided");
    core.handle(Input::CommandsEnd(Offset(2)), MonotonicMs(0));
    let told = outputs(&mut core);
    let [Output::Ended(end @ End::ImpossibleMark { .. })] = &told[..] else { panic!("{told:?}") };
    let said = end.to_string();
    for word in ["updates offset 2", "1099511627776 of commands", chunk().as_str(), "ends at offset 2", "generation"] {
        assert!(said.contains(word), "nothing of {word} in: {said}");
    }
}

#[test]
fn r2_a_mark_that_the_log_holds_is_proven_by_its_end() {
    let (mut core, told) = recovered(&[discarded(1, 1, &[0, 1])]);
    assert!(asks(&told), "{told:?}");
    assert!(!writes_checkpoint(&mut core));
    core.handle(Input::CommandsEnd(Offset(2)), MonotonicMs(0));
    assert!(writes_checkpoint(&mut core));
}

#[test]
fn r2_a_mark_that_the_log_holds_is_proven_by_a_later_command() {
    let (mut core, _) = recovered(&[discarded(1, 1, &[0, 1])]);
    let next = command(WriterId([1; 16]), 3, 2, Wish::Put(1));
    core.handle(Input::Commands(vec![(Offset(2), scene::record(&chunk(), next))]), MonotonicMs(0));
    assert!(writes_checkpoint(&mut core));
}

#[test]
fn r2_marks_of_a_chunk_that_do_not_rise_end_the_ownership() {
    for second in [5, 3] {
        let (_, told) = recovered(&[discarded(1, 1, &[5]), discarded(2, 2, &[second])]);
        let is_ended = |output: &Output| matches!(output, Output::Ended(End::ImpossibleMark { .. }));
        assert!(told.iter().any(is_ended), "{told:?}");
    }
}

#[test]
fn without_marks_nothing_is_asked() {
    let (mut core, told) = recovered(&[]);
    assert!(!asks(&told), "{told:?}");
    assert!(writes_checkpoint(&mut core));
}
