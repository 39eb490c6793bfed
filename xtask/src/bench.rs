//! `cargo xtask bench`: an optimised build, a Kafka if one is wanted, and `driftless bench`.

use anyhow::{Context, Result};
use clap::Args;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::process;
use crate::workspace::Workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench edit --rate 200 --duration 20            on the embedded log
  cargo xtask bench --kafka edit --rate 1000 --duration 20   on an Apache Kafka that is started for it
  cargo xtask bench edit --help                              what `driftless bench edit` takes

With --kafka, `--brokers HOST:PORT` is added to the arguments. DRIFTLESS_TEST_BROKERS names brokers that run already.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Start an Apache Kafka for it (comes before the arguments of `driftless bench`)
    #[arg(long)]
    kafka: bool,
    /// Passed to `driftless bench`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "driftless", "--bin", "driftless"]);
    process::check("the build", build)?;

    let mut bench = Command::new(workspace.program("release", "driftless"));
    bench.arg("bench").args(options.arguments);
    if !options.kafka {
        return Err(process::become_it(bench)).context("cannot run driftless");
    }
    // Ended with us.
    bench.args(["--brokers", driftless_testbed::shared_kafka()?]);
    let status = bench.status().context("cannot run driftless")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
