//! `cargo xtask bench`: builds `driftless` and the benchmarks with optimisation, and runs a
//! benchmark.

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
  cargo xtask bench edit --help                             the options of `edit`

DRIFTLESS_TEST_BROKERS names brokers that run already; --kafka then takes them.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Use a real Apache Kafka, the same as --log kafka (stands before the arguments for the
    /// benchmarks)
    #[arg(long)]
    kafka: bool,
    /// Passed to the benchmarks
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Builds `driftless` and the benchmarks with optimisation. Returns a command that runs the
/// benchmarks.
pub fn optimised(workspace: &Workspace) -> Result<Command> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "driftless", "--package", "driftless-bench"]);
    process::check("the build", build)?;
    Ok(Command::new(workspace.program("release", "driftless-bench")))
}

/// Builds with optimisation, and replaces this process by the benchmark `what` with these
/// arguments. Returns only if the benchmark cannot start.
pub fn pass_on(workspace: &Workspace, what: &str, arguments: Vec<OsString>) -> Result<ExitCode> {
    let mut bench = optimised(workspace)?;
    bench.arg(what).args(arguments);
    Err(process::replace_this_process(bench)).context("cannot run driftless-bench")
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let mut bench = optimised(workspace)?;
    bench.args(options.arguments);
    if options.kafka {
        bench.args(["--log", "kafka"]);
    }
    Err(process::replace_this_process(bench)).context("cannot run driftless-bench")
}
