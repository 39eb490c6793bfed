//! A client in another language, written from `docs/protocol.md` alone.

use driftless_e2e_tests::process::arguments;
use driftless_e2e_tests::python::{folder, run_script};
use driftless_e2e_tests::stack::{Dev, Stack};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_written_from_the_document_alone_gets_what_it_was_promised() {
    let dev = Dev::embedded().await;
    let entrance = dev.entrance();
    let token = entrance.tokens.for_all("snake");
    let flags = ["--ingest", &entrance.ingest_http(), "--gateway", &entrance.gateway_http(), "--token", &token];
    let output = run_script(&folder().join("python/client.py"), &arguments(&flags)).await;
    assert!(output.contains(", 0 failed"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_example_is_true_byte_by_byte() {
    let output = run_script(&folder().join("python/check_example.py"), &[]).await;
    assert!(output.contains(", 0 failed"), "{output}");
}
