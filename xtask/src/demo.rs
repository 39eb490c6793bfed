//! `cargo xtask demo`: shows what Driftless promises, with a photograph that many writers paint at
//! once.
//!
//! The embedded stack is stopped and killed between paintings. The separate services run over a
//! real Apache Kafka and a real S3 server.

mod apart;
mod embedded;
mod http;
mod paint;
mod running;
mod two_windows;

use anyhow::{Context, Result};
use clap::Args;
use driftless_testbed::RunDir;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::apart::Apart;
use self::embedded::Embedded;
use self::running::Running;
use self::two_windows::Half;
use crate::process;
use crate::step::{Outcome, Report, Screen, Verdict};
use crate::workspace::Workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                             everything; needs Java, Maven and Go
  cargo xtask demo --embedded                  only `cargo dev`
  cargo xtask demo --picture photo.jpg --json  one JSON object on standard output";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Show only the embedded stack, without Kafka and S3
    #[arg(long)]
    embedded: bool,
    /// Show only the services as separate processes
    #[arg(long, conflicts_with = "embedded")]
    apart: bool,
    /// The picture: a PNG or JPEG of at least 512×512 [default: tests/e2e/fixtures/astronaut.jpg]
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// The folder of screenshots and logs [default: demo in the target folder]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print one JSON object on standard output, and everything else on standard error
    #[arg(long)]
    json: bool,
}

/// Paths and settings that all parts of the demo need.
struct Environment<'a> {
    workspace: &'a Workspace,
    screen: Screen,
    picture: PathBuf,
    /// The folder that keeps screenshots and logs after the demo.
    output: PathBuf,
    /// The folder of data and keys, which is removed at the end.
    dir: RunDir,
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let screen = Screen { is_stderr: options.json };
    let output = options.output.unwrap_or_else(|| workspace.target_dir.join("demo"));
    let environment = Environment::prepare(workspace, screen, options.picture, output)?;
    let (with_embedded, with_apart) = (!options.apart, !options.embedded);
    let steps = 1 + 6 * usize::from(with_embedded) + 4 * usize::from(with_apart);
    let mut report = Report::new(screen, steps);
    let mut shown = json!({ "picture": environment.picture, "output": environment.output });
    let is_shown = report.step("build", || environment.build())
        && (!with_embedded || show_embedded(&environment, &mut report, &mut shown))
        && (!with_apart || show_apart(&environment, &mut report, &mut shown));
    screen.say(&format!("\nThe steps:\n{}", report.table()));
    screen.say(&format!("Logs and screenshots: {}", environment.output.display()));
    let [passed, failed, skipped] = [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(|o| report.count(o));
    screen.say(&format!("{passed} passed, {failed} failed, {skipped} skipped"));
    if options.json {
        shown["ok"] = is_shown.into();
        shown["steps"] = report.to_json();
        println!("{shown}");
    }
    Ok(if is_shown { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show_embedded(environment: &Environment<'_>, report: &mut Report, shown: &mut Value) -> bool {
    let mut embedded = None;
    report.step("cargo dev, from nothing", || Embedded::start(environment, &mut embedded))
        && report.step("paint", || Embedded::paint(&mut embedded, shown))
        && report.step("kill -9, and again", || Embedded::restart(&mut embedded, Running::kill))
        && report.step("two browser windows", || Embedded::browse(&mut embedded, Half::Paint))
        && report.step("Ctrl-C, and again", || Embedded::restart(&mut embedded, Running::interrupt))
        && report.step("the page after that", || Embedded::browse(&mut embedded, Half::Check))
}

fn show_apart(environment: &Environment<'_>, report: &mut Report, shown: &mut Value) -> bool {
    let mut apart = None;
    report.step("Kafka and S3", || Apart::start_servers(environment, &mut apart, shown))
        && report.step("services apart", || Apart::start_services(&mut apart))
        && report.step("paint there", || Apart::paint(&mut apart, shown))
        && report.step("snapshots by b3sum", || Apart::check_snapshots(&mut apart, shown))
}

impl<'a> Environment<'a> {
    fn prepare(workspace: &'a Workspace, screen: Screen, picture: Option<PathBuf>, output: PathBuf) -> Result<Self> {
        if output.is_dir() {
            remove_old(&output)?;
        }
        fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
        let picture = picture.unwrap_or_else(|| workspace.root.join("tests/e2e/fixtures/astronaut.jpg"));
        let picture =
            fs::canonicalize(&picture).with_context(|| format!("there is no picture {}", picture.display()))?;
        Ok(Self { workspace, screen, picture, output: fs::canonicalize(output)?, dir: RunDir::new("demo")? })
    }

    fn build(&self) -> Result<Verdict> {
        // `cargo dev` makes the same build.
        let mut build = self.workspace.cargo();
        build.args(["build", "--package", "driftless"]).stdout(self.screen.stdio());
        process::check("the build", build)?;
        Ok(Verdict::Passed("driftless".into()))
    }

    fn driftless(&self) -> PathBuf {
        self.workspace.program("debug", "driftless")
    }
}

/// Removes the logs and pictures of an earlier run, and no other file.
fn remove_old(output: &Path) -> Result<()> {
    for entry in fs::read_dir(output)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log" || extension == "png") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
