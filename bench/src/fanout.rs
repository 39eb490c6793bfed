//! `cargo xtask bench fanout`: how many updates a second a gateway delivers to many sockets, how late, and what an idle one takes.
//!
//! The server runs in a process of its own, on one core; the crowd that listens in this one, on another. A peer's server
//! that speaks the same control protocol (`infra/peers`) is measured in turn with it.

mod crowd;
mod dialect;
mod server;

use crate::cores;
use crate::quantiles::Quantiles;
use anyhow::{Context, Result, ensure};
use crowd::{Control, Crowd};
use dialect::{Centrifuge, Dialect, Gateway};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Arguments of `cargo xtask bench fanout`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  cargo xtask bench fanout
  cargo xtask bench fanout --rounds 5 --json
  cargo xtask bench fanout --peer ./centrifuge --rounds 5      # a peer's server, in turn with ours

The server has one core and the crowd another one (taskset). In flight: so many updates are published at once, and
the next ones when every socket has them. Ends with 1 where an aim beside the peer is not reached.")]
pub(crate) struct FanoutArgs {
    /// Rounds; servers take turns, and medians over the rounds are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Seconds of each measurement. Meanwhile the other server's sockets are not heard, which it bears for so long only.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=6))]
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
pub(crate) struct ServeArgs {
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
    /// Ours to the peer's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ratios: BTreeMap<String, f64>,
    /// Aims that are not reached.
    missed: Vec<String>,
    holds: bool,
}

/// What one figure of the table is about.
struct Figure {
    key: String,
    words: String,
    value: Box<dyn Fn(&Row) -> f64>,
    aim: Option<Aim>,
}

/// What is to be reached.
#[derive(Clone, Copy)]
enum Aim {
    /// A ratio to the peer.
    AtLeast(f64),
    /// A ratio to the peer.
    AtMost(f64),
    /// A value of ours, whatever the peer's is.
    Below(f64),
}

impl Aim {
    fn is_reached(self, ours: f64, ratio: f64) -> bool {
        match self {
            Self::AtLeast(aim) => ratio >= aim,
            Self::AtMost(aim) => ratio <= aim,
            Self::Below(aim) => ours <= aim,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(aim) => write!(f, "≥ {aim}×"),
            Self::AtMost(aim) => write!(f, "≤ {aim}×"),
            Self::Below(aim) => write!(f, "≤ {aim}"),
        }
    }
}

/// Beside centrifuge 0.40.1, one core for the server.
const AIMS: [(&str, Aim); 7] = [
    ("w1", Aim::AtLeast(2.0)),
    ("w8", Aim::AtLeast(2.3)),
    ("w64", Aim::AtLeast(5.5)),
    ("many_w64", Aim::AtLeast(1.4)),
    ("p99", Aim::AtMost(0.6)),
    ("idle_5000", Aim::Below(6.0)),
    ("idle_10000", Aim::Below(6.0)),
];

const IN_FLIGHT: [usize; 3] = [1, 8, 64];
const ONE_CHUNK_SOCKETS: usize = 1_000;
const MANY_CHUNKS: usize = 500;
const SOCKETS_OF_EACH: usize = 10;
const UPDATES_PER_SECOND: u32 = 20;
/// Memory settles for so long.
const SETTLE: Duration = Duration::from_secs(2);
/// A server that has slept gets this long to wake up.
const AWAKE: Duration = Duration::from_millis(300);

/// Kind is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Driftless,
    Peer,
}

