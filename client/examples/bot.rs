//! A random walker on a canvas: connects, paints one cell per step, and prints the outcome of each
//! edit.
//!
//! Run it against `cargo dev`, with the token that `cargo dev` prints:
//! `DRIFTLESS_TOKEN=… cargo run -p driftless-client --example bot -- --steps 100`

use anyhow::{Context as _, bail};
use clap::Parser;
use driftless_client::{Client, Outcome, Settings};
use driftless_schemas::proto::{GridCommand, SetCells, grid_command};
use prost::Message as _;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Parser)]
struct Options {
    /// Address of ingest.
    #[arg(long, env = "DRIFTLESS_INGEST", default_value = "ws://127.0.0.1:8080/v1/ingest")]
    ingest: String,
    /// Address of a gateway.
    #[arg(long, env = "DRIFTLESS_GATEWAY", default_value = "ws://127.0.0.1:8080/v1/gateway")]
    gateway: String,
    /// The token that `driftless dev` prints, or that `driftless token` makes.
    #[arg(long, env = "DRIFTLESS_TOKEN", hide_env_values = true)]
    token: String,
    /// The chunk to paint on; its family must have the model `grid`.
    #[arg(long, default_value = "canvas/0/0")]
    chunk: String,
    /// The canvas's width and height in cells.
    #[arg(long, default_value_t = 128)]
    size: u32,
    /// The number of steps after which the bot ends.
    #[arg(long, default_value_t = 100)]
    steps: u32,
    /// Milliseconds between two steps.
    #[arg(long, default_value_t = 50)]
    pause_ms: u64,
    /// The value that the bot writes into cells.
    #[arg(long, default_value_t = 7)]
    color: u32,
}

/// Servers answer within milliseconds. After this time the bot gives up and names the server that
/// did not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects, or says which server does not answer.
async fn connect(options: &Options) -> anyhow::Result<Client> {
    let Options { ingest, gateway, token, .. } = options;
    println!("connecting to {ingest} and {gateway} …");
    // `Client::connect` would wait; `Client::start` returns a client whose status can be read after
    // the timeout.
    let client = Client::start(Settings::new(ingest, gateway, token.as_str()));
    if let Ok(connected) = tokio::time::timeout(ANSWER_TIMEOUT, client.connected()).await {
        connected?;
        return Ok(client);
    }
    let status = client.status();
    let mut silent = Vec::new();
    if !status.is_ingest_up {
        silent.push(format!("ingest at {ingest} (choose another with --ingest or DRIFTLESS_INGEST)"));
    }
    if !status.is_gateway_up {
        silent.push(format!("the gateway at {gateway} (choose another with --gateway or DRIFTLESS_GATEWAY)"));
    }
    bail!("no answer within {ANSWER_TIMEOUT:?} from {}; `cargo dev` starts both", silent.join(" and "));
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let client = connect(&options).await?;
    let canvas = client.track(&options.chunk.parse()?);
    canvas.ready().await?;
    println!(
        "{} is at version {}",
        canvas.id(),
        canvas.version().context("a chunk that is ready must have a version")?
    );

    let mut counts = BTreeMap::new();
    let mut pending = Vec::new();
    let (mut x, mut y) = (options.size / 2, options.size / 2);
    for _ in 0..options.steps {
        let step = |at: u32| at.saturating_add_signed(rand::random_range(-1..=1)).min(options.size - 1);
        (x, y) = (step(x), step(y));
        let set = SetCells { cells: vec![x + options.size * y], values: vec![options.color], guards: Vec::new() };
        let command = GridCommand { body: Some(grid_command::Body::Set(set)) };
        pending.push(canvas.submit(command.encode_to_vec())?);
        tokio::time::sleep(Duration::from_millis(options.pause_ms)).await;
    }
    for edit in pending {
        let id = edit.id();
        let outcome = edit.await;
        println!("{id:?}: {outcome:?}");
        let kind = match outcome {
            Outcome::Committed { .. } => "committed",
            Outcome::Discarded { .. } => "discarded",
            Outcome::Rejected { .. } => "rejected",
            Outcome::Withdrawn => "withdrawn",
            Outcome::Unknown { .. } => "unknown",
        };
        *counts.entry(kind).or_insert(0) += 1;
    }
    println!("{counts:?}; {:?}", canvas.confirmed());
    client.close();
    Ok(())
}
