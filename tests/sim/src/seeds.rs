//! Many runs in parallel. Each seed is an independent run, so the number of threads does not change
//! any result.

use crate::faults::Counts;
use crate::oracle::Seen;
use crate::sim::{self, Report};
use crate::violation::Violation;
use driftless_chunk::mutant::{self, Mutant};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The sum of the reports of many runs.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// The number of runs.
    pub seeds: u64,
    /// The number of steps in all runs.
    pub steps: u64,
    /// The number of edits that users made.
    pub edits: u64,
    /// The number of faults, by kind.
    pub faults: Counts,
    /// Counts of the events that the oracles judged.
    pub seen: Seen,
    /// The number of outcomes that users received, by kind: committed, discarded, rejected,
    /// withdrawn, unknown.
    pub outcomes: [u64; 5],
    /// The number of drifts that clients, gateways and owners found, in this order.
    pub drifts: [u64; 3],
    /// The number of lost objects that owners reconstructed.
    pub reconstructed: u64,
    /// The number of times that a client told its user that a chunk has another history.
    pub changes: u64,
    /// The seed of the first run that violated a rule, and the violation; `None` if no run did.
    pub violation: Option<(u64, Violation)>,
}

const OUTCOMES: [&str; 5] = ["committed", "discarded", "rejected", "withdrawn", "unknown"];
const DRIFTS: [&str; 3] = ["client", "gateway", "owner"];

impl Totals {
    /// Adds the report of a run.
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.steps += report.steps;
        self.edits += report.edits;
        for (fault, count) in &report.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        self.seen.add(&report.seen);
        self.outcomes.iter_mut().zip(report.outcomes).for_each(|(all, one)| *all += one);
        self.drifts.iter_mut().zip(report.drifts).for_each(|(all, one)| *all += one);
        self.reconstructed += report.reconstructed;
        self.changes += report.changes;
        if let (Some(violation), None) = (&report.violation, &self.violation) {
            self.violation = Some((report.seed, violation.clone()));
        }
    }

    /// The number of commands that owners decided or passed over as resends.
    #[must_use]
    pub fn commands(&self) -> u64 {
        let Seen { committed, discarded, out_of_order, expired, resends, .. } = self.seen;
        committed + discarded + out_of_order + expired + resends
    }

    /// The totals as lines of text.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |name: &str, count: u64| {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{count:>12}  {name}");
        };
        for (fault, count) in &self.faults {
            line(fault.name(), *count);
        }
        for (name, count) in OUTCOMES.iter().zip(self.outcomes) {
            line(&format!("edits that ended as {name}"), count);
        }
        for (name, count) in DRIFTS.iter().zip(self.drifts) {
            line(&format!("drifts found by a {name}"), count);
        }
        line("lost snapshots that were reconstructed", self.reconstructed);
        line("changes of history that clients told their users", self.changes);
        for (name, count) in self.seen.list() {
            line(&format!("seen: {name}"), count);
        }
        table.trim_end().to_owned()
    }

    /// The totals as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let faults: serde_json::Map<_, _> = self.faults.iter().map(|(f, n)| (f.name().to_owned(), json!(n))).collect();
        let named = |names: &[&str], counts: &[u64]| -> Value {
            names
                .iter()
                .zip(counts)
                .map(|(name, n)| ((*name).to_owned(), json!(n)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let seen: serde_json::Map<_, _> =
            self.seen.list().iter().map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
        json!({
            "ok": self.violation.is_none() && self.seeds > 0,
            "seeds": self.seeds,
            "steps": self.steps,
            "edits": self.edits,
            "commands": self.commands(),
            "outcomes": named(&OUTCOMES, &self.outcomes),
            "faults": faults,
            "drifts": named(&DRIFTS, &self.drifts),
            "reconstructed": self.reconstructed,
            "history_changes": self.changes,
            "seen": seen,
            "violation": self.violation.as_ref().map(|(seed, v)| json!({"seed": seed, "rule": v.rule, "detail": v.detail})),
        })
    }
}

/// Runs a seed, with a mutant or without one. A panic counts as a violation.
#[must_use]
pub fn run(seed: u64, mutant: Option<Mutant>) -> Report {
    mutant::set(mutant);
    let report = catch_unwind(AssertUnwindSafe(|| sim::run(seed)));
    mutant::set(None);
    report.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Report {
            seed,
            steps: 0,
            edits: 0,
            faults: Default::default(),
            seen: Default::default(),
            outcomes: [0; 5],
            drifts: [0; 3],
            reconstructed: 0,
            trace: 0,
            changes: 0,
            violation: Some(Violation::new("panic", said.unwrap_or("a panic without a message"))),
        }
    })
}

/// Runs seeds from `first` on, as long as `goes_on` returns true for the next seed. `take` gets
/// each report; the order of the reports is not defined. After a violation no further run begins.
pub fn run_many(
    first: u64,
    threads: usize,
    mutant: Option<Mutant>,
    goes_on: impl Fn(u64) -> bool + Sync,
    take: impl FnMut(Report) + Send,
) {
    let next = AtomicU64::new(first);
    let is_over = AtomicBool::new(false);
    let take = Mutex::new(take);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(seed) {
                        return;
                    }
                    let report = run(seed, mutant);
                    if report.violation.is_some() {
                        is_over.store(true, Ordering::Relaxed);
                    }
                    let mut take = take.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    take(report);
                }
            });
        }
    });
}
