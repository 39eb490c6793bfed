//! `cargo xtask bench takeover`: how long no replayer decides after the owner of a partition dies,
//! is replaced, or is restarted.
//!
//! A partition has many hot chunks on a real Kafka and a real S3 server; two replayers run as
//! processes. The end of a pause is visible to every reader, because it is a valid record in
//! `updates`.

mod decisions;
mod hot;
mod report;

use self::decisions::Decisions;
use self::hot::HotChunks;
use self::report::{Figures, Report};
use crate::replayers::{self, Launcher, Replayer};
use anyhow::{Context, Result, bail, ensure};
use driftless_log::Log;
use driftless_log::kafka::{KafkaLog, KafkaSettings};
use driftless_schemas::world::WorldSpec;
use driftless_testbed::{RunDir, shared_kafka, shared_s3};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const PATIENCE: Duration = Duration::from_secs(60);
/// Names of the three measured times.
const FIRST: &str = "assigned → first decision";
const ALL: &str = "assigned → last hot chunk";
const PAUSE: &str = "last decision → first decision";

/// Targets for the three measured times, in milliseconds.
const FIRST_MS: f64 = 300.0;
const ALL_MS: f64 = 1500.0;
const PAUSE_MS: f64 = 300.0;

/// Names of the ways in which an owner ends and is replaced.
const KILL: &str = "kill -9, another takes over";
const HAND_OVER: &str = "SIGTERM, another takes over";
const RESTART: &str = "alone: SIGTERM, started again";
const CRASH: &str = "alone: kill -9, started again";

/// Arguments of `cargo xtask bench takeover`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  cargo xtask bench takeover
  cargo xtask bench takeover --chunks 1000 --rounds 3 --json
  cargo xtask bench takeover --rate 4000 --snapshot-age 30 --keep-logs /tmp/takeover

