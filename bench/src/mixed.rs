//! `cargo xtask bench mixed`: the cost of slow, stalled and lost clients for the other clients, and
//! the server's memory.
//!
//! The same load runs twice over ingest, replayer and gateway: without slow and stalled clients,
//! and with them. Every client is the SDK's core. At the end every replica must equal the server's
//! chunk.

mod crowd;
mod client;
mod server;

use crate::cores;
use crate::quantiles::Quantiles;
use crate::resident::resident;
use crate::writers::Writers;
use anyhow::{Context, Result, ensure};
use crowd::{Crowd, Mix, Tally};
use driftless_auth::{KeyKind, Signer, generate_key};
use driftless_runtime::clock::unix_now;
use driftless_schemas::access::Access;
use driftless_schemas::{ChunkId, Hash, Version};
use serde::Serialize;
use server::Ready;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub(crate) use server::{ServeArgs, run as serve};

/// Arguments of `cargo xtask bench mixed`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  cargo xtask bench mixed
  cargo xtask bench mixed --sockets 1000 --rate 500 --seconds 20 --json

A tenth of the clients reads 1 KB/s, a hundredth reads nothing once it has its chunks, and 500 a minute
lose their connections. The benchmark fails if a replica differs, if the p99 of the other clients is
more than 1.5 times that of the run without slow clients, or if the server's memory exceeds its bound.
The server has one core and the crowd another one (taskset).")]
pub(crate) struct MixedArgs {
    /// Number of clients.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(100..=50_000))]
    sockets: u32,
    /// Seconds of each of the two runs.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=3600))]
    seconds: u32,
    /// Edits a second.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Number of fast clients a minute that lose their connection and reconnect.
    #[arg(long, default_value_t = 500)]
    reconnects: u32,
    /// Print one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

/// Limit of a socket's send queue in bytes, which this benchmark sets for the gateway.
const SOCKET_QUEUE_BYTES: usize = 32 * 1024;
/// Limit of the memory for the rings of all chunks, which this benchmark sets for the gateway. A
/// ring holds recent records of a chunk.
const RINGS_BYTES: usize = 32 * 1024 * 1024;
/// Time limit, which this benchmark sets for the gateway: a socket that accepts no bytes for this
/// long is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// The gateway checks the limit of a send queue before it enqueues an answer, so a queue may exceed
/// its limit by one answer.
const QUEUE_SLACK_BYTES: usize = 64 * 1024;
/// The server's other memory: the embedded log's tails of 4 MiB for each of 12 partitions of two
/// topics, batches in flight, snapshots in progress, SQLite's pages, and the allocator's reserve.
const OTHER_BYTES: u64 = (24 * 4 + 128) * 1024 * 1024;
const WRITERS: usize = 16;
const CHUNKS: i32 = 500;
const WARM_UP: Duration = Duration::from_secs(3);
/// Limit of the factor by which slow and stalled clients may raise the p99 of the other clients.
const RATIO_MAX: f64 = 1.5;

/// The measurements of one run.
#[derive(Debug, Serialize)]
struct Run {
    fast: usize,
    slow: usize,
    stalled: usize,
    /// The time from an edit's due time to the arrival of its update at a client that is neither
    /// slow nor stalled.
    latency: Quantiles,
    edits: u64,
    /// Number of replicas that were compared with the server's hash.
    replicas: usize,
    #[serde(flatten)]
    tally: Tally,
    memory: Memory,
}

/// The server's resident memory, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
struct Memory {
    /// Memory with all clients connected, before the edits.
    before: u64,
    /// The highest value during the run.
    peak: u64,
    /// The limit that `peak` must not exceed.
    bound: u64,
}

#[derive(Serialize)]
struct Report {
    sockets: u32,
    rate: u32,
    seconds: u32,
    without: Run,
    with: Run,
    /// The p99 of the run with slow and stalled clients, divided by that of the other run.
    ratio_p99: f64,
    /// True if neither the ratio nor the memory of a run exceeds its limit.
    holds: bool,
}

/// Measures once without slow and stalled clients and once with them. Fails if the p99 ratio or
/// the server's memory exceeds its limit.
pub(crate) async fn run(args: MixedArgs) -> Result<()> {
    cores::pin("1", &std::process::id().to_string());
    let sockets = args.sockets as usize;
    let (slow, stalled) = (sockets / 10, sockets / 100);
    let fast = sockets - slow - stalled;
    let reconnects = args.reconnects;
    let without = measure(&args, Mix { fast, slow: 0, stalled: 0, reconnects }).await?;
    let with = measure(&args, Mix { fast, slow, stalled, reconnects }).await?;
    let ratio_p99 = with.latency.p99_ms / without.latency.p99_ms;
    let is_bounded = [&without, &with].iter().all(|run| run.memory.peak <= run.memory.bound);
    let holds = ratio_p99 <= RATIO_MAX && is_bounded;
    let (rate, seconds) = (args.rate, args.seconds);
    let report = Report { sockets: args.sockets, rate, seconds, without, with, ratio_p99, holds };
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print(&report),
    }
    ensure!(
        ratio_p99 <= RATIO_MAX,
        "the p99 of fast clients is {ratio_p99:.2} times that of the run without slow clients"
    );
    ensure!(is_bounded, "the server's memory exceeds its bound");
    Ok(())
}

