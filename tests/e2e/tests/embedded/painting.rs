//! Eight writers paint a photograph at once.

use driftless_e2e_tests::scenarios::paint_photo;
use driftless_e2e_tests::stack::{Dev, Stack};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_painted_photo_differs_in_no_cell() {
    let mut dev = Dev::embedded().await;
    let entrance = dev.entrance();
    paint_photo(&entrance.ingest_http(), &entrance.gateway_http(), &entrance.tokens.for_all("painter")).await;
    let history = dev.history().await;
    assert_eq!(history.chunks(), 16);
}
