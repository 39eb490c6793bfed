//! `driftless-chaos`, which `cargo xtask chaos` builds and runs.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use driftless_chaos::cluster::{Cluster, KafkaChoice, Options};
use driftless_chaos::plan::{self, Cast, Target};
use driftless_chaos::report::Report;
use driftless_chaos::story::{self, Progress, Studio};
use driftless_chaos::{checker, environment, remade, strike};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  cargo xtask chaos --minutes 3              three minutes of faults, from a seed that is drawn
  cargo xtask chaos --minutes 3 --seed 42    the faults of seed 42
  cargo xtask chaos --minutes 60 --json      an hour; one JSON object on the last line
  cargo xtask chaos --minutes 3 --clients 4  a lighter load

The faults: processes are killed, paused, ended and cut off, and replayers become zombies; brokers, S3 and
clients' connections are disturbed. Faults of the environment happen one at a time, each at least once in a
run of ten minutes: the index is put back to an older state or deleted, a replayer with a copy of the store
joins, a service's clock is ahead or behind by minutes, and another program forges records. After each of
them, every chunk must have a new commit within 15 s. At the end of a run of five minutes or more, the topic
`updates` is made anew; services must say so within 5 s, and edits go on in a new history.

Needs Java, Maven, Go and Python 3, about 4 GB of memory and 1 GB of disk space. A seed repeats the
faults, not the run: real processes are not deterministic.
Exit code: 0 everything holds, 1 it does not (the output says what, and where the logs are).";

