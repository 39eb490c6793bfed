//! Track, Untrack and Refresh on a socket that is never slow: it accepts every byte at once.

use super::{C, all, log};
use driftless_scenes::gateway::*;
use driftless_schemas::Hash;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{self, Have, request};

#[test]
fn a_track_waits_for_the_load_and_records_in_between_are_in_it() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    let (one, two) = (gateway.join(writer(1)), gateway.join(writer(2)));
    gateway.request(one, track(C, None));
    assert_eq!(gateway.loads.len(), 1);
    write(&mut log, &mut owner, C, writer(1), &["w3", "x"]);
    gateway.read(&log, usize::MAX);
    gateway.request(two, track(C, None));
    assert_eq!(gateway.loads.len(), 1, "one load for all waiting sockets");
    assert!(gateway.got(&log, one).is_empty());
    gateway.load(&log);
    for socket in [one, two] {
        assert_eq!(gateway.got(&log, socket), ["tracked 3", "chunk 3"]);
    }
    assert_eq!(gateway.held(one, C).known, [(1, true), (2, true), (3, true), (4, false)].into());
    write(&mut log, &mut owner, C, writer(2), &["w"]);
    gateway.read(&log, usize::MAX);
    for socket in [one, two] {
        assert_eq!(gateway.got(&log, socket), ["updates 4-4"]);
    }
    assert!(gateway.loads.is_empty() && gateway.degraded.is_empty());
}

#[test]
fn a_client_gets_missing_updates_for_a_known_state_and_a_chunk_for_an_unknown_one() {
    let (mut log, mut owner) = log(3);
    let have = log.have(C);
    write(&mut log, &mut owner, C, writer(1), &["a", "b"]);
    let newest = log.have(C);
    let mut gateway = all(&log, settings());
    gateway.tracker(&log, writer(2), C);
    let other = Have { version: 3, hash: Hash::of(b"?").to_bytes(), ..Have::default() };
    let same = Have { version: 5, hash: Hash::of(b"?").to_bytes(), ..Have::default() };
    let zero = Have { version: 0, hash: log.fresh(&id(C)).replica.hash().to_bytes(), ..Have::default() };
    for (have, expected) in [
        (Some(newest), &["tracked 5"][..]),
        (Some(have), &["tracked 5", "updates 4-4", "updates 5-5"]),
        (Some(other), &["tracked 5", "chunk 5"]),
        (Some(same), &["tracked 5", "chunk 5"]),
        (Some(zero), &["tracked 5", "chunk 5"]),
        (Some(Have { version: 4, hash: vec![1; 3].into(), ..Have::default() }), &["tracked 5", "chunk 5"]),
        (None, &["tracked 5", "chunk 5"]),
    ] {
        let socket = gateway.join(writer(3));
        // A client that gets no Chunk must have exactly the state that `have` names, so that it can
        // fold the updates. A client that gets a Chunk needs no replica.
        let version = have.as_ref().map(|have| have.version);
        let covered = expected.len() != 2;
        if let (Some(version), true) = (version, covered) {
            let mut live = log.fresh(&id(C)).replica;
            for text in ["w1", "w2", "w3", "a", "b"].iter().take(version as usize) {
                live.fold(text.as_bytes()).unwrap();
            }
            gateway.held(socket, C).replica = Some(live);
        }
        gateway.request(socket, track(C, have.clone()));
        assert_eq!(gateway.got(&log, socket), expected, "{have:?}");
    }
}

#[test]
fn the_stored_snapshot_is_sent_unchanged_with_the_updates_after_it() {
    let (mut log, mut owner) = log(3);
    let snapshot = log.snapshot(C);
    owner.notice(&mut log, C, &snapshot);
    write(&mut log, &mut owner, C, writer(1), &["a", "b"]);
    let mut gateway = all(&log, settings());
    let one = gateway.join(writer(2));
    gateway.request(one, track(C, None));
    let (_, wanted) = gateway.loads.front().cloned().unwrap();
    assert_eq!(wanted, Some(snapshot.stored.clone()), "the ref that the log named");
    gateway.load(&log);
    assert_eq!(gateway.got(&log, one), ["tracked 5", "chunk 3", "updates 4-4", "updates 5-5"]);
    // The updates after the snapshot are larger than the content. The gateway encodes its replica
    // instead, and keeps the encoding for later clients.
    let long = "l".repeat(250);
    write(&mut log, &mut owner, C, writer(1), &[long.as_str(); 12]);
    gateway.read(&log, usize::MAX);
    for _ in 0..2 {
        let two = gateway.join(writer(2));
        gateway.request(two, track(C, None));
        assert_eq!(gateway.got(&log, two), ["tracked 17", "chunk 17"]);
    }
    // A client with an older state gets whichever is smaller, too.
    let three = gateway.join(writer(2));
    let have = snapshot.loaded();
    gateway.request(three, track(C, Some(Have { version: 3, hash: have.stored.hash.to_bytes(), ..Have::default() })));
    assert_eq!(gateway.got(&log, three), ["tracked 17", "chunk 17"]);
    write(&mut log, &mut owner, C, writer(1), &["c"]);
    gateway.read(&log, usize::MAX);
    let four = gateway.join(writer(2));
    gateway.request(four, track(C, None));
    assert_eq!(gateway.got(&log, four), ["tracked 18", "chunk 17", "updates 18-18"]);
}

