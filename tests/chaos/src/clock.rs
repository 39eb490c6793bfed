//! The wall clock of a service, which the run can set ahead and back while the service runs.
//!
//! The service preloads the library of `tests/clock-shim`. That library reads the shift from a file
//! of 8 bytes that it maps into memory.

use anyhow::{Context, Result};
use driftless_e2e_tests::process::Env;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The wall clock of one service.
pub(crate) struct WallClock {
    file: File,
    path: PathBuf,
    shim: PathBuf,
}

impl WallClock {
    /// Makes the file with the shift, which is 0 at first. `shim` is the library.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn new(path: PathBuf, shim: &Path) -> Result<Self> {
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let clock = Self { file, path, shim: shim.to_owned() };
        clock.set_right()?;
        Ok(clock)
    }

    /// The environment variables with which the service must start.
    pub fn env(&self) -> Env {
        let path = |path: &Path| path.display().to_string();
        vec![("LD_PRELOAD".to_owned(), path(&self.shim)), ("DRIFTLESS_CLOCK_SHIFT".to_owned(), path(&self.path))]
    }

    /// Sets the clock ahead of the true time.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set_ahead(&self, by: Duration) -> Result<()> {
        self.write(nanoseconds(by)?)
    }

    /// Sets the clock behind the true time.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set_back(&self, by: Duration) -> Result<()> {
        self.write(-nanoseconds(by)?)
    }

    /// Sets the clock to the true time.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set_right(&self) -> Result<()> {
        self.write(0)
    }

    fn write(&self, shift_ns: i64) -> Result<()> {
        let written = self.file.write_all_at(&shift_ns.to_ne_bytes(), 0);
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn nanoseconds(time: Duration) -> Result<i64> {
    i64::try_from(time.as_nanos()).context("a clock cannot be shifted by centuries")
}
