//! Tests of whole replayers over a log in memory. Partitions change owners, processes die, readers
//! and producers fail. Every command must still be decided exactly once, in order (R2, R3, R8), and
//! every checkpoint must be one that a new owner can begin with (R6).

mod scene;

use bytes::Bytes;
use driftless_schemas::proto::{Command, CommandRecord, command_record};
use driftless_schemas::{ChunkId, Epoch, Offset, Partition, WriterId};
use prost::Message as _;
use scene::{PARTITIONS, PATIENCE, Scene};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CHUNKS: i32 = 12;

/// Submits `rounds` commands for every chunk.
fn submit(scene: &mut Scene, rounds: usize) {
    for _ in 0..rounds {
        (0..CHUNKS).for_each(|chunk| scene.submit(chunk));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_partitions_change_hands_and_every_command_is_decided_once() {
    let mut scene = Scene::new().await;
    submit(&mut scene, 5);
    let first = scene.start("a").await;
    first.owns(4).await;
    submit(&mut scene, 20);

    // A second process takes half of the partitions, while commands flow.
    let second = scene.start("b").await;
    submit(&mut scene, 20);
    second.owns(2).await;
    submit(&mut scene, 20);
    scene.all_decided().await;

    // The first process dies in the middle of its work.
    submit(&mut scene, 20);
    first.kill();
    submit(&mut scene, 5);
    second.owns(4).await;
    scene.all_decided().await;

    // A third process joins under the second's name. The second process loses its partitions, and
    // its error says why it ends.
    submit(&mut scene, 20);
    let third = scene.start("b").await;
    submit(&mut scene, 5);
    third.owns(4).await;
    scene.all_decided().await;
    let ended = tokio::time::timeout(PATIENCE, second.replayer.join()).await.expect("it ends");
    assert!(matches!(ended, Err(driftless_replayer::Error::Membership { .. })), "{ended:?}");
    second.runtime.shutdown_background();

    submit(&mut scene, 3);
    third.end().await.unwrap();
    let fourth = scene.start("c").await;
    scene.all_decided().await;
    fourth.end().await.unwrap();
}

/// Restarts two processes in turn. Each planned end hands several partitions to the other process,
/// and each start takes some of them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_a_rolling_restart_decides_every_command_once() {
    let mut scene = Scene::new().await;
    let mut processes = vec![("a", scene.start("a").await), ("b", scene.start("b").await)];
    for _ in 0..3 {
        submit(&mut scene, 20);
        let (name, process) = processes.remove(0);
        process.owns(2).await;
        submit(&mut scene, 20);
        process.end().await.unwrap();
        submit(&mut scene, 20);
        processes[0].1.owns(4).await;
        submit(&mut scene, 20);
        processes.push((name, scene.start(name).await));
    }
    scene.all_decided().await;
    // An owner that ends decides commands even behind its last checkpoint. So the test waits for
    // checkpoints of the next owners, which read these commands again.
    scene.all_checkpointed().await;
    for (_, process) in processes {
        process.end().await.unwrap();
    }
    assert_eq!(scene.decided().await.values().map(Vec::len).sum::<usize>(), 3 * 80 * CHUNKS as usize);
    scene.all_checkpointed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_a_planned_end_writes_a_checkpoint_that_holds() {
    let mut scene = Scene::new().await;
    let process = scene.start("a").await;
    process.owns(4).await;
    submit(&mut scene, 30);
    scene.all_decided().await;
    scene.snapshots_stored(1).await;
    process.end().await.unwrap();

    let topics = scene.world.topics().clone();
    let decided = scene.decided().await;
    let mut stored = 0;
    for partition in (0..PARTITIONS).map(Partition) {
        let view = scene.indexes().view(partition).await.unwrap();
        let checkpoint = view.checkpoint().await.unwrap();
        let (_, high) = driftless_log::Log::watermarks(&scene.log, &topics.commands, partition).await.unwrap();
        assert_eq!((checkpoint.epoch, checkpoint.commands_next), (Epoch(1), high));
        let position = scene.position_at(partition, checkpoint.updates_low).await;
        assert_eq!((checkpoint.updates_low_epoch, checkpoint.updates_low_n), (position.epoch, position.n));
        for chunk in (0..CHUNKS).map(|i| scene.chunk(i)) {
            let Some(entry) = view.entry(&chunk).await.unwrap() else { continue };
            let newest = entry.newest;
            let marks = &decided[&chunk];
            assert!(newest.through_offset.0 <= marks.last().unwrap().source_offset);
            assert_eq!(
                newest.version.0,
                marks.iter().filter(|m| m.source_offset <= newest.through_offset.0).count() as u64
            );
            scene.store.stored(&newest).await.unwrap();
            stored += 1;
        }
    }
    assert!(stored > 0, "announced snapshots are in the store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_what_cannot_be_read_is_copied_with_its_origin_and_the_rest_goes_on() {
    let mut scene = Scene::new().await;
    let process = scene.start("a").await;
    process.owns(4).await;
    scene.submit(0);
    let chunk = scene.chunk(0);
    let partition = scene.world.place(&chunk).unwrap().partition;
    scene.submit_raw(partition, Bytes::from_static(b"\xff\xff rubbish"));
    // This command has no body, but its numbers can be read. So the replayer copies the command and
    // also decides to discard it, so that its writer can go on.
    let writer = WriterId([3; 16]).to_bytes();
    let command = Command { writer, author: "bob".into(), seq: 1, ..Command::default() };
    let body = Some(command_record::Body::Command(command));
    let bodiless = CommandRecord { chunk_id: chunk.to_string(), body }.encode_to_vec();
    let stranger =
        (0..).map(|i| scene.chunk(i)).find(|c| scene.world.place(c).unwrap().partition != partition).unwrap();
    scene.submit_raw(partition, rubbish_for(&stranger));
    scene.all_decided().await;
    scene.submit(0);
    scene.all_decided().await;
    scene.submit_raw(partition, bodiless.clone().into());

    let topic = scene.world.topics().dead_letter.to_string();
    let deadline = Instant::now() + PATIENCE;
    let letters = loop {
        let letters = scene.records(&topic, Partition(0)).await;
        if letters.len() == 3 {
            break letters;
        }
        assert!(Instant::now() < deadline, "{letters:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let header = |i: usize, name: &str| {
        let found = letters[i].headers.iter().find(|(n, _)| n == name);
        String::from_utf8(found.expect(name).1.to_vec()).unwrap()
    };
    let values: Vec<&Bytes> = letters.iter().map(|letter| &letter.value).collect();
    assert_eq!(values, [&Bytes::from_static(b"\xff\xff rubbish"), &rubbish_for(&stranger), &Bytes::from(bodiless)]);
    for (i, offset) in [(0, "1"), (1, "2"), (2, "4")] {
        assert_eq!(header(i, "topic"), *scene.world.topics().commands);
        assert_eq!((header(i, "partition"), header(i, "offset")), (partition.to_string(), offset.to_string()));
        assert!(!header(i, "reason").is_empty());
    }
    assert!(header(1, "reason").contains("R1"), "{}", header(1, "reason"));
    process.end().await.unwrap();
    let view = scene.indexes().view(partition).await.unwrap();
    assert_eq!(view.checkpoint().await.unwrap().commands_next, Offset(5));
}

fn rubbish_for(chunk: &ChunkId) -> Bytes {
    CommandRecord { chunk_id: chunk.to_string(), body: None }.encode_to_vec().into()
}

/// Runs one process, and lets a fault happen twice. After each fault, all commands must be decided.
async fn goes_on_after(fault: impl Fn(&Scene) -> &AtomicBool) {
    let mut scene = Scene::new().await;
    let process = scene.start("a").await;
    process.owns(4).await;
    for _ in 0..2 {
        submit(&mut scene, 3);
        scene.all_decided().await;
        fault(&scene).store(true, Ordering::SeqCst);
        submit(&mut scene, 3);
        scene.all_decided().await;
        assert!(!fault(&scene).load(Ordering::SeqCst), "it happened");
        submit(&mut scene, 3);
        scene.all_decided().await;
    }
    process.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_fails_right_behind_its_records_stops_no_partition_for_ever() {
    goes_on_after(|scene| &scene.log.faults.break_read).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_a_producer_that_ends_ends_the_ownerships_and_new_ones_go_on() {
    goes_on_after(|scene| &scene.log.faults.fail_append).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ownership_that_panics_is_taken_up_again() {
    goes_on_after(|scene| &scene.log.faults.panic_append).await;
}
