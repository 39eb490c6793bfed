//! The order of answers, and how many of them a socket's queue holds.

use super::all;
use driftless_gateway_core::Settings;
use driftless_scenes::gateway::*;
use driftless_schemas::Hash;

#[test]
fn a_socket_with_many_requests_gets_answers_only_as_its_queue_drains() {
    let mut log = Log::new();
    let mut owner = log.owner();
    let chunks: Vec<String> = (0..40).map(|i| format!("tape/{i}")).collect();
    for chunk in &chunks {
        // A hash in hexadecimal does not compress much, so the content stays large.
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
        // A repeated Track replaces the waiting one.
        gateway.request(greedy, track(chunk, None));
        gateway.request(greedy, refresh(chunk, 0));
    }
    let waiting =
        |gateway: &Gateway| -> usize { gateway.clients[&greedy].pipe.iter().flatten().map(|f| f.len()).sum() };
    // At most: a full queue (1000 bytes), one answer that exceeds the limit (500), and a Lagging of
    // 20 bytes for each request.
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
fn answers_come_in_the_order_of_the_requests_in_whatever_order_chunks_load() {
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
    assert!(gateway.got(&log, socket).is_empty(), "tape/4 and tape/2 wait for the chunks before them");
    assert!(!gateway.held(socket, "tape/4").is_followed);
    // An untracked chunk is not sent, and blocks no answer.
    gateway.request(socket, untrack("tape/4"));
    gateway.load_now(&log, second);
    assert!(gateway.got(&log, socket).is_empty());
    gateway.load_now(&log, first);
    assert_eq!(gateway.tracked_in_order(&log, socket), ["tape/3", "tape/1", "tape/2"]);
    assert_eq!(gateway.held(socket, "tape/4").version(), None);
}

#[test]
fn a_failed_load_does_not_block_later_answers() {
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
    assert!(gateway.lagging_ended.is_empty(), "a chunk that was never sent does not lag");
}