fn print(report: &Report) {
    println!(
        "{} clients, {} edits/s, {} s each              without slow ones    with them",
        report.sockets, report.rate, report.seconds
    );
    let line = |name: &str, of: &dyn Fn(&Run) -> String| {
        println!("{name:50} {:>15} {:>12}", of(&report.without), of(&report.with));
    };
    let mb = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
    line("fast / slow / stalled clients", &|run| format!("{}/{}/{}", run.fast, run.slow, run.stalled));
    line("edit → fast client, p50 ms", &|run| format!("{:.1}", run.latency.p50_ms));
    line("edit → fast client, p99 ms", &|run| format!("{:.1}", run.latency.p99_ms));
    line("updates delivered", &|run| run.tally.updates.to_string());
    line("chunks that began to lag", &|run| run.tally.lagging.to_string());
    line("clients that lost their line and came again", &|run| run.tally.reconnects.to_string());
    line("sockets that the server let go", &|run| run.tally.closed.values().sum::<u64>().to_string());
    line("replicas equal to the server's hash", &|run| run.replicas.to_string());
    line("server memory before / peak", &|run| format!("{} / {}", mb(run.memory.before), mb(run.memory.peak)));
    line("its bound", &|run| mb(run.memory.bound));
    println!("p99 with slow clients / without: {:.2} (at most {RATIO_MAX})", report.ratio_p99);
}

/// Runs the load once, with this mix of clients.
async fn measure(args: &MixedArgs, mix: Mix) -> Result<Run> {
    let Mix { fast, slow, stalled, .. } = mix;
    eprintln!("{fast} fast, {slow} slow, {stalled} stalled clients: connecting …");
    let chunks: Vec<ChunkId> =
        (0..CHUNKS).map(|i| ChunkId::new("canvas", &[i % 25, i / 25])).collect::<Result<_, _>>()?;
    let server = Server::start().await?;
    let signer = Arc::new(Signer::from_file(&server.folder.join("key"))?);
    let access = Access { write: vec!["canvas/".into()], ..Access::default() };
    let token = |sub: &str| signer.issue(sub, &access, unix_now(), 24 * 3600);
    let tokens: Vec<String> = (0..WRITERS).map(|i| token(&format!("writer-{i}"))).collect::<Result<_, _>>()?;
    let mut writers = Writers::connect(&format!("ws://{}/v1/ingest", server.address), tokens, &chunks).await?;

    let (address, who, all) = (server.address, Arc::clone(&signer), chunks.clone());
    let crowd = tokio::task::spawn_blocking(move || Crowd::open(address, &who, mix, &all)).await??;
    let before = resident(server.pid)?;
    eprintln!("{} edits/s for {} s …", args.rate, args.seconds);
    let (crowd, _) = live(crowd, &mut writers, args.rate, WARM_UP, mix).await?;
    let (mut crowd, edits) =
        live(crowd, &mut writers, args.rate, Duration::from_secs(args.seconds.into()), mix).await?;
    let latency = Quantiles::of(std::mem::take(&mut crowd.latencies));

    eprintln!("comparing every replica …");
    let edits = edits + (f64::from(args.rate) * WARM_UP.as_secs_f64()) as u64;
    let truth = server.truth(&token("judge")?, &chunks, edits).await?;
    let (crowd, replicas) = tokio::task::spawn_blocking(move || {
        let replicas = crowd.drain(&truth)?;
        anyhow::Ok((crowd, replicas))
    })
    .await??;
    ensure!(crowd.tally.drifts == 0, "{} replicas differed from the log on the way", crowd.tally.drifts);
    let queues = (slow + stalled) * (SOCKET_QUEUE_BYTES + QUEUE_SLACK_BYTES) + RINGS_BYTES;
    let memory = Memory { before, peak: server.peak(), bound: before + queues as u64 + OTHER_BYTES };
    Ok(Run { fast, slow, stalled, latency, edits, replicas, tally: crowd.tally.clone(), memory })
}

