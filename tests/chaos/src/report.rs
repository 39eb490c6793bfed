//! The result of a run, as a table for people and as one JSON object for programs.

use crate::journal::Counts;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// The number of edits, by the outcomes that clients got.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Edits {
    /// All edits that painters submitted.
    pub submitted: usize,
    /// Edits that were committed.
    pub committed: usize,
    /// Edits that the decider discarded.
    pub discarded: usize,
    /// Edits that ingest rejected with a final rejection.
    pub rejected: usize,
    /// Edits that their author took back before they were decided.
    pub withdrawn: usize,
    /// Edits whose client could not learn the outcome.
    pub unknown: usize,
    /// Edits that ingest acknowledged with a receipt.
    pub receipted: usize,
    /// Edits among the unknown ones whose session was lost because a clock was wrong.
    pub lost_sessions: usize,
    /// Edits without an outcome at the end. There must be none.
    pub without_outcome: usize,
}

/// The comparison of the replicas when everything is at rest.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Hashes {
    /// The number of chunks.
    pub chunks: usize,
    /// The number of replicas of clients and gateways that were compared.
    pub replicas: usize,
    /// True if all replicas of each chunk equal the log's content.
    pub equal: bool,
}

/// The number of records in the log, by kind.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LogCounts {
    /// Records of the topic `commands`.
    pub commands: usize,
    /// Valid fences, one for each ownership that began.
    pub fences: usize,
    /// Records of replaced owners. R4 makes all readers ignore them.
    pub invalid: usize,
    /// Notices of stored snapshots.
    pub snapshots: usize,
}

/// The whole result of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed, which replays the plan.
    pub seed: u64,
    /// How many minutes of faults were requested.
    pub minutes: f64,
    /// The duration of the whole run in seconds, including the start and the checks.
    pub seconds: f64,
    /// The time in seconds from the end of the last fault until everything was at rest.
    pub rest_seconds: f64,
    /// The folder with the logs, the outcomes and the final states.
    pub folder: PathBuf,
    /// The faults, and how processes reacted to them.
    pub counts: Counts,
    /// The number of edits, by outcome.
    pub edits: Edits,
    /// Edits that ingest acknowledged and that the log does not have, or whose outcome is unknown.
    /// There must be none.
    pub acknowledged_missing: usize,
    /// Sequence numbers (of one writer in one chunk) that the log decided more than once. There
    /// must be none.
    pub decided_twice: usize,
    /// The comparison of replicas.
    pub hashes: Hashes,
    /// The number of records in the log, by kind.
    pub log: LogCounts,
    /// True if the topic `updates` was made anew, so that the log holds a second history.
    pub is_remade: bool,
    /// The JSON that the checker printed.
    pub checker: Value,
    /// A text for each violation.
    pub failures: Vec<String>,
}

impl Report {
    /// True if the run found no violation.
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

    /// For each kind of fault of the environment, how often it happened, and the longest time in
    /// seconds until every chunk had a new commit.
    fn environment(&self) -> BTreeMap<&'static str, Value> {
        let all = self.counts.recoveries.iter();
        let longest = |times: &[Duration]| times.iter().max().map_or(0.0, Duration::as_secs_f64);
        all.map(|(fault, times)| (*fault, json!({ "recovered": times.len(), "longest_s": tenths(longest(times)) })))
            .collect()
    }

    /// How many seconds after the deletion of a topic each service said what is wrong.
    fn said(&self) -> BTreeMap<&str, f64> {
        self.counts.said.iter().map(|(service, after)| (service.as_str(), tenths(after.as_secs_f64()))).collect()
    }

    /// The result as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let is_process = |target: &str| !matches!(target, "s3" | "clients" | "environment");
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
            "environment": self.environment(),
            "forged": self.counts.forged,
            "said_s": self.said(),
            "late": self.counts.late,
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

    /// The rows of the table about faults of the environment.
    fn rows_of_environment(&self) -> Vec<(&'static str, String)> {
        let went_on = |found: Value| {
            format!("{} times every chunk went on, at most {} s later", found["recovered"], found["longest_s"])
        };
        let mut rows: Vec<_> = self.environment().into_iter().map(|(fault, found)| (fault, went_on(found))).collect();
        if self.is_remade {
            let said: Vec<String> = self.said().iter().map(|(service, s)| format!("{service} {s} s")).collect();
            rows.push(("told of it", said.join(", ")));
            let destroyed = self.checker["destroyed"].as_array().map_or(0, Vec::len);
            let commits = self.checker["destroyed_commits"].as_u64().unwrap_or_default();
            rows.push(("destroyed", format!("{commits} commits of the lost history, in {destroyed} chunks")));
        }
        rows
    }

    /// The result as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut row = |what: &str, said: String| {
            let _ = writeln!(text, "{what:<15} {said}");
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
        self.rows_of_environment().into_iter().for_each(|(what, said)| row(what, said));
        let Edits { submitted, committed, discarded, rejected, withdrawn, unknown, receipted, .. } = self.edits;
        let Edits { lost_sessions, without_outcome, .. } = self.edits;
        row("edits", format!("{submitted} submitted, {receipted} acknowledged"));
        row(
            "outcomes",
            format!(
                "{committed} committed, {discarded} discarded, {rejected} rejected, {withdrawn} withdrawn, {unknown} unknown ({lost_sessions} by a wrong clock), {without_outcome} open"
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
            let _ = writeln!(text, "FAILED          {failure}");
        }
        text
    }
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}
