//! Real processes on a real Apache Kafka and a real S3 server: two ingests, two gateways, a
//! replayer.

mod dead_letter;
mod outages;
mod remade;
mod startup;
mod storage;

use driftless_e2e_tests::edits::chunk;
use driftless_e2e_tests::scenarios::{self, burst_commits_in_order, burst_is_in_the_log};
use driftless_e2e_tests::stack::{Apart, Dev, Stack, small_world, unique_world, world_file};
use driftless_e2e_tests::wait::{is_quick, say};
use driftless_testbed::{RunDir, shared_kafka};
use tokio::task::block_in_place;

/// True if this test is left out because no servers may be started. Prints that it is.
fn is_left_out() -> bool {
    if is_quick() {
        say("left out: it needs Apache Kafka and S3 (DRIFTLESS_TEST_QUICK=1)");
    }
    is_quick()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_an_edit_reaches_everybody_with_equal_hashes() {
    if is_left_out() {
        return;
    }
    scenarios::edits_reach_everybody(Apart::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_every_outcome_is_told_as_it_is() {
    if is_left_out() {
        return;
    }
    scenarios::every_outcome_is_told_as_it_is(Apart::start().await).await;
}

/// Connections are cut at every point, and each new connection goes to the other ingest and the
/// other gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_sockets_cut_anywhere_change_no_outcome_and_commit_once() {
    if is_left_out() {
        return;
    }
    scenarios::cuts_change_no_outcome(Apart::start().await).await;
}

/// Ingest's own rate limit rejects commands in the middle of the burst, with a reason that allows a
/// retry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_rate_limit_within_a_burst_of_50_loses_nothing_and_keeps_the_order() {
    if is_left_out() {
        return;
    }
    let mut stack = Apart::with("[ingest.policy]\ncommands_burst = 20\ncommands_per_second = 20\n").await;
    let id = chunk("canvas/-4/4");
    burst_commits_in_order(stack.entrance(), &id, "ann").await;
    burst_is_in_the_log(&mut stack, &id, "ann").await;
}

/// `driftless dev --brokers` runs all services in one process, on a Kafka that runs already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_runs_on_brokers_and_comes_back_after_kill_9() {
    if is_left_out() {
        return;
    }
    let brokers = block_in_place(|| shared_kafka().unwrap());
    let folder = RunDir::new("world").unwrap();
    let file = world_file(folder.path(), &small_world(&unique_world())).display().to_string();
    let mut dev = Dev::with(&["--brokers", brokers, "--world", &file]).await;
    let id = chunk("canvas/3/3");
    let (_client, replica) = dev.entrance().follower("ann", &id).await;
    let before = dev.entrance().converge(0, &[&replica]).await;
    burst_commits_in_order(dev.entrance(), &id, "bob").await;
    dev.kill();
    dev.start().await;
    let after = dev.entrance().converge(50, &[&replica]).await;
    assert_ne!(before.1, after.1);
    burst_is_in_the_log(&mut dev, &id, "bob").await;
}
