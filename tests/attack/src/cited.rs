//! The tests that rows name, and how they ended.

use crate::rows::Row;
use std::collections::BTreeMap;

/// Tests by the last part of their names, with whether they passed.
#[derive(Debug, Default)]
pub struct Cited(BTreeMap<String, bool>);

/// What `cargo test` is to be asked for.
#[must_use]
pub fn names(rows: &[Row]) -> Vec<&'static str> {
    let mut names: Vec<&str> = rows.iter().flat_map(|row| row.tests).copied().collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl Cited {
    /// What `cargo test` printed.
    #[must_use]
    pub fn read(output: &str) -> Self {
        let mut cited = Self::default();
        for line in output.lines() {
            let Some((path, result)) = line.trim().strip_prefix("test ").and_then(|line| line.split_once(" ... "))
            else {
                continue;
            };
            let name = path.rsplit("::").next().unwrap_or(path).to_owned();
            if result == "ok" || result == "FAILED" {
                *cited.0.entry(name).or_insert(true) &= result == "ok";
            }
        }
        cited
    }

    /// How many there are, if all of them passed.
    ///
    /// # Errors
    /// Those that did not.
    pub fn check(&self, names: &[&str]) -> Result<usize, String> {
        let problems: Vec<String> = names
            .iter()
            .filter_map(|&name| match self.0.get(name) {
                Some(true) => None,
                Some(false) => Some(format!("the test {name} failed")),
                None => Some(format!("the test {name} did not run")),
            })
            .collect();
        if problems.is_empty() { Ok(names.len()) } else { Err(problems.join(", ")) }
    }
}