#[test]
fn a_ref_ahead_of_this_gateway_is_served_and_then_caught_up_with() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    write(&mut log, &mut owner, C, writer(1), &["a", "x", "b"]);
    log.snapshot(C);
    let one = gateway.join(writer(1));
    gateway.request(one, track(C, None));
    // The index already names a snapshot that contains records which this gateway has not read yet.
    gateway.load(&log);
    assert_eq!(gateway.got(&log, one), ["tracked 4", "chunk 4"]);
    assert_eq!(gateway.held(one, C).known.len(), 5);
    let have = log.have(C);
    gateway.read(&log, usize::MAX);
    write(&mut log, &mut owner, C, writer(1), &["c"]);
    gateway.read(&log, usize::MAX);
    gateway.take_all(&log, one);
    assert_eq!(gateway.held(one, C).version(), Some(5));
    let two = gateway.join(writer(2));
    gateway.held(two, C).replica = Some(log.truth(C).replica.clone());
    gateway.request(two, track(C, Some(have)));
    assert_eq!(gateway.got(&log, two), ["tracked 5", "updates 5-5"]);
}

#[test]
fn a_rejected_track_says_why() {
    let (log, _) = log(1);
    let mut gateway = all(&log, settings());
    let access = Access { read: vec!["tape/1".into(), "map/".into()], ..Access::default() };
    let socket = gateway.join_with(writer(1), access, Some(["tape".to_owned()].into()));
    for (chunk, code) in [
        ("tape/01", "BAD_CHUNK_ID"),
        ("", "BAD_CHUNK_ID"),
        ("town/1", "UNKNOWN_FAMILY"),
        ("tape/10000", "OUT_OF_BOUNDS"),
        ("tape/2", "NO_READ_ACCESS"),
        ("map/1", "MODEL"),
    ] {
        gateway.input(driftless_gateway_core::Input::Request(socket, track(chunk, None)));
        assert_eq!(gateway.got(&log, socket), [format!("rejected {code}")], "{chunk}");
    }
    assert!(gateway.loads.is_empty());
    gateway.input(driftless_gateway_core::Input::Request(socket, request::Body::Submit(proto::Submit::default())));
    gateway.request(socket, untrack("nothing at all"));
    gateway.request(socket, refresh("tape/1", 0));
    assert_eq!(gateway.got(&log, socket), ["refused WRONG_SERVICE", "refused NOT_TRACKED", "refused NOT_TRACKED"]);

    let many = gateway.join(writer(2));
    for i in 0..4096 {
        gateway.request(many, track(&format!("tape/{i}"), None));
    }
    gateway.request(many, track("tape/4096", None));
    gateway.request(many, track("tape/1", None));
    assert_eq!(gateway.got(&log, many), ["rejected TOO_MANY"]);
}

#[test]
fn untrack_ends_tracking_even_before_the_answer() {
    let (mut log, mut owner) = log(1);
    let mut gateway = all(&log, settings());
    let (one, two) = (gateway.join(writer(1)), gateway.join(writer(2)));
    gateway.request(one, track(C, None));
    gateway.request(two, track(C, None));
    gateway.request(one, untrack(C));
    gateway.load(&log);
    assert!(gateway.got(&log, one).is_empty());
    gateway.got(&log, two);
    gateway.request(two, untrack(C));
    write(&mut log, &mut owner, C, writer(2), &["a", "x"]);
    gateway.read(&log, usize::MAX);
    assert!(gateway.got(&log, two).is_empty() && gateway.got(&log, one).is_empty());
    gateway.leave(one);
    gateway.leave(two);
    assert_eq!(gateway.hub.sockets(), 0);
}

#[test]
fn refresh_is_answered_from_the_ring_or_with_a_chunk() {
    let (mut log, mut owner) = log(3);
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    gateway.request(socket, refresh(C, 1));
    assert_eq!(gateway.got(&log, socket), ["updates 2-2", "updates 3-3"]);
    gateway.request(socket, refresh(C, 3));
    assert!(gateway.got(&log, socket).is_empty());
    let snapshot = log.snapshot(C);
    owner.notice(&mut log, C, &snapshot);
    let texts: Vec<String> = (0..70).map(|i| format!("t{i}")).collect();
    write(&mut log, &mut owner, C, writer(2), &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let snapshot = log.snapshot(C);
    owner.notice(&mut log, C, &snapshot);
    gateway.read(&log, usize::MAX);
    gateway.got(&log, socket);
    gateway.request(socket, refresh(C, 8));
    assert_eq!(gateway.got(&log, socket), ["tracked 73", "chunk 73"], "64 records are kept: 10 to 73");
    gateway.request(socket, refresh(C, 9));
    assert_eq!(gateway.got(&log, socket).len(), 64);
    gateway.request(socket, refresh(C, 74));
    assert_eq!(gateway.got(&log, socket), ["tracked 73", "chunk 73"]);
}
