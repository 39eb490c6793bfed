//! `driftless-bench`: the benchmarks, which `cargo xtask bench` builds and runs.
//!
//! * [`edit`]: the latency of an edit, beside the floor that the log itself sets.
//! * [`takeover`]: how long no replayer decides after the end of a partition's owner.
//! * [`fanout`]: how fast a gateway delivers to many sockets, and the memory of an idle socket.
//! * [`crowded`]: a world that does not fit into the memory of its replayers.
//! * [`mixed`]: the cost of slow, stalled and lost clients for the other clients.

mod cores;
mod program;
mod quantiles;
mod resident;
mod generator;
mod writers;
mod commands;
mod replayers;
mod edit;
mod takeover;
mod crowded;
mod fanout;
mod mixed;

use anyhow::Result;
use clap::{Parser, Subcommand};
use driftless_runtime::telemetry::{LogFormat, install_logging};
use std::process::ExitCode;

/// The benchmarks of Driftless.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", version)]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Measure the latency from an edit to its committed update at another client, in open loop.
    Edit(edit::EditArgs),
    /// Measure how long no replayer decides when a partition's owner dies, hands over or restarts.
    Takeover(takeover::TakeoverArgs),
    /// Show that replayers with little memory decide everything in a world that is much larger.
    Crowded(crowded::CrowdedArgs),
    /// Measure how fast a gateway delivers to many sockets, and the memory of an idle socket.
    Fanout(fanout::FanoutArgs),
    /// The process that `fanout` measures.
    #[command(hide = true)]
    FanoutServer(fanout::ServeArgs),
    /// Measure the cost of slow, stalled and lost clients for the others: one run without them, one
    /// with them.
    Mixed(mixed::MixedArgs),
    /// The process that `mixed` measures.
    #[command(hide = true)]
    MixedServer(mixed::ServeArgs),
}

fn main() -> ExitCode {
    let benchmark = Cli::parse().benchmark;
    install_logging(LogFormat::Text);
    match run(benchmark) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(benchmark: Benchmark) -> Result<()> {
    match benchmark {
        Benchmark::Edit(args) => edit::run(args).await,
        Benchmark::Takeover(args) => takeover::run(args).await,
        Benchmark::Crowded(args) => crowded::run(args).await,
        Benchmark::Fanout(args) => tokio::task::spawn_blocking(move || fanout::run(&args)).await?,
        Benchmark::FanoutServer(args) => fanout::serve(args).await,
        Benchmark::Mixed(args) => mixed::run(args).await,
        Benchmark::MixedServer(args) => mixed::serve(args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_example_in_a_help_text_parses() {
        let mut checked = 0;
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter_map(|line| line.strip_prefix("  cargo xtask bench ")) {
                let words = line.split('#').next().unwrap_or_default().split_whitespace();
                if let Err(e) = Cli::try_parse_from(std::iter::once("bench").chain(words)) {
                    panic!("an example of {} does not parse: {line}\n{e}", command.get_name());
                }
                checked += 1;
            }
        }
        assert!(checked >= 10, "only {checked} examples were found");
    }
}
