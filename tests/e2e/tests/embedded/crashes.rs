//! `driftless dev` is killed or shut down, and started again.

use driftless_client::{Chunk, Client, Outcome, Pending};
use driftless_e2e_tests::edits::{chunk, set};
use driftless_e2e_tests::history::History;
use driftless_e2e_tests::process::{Env, arguments, run};
use driftless_e2e_tests::proxy::{Passing, Verdict};
use driftless_e2e_tests::scenarios::{keep_editing, receipts_in};
use driftless_e2e_tests::small_disk::SmallDisk;
use driftless_e2e_tests::stack::{Dev, Stack};
use driftless_e2e_tests::wait::{counter, eventually, soon};
use driftless_schemas::{Hash, Version};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::JoinHandle;

type Receipts = Arc<Mutex<BTreeSet<(String, u64)>>>;

/// Records every receipt that a client gets from now on.
fn note_receipts(dev: &Dev) -> Receipts {
    let receipts = Receipts::default();
    let noted = Arc::clone(&receipts);
    dev.entrance().ingests[0].rule(move |passing: &Passing| {
        noted.lock().unwrap().extend(receipts_in(passing));
        Verdict::Pass
    });
    receipts
}

/// Painters that edit one chunk each, so that chunk and number identify a command.
struct Painters {
    chunks: Vec<Chunk>,
    end: watch::Sender<bool>,
    painting: Vec<JoinHandle<usize>>,
    _clients: Vec<Client>,
}

impl Painters {
    async fn start(dev: &Dev) -> Self {
        let end = watch::Sender::new(false);
        let (mut chunks, mut painting, mut clients) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..4 {
            let id = chunk(&format!("canvas/{i}/0"));
            let (client, replica) = dev.entrance().follower(&format!("painter-{i}"), &id).await;
            painting.push(tokio::spawn(keep_editing(replica.clone(), end.subscribe())));
            chunks.push(replica);
            clients.push(client);
        }
        Self { chunks, end, painting, _clients: clients }
    }

    /// Ends the painters and returns the final state of each chunk. Each commit that a painter was
    /// told of must be one version, and there must be no other version.
    async fn end(&mut self, dev: &Dev) -> Vec<(Version, Hash)> {
        self.end.send_replace(true);
        let mut ends = Vec::new();
        for (painting, replica) in self.painting.drain(..).zip(&self.chunks) {
            let count = soon("a painter's end", painting).await.expect("every outcome was a commit") as u64;
            let end = dev.entrance().converge(count, &[replica]).await;
            assert_eq!(end.0.0, count, "{}", replica.id());
            ends.push(end);
        }
        ends
    }
}

async fn receipts_grow_to(receipts: &Receipts, count: usize) {
    eventually(&format!("{count} receipts"), || async {
        let seen = receipts.lock().unwrap().len();
        (seen >= count).then_some(()).ok_or(seen)
    })
    .await;
}

