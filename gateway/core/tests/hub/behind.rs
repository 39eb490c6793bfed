//! R12: clients whose state is newer than the gateway's.

use super::{C, all, log};
use driftless_scenes::gateway::*;
use driftless_schemas::close;

#[test]
fn r12_a_client_that_is_ahead_waits_until_the_gateway_has_caught_up() {
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
fn r12_a_waiting_repeated_track_gets_no_updates_of_the_previous_track() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    let socket = gateway.tracker(&log, writer(1), C);
    write(&mut log, &mut owner, C, writer(1), &["a", "b", "x"]);
    // The client got a newer state from another gateway.
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
fn r12_a_client_that_waits_too_long_is_sent_to_another_gateway() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    write(&mut log, &mut owner, C, writer(1), &["a"]);
    let have = log.have(C);
    let ahead = gateway.join(writer(1));
    gateway.request(ahead, track(C, Some(have)));
    gateway.tick(4_000);
    // Once the chunk is loaded, the hub can tell that its state is older than the client's.
    gateway.load_all(&log);
    gateway.tick(4_999);
    assert_eq!(gateway.clients[&ahead].closed, None);
    gateway.tick(1);
    assert_eq!(gateway.clients[&ahead].closed, Some(close::BEHIND));
    // A closing socket gets nothing more, even if the gateway catches up before the socket is gone.
    gateway.read(&log, usize::MAX);
    gateway.request(ahead, track(C, None));
    gateway.leave(ahead);
    assert_eq!(gateway.hub.sockets(), 0);
}
