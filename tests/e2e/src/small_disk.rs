//! A small disk that a test can fill. It is a tmpfs, so the process needs the right to mount one.

use driftless_testbed::RunDir;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name under which the system's mount table lists the small disk of a process.
fn source(process: u32) -> String {
    format!("driftless-test-{process}")
}

/// Unmounts the small disks of processes that were killed, because a mounted folder cannot be
/// removed.
fn remove_leftovers() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for mut line in mounts.lines().map(str::split_whitespace) {
        let (Some(source), Some(on)) = (line.next(), line.next()) else { continue };
        let process = source.strip_prefix("driftless-test-");
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            unmount(Path::new(on));
        }
    }
}

fn unmount(folder: &Path) {
    // Unmounts lazily, because a process that is being killed may still have files open.
    let _ = Command::new("umount").arg("--lazy").arg(folder).status();
}

/// A small disk that stays mounted as long as this value exists.
pub struct SmallDisk {
    folder: RunDir,
}

impl SmallDisk {
    /// Mounts a small disk of `mib` MiB. Returns `None`, and prints the reason to standard error,
    /// if this process may not mount a disk.
    ///
    /// # Panics
    /// If no folder can be made for it.
    #[must_use]
    pub fn mount(mib: usize) -> Option<Self> {
        remove_leftovers();
        let folder = RunDir::new("small-disk").expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), &source(std::process::id())]).arg(folder.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self { folder }),
            Ok(output) => {
                crate::wait::say(&format!(
                    "no disk can be mounted: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                ));
                None
            }
            Err(error) => {
                crate::wait::say(&format!("no disk can be mounted: {error}"));
                None
            }
        }
    }

    /// The root folder of the disk.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Fills the disk completely. A test can call this again after room was freed.
    ///
    /// # Panics
    /// If writing fails for another reason than a full disk.
    pub fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).expect("a file");
        loop {
            match ballast.write_all(&[1; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Frees the room that [`SmallDisk::fill`] has taken.
    ///
    /// # Panics
    /// If the disk was not filled.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path());
    }
}
