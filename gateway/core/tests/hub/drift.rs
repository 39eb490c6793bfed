//! Drift (R10), failed loads, renewed tokens, and questions over HTTP.

use super::{C, all, log};
use driftless_gateway_core::{Answer, Ask, Settings, Status};
use driftless_scenes::gateway::*;
use driftless_schemas::access::Access;
use driftless_schemas::{Hash, Seq, Version};

#[test]
fn r10_a_drifted_replica_is_rebuilt_and_all_trackers_get_a_fresh_chunk() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    let (one, two) = (gateway.tracker(&log, writer(1), C), gateway.tracker(&log, writer(2), C));
    write(&mut log, &mut owner, C, writer(1), &["a"]);
    log.command(C, writer(2), "x");
    owner.decide(&mut log, C, 9, false);
    drifting(|| gateway.read(&log, usize::MAX));
    assert_eq!(gateway.drifts.len(), 1);
    assert!(gateway.got(&log, one).is_empty(), "nothing of a drifted replica is sent");
    gateway.load(&log);
    for socket in [one, two] {
        assert_eq!(gateway.got(&log, socket), ["tracked 3", "chunk 3"]);
    }
    assert_eq!(gateway.held(two, C).known, [(1, false)].into());
    write(&mut log, &mut owner, C, writer(1), &["b"]);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.got(&log, two), ["updates 4-4"]);
}

#[test]
fn r10_a_snapshot_that_differs_from_the_log_is_detected_as_drift() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    let mut other = log.truth(C).clone();
    drifting(|| other.replica.fold(b"?").unwrap());
    let mut wrong = Snapshot::of(&mut other);
    wrong.stored.version = Version(2);
    owner.notice(&mut log, C, &wrong);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.drifts.len(), 1);
    gateway.loaded(Ok(Some(wrong.loaded())));
    // The gateway has detected the drift, and now takes the stored snapshot in place of the content
    // that it computed from the log. Its message `Tracked` therefore names the snapshot's hash, and
    // the client loads the content again.
    log.hashes.insert((id(C), 2), other.replica.hash());
    gateway.held(socket, C).replica = None;
    assert_eq!(gateway.got(&log, socket), ["tracked 2", "chunk 2"]);
    assert_eq!(gateway.held(socket, C).have().unwrap().hash, wrong.stored.hash.to_bytes());
}

#[test]
fn a_failed_load_is_retried_and_then_reported() {
    let (log, _) = log(2);
    let mut gateway = all(&log, Settings { load_attempts_max: 3, ..settings() });
    let socket = gateway.join(writer(1));
    gateway.request(socket, track(C, None));
    gateway.ask(1, C, Ask::Content);
    for attempt in 1..=3 {
        assert_eq!(gateway.loads.len(), 1);
        gateway.loaded(Err("no store".into()));
        gateway.tick(499);
        assert!(gateway.loads.is_empty());
        assert_eq!(gateway.answers.contains_key(&1), attempt == 3);
        gateway.tick(1);
    }
    assert!(gateway.loads.is_empty(), "no request waits any more");
    assert!(matches!(&gateway.answers[&1], Answer::Unavailable(why) if why.ends_with("its log says why")));
    assert_eq!(gateway.got(&log, socket), ["rejected UNAVAILABLE"]);
    gateway.request(socket, track(C, None));
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 2", "chunk 2"]);
}

#[test]
fn a_renewed_token_with_less_access_ends_tracking_of_what_it_does_not_cover() {
    let (mut log, mut owner) = log(1);
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    gateway.request(socket, track("tape/2", None));
    gateway.request(socket, track("tape/3", None));
    let access = Access { read: vec!["tape/3".into()], ..Access::default() };
    gateway.input(driftless_gateway_core::Input::Renewed(socket, access.into()));
    assert_eq!(gateway.got(&log, socket), ["rejected NO_READ_ACCESS", "rejected NO_READ_ACCESS"]);
    gateway.load_all(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 0", "chunk 0"], "the client still tracks the third chunk");
    write(&mut log, &mut owner, C, writer(1), &["a", "x"]);
    gateway.read(&log, usize::MAX);
    assert!(gateway.got(&log, socket).is_empty());
    gateway.input(driftless_gateway_core::Input::Request(socket, track(C, None)));
    assert_eq!(gateway.got(&log, socket), ["rejected NO_READ_ACCESS"]);
}

#[test]
fn a_questions_answer_is_taken_at_one_position() {
    let (mut log, mut owner) = log(2);
    write(&mut log, &mut owner, C, writer(1), &["x"]);
    let mut gateway = all(&log, settings());
    gateway.ask(1, C, Ask::Content);
    gateway.load(&log);
    let Answer::Content { version, hash, encoding } = &gateway.answers[&1] else { panic!() };
    assert_eq!((version.0, *hash), log.newest(C));
    assert_eq!(Hash::of(encoding), *hash);
    let mut status = |number: u64, by: u8, seq: u64| {
        gateway.ask(number, C, Ask::Status(writer(by), Seq(seq)));
        match &gateway.answers[&number] {
            Answer::Status(status, _) => status.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(status(2, 1, 2), Status::Committed(Some(Version(2))));
    assert!(matches!(status(3, 1, 3), Status::NotCommitted(Some(why)) if why.detail == "an x"));
    assert_eq!(status(4, 1, 4), Status::Unresolved);
    assert_eq!(status(5, 9, 1), Status::Unresolved);
}
