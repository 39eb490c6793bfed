//! What a run came to: for people a table, for programs one JSON object.

use crate::journal::Counts;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Edits by what became of them, as clients were told.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Edits {
    /// All.
    pub submitted: usize,
    /// In the chunk.
    pub committed: usize,
    /// The decider said no.
    pub discarded: usize,
    /// Ingest said no for good.
    pub rejected: usize,
    /// Taken back in time.
    pub withdrawn: usize,
    /// Nobody can say.
    pub unknown: usize,
    /// Acknowledged by ingest.
    pub receipted: usize,
    /// Still open at the end; there must be none.
    pub without_outcome: usize,
}

/// Replicas at rest.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Hashes {
    /// Chunks.
    pub chunks: usize,
    /// Replicas of clients and gateways that were compared.
    pub replicas: usize,
    /// Whether those of a chunk are the same, and the log's.
    pub equal: bool,
}

/// What the log says.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LogCounts {
    /// Records of `commands`.
    pub commands: usize,
    /// Ownerships that began.
    pub fences: usize,
    /// Records of replaced owners, which count for nobody (R4).
    pub invalid: usize,
    /// Notices of stored snapshots.
    pub snapshots: usize,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Replays the plan.
    pub seed: u64,
    /// Asked for.
    pub minutes: f64,
    /// It took, with start and checks.
    pub seconds: f64,
    /// From the end of the last fault until all was at rest.
    pub rest_seconds: f64,
    /// Logs, outcomes, finals.
    pub folder: PathBuf,
    /// Faults and their consequences.
    pub counts: Counts,
    /// See there.
    pub edits: Edits,
    /// Acknowledged edits that the log does not have, or that nobody can tell of; there must be none.
    pub acknowledged_missing: usize,
    /// Numbers that the log decided more than once; there must be none.
    pub decided_twice: usize,
    /// See there.
    pub hashes: Hashes,
    /// See there.
    pub log: LogCounts,
    /// The checker's words.
    pub checker: Value,
    /// Everything that is wrong, in words.
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

    /// One object.
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

    /// For people.
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
