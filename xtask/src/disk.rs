//! Checks the free space on the disk before a build, because a full disk shows as a failing linker.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The space that a build of a fresh clone needs: all targets (5.2 GB), the core for the browser
/// (0.5 GB), and the files of tests (0.3 GB).
const FRESH_MB: u64 = 6_500;
/// The least space that a later build needs, because it mostly overwrites the files of an earlier
/// build.
const AGAIN_MB: u64 = 1_000;
/// The folders below the target folder that builds fill.
const BUILT: [&str; 2] = ["debug", "wasm"];

/// Checks that the disk has enough space for a build of the workspace below `target`.
pub fn check_space(target: &Path) -> Result<()> {
    let free_mb = free_mb(target)?;
    if free_mb >= FRESH_MB {
        return Ok(());
    }
    enough(target, free_mb, BUILT.map(|folder| size_mb(&target.join(folder))).iter().sum())
}

/// Returns the free space on the disk where `folder` is, or will be.
fn free_mb(folder: &Path) -> Result<u64> {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(folder);
    let disk = rustix::fs::statvfs(there).with_context(|| format!("cannot ask for the room at {}", there.display()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize) / 1_000_000)
}

/// Fails if `free_mb` is too little for a build, of which earlier builds left `built_mb`.
fn enough(target: &Path, free_mb: u64, built_mb: u64) -> Result<()> {
    let needed_mb = if built_mb == 0 { FRESH_MB } else { FRESH_MB.saturating_sub(built_mb).max(AGAIN_MB) };
    let remedy = match built_mb {
        0 => "free some".to_owned(),
        _ => format!("free some (`cargo clean` frees {})", gigabytes(built_mb)),
    };
    ensure!(
        free_mb >= needed_mb,
        "{} has {} of room, and the build needs {}: {remedy}, or name a folder on another disk in CARGO_TARGET_DIR",
        target.display(),
        gigabytes(free_mb),
        gigabytes(needed_mb)
    );
    Ok(())
}

fn gigabytes(mb: u64) -> String {
    format!("{}.{} GB", mb / 1_000, mb % 1_000 / 100)
}

/// Returns the size of all files below `folder`. An unreadable file counts as 0, because the result
/// need not be exact.
fn size_mb(folder: &Path) -> u64 {
    let mut folders = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                // A hard-linked program has two names, but it is on the disk only once.
                Ok(metadata) => bytes += metadata.len() / metadata.nlink().max(1),
                Err(_) => {}
            }
        }
    }
    bytes / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_a_full_disk_says_what_to_do() {
        let target = Path::new("/w/target");
        let said = |free, built| enough(target, free, built).map_err(|error| error.to_string());
        assert_eq!(said(6_500, 0), Ok(()));
        assert_eq!(
            said(2_690, 0).unwrap_err(),
            "/w/target has 2.6 GB of room, and the build needs 6.5 GB: free some, or name a folder on another disk in \
             CARGO_TARGET_DIR"
        );
        assert_eq!(said(1_000, 38_000), Ok(()));
        let again = said(999, 38_000).unwrap_err();
        assert!(again.contains("needs 1.0 GB") && again.contains("`cargo clean` frees 38.0 GB"), "{again}");
        // An earlier build left about half of its files.
        assert_eq!(said(3_500, 3_000), Ok(()));
        said(3_499, 3_000).unwrap_err();
    }

    #[test]
    fn free_space_is_measured_where_the_folder_will_be() {
        let run = driftless_testbed::RunDir::new("disk").unwrap();
        fs::write(run.path().join("half"), vec![1; 1_500_000]).unwrap();
        fs::hard_link(run.path().join("half"), run.path().join("twice")).unwrap();
        assert_eq!(size_mb(run.path()), 1);
        assert!(free_mb(&run.path().join("not/yet")).unwrap() > 0);
    }
}
