//! The journal of a run: its faults and the reactions of processes. Each line has the time of day,
//! so that the journal can be compared with the logs of the processes.

use crate::plan::Fault;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The journal of a run. Each line is written to `faults.log` at once.
pub struct Journal(Mutex<Inner>);

struct Inner {
    file: File,
    counts: Counts,
}

/// Counts of the journal's events, for the report.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The number of faults, by target and kind.
    pub faults: BTreeMap<(&'static str, &'static str), u64>,
    /// Processes that ended by themselves after they had been ready. Each is started again.
    pub ended_by_themselves: Vec<String>,
    /// The number of starts at which the process ended before it was ready, because something that
    /// it needs was away.
    pub starts_in_vain: u64,
    /// Processes that ended with an error after SIGTERM, or that did not end in time.
    pub bad_ends: Vec<String>,
}

impl Journal {
    /// Creates the journal's file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Mutex::new(Inner { file, counts: Counts::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a fault begins.
    pub fn fault(&self, kind: &'static str, name: &str, fault: Fault, detail: &str) {
        let mut inner = self.lock();
        *inner.counts.faults.entry((kind, fault.name())).or_default() += 1;
        inner.write(&format!("{} {name} {detail}", fault.name()));
    }

    /// Records any other event as a text for people.
    pub fn note(&self, text: &str) {
        self.lock().write(text);
    }

    /// Records that a process ended by itself after it had been ready.
    pub fn ended_by_itself(&self, text: String) {
        let mut inner = self.lock();
        inner.write(&format!("ENDED BY ITSELF: {text}"));
        inner.counts.ended_by_themselves.push(text);
    }

    /// Records that a process ended during its start, before it was ready.
    pub fn start_in_vain(&self, text: &str) {
        let mut inner = self.lock();
        inner.counts.starts_in_vain += 1;
        inner.write(text);
    }

    /// Records that a process did not shut down gracefully.
    pub fn bad_end(&self, text: String) {
        let mut inner = self.lock();
        inner.write(&format!("BAD END: {text}"));
        inner.counts.bad_ends.push(text);
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }
}

impl Inner {
    fn write(&mut self, text: &str) {
        // A failed write is ignored. A full disk shows elsewhere, and a lost line must not end the
        // run.
        let _ = writeln!(self.file, "{} {text}", time_of_day());
    }
}

/// The time of day in UTC, as in the services' logs.
fn time_of_day() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, ms) = (since.as_secs() % 86_400, since.subsec_millis());
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