/// Measures. Blocks.
pub(crate) fn run(args: &FanoutArgs) -> Result<()> {
    cores::pin("1", &std::process::id().to_string());
    let kinds: Vec<Kind> = match args.peer {
        Some(_) => vec![Kind::Driftless, Kind::Peer],
        None => vec![Kind::Driftless],
    };
    let mut rounds: Vec<Vec<Row>> = kinds.iter().map(|_| Vec::new()).collect();
    for round in 1..=args.rounds {
        eprintln!("round {round} of {} …", args.rounds);
        for (row, rows) in measure(args, &kinds)?.into_iter().zip(&mut rounds) {
            rows.push(row);
        }
    }
    let figures = figures(&args.idle);
    let mut medians = rounds.iter().map(|rows| median(rows));
    let (driftless, peer) = (medians.next().unwrap_or_default(), medians.next());
    let ratio = |figure: &Figure, theirs| (figure.key.clone(), (figure.value)(&driftless) / (figure.value)(theirs));
    let ratios: BTreeMap<String, f64> =
        peer.iter().flat_map(|theirs| figures.iter().map(move |figure| ratio(figure, theirs))).collect();
    let is_missed = |figure: &&Figure| {
        // There are ratios beside a peer only.
        let Some((aim, ratio)) = figure.aim.zip(ratios.get(&figure.key)) else { return false };
        !aim.is_reached((figure.value)(&driftless), *ratio)
    };
    let missed: Vec<String> = figures.iter().filter(is_missed).map(|figure| figure.key.clone()).collect();
    let holds = missed.is_empty();
    let report = Report { rounds: args.rounds, driftless, peer, ratios, missed, holds };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report, &figures);
    }
    ensure!(holds, "aims that are not reached: {}", report.missed.join(", "));
    Ok(())
}

/// The measured process.
pub(crate) async fn serve(args: ServeArgs) -> Result<()> {
    server::run(args).await
}

/// A round: for each figure, the servers take turns within seconds, so that what else the machine does meets both.
fn measure(args: &FanoutArgs, kinds: &[Kind]) -> Result<Vec<Row>> {
    let time = Duration::from_secs(args.seconds.into());
    let mut rows: Vec<Row> = kinds.iter().map(|_| Row::default()).collect();
    let start = |chunks: usize| -> Result<Vec<Server>> {
        kinds.iter().map(|kind| Server::start(args, *kind, chunks)).collect()
    };
    {
        let servers = start(1)?;
        let mut contestants = Contestant::all(&servers, ONE_CHUNK_SOCKETS, 1)?;
        for in_flight in IN_FLIGHT {
            for (contestant, row) in contestants.iter_mut().zip(&mut rows) {
                let rate =
                    contestant.awake(|crowd, control| crowd.deliveries(control, in_flight, ONE_CHUNK_SOCKETS, time))?;
                row.one_chunk.insert(in_flight, rate);
            }
        }
        for (contestant, row) in contestants.iter_mut().zip(&mut rows) {
            let took = contestant.awake(|crowd, control| crowd.latencies(control, UPDATES_PER_SECOND, time))?;
            row.latency = Quantiles::of(took);
        }
    }
    {
        let servers = start(MANY_CHUNKS)?;
        let mut contestants = Contestant::all(&servers, MANY_CHUNKS * SOCKETS_OF_EACH, MANY_CHUNKS)?;
        for (contestant, row) in contestants.iter_mut().zip(&mut rows) {
            row.many_chunks =
                contestant.awake(|crowd, control| crowd.deliveries(control, 64, SOCKETS_OF_EACH, time))?;
        }
    }
    for count in args.idle.iter().filter(|count| **count > 0) {
        for (kind, row) in kinds.iter().zip(&mut rows) {
            let server = Server::start(args, *kind, 1)?;
            let mut control = Control::connect(server.control)?;
            // What the first ones take is not what one more takes.
            let _first = Crowd::open(&*server.dialect, server.address, 100, 1)?;
            let before = control.resident()?;
            let mut crowd = Crowd::open(&*server.dialect, server.address, *count, 1)?;
            crowd.idle(SETTLE)?;
            let after = control.resident()?;
            row.idle_bytes.insert(*count, after.saturating_sub(before) as f64 / *count as f64);
        }
    }
    Ok(rows)
}

/// A server that sleeps while another one is measured: it would have its timers on the same core.
struct Contestant<'s> {
    server: &'s Server,
    crowd: Crowd<'s>,
    control: Control,
}

impl<'s> Contestant<'s> {
    fn all(servers: &'s [Server], sockets: usize, channels: usize) -> Result<Vec<Self>> {
        let mut contestants = Vec::new();
        for server in servers {
            let control = Control::connect(server.control)?;
            let crowd = Crowd::open(&*server.dialect, server.address, sockets, channels)?;
            server.signal("STOP")?;
            contestants.push(Self { server, crowd, control });
        }
        Ok(contestants)
    }

