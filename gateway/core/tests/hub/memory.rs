//! Memory of the hub: rings, replicas without trackers, and chunks that no client tracks.

use super::{C, all, log};
use driftless_gateway_core::{Input, Joined, Settings};
use driftless_runtime_core::rate::{Allowance, Rates};
use driftless_scenes::gateway::*;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{self, Have, request};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{Offset, Partition, features};

#[test]
fn r5_evicted_records_are_read_again_when_they_are_needed() {
    let (mut log, mut owner) = log(50);
    for i in 0..50 {
        write(&mut log, &mut owner, "tape/2", writer(1), &[&format!("other {i}")]);
    }
    let set = Settings { rings_bytes_max: Some(10_000), ..settings() };
    let mut gateway = all(&log, set);
    assert!(gateway.hub.ring_bytes() <= 10_000, "{}", gateway.hub.ring_bytes());
    let socket = gateway.join(writer(2));
    for chunk in [C, "tape/2"] {
        gateway.request(socket, track(chunk, None));
        gateway.load(&log);
        assert_eq!(gateway.got(&log, socket), ["tracked 50", "chunk 50"]);
    }
    assert!(gateway.reread > 0);
    assert!(gateway.drifts.is_empty() && gateway.degraded.is_empty());
    // R4: a record that did not count the first time does not count when it is read again.
    let mut zombie = owner.clone();
    let mut owner = log.owner();
    log.command(C, writer(3), "contested");
    zombie.decide(&mut log, C, 9, false);
    owner.decide(&mut log, C, 9, false);
    let mut gateway = all(&log, Settings { rings_bytes_max: Some(0), ..settings() });
    let socket = gateway.join(writer(2));
    gateway.request(socket, track(C, None));
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 51", "chunk 51"]);
}

/// The topic is made anew before the gateway reads evicted records again. The simulator has found
/// that the chunk then went back to an older version.
#[test]
fn r12_records_of_another_log_are_not_taken_for_the_evicted_ones() {
    let (log, _) = log(50);
    let mut gateway = all(&log, Settings { rings_bytes_max: Some(0), ..settings() });
    let mut other = Log::new();
    let mut owner = other.owner();
    for _ in 0..80 {
        write(&mut other, &mut owner, "tape/2", writer(1), &["another text"]);
    }
    let socket = gateway.join(writer(2));
    gateway.request(socket, track(C, None));
    let seen = std::mem::take(&mut gateway.seen);
    gateway.seen = (0..).map(Offset).zip(other.records.iter().cloned()).collect();
    gateway.load(&other);
    assert_eq!(gateway.got(&log, socket), [""; 0], "nothing is served from the other log");
    gateway.seen = seen;
    gateway.tick(500);
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 50", "chunk 50"]);
}

#[test]
fn a_client_that_resumes_from_an_evicted_version_gets_a_chunk() {
    let (log, _) = log(50);
    let set = Settings { rings_bytes_max: Some(4_000), ring_kept: 2, ..settings() };
    let mut gateway = all(&log, set);
    gateway.tracker(&log, writer(2), C);
    let socket = gateway.join(writer(3));
    let have = Have { version: 1, hash: log.hashes[&(id(C), 1)].to_bytes(), ..Have::default() };
    gateway.request(socket, track(C, Some(have)));
    assert_eq!(gateway.got(&log, socket), ["tracked 50", "chunk 50"]);
}

