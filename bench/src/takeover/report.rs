//! The report of `takeover`: figures beside their targets.

use crate::quantiles;
use serde::Serialize;

/// A measured time, with its values in all rounds, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    /// How the owner ended.
    pub what: &'static str,
    /// Which time was measured.
    pub name: &'static str,
    pub rounds_ms: Vec<f64>,
    pub median_ms: f64,
    pub worst_ms: f64,
    /// Limit for the median, if there is a target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ms: Option<f64>,
    /// True if the median does not exceed the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_met: Option<bool>,
}

/// The whole report.
#[derive(Serialize)]
pub(super) struct Report {
    pub log: String,
    pub store: String,
    pub chunks: u32,
    pub rate: u32,
    pub rounds: u16,
    pub snapshot_age_s: u32,
    pub session_timeout_ms: u32,
    /// The most records of `updates` that a new owner read before it decided.
    pub recovered_records_max: u64,
    /// Number of commands; each was decided once.
    pub commands: u64,
    pub figures: Vec<Figure>,
    /// True if no figure misses its target.
    pub is_met: bool,
}

/// Collects figures, in the order of their first measurement.
#[derive(Default)]
pub(super) struct Figures(Vec<Figure>);

impl Figures {
    /// Adds one measurement of the time `name` after an end of the kind `what`, in milliseconds.
    pub fn note(&mut self, what: &'static str, name: &'static str, ms: f64, target_ms: Option<f64>) {
        let index = self.0.iter().position(|f| (f.what, f.name) == (what, name)).unwrap_or_else(|| {
            let figure =
                Figure { what, name, rounds_ms: vec![], median_ms: 0.0, worst_ms: 0.0, target_ms, is_met: None };
            self.0.push(figure);
            self.0.len() - 1
        });
        self.0[index].rounds_ms.push((ms * 10.0).round() / 10.0);
    }

    /// Computes median and maximum of each figure. A target is met if the median does not exceed
    /// it.
    pub fn done(mut self) -> (Vec<Figure>, bool) {
        for figure in &mut self.0 {
            figure.median_ms = quantiles::median(figure.rounds_ms.clone());
            figure.worst_ms = figure.rounds_ms.iter().copied().fold(0.0, f64::max);
            figure.is_met = figure.target_ms.map(|target| figure.median_ms <= target);
        }
        let is_met = self.0.iter().all(|figure| figure.is_met != Some(false));
        (self.0, is_met)
    }
}

impl Report {
    pub fn print(&self) {
        println!(
            "{} and {}: {} hot chunks in one partition, {} edits/s, {} rounds",
            self.log, self.store, self.chunks, self.rate, self.rounds
        );
        println!(
            "snapshots every {} s, session time-out {} ms; a new owner read up to {} records of updates",
            self.snapshot_age_s, self.session_timeout_ms, self.recovered_records_max
        );
        println!("{:<34} {:<30} {:>9} {:>9} {:>9}", "milliseconds", "", "median", "worst", "target");
        let mut before = "";
        for figure in &self.figures {
            let what = if figure.what == before { "" } else { figure.what };
            before = figure.what;
            let (target, verdict) = match (figure.target_ms, figure.is_met) {
                (Some(target), Some(is_met)) => (format!("{target:.0}"), if is_met { "  met" } else { "  MISSED" }),
                _ => (String::new(), ""),
            };
            println!(
                "{what:<34} {:<30} {:>9.0} {:>9.0} {target:>9}{verdict}",
                figure.name, figure.median_ms, figure.worst_ms
            );
        }
        println!("{} commands, every one decided once", self.commands);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_by_the_median_and_the_worst_is_shown() {
        let mut figures = Figures::default();
        for ms in [100.0, 900.0, 200.0] {
            figures.note("kill", "first", ms, Some(300.0));
            figures.note("kill", "all", ms, Some(150.0));
            figures.note("kill", "detected", ms, None);
        }
        let (figures, is_met) = figures.done();
        let brief: Vec<_> = figures.iter().map(|f| (f.name, f.median_ms, f.worst_ms, f.is_met)).collect();
        let expected =
            [("first", 200.0, 900.0, Some(true)), ("all", 200.0, 900.0, Some(false)), ("detected", 200.0, 900.0, None)];
        assert_eq!(brief, expected);
        assert!(!is_met);
    }
}
