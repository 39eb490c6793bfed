//! Slow sockets: their chunks lag and catch up without a gap (R9).

use super::{C, all, log};
use driftless_gateway_core::Settings;
use driftless_scenes::gateway::*;
use driftless_schemas::limits;

/// Settings with a short queue for each socket.
fn narrow() -> Settings {
    Settings { socket_queue_bytes_max: 200, ..settings() }
}

#[test]
fn r9_a_slow_socket_lags_and_catches_up_without_a_gap() {
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
    let lagging = got.iter().position(|what| what == "lagging").expect("the chunk lags");
    let missed: Vec<String> = (lagging as u64 + 2..=7).map(|v| format!("updates {v}-{v}")).collect();
    assert_eq!(got[lagging + 1], "tracked 7");
    assert_eq!(got[lagging + 2..], missed, "updates from the client's state when the chunk began to lag");
    assert_eq!(gateway.held(slow, C).known.len(), 8, "also the outcome of the command discarded meanwhile");
    assert_eq!(gateway.held(slow, C).version(), Some(7));
}

/// Many sockets that take nothing share one budget. A socket that takes its bytes is served.
#[test]
fn r9_queues_of_all_sockets_together_have_a_budget() {
    let (mut log, mut owner) = log(1);
    let budget = 8 * 40_000;
    assert!(budget / 8 > limits::OUTPUT_FREE_BYTES);
    let set = Settings { socket_queue_bytes_max: 1 << 20, output_bytes_max: Some(budget), ..settings() };
    let mut gateway = all(&log, set);
    let slow: Vec<_> = (0..8).map(|i| gateway.tracker(&log, writer(10 + i), C)).collect();
    let quick = gateway.tracker(&log, writer(2), C);
    let text = "x".repeat(1_000);
    for i in 0..100 {
        write(&mut log, &mut owner, C, writer(1), &[&format!("{i}{text}")]);
        gateway.read(&log, usize::MAX);
        assert_eq!(gateway.got(&log, quick), [format!("updates {}-{}", i + 2, i + 2)]);
    }
    let most = budget + 18 * text.len();
    assert!(gateway.hub.queued_bytes() <= most, "{} of {most}", gateway.hub.queued_bytes());
    assert!(gateway.hub.lagging() > 0);
    for socket in slow {
        gateway.got(&log, socket);
        assert_eq!(gateway.held(socket, C).version(), Some(101));
    }
    assert_eq!((gateway.hub.queued_bytes(), gateway.hub.lagging()), (0, 0));
}

#[test]
fn r9_a_lagging_client_gets_a_chunk_if_the_ring_no_longer_has_the_updates() {
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
fn a_lagging_chunk_may_be_untracked_tracked_again_or_rebuilt() {
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
            // The frames before the new answer belong to the old Track, so the client still accepts
            // them.
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
fn a_refresh_of_a_lagging_chunk_is_answered_when_it_no_longer_lags() {
    let (mut log, mut owner) = log(1);
    let mut gateway = all(&log, narrow());
    let slow = gateway.tracker(&log, writer(2), C);
    while !gateway.clients[&slow].pipe.iter().flatten().any(|frame| frame.windows(2).any(|two| two == [0xb2, 1])) {
        write(&mut log, &mut owner, C, writer(1), &["a"]);
        gateway.read(&log, usize::MAX);
    }
    // The client takes one frame, so the queue has room for an answer.
    gateway.take(&log, slow);
    gateway.request(slow, refresh(C, 1));
    let got = gateway.got(&log, slow);
    let lagging = got.iter().position(|what| what == "lagging").unwrap();
    assert!(got[lagging + 1].starts_with("tracked"), "{got:?}");
    assert_eq!(got.iter().filter(|what| what.starts_with("tracked")).count(), 1, "{got:?}");
}
