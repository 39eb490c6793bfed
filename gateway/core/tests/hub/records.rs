//! Records of `updates`: validity (R4), outcomes, and snapshots that trim the ring.

use super::{C, all, log};
use driftless_scenes::gateway::*;
use driftless_schemas::proto::{Decisions, UpdatesRecord, updates_record::Body};

#[test]
fn r4_records_of_a_replaced_owner_and_records_after_a_gap_do_not_count() {
    let (mut log, mut old) = log(2);
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    let mut zombie = old.clone();
    // A record is lost, so the records after it do not count.
    log.command(C, writer(2), "lost");
    old.decide(&mut log, C, 9, true);
    log.command(C, writer(2), "after the hole");
    old.decide(&mut log, C, 9, false);
    let mut new = log.owner();
    // The replaced owner continues, and stores a snapshot.
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
fn an_unreadable_record_degrades_its_partition_and_names_its_offset() {
    for value in [&b"\xff\xff"[..], &[0x78, 1]] {
        let (mut log, _) = log(2);
        log.records.push(value.to_vec().into());
        let gateway = all(&log, settings());
        assert!(gateway.degraded.concat().starts_with("updates offset 3 cannot be read: "), "{:?}", gateway.degraded);
    }
    // Valid records with invalid content: no body, a chunk of no family, updates without entries.
    let decisions = |chunk_id: &str, updates: &'static [u8]| {
        Some(Body::Decisions(Decisions { chunk_id: chunk_id.into(), updates: updates.into(), marks: vec![] }))
    };
    for body in [None, decisions("town/1", b""), decisions(C, b"\x0a\x06tape/1")] {
        let (mut log, owner) = log(2);
        let record = UpdatesRecord { epoch: owner.epoch, n: owner.n + 1, body };
        log.records.push(prost::Message::encode_to_vec(&record).into());
        let gateway = all(&log, settings());
        assert_eq!(gateway.degraded.len(), 1, "{record:?}");
    }
}

#[test]
fn outcomes_go_only_to_their_writer_together_with_the_updates_of_their_record() {
    let (mut log, mut owner) = log(1);
    let mut gateway = all(&log, settings());
    let (one, two) = (gateway.tracker(&log, writer(1), C), gateway.tracker(&log, writer(2), C));
    for (by, text) in [(1, "a"), (2, "x"), (1, "x"), (2, "b")] {
        log.command(C, writer(by), text);
    }
    log.too_early(C, writer(1));
    owner.decide(&mut log, C, 9, false);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.clients[&one].pipe.len(), 1, "one frame in one turn");
    assert_eq!(gateway.got(&log, one), ["updates 2-3", "discarded 3", "out of order 12"]);
    assert_eq!(gateway.got(&log, two), ["updates 2-3", "discarded 1"]);
    // Other clients get nothing of a record that commits nothing.
    log.command(C, writer(1), "x");
    owner.decide(&mut log, C, 9, false);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.got(&log, one), ["discarded 4"]);
    assert!(gateway.got(&log, two).is_empty());
}

#[test]
fn a_snapshot_trims_by_offset_and_an_older_ref_is_loaded_again() {
    let (mut log, mut owner) = log(2);
    // Discards do not raise the version, so both refs have the same version. Only the offset shows
    // that the second ref covers the discards.
    let old = log.snapshot(C);
    write(&mut log, &mut owner, C, writer(1), &["x", "x"]);
    let mut gateway = all(&log, settings());
    let socket = gateway.join(writer(1));
    gateway.request(socket, track(C, None));
    let stale = gateway.loads[0].clone();
    assert_eq!(stale.1, None, "no ref in the log yet, so the index decides");
    let new = log.snapshot(C);
    assert_eq!(new.stored.version, old.stored.version);
    owner.notice(&mut log, C, &new);
    gateway.read(&log, usize::MAX);
    // The load returns the older state, although the ring was trimmed for the newer one.
    gateway.loaded(Ok(Some(old.loaded())));
    assert!(gateway.got(&log, socket).is_empty(), "without the trimmed discards the ledger would be wrong");
    assert_eq!(gateway.loads[0].1, Some(new.stored.clone()), "the newer ref is loaded at once");
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 2", "chunk 2"]);
    assert_eq!(gateway.held(socket, C).known.len(), 4);

    // The load finds no stored state, although the ring was trimmed.
    let mut gateway = all(&log, settings());
    let socket = gateway.join(writer(1));
    gateway.request(socket, track(C, None));
    gateway.loaded(Ok(None));
    assert!(gateway.got(&log, socket).is_empty());
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 2", "chunk 2"]);
}

#[test]
fn an_older_ref_does_not_replace_a_newer_one() {
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
