//! The results of a run, as text and as JSON.

use crate::configurations::Configuration;
use crate::explore::{Explored, Violation};
use crate::mutants::Mutant;
use serde_json::{Value, json};

/// A run's results.
#[derive(Debug, Default)]
pub struct Report {
    explored: Vec<(Configuration, Explored)>,
    caught: Vec<(Mutant, Explored)>,
}

impl Report {
    /// Adds the result of a configuration, and returns the lines of text that describe it.
    pub fn explored(&mut self, configuration: Configuration, explored: Explored) -> String {
        let Explored { states, depth, took, .. } = explored;
        let seconds = took.as_secs_f64();
        let verdict = match (&explored.violation, &explored.absent[..]) {
            (Some(violation), _) => format!("VIOLATED {}\n{}", violation.property, trace(violation)),
            (None, []) => "no property violated".to_owned(),
            (None, absent) => format!("FAILED: never occurs: {}", absent.join("; ")),
        };
        let name = configuration.name;
        let bounds = configuration.setup.bounds();
        self.explored.push((configuration, explored));
        format!("{name:<14} {states:>10} states, depth {depth:>2}, {seconds:>6.1} s: {verdict}\n{:15}{bounds}", "")
    }

    /// Adds the result of a mutant, and returns the lines of text that describe it.
    pub fn caught(&mut self, mutant: Mutant, explored: Explored, with_trace: bool) -> String {
        let name = &mutant.name;
        let mut line = match &explored.violation {
            Some(violation) if violation.property == mutant.property => {
                format!("{name:<25} caught in {:>2} steps by {}", violation.trace.len(), violation.property)
            }
            Some(violation) => {
                let Violation { property, .. } = violation;
                format!(
                    "{name:<25} CAUGHT BY ANOTHER PROPERTY: {property}, not {}\n{}",
                    mutant.property,
                    trace(violation)
                )
            }
            None => format!("{name:<25} NOT CAUGHT in {} states", explored.states),
        };
        if let (true, Some(violation)) = (with_trace && is_caught(&mutant, &explored), &explored.violation) {
            line = format!("{line}\n{}", trace(violation));
        }
        self.caught.push((mutant, explored));
        line
    }

    /// True if each configuration passed, and each mutant was caught by the property that is named
    /// for it.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.explored.iter().all(|(_, explored)| explored.is_ok())
            && self.caught.iter().all(|(mutant, explored)| is_caught(mutant, explored))
    }

    /// One line that sums up the run.
    #[must_use]
    pub fn conclusion(&self) -> String {
        let states: usize = self.explored.iter().map(|(_, explored)| explored.states).sum();
        let seconds: f64 = self.explored.iter().map(|(_, explored)| explored.took.as_secs_f64()).sum();
        let bad = self.explored.iter().filter(|(_, explored)| !explored.is_ok()).count();
        let mut line = format!("{} configurations, {states} states, {seconds:.0} s, {bad} failed", self.explored.len());
        if !self.caught.is_empty() {
            let caught = self.caught.iter().filter(|(mutant, explored)| is_caught(mutant, explored)).count();
            line = format!("{line}; {caught} of {} mutants caught", self.caught.len());
        }
        line
    }

    /// The whole run as one JSON object.
    #[must_use]
    pub fn to_json(&self, is_quick: bool) -> Value {
        let configuration = |(configuration, explored): &(Configuration, Explored)| {
            json!({
                "name": configuration.name,
                "bounds": configuration.setup.bounds(),
                "states": explored.states,
                "steps": explored.steps,
                "depth": explored.depth,
                "seconds": (explored.took.as_secs_f64() * 10.0).round() / 10.0,
                "violation": explored.violation.as_ref().map(violation),
                "absent": explored.absent,
            })
        };
        let mutant = |(mutant, explored): &(Mutant, Explored)| {
            json!({
                "name": mutant.name,
                "caught": is_caught(mutant, explored),
                "property": mutant.property,
                "steps": explored.violation.as_ref().map(|violation| violation.trace.len()),
                "violation": explored.violation.as_ref().map(violation),
            })
        };
        json!({
            "ok": self.is_ok(),
            "quick": is_quick,
            "states": self.explored.iter().map(|(_, explored)| explored.states).sum::<usize>(),
            "configurations": self.explored.iter().map(configuration).collect::<Vec<_>>(),
            "mutants": self.caught.iter().map(mutant).collect::<Vec<_>>(),
        })
    }
}

/// True if the mutant was caught by the property that is named for it.
#[must_use]
pub fn is_caught(mutant: &Mutant, explored: &Explored) -> bool {
    explored.violation.as_ref().is_some_and(|violation| violation.property == mutant.property)
}

fn violation(violation: &Violation) -> Value {
    json!({ "property": violation.property, "trace": violation.trace })
}

fn trace(violation: &Violation) -> String {
    let steps = violation.trace.iter().enumerate();
    steps.map(|(i, step)| format!("{:>20}. {step}", i + 1)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{configurations, mutants};
    use std::time::Duration;

    fn explored(violation: Option<&'static str>, absent: &[&'static str]) -> Explored {
        let violation = violation.map(|property| Violation { property, trace: vec!["Submit".into()] });
        Explored { states: 7, steps: 9, depth: 2, took: Duration::ZERO, violation, absent: absent.to_vec() }
    }

    #[test]
    fn a_violation_a_missing_event_and_an_uncaught_mutant_are_failures() {
        let configuration = configurations::quick().remove(0);
        for (result, is_ok) in [
            (explored(None, &[]), true),
            (explored(Some("R2"), &[]), false),
            (explored(None, &["a hole is skipped"]), false),
        ] {
            let mut report = Report::default();
            report.explored(configuration.clone(), result);
            assert_eq!(report.is_ok(), is_ok);
            assert_eq!(report.to_json(true)["ok"], is_ok);
        }
        let mutant = mutants::all().remove(0);
        for (property, is_ok) in [(Some(mutant.property), true), (Some("another"), false), (None, false)] {
            let mut report = Report::default();
            report.caught(mutant.clone(), explored(property, &[]), false);
            assert_eq!(report.is_ok(), is_ok, "{property:?}");
        }
    }
}
