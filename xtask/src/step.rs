//! A sequence of steps: the result and duration of each, and a table of all at the end.

use anyhow::Result;
use serde_json::{Value, json};
use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Where the output for people goes. With `--json` it goes to standard error, so that standard
/// output has only the JSON.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    pub is_stderr: bool,
}

impl Screen {
    pub fn say(self, line: &str) {
        if self.is_stderr {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    }

    /// Returns the standard output for a program that this program starts.
    pub fn stdio(self) -> Stdio {
        if self.is_stderr { io::stderr().into() } else { Stdio::inherit() }
    }
}

/// The result of a step that did not fail, in a few words.
#[derive(Clone, Debug)]
pub enum Verdict {
    Passed(String),
    Skipped(String),
}

/// The steps of a run, printed while they happen.
#[derive(Debug)]
pub struct Report {
    screen: Screen,
    all: usize,
    pub steps: Vec<FinishedStep>,
}

/// A finished or skipped step.
#[derive(Debug)]
pub struct FinishedStep {
    pub name: &'static str,
    pub outcome: Outcome,
    pub note: String,
    pub took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

impl Report {
    /// Starts a report of `all` steps.
    pub fn new(screen: Screen, all: usize) -> Self {
        Self { screen, all, steps: Vec::new() }
    }

    /// Runs a step with `act`, and prints its result. Returns false if the step failed.
    pub fn step(&mut self, name: &'static str, act: impl FnOnce() -> Result<Verdict>) -> bool {
        let number = self.steps.len() + 1;
        self.screen.say(&format!("== [{number}/{}] {name}", self.all));
        let start = Instant::now();
        let (outcome, note) = match act() {
            Ok(Verdict::Passed(note)) => (Outcome::Passed, note),
            Ok(Verdict::Skipped(why)) => (Outcome::Skipped, why),
            Err(error) => (Outcome::Failed, format!("{error:#}")),
        };
        let done = FinishedStep { name, outcome, note, took: start.elapsed() };
        let took = done.took.as_secs_f64();
        self.screen.say(&format!(
            "== [{number}/{}] {name}: {} in {took:.1} s: {}",
            self.all,
            outcome.word(),
            done.note
        ));
        self.steps.push(done);
        outcome != Outcome::Failed
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.steps.iter().filter(|step| step.outcome == outcome).count()
    }

    /// Returns a row for each step: its outcome, its duration and the first line of its note.
    pub fn table(&self) -> String {
        let row = |step: &FinishedStep| {
            let note = step.note.lines().next().unwrap_or_default();
            format!("  {:8} {:7.1} s  {}: {note}\n", step.outcome.word(), step.took.as_secs_f64(), step.name)
        };
        self.steps.iter().map(row).collect()
    }

    pub fn to_json(&self) -> Value {
        let step = |step: &FinishedStep| {
            let seconds = seconds(step.took);
            json!({ "name": step.name, "outcome": step.outcome.word(), "seconds": seconds, "note": step.note })
        };
        self.steps.iter().map(step).collect()
    }
}

/// Returns the duration in seconds, rounded to tenths.
pub fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_report_keeps_the_result_of_each_step() {
        let mut report = Report::new(Screen { is_stderr: true }, 3);
        assert!(report.step("one", || Ok(Verdict::Passed("fine".into()))));
        assert!(report.step("two", || Ok(Verdict::Skipped("not needed".into()))));
        assert!(!report.step("three", || Err(anyhow!("first line\nsecond line").context("it broke"))));
        for outcome in [Outcome::Passed, Outcome::Failed, Outcome::Skipped] {
            assert_eq!(report.count(outcome), 1, "{outcome:?}");
        }
        let table = report.table();
        assert!(table.contains("three: it broke: first line\n"), "{table}");
        assert!(!table.contains("second line"), "{table}");
        assert_eq!(report.to_json()[2]["note"], "it broke: first line\nsecond line");
        assert_eq!(report.to_json()[1]["outcome"], "skipped");
    }
}
