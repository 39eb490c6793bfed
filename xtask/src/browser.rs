//! The web page in a real Chromium: `tests/e2e/browser` has the scripts, and says what they check.

use anyhow::{Result, bail};
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
