//! The journal of a run: its faults and the reactions of processes. Each line has the time of day,
//! so that the journal can be compared with the logs of the processes.

use crate::plan::Fault;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    /// How long it took, after each fault of the environment, until every chunk had a new commit.
    pub recoveries: BTreeMap<&'static str, Vec<Duration>>,
    /// The times during which a clock of an ingest or a gateway was wrong.
    pub wrong_clocks: Vec<(Instant, Instant)>,
    /// The number of forged records.
    pub forged: usize,
    /// How long it took, after a topic was deleted, until each service said what is wrong.
    pub said: BTreeMap<String, Duration>,
    /// Faults after which edits did not go on in time, or of which no service told in time.
    pub late: Vec<String>,
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

    /// Records how long it took after a fault of the environment until every chunk had a new
    /// commit.
    pub fn recovered(&self, fault: Fault, after: Duration) {
        let mut inner = self.lock();
        inner.write(&format!("every chunk goes on {} ms after {}", after.as_millis(), fault.name()));
        inner.counts.recoveries.entry(fault.name()).or_default().push(after);
    }

    /// Records that the clock of an ingest or a gateway was wrong during this time.
    pub fn clock_was_wrong(&self, from: Instant, to: Instant) {
        self.lock().counts.wrong_clocks.push((from, to));
    }

    /// Records that another program has appended this number of records.
    pub fn forged(&self, records: usize) {
        self.lock().counts.forged += records;
    }

    /// Records how soon a service said that something is wrong, and its words.
    pub fn said(&self, service: &str, after: Duration, text: &str) {
        let mut inner = self.lock();
        let line = text.lines().find(|line| line.contains("partition")).unwrap_or_default();
        inner.write(&format!("{service} says {} ms later: {line}", after.as_millis()));
        inner.counts.said.insert(service.to_owned(), after);
    }

    /// Records that edits did not go on in time after a fault, or that no service told of it in
    /// time.
    pub fn late(&self, fault: Fault, text: &str) {
        let mut inner = self.lock();
        let text = format!("{} {}: {text}", time_of_day(), fault.name());
        inner.write(&format!("LATE: {text}"));
        inner.counts.late.push(text);
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
