//! `cargo xtask bench edit`: the latency from an edit to its committed update at another client.
//!
//! The same run also measures the floor for this latency: two bare hops through the log, without
//! any code of ours.

mod floor;
mod stack;

use crate::generator::{self, Connected};
use crate::quantiles::Quantiles;
use crate::writers::Writers;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use driftless_schemas::{ChunkId, WriterId, proto::event};
use driftless_web::socket;
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use stack::Stack;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// Duration of the unmeasured round before the measured rounds.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long the benchmark still waits for updates after the last edit was due. Edits without an
/// update by then count as lost.
const GRACE: Duration = Duration::from_secs(20);

/// The log for the edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogKind {
    /// The embedded log of `driftless dev`.
    Embedded,
    /// A real Apache Kafka: that of --brokers, or one that the benchmark starts.
    Kafka,
}

/// Arguments of `cargo xtask bench edit`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  cargo xtask bench edit --rate 1000 --duration 10 --log kafka
  cargo xtask bench edit --rate 20000 --duration 10 --writers 32 --chunks 64 --json

Latency counts from the moment at which an edit was due, so that a stall also counts for the edits that
it delays. The floor is two bare rdkafka hops (produce, consume, produce, consume) of as many records of
the same size, measured in turn with the edits.")]
pub(crate) struct EditArgs {
    /// Number of edits a second, over all writers.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seconds of measuring per round.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    duration: u32,
    /// Number of writers, each with a socket of its own.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    writers: u16,
    /// Number of edited chunks.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=2048))]
    chunks: u16,
    /// Number of rounds; floor and edits take turns, and the report has medians over the rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// The log.
    #[arg(long, value_enum, default_value = "embedded")]
    log: LogKind,
    /// Brokers that run already, for --log kafka.
    #[arg(long, value_name = "LIST", env = "DRIFTLESS_TEST_BROKERS")]
    brokers: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The result of the benchmark, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    log: String,
    rate: u32,
    writers: u16,
    chunks: u16,
    rounds: u16,
    edit: Quantiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_p99: Option<f64>,
    /// Number of edits whose update the observer never received.
    lost: usize,
    /// Commits per second that the observer received, in the slowest round.
    seen_per_second: f64,
}

pub(crate) async fn run(args: EditArgs) -> Result<()> {
    eprintln!("starting …");
    let stack = Stack::start(args.log, args.brokers.as_deref()).await?;
    let chunks: Vec<ChunkId> =
        (0..i32::from(args.chunks)).map(|i| ChunkId::new("canvas", &[i % 32, i / 32])).collect::<Result<_, _>>()?;
    let mut floors = Vec::new();
    let mut edits = Vec::new();
    let (mut lost, mut slowest) = (0, f64::INFINITY);
    let mut bench = Bench::start(&stack, &args, &chunks).await?;
    bench.round(args.rate.min(500), WARM_UP).await?;
    for round in 1..=args.rounds {
        if let Some(brokers) = &stack.brokers {
            eprintln!("round {round} of {}: floor …", args.rounds);
            let (brokers, args) = (brokers.clone(), args.clone());
            let name = format!("bench-floor-{}-{round}", std::process::id());
            floors.push(tokio::task::spawn_blocking(move || floor::measure(&brokers, &name, &args)).await??);
        }
        eprintln!("round {round} of {}: {} edits/s for {} s …", args.rounds, args.rate, args.duration);
        let measured = bench.round(args.rate, Duration::from_secs(args.duration.into())).await?;
        lost += measured.lost;
        slowest = slowest.min(measured.seen_per_second);
        edits.push(Quantiles::of(measured.latencies));
    }
    let edit = Quantiles::median(&edits);
    let floor = (!floors.is_empty()).then(|| Quantiles::median(&floors));
    let report = Report {
        log: stack.log.clone(),
        rate: args.rate,
        writers: args.writers,
        chunks: args.chunks,
        rounds: args.rounds,
        edit,
        floor,
        ratio_p50: floor.map(|floor| edit.p50_ms / floor.p50_ms),
        ratio_p99: floor.map(|floor| edit.p99_ms / floor.p99_ms),
        lost,
        seen_per_second: slowest,
    };
    print(&report, args.json)?;
    if lost > 0 {
        bail!("{lost} edits were never seen: the rate is too high for this machine, or something is broken");
    }
    Ok(())
}

fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    let line = |what: &str, q: &Quantiles| {
        println!("{what:<28} p50 {:>8.2} ms   p99 {:>8.2} ms   p99.9 {:>8.2} ms", q.p50_ms, q.p99_ms, q.p999_ms);
    };
    println!(
        "{}, {} edits/s, {} writers, {} chunks, {} rounds",
        report.log, report.rate, report.writers, report.chunks, report.rounds
    );
    line("edit → committed elsewhere", &report.edit);
    if let (Some(floor), Some(p50), Some(p99)) = (&report.floor, report.ratio_p50, report.ratio_p99) {
        line("floor: two bare hops", floor);
        println!("ratio                        p50 {p50:>8.2}      p99 {p99:>8.2}");
    }
    println!("seen {:.0} commits/s, {} lost", report.seen_per_second, report.lost);
    Ok(())
}

/// The writers, and an observer: a client that receives the updates of all chunks. All of them stay
/// connected for all rounds.
struct Bench {
    writers: Writers,
    /// The commits that the observer received: time of arrival, writer, index of the chunk, and
    /// number of the edit.
    commits: mpsc::UnboundedReceiver<(Instant, WriterId, u16, u64)>,
}

/// The result of one round.
struct Measured {
    latencies: Vec<Duration>,
    lost: usize,
    seen_per_second: f64,
}

impl Bench {
    async fn start(stack: &Stack, args: &EditArgs, chunks: &[ChunkId]) -> Result<Self> {
        let mut observer = generator::connect(&stack.gateway_ws, socket::GATEWAY, stack.token("observer")?).await?;
        generator::track(&mut observer, chunks).await?;
        let (to, commits) = mpsc::unbounded_channel();
        let numbers: HashMap<String, u16> = chunks.iter().map(ChunkId::to_string).zip(0..).collect();
        tokio::spawn(observe(observer, numbers, to));
        let tokens: Vec<String> =
            (0..args.writers).map(|i| stack.token(&format!("writer-{i}"))).collect::<Result<_>>()?;
        let writers = Writers::connect(&stack.ingest_ws, tokens, chunks).await?;
        Ok(Self { writers, commits })
    }

    /// Measures a round in open loop: edits are due at fixed times, even if earlier edits are not
    /// committed.
    async fn round(&mut self, rate: u32, duration: Duration) -> Result<Measured> {
        let start = Instant::now() + Duration::from_millis(20);
        let (schedule, mut due_at) = self.writers.schedule(start, rate, duration);
        let pacing = schedule.pace();
        let mut latencies = Vec::with_capacity(due_at.len());
        let mut last_seen = start;
        let deadline = tokio::time::Instant::now() + duration + GRACE;
        while !due_at.is_empty() {
            tokio::select! {
                commit = self.commits.recv() => {
                    let (at, writer, chunk, seq) = commit.context("the observer's socket has ended")?;
                    if let Some(due) = due_at.remove(&(writer, chunk, seq)) {
                        latencies.push(at.saturating_duration_since(due));
                        last_seen = at;
                    }
                }
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        pacing.join().map_err(|_| anyhow::anyhow!("the pacing thread panicked"))?;
        let seen_per_second = latencies.len() as f64 / last_seen.duration_since(start).as_secs_f64().max(1e-9);
        Ok(Measured { latencies, lost: due_at.len(), seen_per_second })
    }
}

/// Reads the observer's socket, and sends each commit with its time of arrival to `to`. Answers
/// pings.
async fn observe(
    mut observer: Connected,
    numbers: HashMap<String, u16>,
    to: mpsc::UnboundedSender<(Instant, WriterId, u16, u64)>,
) -> Result<()> {
    while let Some(message) = observer.events.next().await {
        let events = generator::decode(message?)?;
        let at = Instant::now();
        for event in events {
            if let event::Body::Ping(ping) = event {
                observer.out.send(Message::Binary(generator::pong(&ping))).await?;
                continue;
            }
            for (writer, chunk, seq) in generator::commits(event)? {
                if let Some(chunk) = numbers.get(&chunk)
                    && to.send((at, writer, *chunk, seq)).is_err()
                {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
