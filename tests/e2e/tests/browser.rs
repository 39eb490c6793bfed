//! Drives two windows of a real Chromium on `driftless dev`.

use driftless_e2e_tests::python::folder;
use driftless_e2e_tests::stack::{Dev, Stack};
use driftless_e2e_tests::wait::{is_quick, say};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The deadline of the whole script. Each wait in the script has its own deadline of 30 s, and its
/// error says what it waited for.
const STORY: Duration = Duration::from_secs(600);

fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("DRIFTLESS_TEST_CHROMIUM").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}

/// Installs the npm packages of the lock file, unless `cargo xtask test` has installed them.
fn install_packages() {
    let folder = folder().join("browser");
    if folder.join("node_modules/playwright-core").is_dir() {
        return;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&folder);
    let ended = npm.output().expect("npm");
    assert!(ended.status.success(), "npm ci: {}", String::from_utf8_lossy(&ended.stderr));
}

async fn windows(chromium: &PathBuf, script: &str, arguments: &[&str]) {
    let mut node = tokio::process::Command::new("node");
    node.arg(folder().join("browser").join(script)).args(arguments).env("CHROMIUM", chromium).kill_on_drop(true);
    let ended = tokio::time::timeout(STORY, node.output()).await;
    let ended = ended.unwrap_or_else(|_| panic!("not within {STORY:?}: the windows' end")).expect("node starts");
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{output}\n{}", String::from_utf8_lossy(&ended.stderr));
    assert!(output.contains(", 0 failed"), "{output}");
}

/// Prepares a run in the browser and installs the packages that drive it. Returns the browser's
/// path, or `None` if the test is left out.
fn prepared() -> Option<PathBuf> {
    if is_quick() {
        say("left out: it needs a browser (DRIFTLESS_TEST_QUICK=1)");
        return None;
    }
    let (Some(chromium), Some(_)) = (chromium(), find("node")) else {
        assert!(!is_ci(), "CI must have Node.js 20 and Chromium (or DRIFTLESS_TEST_CHROMIUM)");
        say("left out: it needs Node.js 20 and Chromium (Debian: apt-get install nodejs npm chromium)");
        return None;
    };
    // Tests run in parallel, so the packages are installed once.
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    tokio::task::block_in_place(|| INSTALLED.call_once(install_packages));
    Some(chromium)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_windows_see_each_others_paint_and_find_it_again_after_a_restart() {
    let Some(chromium) = prepared() else { return };
    let mut dev = Dev::embedded().await;
    let out = dev.data().with_file_name("windows").display().to_string();
    windows(&chromium, "two-windows.mjs", &[dev.page(), &out]).await;
    dev.stop().await;
    dev.start().await;
    windows(&chromium, "two-windows.mjs", &[dev.page(), &out, "--check-still-there"]).await;
    let history = dev.history().await;
    assert!(history.chunks() > 0, "the paint is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_event_source_of_the_document_works_as_it_stands_there() {
    let Some(chromium) = prepared() else { return };
    let dev = Dev::embedded().await;
    let short = dev.entrance().tokens.issue_for("ann", &["canvas/"], &[], 3);
    windows(&chromium, "event-source.mjs", &[dev.page(), &short]).await;
}
