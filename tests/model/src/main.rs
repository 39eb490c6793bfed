//! `model`: explores the models exhaustively and, with `--mutants`, shows that they catch broken
//! rules.

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
                                         print the steps that lead to each mutant's violation
  cargo xtask model --quick --json       print one JSON object to standard output

The exit code is 0 only if no property is violated and, with --mutants, every mutant is caught.";

/// Explore the models of ownership (R2 to R6) and of the writer's rule (R8) exhaustively
#[derive(Debug, Parser)]
#[command(name = "model", version, after_help = EXAMPLES)]
struct Options {
    /// Explore only the configurations with these names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Use small bounds
    #[arg(long)]
    quick: bool,
    /// Also break each rule in turn: every mutant must be caught
    #[arg(long)]
    mutants: bool,
    /// Print the steps that lead to each mutant's violation
    #[arg(long)]
    traces: bool,
    /// Print one JSON object to standard output, and everything else to standard error
    #[arg(long)]
    json: bool,
    /// Number of threads; mutants use one, so that their traces are short [default: the number of
    /// cores]
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
        anyhow::bail!("there is no configuration {unknown}; choose among {}", known.join(", "));
    }
    configurations.retain(|c| options.names.is_empty() || options.names.iter().any(|name| name == c.name));
    let cores = || std::thread::available_parallelism().map_or(1, Into::into);
    let threads = options.threads.unwrap_or_else(cores).max(1);
    let mut report = Report::default();
    for configuration in configurations {
        let explored = configuration.setup.explore(threads, Progress::new(configuration.name).printer());
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

/// Prints an exploration's progress to standard error: a line that is overwritten on a terminal, a
/// new line every ten seconds elsewhere.
struct Progress {
    name: &'static str,
    start: Instant,
    printed: Instant,
}

impl Progress {
    fn new(name: &'static str) -> Self {
        let start = Instant::now();
        Self { name, start, printed: start }
    }

    fn printer(mut self) -> impl FnMut(usize) {
        let is_terminal = stderr().is_terminal();
        move |states| {
            let Self { name, start, .. } = &self;
            let seconds = start.elapsed().as_secs();
            if is_terminal {
                eprint!("\r{name}: {states} states in {seconds} s \r");
            } else if self.printed.elapsed() >= Duration::from_secs(10) {
                eprintln!("{name}: {states} states in {seconds} s");
                self.printed = Instant::now();
            }
        }
    }
}
