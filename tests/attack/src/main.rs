//! `driftless-attack`, which `cargo xtask attack` builds and runs.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use driftless_attack::cited::{Cited, names};
use driftless_attack::run::{Options, chosen, run};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  cargo xtask attack                          every row, and the tests that rows name
  cargo xtask attack --only session-flood     one row; more with further --only
  cargo xtask attack --no-tests --json        only what is attacked from outside; one JSON object on the last line
  cargo xtask attack --list                   the rows

What the rows mean: docs/security.md. Exit code: 0 everything held, 1 it did not (the output says what was seen).";

/// Attack real services by every row of the threat model, while an honest client edits.
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
    let rows = chosen(&cli.only)?;
    if cli.list || cli.list_tests {
        match cli.list_tests {
            true => names(&rows).iter().for_each(|name| println!("{name}")),
            false => rows.iter().for_each(|row| println!("{:<22}{}", row.id, row.threat)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let beside = std::env::current_exe()?.parent().context("this program lies in a folder")?.to_owned();
    let program = cli.program.clone().unwrap_or_else(|| beside.join("driftless"));
    ensure!(program.is_file(), "{} is not there: cargo build --package driftless", program.display());
    let progress = |what: &str| eprintln!("{what} …");
    let options = Options { program: &program, only: &cli.only, progress: &progress };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
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
