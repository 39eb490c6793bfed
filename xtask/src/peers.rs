//! `cargo xtask peers`: measures Driftless in turn with a peer's server, in one run on one machine.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::workspace::Workspace;
use crate::{bench, process};

const EXAMPLES: &str = "\
Examples:
  cargo xtask peers fanout                 five rounds, each with Driftless and Centrifugo's library
  cargo xtask peers fanout --rounds 1 --seconds 1
  cargo xtask peers fanout --json          one JSON object on the last line";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Deliveries a second to many sockets, latency, and memory of idle sockets, beside
    /// Centrifugo's library (needs Go)
    Fanout {
        /// Passed to `bench fanout`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let What::Fanout { arguments } = options.what;
    let mut bench = bench::optimised(workspace)?;
    let peer = workspace.target_dir.join("peers/centrifuge");
    let mut go = Command::new("go");
    go.current_dir(workspace.root.join("infra/peers/centrifuge")).args(["build", "-o"]).arg(&peer).arg(".");
    process::check("go build, of the peer (needs Go: https://go.dev/dl)", go)?;
    bench.args(["fanout", "--peer"]).arg(peer);
    if !arguments.iter().any(|argument| argument == "--rounds") {
        bench.args(["--rounds", "5"]);
    }
    bench.args(arguments);
    Err(process::replace_this_process(bench)).context("cannot run driftless-bench")
}
