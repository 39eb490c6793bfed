//! `driftless paint`: paints a picture with many concurrent writers, whose cells interleave in the
//! same chunks.
//!
//! The command is a demo and a check: at the end it fetches every chunk twice, through a new client
//! and over HTTP, and compares it with the picture cell by cell.

mod compare;
mod dither;
mod plan;

use crate::http_client::Target;
use anyhow::{Context, Result, bail};
use driftless_client::{Chunk, ChunkId, Client, Outcome, Settings, Version};
use driftless_schemas::limits::GRID_SET_CELLS_MAX;
use driftless_schemas::proto::{GridCommand, SetCells, grid_command};
use indicatif::{ProgressBar, ProgressStyle};
use plan::{At, Plan, WorldAnswer, flat_grid, plan};
use prost::Message;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Time limit for a client to connect, for a chunk to load, and for a chunk to reach a version.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `driftless paint`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless paint photo.jpg --token-file ann.token
  driftless paint photo.jpg --token-file ann.token --writers 32 --at 10,-7 --json")]
pub(crate) struct Args {
    /// The picture: a PNG or JPEG.
    picture: PathBuf,
    #[command(flatten)]
    target: Target,
    /// The family to paint in; its chunks are flat grids.
    #[arg(long, default_value = "canvas")]
    family: String,
    /// Number of concurrent writers; the cells are dealt to them in turn.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    writers: u16,
    /// The chunk of the picture's upper left corner [default: the picture lies around 0,0, where
    /// the page starts].
    #[arg(long, value_name = "X,Y", allow_hyphen_values = true)]
    at: Option<At>,
    /// Number of cells in one command.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=GRID_SET_CELLS_MAX as i64))]
    cells: u16,
    /// Print one JSON object at the end.
    #[arg(long)]
    json: bool,
}

/// Paints the picture, and compares the chunks with it. A single differing cell is an error.
pub(crate) async fn run(args: Args) -> Result<()> {
    let picture = image::open(&args.picture)
        .with_context(|| format!("cannot read {}: give a PNG or JPEG", args.picture.display()))?
        .to_rgb8();
    let http = reqwest::Client::new();
    let gateway = args.target.gateway()?;
    let world: WorldAnswer = gateway.get(&http, "/v1/world", "application/json").await?.json().await?;
    let family = world.families.iter().find(|f| f.name == args.family).with_context(|| {
        let known: Vec<_> = world.families.iter().map(|f| f.name.as_str()).collect();
        format!("no family is called {:?}; this world has {}: choose with --family", args.family, known.join(", "))
    })?;
    let grid = flat_grid(family)?;
    let plan = Arc::new(plan(&picture, &grid, family, args.at)?);
    let total: usize = plan.values().map(Vec::len).sum();

    let started = Instant::now();
    let Painted { commands, versions } = paint_all(&plan, total, &args).await?;
    let seconds = started.elapsed().as_secs_f64();

    let by_sdk = compare::by_sdk(&plan, &versions, args.target.settings()?).await?;
    let by_http = compare::by_http(&plan, &versions, &gateway, &http, &grid).await?;
    let (chunks, differing) = (plan.len(), by_sdk + by_http);
    if args.json {
        let line = serde_json::json!({
            "picture": args.picture, "width": picture.width(), "height": picture.height(), "cells": total,
            "chunks": chunks, "writers": args.writers, "commands": commands, "seconds": seconds,
            "differing_cells_sdk": by_sdk, "differing_cells_http": by_http, "differing_cells": differing,
        });
        println!("{line}");
    } else {
        println!(
            "painted {}×{} = {total} cells over {chunks} chunks with {} writers: {commands} commands in {seconds:.1} s\n\
             {by_sdk} differing cells through a fresh client, {by_http} over HTTP",
            picture.width(),
            picture.height(),
            args.writers
        );
    }
    if differing > 0 {
        bail!(
            "{differing} cells differ from the picture: either another user painted there meanwhile, or it is a bug of Driftless"
        );
    }
    Ok(())
}

