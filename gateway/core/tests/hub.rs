//! The hub, input by input.

use driftless_gateway_core::{Answer, Ask, Settings, Status};
use driftless_scenes::gateway::*;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{self, Decisions, Have, UpdatesRecord, request, updates_record::Body};
use driftless_schemas::{Hash, Seq, Version, close};

const C: &str = "tape/1";

/// A log with versions 1 to `count`, each in a record of its own, written by writer 1.
fn log(count: u64) -> (Log, Owner) {
    let mut log = Log::new();
    let mut owner = log.owner();
    for i in 1..=count {
        write(&mut log, &mut owner, C, writer(1), &[&format!("w{i}")]);
    }
    (log, owner)
}

fn all(log: &Log, settings: Settings) -> Gateway {
    let mut gateway = Gateway::new(log, settings, 0);
    gateway.read(log, usize::MAX);
    gateway
}

// ---- Track --------------------------------------------------------------------------------------------------------

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
    assert_eq!(gateway.loads.len(), 1, "one load for all who wait");
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
    assert!(gateway.loads.is_empty() && gateway.fatal.is_none());
}

#[test]
fn who_has_something_gets_what_is_missing_and_who_has_something_else_gets_a_chunk() {
    let (mut log, mut owner) = log(3);
    let have = log.have(C);
    write(&mut log, &mut owner, C, writer(1), &["a", "b"]);
    let newest = log.have(C);
    let mut gateway = all(&log, settings());
    gateway.tracker(&log, writer(2), C);
    let other = Have { version: 3, hash: Hash::of(b"?").to_bytes() };
    let same = Have { version: 5, hash: Hash::of(b"?").to_bytes() };
    let zero = Have { version: 0, hash: log.fresh(&id(C)).replica.hash().to_bytes() };
    for (have, expected) in [
        (Some(newest), &["tracked 5"][..]),
        (Some(have), &["tracked 5", "updates 4-4", "updates 5-5"]),
        (Some(other), &["tracked 5", "chunk 5"]),
        (Some(same), &["tracked 5", "chunk 5"]),
        (Some(zero), &["tracked 5", "chunk 5"]),
        (Some(Have { version: 4, hash: vec![1; 3].into() }), &["tracked 5", "chunk 5"]),
        (None, &["tracked 5", "chunk 5"]),
    ] {
        let socket = gateway.join(writer(3));
        // The client side of `have` is checked elsewhere: here it starts from the same state.
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
fn the_stored_snapshot_is_sent_as_it_is_with_the_updates_after_it() {
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
    // Updates that outweigh the content: the replica, encoded anew; and that for all who come later.
    let long = "l".repeat(250);
    write(&mut log, &mut owner, C, writer(1), &[long.as_str(); 12]);
    gateway.read(&log, usize::MAX);
    for _ in 0..2 {
        let two = gateway.join(writer(2));
        gateway.request(two, track(C, None));
        assert_eq!(gateway.got(&log, two), ["tracked 17", "chunk 17"]);
    }
    // Likewise for who has something: whichever is smaller.
    let three = gateway.join(writer(2));
    let mut have = snapshot.loaded();
    gateway.request(three, track(C, Some(Have { version: 3, hash: have.stored.hash.split_to(32) })));
    assert_eq!(gateway.got(&log, three), ["tracked 17", "chunk 17"]);
    write(&mut log, &mut owner, C, writer(1), &["c"]);
    gateway.read(&log, usize::MAX);
    let four = gateway.join(writer(2));
    gateway.request(four, track(C, None));
    assert_eq!(gateway.got(&log, four), ["tracked 18", "chunk 17", "updates 18-18"]);
}

#[test]
fn a_ref_that_is_ahead_of_this_gateway_does_no_harm() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    write(&mut log, &mut owner, C, writer(1), &["a", "x", "b"]);
    log.snapshot(C);
    let one = gateway.join(writer(1));
    gateway.request(one, track(C, None));
    // The index has what this gateway has not read of yet.
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
fn a_track_that_is_not_allowed_or_not_possible_says_why() {
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
fn untrack_ends_it_also_before_the_answer() {
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
fn refresh_comes_from_the_ring_or_as_a_chunk() {
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

// ---- The log ------------------------------------------------------------------------------------------------------

#[test]
fn r4_what_a_replaced_owner_writes_and_what_follows_a_hole_counts_for_nobody() {
    let (mut log, mut old) = log(2);
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    let mut zombie = old.clone();
    // A hole: nothing after it counts.
    log.command(C, writer(2), "lost");
    old.decide(&mut log, C, 9, true);
    log.command(C, writer(2), "after the hole");
    old.decide(&mut log, C, 9, false);
    let mut new = log.owner();
    // The replaced owner goes on, and stores, too.
    log.command(C, writer(3), "contested");
    zombie.decide(&mut log, C, 9, false);
    let truth = Snapshot::of(&mut log.fresh(&id(C)));
    zombie.notice(&mut log, C, &truth);
    gateway.read(&log, usize::MAX);
    assert!(gateway.got(&log, socket).is_empty());
    new.decide(&mut log, C, 9, false);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.got(&log, socket), ["updates 3-5"]);
    let newest = log.have(C);
    assert_eq!(gateway.held(socket, C).have(), Some(newest));
    assert_eq!(gateway.hub.position(P), log.positions.last().copied());
}

#[test]
fn what_cannot_be_read_stops_the_gateway_with_its_place() {
    for value in [&b"\xff\xff"[..], &[0x78, 1]] {
        let (mut log, _) = log(2);
        log.records.push(value.to_vec().into());
        let gateway = all(&log, settings());
        assert!(gateway.fatal.is_some_and(|why| why.contains("dev.1.updates[0] offset 3")));
    }
    // A valid record whose inside is not: no body, a chunk without a place, updates without entries.
    let decisions = |chunk_id: &str, updates: &'static [u8]| {
        Some(Body::Decisions(Decisions { chunk_id: chunk_id.into(), updates: updates.into(), marks: vec![] }))
    };
    for body in [None, decisions("town/1", b""), decisions(C, b"\x0a\x06tape/1")] {
        let (mut log, owner) = log(2);
        let record = UpdatesRecord { epoch: owner.epoch, n: owner.n + 1, body };
        log.records.push(prost::Message::encode_to_vec(&record).into());
        let gateway = all(&log, settings());
        assert!(gateway.fatal.is_some(), "{record:?}");
    }
}

#[test]
fn outcomes_go_to_their_writer_only_and_with_the_updates_of_their_record() {
    let (mut log, mut owner) = log(1);
    let mut gateway = all(&log, settings());
    let (one, two) = (gateway.tracker(&log, writer(1), C), gateway.tracker(&log, writer(2), C));
    for (by, text) in [(1, "a"), (2, "x"), (1, "x"), (2, "b")] {
        log.command(C, writer(by), text);
    }
    log.too_early(C, writer(1));
    owner.decide(&mut log, C, 9, false);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.clients[&one].pipe.len(), 1, "in one turn");
    assert_eq!(gateway.got(&log, one), ["updates 2-3", "discarded 3", "out of order 12"]);
    assert_eq!(gateway.got(&log, two), ["updates 2-3", "discarded 1"]);
    // A record that commits nothing concerns nobody else.
    log.command(C, writer(1), "x");
    owner.decide(&mut log, C, 9, false);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.got(&log, one), ["discarded 4"]);
    assert!(gateway.got(&log, two).is_empty());
}

#[test]
fn a_snapshot_trims_by_offset_and_a_ref_from_below_is_read_again() {
    let (mut log, mut owner) = log(2);
    // Discards move no version: the first ref covers them only by its offset.
    let old = log.snapshot(C);
    write(&mut log, &mut owner, C, writer(1), &["x", "x"]);
    let mut gateway = all(&log, settings());
    let socket = gateway.join(writer(1));
    gateway.request(socket, track(C, None));
    let stale = gateway.loads[0].clone();
    assert_eq!(stale.1, None, "the log has named no ref yet: the index is asked");
    let new = log.snapshot(C);
    assert_eq!(new.stored.version, old.stored.version);
    owner.notice(&mut log, C, &new);
    gateway.read(&log, usize::MAX);
    // The load comes back with the older one, below which the ring is gone.
    gateway.loaded(Ok(Some(old.loaded())));
    assert!(gateway.got(&log, socket).is_empty(), "without the discards the ledger would be wrong");
    assert_eq!(gateway.loads[0].1, Some(new.stored.clone()), "at once");
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 2", "chunk 2"]);
    assert_eq!(gateway.held(socket, C).known.len(), 4);

    // And nothing stored at all where something was trimmed.
    let mut gateway = all(&log, settings());
    let socket = gateway.join(writer(1));
    gateway.request(socket, track(C, None));
    gateway.loaded(Ok(None));
    assert!(gateway.got(&log, socket).is_empty());
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 2", "chunk 2"]);
}

#[test]
fn an_older_notice_does_not_replace_a_newer_one() {
    let (mut log, mut owner) = log(2);
    let old = log.snapshot(C);
    write(&mut log, &mut owner, C, writer(1), &["a"]);
    let new = log.snapshot(C);
    owner.notice(&mut log, C, &new);
    owner.notice(&mut log, C, &old);
    let mut gateway = all(&log, settings());
    let socket = gateway.join(writer(1));
    gateway.request(socket, track(C, None));
    assert_eq!(gateway.loads[0].1, Some(new.stored));
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 3", "chunk 3"]);
}

// ---- Slow sockets -------------------------------------------------------------------------------------------------

fn narrow() -> Settings {
    Settings { socket_queue_bytes_max: 200, ..settings() }
}

#[test]
fn r9_a_slow_socket_lags_and_is_brought_up_to_date_without_a_gap() {
    let (mut log, mut owner) = log(1);
    let mut gateway = all(&log, narrow());
    let (slow, quick) = (gateway.tracker(&log, writer(1), C), gateway.tracker(&log, writer(2), C));
    for i in 0..6 {
        write(&mut log, &mut owner, C, writer(1), &[&format!("a{i}")]);
        gateway.read(&log, usize::MAX);
        assert_eq!(gateway.got(&log, quick), [format!("updates {}-{}", i + 2, i + 2)]);
    }
    write(&mut log, &mut owner, C, writer(1), &["x"]);
    gateway.read(&log, usize::MAX);
    let got = gateway.got(&log, slow);
    let lagging = got.iter().position(|what| what == "lagging").expect("it lags");
    let missed: Vec<String> = (lagging as u64 + 2..=7).map(|v| format!("updates {v}-{v}")).collect();
    assert_eq!(got[lagging + 1], "tracked 7");
    assert_eq!(got[lagging + 2..], missed, "from what it had when it began to lag");
    assert_eq!(gateway.held(slow, C).known.len(), 8, "also what was discarded meanwhile");
    assert_eq!(gateway.held(slow, C).version(), Some(7));
}

#[test]
fn r9_a_lagging_chunk_that_changed_much_comes_as_a_chunk() {
    let (mut log, mut owner) = log(1);
    let mut gateway = all(&log, Settings { ring_kept: 1, ..narrow() });
    let slow = gateway.tracker(&log, writer(1), C);
    write(&mut log, &mut owner, C, writer(1), &["a", "b", "c", "d", "e"]);
    let snapshot = log.snapshot(C);
    owner.notice(&mut log, C, &snapshot);
    gateway.read(&log, usize::MAX);
    let got = gateway.got(&log, slow);
    assert_eq!(got[got.len() - 3..], ["lagging", "tracked 6", "chunk 6"]);
}

#[test]
fn what_lags_may_be_untracked_tracked_anew_or_rebuilt() {
    for what in 0..3 {
        let (mut log, mut owner) = log(1);
        let mut gateway = all(&log, narrow());
        let slow = gateway.tracker(&log, writer(1), C);
        write(&mut log, &mut owner, C, writer(1), &["a", "b", "c", "d", "e"]);
        gateway.read(&log, usize::MAX);
        match what {
            0 => gateway.request(slow, untrack(C)),
            1 => gateway.request(slow, track(C, None)),
            _ => {
                write(&mut log, &mut owner, C, writer(1), &["f"]);
                drifting(|| gateway.read(&log, usize::MAX));
                assert_eq!(gateway.drifts.len(), 1);
                gateway.load(&log);
            }
        }
        if what == 1 {
            // The frames before the new Track are of the old tracking.
            gateway.held(slow, C).is_followed = true;
        }
        let got = gateway.got(&log, slow);
        let tracked = got.iter().filter(|what| what.starts_with("tracked")).count();
        assert_eq!(tracked, usize::from(what != 0), "{got:?}");
        write(&mut log, &mut owner, C, writer(1), &["g"]);
        gateway.read(&log, usize::MAX);
        let last = gateway.got(&log, slow);
        assert_eq!(last.len(), usize::from(what != 0), "{last:?}");
    }
}

#[test]
fn a_refresh_of_what_lags_waits_for_the_end_of_lagging() {
    let (mut log, mut owner) = log(1);
    let mut gateway = all(&log, narrow());
    let slow = gateway.tracker(&log, writer(2), C);
    while !gateway.clients[&slow].pipe.iter().flatten().any(|frame| frame.windows(2).any(|two| two == [0xb2, 1])) {
        write(&mut log, &mut owner, C, writer(1), &["a"]);
        gateway.read(&log, usize::MAX);
    }
    // One frame less than full: there would be room for an answer.
    gateway.take(&log, slow);
    gateway.request(slow, refresh(C, 1));
    let got = gateway.got(&log, slow);
    let lagging = got.iter().position(|what| what == "lagging").unwrap();
    assert!(got[lagging + 1].starts_with("tracked"), "{got:?}");
    assert_eq!(got.iter().filter(|what| what.starts_with("tracked")).count(), 1, "{got:?}");
}

#[test]
fn one_socket_that_asks_for_much_is_served_bit_by_bit() {
    let mut log = Log::new();
    let mut owner = log.owner();
    let chunks: Vec<String> = (0..40).map(|i| format!("tape/{i}")).collect();
    for chunk in &chunks {
        // Random enough that it cannot be compressed much.
        let hash = Hash::of(chunk.as_bytes()).to_string();
        write(&mut log, &mut owner, chunk, writer(1), &[&hash, &hash[1..], &hash[2..]]);
    }
    let mut gateway = all(&log, Settings { socket_queue_bytes_max: 1000, ..settings() });
    let warm = gateway.join(writer(2));
    for chunk in &chunks {
        gateway.request(warm, track(chunk, None));
        gateway.load(&log);
        gateway.take_all(&log, warm);
    }
    let greedy = gateway.join(writer(3));
    for chunk in &chunks {
        gateway.request(greedy, track(chunk, None));
        // Again and again: it replaces what waits.
        gateway.request(greedy, track(chunk, None));
        gateway.request(greedy, refresh(chunk, 0));
    }
    let waiting =
        |gateway: &Gateway| -> usize { gateway.clients[&greedy].pipe.iter().flatten().map(|f| f.len()).sum() };
    // A queue, one answer over it, and a word (Lagging) for each request.
    assert!(waiting(&gateway) < 1000 + 500 + 40 * 3 * 20, "{}", waiting(&gateway));
    let mut most = 0;
    while gateway.take(&log, greedy) {
        most = most.max(waiting(&gateway));
    }
    assert!(most < 1000 + 500 + 40 * 3 * 20, "{most}");
    for chunk in &chunks {
        assert_eq!(gateway.held(greedy, chunk).version(), Some(3), "{chunk}");
        assert!(gateway.held(greedy, chunk).is_followed);
    }
}

#[test]
fn answers_come_in_the_order_of_the_requests_whatever_is_loaded_first() {
    let mut log = Log::new();
    let mut owner = log.owner();
    let chunks = ["tape/3", "tape/1", "tape/4", "tape/2"];
    for chunk in chunks {
        write(&mut log, &mut owner, chunk, writer(1), &["a"]);
    }
    let mut gateway = all(&log, settings());
    let socket = gateway.join(writer(2));
    for chunk in chunks {
        gateway.request(socket, track(chunk, None));
    }
    let first = gateway.put_off_load();
    let second = gateway.put_off_load();
    gateway.load_all(&log);
    assert!(gateway.got(&log, socket).is_empty(), "tape/4 and tape/2 wait for those before them");
    assert!(!gateway.held(socket, "tape/4").is_followed);
    // What is untracked is not sent, and holds nobody up.
    gateway.request(socket, untrack("tape/4"));
    gateway.load_now(&log, second);
    assert!(gateway.got(&log, socket).is_empty());
    gateway.load_now(&log, first);
    assert_eq!(gateway.tracked_in_order(&log, socket), ["tape/3", "tape/1", "tape/2"]);
    assert_eq!(gateway.held(socket, "tape/4").version(), None);
}

#[test]
fn a_load_that_fails_holds_nobody_up() {
    let mut log = Log::new();
    let mut owner = log.owner();
    for chunk in ["tape/1", "tape/2"] {
        write(&mut log, &mut owner, chunk, writer(1), &["a"]);
    }
    let mut gateway = all(&log, settings());
    let socket = gateway.join(writer(2));
    gateway.request(socket, track("tape/1", None));
    gateway.request(socket, track("tape/2", None));
    gateway.loaded(Err("the store is away".into()));
    gateway.load(&log);
    assert_eq!(gateway.tracked_in_order(&log, socket), ["tape/2"]);
    gateway.tick(500);
    gateway.load(&log);
    assert_eq!(gateway.tracked_in_order(&log, socket), ["tape/1"]);
}

#[test]
fn a_thousand_chunks_are_tracked_without_a_long_queue() {
    let mut log = Log::new();
    let mut owner = log.owner();
    let chunks: Vec<String> = (0..1000).map(|i| format!("tape/{i}")).collect();
    for chunk in &chunks {
        write(&mut log, &mut owner, chunk, writer(1), &["a"]);
    }
    let mut gateway = all(&log, Settings { socket_queue_bytes_max: 4_000, ..settings() });
    let socket = gateway.join(writer(2));
    for chunk in &chunks {
        gateway.request(socket, track(chunk, None));
    }
    gateway.load_all(&log);
    let waiting: usize = gateway.clients[&socket].pipe.iter().flatten().map(|frame| frame.len()).sum();
    assert!(waiting < 2_000, "{waiting}");
    assert_eq!(gateway.tracked_in_order(&log, socket), chunks);
    assert!(gateway.lagging_ended.is_empty(), "nothing lags that was never sent");
}

// ---- Rings --------------------------------------------------------------------------------------------------------

#[test]
fn what_does_not_fit_into_the_rings_is_read_again_where_it_is_needed() {
    let (mut log, mut owner) = log(50);
    for i in 0..50 {
        write(&mut log, &mut owner, "tape/2", writer(1), &[&format!("other {i}")]);
    }
    let set = Settings { rings_bytes_max: 10_000, ..settings() };
    let mut gateway = all(&log, set);
    assert!(gateway.hub.ring_bytes() <= 10_000, "{}", gateway.hub.ring_bytes());
    let socket = gateway.join(writer(2));
    for chunk in [C, "tape/2"] {
        gateway.request(socket, track(chunk, None));
        gateway.load(&log);
        assert_eq!(gateway.got(&log, socket), ["tracked 50", "chunk 50"]);
    }
    assert!(gateway.reread > 0);
    assert!(gateway.drifts.is_empty() && gateway.fatal.is_none());
    // What did not count the first time does not count the second time.
    let mut zombie = owner.clone();
    let mut owner = log.owner();
    log.command(C, writer(3), "contested");
    zombie.decide(&mut log, C, 9, false);
    owner.decide(&mut log, C, 9, false);
    let mut gateway = all(&log, Settings { rings_bytes_max: 0, ..settings() });
    let socket = gateway.join(writer(2));
    gateway.request(socket, track(C, None));
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 51", "chunk 51"]);
}

#[test]
fn who_resumes_from_what_was_given_up_gets_a_chunk() {
    let (log, _) = log(50);
    let set = Settings { rings_bytes_max: 4_000, ring_kept: 2, ..settings() };
    let mut gateway = all(&log, set);
    gateway.tracker(&log, writer(2), C);
    let socket = gateway.join(writer(3));
    let have = Have { version: 1, hash: log.hashes[&(id(C), 1)].to_bytes() };
    gateway.request(socket, track(C, Some(have)));
    assert_eq!(gateway.got(&log, socket), ["tracked 50", "chunk 50"]);
}

#[test]
fn beacons_name_what_was_sent_last_round_robin_and_not_to_who_takes_nothing() {
    let mut log = Log::new();
    let mut owner = log.owner();
    for chunk in ["tape/1", "tape/2", "tape/3"] {
        write(&mut log, &mut owner, chunk, writer(1), &["a"]);
    }
    // Two beacons of about 50 bytes each.
    let set =
        Settings { beacon_interval_ms: 1000, beacon_bytes_per_second: 60, socket_queue_bytes_max: 400, ..settings() };
    let mut gateway = all(&log, set);
    gateway.tick(5000);
    let socket = gateway.join(writer(2));
    for chunk in ["tape/1", "tape/2", "tape/3"] {
        gateway.request(socket, track(chunk, None));
    }
    gateway.load(&log);
    gateway.got(&log, socket);
    gateway.tick(999);
    assert!(gateway.got(&log, socket).is_empty(), "not at once");
    gateway.tick(1001);
    assert_eq!(gateway.got(&log, socket), ["beacon 1"], "nothing for chunks that are not answered yet");
    gateway.load_all(&log);
    gateway.got(&log, socket);
    gateway.tick(999);
    assert!(gateway.got(&log, socket).is_empty());
    gateway.tick(1);
    for _ in 0..3 {
        assert_eq!(gateway.got(&log, socket), ["beacon 1", "beacon 1"]);
        gateway.tick(1000);
    }
    gateway.got(&log, socket);
    write(&mut log, &mut owner, "tape/2", writer(1), &["b"]);
    gateway.tick(500);
    gateway.read(&log, usize::MAX);
    gateway.got(&log, socket);
    gateway.tick(500);
    assert_eq!(gateway.got(&log, socket), ["beacon 1", "beacon 1"], "what has news is not quiet");
    gateway.tick(1000);
    gateway.tick(1000);
    assert!(gateway.got(&log, socket).contains(&"beacon 2".into()));
    for _ in 0..1000 {
        gateway.tick(1000);
    }
    assert!(gateway.clients[&socket].pipe.len() < 10, "who takes nothing gets no more of them");
    gateway.take_all(&log, socket);
}

// ---- R12 ----------------------------------------------------------------------------------------------------------

#[test]
fn r12_who_is_ahead_waits_and_is_then_up_to_date() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    gateway.tracker(&log, writer(2), C);
    write(&mut log, &mut owner, C, writer(1), &["a", "b"]);
    let have = log.have(C);
    let ahead = gateway.join(writer(1));
    gateway.held(ahead, C).replica = Some(log.truth(C).replica.clone());
    gateway.request(ahead, track(C, Some(have)));
    gateway.read(&log, 1);
    gateway.tick(4_999);
    assert!(gateway.got(&log, ahead).is_empty());
    write(&mut log, &mut owner, C, writer(1), &["c"]);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.got(&log, ahead), ["tracked 4", "updates 5-5"]);
    gateway.tick(60_000);
    assert_eq!(gateway.clients[&ahead].closed, None);
}

