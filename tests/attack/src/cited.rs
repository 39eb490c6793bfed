//! The results of the tests that rows of the threat model name.

use crate::rows::Row;
use std::collections::BTreeMap;

/// The results of tests, by the last part of each test's name; true if the test passed.
#[derive(Debug, Default)]
pub struct Cited(BTreeMap<String, bool>);

/// The names that make `cargo test` run exactly the tests that rows name.
#[must_use]
pub fn names(rows: &[Row]) -> Vec<&'static str> {
    let mut names: Vec<&str> = rows.iter().flat_map(|row| row.tests).copied().collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl Cited {
    /// Reads the results from the output of `cargo test`.
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

    /// Returns the number of these tests, if all of them passed.
    ///
    /// # Errors
    /// An error that names the tests that failed or did not run.
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
