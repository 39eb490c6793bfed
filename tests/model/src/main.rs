//! `model`: explores the models to the end and, if asked, shows that they catch what is wrong.

use clap::Parser;
use driftless_model_tests::configurations::{full, quick};
use driftless_model_tests::mutants;
use driftless_model_tests::report::Report;
use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  cargo xtask model                      all configurations at full bounds: minutes, some GB of memory
  cargo xtask model --quick --mutants    small bounds, and every mutant: seconds
  cargo xtask model owners gateways      only these configurations
  cargo xtask model --quick --mutants --traces
                                         with the steps that lead to each mutant's violation
  cargo xtask model --quick --json       one JSON object on standard output

The exit code is 0 only if nothing is violated and, with --mutants, every mutant is caught.";

/// Explore the models of ownership (R2 to R6) and of the writer's rule (R8) exhaustively
#[derive(Debug, Parser)]
#[command(name = "model", version, after_help = EXAMPLES)]
struct Options {
    /// Only configurations of these names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Small bounds
    #[arg(long)]
    quick: bool,
    /// Break each rule in turn, too: every mutant must be caught
    #[arg(long)]
    mutants: bool,
    /// Print the steps that lead to each mutant's violation
    #[arg(long)]
    traces: bool,
    /// One JSON object on standard output; everything else goes to standard error
    #[arg(long)]
    json: bool,
    /// Threads that explore; mutants take one, so that traces are short [default: as many as there are cores]
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<bool> {
    let say = |line: &str| match options.json {
        true => eprintln!("{line}"),
        false => println!("{line}"),
    };
    let mut configurations = if options.quick { quick() } else { full() };
    if let Some(unknown) = options.names.iter().find(|name| configurations.iter().all(|c| c.name != *name)) {
        let known: Vec<_> = configurations.iter().map(|c| c.name).collect();
        anyhow::bail!("there is no configuration {unknown}; there are {}", known.join(", "));
    }
    configurations.retain(|c| options.names.is_empty() || options.names.iter().any(|name| name == c.name));
    let cores = || std::thread::available_parallelism().map_or(1, Into::into);
    let threads = options.threads.unwrap_or_else(cores).max(1);
    let mut report = Report::default();
    for configuration in configurations {
        let explored = configuration.setup.explore(threads, Progress::new(configuration.name).teller());
        say(&report.explored(configuration, explored));
    }
    let mutants = if options.mutants { mutants::all() } else { Vec::new() };
    for mutant in mutants {
        let explored = mutant.setup.explore(1, |_| ());
        say(&report.caught(mutant, explored, options.traces));
    }
    say(&report.conclusion());
    if options.json {
        println!("{}", report.to_json(options.quick));
    }
    Ok(report.is_ok())
}

/// Tells on standard error how far an exploration is: on a terminal in one line, elsewhere every ten seconds.
struct Progress {
    name: &'static str,
    start: Instant,
    told: Instant,
}

impl Progress {
    fn new(name: &'static str) -> Self {
        let start = Instant::now();
        Self { name, start, told: start }
    }

    fn teller(mut self) -> impl FnMut(usize) {
        let is_terminal = stderr().is_terminal();
        move |states| {
            let Self { name, start, .. } = &self;
            let seconds = start.elapsed().as_secs();
            if is_terminal {
                eprint!("\r{name}: {states} states in {seconds} s \r");
            } else if self.told.elapsed() >= Duration::from_secs(10) {
                eprintln!("{name}: {states} states in {seconds} s");
                self.told = Instant::now();
            }
        }
    }
}
