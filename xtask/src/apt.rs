//! Installs packages with `apt-get`, if this process is root on a Debian system.

use anyhow::{Result, bail};
use std::process::Command;

use crate::process;
use crate::step::Screen;

/// Returns true if this process is root and the system has `apt-get`.
pub fn may_install() -> bool {
    let mut id = Command::new("id");
    id.arg("-u");
    process::find("apt-get").is_some() && process::ask(id).is_ok_and(|user| user == "0")
}

/// Installs packages. If this process may not install, the error names the command to run.
pub fn install(screen: Screen, packages: &[&str]) -> Result<()> {
    if !may_install() {
        bail!("{} missing: apt-get install {}", packages.join(", "), packages.join(" "));
    }
    screen.say(&format!("installing {} with apt-get", packages.join(", ")));
    update_lists(screen)?;
    apt_get(screen, &[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

/// Updates the lists of available packages and versions.
pub fn update_lists(screen: Screen) -> Result<()> {
    apt_get(screen, &["update"])
}

fn apt_get(screen: Screen, arguments: &[&str]) -> Result<()> {
    let mut apt_get = Command::new("apt-get");
    apt_get.args(["--quiet=2", "-o=Dpkg::Use-Pty=0"]).args(arguments);
    apt_get.env("DEBIAN_FRONTEND", "noninteractive").stdout(screen.stdio());
    process::check("apt-get", apt_get)
}
