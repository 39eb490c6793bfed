//! `driftless-attack`, which `cargo xtask attack` builds and runs.

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use driftless_attack::cited::{Cited, names};
use driftless_attack::floods::{crowd, sink};
use driftless_attack::run::{Options, chosen, run};
use driftless_attack::without::{self, Shown};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  cargo xtask attack                          every row, and the tests that rows name
  cargo xtask attack --only session-flood     one row; more with further --only
  cargo xtask attack --no-tests --json        only what is attacked from outside; one JSON object on the last line
  cargo xtask attack --list                   the rows
  cargo xtask attack --release                optimised services; floods are measured beside a control
  cargo xtask attack --without all            each defence switched off in turn: its row must fail

What the rows mean: docs/security.md. Exit code: 0 everything held, 1 it did not (the output says what was seen).";

/// Attack real services by every row of the threat model, while honest clients edit.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask attack", bin_name = "cargo xtask attack", version, after_help = EXAMPLES)]
struct Cli {
    /// Run only this row; may be given several times
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Print one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
    /// Print the rows and exit
    #[arg(long)]
    list: bool,
    /// Leave out the tests that rows name
    #[arg(long)]
    no_tests: bool,
    /// Build everything with optimisation, and compare honest edits during floods with a control,
    /// in which the attacker floods a process that discards everything
    #[arg(long)]
    release: bool,
    /// Switch off these defences, or `all` in turn, and expect that their rows fail
    #[arg(long, value_name = "NAMES", conflicts_with_all = ["only", "release"])]
    without: Vec<String>,
    #[command(subcommand)]
    role: Option<Role>,
    /// The driftless program [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Print the names of the tests that rows name, and exit
    #[arg(long, hide = true)]
    list_tests: bool,
    /// A file with the output of `cargo test` for them
    #[arg(long, hide = true, value_name = "FILE")]
    tests: Option<PathBuf>,
}

/// What this program does as a helper of itself.
#[derive(Debug, Subcommand)]
enum Role {
    /// Discards what it receives
    #[command(hide = true)]
    Sink,
    /// The honest clients
    #[command(hide = true)]
    Crowd { ingest: String, gateway: String, tokens: Vec<String> },
}

fn main() -> ExitCode {
    match attack(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn attack(cli: &Cli) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match &cli.role {
        Some(Role::Sink) => return runtime.block_on(sink::run()).map(|()| ExitCode::SUCCESS),
        Some(Role::Crowd { ingest, gateway, tokens }) => {
            return runtime.block_on(crowd::run(ingest, gateway, tokens)).map(|()| ExitCode::SUCCESS);
        }
        None => {}
    }
    let rows = chosen(&cli.only)?;
    if cli.list || cli.list_tests {
        match cli.list_tests {
            true => names(&rows).iter().for_each(|name| println!("{name}")),
            false => rows.iter().for_each(|row| println!("{:<22}{}", row.id, row.threat)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let helper = std::env::current_exe()?;
    let beside = helper.parent().context("this program lies in a folder")?;
    let program = cli.program.clone().unwrap_or_else(|| beside.join("driftless"));
    ensure!(program.is_file(), "{} is not there: cargo build --package driftless", program.display());
    let progress = |what: &str| eprintln!("{what} …");
    let options = Options {
        program: &program,
        helper: &helper,
        only: &cli.only,
        is_measured: cli.release,
        switched_off: "",
        progress: &progress,
    };
    if !cli.without.is_empty() {
        let names: &[String] = if cli.without == ["all"] { &[] } else { &cli.without };
        let shown = runtime.block_on(without::show(&options, names))?;
        return Ok(tell(&shown, cli.json));
    }
    let mut report = runtime.block_on(run(&options))?;
    if let Some(path) = &cli.tests {
        let output = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        report = report.with_tests(&Cited::read(&String::from_utf8_lossy(&output)));
    }
    print!("{}", report.table());
    match report.failures()[..] {
        [] => println!("everything held, in {:.0} s", report.seconds),
        ref failures => println!("{} did not hold:\n  {}", failures.len(), failures.join("\n  ")),
    }
    if cli.json {
        println!("{}", report.to_json());
    }
    Ok(if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints which rows failed without their defences, as they should.
fn tell(shown: &[Shown], is_json: bool) -> ExitCode {
    for Shown { defences, row, harm } in shown {
        match harm {
            Some(harm) => println!("{row:<22}fails without {defences}\n{:<22}{harm}", ""),
            None => println!("{row:<22}HOLDS without {defences}: it proves nothing"),
        }
    }
    if is_json {
        println!("{}", without::to_json(shown));
    }
    if shown.iter().all(|one| one.harm.is_some()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