    fn awake<R>(&mut self, measure: impl FnOnce(&mut Crowd<'s>, &mut Control) -> Result<R>) -> Result<R> {
        self.server.signal("CONT")?;
        // What it has missed it does now.
        self.crowd.idle(AWAKE)?;
        let measured = measure(&mut self.crowd, &mut self.control)?;
        self.server.signal("STOP")?;
        Ok(measured)
    }
}

/// A running server; ends when dropped.
struct Server {
    process: Child,
    address: SocketAddr,
    control: SocketAddr,
    dialect: Box<dyn Dialect>,
}

impl Server {
    fn start(args: &FanoutArgs, kind: Kind, chunks: usize) -> Result<Self> {
        let program = match (kind, &args.peer) {
            (Kind::Peer, Some(peer)) => peer.clone(),
            _ => std::env::current_exe()?.display().to_string(),
        };
        let mut command = Command::new("taskset");
        command.args(["-c", "0", &program]);
        if kind == Kind::Driftless {
            command.args(["fanout-server"]).args(args.brokers.iter().flat_map(|b| ["--brokers", b]));
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
        let dialect: Box<dyn Dialect> = match kind {
            Kind::Driftless => Box::new(Gateway { token: ready.token.context("our server gives a token")? }),
            Kind::Peer => Box::new(Centrifuge),
        };
        Ok(Self { process, address: ready.address, control: ready.control, dialect })
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.process.id().to_string()]).status()?;
        ensure!(sent.success(), "the server does not take SIG{signal}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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

/// The table.
fn figures(idle: &[usize]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for in_flight in IN_FLIGHT {
        let words = format!("{ONE_CHUNK_SOCKETS} sockets, W{in_flight}: thousand deliveries/s");
        let value = move |row: &Row| row.one_chunk.get(&in_flight).copied().unwrap_or_default() / 1e3;
        figures.push(Figure::new(&format!("w{in_flight}"), words, value));
    }
    let words = format!("{MANY_CHUNKS} × {SOCKETS_OF_EACH} sockets, W64: thousand deliveries/s");
    figures.push(Figure::new("many_w64", words, |row| row.many_chunks / 1e3));
    let words = |what| format!("{UPDATES_PER_SECOND} updates/s to {ONE_CHUNK_SOCKETS} sockets: {what} ms");
    figures.push(Figure::new("p50", words("p50"), |row| row.latency.p50_ms));
    figures.push(Figure::new("p99", words("p99"), |row| row.latency.p99_ms));
    for count in idle.iter().copied().filter(|count| *count > 0) {
        let value = move |row: &Row| row.idle_bytes.get(&count).copied().unwrap_or_default() / 1024.0;
        figures.push(Figure::new(&format!("idle_{count}"), format!("{count} idle sockets: KB each"), value));
    }
    figures
}

impl Figure {
    fn new(key: &str, words: String, value: impl Fn(&Row) -> f64 + 'static) -> Self {
        let aim = AIMS.iter().find(|(of, _)| *of == key).map(|(_, aim)| *aim);
        Self { key: key.to_owned(), words, value: Box::new(value), aim }
    }
}

fn print(report: &Report, figures: &[Figure]) {
    let Report { rounds, driftless, peer, ratios, missed, .. } = report;
    println!("medians of {rounds} rounds; one core for the server        driftless       peer     ratio  aim");
    for Figure { key, words, value, aim } in figures {
        let ours = value(driftless);
        let Some(theirs) = peer.as_ref().map(value) else {
            println!("{words:55} {ours:12.1}");
            continue;
        };
        let aim = aim.map_or(String::new(), |aim| aim.to_string());
        let word = if missed.contains(key) { "  missed" } else { "" };
        println!(
            "{words:55} {ours:12.1} {theirs:10.1} {:8.2}×  {aim}{word}",
            ratios.get(key).copied().unwrap_or_default()
        );
    }
}