/// A socket tracks more chunks than memory has room for. Loads wait for room, and what finds none
/// in time is rejected.
#[test]
fn the_memory_of_replicas_is_bounded_and_a_track_without_room_is_rejected() {
    let mut log = Log::new();
    let mut owner = log.owner();
    let chunks: Vec<String> = (0..12).map(|i| format!("tape/{i}")).collect();
    for chunk in &chunks {
        write(&mut log, &mut owner, chunk, writer(1), &["a text"]);
    }
    let most = 4_000;
    let mut gateway = all(&log, Settings { replicas_bytes_max: Some(most), ..settings() });
    let socket = gateway.join(writer(2));
    chunks.iter().for_each(|chunk| gateway.request(socket, track(chunk, None)));
    for _ in 0..12 {
        assert!(gateway.loads.len() <= 4 && gateway.hub.replica_bytes() <= most, "{}", gateway.hub.replica_bytes());
        gateway.load_all(&log);
        gateway.tick(100);
    }
    let count = |got: &[String], what: &str| got.iter().filter(|said| said.starts_with(what)).count();
    let mut got = gateway.got(&log, socket);
    assert_eq!((count(&got, "rejected"), gateway.loads.len()), (0, 0), "the others wait");
    gateway.tick(5_000);
    got.extend(gateway.got(&log, socket));
    let tracked = count(&got, "tracked");
    assert!((2..12).contains(&tracked), "{tracked} chunks have room");
    assert_eq!(count(&got, "rejected UNAVAILABLE"), 12 - tracked);

    // A chunk without trackers makes room at once.
    gateway.request(socket, track("tape/11", None));
    assert!(gateway.loads.is_empty());
    gateway.request(socket, untrack("tape/0"));
    gateway.tick(100);
    gateway.tick(100);
    gateway.load_all(&log);
    assert_eq!(count(&gateway.got(&log, socket), "tracked"), 1);
    gateway.leave(socket);
    gateway.tick(100);
    gateway.tick(30_000);
    assert_eq!(gateway.hub.replica_bytes(), 0, "nothing leaks");
}

/// A budget that has room for four loads at a time serves many small chunks as fast as they load.
#[test]
fn a_load_that_ends_makes_room_for_the_next_one_without_a_tick() {
    let log = Log::new();
    let mut gateway = all(&log, Settings { replicas_bytes_max: Some(200_000), ..settings() });
    let socket = gateway.join(writer(2));
    (0..40).for_each(|i| gateway.request(socket, track(&format!("tape/{i}"), None)));
    assert_eq!(gateway.loads.len(), 4);
    gateway.load_all(&log);
    let got = gateway.got(&log, socket);
    assert_eq!(got.iter().filter(|said| said.starts_with("tracked")).count(), 40, "{got:?}");
}

#[test]
fn an_idle_replica_is_dropped_after_a_while_and_nothing_leaks() {
    let mut log = Log::new();
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    gateway.tick(1_000_000);
    gateway.leave(socket);
    gateway.tick(29_000);
    let again = gateway.join(writer(1));
    gateway.request(again, track(C, None));
    assert_eq!(gateway.got(&log, again), ["tracked 0", "chunk 0"], "answered from the replica, which is still there");
    gateway.leave(again);
    gateway.tick(30_000);
    assert_eq!((gateway.hub.chunks(), gateway.hub.sockets()), (0, 0));

    // A load may complete after all sockets have left. Its replica is dropped too.
    let socket = gateway.join(writer(1));
    gateway.request(socket, track(C, None));
    gateway.leave(socket);
    gateway.tick(31_000);
    gateway.tick(31_000);
    gateway.load_all(&log);
    gateway.tick(31_000);
    assert_eq!(gateway.hub.chunks(), 0);

    // A chunk with records in the log stays known, without a replica: the next Track loads again.
    let mut owner = log.owner();
    write(&mut log, &mut owner, C, writer(1), &["a"]);
    let snapshot = log.snapshot(C);
    owner.notice(&mut log, C, &snapshot);
    gateway.read(&log, usize::MAX);
    let socket = gateway.join(writer(1));
    gateway.request(socket, track(C, None));
    gateway.leave(socket);
    gateway.tick(31_000);
    gateway.load_all(&log);
    gateway.tick(31_000);
    let socket = gateway.join(writer(1));
    gateway.request(socket, track(C, None));
    assert_eq!(gateway.loads.len(), 1, "the replica was dropped");
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 1", "chunk 1"]);
}

#[test]
fn an_untracked_chunk_is_kept_until_the_view_has_its_ref() {
    let (mut log, mut owner) = log(2);
    let snapshot = log.snapshot(C);
    owner.notice(&mut log, C, &snapshot);
    let mut gateway = all(&log, settings());
    assert_eq!(gateway.hub.chunks(), 1);
    let noticed = gateway.now;
    gateway.input(Input::ViewRenewed(P, MonotonicMs(noticed)));
    assert_eq!(gateway.hub.chunks(), 1, "a view opened at the same moment may be older than the ref");
    gateway.input(Input::ViewRenewed(Partition(1), MonotonicMs(noticed + 1)));
    assert_eq!(gateway.hub.chunks(), 1, "the view of another partition");
    gateway.input(Input::ViewRenewed(P, MonotonicMs(noticed + 1)));
    assert_eq!(gateway.hub.chunks(), 0);
}