/// Kill, pause and cut off real processes while clients edit, change what they rely on, and check
/// that nothing is lost, doubled or different.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", bin_name = "cargo xtask chaos", version, after_help = EXAMPLES)]
struct Cli {
    /// Minutes of faults; start, healing and checks come on top
    #[arg(long, default_value_t = 3.0, value_name = "M")]
    minutes: f64,
    /// The seed of all faults and edits [default: random]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
    /// Number of clients that edit
    #[arg(long, default_value_t = 8, value_name = "N")]
    clients: usize,
    /// Number of replayers, of gateways, and of ingests
    #[arg(long, default_value_t = 2, value_name = "N")]
    services: usize,
    /// Number of Kafka brokers; fewer than 3 are never disturbed
    #[arg(long, default_value_t = 3, value_name = "N")]
    brokers: usize,
    /// Partitions of the world
    #[arg(long, default_value_t = 8, value_name = "N")]
    partitions: i32,
    /// The driftless program [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The folder for logs and outcomes, and for data until the run has passed [default:
    /// chaos/<seed> in the target folder]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// The time that a run may take beyond its faults, for start, healing and checks.
const OVERTIME: Duration = Duration::from_secs(45 * 60);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = runtime.context("cannot start").and_then(|runtime| runtime.block_on(run(&cli)));
    match ran {
        Ok(report) => {
            print!("{}", report.table());
            if report.is_ok() {
                println!("everything holds; logs: {}", report.folder.display());
            } else {
                let (seed, folder) = (report.seed, report.folder.display());
                println!("{} failures with seed {seed}; logs and data: {folder}", report.failures.len());
            }
            if cli.json {
                println!("{}", report.to_json());
            }
            if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<Report> {
    ensure!(cli.minutes > 0.0 && cli.minutes < 100_000.0, "--minutes {}: it must be more than 0", cli.minutes);
    ensure!(cli.clients > 0 && cli.services > 0 && cli.brokers > 0, "there must be at least one of each");
    let seed = cli.seed.unwrap_or_else(|| rand::random_range(1..1_000_000));
    let length = Duration::from_secs_f64(cli.minutes * 60.0);
    let beside = std::env::current_exe()?.parent().context("this program lies in a folder")?.to_owned();
    let program = cli.program.clone().unwrap_or_else(|| beside.join("driftless"));
    ensure!(program.is_file(), "{} is not there: cargo build --package driftless", program.display());
    let dir = cli.output.clone().unwrap_or_else(|| beside.with_file_name("chaos").join(seed.to_string()));
    let dir = emptied(&dir)?;
    eprintln!("seed {seed}; logs in {}", dir.display());
    let story = tell(cli, seed, length, program, &dir);
    match tokio::time::timeout(length + OVERTIME, story).await {
        Ok(told) => told.with_context(|| format!("seed {seed}, logs in {}", dir.display())),
        Err(_) => bail!("seed {seed}: it does not end; logs in {}", dir.display()),
    }
}

async fn tell(cli: &Cli, seed: u64, length: Duration, program: PathBuf, dir: &Path) -> Result<Report> {
    let started = Instant::now();
    let bar = ProgressBar::new(length.as_secs().max(1));
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:30} {msg}")?);
    bar.set_message("starting");
    let python = checker::python();
    let kafka = KafkaChoice::Own(cli.brokers);
    let shim = program.with_file_name("libdriftless_clock_shim.so");
    ensure!(shim.is_file(), "{} is not there: cargo build --package driftless-clock-shim", shim.display());
    let (dir_of_run, shim) = (dir.to_owned(), Some(shim));
    let (services, partitions) = (cli.services, cli.partitions);
    let options = Options { dir: dir_of_run, program, services, kafka, partitions, shim };
    let cluster = Cluster::start(options).await?;
    let studio = Studio::open(&cluster, cli.clients, seed).await?;
    let partitions = usize::try_from(cli.partitions)?;
    let lanes = plan::draw(seed, Cast { services: cli.services, brokers: cli.brokers, partitions }, length);
    let (of_environment, lanes): (Vec<_>, Vec<_>) =
        lanes.into_iter().partition(|lane| lane.target == Target::Environment);
    let painting = tokio::time::Instant::now();
    let until = painting + length;
    let striking = async {
        let upsetting = of_environment.into_iter().map(|lane| environment::all(&cluster, &studio, lane, until));
        tokio::try_join!(strike::all(&cluster, lanes, until), futures_util::future::try_join_all(upsetting))
    };
    let showing = async {
        loop {
            let Progress { submitted, ended, committed } = studio.progress();
            let faults: u64 = cluster.journal.counts().faults.values().sum();
            bar.set_position(painting.elapsed().as_secs());
            bar.set_message(format!(
                "{faults} faults; edits: {submitted}, {committed} committed, {} open",
                submitted - ended
            ));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let mut report = Report { seed, minutes: cli.minutes, folder: dir.to_owned(), ..Report::default() };
    tokio::select! {
        struck = striking => report.failures.extend(struck.err().map(|e| format!("{e:#}"))),
        failed = cluster.supervise() => report.failures.push(format!("{failed:#}")),
        () = showing => {}
    }
    if cli.minutes >= remade::MINUTES_MIN && report.failures.is_empty() {
        bar.set_message("making the topic updates anew");
        tokio::select! {
            remade = remade::run(&cluster, &studio, dir, &mut report) => {
                report.failures.extend(remade.err().map(|e| format!("topic_remade: {e:#}")));
            }
            failed = cluster.supervise() => return Err(failed),
        }
    }
    bar.set_message("coming to rest, then checks");
    bar.enable_steady_tick(Duration::from_millis(500));
    tokio::select! {
        concluded = story::conclude(&cluster, studio, &python, dir, &mut report) => concluded?,
        failed = cluster.supervise() => return Err(failed),
    }
    bar.finish_and_clear();
    drop(cluster);
    if report.is_ok() {
        for data in ["kafka", "s3", environment::INDEX_COPY, checker::LOST].map(|data| dir.join(data)) {
            if data.is_dir() {
                std::fs::remove_dir_all(data)?;
            }
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Empties the folder of an earlier run. Refuses to remove any other folder.
fn emptied(dir: &Path) -> Result<PathBuf> {
    if dir.is_dir() {
        let is_ours = dir.join("faults.log").is_file() || std::fs::read_dir(dir)?.next().is_none();
        ensure!(is_ours, "{} holds something else than an earlier run: name another --output", dir.display());
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(std::fs::canonicalize(dir)?)
}
