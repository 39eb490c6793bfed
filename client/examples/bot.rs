//! A random walker on a canvas: connects, paints a cell per step, and prints what became of each edit.
//!
//! Against `cargo dev`, with the token that it prints:
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
    /// Where ingest listens.
    #[arg(long, env = "DRIFTLESS_INGEST", default_value = "ws://127.0.0.1:8080/v1/ingest")]
    ingest: String,
    /// Where a gateway listens.
    #[arg(long, env = "DRIFTLESS_GATEWAY", default_value = "ws://127.0.0.1:8080/v1/gateway")]
    gateway: String,
    /// As `driftless dev` prints it, or `driftless token` makes it.
    #[arg(long, env = "DRIFTLESS_TOKEN", hide_env_values = true)]
    token: String,
    /// A chunk of a family with the model `grid`.
    #[arg(long, default_value = "canvas/0/0")]
    chunk: String,
    /// The canvas's width and height in cells.
    #[arg(long, default_value_t = 128)]
    size: u32,
    /// Steps to walk.
    #[arg(long, default_value_t = 100)]
    steps: u32,
    /// Milliseconds between two steps.
    #[arg(long, default_value_t = 50)]
    pause_ms: u64,
    /// What to paint with.
    #[arg(long, default_value_t = 7)]
    color: u32,
}

/// An answer takes milliseconds; who waits longer than this wants to know for whom.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects, or says who does not answer.
async fn connect(options: &Options) -> anyhow::Result<Client> {
    let Options { ingest, gateway, token, .. } = options;
    println!("connecting to {ingest} and {gateway} …");
    // Unlike `Client::connect` it does not wait, so that there is a client whose status can be asked.
    let client = Client::start(Settings::new(ingest, gateway, token.as_str()));
    if let Ok(connected) = tokio::time::timeout(ANSWER_TIMEOUT, client.connected()).await {
        connected?;
        return Ok(client);
    }
    let status = client.status();
    let mut silent = Vec::new();
    if !status.is_ingest_up {
        silent.push(format!("no ingest at {ingest} (choose another with --ingest or DRIFTLESS_INGEST)"));
    }
    if !status.is_gateway_up {
        silent.push(format!("no gateway at {gateway} (choose another with --gateway or DRIFTLESS_GATEWAY)"));
    }
    bail!("within {ANSWER_TIMEOUT:?} there was {}; `cargo dev` starts both", silent.join(" and "));
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let client = connect(&options).await?;
    let canvas = client.track(&options.chunk.parse()?);
    canvas.ready().await?;
    println!("{} is at version {}", canvas.id(), canvas.version().context("a chunk that is ready has a version")?);

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
