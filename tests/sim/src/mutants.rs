//! The search for mutants. A mutant is a deliberate bug in the code. For each mutant, an oracle
//! must report a violation in a run that passes without the mutant.

use crate::seeds::{run, run_many};
use driftless_chunk::mutant::Mutant;
use serde_json::{Value, json};

/// The default limit on the seeds that the search runs for one mutant.
pub const SEEDS_MAX: u64 = 3_000;

/// The result of the search for a mutant.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The deliberate bug.
    pub mutant: Mutant,
    /// The number of seeds that were run.
    pub seeds: u64,
    /// The seed whose run violated a rule, and the violation; `None` if no run did.
    pub found: Option<(u64, String)>,
}

/// Runs seeds with that bug until an oracle finds it.
#[must_use]
pub fn hunt(mutant: Mutant, first: u64, threads: usize, seeds_max: u64) -> Hunt {
    let mut hunt = Hunt { mutant, seeds: 0, found: None };
    run_many(
        first,
        threads,
        Some(mutant),
        |seed| seed < first + seeds_max,
        |report| {
            hunt.seeds += 1;
            if let (Some(violation), None) = (report.violation, &hunt.found) {
                hunt.found = Some((report.seed, violation.to_string()));
            }
        },
    );
    // A seed whose run fails without the bug too does not count.
    if let Some((seed, _)) = &hunt.found
        && run(*seed, None).violation.is_some()
    {
        hunt.found = None;
    }
    hunt
}

impl Hunt {
    /// The result as a line of text.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { mutant, seeds, found } = self;
        let name = format!("{mutant:?}");
        match found {
            Some((seed, what)) => {
                let what: String = what.lines().next().unwrap_or_default().chars().take(100).collect();
                format!("caught   {name:26} after {seeds:4} seeds, in {seed}: {what}")
            }
            None => format!("SURVIVED {name:26} for {seeds} seeds: {}", mutant.story()),
        }
    }

    /// The result as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { mutant, seeds, found } = self;
        json!({
            "mutant": format!("{mutant:?}"),
            "story": mutant.story(),
            "caught": found.is_some(),
            "seeds": seeds,
            "seed": found.as_ref().map(|(seed, _)| seed),
            "violation": found.as_ref().map(|(_, what)| what),
        })
    }
}
