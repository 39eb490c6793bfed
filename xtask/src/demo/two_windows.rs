//! The web page in two windows of a real Chromium. The scripts are in `tests/e2e/browser`, which
//! also describes what they check.

use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

use crate::prerequisites;
use crate::process;
use crate::step::Screen;

/// The two halves of the script. The stack restarts between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Half {
    /// Two windows paint, and each shows the cells that the other painted.
    Paint,
    /// After the restart both windows still show everything.
    Check,
}

/// Runs one half of the script on the page at `url`. The folder `output` gets the screenshots, and
/// keeps the files that the second half needs.
pub fn run(root: &Path, url: &str, output: &Path, half: Half, screen: Screen) -> Result<()> {
    let folder = root.join(prerequisites::E2E_BROWSER);
    let Some(chromium) = prerequisites::chromium(screen)? else { bail!("{}", prerequisites::NO_CHROMIUM) };
    prerequisites::node_packages(&folder, screen)?;
    let mut node = Command::new("node");
    node.arg("two-windows.mjs").arg(url).arg(output).args((half == Half::Check).then_some("--check-still-there"));
    node.current_dir(folder).env("CHROMIUM", chromium).stdout(screen.stdio());
    process::check("the page in Chromium", node)
}
