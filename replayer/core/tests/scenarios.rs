//! Scenarios of one partition, step by step. They test the order in which an owner acts, and how a
//! new owner reads the records of former owners.

use bytes::Bytes;
use driftless_replayer_core::{End, Input};
use driftless_scenes::replayer::{self as scene, Scene, Wish, command, settings};
use driftless_schemas::proto::{UpdatesRecord, updates_record::Body};
use driftless_schemas::{Epoch, Offset, WriterId, limits};
use prost::Message;

const ANN: WriterId = WriterId([1; 16]);

/// Submits the commands `from..=to` of one writer, in order.
fn put(scene: &mut Scene, chunk: usize, from: u64, to: u64) {
    for seq in from..=to {
        scene.submit(chunk, command(ANN, seq, seq - 1, Wish::Put(seq as u8 % 3)));
    }
}

/// Adds a new owner that has read its own fence. Its other requests stay unanswered.
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
    assert!(!scene.core(owner).is_running(), "an acknowledged fence is not yet read back");
    assert!(is_fence(&scene, 0));
    scene.read_updates(owner, 1);
    assert!(scene.core(owner).is_running());
    assert_eq!(scene.owners[owner].reads_commands, Some(Offset(0)));
    scene.finish();
}

#[test]
fn r5_recovery_goes_over_several_epochs_a_hole_and_a_zombie() {
    let mut scene = Scene::new();
    // The first owner decides commands 1 to 3. Its record with command 4 gets lost, and its record
    // with command 5 reaches the log, so that the log has a gap.
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
    assert_eq!(scene.decided(0), 3, "no reader counts a record after a hole");

    // The second owner decides commands 4 and 5. It does not notice the third owner, and appends
    // more decisions behind the third owner's fence.
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
    assert_eq!(scene.decided(0), 5, "no reader counts a record of a replaced owner");
    scene.read_commands(third, 9);
    scene.load(third, true);
    scene.land(third);
    assert_eq!(scene.decided(0), 7);
    scene.finish();
}

#[test]
fn r4_an_owner_whose_fence_comes_second_ends() {
    let mut scene = Scene::new();
    let slow = scene.claim();
    let fast = scene.claim();
    scene.land(fast);
    scene.land(slow);
    scene.read_updates(slow, 10);
    let end = End::FenceInvalid { epoch: Epoch(1), offset: Offset(1), current: Epoch(2) };
    assert_eq!(scene.owners[slow].end, Some(end));
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
    assert_eq!(scene.owners[owner].puts.len(), 1, "three decisions make a snapshot due");

    // The object is durable, but the decisions are not acknowledged. So the checkpoint contains no
    // ref.
    scene.put(owner, true);
    scene.tick(owner, 300);
    scene.write(owner, true);
    scene.tell_written(owner);
    assert!(scene.index.is_empty());
    assert_eq!((scene.checkpoint.commands_next.0, scene.checkpoint.updates_low.0), (0, 1));

    // The decisions are acknowledged now. So the ref is written, and only then the notice is
    // appended.
    scene.land(owner);
    scene.ack(owner, true);
    scene.tick(owner, 300);
    assert!(scene.owners[owner].to_append.is_empty());
    scene.write(owner, true);
    assert_eq!(scene.index.len(), 1);
    assert!(scene.owners[owner].to_append.is_empty(), "the ref is written, but the owner does not know it yet");
    scene.tell_written(owner);
    scene.land(owner);
    assert!(matches!(record(&scene, 2).body, Some(Body::SnapshotStored(_))));
    assert_eq!((scene.checkpoint.commands_next.0, scene.checkpoint.updates_low.0), (3, 2));
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
    assert_eq!((scene.index.len(), scene.checkpoint.updates_low.0), (1, 1), "chunk 1 is in no ref");
    put(&mut scene, 0, 4, 4);
    scene.read_commands(first, 9);
    while scene.land(first) {}
    scene.kill(first);
    assert_eq!(scene.decided(0), 4);

    let owner = scene.claim();
    scene.land(owner);
    scene.ack(owner, true);
    // Both chunks are in memory, and chunk 0 is clean. Only then does recovery read the decision
    // that chunk 0's ref does not contain.
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
    let bounds = |scene: &mut Scene| {
        scene.tick(owner, 300);
        scene.write(owner, true);
        scene.tell_written(owner);
        let checkpoint = scene.checkpoint;
        (checkpoint.commands_next.0, checkpoint.updates_low.0, checkpoint.updates_low_n)
    };
    assert_eq!(bounds(&mut scene), (0, 1, 0));
    // The owner reads the first of the two records back. The second one is its neighbour.
    assert!(scene.read_back(owner, 1));
    assert_eq!(bounds(&mut scene), (2, 1, 0), "the decisions count, and no ref contains them");
    scene.finish();
}

