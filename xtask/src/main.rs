//! `cargo xtask …`: the chores of this repository. CI runs `cargo xtask test`.

mod workspace;
mod process;

mod test;
mod step;
mod toolchain;
mod disk;
mod purity;
mod layers;
mod tidy;
mod prerequisites;
mod apt;
mod python;
mod needs;
mod results;
mod browser;
mod sdk;

mod sim;
mod demo;
mod bench;
mod takeover;
mod peers;
mod mixed;
mod model;
mod chaos;
mod fuzz;
mod attack;
mod wasm;
mod cache;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

use crate::workspace::Workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask test                       everything that CI does
  cargo xtask test --quick               without Kafka, S3 and the browser
  cargo xtask codegen                    after a change in schemas/proto
  cargo xtask wasm                       after a change in the code for the browser
  cargo xtask browser                    the page in a real Chromium, with pictures
  cargo xtask testbed all                a Kafka and an S3 server until Ctrl-C
  cargo xtask sim --seeds 20000          the simulator; --mutants: its deliberate bugs
  cargo xtask demo                       paint a photograph, stop and kill, compare
  cargo xtask bench --kafka edit --rate 1000 --duration 20
  cargo xtask takeover --rounds 3        the pause in decisions after the end of an owner
  cargo xtask peers fanout               deliveries a second, in turn with a peer's server
  cargo xtask model --quick --mutants    explore the models of the protocol
  cargo xtask chaos --minutes 3          kill, pause and cut off real processes, and check
  cargo xtask fuzz --minutes 5           any bytes, in any order, at every decoder and core
  cargo xtask attack                     every row of the threat model against real services";

/// The chores of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Check, build, lint and test everything: what CI does
    Test(test::Options),
    /// Generate schemas/src/generated from schemas/proto
    Codegen {
        /// Write nothing, and fail if the committed code is stale
        #[arg(long)]
        check: bool,
    },
    /// Build client/js/core from client/wasm: the core for the browser
    Wasm(wasm::Options),
    /// Check prose, references, circles between files and lengths
    Tidy(tidy::Options),
    /// Format all Rust code
    Fmt,
    /// Start a real Kafka, a real S3 server, or both: `cargo xtask testbed --help`
    #[command(disable_help_flag = true)]
    Testbed {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run the real cores over a fake log, store and network: `cargo xtask sim --help`
    #[command(disable_help_flag = true)]
    Sim(sim::Options),
    /// Paint a photograph on `cargo dev`, and on separate services over Kafka and S3
    Demo(demo::Options),
    /// Build with optimisation and run a benchmark: edit, takeover, fanout, mixed
    Bench(bench::Options),
    /// Short for `bench takeover`: measure how long a take-over lasts, on a real Kafka and S3
    Takeover(takeover::Options),
    /// Short for `bench mixed`: measure the cost of slow, stalled and lost clients for the others
    Mixed(mixed::Options),
    /// Measure ours in turn with a peer's server
    Peers(peers::Options),
    /// Explore the models of ownership and of the writer's rule exhaustively
    Model(model::Options),
    /// Kill, pause and cut off real processes while clients edit, and check: `cargo xtask chaos
    /// --help`
    #[command(disable_help_flag = true)]
    Chaos {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run libFuzzer: any bytes at every decoder, any order of events at every core, with the
    /// tests' oracles
    Fuzz(fuzz::Options),
    /// Attack real services by every row of the threat model: `cargo xtask attack --help`
    #[command(disable_help_flag = true)]
    Attack {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check, test and measure what the browser runs: the SDK, the core, the quick start, a custom
    /// model
    Sdk,
    /// Run the page of `driftless dev` in a real Chromium, scenario by scenario, with pictures
    Browser(browser::Options),
    /// Remove the test servers and the files of their runs from the cache folder
    CleanCache,
}

fn main() -> ExitCode {
    match run(Cli::parse().chore) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<ExitCode> {
    let workspace = Workspace::read()?;
    match chore {
        Chore::Test(options) => return test::run(workspace, options),
        Chore::Codegen { check } => {
            let mut codegen = workspace.cargo();
            codegen.args(["run", "--quiet", "--package", "driftless-codegen", "--"]);
            codegen.args(check.then_some("--check"));
            process::check("codegen", codegen)?;
        }
        Chore::Tidy(options) => tidy::run(&workspace, &options)?,
        Chore::Fmt => {
            let mut fmt = workspace.cargo();
            fmt.args(["fmt", "--all"]);
            process::check("rustfmt", fmt)?;
        }
        Chore::Testbed { arguments } => {
            let mut testbed = workspace.cargo();
            testbed.args(["run", "--quiet", "--package", "driftless-testbed", "--"]).args(arguments);
            return Err(process::replace_this_process(testbed)).context("cannot run the testbed");
        }
        Chore::Sdk => println!("{}", sdk::run(&workspace)?),
        Chore::Browser(options) => return browser::run(&workspace, &options),
        Chore::Wasm(options) => return wasm::run(&workspace, &options),
        Chore::Sim(options) => return sim::run(&workspace, options),
        Chore::Demo(options) => return demo::run(&workspace, options),
        Chore::Bench(options) => return bench::run(&workspace, options),
        Chore::Takeover(options) => return takeover::run(&workspace, options),
        Chore::Mixed(options) => return mixed::run(&workspace, options),
        Chore::Peers(options) => return peers::run(&workspace, options),
        Chore::Model(options) => return model::run(&workspace, options),
        Chore::Chaos { arguments } => return chaos::run(&workspace, arguments),
        Chore::Fuzz(options) => return fuzz::run(&workspace, options),
        Chore::Attack { arguments } => return attack::run(&workspace, arguments),
        Chore::CleanCache => cache::clean()?,
    }
    Ok(ExitCode::SUCCESS)
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
    fn arguments_of_another_program_are_passed_on() {
        let given = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().chore;
        match given("xtask testbed kafka --port 9092 --help") {
            Chore::Testbed { arguments } => assert_eq!(arguments, ["kafka", "--port", "9092", "--help"]),
            other => panic!("{other:?}"),
        }
        match given("xtask bench --kafka edit --rate 1000 --json") {
            Chore::Bench(options) => assert_eq!(options.arguments, ["edit", "--rate", "1000", "--json"]),
            other => panic!("{other:?}"),
        }
        match given("xtask model owners --quick --mutants --json") {
            Chore::Model(options) => {
                assert_eq!(options.names, ["owners"]);
                assert!(options.quick && options.mutants && options.json && !options.traces);
            }
            other => panic!("{other:?}"),
        }
        match given("xtask fuzz --minutes 0.5 --target map --target grid --jobs 2 --json") {
            Chore::Fuzz(options) => {
                assert_eq!(options.targets, ["map", "grid"]);
                assert!(options.minutes < 1.0 && options.jobs == 2 && options.json && options.replay.is_none());
            }
            other => panic!("{other:?}"),
        }
        match given("xtask chaos --minutes 3 --seed 7 --json --help") {
            Chore::Chaos { arguments } => assert_eq!(arguments, ["--minutes", "3", "--seed", "7", "--json", "--help"]),
            other => panic!("{other:?}"),
        }
        match given("xtask attack --only slow-head --json --help") {
            Chore::Attack { arguments } => assert_eq!(arguments, ["--only", "slow-head", "--json", "--help"]),
            other => panic!("{other:?}"),
        }
    }
}
