//! `driftless bench fanout`: how many updates a second a gateway delivers to many sockets, how late, and what an idle one takes.
//!
//! The server runs in a process of its own, on one core; the crowd that listens in this one, on another. A peer's server
//! that speaks the same control protocol (`infra/peers`) is measured in turn with it.

mod crowd;
mod dialect;
mod server;

use super::quantiles::Quantiles;
use anyhow::{Context, Result, ensure};
use crowd::{Control, Crowd};
use dialect::{Centrifuge, Dialect, Gateway};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Arguments of `driftless bench fanout`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  driftless bench fanout
  driftless bench fanout --rounds 5 --json
  driftless bench fanout --peer ./centrifuge --rounds 5      # a peer's server, in turn with ours

The server has one core and the crowd another one (taskset). In flight: so many updates are published at once, and
the next ones when every socket has them.")]
pub(super) struct FanoutArgs {
    /// Rounds; servers take turns, and medians over the rounds are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Idle sockets whose memory is measured; 0: it is not.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000")]
    idle: Vec<usize>,
    /// A program that serves Centrifugo's protocol and obeys the bench.
    #[arg(long, value_name = "PROGRAM")]
    peer: Option<String>,
    /// Brokers in front of our gateway; without, a log in memory.
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
    /// Our gateway writes to its sockets one by one, without io_uring.
    #[arg(long)]
    one_by_one: bool,
    /// Print one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

/// Arguments of the measured process.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ServeArgs {
    #[arg(long)]
    chunks: usize,
    #[arg(long, default_value_t = 1)]
    shards: usize,
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long)]
    one_by_one: bool,
}

/// What a server says when it is ready.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    address: SocketAddr,
    control: SocketAddr,
    #[serde(default)]
    token: Option<String>,
}

/// What is measured of a server; each value is the median over the rounds.
#[derive(Debug, Default, Serialize)]
struct Row {
    /// Deliveries a second with 1,000 sockets on one chunk, by updates in flight.
    one_chunk: BTreeMap<usize, f64>,
    /// With 500 chunks of 10 sockets each and 64 updates in flight.
    many_chunks: f64,
    /// With 1,000 sockets on one chunk and 20 updates a second.
    latency: Quantiles,
    /// Bytes of resident memory per idle socket, by the number of sockets.
    idle_bytes: BTreeMap<usize, f64>,
}

#[derive(Serialize)]
struct Report {
    rounds: u16,
    driftless: Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Row>,
}

const IN_FLIGHT: [usize; 3] = [1, 8, 64];
const ONE_CHUNK_SOCKETS: usize = 1_000;
const MANY_CHUNKS: usize = 500;
const SOCKETS_OF_EACH: usize = 10;
const UPDATES_PER_SECOND: u32 = 20;
/// Memory settles for so long.
const SETTLE: Duration = Duration::from_secs(2);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Driftless,
    Peer,
}

