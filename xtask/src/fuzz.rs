//! `cargo xtask fuzz`: libFuzzer on the targets of `tests/fuzz`, starting from the committed inputs
//! and from the inputs that earlier runs found.
//!
//! Plain Cargo builds the targets, with the flags that `cargo fuzz` would set. All of these flags
//! are stable, so fuzzing needs neither a nightly compiler nor an installation
//! (docs/decisions/0009-fuzzing.md). `cargo fuzz --fuzz-dir tests/fuzz` works too.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::process;
use crate::step::{Screen, seconds};
use crate::workspace::Workspace;

mod progress;
use progress::Progress;

const EXAMPLES: &str = "\
Examples:
  cargo xtask fuzz                                 every target for a minute, one after another
  cargo xtask fuzz --minutes 30 --jobs 2           half an hour each, two at a time
  cargo xtask fuzz --target client --target map    these two targets
  cargo xtask fuzz --json                          one JSON object on the last line
  cargo xtask fuzz --target map --replay FILE      one input again, with the target's output

New inputs stay in target/fuzz/corpus, from which the next run starts. The exit code is 0 only
without a crash. To make a test of a crash, put its file into tests/fuzz/regressions/<target>/ under
a name that describes the fault.";

/// The compiler flags that `cargo fuzz` sets for coverage.
const RUSTFLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];
/// Time limit for one input, in seconds. An input that runs longer counts as a crash.
const TIMEOUT: u32 = 20;
/// Memory limit of a process, in MiB. A process that uses more counts as a crash.
const MEMORY_MB: u32 = 2048;
/// Length limit of an input. Longer inputs are slow and find nothing more.
const INPUT_BYTES_MAX: u32 = 4096;
/// The time between two progress lines of a target.
const PROGRESS: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Minutes for each target
    #[arg(long, default_value_t = 1.0)]
    pub minutes: f64,
    /// Fuzz only this target; may be given several times
    #[arg(long = "target", value_name = "NAME")]
    pub targets: Vec<String>,
    /// Number of targets that run at a time
    #[arg(long, default_value_t = 1)]
    pub jobs: usize,
    /// Run one input through the one named target
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Print one JSON object on standard output, and everything else on standard error
    #[arg(long)]
    pub json: bool,
}

pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let screen = Screen { is_stderr: options.json };
    let targets = chosen(workspace, &options.targets)?;
    ensure!(options.minutes > 0.0 && options.jobs > 0, "--minutes and --jobs must be above 0");
    let programs = build(workspace, &targets, screen)?;
    if let Some(input) = options.replay {
        let [target] = &targets[..] else { bail!("--replay needs one --target") };
        let mut replay = Command::new(programs.join(target));
        replay.arg(input).env("RUST_BACKTRACE", "1");
        return Err(process::replace_this_process(replay)).context("cannot run the target");
    }
    let fuzz =
        Fuzz { root: &workspace.root, programs, work: workspace.target_dir.join("fuzz"), screen, options: &options };
    let mut results = fuzz.all(&targets)?;
    results.sort_by(|a, b| a.target.cmp(&b.target));
    let crashes = results.iter().flat_map(|result| &result.crashes).count();
    screen.say(&format!("\n{}", table(&results)));
    for result in &results {
        for crash in &result.crashes {
            screen.say(&format!("CRASH: {}", crash.display()));
            screen.say(&format!("  cargo xtask fuzz --target {} --replay {}", result.target, crash.display()));
        }
    }
    let held = results.iter().filter(|result| result.is_fine()).count();
    screen.say(&format!("{held} held, {} failed", results.len() - held));
    if options.json {
        let targets: Vec<Value> = results.iter().map(TargetResult::to_json).collect();
        println!(
            "{}",
            json!({ "ok": held == results.len(), "minutes": options.minutes, "crashes": crashes, "targets": targets })
        );
    }
    Ok(if held == results.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the names of the chosen targets: the named ones or, without names, all. Fails if a name
/// is unknown.
fn chosen(workspace: &Workspace, names: &[String]) -> Result<Vec<String>> {
    let folder = workspace.root.join("tests/fuzz/fuzz_targets");
    let mut all = Vec::new();
    for file in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        all.extend(file?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    all.sort();
    if let Some(other) = names.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {other}; there are {}", all.join(", "));
    }
    Ok(all.into_iter().filter(|name| names.is_empty() || names.contains(name)).collect())
}

/// Builds the programs of the targets. Returns the folder that contains them.
fn build(workspace: &Workspace, targets: &[String], screen: Screen) -> Result<PathBuf> {
    ensure!(process::find("c++").is_some(), "a C++ compiler is missing (Debian: apt-get install build-essential)");
    let mut host = Command::new("rustc");
    host.arg("-vV");
    let host = process::ask(host)?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not tell its host")?;
    let into = workspace.target_dir.join("fuzz/build");
    let mut build = workspace.cargo();
    // If the target is explicit, Cargo builds build scripts and macros without these flags.
    build.current_dir(workspace.root.join("tests/fuzz")).args(["build", "--release", "--target", host, "--target-dir"]);
    build.arg(&into).env("RUSTFLAGS", RUSTFLAGS.join(" ")).env_remove("RUSTC_WORKSPACE_WRAPPER").stdout(screen.stdio());
    build.args(targets.iter().flat_map(|target| ["--bin", target]));
    process::check("the build of the fuzz targets", build)?;
    Ok(into.join(host).join("release"))
}

struct Fuzz<'a> {
    root: &'a Path,
    programs: PathBuf,
    /// The folder of corpus, seeds and crashes, in the target folder.
    work: PathBuf,
    screen: Screen,
    options: &'a Options,
}

