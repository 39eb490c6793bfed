//! Folders that live as long as one run, below the cache folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use driftless_local_kafka::cache;

/// A folder for one run. Dropping it removes the folder. If the process was killed, a later run
/// removes it.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// The lock that marks the folder as in use.
    _in_use: File,
}

impl RunDir {
    /// Makes a folder. `name` becomes a part of the folder's name and tells people its purpose.
    pub fn new(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cache = cache::cache_dir()?;
        // While this process holds the lock `runs`, no other process sweeps. A sweep between the
        // creation of the lock file below and its locking would remove the new folder.
        let _sweeping = cache::lock(&cache, "runs")?;
        let runs = cache.join("runs");
        fs::create_dir_all(&runs)?;
        sweep(&runs);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = runs.join(format!("{name}-{}-{count}", process::id()));
        let in_use = File::create(lock_of(&path))?;
        in_use.try_lock().with_context(|| format!("{} is in use", path.display()))?;
        cache::remove_if_there(&path)?;
        fs::create_dir(&path)?;
        Ok(Self { path, _in_use: in_use })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_file(lock_of(&self.path));
    }
}

fn lock_of(run: &Path) -> PathBuf {
    run.with_added_extension("lock")
}

/// Removes the folders of runs that were killed. A folder that cannot be removed waits for the next
/// sweep.
fn sweep(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else {
        return;
    };
    for lock in entries.flatten().map(|entry| entry.path()) {
        if lock.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let is_left = File::open(&lock).is_ok_and(|file| file.try_lock().is_ok());
        if is_left && cache::remove_if_there(&lock.with_extension("")).is_ok() {
            let _ = fs::remove_file(&lock);
        }
    }
}
