//! A partition begins a new history: the gateway serves nothing of the old one, and no client takes
//! a state of one history for a state of another (R12, docs/decisions/0018).

use super::{C, all, log};
use driftless_chunk::recognition::Known;
use driftless_gateway_core::{Fault, Input, Joined, Opened, SocketId, Standing};
use driftless_scenes::gateway::*;
use driftless_schemas::access::Access;
use driftless_schemas::proto::Have;
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{HistoryId, Offset, Print, close};

fn history(time_ms: u64) -> HistoryId {
    HistoryId::new(time_ms, [1; 10], HistoryId::FIRST)
}

/// Adds a client that does not know histories.
fn join_old(gateway: &mut Gateway) -> SocketId {
    let access = Access { read: vec!["tape/".into()], ..Access::default() };
    gateway.join_as(Joined {
        user: "ann".into(),
        writer: writer(3),
        access: access.into(),
        families: None,
        features: 0,
        bucket: None,
    })
}

#[test]
fn r12_after_a_new_history_the_gateway_waits_for_the_index_and_sends_whole_contents() {
    let (mut log, _) = log(2);
    let mut gateway = all(&log, settings());
    let tracker = gateway.tracker(&log, writer(1), C);
    let old = join_old(&mut gateway);
    gateway.request(old, track(C, None));
    gateway.load_all(&log);
    gateway.got(&log, old);
    log.owner_with(history(7));
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.got(&log, tracker), ["rejected UNAVAILABLE"]);
    assert_eq!(gateway.clients[&old].closed, Some(close::HISTORY), "it could not tell the histories apart");
    assert!(matches!(&gateway.hub.standings().0[..], [Standing::Degraded(Fault::History(h))] if *h == history(7)));

    // The checkpoint does not name the new history yet, because the chunk is not stored.
    gateway.tick(1_000);
    gateway.open(&log);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.recovered, 0);
    log.snapshot(C);
    gateway.tick(10_000);
    gateway.open(&log);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.recovered, 1);

    // The client's state has the same version and hash, and belongs to the old history all the
    // same.
    let have = gateway.held(tracker, C).have();
    gateway.request(tracker, track(C, have.clone()));
    gateway.load_all(&log);
    assert_eq!(gateway.got(&log, tracker), ["tracked 2", "chunk 2"]);
    assert_eq!(gateway.held(tracker, C).history, history(7));
    let have = have.map(|have| Have { history: history(7).to_field(), ..have });
    gateway.request(tracker, track(C, have));
    assert_eq!(gateway.got(&log, tracker), ["tracked 2"]);
}

#[test]
fn r12_a_client_of_a_later_history_waits_until_the_gateway_has_read_of_it() {
    let (mut log, _) = log(2);
    let mut gateway = all(&log, settings());
    gateway.tracker(&log, writer(1), C);
    let socket = gateway.join(writer(2));
    let have = Have { history: history(7).to_field(), ..log.have(C) };
    gateway.request(socket, track(C, Some(have)));
    assert!(gateway.got(&log, socket).is_empty());
    gateway.tick(settings().behind_max_ms);
    assert_eq!(gateway.clients[&socket].closed, Some(close::BEHIND));
}

#[test]
fn r12_a_client_that_does_not_know_histories_is_closed_if_its_state_may_be_of_an_earlier_one() {
    let (mut log, _) = log(2);
    log.owner_with(history(7));
    log.snapshot(C);
    let mut gateway = Gateway::new(&log, settings(), log.records.len());
    let old = join_old(&mut gateway);
    gateway.request(old, track(C, Some(Have { version: 60, ..log.have(C) })));
    gateway.load_all(&log);
    gateway.tick(settings().behind_max_ms);
    assert_eq!(gateway.clients[&old].closed, Some(close::HISTORY));
}

/// A topic that was made anew may hold any record of an old producer at that place. Without the
/// comparison, a gateway whose view is of the old log would pass the fence that began the history.
#[test]
fn r12_a_record_that_is_not_the_newest_one_which_the_index_knows_belongs_to_another_log() {
    let (log, _) = log(2);
    let position = log.positions[3];
    let end = Offset(log.records.len() as i64);
    for (is_own, value) in [(true, log.records[end.0 as usize - 1].clone()), (false, log.records[1].clone())] {
        let print = Print::of(&log.records[end.0 as usize - 1]);
        let checkpoint = Checkpoint { updates_end: end, updates_print: Some(print), ..Checkpoint::default() };
        let mut gateway = Gateway::new(&log, settings(), 3);
        gateway.fail();
        gateway.tick(1_000);
        let known = Known::of_updates_end(&checkpoint);
        let opened = Opened { position, low: Offset(0), high: end, known_end: end, known };
        gateway.input(Input::Opened(P, opened));
        gateway.input(Input::Records(P, vec![(Offset(end.0 - 1), value)]));
        let is_another = matches!(gateway.hub.standings().0[..], [Standing::Degraded(Fault::AnotherLog { .. })]);
        assert_eq!(is_another, !is_own);
    }
}

/// The record below the position at which the hub begins is given to it as well.
#[test]
fn a_log_whose_record_below_the_position_is_of_a_later_owner_is_another_log() {
    for (owners, is_own) in [(1, true), (2, false)] {
        let (mut log, _) = log(2);
        let position = log.positions[3];
        let mut other = Log::new();
        for _ in 0..owners {
            other.owner();
        }
        let mut gateway = Gateway::new(&log, settings(), 3);
        let below = Offset(position.offset.0 - 1);
        gateway.input(Input::Records(P, vec![(below, other.records.pop().unwrap())]));
        let is_another = matches!(gateway.hub.standings().0[..], [Standing::Degraded(Fault::AnotherLog { .. })]);
        assert_eq!(is_another, !is_own);
        log.owner();
    }
}
