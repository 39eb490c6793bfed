//! `cargo xtask bench crowded`: two replayers with little memory, and a world that is much larger.
//! Commands to random chunks are offered faster than the replayers can load and store chunks, and
//! one of them is killed. What cannot be decided yet waits in the log.
//!
//! The commands bypass ingest, whose limits would hold them back. A reader of `updates` checks that
//! every command is decided once, in order.

mod decided;
mod offer;

use self::decided::Decided;
use self::offer::Offer;
use crate::replayers::{Event, Launcher};
use crate::resident::anonymous;
use anyhow::{Context, Result, ensure};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_log::kafka::{KafkaLog, KafkaSettings};
use driftless_schemas::ChunkId;
use driftless_schemas::world::{FamilySpec, WorldSpec};
use driftless_testbed::{RunDir, shared_kafka, shared_s3};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// Without a decision for so long, the replayers count as stuck.
const STUCK: Duration = Duration::from_secs(60);
const MEMBERS: [&str; 2] = ["a", "b"];

/// Arguments of `cargo xtask bench crowded`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  cargo xtask bench crowded
  cargo xtask bench crowded --chunks 5000 --seconds 30 --json

The benchmark fails if a command is lost or decided twice, or if a replayer takes more memory than it
may. It starts an Apache Kafka and an S3 server of its own.")]
pub(crate) struct CrowdedArgs {
    /// Number of chunks, of 32 KiB each.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chunks: u32,
    /// Commands offered a second.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How long commands are offered, seconds. A replayer is killed after half of this time.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(2..=3600))]
    seconds: u32,
    /// Number of partitions.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
    /// Anonymous memory that each replayer may take, MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(64..))]
    memory_mib: u64,
    /// Folder that keeps the replayers' logs.
    #[arg(long, value_name = "DIR")]
    keep_logs: Option<std::path::PathBuf>,
    /// Print one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

/// The figures of one run.
#[derive(Serialize)]
struct Report {
    chunks: u32,
    offered_per_second: u32,
    seconds: u32,
    memory_max_mib: u64,
    /// Commands that the log has.
    commands: u64,
    /// Commands that were decided while commands were offered, a second.
    sustained_per_second: f64,
    /// How long the rest took after the last command was offered, seconds.
    drain_seconds: f64,
    /// Commands decided in all, a second.
    overall_per_second: f64,
    /// The most anonymous memory of a replayer, MiB.
    peak_mib: u64,
    /// Snapshots that were stored.
    snapshots: u64,
    holds: bool,
}

/// Runs the benchmark.
pub(crate) async fn run(args: CrowdedArgs) -> Result<()> {
    eprintln!("starting Kafka and S3 …");
    let servers = tokio::task::spawn_blocking(|| Ok::<_, anyhow::Error>((shared_kafka()?, shared_s3()?)));
    let (brokers, s3) = servers.await??;
    let dir = RunDir::new("crowded")?;
    let spec = spec(args.partitions);
    let file = dir.path().join("world.toml");
    std::fs::write(&file, toml::to_string(&spec)?)?;
    let config = dir.path().join("driftless.toml");
    std::fs::write(&config, "")?;
    let folder = args.keep_logs.clone().unwrap_or_else(|| dir.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let mut launcher = Launcher {
        folder,
        brokers: brokers.to_owned(),
        store: format!("{}/{}", s3.url, spec.name),
        config,
        flags: vec!["--memory-max".to_owned(), format!("{}MiB", args.memory_mib)],
        env: s3.env.clone(),
        starts: 0,
    };
    let init = launcher.command("init")?.arg("--world").arg(&file).output()?;
    ensure!(init.status.success(), "driftless init: {}", String::from_utf8_lossy(&init.stderr));
    let log = KafkaLog::new(KafkaSettings { brokers: brokers.to_owned(), ..KafkaSettings::default() })?;
    let world = Arc::new(World::new("crowded", spec, &Models::builtin())?);
    let chunks: Arc<[ChunkId]> = (0..i32::try_from(args.chunks)?)
        .map(|i| Ok(ChunkId::new("canvas", &[i % 256, i / 256])?))
        .collect::<Result<_>>()?;

    let decided = Decided::follow(&log, &world)?;
    let mut replayers = Vec::new();
    let (peak, pids) = (Arc::new(AtomicU64::new(0)), Arc::new(MEMBERS.map(|_| AtomicU32::new(0))));
    for (member, pid) in MEMBERS.iter().zip(&*pids) {
        let replayer = launcher.start(member)?;
        pid.store(replayer.pid(), Ordering::Relaxed);
        replayers.push(replayer);
    }
    for replayer in &mut replayers {
        replayer.event("an ownership", SystemTime::UNIX_EPOCH, PATIENCE, Event::is_deciding).await?;
    }
    tokio::spawn(watch_memory(Arc::clone(&pids), Arc::clone(&peak)));

    let total = u64::from(args.rate) * u64::from(args.seconds);
    let bar = ProgressBar::new(total).with_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} commands decided, {per_sec}, {elapsed}, {msg}",
    )?);
    let begun = Instant::now();
    let offer = Offer::start(&log, Arc::clone(&world), Arc::clone(&chunks), args.rate)?;
    let half = Duration::from_secs(args.seconds.into()) / 2;
    wait(&decided, &bar, begun + half, "offering").await?;
    replayers[0].kill()?;
    replayers[0] = launcher.start(MEMBERS[0])?;
    pids[0].store(replayers[0].pid(), Ordering::Relaxed);
    wait(&decided, &bar, begun + 2 * half, "offering, after a kill").await?;
    let commands = tokio::task::spawn_blocking(move || offer.end()).await??;
    let (meanwhile, offered) = (decided.count(), begun.elapsed());
    bar.set_length(commands);
    let ended = Instant::now();
    let (mut last, mut moved) = (meanwhile, Instant::now());
    while decided.count() < commands {
        wait(&decided, &bar, Instant::now() + Duration::from_millis(200), "draining").await?;
        if decided.count() > last {
            (last, moved) = (decided.count(), Instant::now());
        }
        ensure!(moved.elapsed() < STUCK, "{last} of {commands} commands are decided, and no more for {STUCK:?}");
    }
    let drain = ended.elapsed();
    bar.finish_and_clear();
    let peak_mib = peak.load(Ordering::Relaxed) >> 20;
    let report = Report {
        chunks: args.chunks,
        offered_per_second: args.rate,
        seconds: args.seconds,
        memory_max_mib: args.memory_mib,
        commands,
        sustained_per_second: meanwhile as f64 / offered.as_secs_f64(),
        drain_seconds: drain.as_secs_f64(),
        overall_per_second: commands as f64 / begun.elapsed().as_secs_f64(),
        peak_mib,
        snapshots: decided.snapshots(),
        holds: peak_mib <= args.memory_mib && decided.count() == commands,
    };
    report.print();
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    ensure!(report.holds, "a replayer took {peak_mib} MiB, or decided {} of {commands} commands", decided.count());
    Ok(())
}

