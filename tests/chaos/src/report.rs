//! The result of a run: a table for people, one JSON object for programs.

use crate::journal::Counts;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Edits by the outcomes that clients were told.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Edits {
    /// All edits.
    pub submitted: usize,
    /// Committed edits.
    pub committed: usize,
    /// Edits that the decider discarded.
    pub discarded: usize,
    /// Edits that ingest rejected for good.
    pub rejected: usize,
    /// Edits that were taken back in time.
    pub withdrawn: usize,
    /// Edits whose outcome cannot be known.
    pub unknown: usize,
    /// Edits that ingest acknowledged.
    pub receipted: usize,
    /// Edits still open at the end; there must be none.
    pub without_outcome: usize,
}

/// The replicas at rest.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Hashes {
    /// Chunks.
    pub chunks: usize,
    /// Replicas of clients and gateways that were compared.
    pub replicas: usize,
    /// Whether all replicas of each chunk equal the log's content.
    pub equal: bool,
}

/// Counts of log records.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LogCounts {
    /// Records of `commands`.
    pub commands: usize,
    /// Ownerships that began.
    pub fences: usize,
    /// Records of replaced owners, which count for no reader (R4).
    pub invalid: usize,
    /// Notices of stored snapshots.
    pub snapshots: usize,
}

/// The whole result.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed, which replays the plan.
    pub seed: u64,
    /// The requested minutes of faults.
    pub minutes: f64,
    /// The duration of the run with start and checks.
    pub seconds: f64,
    /// The time from the end of the last fault to rest.
    pub rest_seconds: f64,
    /// The folder with logs, outcomes and final states.
    pub folder: PathBuf,
    /// Faults and their consequences.
    pub counts: Counts,
    /// Counts of edits.
    pub edits: Edits,
    /// Acknowledged edits that the log lacks, or whose outcome is unknown; there must be none.
    pub acknowledged_missing: usize,
    /// Numbers that the log decided more than once; there must be none.
    pub decided_twice: usize,
    /// The comparison of replicas.
    pub hashes: Hashes,
    /// Counts of log records.
    pub log: LogCounts,
    /// The checker's JSON.
    pub checker: Value,
    /// Every violation, in words.
    pub failures: Vec<String>,
}

impl Report {
    /// Whether everything holds.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failures.is_empty()
    }

    fn faults(&self) -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
        let mut all: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for ((target, fault), count) in &self.counts.faults {
            all.entry(*target).or_default().insert(*fault, *count);
        }
        all
    }

    fn sum(&self, faults: &[&str], of: impl Fn(&str) -> bool) -> u64 {
        let counted = self.counts.faults.iter().filter(|((target, fault), _)| faults.contains(fault) && of(target));
        counted.map(|(_, count)| count).sum()
    }

    /// The result as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let is_process = |target: &str| !matches!(target, "s3" | "clients");
        json!({
            "ok": self.is_ok(),
            "seed": self.seed,
            "minutes": self.minutes,
            "seconds": tenths(self.seconds),
            "rest_seconds": tenths(self.rest_seconds),
            "kills": self.sum(&["kill"], is_process),
            "pauses": self.sum(&["pause"], is_process),
            "zombies": self.sum(&["zombie"], is_process),
            "kafka_connections": self.sum(&["refuse", "stall"], is_process),
            "terminations": self.sum(&["terminate"], is_process),
            "store_outages": self.sum(&["refuse", "stall", "cut"], |target| target == "s3"),
            "client_disturbances": self.sum(&["refuse", "stall", "cut"], |target| target == "clients"),
            "faults": self.faults(),
            "starts_in_vain": self.counts.starts_in_vain,
            "ended_by_themselves": self.counts.ended_by_themselves,
            "bad_ends": self.counts.bad_ends,
            "edits": self.edits,
            "acknowledged_missing": self.acknowledged_missing,
            "decided_twice": self.decided_twice,
            "hashes": self.hashes,
            "log": self.log,
            "checker": self.checker,
            "failures": self.failures,
            "folder": self.folder,
        })
    }

    /// The result as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut row = |what: &str, said: String| {
            let _ = writeln!(text, "{what:<14} {said}");
        };
        row(
            "seed",
            format!(
                "{}; {} minutes of faults, at rest {:.0} s later, {:.0} s in all",
                self.seed, self.minutes, self.rest_seconds, self.seconds
            ),
        );
        for (target, faults) in self.faults() {
            let faults: Vec<String> = faults.iter().map(|(fault, count)| format!("{count} {fault}")).collect();
            row(target, faults.join(", "));
        }
        row(
            "processes",
            format!(
                "{} starts in vain, {} ended by themselves, {} ended badly after SIGTERM",
                self.counts.starts_in_vain,
                self.counts.ended_by_themselves.len(),
                self.counts.bad_ends.len()
            ),
        );
        let Edits { submitted, committed, discarded, rejected, withdrawn, unknown, receipted, without_outcome } =
            self.edits;
        row("edits", format!("{submitted} submitted, {receipted} acknowledged"));
        row(
            "outcomes",
            format!(
                "{committed} committed, {discarded} discarded, {rejected} rejected, {withdrawn} withdrawn, {unknown} unknown, {without_outcome} open"
            ),
        );
        row("acknowledged", format!("{} missing, {} decided twice", self.acknowledged_missing, self.decided_twice));
        let Hashes { chunks, replicas, equal } = self.hashes;
        row(
            "hashes",
            format!("{} for {replicas} replicas of {chunks} chunks", if equal { "equal" } else { "DIFFERENT" }),
        );
        let LogCounts { commands, fences, invalid, snapshots } = self.log;
        row(
            "log",
            format!(
                "{commands} commands, {fences} ownerships, {invalid} records of replaced owners, {snapshots} snapshots"
            ),
        );
        let violations = &self.checker["violations_total"];
        row(
            "checker",
            if violations.is_null() { "did not run".to_owned() } else { format!("{violations} violations") },
        );
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED         {failure}");
        }
        text
    }
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}
