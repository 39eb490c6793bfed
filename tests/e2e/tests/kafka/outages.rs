//! A replayer, an ingest or a gateway is away or is killed, and returns.

use driftless_client::{Outcome, Pending};
use driftless_e2e_tests::edits::{chunk, set, value_of};
use driftless_e2e_tests::proxy::Verdict;
use driftless_e2e_tests::scenarios::{keep_editing, receipts_in};
use driftless_e2e_tests::stack::{Apart, Entrance, Stack};
use driftless_e2e_tests::wait::{eventually, soon};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r3_edits_without_a_replayer_wait_in_the_log_and_all_commit_when_it_is_back() {
    if super::is_left_out() {
        return;
    }
    let mut stack = Apart::start().await;
    let receipts = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&receipts);
    Entrance::rule_all(&stack.entrance().ingests, move |passing| {
        noted.lock().unwrap().extend(receipts_in(passing));
        Verdict::Pass
    });
    let ids = [chunk("canvas/0/0"), chunk("canvas/-1/1")];
    let (ann, a) = stack.entrance().follower("ann", &ids[0]).await;
    let (bob, b) = stack.entrance().follower("bob", &ids[1]).await;
    for replica in [&a, &b] {
        let outcome = soon("a commit", replica.submit(set(0, 1)).unwrap()).await;
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }
    stack.stop("replayer").await;

    let edit = |i: u32| [a.submit(set(i, i)).unwrap(), b.submit(set(i, 255 - i)).unwrap()];
    let pending: Vec<Pending> = (1..=30).flat_map(edit).collect();
    eventually("62 receipts", || async {
        let count = receipts.lock().unwrap().len();
        (count >= 62).then_some(()).ok_or(count)
    })
    .await;
    assert_eq!((ann.status().pending, bob.status().pending), (30, 30), "receipts are no decisions");
    assert_eq!((a.version().unwrap().0, b.version().unwrap().0), (1, 1), "nothing is confirmed");
    let shown = a.with_view(|view| view.model.encode(view.content).into_owned()).unwrap();
    assert_eq!(shown[12 + 2 * 30], 30, "but it is shown");
    // A client that connects while the replayer is away gets all commands that were decided before.
    let (_late, late) = stack.entrance().follower("late", &ids[0]).await;
    assert_eq!(late.version().unwrap().0, 1);

    stack.restart("replayer").await;
    for pending in pending {
        let outcome = soon("a commit", pending).await;
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }
    let ends = [stack.entrance().converge(31, &[&a, &late]).await, stack.entrance().converge(31, &[&b]).await];
    let history = stack.history().await;
    for (id, user, end) in [(&ids[0], "ann", ends[0]), (&ids[1], "bob", ends[1])] {
        assert_eq!(history.end(id), Some(end));
        assert_eq!(history.commits(id, user).len(), 31, "{user}: exactly once");
    }
    let values: Vec<u32> = history.commits(&ids[0], "ann").iter().map(|effect| value_of(effect)).collect();
    assert_eq!(values[1..], (1..=30).collect::<Vec<u32>>(), "in their order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_an_end_of_any_service_under_load_by_kill_9_or_in_order_loses_and_doubles_nothing() {
    if super::is_left_out() {
        return;
    }
    let mut stack = Apart::start().await;
    let end = watch::Sender::new(false);
    let (mut clients, mut replicas, mut editing) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..3 {
        let id = chunk(&format!("canvas/{i}/{i}"));
        let (client, replica) = stack.entrance().follower(&format!("user-{i}"), &id).await;
        editing.push(tokio::spawn(keep_editing(replica.clone(), end.subscribe())));
        replicas.push(replica);
        clients.push(client);
    }
    // At the start, all clients are connected to the first ingest and the first gateway.
    for (name, how) in [
        ("replayer", "kill"),
        ("ingest-0", "kill"),
        ("gateway-0", "kill"),
        ("ingest-1", "stop"),
        ("gateway-1", "stop"),
        ("replayer", "stop"),
        ("replayer", "kill"),
    ] {
        progress(&replicas, 40).await;
        match how {
            "kill" => stack.kill(name),
            _ => stack.stop(name).await,
        }
        stack.restart(name).await;
        if name == "replayer" {
            // The chunks that make progress may leave out a partition.
            stack.ready(name).await;
        }
    }
    progress(&replicas, 40).await;
    end.send_replace(true);
    let mut ends = Vec::new();
    for (editing, replica) in editing.into_iter().zip(&replicas) {
        let count = soon("an editor's end", editing).await.expect("every outcome was a commit") as u64;
        let end = stack.entrance().converge(count, &[replica]).await;
        assert_eq!(end.0.0, count, "each commit that a client was told of is one version, and nothing else");
        ends.push(end);
    }
    let history = stack.history().await;
    for (replica, end) in replicas.iter().zip(ends) {
        assert_eq!(history.end(replica.id()), Some(end));
    }
    assert!(history.fences >= 4 * 3, "four ownerships of three partitions: {}", history.fences);
}

