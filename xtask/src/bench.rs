//! `cargo xtask bench`: an optimised build, and `driftless bench` with it.

use anyhow::{Context, Result};
use clap::Args;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::process;
use crate::workspace::Workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench edit --rate 200 --duration 20           on the embedded log
  cargo xtask bench --kafka edit --rate 1000 --duration 20  on an Apache Kafka, started for it
  cargo xtask bench edit --help                             what `driftless bench edit` takes

DRIFTLESS_TEST_BROKERS names brokers that run already; --kafka then takes them.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// On a real Apache Kafka, the same as --log kafka (comes before what is passed on)
    #[arg(long)]
    kafka: bool,
    /// Passed to `driftless bench`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Builds an optimised `driftless`, and gives its `bench`.
pub fn optimised(workspace: &Workspace) -> Result<Command> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "driftless"]);
    process::check("the build", build)?;
    let mut bench = Command::new(workspace.program("release", "driftless"));
    bench.arg("bench");
    Ok(bench)
}

/// Builds an optimised `driftless`, and becomes its `bench` with these arguments.
pub fn pass_on(workspace: &Workspace, what: &str, arguments: Vec<OsString>) -> Result<ExitCode> {
    let mut bench = optimised(workspace)?;
    bench.arg(what).args(arguments);
    Err(process::become_it(bench)).context("cannot run driftless")
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let mut bench = optimised(workspace)?;
    bench.args(options.arguments);
    if options.kafka {
        bench.args(["--log", "kafka"]);
    }
    Err(process::become_it(bench)).context("cannot run driftless")
}
