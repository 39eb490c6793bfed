//! `cargo xtask takeover`: short for `cargo xtask bench takeover`.

use anyhow::Result;
use clap::Args;
use std::ffi::OsString;
use std::process::ExitCode;

use crate::bench;
use crate::workspace::Workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask takeover                                 1,000 hot chunks, three rounds
  cargo xtask takeover --chunks 1000 --rounds 5 --json
  cargo xtask takeover -- --help                       the options of `bench takeover`

DRIFTLESS_TEST_BROKERS and DRIFTLESS_TEST_S3 name servers that run already.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Passed to `bench takeover`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    bench::pass_on(workspace, "takeover", options.arguments)
}