#[test]
fn r12_who_tracks_anew_gets_nothing_of_the_old_tracking_while_it_waits() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    write(&mut log, &mut owner, C, writer(1), &["a", "b", "x"]);
    // By another gateway it came further than this one is.
    let have = log.have(C);
    gateway.held(socket, C).replica = Some(log.truth(C).replica.clone());
    gateway.request(socket, track(C, Some(have)));
    gateway.read(&log, 1);
    assert!(gateway.got(&log, socket).is_empty());
    gateway.read(&log, 1);
    assert_eq!(gateway.got(&log, socket), ["tracked 4"]);
    gateway.read(&log, 1);
    assert_eq!(gateway.got(&log, socket), ["discarded 5"]);
}

#[test]
fn r12_who_waits_too_long_is_sent_to_another_gateway() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    write(&mut log, &mut owner, C, writer(1), &["a"]);
    let have = log.have(C);
    let ahead = gateway.join(writer(1));
    gateway.request(ahead, track(C, Some(have)));
    gateway.tick(4_000);
    // From here on it is known that this gateway is behind.
    gateway.load_all(&log);
    gateway.tick(4_999);
    assert_eq!(gateway.clients[&ahead].closed, None);
    gateway.tick(1);
    assert_eq!(gateway.clients[&ahead].closed, Some(close::BEHIND));
    // Nothing more for it, also when the gateway has caught up before the socket is gone.
    gateway.read(&log, usize::MAX);
    gateway.request(ahead, track(C, None));
    gateway.leave(ahead);
    assert_eq!(gateway.hub.sockets(), 0);
}

