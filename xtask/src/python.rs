//! Virtual environments in the cache folder, each with the packages of one `requirements.txt`.

use anyhow::{Context, Result};
use driftless_testbed::cache_dir;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt;
use crate::process;
use crate::step::Screen;

/// Returns the folder with the programs of the environment `name`, such as `python`.
///
/// The environment is created anew when the requirements or the version of Python change.
pub fn environment(name: &str, requirements: &Path, screen: Screen) -> Result<PathBuf> {
    let wanted = fs::read_to_string(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let mut version = Command::new("python3");
    version.arg("--version");
    let version = process::ask(version).context("Python 3 is missing")?;
    let recipe = format!("{version}\n{wanted}");

    let home = cache_dir()?.join(name);
    let (programs, stamp) = (home.join("bin"), home.join("installed"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == recipe) {
        return Ok(programs);
    }
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    make(&home, screen)?;
    let mut pip = Command::new(programs.join("python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--requirement"]);
    pip.arg(requirements).stdout(screen.stdio());
    process::check("pip install", pip)?;
    fs::write(&stamp, recipe)?;
    Ok(programs)
}

fn make(home: &Path, screen: Screen) -> Result<()> {
    let venv = || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(home).stdout(screen.stdio());
        process::check("the creation of a Python virtual environment", venv)
    };
    let Err(error) = venv() else { return Ok(()) };
    // Debian ships the module `venv` in a separate package, which may be missing.
    if !apt::may_install() {
        return Err(error.context("python3 -m venv does not work (Debian: apt-get install python3-venv)"));
    }
    apt::install(screen, &["python3-venv"])?;
    venv()
}