The benchmark fails if a target is missed, or if a command is lost or decided twice. Without --brokers
and --store it starts an Apache Kafka and an S3 server of its own.")]
pub(crate) struct TakeoverArgs {
    /// Number of hot chunks, all in one partition.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    chunks: u32,
    /// Number of measurements of each kind of end.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Number of edits a second, over all chunks [default: one for each chunk].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// The replayers' `snapshot_max_age`, seconds. An owner is ended once half of this time has
    /// passed since the snapshots.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    snapshot_age: u32,
    /// Brokers that run already.
    #[arg(long, value_name = "LIST", env = "DRIFTLESS_TEST_BROKERS")]
    brokers: Option<String>,
    /// An existing bucket, `s3://bucket`, with the usual AWS_… variables.
    #[arg(long, value_name = "URL", env = "DRIFTLESS_TEST_S3")]
    store: Option<String>,
    /// Folder that keeps the replayers' logs.
    #[arg(long, value_name = "DIR")]
    keep_logs: Option<std::path::PathBuf>,
    /// Print one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

impl TakeoverArgs {
    fn rate(&self) -> u32 {
        self.rate.unwrap_or(self.chunks)
    }
}

/// Runs the benchmark, and fails if a target is missed.
pub(crate) async fn run(args: TakeoverArgs) -> Result<()> {
    let mut bench = Bench::start(&args).await?;
    let mut figures = Figures::default();
    for round in 1..=args.rounds {
        let say = |what: &str| eprintln!("round {round} of {}: {what} …", args.rounds);
        say(KILL);
        bench.kill(&mut figures).await?;
        say(HAND_OVER);
        bench.hand_over(&mut figures).await?;
        say(RESTART);
        bench.restart(&mut figures).await?;
        say(CRASH);
        bench.crash(&mut figures).await?;
    }
    let (figures, is_met) = figures.done();
    let report = Report {
        log: bench.log_name.clone(),
        store: bench.launcher.store.clone(),
        chunks: args.chunks,
        rate: args.rate(),
        rounds: args.rounds,
        snapshot_age_s: args.snapshot_age,
        session_timeout_ms: KafkaSettings::default().session_timeout_ms,
        recovered_records_max: bench.recovered_records_max,
        commands: bench.end().await?,
        figures,
        is_met,
    };
    report.print();
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    ensure!(is_met, "a target is missed");
    Ok(())
}

struct Bench {
    chunks: usize,
    /// How long the owner still decides after it has stored all snapshots, before the benchmark
    /// ends it. The next owner must replay the log of this time.
    settle: Duration,
    launcher: Launcher,
    log_name: String,
    decisions: Decisions,
    hot: HotChunks,
    owner: Replayer,
    standby: Option<Replayer>,
    /// The most records of `updates` that a new owner read before it decided.
    recovered_records_max: u64,
    /// The last field, so that the folder is removed after everything else has ended.
    _dir: RunDir,
}

impl Bench {
    async fn start(args: &TakeoverArgs) -> Result<Self> {
        eprintln!("starting Kafka and S3 …");
        let (given_brokers, given_store) = (args.brokers.clone(), args.store.clone());
        let servers = tokio::task::spawn_blocking(move || -> Result<_> {
            let brokers = given_brokers.map_or_else(|| shared_kafka().map(str::to_owned), Ok)?;
            // `shared_s3` reads the same variable as --store, which is unset here.
            let s3 = match given_store {
                Some(url) => (url, Vec::new()),
                None => shared_s3().map(|access| (access.url.clone(), access.env.clone()))?,
            };
            Ok((brokers, s3))
        });
        let (brokers, (store, env)) = servers.await??;
        let dir = RunDir::new("takeover")?;
        let name = format!("takeover-{}", std::process::id());
        let spec = WorldSpec { name: name.clone(), partitions: 1, ..WorldSpec::dev() };
        let world = dir.path().join("world.toml");
        std::fs::write(&world, toml::to_string(&spec)?)?;
        let config = dir.path().join("driftless.toml");
        let age_ms = args.snapshot_age * 1000;
        std::fs::write(&config, format!("[replayer.core]\nsnapshot_max_age_ms = {age_ms}\n"))?;
        let folder = args.keep_logs.clone().unwrap_or_else(|| dir.path().to_owned());
        std::fs::create_dir_all(&folder)?;
        let store = format!("{}/{name}", store.trim_end_matches('/'));
        let mut launcher =
            Launcher { folder, brokers: brokers.clone(), store, config, flags: Vec::new(), env, starts: 0 };

        let init = launcher.command("init")?.arg("--world").arg(&world).output()?;
        ensure!(init.status.success(), "driftless init: {}", String::from_utf8_lossy(&init.stderr));
        let log = KafkaLog::new(KafkaSettings { brokers, ..KafkaSettings::default() })?;
        let topics = spec.topics();
        let chunks = hot::chunks(args.chunks)?;
        let decisions = Decisions::follow(&log, &topics.updates, chunks.len())?;
        let mut owner = launcher.start("a")?;
        owner.event("ownership", SystemTime::UNIX_EPOCH, PATIENCE, replayers::Event::is_deciding).await?;
        let standby = launcher.stand_by("b").await?;
        let count = chunks.len();
        let hot = HotChunks::start(&log, Arc::clone(&topics.commands), chunks, args.rate())?;
        Ok(Self {
            chunks: count,
            settle: Duration::from_secs(args.snapshot_age.into()) / 2,
            launcher,
            log_name: log.describe(),
            decisions,
            hot,
            owner,
            standby: Some(standby),
            recovered_records_max: 0,
            _dir: dir,
        })
    }

    /// Waits until the owner has stored a snapshot of every chunk, and then for the settle time.
    /// Returns the owner's epoch.
    async fn settled(&mut self) -> Result<u64> {
        let epoch = self.decisions.epoch();
        self.decisions.all_stored(epoch, self.chunks, 3 * PATIENCE).await?;
        tokio::time::sleep(self.settle).await;
        Ok(epoch)
    }

