//! Compares the HTTP API with its OpenAPI document, by a list of requests and by Schemathesis.

use driftless_e2e_tests::process::arguments;
use driftless_e2e_tests::python::{folder, python, run_script};
use driftless_e2e_tests::stack::{Dev, Stack};
use driftless_e2e_tests::wait::soon;
use tokio::process::Command;

/// The address that bypasses the proxy, because the proxy would take every upgrade request for a
/// websocket.
fn directly(dev: &Dev) -> &str {
    dev.page().split("/?").next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_answers_as_the_openapi_document_has_it() {
    let dev = Dev::embedded().await;
    let entrance = dev.entrance();
    let token = entrance.tokens.for_all("ann");
    let reader = entrance.tokens.issue("bob", &["canvas/"], &[]);
    let flags = ["--http", directly(&dev), "--token", &token, "--reader", &reader];
    let output = run_script(&folder().join("python/http_api.py"), &arguments(&flags)).await;
    assert!(output.contains(", 0 failed"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_schemathesis_thinks_of_is_answered_otherwise() {
    let dev = Dev::embedded().await;
    let entrance = dev.entrance();
    let schemathesis = tokio::task::block_in_place(python).with_file_name("schemathesis");
    let mut command = Command::new(schemathesis);
    command.arg("--config-file").arg(folder().join("python/schemathesis.toml"));
    command.args(["run", "--no-color"]).arg(format!("{}/v1/openapi.json", directly(&dev)));
    command.env("DRIFTLESS_TOKEN", entrance.tokens.for_all("ann")).current_dir(dev.data()).kill_on_drop(true);
    let ended = soon("the end of Schemathesis", command.output()).await.expect("Schemathesis starts");
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{output}\n{}", String::from_utf8_lossy(&ended.stderr));
    let told = output.lines().find_map(|line| line.trim().strip_prefix("Operations:")).unwrap_or_default();
    let numbers: Vec<&str> = told.split(' ').filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert!(matches!(numbers[..], [asked, all] if asked == all), "it asked only for some: {told}");
}
