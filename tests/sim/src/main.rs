//! `sim`: runs seeds of the simulator, or its mutants. `cargo xtask sim` builds it optimised and
//! runs it.

use anyhow::{Result, ensure};
use clap::Parser;
use driftless_chunk::mutant::Mutant;
use driftless_sim::mutants::{self, Hunt};
use driftless_sim::seeds::{Totals, run_many};
use driftless_sim::sim;
use driftless_sim::trace::Trace;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  cargo xtask sim                          run 2,000 seeds
  cargo xtask sim --seeds 20000            run more seeds
  cargo xtask sim --minutes 60             run seeds for an hour
  cargo xtask sim --mutants                check that each deliberate bug is found
  cargo xtask sim --seed 306 --trace       repeat one run, and print its steps";

/// Runs the real cores over a fake log, store and network, with many kinds of faults.
#[derive(Debug, Parser)]
#[command(name = "sim", bin_name = "cargo xtask sim", version, after_help = EXAMPLES)]
struct Options {
    /// The number of seeds
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Run seeds for this time, and ignore --seeds
    #[arg(long)]
    minutes: Option<f64>,
    /// Run only this seed
    #[arg(long, conflicts_with_all = ["mutants", "minutes"])]
    seed: Option<u64>,
    /// Print the last steps of the run; needs --seed
    #[arg(long, requires = "seed")]
    trace: bool,
    /// A deliberate bug: the one that a run of --seed has, or the only one that --mutants checks
    #[arg(long)]
    mutant: Option<String>,
    /// Check that each deliberate bug is found
    #[arg(long)]
    mutants: bool,
    /// The number of runs in parallel
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
    /// Print one JSON object on the last line
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    // A panic is reported as a violation, so the default message would only disturb the output.
    std::panic::set_hook(Box::new(|_| {}));
    let options = Options::parse();
    let run = match (options.seed, options.mutants) {
        (Some(seed), _) => one(&options, seed),
        (None, true) => all_mutants(&options),
        (None, false) => many(&options),
    };
    match run {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn bar(length: u64, template: &str) -> Result<ProgressBar> {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(template)?);
    Ok(bar)
}

fn many(options: &Options) -> Result<bool> {
    ensure!(options.threads > 0, "--threads is 0: at least one is needed");
    ensure!(options.mutant.is_none(), "--mutant needs --seed or --mutants");
    let start = Instant::now();
    let until = options.minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0));
    let length = if until.is_some() { u64::MAX } else { options.seeds };
    let bar = bar(length, "{elapsed_precise} {wide_bar} {pos} seeds, {per_sec}, {msg}")?;
    let goes_on = |seed: u64| match until {
        Some(until) => start.elapsed() < until,
        None => seed < options.first + options.seeds,
    };
    let mut totals = Totals::default();
    run_many(options.first, options.threads, None, goes_on, |report| {
        totals.add(&report);
        bar.set_position(totals.seeds);
        bar.set_message(format!("{} edits", totals.edits));
    });
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", totals.table());
    let per_core = totals.commands() as f64 / seconds / options.threads as f64;
    println!("{} seeds in {seconds:.1} s: {per_core:.0} commands a second and core", totals.seeds);
    if let Some((seed, violation)) = &totals.violation {
        println!("\nseed {seed}: {violation}\nto repeat it: cargo xtask sim --seed {seed} --trace");
    }
    if options.json {
        let mut summary = totals.to_json();
        summary["seconds"] = json!((seconds * 10.0).round() / 10.0);
        summary["threads"] = json!(options.threads);
        summary["commands_per_second_and_core"] = json!(per_core.round());
        println!("{summary}");
    }
    Ok(totals.violation.is_none() && totals.seeds > 0)
}

fn mutant(options: &Options) -> Result<Option<Mutant>> {
    let Some(name) = &options.mutant else { return Ok(None) };
    let known = || Mutant::ALL.map(|m| format!("{m:?}")).join(", ");
    let found = Mutant::ALL.into_iter().find(|m| format!("{m:?}") == *name);
    found.map(Some).ok_or_else(|| anyhow::anyhow!("no mutant is called {name:?}; choose among {}", known()))
}

fn one(options: &Options, seed: u64) -> Result<bool> {
    let mutant = mutant(options)?;
    driftless_chunk::mutant::set(mutant);
    let (report, trace) = sim::run_with(seed, Trace::new(options.trace));
    driftless_chunk::mutant::set(None);
    for line in trace.lines() {
        println!("{line}");
    }
    let mut totals = Totals::default();
    totals.add(&report);
    println!("{}", totals.table());
    match &report.violation {
        None => println!("seed {seed}: {} steps, trace {:016x}: all rules hold", report.steps, report.trace),
        Some(violation) => println!("seed {seed}: after {} steps, {violation}", report.steps),
    }
    if options.json {
        println!("{}", totals.to_json());
    }
    Ok(report.violation.is_none())
}

fn all_mutants(options: &Options) -> Result<bool> {
    let wanted = mutant(options)?.map_or(Mutant::ALL.to_vec(), |only| vec![only]);
    let bar = bar(wanted.len() as u64, "{elapsed_precise} {wide_bar} {pos}/{len} {msg}")?;
    let mut hunts: Vec<Hunt> = Vec::new();
    for mutant in wanted {
        bar.set_message(format!("{mutant:?}"));
        let hunt = mutants::hunt(mutant, options.first, options.threads, mutants::SEEDS_MAX);
        bar.println(hunt.line());
        if bar.is_hidden() {
            println!("{}", hunt.line());
        }
        hunts.push(hunt);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let caught = hunts.iter().filter(|hunt| hunt.found.is_some()).count();
    println!("{caught} of {} mutants caught", hunts.len());
    if options.json {
        let all: Vec<_> = hunts.iter().map(Hunt::to_json).collect();
        println!("{}", json!({ "ok": caught == hunts.len(), "caught": caught, "of": hunts.len(), "mutants": all }));
    }
    Ok(caught == hunts.len())
}
