//! Where downloaded servers are kept, and how each is installed once although several processes may want it.
//!
//! An installation is built in a folder of its own under an exclusive file lock and takes its final name by a rename; so a
//! folder under its final name is whole. Its stamp holds the recipe that made it: another recipe installs anew.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// `DRIFTLESS_CACHE`, else `$XDG_CACHE_HOME/driftless`, else `$HOME/.cache/driftless`. Outside any target folder, so that
/// `cargo clean` does not cost a download.
pub fn cache_dir() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = set("DRIFTLESS_CACHE") {
        return Ok(PathBuf::from(dir));
    }
    if let Some(dir) = set("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(dir).join("driftless"));
    }
    match set("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".cache").join("driftless")),
        None => bail!("no cache folder: set DRIFTLESS_CACHE (or HOME)"),
    }
}

/// The folder `name` of the cache, made by `build` if it is not there or was made by another `recipe`. `build` gets an
/// empty folder that will be renamed.
pub(crate) fn install_once(name: &str, recipe: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache_dir()?;
    let home = cache.join(name);
    let is_installed = |home: &Path| fs::read_to_string(home.join("installed")).is_ok_and(|made| made == recipe);
    if is_installed(&home) {
        return Ok(home);
    }
    let _lock = lock(&cache, name)?;
    if is_installed(&home) {
        return Ok(home);
    }
    let partial = cache.join(format!("{name}.partial"));
    remove_if_there(&partial)?;
    fs::create_dir_all(&partial)?;
    build(&partial)?;
    fs::write(partial.join("installed"), recipe)?;
    remove_if_there(&home)?;
    fs::rename(&partial, &home).with_context(|| format!("cannot move the installation to {}", home.display()))?;
    Ok(home)
}

/// Holds the lock `name` among all processes until it is dropped.
pub(crate) fn lock(dir: &Path, name: &str) -> Result<File> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join(format!("{name}.lock"));
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open the lock {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

pub(crate) fn remove_if_there(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}
