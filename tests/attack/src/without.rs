//! Shows that rows notice a missing defence: the services run without it, and the row must fail.
//! Defences that protect from the same flood are switched off together.

use crate::report::Verdict;
use crate::run::{Options, run};
use anyhow::{Result, bail};
use driftless_runtime_core::defences::Defence;
use serde_json::{Value, json};

/// Defences, and the row that must fail without them.
pub struct Without {
    /// The defences that are switched off together.
    pub defences: &'static [Defence],
    /// The id of the row that must fail.
    pub row: &'static str,
}

const fn without(defences: &'static [Defence], row: &'static str) -> Without {
    Without { defences, row }
}

/// All defences that are switched off.
pub const WITHOUT: &[Without] = &[
    without(&[Defence::UserCommands], "flood-commands"),
    without(&[Defence::UserCommands], "flood-cost"),
    without(&[Defence::UserRequests], "flood-requests"),
    without(&[Defence::UserConnections], "flood-user-sockets"),
    without(&[Defence::AddressConnections], "flood-address"),
    without(&[Defence::BeforeHello], "flood-before-hello"),
    without(&[Defence::BodyAfterToken, Defence::InputPool], "flood-bodies"),
    without(&[Defence::AnonymousRate], "flood-anonymous"),
    without(&[Defence::FormCost], "flood-pictures"),
    without(&[Defence::ReplicasPool], "flood-replicas"),
];

/// What a row showed without its defences.
pub struct Shown {
    /// The names of the defences, separated by commas.
    pub defences: String,
    /// The id of the row.
    pub row: &'static str,
    /// What the attack did; `None` if the row held although nothing defended it.
    pub harm: Option<String>,
}

impl Without {
    /// The names of the defences, separated by commas.
    #[must_use]
    pub fn names(&self) -> String {
        self.defences.iter().map(|defence| defence.name()).collect::<Vec<_>>().join(",")
    }
}

/// Switches off the defences with these names, or all if there are none, each by itself, and runs
/// its row.
///
/// # Errors
/// If a name is unknown, or if the services do not start.
pub async fn show(options: &Options<'_>, names: &[String]) -> Result<Vec<Shown>> {
    for name in names {
        if !WITHOUT.iter().any(|without| without.names() == *name) {
            let known: Vec<_> = WITHOUT.iter().map(Without::names).collect();
            bail!("{name:?} cannot be switched off; these can: {}", known.join("  "));
        }
    }
    let mut all = Vec::new();
    for without in WITHOUT.iter().filter(|without| names.is_empty() || names.contains(&without.names())) {
        let defences = without.names();
        (options.progress)(&format!("{} without {defences}", without.row));
        let only = [without.row.to_owned()];
        let report = run(&Options { only: &only, switched_off: &defences, ..*options }).await?;
        let harm = report.lines.iter().find_map(|line| match &line.verdict {
            Verdict::NotHeld(harm) => Some(harm.clone()),
            _ => None,
        });
        all.push(Shown { defences, row: without.row, harm });
    }
    Ok(all)
}

/// What was shown, as JSON for programs.
#[must_use]
pub fn to_json(shown: &[Shown]) -> Value {
    let rows = shown.iter().map(|one| json!({"without": one.defences, "row": one.row, "harm": one.harm}));
    json!({"ok": shown.iter().all(|one| one.harm.is_some()), "rows": rows.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    #[test]
    fn each_defence_that_can_be_switched_off_has_a_row() {
        for without in WITHOUT {
            assert!(ROWS.iter().any(|row| row.id == without.row), "there is no row {}", without.row);
        }
        let is_shown = |defence: &&Defence| WITHOUT.iter().any(|without| without.defences.contains(defence));
        let others: Vec<_> = Defence::ALL.iter().filter(|defence| !is_shown(defence)).collect();
        assert!(others.is_empty(), "no attack shows what happens without {others:?}");
    }
}
