//! Arbitrary events in any order: owners that are replaced without noticing, lost records,
//! snapshots whose `SnapshotStored` comes late or never, a partition that cannot be read for a
//! while, loads that fail or bring an older or newer ref than the log, clients that come, go, lag,
//! refresh, and come back from a gateway that was ahead.
//!
//! The clients check every event (`driftless_scenes::gateway::Client`). At rest, each client has
//! the state that the valid records of the log lead to, and knows the outcome of each of its
//! commands.

use driftless_gateway_core::Settings;
use driftless_scenes::gateway::run::{CHUNKS, Run, Step};
use proptest::collection::vec;
use proptest::prelude::*;

fn step() -> impl Strategy<Value = Step> {
    let chunk = 0..CHUNKS.len();
    let socket = 0usize..8;
    prop_oneof![
        4 => (chunk.clone(), 1..4u8, 1..4usize, any::<u8>())
            .prop_map(|(chunk, writer, count, kind)| Step::Commands { chunk, writer, count, kind }),
        1 => (chunk.clone(), 1..4u8).prop_map(|(chunk, writer)| Step::TooEarly { chunk, writer }),
        6 => (0..3usize, chunk.clone(), 1..5usize, prop::bool::weighted(0.05))
            .prop_map(|(owner, chunk, count, is_lost)| Step::Decide { owner, chunk, count, is_lost }),
        1 => Just(Step::NewOwner),
        2 => (chunk.clone(), prop::bool::weighted(0.6)).prop_map(|(chunk, tells)| Step::Snapshot { chunk, tells }),
        1 => (0..3usize).prop_map(|owner| Step::Tell { owner }),
        6 => (1..6usize).prop_map(|count| Step::Read { count }),
        4 => (0..8u8, 0..8usize).prop_map(|(fate, which)| Step::Load { fate, which }),
        2 => (1..4u8, chunk.clone(), any::<bool>()).prop_map(|(writer, chunk, ahead)| Step::Join { writer, chunk, ahead }),
        2 => (socket.clone(), chunk.clone(), any::<bool>())
            .prop_map(|(socket, chunk, forgets)| Step::Track { socket, chunk, forgets }),
        1 => (socket.clone(), chunk.clone()).prop_map(|(socket, chunk)| Step::Untrack { socket, chunk }),
        1 => (socket.clone(), chunk, 0..5u64).prop_map(|(socket, chunk, back)| Step::Refresh { socket, chunk, back }),
        1 => socket.clone().prop_map(|socket| Step::Leave { socket }),
        6 => (socket, 1..4usize).prop_map(|(socket, turns)| Step::Take { socket, turns }),
        2 => (1..3000u64).prop_map(|ms| Step::Tick { ms }),
        1 => Just(Step::Drift),
        1 => Just(Step::Fail),
        2 => Just(Step::Open),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_client_sees_a_gap_and_at_rest_all_have_the_log(
        before in 0..12usize,
        steps in vec(step(), 0..120),
        queue in prop_oneof![Just(300usize), Just(1000), Just(1 << 20)],
        kept in prop_oneof![Just(0usize), Just(2), Just(64)],
        hashes_kept in prop_oneof![Just(1usize), Just(3), Just(64)],
        idle_replica_ms in prop_oneof![Just(100u64), Just(30_000)],
        rings_bytes_max in prop_oneof![Just(0usize), Just(4_000), Just(1 << 30)],
    ) {
        let settings = Settings {
            socket_queue_bytes_max: queue,
            ring_kept: kept,
            hashes_kept,
            idle_replica_ms,
            rings_bytes_max: Some(rings_bytes_max),
            load_attempts_max: 3,
            partition_retry_max_ms: 1_000,
            beacon_interval_ms: 700,
            ..Settings::default()
        };
        let mut run = Run::new(before, settings);
        for step in steps {
            run.step(step);
        }
        run.rest();
    }
}