/// Two owners decide in turn through two indexes, as with a copied store. The first one must notice
/// the second one although no index fences it, and it must not store what does not count.
#[test]
fn r4_an_owner_that_was_replaced_through_another_index_stores_nothing_more() {
    let mut scene = Scene::new();
    put(&mut scene, 0, 1, 3);
    let owner = running(&mut scene);
    scene.read_commands(owner, 9);
    scene.load(owner, true);
    scene.append_foreign_fence();
    while scene.land(owner) {}
    while scene.ack(owner, true) {}
    assert_eq!(scene.decided(0), 0, "no reader counts the decisions");
    scene.tick(owner, 300);
    while scene.put(owner, true) {}
    scene.tick(owner, 300);
    scene.write(owner, true);
    scene.tell_written(owner);
    assert!(scene.index.is_empty(), "no ref names a state that is not in the log");
    assert_eq!(scene.checkpoint.commands_next, Offset(0));
    assert!(scene.read_back(owner, 1));
    assert_eq!(scene.owners[owner].end, Some(End::Replaced { epoch: Epoch(2) }));
}

#[test]
fn r4_an_idle_owner_notices_that_it_was_replaced() {
    let mut scene = Scene::new();
    let owner = running(&mut scene);
    scene.tick(owner, 10);
    assert!(!scene.read_back(owner, 1));
    scene.tick(owner, 600);
    scene.append_foreign_fence();
    assert!(scene.read_back(owner, 1));
    assert_eq!(scene.owners[owner].end, Some(End::Replaced { epoch: Epoch(2) }));
}

/// An index that was put back to an older state gives out an epoch for the second time.
#[test]
fn r4_an_owner_with_an_epoch_that_was_used_before_takes_no_other_fence_for_its_own() {
    let mut scene = Scene::new();
    put(&mut scene, 0, 1, 2);
    let first = running(&mut scene);
    scene.read_commands(first, 9);
    scene.load(first, true);
    while scene.land(first) {}
    scene.checkpoint.epoch = Epoch(0);
    let second = scene.claim();
    while scene.land(second) {}
    while scene.read_updates(second, 1) {}
    let end = End::FenceInvalid { epoch: Epoch(1), offset: Offset(2), current: Epoch(1) };
    assert_eq!(scene.owners[second].end, Some(end));
    assert_eq!(scene.updates.len(), 3, "it has written nothing but its fence");
    scene.checkpoint.epoch = Epoch(1);
    scene.finish();
}

#[test]
fn r4_a_record_that_stands_twice_moves_no_bound_past_the_records_behind_it() {
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
        (scene.checkpoint.updates_low.0, scene.checkpoint.updates_low_n)
    };
    assert_eq!(bound(&mut scene), (3, 2), "fence and two decisions");
    // Two notices have the offsets 3 and 4. The producer writes both again, and acknowledges the
    // first notice at its second copy. Below that copy, the last valid record is already n = 4.
    while scene.land(owner) {}
    scene.write_again(owner);
    scene.land(owner);
    scene.ack(owner, true);
    assert_eq!(bound(&mut scene), (3, 2));
    scene.land(owner);
    scene.ack(owner, true);
    assert_eq!(bound(&mut scene), (3, 2), "what stands between offsets 3 and 5 is not known yet");
    while scene.read_back(owner, 9) {}
    assert_eq!(bound(&mut scene), (5, 4), "the owner has read everything, and the second copies do not count");
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
    assert!(scene.owners[owner].checkpoint.is_none(), "no checkpoint before the decisions are acknowledged");
    scene.land(owner);
    scene.ack(owner, true);
    assert!(scene.core(owner).wants_commands(), "the owner decides while the checkpoint is being written");
    scene.write(owner, true);
    assert_eq!(scene.checkpoint.commands_next.0, 0, "chunk 1 was never loaded");
    assert_eq!(scene.checkpoint.updates_low.0, 1);
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
    assert!(scene.owners[owner].checkpoint.is_none(), "earlier decisions are in flight");
    scene.land(owner);
    scene.ack(owner, true);
    assert!(scene.owners[owner].checkpoint.is_some(), "the checkpoint does not wait for later decisions");
    scene.write(owner, true);
    scene.tell_written(owner);
    assert!(!scene.core(owner).wants_commands());
    assert_eq!((scene.checkpoint.commands_next.0, scene.owners[owner].end.clone()), (1, None));
    while scene.land(owner) {}
    while scene.ack(owner, true) {}
    assert_eq!(scene.owners[owner].end, Some(End::Drained));
    assert_eq!(scene.decided(0), 2, "the next owner skips them");
    scene.finish();
}

