//! `cargo xtask bench fanout`: how many updates a second a gateway delivers to many sockets, with
//! which latency, and the memory of an idle socket.
//!
//! The server is a process on one core. The crowd of clients runs in this process, on another core.
//! A peer is another project's server with the same control protocol (`infra/peers`). The benchmark
//! measures it in turn with our gateway.

mod dialect;
mod crowd;
mod server;
mod contestant;
mod report;

use crate::cores;
use crate::quantiles::Quantiles;
use anyhow::{Result, ensure};
use contestant::{Contestant, Kind, Server};
use crowd::{Control, Crowd};
use report::{Report, Row};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// Arguments of `cargo xtask bench fanout`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  cargo xtask bench fanout
  cargo xtask bench fanout --rounds 5 --json
  cargo xtask bench fanout --peer ./centrifuge --rounds 5      # in turn with a peer's server

The server has one core and the crowd another one (taskset). W8 means 8 updates in flight: 8 are
published at once, and the next 8 once every socket has them. The exit code is 1 if an aim beside the
peer is missed.")]
pub(crate) struct FanoutArgs {
    /// Number of rounds; the servers take turns, and the report has medians over the rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Seconds of each measurement. The other server's sockets are idle meanwhile, and it closes
    /// them after longer silence.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=6))]
    seconds: u16,
    /// Numbers of idle sockets whose memory is measured; 0 skips the measurement.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000")]
    idle: Vec<usize>,
    /// A server program with Centrifugo's protocol and the control protocol of this benchmark.
    #[arg(long, value_name = "PROGRAM")]
    peer: Option<String>,
    /// Kafka brokers for our gateway [default: a log in memory].
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
    /// Let our gateway write to its sockets one by one, without io_uring.
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

/// The line that a server prints when it is ready.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    address: SocketAddr,
    control: SocketAddr,
    #[serde(default)]
    token: Option<String>,
}

/// Numbers of updates in flight, each measured by itself.
const IN_FLIGHT: [usize; 3] = [1, 8, 64];
/// Number of sockets in the measurements with one chunk.
const ONE_CHUNK_SOCKETS: usize = 1_000;
/// Number of chunks in the measurement with many chunks.
const MANY_CHUNKS: usize = 500;
/// Number of sockets on each of the many chunks.
const SOCKETS_OF_EACH: usize = 10;
/// Rate of updates at which latency is measured.
const UPDATES_PER_SECOND: u32 = 20;
/// How long the sockets stay idle before their memory is measured.
const SETTLE: Duration = Duration::from_secs(2);
/// Runs the benchmark, and fails if an aim beside the peer is missed. Blocks the thread.
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
    let report = Report::of(args.rounds, &rounds, &args.idle);
    report.print(args.json, &args.idle)?;
    ensure!(report.holds, "missed aims: {}", report.missed.join(", "));
    Ok(())
}

/// Runs our server, in the process that the benchmark measures.
pub(crate) async fn serve(args: ServeArgs) -> Result<()> {
    server::run(args).await
}

/// Measures one round. For each figure the servers take turns within seconds, so that other load on
/// the machine affects both.
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
            // The first sockets of a server cost more memory than further ones, so they are open
            // before the first reading of the memory.
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
