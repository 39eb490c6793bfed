//! Scenarios of one partition, step by step: what an owner does in which order, and what it makes of the traces that
//! former owners left.

use bytes::Bytes;
use driftless_replayer_core::{End, Input};
use driftless_scenes::replayer::{self as scene, Scene, Wish, command, settings};
use driftless_schemas::proto::{UpdatesRecord, updates_record::Body};
use driftless_schemas::{Epoch, Offset, WriterId, limits};
use prost::Message;

const ANN: WriterId = WriterId([1; 16]);

/// Commands of one writer, `from..=to`, in order.
fn put(scene: &mut Scene, chunk: usize, from: u64, to: u64) {
    for seq in from..=to {
        scene.submit(chunk, command(ANN, seq, seq - 1, Wish::Put(seq as u8 % 3)));
    }
}

/// A new owner that has read its own fence, but nothing else was answered.
fn running(scene: &mut Scene) -> usize {
    let owner = scene.claim();
    while scene.land(owner) {}
    while scene.ack(owner, true) {}
    while scene.read_updates(owner, 100) {}
    assert!(scene.core(owner).is_running());
    owner
}

fn record(scene: &Scene, offset: usize) -> UpdatesRecord {
    UpdatesRecord::decode(scene.updates[offset].clone()).unwrap()
}

fn is_fence(scene: &Scene, offset: usize) -> bool {
    matches!(record(scene, offset).body, Some(Body::Fence(_)))
}

#[test]
fn r4_nothing_is_decided_before_the_own_fence_was_read() {
    let mut scene = Scene::new();
    put(&mut scene, 0, 1, 3);
    let owner = scene.claim();
    assert!(!scene.core(owner).wants_commands());
    scene.land(owner);
    scene.ack(owner, true);
    assert!(!scene.core(owner).is_running(), "an acknowledged fence is not a fence that was read");
    assert!(is_fence(&scene, 0));
    scene.read_updates(owner, 1);
    assert!(scene.core(owner).is_running());
    assert_eq!(scene.owners[owner].reads_commands, Some(Offset(0)));
    scene.finish();
}

#[test]
fn r5_recovery_goes_over_several_epochs_a_hole_and_a_zombie() {
    let mut scene = Scene::new();
    // The first decides 1 to 3; its 4 gets lost, and its 5 lands: a hole.
    put(&mut scene, 0, 1, 3);
    let first = running(&mut scene);
    scene.read_commands(first, 3);
    scene.load(first, true);
    scene.land(first);
    scene.ack(first, true);
    put(&mut scene, 0, 4, 4);
    scene.read_commands(first, 1);
    put(&mut scene, 0, 5, 5);
    scene.read_commands(first, 1);
    assert!(scene.fail(first, true));
    assert!(matches!(scene.owners[first].end, Some(End::AppendFailed { n: 2, .. })));
    scene.land(first);
    assert_eq!((record(&scene, 2).epoch, record(&scene, 2).n), (1, 3));
    assert_eq!(scene.decided(0), 3, "nobody counts what comes after a hole");

    // The second decides 4, does not notice the third, and decides 5 behind the third's fence.
    let second = running(&mut scene);
    scene.read_commands(second, 9);
    scene.load(second, true);
    while scene.land(second) {}
    while scene.ack(second, true) {}
    assert_eq!(scene.decided(0), 5);
    put(&mut scene, 0, 6, 7);
    let third = running(&mut scene);
    scene.read_commands(second, 9);
    assert!(scene.land(second));
    assert_eq!(scene.decided(0), 5, "a replaced owner counts for nobody");
    scene.read_commands(third, 9);
    scene.load(third, true);
    scene.land(third);
    assert_eq!(scene.decided(0), 7);
    scene.finish();
}

