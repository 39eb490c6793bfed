//! `cargo xtask clean-cache`: removes Driftless's own files from the cache folder, and no other
//! file.

use anyhow::{Context, Result, bail};
use driftless_testbed::cache_dir;
use std::fs::{self, File};
use std::path::Path;

/// Prefixes of the names of Driftless's folders and lock files in the cache folder.
const OURS: [&str; 5] = ["kafka-", "versitygw-", "python", "runs", "rustc-web"];

pub fn clean() -> Result<()> {
    let cache = cache_dir()?;
    if !cache.is_dir() {
        println!("{} is not there", cache.display());
        return Ok(());
    }
    refuse_while_in_use(&cache.join("runs"))?;
    for entry in fs::read_dir(&cache).with_context(|| format!("cannot read {}", cache.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if !is_ours(&name.to_string_lossy()) {
            println!("left {}: it is not ours", path.display());
            continue;
        }
        let removed = if entry.file_type()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
        println!("removed {}", path.display());
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| name.starts_with(ours))
}

/// Fails if a server or a test runs. Each of them holds the lock file beside its folder in `runs`.
fn refuse_while_in_use(runs: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(runs) else { return Ok(()) };
    for lock in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "lock"))
    {
        if File::open(&lock).is_ok_and(|file| file.try_lock().is_err()) {
            bail!("{} is in use: stop that server or test first", lock.with_extension("").display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_removed() {
        for ours in ["kafka-4.4.0", "kafka-4.4.0.lock", "versitygw-1.8.0.partial", "python", "runs", "runs.lock"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["photos", "my-kafka", ".ssh"] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn a_cache_in_use_stays() {
        let run = driftless_testbed::RunDir::new("xtask").unwrap();
        let runs = run.path().parent().unwrap();
        let error = refuse_while_in_use(runs).unwrap_err().to_string();
        assert!(error.contains("is in use"), "{error}");
    }
}
