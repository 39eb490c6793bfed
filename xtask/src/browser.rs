//! `cargo xtask browser`: Playwright's scenarios of the page of `driftless dev`, in a real Chromium
//! (`tests/browser`).

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::prerequisites::{self, Variables, node_packages};
use crate::process;
use crate::step::Screen;
use crate::workspace::Workspace;

const EXAMPLES: &str = "\
Pictures of every scenario stay in target/browser/pictures, and traces of failed scenarios in
target/browser/results (npx playwright show-trace FILE).

Examples:
  cargo xtask browser                      all scenarios
  cargo xtask browser --json               one JSON object on the last line
  cargo xtask browser -- --grep drift      matching scenarios; Playwright gets what follows --";

/// Options of `cargo xtask browser`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Print one JSON object on standard output, and everything else on standard error
    #[arg(long)]
    json: bool,
    /// Passed to `playwright test`
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let screen = Screen { is_stderr: options.json };
    let mut build = workspace.cargo();
    build.args(["build", "--package", "driftless"]).stdout(screen.stdio());
    process::check("building driftless", build)?;
    let Some(chromium) = prerequisites::chromium(screen)? else { bail!("{}", prerequisites::NO_CHROMIUM) };
    let variables = vec![("DRIFTLESS_TEST_CHROMIUM", chromium.display().to_string())];
    let suite = Scenarios { workspace, screen };
    let ran = suite.run(&variables, &options.arguments);
    let scenarios = suite.scenarios().unwrap_or_default();
    for Scenario { name, is_ok, seconds } in &scenarios {
        screen.say(&format!("{} {seconds:6.1} s  {name}", if *is_ok { "ok    " } else { "FAILED" }));
    }
    let failed = scenarios.iter().filter(|scenario| !scenario.is_ok).count();
    let figures = suite.figures();
    if let Ok(figures) = &figures {
        screen.say(&format!("click to the other window, with the debug build: {figures}"));
    }
    let holds = ran.is_ok() && failed == 0 && !scenarios.is_empty();
    if options.json {
        let list: Vec<Value> = scenarios
            .iter()
            .map(|scenario| json!({ "name": scenario.name, "ok": scenario.is_ok, "seconds": scenario.seconds }))
            .collect();
        println!(
            "{}",
            json!({ "holds": holds, "scenarios": list, "figures": figures.ok(), "pictures": suite.output().join("pictures") })
        );
    }
    ran?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The scenarios in `tests/browser`, which run against the built program.
pub struct Scenarios<'a> {
    pub workspace: &'a Workspace,
    pub screen: Screen,
}

/// The result of one scenario, from Playwright's report.
#[derive(Debug, PartialEq)]
pub struct Scenario {
    pub name: String,
    pub is_ok: bool,
    pub seconds: f64,
}

impl Scenarios<'_> {
    /// Runs the scenarios against the built program. Fails if a scenario fails.
    pub fn run(&self, variables: &Variables, arguments: &[String]) -> Result<()> {
        let folder = self.folder();
        node_packages(&folder, self.screen)?;
        let output = self.output();
        // Files of an earlier run must not pass for results of this run.
        if output.exists() {
            fs::remove_dir_all(&output)?;
        }
        fs::create_dir_all(&output)?;
        let mut check = Command::new("npm");
        check.args(["run", "check"]).current_dir(&folder).stdout(self.screen.stdio());
        process::check("the types of the scenarios", check)?;
        let mut playwright = Command::new("npx");
        playwright.args(["playwright", "test"]).args(arguments).current_dir(&folder).stdout(self.screen.stdio());
        playwright.env("DRIFTLESS_BIN", self.workspace.program("debug", "driftless"));
        playwright.env("DRIFTLESS_TEST_OUTPUT", &output).envs(variables.iter().map(|(name, value)| (name, value)));
        process::check("the scenarios in Chromium", playwright)
    }

    /// Returns the results of all scenarios, from the report of the last run.
    pub fn scenarios(&self) -> Result<Vec<Scenario>> {
        let file = self.output().join("report.json");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let report: Value = serde_json::from_str(&text).context("Playwright's report is no JSON")?;
        let mut found = Vec::new();
        collect(&report, &mut found);
        ensure!(!found.is_empty(), "Playwright's report names no scenario");
        Ok(found)
    }

    /// Returns the measurements that the scenario about speed left in a file.
    fn figures(&self) -> Result<Value> {
        Ok(serde_json::from_str(&fs::read_to_string(self.output().join("figures.json"))?)?)
    }

    /// The folder of the scenarios' sources.
    fn folder(&self) -> PathBuf {
        self.workspace.root.join("tests/browser")
    }

    /// The folder of pictures, traces and reports.
    pub fn output(&self) -> PathBuf {
        self.workspace.target_dir.join("browser")
    }
}

/// Collects the scenarios of a suite, and those of the suites inside it.
fn collect(node: &Value, found: &mut Vec<Scenario>) {
    let all = |name: &str| node[name].as_array().cloned().unwrap_or_default();
    for suite in all("suites") {
        collect(&suite, found);
    }
    for spec in all("specs") {
        let results = spec["tests"].as_array().into_iter().flatten().flat_map(|test| test["results"].as_array());
        let ms: f64 = results.flatten().filter_map(|result| result["duration"].as_f64()).sum();
        found.push(Scenario {
            name: spec["title"].as_str().unwrap_or_default().to_owned(),
            is_ok: spec["ok"].as_bool().unwrap_or(false),
            seconds: ms / 1000.0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_found_in_nested_suites() {
        let spec =
            json!({ "title": "a", "ok": true, "tests": [{ "results": [{ "duration": 500 }, { "duration": 1000 }] }] });
        let report =
            json!({ "suites": [{ "suites": [{ "specs": [spec] }], "specs": [{ "title": "b", "ok": false }] }] });
        let mut found = Vec::new();
        collect(&report, &mut found);
        let names: Vec<_> = found.iter().map(|s| (s.name.as_str(), s.is_ok, s.seconds)).collect();
        assert_eq!(names, [("a", true, 1.5), ("b", false, 0.0)]);
    }
}
