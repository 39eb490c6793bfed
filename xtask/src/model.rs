//! `cargo xtask model`: builds the models of `tests/model` with optimisation, and explores them.

use anyhow::{Context, Result};
use clap::Args;
use std::process::{Command, ExitCode};

use crate::process;
use crate::workspace::Workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask model                      at full bounds: minutes
  cargo xtask model --quick --mutants    small bounds, and each rule broken in turn: seconds
  cargo xtask model owners gateways      these two configurations
  cargo xtask model --json               one JSON object on the last line of standard output

The exit code is 0 only if no rule is violated and, with --mutants, every mutant is caught.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Explore only these configurations
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Use small bounds
    #[arg(long)]
    pub quick: bool,
    /// Also break each rule in turn: every mutant must be caught
    #[arg(long)]
    pub mutants: bool,
    /// Print the steps that lead to each mutant's violation
    #[arg(long)]
    pub traces: bool,
    /// Print one JSON object on standard output, and everything else on standard error
    #[arg(long)]
    pub json: bool,
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "driftless-model-tests", "--bin", "model"]);
    process::check("the build", build)?;
    let Options { names, quick, mutants, traces, json } = options;
    let mut model = Command::new(workspace.program("release", "model"));
    let flags = [(quick, "--quick"), (mutants, "--mutants"), (traces, "--traces"), (json, "--json")];
    model.args(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag)).args(names);
    Err(process::replace_this_process(model)).context("cannot run the models")
}
