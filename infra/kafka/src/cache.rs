//! The cache folder of downloaded servers. Each server is installed once, even if several processes
//! ask for it at the same time.
//!
//! An installation is built in a temporary folder under an exclusive file lock, and a rename gives
//! it its final name. A folder under its final name is therefore complete. The file `installed` in
//! the folder holds the recipe: a text that identifies the contents. A changed recipe causes a new
//! installation.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Returns the first of `$DRIFTLESS_CACHE`, `$XDG_CACHE_HOME/driftless` and
/// `$HOME/.cache/driftless` that is set.
///
/// The folder lies outside any target folder, so that `cargo clean` does not cost a download.
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

/// Returns the folder `name` of the cache. If the folder is missing or has another `recipe`,
/// `build` fills an empty folder first, which then gets the name.
pub fn install_once(name: &str, recipe: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
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

/// Takes the lock `name`, which excludes other processes until the file is dropped.
pub fn lock(dir: &Path, name: &str) -> Result<File> {
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

/// Removes a folder; a missing folder is fine.
pub fn remove_if_there(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}
