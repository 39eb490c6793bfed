//! `cargo xtask sim`: builds the simulator with optimisation, and runs it.

use anyhow::{Context, Result};
use clap::Args;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::process;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub struct Options {
    /// Passed to the simulator: see `cargo xtask sim --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "driftless-sim"]);
    process::check("the build", build)?;
    let mut sim = Command::new(workspace.program("release", "sim"));
    sim.args(options.arguments);
    Err(process::replace_this_process(sim)).context("cannot run the simulator")
}
