//! Beacons: the version and hash of quiet chunks, sent round robin within a byte budget.

use super::all;
use driftless_gateway_core::Settings;
use driftless_scenes::gateway::*;

#[test]
fn beacons_go_round_robin_to_quiet_chunks_and_not_to_sockets_that_take_nothing() {
    let mut log = Log::new();
    let mut owner = log.owner();
    for chunk in ["tape/1", "tape/2", "tape/3"] {
        write(&mut log, &mut owner, chunk, writer(1), &["a"]);
    }
    // Each interval sends two beacons: one takes about 50 bytes, so the second one uses up the
    // budget of 60.
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
    assert!(gateway.got(&log, socket).is_empty(), "the first beacons come later");
    gateway.tick(1001);
    assert_eq!(gateway.got(&log, socket), ["beacon 1"], "no beacons for chunks without an answer yet");
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
    assert_eq!(gateway.got(&log, socket), ["beacon 1", "beacon 1"], "a chunk with recent updates gets no beacon");
    gateway.tick(1000);
    gateway.tick(1000);
    assert!(gateway.got(&log, socket).contains(&"beacon 2".into()));
    for _ in 0..1000 {
        gateway.tick(1000);
    }
    assert!(gateway.clients[&socket].pipe.len() < 10, "a socket that takes nothing gets no more beacons");
    gateway.take_all(&log, socket);
}
