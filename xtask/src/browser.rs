//! The web page in a real Chromium: `tests/e2e/browser` has the scripts, and says what they check.

use anyhow::{Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::prerequisites;
use crate::process;
use crate::step::Screen;

/// Which half of the script.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// Two windows paint and see each other's paint.
    Paint,
    /// After a restart everything is still there.
    Check,
}

/// The scripts' folder.
pub fn folder(root: &Path) -> PathBuf {
    root.join("tests/e2e/browser")
}

/// Runs the script on the page at `url`; `output` gets its screenshots, and keeps what the second act needs.
pub fn run(root: &Path, url: &str, output: &Path, act: Act, screen: Screen) -> Result<()> {
    let folder = folder(root);
    let Some(chromium) = prerequisites::chromium(screen)? else { bail!("{}", prerequisites::NO_CHROMIUM) };
    prerequisites::node_packages(&folder, screen)?;
    let mut node = Command::new("node");
    node.arg("two-windows.mjs").arg(url).arg(output).args((act == Act::Check).then_some("--check-still-there"));
    node.current_dir(folder).env("CHROMIUM", chromium).stdout(screen.stdio());
    process::check("the page in Chromium", node)
}

/// Runs the tests of the page's own code (`*.test.mjs`, without a browser). Returns how many files there are.
pub fn unit_tests(root: &Path, screen: Screen) -> Result<usize> {
    let folder = folder(root);
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(0) };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let tests: Vec<String> = names.filter(|name| name.ends_with(".test.mjs")).collect();
    if tests.is_empty() {
        return Ok(0);
    }
    ensure!(process::find("node").is_some(), "{}", prerequisites::NO_NODE);
    let mut node = Command::new("node");
    node.arg("--test").args(&tests).current_dir(folder).stdout(screen.stdio());
    process::check("node --test", node)?;
    Ok(tests.len())
}
