//! Tests of `driftless dev` with its embedded log, as one process under test.

mod bad_input;
mod conformance;
mod crashes;
mod dead_letter;
mod drift;
mod http_api;
mod painting;
mod python_client;
mod recover;
mod startup;
mod tls;
mod tools;

use driftless_e2e_tests::scenarios;
use driftless_e2e_tests::stack::Dev;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_an_edit_reaches_everybody_with_equal_hashes() {
    scenarios::edits_reach_everybody(Dev::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_every_outcome_is_told_as_it_is() {
    scenarios::every_outcome_is_told_as_it_is(Dev::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_sockets_cut_anywhere_change_no_outcome_and_commit_once() {
    scenarios::cuts_change_no_outcome(Dev::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_retryable_rejection_within_a_burst_of_50_loses_nothing_and_keeps_the_order() {
    scenarios::a_rejection_in_the_middle_loses_nothing(Dev::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_commands_that_arrive_twice_commit_once() {
    scenarios::doubled_commands_commit_once(Dev::embedded().await).await;
}