/// A world with grids of 32 KiB.
fn spec(partitions: i32) -> WorldSpec {
    let parameters = serde_json::json!({"size": [256, 128, 1], "palette": 256});
    let canvas = FamilySpec {
        name: "canvas".into(),
        model: "grid".into(),
        parameters: parameters.as_object().cloned().unwrap_or_default(),
        coordinates: 2,
        bounds: 8192,
        region: 0,
    };
    let name = format!("crowded-{}", std::process::id());
    WorldSpec { name, partitions, families: vec![canvas], ..WorldSpec::dev() }
}

async fn wait(decided: &Decided, bar: &ProgressBar, until: Instant, what: &'static str) -> Result<()> {
    bar.set_message(what);
    while Instant::now() < until {
        decided.check().context("the log breaks a rule")?;
        bar.set_position(decided.count());
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(())
}

async fn watch_memory(pids: Arc<[AtomicU32; 2]>, peak: Arc<AtomicU64>) {
    loop {
        for pid in &*pids {
            // A process that was just killed has no memory.
            let bytes = anonymous(pid.load(Ordering::Relaxed)).unwrap_or(0);
            peak.fetch_max(bytes, Ordering::Relaxed);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

impl Report {
    fn print(&self) {
        let Self { chunks, offered_per_second, seconds, commands, .. } = self;
        println!(
            "{chunks} chunks of 32 KiB ({} MiB), {offered_per_second} commands/s offered for {seconds} s",
            chunks / 32
        );
        println!("  {:<46}{commands:>12}", "commands, each decided once and in order");
        println!("  {:<46}{:>12.0} /s", "decided while commands were offered", self.sustained_per_second);
        println!("  {:<46}{:>12.1} s", "drain after the last command", self.drain_seconds);
        println!("  {:<46}{:>12.0} /s", "decided in all", self.overall_per_second);
        println!("  {:<46}{:>12}", "snapshots stored", self.snapshots);
        println!("  {:<46}{:>12} MiB (may take {})", "peak of a replayer", self.peak_mib, self.memory_max_mib);
    }
}