/// Paints with all writers at once. Returns the number of commands and the newest version of each
/// chunk.
async fn paint_all(plan: &Arc<Plan>, total: usize, args: &Args) -> Result<Painted> {
    let bar = ProgressBar::new(total as u64);
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} cells, {per_sec}, {eta} left")
            .unwrap_or(ProgressStyle::default_bar()),
    );
    let mut writers = JoinSet::new();
    for writer in 0..args.writers {
        let (plan, bar, settings) = (Arc::clone(plan), bar.clone(), args.target.settings()?);
        let share = Share { writer: writer.into(), of: args.writers.into(), cells: args.cells.into() };
        writers.spawn(async move { paint(&plan, share, settings, &bar).await });
    }
    let mut all = Painted { commands: 0, versions: BTreeMap::new() };
    while let Some(painted) = writers.join_next().await {
        let painted = painted??;
        all.commands += painted.commands;
        for (chunk, version) in painted.versions {
            let newest = all.versions.entry(chunk).or_default();
            *newest = version.max(*newest);
        }
    }
    bar.finish_and_clear();
    Ok(all)
}

/// The part of the painting that one writer does. With `of` writers, the writer paints every
/// `of`-th cell of each chunk.
#[derive(Clone, Copy)]
struct Share {
    /// Index of the writer, from 0.
    writer: usize,
    /// Number of writers.
    of: usize,
    /// Largest number of cells in one command.
    cells: usize,
}

/// The result of painting: the number of commands, and the newest version of each chunk.
struct Painted {
    commands: usize,
    versions: BTreeMap<ChunkId, Version>,
}

/// Starts a client, and waits until it is connected.
async fn connect(settings: Settings) -> Result<Client> {
    let (ingest, gateway) = (settings.ingest_urls.join(", "), settings.gateway_urls.join(", "));
    let client = Client::start(settings);
    if let Ok(connected) = tokio::time::timeout(PATIENCE, client.connected()).await {
        connected?;
        return Ok(client);
    }
    let (silent, flag) = if client.status().is_ingest_up { (gateway, "--gateway-http") } else { (ingest, "--http") };
    bail!("no connection to {silent} within a minute: is Driftless running there? Choose another with {flag}");
}

/// Waits until a chunk is loaded.
async fn ready(chunk: &Chunk) -> Result<()> {
    let ready = tokio::time::timeout(PATIENCE, chunk.ready()).await;
    Ok(ready.with_context(|| format!("{} did not come within a minute", chunk.id()))??)
}

/// Paints the share of one writer, and waits until all of its commands are committed.
async fn paint(plan: &Plan, share: Share, settings: Settings, bar: &ProgressBar) -> Result<Painted> {
    let client = connect(settings).await?;
    let mut painted = Painted { commands: 0, versions: BTreeMap::new() };
    for (id, cells) in plan {
        let chunk = client.track(id);
        ready(&chunk).await?;
        let own: Vec<(u32, u32)> = cells.iter().skip(share.writer).step_by(share.of).copied().collect();
        let mut pending = Vec::new();
        for part in own.chunks(share.cells) {
            let (cells, values) = part.iter().copied().unzip();
            let set = SetCells { cells, values, guards: Vec::new() };
            let command = GridCommand { body: Some(grid_command::Body::Set(set)) }.encode_to_vec();
            pending.push((part.len(), chunk.submit(command)?));
        }
        for (count, pending) in pending {
            match pending.await {
                Outcome::Committed { version } => {
                    painted.commands += 1;
                    bar.inc(count as u64);
                    let newest = painted.versions.entry(id.clone()).or_default();
                    *newest = version.unwrap_or_default().max(*newest);
                }
                other => bail!("{id}: a command was not committed: {other:?}"),
            }
        }
    }
    client.close();
    Ok(painted)
}