#[test]
fn r4_who_reads_a_newer_fence_has_been_replaced() {
    let mut scene = Scene::new();
    let slow = scene.claim();
    let fast = scene.claim();
    scene.land(fast);
    scene.land(slow);
    scene.read_updates(slow, 10);
    assert_eq!(scene.owners[slow].end, Some(End::Replaced { epoch: Epoch(2) }));
    scene.read_updates(fast, 10);
    assert!(scene.core(fast).is_running());
    scene.finish();
}

#[test]
fn r6_object_then_acknowledgement_then_ref_then_notice() {
    let mut scene = Scene::new();
    put(&mut scene, 0, 1, 3);
    let owner = running(&mut scene);
    scene.read_commands(owner, 9);
    scene.load(owner, true);
    scene.tick(owner, 1);
    assert_eq!(scene.owners[owner].puts.len(), 1, "three decisions are due");

    // The object is durable, the decisions are not acknowledged: a checkpoint without the ref.
    scene.put(owner, true);
    scene.tick(owner, 300);
    scene.write(owner, true);
    scene.tell_written(owner);
    assert!(scene.index.is_empty());
    assert_eq!((scene.checkpoint.commands_next, scene.checkpoint.updates_low), (0, 1));

    // Acknowledged: the ref, and only then the notice.
    scene.land(owner);
    scene.ack(owner, true);
    scene.tick(owner, 300);
    assert!(scene.owners[owner].to_append.is_empty());
    scene.write(owner, true);
    assert_eq!(scene.index.len(), 1);
    assert!(scene.owners[owner].to_append.is_empty(), "written, but the owner does not know it yet");
    scene.tell_written(owner);
    scene.land(owner);
    assert!(matches!(record(&scene, 2).body, Some(Body::SnapshotStored(_))));
    assert_eq!((scene.checkpoint.commands_next, scene.checkpoint.updates_low), (3, 2));
    scene.finish();
}

#[test]
fn r6_a_decision_read_behind_a_loaded_ref_makes_the_chunk_dirty() {
    let mut scene = Scene::new();
    put(&mut scene, 1, 1, 1);
    put(&mut scene, 0, 1, 3);
    let first = running(&mut scene);
    for _ in 0..2 {
        scene.read_commands(first, 9);
        while scene.load(first, true) {}
        while scene.land(first) {}
        while scene.ack(first, true) {}
        scene.tick(first, 210);
        scene.put(first, true);
        scene.write(first, true);
        scene.tell_written(first);
    }
    assert_eq!((scene.index.len(), scene.checkpoint.updates_low), (1, 1), "chunk 1 is in no ref");
    put(&mut scene, 0, 4, 4);
    scene.read_commands(first, 9);
    while scene.land(first) {}
    scene.kill(first);
    assert_eq!(scene.decided(0), 4);

    let owner = scene.claim();
    scene.land(owner);
    scene.ack(owner, true);
    // Both chunks are in memory, and chunk 0 is clean, before the decision is read that its ref does not contain.
    scene.read_updates(owner, 2);
    while scene.load(owner, true) {}
    assert_eq!(scene.core(owner).stats().dirty_chunks, 1);
    while scene.read_updates(owner, 1) {}
    assert!(scene.core(owner).is_running());
    assert_eq!(scene.core(owner).stats().dirty_chunks, 2);
    scene.finish();
}

#[test]
fn r6_an_acknowledgement_without_an_offset_moves_no_bound() {
    let mut scene = Scene::new();
    put(&mut scene, 0, 1, 2);
    let owner = running(&mut scene);
    scene.read_commands(owner, 1);
    scene.load(owner, true);
    scene.land(owner);
    scene.ack(owner, false);
    scene.read_commands(owner, 1);
    scene.land(owner);
    scene.ack(owner, true);
    scene.tick(owner, 300);
    scene.write(owner, true);
    let checkpoint = scene.checkpoint;
    assert_eq!((checkpoint.commands_next, checkpoint.updates_low, checkpoint.updates_low_n), (2, 1, 0));
    scene.finish();
}