/// A user pays for the bytes of what it asks for, and not for updates, which others cause.
#[test]
fn answers_count_for_their_user_by_their_bytes_and_updates_do_not() {
    let (mut log, mut owner) = log(50);
    let mut gateway = all(&log, settings());
    let rates = Rates::new([Allowance::UNLIMITED, Allowance { per_second: 1, burst: 1_000_000 }]);
    let bucket = rates.of("ann", MonotonicMs(gateway.now));
    let left = |gateway: &Gateway| {
        (0..=1_000_000).rev().find(|bytes| bucket.check([0, *bytes], MonotonicMs(gateway.now)).is_ok())
    };
    let access = Access { read: vec!["tape/".into()], ..Access::default() };
    let (user, features) = ("ann".into(), features::HISTORIES);
    let joined = Joined { user, writer: writer(2), access: access.into(), families: None, features, bucket: None };
    let socket = gateway.join_as(Joined { bucket: Some(bucket.clone()), ..joined });
    gateway.request(socket, track(C, None));
    gateway.load_all(&log);
    let tracked = left(&gateway).unwrap();
    assert!(tracked < 1_000_000 - 50, "the content is charged");
    write(&mut log, &mut owner, C, writer(1), &["an update"]);
    gateway.read(&log, usize::MAX);
    assert_eq!(left(&gateway), Some(tracked), "updates are free");
    gateway.request(socket, request::Body::Refresh(proto::Refresh { chunk_id: C.into(), version: 0 }));
    assert!(left(&gateway).unwrap() < tracked, "a Refresh is charged");
}

/// One user tracks all chunks that there is room for. When another one comes, they share.
#[test]
fn a_user_with_all_the_memory_gives_half_of_it_up_for_another_one() {
    let mut log = Log::new();
    let mut owner = log.owner();
    let chunks: Vec<String> = (0..40).map(|i| format!("tape/{i}")).collect();
    for chunk in &chunks {
        write(&mut log, &mut owner, chunk, writer(1), &["a text"]);
    }
    let mut gateway = all(&log, Settings { replicas_bytes_max: Some(8_000), ..settings() });
    let join = |gateway: &mut Gateway, user: &str, number| {
        let access = Access { read: vec!["tape/".into()], ..Access::default() };
        let (user, features) = (user.into(), features::HISTORIES);
        gateway.join_as(Joined {
            user,
            writer: writer(number),
            access: access.into(),
            families: None,
            features,
            bucket: None,
        })
    };
    let mallory = join(&mut gateway, "mallory", 2);
    chunks[..30].iter().for_each(|chunk| gateway.request(mallory, track(chunk, None)));
    let count = |got: &[String], what: &str| got.iter().filter(|said| said.starts_with(what)).count();
    let turn = |gateway: &mut Gateway| {
        gateway.load_all(&log);
        gateway.tick(100);
    };
    (0..80).for_each(|_| turn(&mut gateway));
    let got = gateway.got(&log, mallory);
    let all = count(&got, "tracked");
    assert!((6..30).contains(&all), "{all} of 30 chunks have room");
    let ann = join(&mut gateway, "ann", 3);
    chunks[30..].iter().for_each(|chunk| gateway.request(ann, track(chunk, None)));
    // Mallory asks again for everything that it lost.
    let (mut given_up, mut got) = (0, Vec::new());
    for _ in 0..100 {
        turn(&mut gateway);
        let lost = gateway.got(&log, mallory);
        given_up += count(&lost, "rejected");
        got.extend(gateway.got(&log, ann));
        chunks[..30].iter().for_each(|chunk| gateway.request(mallory, track(chunk, None)));
    }
    let shared = count(&got, "tracked");
    assert!(shared >= all / 3, "the other user got room for {shared} of {all} chunks");
    assert!(given_up < 30 * 100, "mallory keeps some");
    assert!(gateway.hub.replica_bytes() <= 8_000, "{}", gateway.hub.replica_bytes());
}
