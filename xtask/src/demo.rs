//! `cargo xtask demo`: what Driftless promises, shown on the real thing: a photograph painted by many writers at once, on the
//! embedded stack that is stopped and killed meanwhile, and on services apart over a real Apache Kafka and a real S3 server.

mod apart;
mod embedded;
mod http;
mod paint;
mod running;

use anyhow::{Context, Result, ensure};
use clap::Args;
use driftless_testbed::RunDir;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::apart::Apart;
use self::embedded::Embedded;
use crate::prerequisites;
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
    /// Only the embedded stack, without Kafka and S3
    #[arg(long)]
    embedded: bool,
    /// What is painted: a PNG or JPEG [default: the photograph in xtask/demo]
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Where screenshots and logs stay [default: demo in the target folder]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// One JSON object on standard output; everything else goes to standard error
    #[arg(long)]
    json: bool,
}

/// What all parts need.
struct Stage<'a> {
    workspace: &'a Workspace,
    screen: Screen,
    picture: PathBuf,
    /// For people to look at.
    output: PathBuf,
    /// Gone afterwards.
    dir: RunDir,
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let screen = Screen { is_stderr: options.json };
    let output = options.output.unwrap_or_else(|| workspace.target_dir.join("demo"));
    if output.is_dir() {
        remove_old(&output)?;
    }
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let picture = options.picture.unwrap_or_else(|| workspace.root.join("xtask/demo/grace_hopper.jpg"));
    ensure!(picture.is_file(), "there is no picture {}", picture.display());
    let stage = Stage {
        workspace,
        screen,
        picture: fs::canonicalize(picture)?,
        output: fs::canonicalize(output)?,
        dir: RunDir::new("demo")?,
    };
    let mut report = Report::new(screen, if options.embedded { 7 } else { 11 });
    let mut shown = json!({ "picture": stage.picture, "output": stage.output });
    let is_shown = play(&stage, &mut report, &mut shown, !options.embedded);
    screen.say(&format!("\nThe steps:\n{}", report.table()));
    screen.say(&format!("Logs and screenshots: {}", stage.output.display()));
    let [passed, failed, skipped] = [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(|o| report.count(o));
    screen.say(&format!("{passed} passed, {failed} failed, {skipped} skipped"));
    if options.json {
        shown["ok"] = is_shown.into();
        shown["steps"] = report.to_json();
        println!("{shown}");
    }
    Ok(if is_shown { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All steps, as far as they hold.
fn play(stage: &Stage<'_>, report: &mut Report, shown: &mut Value, with_apart: bool) -> bool {
    let mut embedded = None;
    let is_shown = report.step("build", || stage.build())
        && report.step("cargo dev, from nothing", || Embedded::start(stage, &mut embedded))
        && report.step("two browser windows", || browse(stage, &embedded, "paint"))
        && report.step("paint", || Embedded::paint(&mut embedded, shown))
        && report.step("kill -9, and again", || Embedded::restart_after_kill(&mut embedded))
        && report.step("Ctrl-C, and again", || Embedded::restart_in_order(&mut embedded))
        && report.step("the page after that", || browse(stage, &embedded, "look"));
    drop(embedded);
    if !is_shown || !with_apart {
        return is_shown;
    }
    let mut apart = None;
    report.step("Kafka and S3", || Apart::start_servers(stage, &mut apart, shown))
        && report.step("services apart", || Apart::start_services(&mut apart))
        && report.step("paint there", || Apart::paint(&mut apart, shown))
        && report.step("snapshots by b3sum", || Apart::check_snapshots(&mut apart, shown))
}

impl Stage<'_> {
    fn build(&self) -> Result<Verdict> {
        // As `cargo dev` builds it.
        let mut build = self.workspace.cargo();
        build.args(["build", "--package", "driftless"]).stdout(self.screen.stdio());
        process::check("the build", build)?;
        Ok(Verdict::Passed("driftless".into()))
    }

    fn driftless(&self) -> PathBuf {
        self.workspace.program("debug", "driftless")
    }
}

/// Runs the browser's script on the page: `npm run demo` in tests/e2e/browser.
fn browse(stage: &Stage<'_>, embedded: &Option<Embedded<'_>>, act: &str) -> Result<Verdict> {
    let embedded = embedded.as_ref().context("nothing runs")?;
    let folder = stage.workspace.root.join(prerequisites::BROWSER);
    if !folder.is_dir() {
        return Ok(Verdict::Skipped(format!("there is no {}", prerequisites::BROWSER)));
    }
    let needed = prerequisites::Prerequisites::for_browser(&folder, stage.screen)?;
    ensure!(needed.missing.is_empty(), "missing: {}", needed.missing.join("; "));
    let mut npm = std::process::Command::new("npm");
    npm.args(["run", "--silent", "demo"]).current_dir(&folder).stdout(stage.screen.stdio());
    npm.env("DRIFTLESS_PAGE", embedded.page()).env("DRIFTLESS_ACT", act).env("DRIFTLESS_SCREENSHOTS", &stage.output);
    npm.envs(needed.variables);
    process::check("the browser", npm)?;
    Ok(Verdict::Passed(format!("screenshots in {}", stage.output.display())))
}

/// What an earlier run left; nothing else is touched.
fn remove_old(output: &Path) -> Result<()> {
    for entry in fs::read_dir(output)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log" || extension == "png") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
