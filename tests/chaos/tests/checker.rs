//! Runs the tests of the Python checker, so that `cargo test` runs them too.

use driftless_chaos::checker;
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn the_checkers_own_tests_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checker");
    let mut tests = tokio::process::Command::new(checker::python());
    tests.args(["-m", "unittest", "--quiet"]).current_dir(folder).kill_on_drop(true);
    let ended = tests.output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