/// Waits until the version of each replica has risen by `by`.
async fn progress(replicas: &[driftless_client::Chunk], by: u64) {
    let version = |replica: &driftless_client::Chunk| replica.version().map_or(0, |version| version.0);
    let wanted: Vec<u64> = replicas.iter().map(|replica| version(replica) + by).collect();
    eventually("the edits to go on", || async {
        let seen: Vec<u64> = replicas.iter().map(version).collect();
        seen.iter().zip(&wanted).all(|(seen, wanted)| seen >= wanted).then_some(()).ok_or((seen, wanted.clone()))
    })
    .await;
}

/// Two replayers share three partitions. Each replayer is restarted in turn, and partitions are
/// also revoked from a replayer that stays alive. No takeover waits for a session time-out. A
/// member that shuts down gracefully leaves the group, and a member that was killed and returns
/// under its name gets its partitions back (static membership, cooperative-sticky).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_a_rolling_restart_of_two_replayers_loses_and_doubles_nothing() {
    if super::is_left_out() {
        return;
    }
    let mut stack = Apart::start().await;
    let end = watch::Sender::new(false);
    let (mut clients, mut replicas, mut editing) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..6 {
        let id = chunk(&format!("canvas/{i}/{i}"));
        let (client, replica) = stack.entrance().follower(&format!("user-{i}"), &id).await;
        editing.push(tokio::spawn(keep_editing(replica.clone(), end.subscribe())));
        replicas.push(replica);
        clients.push(client);
    }
    let placed: BTreeSet<i32> =
        replicas.iter().map(|r| stack.entrance().world.place(r.id()).expect("a chunk").partition.0).collect();
    assert!(placed.len() > 1, "several partitions are at work: {placed:?}");
    progress(&replicas, 40).await;
    // The second replayer takes over partitions of the first, which keeps the others.
    stack.restart("replayer-1").await;
    stack.deciding("replayer-1").await;
    for (name, how) in [("replayer", "stop"), ("replayer-1", "stop"), ("replayer", "kill"), ("replayer-1", "stop")] {
        progress(&replicas, 40).await;
        match how {
            "kill" => stack.kill(name),
            _ => stack.stop(name).await,
        }
        stack.restart(name).await;
        stack.deciding(name).await;
    }
    progress(&replicas, 40).await;
    end.send_replace(true);
    for (editing, replica) in editing.into_iter().zip(&replicas) {
        let count = soon("an editor's end", editing).await.expect("every outcome was a commit") as u64;
        let end = stack.entrance().converge(count, &[replica]).await;
        assert_eq!(end.0.0, count, "each commit that a client was told of is one version, and nothing else");
    }
    let history = stack.history().await;
    for replica in &replicas {
        assert_eq!(history.end(replica.id()).map(|end| end.0), replica.version());
    }
}