/// Sends edits for `time` while the crowd reads. Returns the crowd and the number of edits.
async fn live(mut crowd: Crowd, writers: &mut Writers, rate: u32, time: Duration, mix: Mix) -> Result<(Crowd, u64)> {
    let start = Instant::now() + Duration::from_millis(50);
    let (schedule, due) = writers.schedule(start, rate, time);
    let edits = due.len() as u64;
    crowd.expect(due);
    crowd.latencies.clear();
    let pacing = schedule.pace();
    let lived = tokio::task::spawn_blocking(move || {
        crowd.run_until(start + time + Duration::from_millis(500), mix)?;
        anyhow::Ok(crowd)
    });
    let crowd = lived.await??;
    pacing.join().map_err(|_| anyhow::anyhow!("the pacing thread panicked"))?;
    Ok((crowd, edits))
}

/// The measured server. Dropping it ends the process.
struct Server {
    process: Child,
    pid: u32,
    address: std::net::SocketAddr,
    folder: PathBuf,
    peak: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    async fn start() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("driftless-mixed-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        generate_key(&folder.join("key"), KeyKind::Secret)?;
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(std::env::current_exe()?).args(["mixed-server", "--folder"]).arg(&folder);
        let spawned = command.stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut process = spawned.context("cannot start the server with taskset (util-linux)")?;
        let stdout = process.stdout.take().context("the child has a standard output")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let line = line.context("the server ended before it was ready: see its messages above")?;
        let Ready { address } = serde_json::from_str(&line).with_context(|| format!("the server said {line:?}"))?;
        let pid = process.id().context("the server has ended")?;
        let (peak, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (highest, over) = (Arc::clone(&peak), Arc::clone(&is_over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                highest.fetch_max(resident(pid).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Ok(Self { process, pid, address, folder, peak, is_over })
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed).max(resident(self.pid).unwrap_or(0))
    }

    /// Waits until all edits are committed. Returns version and hash of every chunk.
    async fn truth(&self, token: &str, chunks: &[ChunkId], edits: u64) -> Result<HashMap<ChunkId, (Version, Hash)>> {
        let client = reqwest::Client::new();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let mut truth = HashMap::new();
            for chunk in chunks {
                let url = format!("http://{}/v1/chunks/{chunk}", self.address);
                truth.insert(chunk.clone(), fetch(client.get(&url).bearer_auth(token)).await.context(url)?);
            }
            let committed: u64 = truth.values().map(|(version, _)| version.0).sum();
            if committed == edits {
                return Ok(truth);
            }
            ensure!(Instant::now() < deadline, "{committed} of {edits} edits are committed a minute after the last");
        }
    }
}

/// Returns version and hash of a chunk as the gateway serves it. Fails if the content has another
/// hash than the gateway states.
async fn fetch(request: reqwest::RequestBuilder) -> Result<(Version, Hash)> {
    let response = request.header("accept", "application/octet-stream").send().await?.error_for_status()?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let version = header("driftless-version").and_then(|v| v.parse().ok()).context("the answer has no version")?;
    let etag = header("etag").unwrap_or_default();
    let hash: Hash = etag.trim_matches('"').parse().map_err(anyhow::Error::msg).context("the answer has no hash")?;
    let found = Hash::of(&response.bytes().await?);
    ensure!(found == hash, "the gateway says that the hash is {hash}, but the content has {found}");
    Ok((Version(version), hash))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.process.start_kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
