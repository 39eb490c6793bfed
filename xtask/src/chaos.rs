//! `cargo xtask chaos`: builds the services and the program that breaks them (`tests/chaos`), and
//! runs it.
//!
//! The build is a debug build like that of `cargo dev`, so that the cores assert their invariants.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::process;
use crate::workspace::Workspace;

pub fn run(workspace: &Workspace, arguments: Vec<OsString>) -> Result<ExitCode> {
    let mut build = workspace.cargo();
    build.args(["build", "--package", "driftless", "--package", "driftless-chaos"]);
    // The services preload this library, so that their clocks can be shifted.
    build.args(["--package", "driftless-clock-shim"]);
    process::check("the build", build)?;
    let mut chaos = Command::new(workspace.program("debug", "driftless-chaos"));
    chaos.arg("--program").arg(workspace.program("debug", "driftless")).args(arguments);
    Err(process::replace_this_process(chaos)).context("cannot run driftless-chaos")
}