#[test]
fn r4_what_stands_twice_moves_no_bound_past_what_came_behind_it() {
    let mut scene = Scene::new();
    put(&mut scene, 0, 1, 3);
    put(&mut scene, 1, 1, 3);
    let owner = running(&mut scene);
    scene.read_commands(owner, 9);
    while scene.load(owner, true) {}
    while scene.land(owner) {}
    while scene.ack(owner, true) {}
    scene.tick(owner, 300);
    while scene.put(owner, true) {}
    scene.tick(owner, 300);
    scene.write(owner, true);
    scene.tell_written(owner);
    let bound = |scene: &mut Scene| {
        scene.tick(owner, 300);
        scene.write(owner, true);
        scene.tell_written(owner);
        (scene.checkpoint.updates_low, scene.checkpoint.updates_low_n)
    };
    assert_eq!(bound(&mut scene), (3, 2), "fence and two decisions");
    // Two notices stand at 3 and 4, and of the copy of the first one the owner hears: n = 4 counts below it already.
    while scene.land(owner) {}
    scene.write_again(owner);
    scene.land(owner);
    scene.ack(owner, true);
    assert_eq!(bound(&mut scene), (3, 2));
    scene.land(owner);
    scene.ack(owner, true);
    assert_eq!(bound(&mut scene), (7, 4), "nothing else was on its way: the copies are below it too");
    scene.finish();
}

#[test]
fn a_planned_end_leaves_a_checkpoint_and_waits_for_no_cold_chunk() {
    let mut scene = Scene::new();
    put(&mut scene, 0, 1, 2);
    put(&mut scene, 1, 1, 1);
    let owner = running(&mut scene);
    scene.read_commands(owner, 9);
    scene.load(owner, true);
    scene.give(owner, Input::Drain);
    assert!(scene.owners[owner].checkpoint.is_none(), "not before its decisions are acknowledged");
    scene.land(owner);
    scene.ack(owner, true);
    assert!(scene.core(owner).wants_commands(), "it decides while the checkpoint is being written");
    scene.write(owner, true);
    assert_eq!(scene.checkpoint.commands_next, 0, "chunk 1 was never loaded");
    assert_eq!(scene.checkpoint.updates_low, 1);
    assert_eq!(scene.owners[owner].end, None);
    scene.tell_written(owner);
    assert_eq!(scene.owners[owner].end, Some(End::Drained));
    scene.finish();
}

#[test]
fn r6_a_planned_end_without_a_quiet_moment_decides_until_its_checkpoint_is_written() {
    let mut scene = Scene::new();
    put(&mut scene, 0, 1, 1);
    let owner = running(&mut scene);
    scene.read_commands(owner, 9);
    scene.load(owner, true);
    scene.give(owner, Input::Drain);
    put(&mut scene, 0, 2, 2);
    scene.read_commands(owner, 9);
    scene.tick(owner, 100);
    assert!(scene.owners[owner].checkpoint.is_none(), "what was decided before is on its way");
    scene.land(owner);
    scene.ack(owner, true);
    assert!(scene.owners[owner].checkpoint.is_some(), "what was decided since is not waited for");
    scene.write(owner, true);
    scene.tell_written(owner);
    assert!(!scene.core(owner).wants_commands());
    assert_eq!((scene.checkpoint.commands_next, scene.owners[owner].end.clone()), (1, None));
    while scene.land(owner) {}
    while scene.ack(owner, true) {}
    assert_eq!(scene.owners[owner].end, Some(End::Drained));
    assert_eq!(scene.decided(0), 2, "and the next owner skips them");
    scene.finish();
}

