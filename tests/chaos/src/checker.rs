//! Runs the independent checker in Python (`checker/check.py`). The checker reads the raw topics,
//! the bucket and the clients' conclusions, and shares no code with the services.

use crate::cluster::Cluster;
use crate::{forger, stranger};
use anyhow::{Context, Result, bail};
use driftless_e2e_tests::python::environment;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::block_in_place;

/// The deadline of the checker, which folds the whole log on one core.
const ENDS_WITHIN: Duration = Duration::from_secs(900);

/// The folder of a run with a copy of the topics of a lost history, in the form of the checker's
/// dumps.
pub const LOST: &str = "lost";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("checker")
}

/// Makes the Python environment of the checker, and returns its interpreter. This happens before
/// the run, so that a machine that cannot make the environment fails early.
#[must_use]
pub fn python() -> PathBuf {
    block_in_place(|| environment("python-of-checker", &folder().join("requirements.txt")))
}

/// Runs the checker and returns its JSON. The checker's output goes to `checker.log` in `dir`.
///
/// # Errors
/// If the checker cannot check. Violations are no error, because they are in the JSON.
pub async fn check(python: &Path, cluster: &Cluster, dir: &Path, is_complete: bool) -> Result<Value> {
    let mut command = tokio::process::Command::new(python);
    command.arg(folder().join("check.py")).args(["--brokers", &cluster.brokers, "--json", "--quiet", "--store"]);
    command.arg(cluster.bucket()).arg("--outcomes").arg(dir.join("outcomes.jsonl"));
    command.arg("--finals").arg(dir.join("finals.jsonl")).args(is_complete.then_some("--complete"));
    // The file names every record that another program has appended. The checker must find no
    // other.
    command.arg("--forged").arg(forger::create(dir)?).arg("--members").args(cluster.replayers());
    let strangers = stranger::buckets(cluster)?;
    command.args(strangers.iter().filter_map(|bucket| bucket.file_name()));
    if !strangers.is_empty() {
        command.arg("--copies").args(strangers);
    }
    if dir.join(LOST).is_dir() {
        command.arg("--lost").arg(dir.join(LOST));
    }
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    let ended = tokio::time::timeout(ENDS_WITHIN, command.output()).await.context("the checker does not end")??;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let log = dir.join("checker.log");
    std::fs::write(&log, format!("{said}\n{}", String::from_utf8_lossy(&ended.stderr)))?;
    if !matches!(ended.status.code(), Some(0 | 1)) {
        bail!("the checker cannot check ({}), see {}", ended.status, log.display());
    }
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("the checker's last line is no JSON, see {}", log.display()))
}