/// Measures. Blocks.
pub(super) fn run(args: &FanoutArgs) -> Result<()> {
    pin("1", &std::process::id().to_string());
    let who: Vec<Who> = match args.peer {
        Some(_) => vec![Who::Driftless, Who::Peer],
        None => vec![Who::Driftless],
    };
    let mut rounds: Vec<Vec<Row>> = who.iter().map(|_| Vec::new()).collect();
    for round in 1..=args.rounds {
        for (who, rows) in who.iter().zip(&mut rounds) {
            eprintln!("round {round} of {}: {who:?} …", args.rounds);
            rows.push(measure(args, *who)?);
        }
    }
    let mut medians = rounds.iter().map(|rows| median(rows));
    let report = Report { rounds: args.rounds, driftless: medians.next().unwrap_or_default(), peer: medians.next() };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

/// The measured process.
pub(super) async fn serve(args: ServeArgs) -> Result<()> {
    server::run(args).await
}

fn measure(args: &FanoutArgs, who: Who) -> Result<Row> {
    let time = Duration::from_secs(args.seconds.into());
    let mut row = Row::default();
    {
        let mut server = Server::start(args, who, 1)?;
        let mut crowd = Crowd::open(&*server.dialect, server.address, ONE_CHUNK_SOCKETS, 1)?;
        for in_flight in IN_FLIGHT {
            let rate = crowd.deliveries(&mut server.control, in_flight, ONE_CHUNK_SOCKETS, time)?;
            row.one_chunk.insert(in_flight, rate);
        }
        row.latency = Quantiles::of(crowd.latencies(&mut server.control, UPDATES_PER_SECOND, time)?);
    }
    {
        let mut server = Server::start(args, who, MANY_CHUNKS)?;
        let sockets = MANY_CHUNKS * SOCKETS_OF_EACH;
        let mut crowd = Crowd::open(&*server.dialect, server.address, sockets, MANY_CHUNKS)?;
        row.many_chunks = crowd.deliveries(&mut server.control, 64, SOCKETS_OF_EACH, time)?;
    }
    for count in args.idle.iter().filter(|count| **count > 0) {
        let mut server = Server::start(args, who, 1)?;
        // What the first ones take is not what one more takes.
        let _first = Crowd::open(&*server.dialect, server.address, 100, 1)?;
        let before = server.control.resident()?;
        let mut crowd = Crowd::open(&*server.dialect, server.address, *count, 1)?;
        crowd.idle(SETTLE)?;
        let after = server.control.resident()?;
        row.idle_bytes.insert(*count, after.saturating_sub(before) as f64 / *count as f64);
    }
    Ok(row)
}

/// A running server; ends when dropped.
struct Server {
    process: Child,
    address: SocketAddr,
    control: Control,
    dialect: Box<dyn Dialect>,
}

impl Server {
    fn start(args: &FanoutArgs, who: Who, chunks: usize) -> Result<Self> {
        let program = match (who, &args.peer) {
            (Who::Peer, Some(peer)) => peer.clone(),
            _ => std::env::current_exe()?.display().to_string(),
        };
        let mut command = Command::new("taskset");
        command.args(["-c", "0", &program]);
        if who == Who::Driftless {
            command.args(["bench", "fanout-server"]).args(args.brokers.iter().flat_map(|b| ["--brokers", b]));
            command.args(args.one_by_one.then_some("--one-by-one"));
            command.env("TOKIO_WORKER_THREADS", "1");
        }
        command.args(["--chunks", &chunks.to_string()]).env("GOMAXPROCS", "1");
        command.stdout(Stdio::piped());
        let mut process = command.spawn().context("cannot start the server with taskset (util-linux)")?;
        let stdout = process.stdout.take().context("the child has a standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(!line.is_empty(), "the server ended before it was ready: see its messages above");
        let ready: Ready = serde_json::from_str(&line).with_context(|| format!("the server said {line:?}"))?;
        let dialect: Box<dyn Dialect> = match who {
            Who::Driftless => Box::new(Gateway { token: ready.token.context("our server gives a token")? }),
            Who::Peer => Box::new(Centrifuge),
        };
        Ok(Self { process, address: ready.address, control: Control::connect(ready.control)?, dialect })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where the machine has no second core, or no taskset, the figures say less.
pub(super) fn pin(core: &str, process: &str) {
    let pinned = Command::new("taskset").args(["-cp", core, process]).stdout(Stdio::null()).status();
    if !pinned.is_ok_and(|status| status.success()) {
        eprintln!("the crowd is not on a core of its own: the figures are lower than they could be");
    }
}

fn median(rows: &[Row]) -> Row {
    let middle = |pick: &dyn Fn(&Row) -> Option<f64>| {
        let mut values: Vec<f64> = rows.iter().filter_map(pick).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let keys = |pick: &dyn Fn(&Row) -> Vec<usize>| rows.first().map(pick).unwrap_or_default();
    let by = |keys: Vec<usize>, pick: &dyn Fn(&Row, usize) -> Option<f64>| {
        keys.into_iter().map(|key| (key, middle(&|row| pick(row, key)))).collect()
    };
    let latencies: Vec<Quantiles> = rows.iter().map(|row| row.latency).collect();
    Row {
        one_chunk: by(keys(&|row| row.one_chunk.keys().copied().collect()), &|row, key| {
            row.one_chunk.get(&key).copied()
        }),
        many_chunks: middle(&|row| Some(row.many_chunks)),
        latency: Quantiles::median(&latencies),
        idle_bytes: by(keys(&|row| row.idle_bytes.keys().copied().collect()), &|row, key| {
            row.idle_bytes.get(&key).copied()
        }),
    }
}

fn print(report: &Report) {
    let Report { rounds, driftless, peer } = report;
    println!("medians of {rounds} rounds; one core for the server        driftless       peer     ratio");
    let line = |name: String, of: &dyn Fn(&Row) -> f64| {
        let ours = of(driftless);
        match peer.as_ref().map(of) {
            Some(theirs) => println!("{name:55} {ours:12.1} {theirs:10.1} {:8.2}×", ours / theirs),
            None => println!("{name:55} {ours:12.1}"),
        }
    };
    for in_flight in IN_FLIGHT {
        let name = format!("{ONE_CHUNK_SOCKETS} sockets, W{in_flight}: thousand deliveries/s");
        line(name, &|row| row.one_chunk.get(&in_flight).copied().unwrap_or_default() / 1e3);
    }
    line(format!("{MANY_CHUNKS} × {SOCKETS_OF_EACH} sockets, W64: thousand deliveries/s"), &|row| {
        row.many_chunks / 1e3
    });
    line(format!("{UPDATES_PER_SECOND} updates/s to {ONE_CHUNK_SOCKETS} sockets: p50 ms"), &|row| row.latency.p50_ms);
    line(format!("{UPDATES_PER_SECOND} updates/s to {ONE_CHUNK_SOCKETS} sockets: p99 ms"), &|row| row.latency.p99_ms);
    for count in driftless.idle_bytes.keys() {
        line(format!("{count} idle sockets: KB each"), &|row| {
            row.idle_bytes.get(count).copied().unwrap_or_default() / 1024.0
        });
    }
}