#[test]
fn a_chunk_that_cannot_be_loaded_holds_up_nobody_else_and_no_bound_passes_it() {
    let mut scene = Scene::new();
    put(&mut scene, 0, 1, 1);
    let first = running(&mut scene);
    scene.read_commands(first, 9);
    scene.load(first, true);
    scene.land(first);
    scene.ack(first, true);

    put(&mut scene, 0, 2, 2);
    put(&mut scene, 1, 1, 4);
    let owner = running(&mut scene);
    scene.read_commands(owner, 9);
    scene.load(owner, false);
    scene.load(owner, true);
    for _ in 0..20 {
        while scene.land(owner) {}
        while scene.ack(owner, true) {}
        scene.put(owner, true);
        scene.write(owner, true);
        scene.tell_written(owner);
        scene.tick(owner, 60);
        if !scene.owners[owner].loads.is_empty() {
            scene.load(owner, false);
        }
    }
    assert_eq!((scene.decided(0), scene.decided(1)), (1, 4));
    assert_eq!(scene.checkpoint.updates_low, 1, "where the decision stands that is not loaded");
    assert_eq!(scene.checkpoint.commands_next, 0);
    scene.finish();
}

#[test]
fn snapshots_that_wait_for_a_checkpoint_do_not_hold_up_the_next() {
    let mut scene = Scene::with(driftless_replayer_core::Settings { checkpoint_interval_ms: 60_000, ..settings() });
    for chunk in 0..4 {
        put(&mut scene, chunk, 1, 3);
    }
    let owner = running(&mut scene);
    while scene.read_commands(owner, 1) {
        while scene.load(owner, true) {}
        while scene.land(owner) {}
        while scene.ack(owner, true) {}
    }
    // Two at a time may be on their way to the store; what is stored already makes room.
    let mut puts = 0;
    for _ in 0..3 {
        scene.tick(owner, 10);
        assert!(scene.owners[owner].puts.len() <= 2);
        while scene.put(owner, true) {
            puts += 1;
        }
    }
    assert_eq!(puts, 4);
    scene.check_restore();
}

#[test]
fn r8_an_evicted_writer_stays_evicted_for_the_next_owner() {
    let settings =
        driftless_replayer_core::Settings { commands_in_flight_max: 1 << 20, snapshot_every: 500, ..settings() };
    let mut scene = Scene::with(settings);
    let writer = |i: usize| {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&(1_000 + i as u64).to_be_bytes()[2..]);
        WriterId(id)
    };
    let count = limits::LEDGER_WRITERS_MAX + 5;
    for i in 0..count {
        scene.submit(0, command(writer(i), 1, 0, Wish::Put(i as u8 % 3)));
    }
    let owner = running(&mut scene);
    scene.serve(owner);
    for _ in 0..20 {
        scene.serve(owner);
    }
    scene.kill(owner);
    // Sent again, after it was decided and forgotten: it must not be decided again.
    scene.submit(0, command(writer(0), 1, 0, Wish::Put(0)));
    // And this one is remembered.
    scene.submit(0, command(writer(count - 1), 1, 0, Wish::Put(0)));
    assert_eq!(scene.decided(0), count);
    scene.finish();
    assert_eq!(scene.decided(0), count + 1, "one mark more: SessionExpired");
}

#[test]
fn r9_an_author_that_no_record_could_carry_is_discarded() {
    let mut scene = Scene::new();
    let owner = running(&mut scene);
    let mut long = command(ANN, 1, 0, Wish::Put(1));
    long.author = "a".repeat(limits::RECORD_BYTES_MAX - 4096);
    let value = scene::record(&scene.chunks[0].clone(), long);
    let chunk = scene.chunks[0].clone();
    scene.commands.push(value.clone());
    scene.give(owner, Input::Commands(vec![(Offset(0), value)]));
    scene.give(owner, Input::Loaded(chunk, Ok(None)));
    let (_, appended) = scene.owners[owner].to_append.back().expect("it is discarded, so that its writer goes on");
    assert!(appended.len() < 1024, "{} bytes", appended.len());
    assert_eq!(scene.owners[owner].dead_letters.len(), 1);
    let Some(Body::Decisions(decisions)) = UpdatesRecord::decode(appended.clone()).unwrap().body else { panic!() };
    assert_eq!((decisions.marks.len(), decisions.updates), (1, Bytes::new()));
}
