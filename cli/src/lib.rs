//! The `driftless` program: one module for each subcommand, with its arguments and a `run`.
//!
//! The program is a library whose `main` is one call. The end-to-end tests need the binary, but
//! Cargo builds for a test only the binaries of the test's own package, so that package defines the
//! same binary with the same call.

#![forbid(unsafe_code)]

mod config;
#[cfg(debug_assertions)]
mod damage;
mod data_folder;
mod dead_letter;
mod deployment;
mod dev;
mod http_client;
mod index;
mod init;
mod listeners;
mod location;
mod page;
mod paint;
mod recover;
mod services;
mod signals;
mod token;
mod watch;

use clap::{Parser, Subcommand};
use driftless_chunk::model::Models;
use driftless_runtime::telemetry::{LogFormat, install_logging};
use std::process::ExitCode;
use std::sync::OnceLock;

/// Many clients edit one chunked world at the same time. A Kafka log orders the edits, and state
/// hashes prove that all clients hold the same bytes.
#[derive(Parser)]
#[command(name = "driftless", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    /// Log as JSON lines instead of text (DRIFTLESS_LOG, such as `debug`, selects what is logged).
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  driftless dev                                   all services on this machine, with a page to paint on
  driftless token --key-file driftless.key --sub ann --write canvas/ > ann.token
  driftless paint photo.jpg --token-file ann.token
  driftless watch canvas/0/0 --token-file ann.token
  driftless init --world world.toml --brokers kafka:9092 --store s3://my-bucket
  driftless dead-letter list --brokers kafka:9092 --store s3://my-bucket
  driftless recover plan --brokers kafka:9092 --store s3://my-bucket";

#[derive(Subcommand)]
enum Command {
    /// Run log, ingest, replayer and gateway in one process, over a data folder, with a page to
    /// paint on.
    Dev(dev::Args),
    /// Create a world: its topics, and world.json in the object store.
    Init(init::Args),
    /// Run an ingest: it checks commands and appends them to the log.
    Ingest(services::IngestArgs),
    /// Run a replayer: it decides commands, publishes updates and stores snapshots.
    Replayer(services::ReplayerArgs),
    /// Run a gateway: it sends snapshots, updates and beacons to clients.
    Gateway(services::GatewayArgs),
    /// Make keys and tokens.
    Token(token::Args),
    /// Paint a picture with many concurrent writers, and compare the chunks with it cell by cell.
    Paint(paint::Args),
    /// Print a chunk's updates as they arrive.
    Watch(watch::Args),
    /// Inspect and replay the records that could not be read or decided.
    DeadLetter(dead_letter::Args),
    /// Find out what is lost where no replayer can take a partition up, and go on without it.
    Recover(recover::Args),
    /// Make the index of a partition again.
    Index(index::Args),
}

/// The models of this program, which [`run`] sets once.
static MODELS: OnceLock<Models> = OnceLock::new();

pub(crate) fn models() -> Models {
    MODELS.get().cloned().unwrap_or_default()
}

/// Runs the program with the built-in models.
pub fn main() -> ExitCode {
    run(Models::builtin())
}

/// Runs the program: it takes arguments from the command line and logs to standard error.
///
/// Every service of the program knows `models`. A studio with a custom model registers it and calls
/// this function from its `main` (`examples/custom-model`).
pub fn run(models: Models) -> ExitCode {
    // A second call in one process would keep the models of the first.
    let _ = MODELS.set(models);
    let cli = Cli::parse();
    install_logging(if cli.log_json { LogFormat::Json } else { LogFormat::Text });
    #[cfg(debug_assertions)]
    if let Err(e) = switch_off_defences() {
        eprintln!("error: DRIFTLESS_SWITCH_OFF: {e}");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Dev(args) => dev::run(args).await,
            Command::Init(args) => init::run(args).await,
            Command::Ingest(args) => services::ingest(args).await,
            Command::Replayer(args) => services::replayer(args).await,
            Command::Gateway(args) => services::gateway(args).await,
            Command::Token(args) => token::run(&args),
            Command::Paint(args) => paint::run(args).await,
            Command::Watch(args) => watch::run(args).await,
            Command::DeadLetter(args) => dead_letter::run(args).await,
            Command::Recover(args) => recover::run(args).await,
            Command::Index(args) => index::run(args).await,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Switches off the defences that a variable of the environment names. Only debug builds have this
/// function: `cargo xtask attack --without` shows with it that attacks notice a missing defence.
#[cfg(debug_assertions)]
fn switch_off_defences() -> Result<(), String> {
    let Ok(names) = std::env::var("DRIFTLESS_SWITCH_OFF") else { return Ok(()) };
    let names: Vec<_> = names.split(',').filter(|name| !name.is_empty()).collect();
    if !names.is_empty() {
        tracing::warn!(?names, "these defences are switched off: this is no process for other people");
    }
    driftless_runtime_core::defences::switch_off(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Splits an example into words, without its remark and without the parts that only the shell
    /// reads (pipes and redirections).
    fn words(example: &str) -> Vec<String> {
        let end = example.find("   ").into_iter().chain(example.find(['|', '>'])).min().unwrap_or(example.len());
        example[..end].split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect()
    }

    fn check_examples(command: &clap::Command, checked: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter(|line| line.starts_with("  driftless ")) {
            *checked += 1;
            if let Err(e) = Cli::try_parse_from(words(line)) {
                panic!("an example of {} does not parse: {line}\n{e}", command.get_name());
            }
        }
        command.get_subcommands().for_each(|sub| check_examples(sub, checked));
    }

    #[test]
    fn every_example_in_a_help_text_parses() {
        let mut checked = 0;
        check_examples(&Cli::command(), &mut checked);
        assert!(checked >= 22, "only {checked} examples were found");
    }
}
