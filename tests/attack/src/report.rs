//! The results of a run, as a table for people and as JSON for programs.

use crate::cited::Cited;
use crate::floods::Figures;
use crate::rows::Row;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// The verdict on a row's defence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The attacker got nothing, and the honest client was not harmed.
    Held,
    /// The defence failed. The text says what was seen.
    NotHeld(String),
    /// The row has no attack here. Tests that it names decide; see [`Report::with_tests`].
    ByTests,
    /// The row is defended by an argument, and nothing is attacked.
    Argued,
}

/// The result of one row.
#[derive(Clone, Debug)]
pub struct Line {
    /// The id of the row.
    pub row: &'static str,
    /// The threat in short.
    pub threat: &'static str,
    /// The tests elsewhere that attack the same threat.
    pub tests: &'static [&'static str],
    /// The verdict.
    pub verdict: Verdict,
    /// The observation of the attack, as a text.
    pub seen: String,
    /// How long the attack took.
    pub took: Duration,
    /// The latency of the honest client's edit after the attack; `None` if there was no such edit.
    pub edit: Option<Duration>,
    /// The figures of a flood; `None` for other rows, and for a flood that did harm.
    pub figures: Option<Figures>,
}

/// The result of comparing the log with the honest client's outcomes, at the end of the run.
#[derive(Clone, Debug)]
pub struct LogSays {
    /// The verdict: whether the log agrees with the outcomes that the honest client got.
    pub verdict: Verdict,
    /// The number of the honest client's edits.
    pub edits: usize,
    /// The number of commands of all clients in the log.
    pub commands: usize,
}

impl From<Verdict> for LogSays {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, edits: 0, commands: 0 }
    }
}

/// The results of all rows.
#[derive(Default)]
pub struct Report {
    /// The rows, in the order of the document.
    pub lines: Vec<Line>,
    /// The comparison with the log of `driftless dev`; `None` if no row attacked it.
    pub log: Option<LogSays>,
    /// The comparison with the log of the services that were flooded; `None` if there were none.
    pub flooded_log: Option<LogSays>,
    /// The duration of the whole run, in seconds.
    pub seconds: f64,
    /// The number of named tests that ran.
    pub tests: usize,
}

impl Line {
    pub(crate) fn new(row: &Row, verdict: Verdict, seen: String, took: Duration) -> Self {
        Self { row: row.id, threat: row.threat, tests: row.tests, verdict, seen, took, edit: None, figures: None }
    }
}

impl Report {
    /// Adds the results of the tests that rows name. A row fails if one of its tests failed or did
    /// not run.
    #[must_use]
    pub fn with_tests(mut self, cited: &Cited) -> Self {
        for line in &mut self.lines {
            if line.tests.is_empty() || matches!(line.verdict, Verdict::NotHeld(_)) {
                continue;
            }
            match cited.check(line.tests) {
                Ok(count) => {
                    self.tests += count;
                    if line.verdict == Verdict::ByTests {
                        line.verdict = Verdict::Held;
                    }
                    let text = format!("{count} test{}", if count == 1 { "" } else { "s" });
                    line.seen = if line.seen.is_empty() { text } else { format!("{}; {text}", line.seen) };
                }
                Err(problem) => line.verdict = Verdict::NotHeld(problem),
            }
        }
        self
    }

    /// The rows whose defence did not hold, each with what was seen.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let rows = self.lines.iter().map(|line| (line.row, &line.verdict));
        let logs = self.log.iter().chain(&self.flooded_log).map(|log| ("the log", &log.verdict));
        rows.chain(logs)
            .filter_map(|(name, verdict)| match verdict {
                Verdict::NotHeld(seen) => Some(format!("{name}: {seen}")),
                _ => None,
            })
            .collect()
    }

    /// The report as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        for line in &self.lines {
            let (result, seen) = match &line.verdict {
                Verdict::Held => ("held", &line.seen),
                Verdict::ByTests => ("tests", &line.seen),
                Verdict::Argued => ("argued", &line.seen),
                Verdict::NotHeld(seen) => ("NOT HELD", seen),
            };
            let edit = line.edit.map_or_else(String::new, |edit| format!("{:>5} ms", edit.as_millis()));
            let (row, threat, took) = (line.row, line.threat, line.took.as_secs_f64());
            let _ = writeln!(table, "{row:<22}{result:<9}{took:>5.1} s {edit:>8}  {threat}");
            if !seen.is_empty() {
                let _ = writeln!(table, "{:<48}{seen}", "");
            }
        }
        for log in self.log.iter().chain(&self.flooded_log) {
            let (result, seen) = match &log.verdict {
                Verdict::NotHeld(seen) => ("NOT HELD", seen.clone()),
                _ => (
                    "held",
                    format!("{} edits are in the log as they were told, among {} commands", log.edits, log.commands),
                ),
            };
            let _ = writeln!(table, "{:<22}{result:<25}{seen}", "the log at the end");
        }
        table
    }

    /// The report as JSON for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                let result = match line.verdict {
                    Verdict::Held => "held",
                    Verdict::NotHeld(_) => "not held",
                    Verdict::ByTests => "by tests",
                    Verdict::Argued => "argued",
                };
                let seen = match &line.verdict {
                    Verdict::NotHeld(seen) => seen,
                    _ => &line.seen,
                };
                json!({
                    "id": line.row, "threat": line.threat, "result": result, "seen": seen, "seconds": line.took.as_secs_f64(),
                    "honest_edit_ms": line.edit.map(|edit| edit.as_secs_f64() * 1000.0), "tests": line.tests, "figures": line.figures,
                })
            })
            .collect();
        let log = |log: &LogSays| json!({"held": log.verdict == Verdict::Held, "honest_edits": log.edits, "commands": log.commands});
        json!({
            "ok": self.failures().is_empty(), "rows": rows, "log": self.log.as_ref().map(log), "flooded_log": self.flooded_log.as_ref().map(log), "tests": self.tests, "failures": self.failures(),
            "seconds": self.seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::How;

    fn report(verdict: Verdict) -> Report {
        let row = Row { id: "a", threat: "b", how: How::ByTests, tests: &["x"] };
        Report { lines: vec![Line::new(&row, verdict, String::new(), Duration::ZERO)], ..Report::default() }
    }

    #[test]
    fn a_row_whose_test_did_not_run_does_not_hold() {
        let passed = Cited::read("test m::x ... ok\n");
        assert!(report(Verdict::ByTests).with_tests(&passed).failures().is_empty());
        for output in ["", "test m::x ... FAILED\n", "test m::x ... ignored\n", "test m::not_x ... ok\n"] {
            assert_eq!(report(Verdict::ByTests).with_tests(&Cited::read(output)).failures().len(), 1, "{output:?}");
        }
        let failed = report(Verdict::NotHeld("seen".into())).with_tests(&passed);
        assert_eq!(failed.to_json()["ok"], false);
        assert!(failed.table().contains("NOT HELD"));
    }
}