fn check(history: &History, receipts: &Receipts) {
    for (id, seq) in receipts.lock().unwrap().iter() {
        let painter = format!("painter-{}", id.trim_start_matches("canvas/").trim_end_matches("/0"));
        let decisions = history.of(&chunk(id), &painter);
        let count = decisions.iter().filter(|decision| decision.seq == *seq).count();
        assert_eq!(count, 1, "R2: {id} {seq} was receipted, and decided {count} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_a_killed_dev_loses_nothing_that_was_receipted_and_decides_it_once() {
    let mut dev = Dev::embedded().await;
    let receipts = note_receipts(&dev);
    let mut painters = Painters::start(&dev).await;
    for round in 1..=3 {
        let before = receipts.lock().unwrap().len();
        receipts_grow_to(&receipts, before + 60 * round).await;
        dev.kill();
        dev.start().await;
    }
    let before = receipts.lock().unwrap().len();
    receipts_grow_to(&receipts, before + 100).await;
    let ends = painters.end(&dev).await;
    dev.stop().await;
    let history = dev.history().await;
    check(&history, &receipts);
    assert!(history.fences >= 4 * 12, "each start owned all 12 partitions anew: {}", history.fences);
    // After a restart the same check runs with the state from disk.
    dev.start().await;
    for (replica, end) in painters.chunks.iter().zip(&ends) {
        assert_eq!(history.end(replica.id()), Some(*end));
        assert_eq!(dev.entrance().get(replica.id()).await, Ok(*end));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_a_full_disk_loses_nothing_and_when_there_is_room_all_goes_on() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let mut dev = Dev::in_folder(disk.path().join("data")).await;
    let receipts = note_receipts(&dev);
    let seen = || receipts.lock().unwrap().len();
    let mut painters = Painters::start(&dev).await;
    receipts_grow_to(&receipts, 60).await;
    let refusals = |dev: &Dev| dev.text().matches("database or disk is full").count();
    disk.fill();
    eventually("the log to have no room", async || (refusals(&dev) > 0).then_some(()).ok_or(seen())).await;
    // No receipt may be given for a command that is not in the log. To recover, an operator only
    // has to make room on the disk.
    disk.free();
    receipts_grow_to(&receipts, seen() + 60).await;

    let before = refusals(&dev);
    disk.fill();
    eventually("no room once more", async || (refusals(&dev) > before).then_some(()).ok_or(seen())).await;
    dev.kill();
    disk.fill();
    let data = dev.data().display().to_string();
    let refused = run(&arguments(&["dev", "--http", "127.0.0.1:0", "--data", &data]), &Env::new()).await;
    assert!(!refused.status.success(), "{refused:?}");
    assert!(refused.error.contains(&data) && refused.error.contains("No space left on device"), "{}", refused.error);
    disk.free();
    dev.start().await;
    receipts_grow_to(&receipts, seen() + 60).await;
    let ends = painters.end(&dev).await;
    let history = dev.history().await;
    check(&history, &receipts);
    for (replica, end) in painters.chunks.iter().zip(&ends) {
        assert_eq!(history.end(replica.id()), Some(*end));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_decides_all_that_was_receipted_before_it_ends() {
    let mut dev = Dev::embedded().await;
    let receipts = note_receipts(&dev);
    let mut painters = Painters::start(&dev).await;
    receipts_grow_to(&receipts, 100).await;
    dev.stop().await;
    let history = dev.history().await;
    check(&history, &receipts);
    // The clients notice the restart only as a pause.
    dev.start().await;
    let before = receipts.lock().unwrap().len();
    receipts_grow_to(&receipts, before + 50).await;
    let ends = painters.end(&dev).await;
    let history = dev.history().await;
    check(&history, &receipts);
    for (replica, end) in painters.chunks.iter().zip(&ends) {
        assert_eq!(history.end(replica.id()), Some(*end));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_a_chunk_with_a_snapshot_comes_back_with_the_same_hash() {
    let mut dev = Dev::embedded().await;
    let id = chunk("canvas/9/-9");
    let (_ann, replica) = dev.entrance().follower("ann", &id).await;
    // These are more decisions than one snapshot waits for, so a snapshot is taken.
    let edit = |i: u32| replica.submit(set(i % 16_384, i % 251)).unwrap();
    let many: Vec<Pending> = (0..1_100).map(edit).collect();
    for pending in many {
        assert!(matches!(soon("a commit", pending).await, Outcome::Committed { .. }));
    }
    let snapshots = dev.data().join("store/snapshots");
    eventually("a snapshot in the store", || async { std::fs::read_dir(&snapshots).map(drop) }).await;
    // The next checkpoint announces the snapshot.
    counter(&dev.entrance().gateway_http(), "driftless_replayer_snapshots_total", 1).await;
    for i in 0..10 {
        assert!(matches!(soon("a commit", edit(7 * i)).await, Outcome::Committed { .. }));
    }
    let end = dev.entrance().converge(1_110, &[&replica]).await;
    dev.kill();
    dev.start().await;
    assert_eq!(dev.entrance().converge(1_110, &[&replica]).await, end, "after kill -9");
    dev.stop().await;
    dev.start().await;
    assert_eq!(dev.entrance().converge(1_110, &[&replica]).await, end, "after Ctrl-C");
    let history = dev.history().await;
    assert_eq!(history.end(&id), Some(end));
    assert!(history.snapshots > 0, "the log tells of a snapshot");
}