// ---- Drift, loads, access -----------------------------------------------------------------------------------------

#[test]
fn r10_a_replica_that_drifts_is_rebuilt_and_all_trackers_get_a_fresh_chunk() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    let (one, two) = (gateway.tracker(&log, writer(1), C), gateway.tracker(&log, writer(2), C));
    write(&mut log, &mut owner, C, writer(1), &["a"]);
    log.command(C, writer(2), "x");
    owner.decide(&mut log, C, 9, false);
    drifting(|| gateway.read(&log, usize::MAX));
    assert_eq!(gateway.drifts.len(), 1);
    assert!(gateway.got(&log, one).is_empty(), "nothing of a replica that differs goes out");
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
fn r10_a_stored_snapshot_that_differs_from_the_log_is_noticed() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    let mut other = log.truth(C).clone();
    drifting(|| other.replica.fold(b"?").unwrap());
    let mut wrong = Snapshot::of(&mut other);
    wrong.stored.version = 2;
    owner.notice(&mut log, C, &wrong);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.drifts.len(), 1);
    gateway.loaded(Ok(Some(wrong.loaded())));
    // What everybody loads from now on counts: Tracked names its hash, and the client reloads.
    log.hashes.insert((id(C), 2), other.replica.hash());
    gateway.held(socket, C).replica = None;
    assert_eq!(gateway.got(&log, socket), ["tracked 2", "chunk 2"]);
    assert_eq!(gateway.held(socket, C).have().unwrap().hash, wrong.stored.hash);
}

