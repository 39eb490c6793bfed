//! `cargo xtask mixed`: short for `cargo xtask bench mixed`.

use anyhow::Result;
use clap::Args;
use std::ffi::OsString;
use std::process::ExitCode;

use crate::bench;
use crate::workspace::Workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask mixed                                    5,000 clients, a tenth of them slow, for a minute without and with those
  cargo xtask mixed --sockets 1000 --seconds 20 --json
  cargo xtask mixed -- --help                          the options of `bench mixed`";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Passed to `bench mixed`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    bench::pass_on(workspace, "mixed", options.arguments)
}