#[test]
fn a_chunk_that_cannot_be_loaded_blocks_no_other_and_no_bound_passes_it() {
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
    assert_eq!(scene.checkpoint.updates_low.0, 1, "the decision of the chunk that is not loaded stands there");
    assert_eq!(scene.checkpoint.commands_next.0, 0);
    scene.finish();
}

/// Commands touch more chunks than memory has room for. Loads wait, and so do commands: some of
/// them in memory, so that they hold nobody back, and the others in the log. Dirty chunks are
/// stored early and dropped, and in the end every command is decided. Recovery stays within the
/// same budget.
#[test]
fn the_memory_of_chunks_is_bounded_however_many_chunks_are_touched() {
    let settings =
        driftless_replayer_core::Settings { snapshot_max_age_ms: 600_000, snapshot_every: 1_000, ..settings() };
    let budget = settings.chunks_bytes_max.unwrap();
    let mut scene = Scene::with(settings);
    for chunk in 0..4 {
        put(&mut scene, chunk, 1, 2);
    }
    put(&mut scene, 0, 3, 4);
    put(&mut scene, 3, 3, 200);
    let owner = running(&mut scene);
    let mut most = 0;
    let mut work = |scene: &mut Scene, owner: usize| {
        if scene.core(owner).wants_commands() {
            scene.read_commands(owner, 4);
        }
        assert!(scene.owners[owner].loads.len() <= 2, "the loads in flight have room, too");
        scene.load(owner, true);
        scene.land(owner);
        scene.ack(owner, true);
        most = most.max(scene.core(owner).stats().chunk_bytes);
    };
    for _ in 0..100 {
        work(&mut scene, owner);
    }
    assert_eq!((scene.decided(0), scene.decided(3)), (4, 0), "one chunk is in memory, the other waits for room");
    assert!(!scene.core(owner).wants_commands(), "too much waits in memory, so further commands wait in the log");
    // The next owner recovers the dirty chunks, and then stores and drops them.
    scene.kill(owner);
    let owner = running(&mut scene);
    let mut rounds = 0;
    while scene.core(owner).commands_next() < Offset(208) || scene.core(owner).stats().dirty_chunks > 0 {
        work(&mut scene, owner);
        scene.put(owner, true);
        scene.tick(owner, 100);
        scene.write(owner, true);
        scene.tell_written(owner);
        rounds += 1;
        assert!(rounds < 5_000, "the partition does not come to an end: {:?}", scene.core(owner).stats());
    }
    assert!(most > budget / 2 && most <= budget, "{most} bytes, and the budget is {budget}");
    scene.finish();
}

#[test]
fn snapshots_that_wait_for_a_checkpoint_do_not_hold_up_the_next() {
    // Every durable object would cause a checkpoint if memory were short.
    let settings = driftless_replayer_core::Settings {
        checkpoint_interval_ms: 60_000,
        chunks_bytes_max: Some(100_000),
        ..settings()
    };
    let mut scene = Scene::with(settings);
    for chunk in 0..4 {
        put(&mut scene, chunk, 1, 3);
    }
    let owner = running(&mut scene);
    while scene.read_commands(owner, 1) {
        while scene.load(owner, true) {}
        while scene.land(owner) {}
        while scene.ack(owner, true) {}
    }
    // At most two snapshots may be in the middle of being stored. A snapshot whose object is stored
    // already does not count.
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
    // The ledger has evicted this writer. Its command is sent again, and must not be decided again.
    scene.submit(0, command(writer(0), 1, 0, Wish::Put(0)));
    // The ledger still remembers this other writer.
    scene.submit(0, command(writer(count - 1), 1, 0, Wish::Put(0)));
    assert_eq!(scene.decided(0), count);
    scene.finish();
    assert_eq!(scene.decided(0), count + 1, "one mark more, SessionExpired");
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
