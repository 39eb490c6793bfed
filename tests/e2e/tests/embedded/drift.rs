//! Bits flip in the memory of a client, a gateway and an owner. A hash must reveal each of these
//! drifts, and each must be healed (R10). Only debug builds can flip bits.

use driftless_client::{Chunk, Outcome};
use driftless_e2e_tests::edits::{chunk, set};
use driftless_e2e_tests::stack::{Dev, Stack};
use driftless_e2e_tests::wait::{counter, soon};
use driftless_schemas::Version;

async fn edit(replica: &Chunk, cell: u32, value: u32) {
    let outcome = soon("an outcome", replica.submit(set(cell, value)).expect("it is taken")).await;
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
}

async fn damage(base: &str, service: &str, id: &str) {
    let url = format!("{base}/debug/damage/{service}?chunk={id}");
    let answer = reqwest::Client::new().post(&url).send().await.expect("it answers");
    assert_eq!(answer.status().as_u16(), 202, "{url}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_a_client_a_gateway_and_an_owner_that_drifted_are_healed() {
    let dev = Dev::embedded().await;
    let id = chunk("canvas/3/-4");
    let (_ann, anns) = dev.entrance().follower("ann", &id).await;
    let (_bob, bobs) = dev.entrance().follower("bob", &id).await;
    let base = dev.entrance().gateway_http();
    for cell in 0..5 {
        edit(&anns, cell, 7).await;
    }
    dev.entrance().converge(5, &[&anns, &bobs]).await;

    // A client finds its drift with the next beacon.
    assert!(bobs.damage());
    counter(&base, "driftless_gateway_drift_reports_total", 1).await;
    dev.entrance().converge(5, &[&anns, &bobs]).await;

    // A gateway finds its drift with the next record, and the owner confirms the log.
    damage(&base, "gateway", id.as_str()).await;
    edit(&anns, 6, 9).await;
    counter(&base, "driftless_drift_total", 1).await;
    counter(&base, "driftless_replayer_checks_total", 1).await;
    dev.entrance().converge(6, &[&anns, &bobs]).await;

    // A damaged owner publishes a hash that the log does not lead to, and every gateway reports it.
    // The audit that a gateway has asked for may find the damage first.
    damage(&base, "replayer", id.as_str()).await;
    edit(&bobs, 7, 11).await;
    counter(&base, "driftless_drift_total", 2).await;
    edit(&anns, 8, 12).await;
    let (version, _) = dev.entrance().converge(8, &[&anns, &bobs]).await;
    assert_eq!(version, Version(8), "every edit is one version, whatever was healed in between");
}