/// The result of fuzzing one target.
struct TargetResult {
    target: String,
    took: Duration,
    progress: Progress,
    crashes: Vec<PathBuf>,
    /// The exit status or error of the process, if it failed.
    failure: Option<String>,
}

impl Fuzz<'_> {
    fn all(&self, targets: &[String]) -> Result<Vec<TargetResult>> {
        let waiting: Mutex<VecDeque<&String>> = Mutex::new(targets.iter().collect());
        let next = || waiting.lock().ok()?.pop_front();
        let work = || -> Result<Vec<TargetResult>> {
            let mut done = Vec::new();
            while let Some(target) = next() {
                done.push(self.one(target)?);
            }
            Ok(done)
        };
        let mut done = Vec::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.options.jobs.min(targets.len())).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                done.extend(worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??);
            }
            Ok(done)
        })
    }

    fn one(&self, target: &str) -> Result<TargetResult> {
        let folder = |of: &str| -> Result<PathBuf> {
            let folder = self.work.join(of).join(target);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            Ok(folder)
        };
        let (corpus, seeds, crashes) = (folder("corpus")?, folder("seeds")?, folder("crashes")?);
        let program = self.programs.join(target);
        let mut write = Command::new(&program);
        write.env("DRIFTLESS_FUZZ_SEEDS", &seeds);
        process::ask(write).context("no seeds were written")?;
        let mut fuzz = Command::new(&program);
        // libFuzzer writes new inputs to the first folder of the list.
        fuzz.arg(&corpus).arg(&seeds);
        let regressions = self.root.join("tests/fuzz/regressions").join(target);
        fuzz.args(regressions.is_dir().then_some(regressions));
        let total = (self.options.minutes * 60.0).ceil();
        fuzz.arg(format!("-max_total_time={total}")).arg(format!("-artifact_prefix={}/", crashes.display()));
        fuzz.args([
            format!("-timeout={TIMEOUT}"),
            format!("-rss_limit_mb={MEMORY_MB}"),
            format!("-max_len={INPUT_BYTES_MAX}"),
        ]);
        fuzz.args(["-print_final_stats=1", "-verbosity=1"]).env("RUST_BACKTRACE", "1");
        self.screen.say(&format!("== {target}: {total} s"));
        let (start, mut reported) = (Instant::now(), Instant::now());
        let mut progress = Progress::default();
        let mut last = VecDeque::new();
        let status = process::lines(fuzz, |line| {
            if !progress.line(line) {
                last.push_back(line.to_owned());
                if last.len() > 60 {
                    last.pop_front();
                }
            }
            if reported.elapsed() >= PROGRESS {
                reported = Instant::now();
                self.screen.say(&format!(
                    "   {target}: {:4.0} s, {}",
                    start.elapsed().as_secs_f64(),
                    progress.summary()
                ));
            }
        })?;
        let took = start.elapsed();
        let crashes: Vec<PathBuf> = progress.written.iter().map(PathBuf::from).collect();
        let failure = (!status.success()).then(|| {
            last.iter().for_each(|line| self.screen.say(line));
            format!("the process ended with {status}")
        });
        let done = TargetResult { target: target.to_owned(), took, progress, crashes, failure };
        self.screen.say(&format!("== {target}: {}", done.row()));
        Ok(done)
    }
}

impl TargetResult {
    fn is_fine(&self) -> bool {
        self.failure.is_none() && self.progress.executions > 0
    }

    fn row(&self) -> String {
        let end = match &self.failure {
            None if self.is_fine() => "held",
            None => "FAILED: no input ran",
            Some(failure) => &format!("FAILED: {failure}"),
        };
        format!("{:.0} s, {}: {end}", self.took.as_secs_f64(), self.progress.summary())
    }

    fn to_json(&self) -> Value {
        let Progress { executions, edges, features, corpus, .. } = self.progress;
        json!({
            "name": self.target,
            "ok": self.is_fine(),
            "seconds": seconds(self.took),
            "executions": executions,
            "per_second": executions / self.took.as_secs().max(1),
            "edges": edges,
            "features": features,
            "corpus": corpus,
            "crashes": self.crashes,
            "failure": self.failure,
        })
    }
}

fn table(results: &[TargetResult]) -> String {
    results.iter().map(|result| format!("  {:9} {}\n", result.target, result.row())).collect()
}