    /// Notes the times of a new owner, counted from its assignment by the consumer group. `before`
    /// is the previous owner's epoch. If `targets` is true, the figures have targets. Returns when
    /// this program read the new owner's first decision.
    async fn measure(
        &mut self,
        what: &'static str,
        before: u64,
        since: SystemTime,
        figures: &mut Figures,
        targets: bool,
    ) -> Result<SystemTime> {
        let assigned = self.owner.event("an assignment", since, PATIENCE, |e| e.is_assigned(true)).await?;
        let deciding = self.owner.event("its decisions", since, PATIENCE, replayers::Event::is_deciding).await?;
        let epoch = self.decisions.next_ownership(before, PATIENCE).await?;
        self.decisions.all_decided(epoch, PATIENCE).await?;
        let ownership = self.decisions.ownership(epoch);
        let (Some(first), Some(all)) = (ownership.first, ownership.all) else {
            bail!("the new owner has decided nothing")
        };
        let target = |ms| targets.then_some(ms);
        figures.note(what, FIRST, ms(assigned.at, first), target(FIRST_MS));
        figures.note(what, ALL, ms(assigned.at, all), target(ALL_MS));
        let records = deciding.line["records"].as_u64().unwrap_or_default();
        self.recovered_records_max = self.recovered_records_max.max(records);
        let at = |name: &str| deciding.line[name].as_f64().unwrap_or_default();
        eprintln!(
            "  index claimed {:.0} ms, fence acknowledged {:.0} ms, {records} records read {:.0} ms, \
             first decision read {:.0} ms, last chunk {:.0} ms after the assignment",
            at("claimed_ms"),
            at("fenced_ms"),
            at("recovered_ms"),
            ms(assigned.at, first),
            ms(assigned.at, all)
        );
        Ok(first)
    }

    fn take_standby(&mut self) -> Result<Replayer> {
        let standby = self.standby.take().context("there is a second replayer")?;
        Ok(std::mem::replace(&mut self.owner, standby))
    }

    async fn stand_by(&mut self, member: &'static str) -> Result<()> {
        self.standby = Some(self.launcher.stand_by(member).await?);
        Ok(())
    }

    /// Kills the owner, and measures how the standby takes over.
    async fn kill(&mut self, figures: &mut Figures) -> Result<()> {
        let epoch = self.settled().await?;
        let mut old = self.take_standby()?;
        let killed = SystemTime::now();
        old.kill()?;
        let assigned = self.owner.event("an assignment", killed, PATIENCE, |e| e.is_assigned(true)).await?;
        figures.note(KILL, "killed → assigned (the group)", ms(killed, assigned.at), None);
        self.measure(KILL, epoch, killed, figures, true).await?;
        self.stand_by(old.member).await
    }

    /// Stops the owner gracefully, and measures how the standby takes over.
    async fn hand_over(&mut self, figures: &mut Figures) -> Result<()> {
        let epoch = self.settled().await?;
        let mut old = self.take_standby()?;
        let asked = SystemTime::now();
        old.ask_to_stop()?;
        let first = self.measure(HAND_OVER, epoch, asked, figures, false).await?;
        let last = self.decisions.ownership(epoch).last.context("the old owner decided")?;
        figures.note(HAND_OVER, PAUSE, ms(last, first), Some(PAUSE_MS));
        old.ended(PATIENCE).await?;
        self.stand_by(old.member).await
    }

    /// Stops the owner gracefully without a standby, and measures its restart.
    async fn restart(&mut self, figures: &mut Figures) -> Result<()> {
        let mut standby = self.standby.take().context("there is a second replayer")?;
        standby.ask_to_stop()?;
        standby.ended(PATIENCE).await?;
        let epoch = self.settled().await?;
        let asked = SystemTime::now();
        self.owner.ask_to_stop()?;
        self.owner.ended(PATIENCE).await?;
        self.owner = self.launcher.start(self.owner.member)?;
        let first = self.measure(RESTART, epoch, asked, figures, false).await?;
        let last = self.decisions.ownership(epoch).last.context("the old owner decided")?;
        figures.note(RESTART, PAUSE, ms(last, first), None);
        Ok(())
    }

    /// Kills the owner without a standby, and measures its restart.
    async fn crash(&mut self, figures: &mut Figures) -> Result<()> {
        let epoch = self.settled().await?;
        let killed = SystemTime::now();
        self.owner.kill()?;
        self.owner = self.launcher.start(self.owner.member)?;
        let first = self.measure(CRASH, epoch, killed, figures, false).await?;
        let last = self.decisions.ownership(epoch).last.context("the old owner decided")?;
        figures.note(CRASH, PAUSE, ms(last, first), None);
        let other = if self.owner.member == "a" { "b" } else { "a" };
        self.stand_by(other).await
    }

    /// Ends the edits, and waits until all of them are decided. Returns their number.
    async fn end(self) -> Result<u64> {
        let sent = tokio::task::spawn_blocking(move || self.hot.end()).await??;
        self.decisions.decided(sent, PATIENCE).await?;
        Ok(sent)
    }
}

fn ms(from: SystemTime, to: SystemTime) -> f64 {
    to.duration_since(from).unwrap_or_default().as_secs_f64() * 1e3
}