#[test]
fn a_load_that_fails_is_tried_again_and_then_said() {
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
    assert!(gateway.loads.is_empty(), "nobody waits any more");
    assert!(matches!(&gateway.answers[&1], Answer::Unavailable(why) if why == "no store"));
    assert_eq!(gateway.got(&log, socket), ["rejected UNAVAILABLE"]);
    gateway.request(socket, track(C, None));
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 2", "chunk 2"]);
}

#[test]
fn what_the_renewed_token_does_not_read_is_taken_away() {
    let (mut log, mut owner) = log(1);
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    gateway.request(socket, track("tape/2", None));
    gateway.request(socket, track("tape/3", None));
    let access = Access { read: vec!["tape/3".into()], ..Access::default() };
    gateway.input(driftless_gateway_core::Input::Renewed(socket, access.into()));
    assert_eq!(gateway.got(&log, socket), ["rejected NO_READ_ACCESS", "rejected NO_READ_ACCESS"]);
    gateway.load_all(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 0", "chunk 0"], "the third is still wanted");
    write(&mut log, &mut owner, C, writer(1), &["a", "x"]);
    gateway.read(&log, usize::MAX);
    assert!(gateway.got(&log, socket).is_empty());
    gateway.input(driftless_gateway_core::Input::Request(socket, track(C, None)));
    assert_eq!(gateway.got(&log, socket), ["rejected NO_READ_ACCESS"]);
}

#[test]
fn a_replica_without_trackers_is_kept_for_a_while_and_nothing_leaks() {
    let mut log = Log::new();
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    gateway.tick(1_000_000);
    gateway.leave(socket);
    gateway.tick(29_000);
    let again = gateway.join(writer(1));
    gateway.request(again, track(C, None));
    assert_eq!(gateway.got(&log, again), ["tracked 0", "chunk 0"], "from the replica that is still here");
    gateway.leave(again);
    gateway.tick(30_000);
    assert_eq!((gateway.hub.chunks(), gateway.hub.sockets()), (0, 0));

    // A load that ends after everybody has left.
    let socket = gateway.join(writer(1));
    gateway.request(socket, track(C, None));
    gateway.leave(socket);
    gateway.tick(31_000);
    gateway.tick(31_000);
    gateway.load_all(&log);
    gateway.tick(31_000);
    assert_eq!(gateway.hub.chunks(), 0);

    // What is in the log stays known, but no replica: the next Track loads again.
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
fn questions_are_answered_from_one_position() {
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
            Answer::Status(status) => status.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(status(2, 1, 2), Status::Committed(Some(Version(2))));
    assert!(matches!(status(3, 1, 3), Status::NotCommitted(Some(why)) if why.detail == "an x"));
    assert_eq!(status(4, 1, 4), Status::Unresolved);
    assert_eq!(status(5, 9, 1), Status::Unresolved);
}

#[test]
fn what_nobody_tracks_is_kept_until_every_view_has_it() {
    let (mut log, mut owner) = log(2);
    let snapshot = log.snapshot(C);
    owner.notice(&mut log, C, &snapshot);
    let mut gateway = all(&log, settings());
    assert_eq!(gateway.hub.chunks(), 1);
    let noticed = gateway.now;
    gateway.input(driftless_gateway_core::Input::ViewsRenewed(noticed));
    assert_eq!(gateway.hub.chunks(), 1, "a view of that very moment may be older");
    gateway.input(driftless_gateway_core::Input::ViewsRenewed(noticed + 1));
    assert_eq!(gateway.hub.chunks(), 0);
}
