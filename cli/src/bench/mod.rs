//! `driftless bench`: what an edit costs, beside the floor that the log itself sets, measured in the same run; how long nobody
//! decides when an owner goes; how fast a gateway tells many sockets.

mod edit;
mod fanout;
mod floor;
mod generator;
mod mixed;
mod quantiles;
mod resident;
mod stack;
mod takeover;
mod writers;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

/// Arguments of `driftless bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Edit → committed update at another client, open loop.
    Edit(EditArgs),
    /// How long nobody decides when the owner of a partition dies, hands over or is restarted.
    Takeover(TakeoverArgs),
    /// How fast a gateway tells many sockets, and what an idle one takes.
    Fanout(fanout::FanoutArgs),
    /// What `fanout` measures.
    #[command(hide = true)]
    FanoutServer(fanout::ServeArgs),
    /// What slow, stalled and lost clients cost the others: thousands of them, in turn without and with those.
    Mixed(mixed::MixedArgs),
    /// What `mixed` measures.
    #[command(hide = true)]
    MixedServer(mixed::ServeArgs),
}

/// Where the edits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogKind {
    /// The embedded log of `driftless dev`.
    Embedded,
    /// A real Apache Kafka: the one of --brokers, or one of its own.
    Kafka,
}

/// Arguments of `driftless bench edit`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  driftless bench edit --rate 1000 --duration 10 --log kafka
  driftless bench edit --rate 20000 --duration 10 --writers 32 --chunks 64 --json

Latency counts from the moment an edit was due, so that a stall is not hidden by edits that were not sent.
The floor is two bare rdkafka hops (produce, consume, produce, consume) of as many records with as many bytes,
measured in turn with the edits.")]
struct EditArgs {
    /// Edits a second, all writers together.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seconds of measuring per round.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    duration: u32,
    /// Writers, each with a socket of its own.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    writers: u16,
    /// Chunks that are edited.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=2048))]
    chunks: u16,
    /// Rounds; floor and edits take turns, and medians over the rounds are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// The log.
    #[arg(long, value_enum, default_value = "embedded")]
    log: LogKind,
    /// With --log kafka: brokers that run already.
    #[arg(long, value_name = "LIST", env = "DRIFTLESS_TEST_BROKERS")]
    brokers: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `driftless bench takeover`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  driftless bench takeover
  driftless bench takeover --chunks 1000 --rounds 3 --json
  driftless bench takeover --rate 4000 --snapshot-age 30 --keep-logs /tmp/takeover

It ends with an error where a target is missed, or where a command is lost or decided twice.
Without --brokers and --store it starts an Apache Kafka and an S3 server of its own.")]
struct TakeoverArgs {
    /// Hot chunks, all in one partition.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    chunks: u32,
    /// How often each kind of end is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Edits a second, all chunks together [default: one for each chunk].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// The replayers' `snapshot_max_age`, seconds: with half of it as log since the refs, somebody is made to end.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    snapshot_age: u32,
    /// Brokers that run already.
    #[arg(long, value_name = "LIST", env = "DRIFTLESS_TEST_BROKERS")]
    brokers: Option<String>,
    /// A bucket that is there already, `s3://bucket`, with the usual AWS_… variables.
    #[arg(long, value_name = "URL", env = "DRIFTLESS_TEST_S3")]
    store: Option<String>,
    /// Where the replayers' logs stay.
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

/// Measures.
pub(crate) async fn run(args: Args) -> Result<()> {
    match args.what {
        What::Edit(args) => edit::run(args).await,
        What::Takeover(args) => takeover::run(args).await,
        What::Fanout(args) => tokio::task::spawn_blocking(move || fanout::run(&args)).await?,
        What::FanoutServer(args) => fanout::serve(args).await,
        What::Mixed(args) => mixed::run(args).await,
        What::MixedServer(args) => mixed::serve(args).await,
    }
}
