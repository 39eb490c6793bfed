//! `driftless paint`: a picture, painted by many concurrent writers whose cells are interleaved in the same chunks.
//!
//! It is a demo, and a check: at the end every chunk is fetched twice, through a fresh client and over HTTP, and compared
//! with the picture cell by cell.

use crate::http_client::{Gateway, Target};
use anyhow::{Context, Result, bail};
use driftless_chunk::grid::{Cells, Grid};
use driftless_chunk::model::Model;
use driftless_client::{Chunk, ChunkId, Client, Outcome, Settings, Version};
use driftless_schemas::limits::GRID_SET_CELLS_MAX;
use driftless_schemas::proto::{GridCommand, SetCells, grid_command};
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};
use prost::Message;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A client that does not connect, or a chunk that does not come, within this time is an error.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `driftless paint`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless paint photo.jpg --token \"$TOKEN\"
  driftless paint photo.jpg --token \"$TOKEN\" --writers 32 --at 10,-7 --json")]
pub(crate) struct Args {
    /// A PNG or JPEG.
    picture: PathBuf,
    #[command(flatten)]
    target: Target,
    /// A family of flat grids.
    #[arg(long, default_value = "canvas")]
    family: String,
    /// Concurrent writers; each cell belongs to one of them, in turn.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    writers: u16,
    /// The chunk of the picture's upper left corner; without it the picture lies around 0,0, where the page looks.
    #[arg(long, value_name = "X,Y", allow_hyphen_values = true)]
    at: Option<At>,
    /// Cells in one command.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=GRID_SET_CELLS_MAX as i64))]
    cells: u16,
    /// Print one JSON object at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    x: i32,
    y: i32,
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once(',').and_then(|(x, y)| Some((x.trim().parse().ok()?, y.trim().parse().ok()?)));
        numbers.map(|(x, y)| Self { x, y }).ok_or_else(|| format!("{text:?} is not X,Y, such as 0,-2"))
    }
}

/// The part of `GET /v1/world` that painting needs.
#[derive(Deserialize)]
struct WorldAnswer {
    families: Vec<FamilyAnswer>,
}

#[derive(Deserialize)]
struct FamilyAnswer {
    name: String,
    model: String,
    parameters: serde_json::Map<String, serde_json::Value>,
    coordinates: u32,
    coordinate_min: i32,
    coordinate_max: i32,
}

/// The picture as it should stand in the chunks: per chunk (cell, value) in scan order.
type Plan = BTreeMap<ChunkId, Vec<(u32, u32)>>;

/// Paints, compares, and fails where a single cell differs.
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
    let at = args.at.unwrap_or_else(|| centered(&picture, &grid, family));
    let plan = plan(&quantise(&picture, Model::colors(&grid).unwrap_or_default()), &picture, &grid, family, at)?;
    let total: usize = plan.values().map(Vec::len).sum();

    let bar = ProgressBar::new(total as u64);
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} cells, {per_sec}, {eta} left")
            .unwrap_or(ProgressStyle::default_bar()),
    );
    let started = Instant::now();
    let plan = Arc::new(plan);
    let mut writers = JoinSet::new();
    for writer in 0..args.writers {
        let (plan, bar, settings) = (Arc::clone(&plan), bar.clone(), args.target.settings()?);
        let share = Share { writer: writer.into(), of: args.writers.into(), cells: args.cells.into() };
        writers.spawn(async move { paint(&plan, share, settings, &bar).await });
    }
    let mut commands = 0;
    let mut versions: BTreeMap<ChunkId, Version> = BTreeMap::new();
    while let Some(painted) = writers.join_next().await {
        let painted = painted??;
        commands += painted.commands;
        for (chunk, version) in painted.versions {
            let newest = versions.entry(chunk).or_default();
            *newest = version.max(*newest);
        }
    }
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();

    let by_sdk = compare_by_sdk(&plan, &versions, args.target.settings()?).await?;
    let by_http = compare_by_http(&plan, &versions, &gateway, &http, &grid).await?;
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
            "{differing} cells differ from the picture: somebody else may have painted there meanwhile, else it is a bug of ours"
        );
    }
    Ok(())
}

fn flat_grid(family: &FamilyAnswer) -> Result<Grid> {
    if family.model != "grid" || family.coordinates != 2 {
        bail!(
            "family {} is no plane of grids (its model is {}): choose another with --family",
            family.name,
            family.model
        );
    }
    let grid = Grid::from_parameters(&family.parameters)?;
    if grid.size()[2] != 1 {
        bail!("the chunks of family {} are not flat: choose another with --family", family.name);
    }
    Ok(grid)
}

/// Floyd–Steinberg dithering to the nearest colours of the palette (Floyd and Steinberg 1976: 7, 3, 5, 1 sixteenths).
fn quantise(picture: &RgbImage, colors: &[[u8; 3]]) -> Vec<u32> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut nearest = NearestColor::new(colors);
    let mut wanted: Vec<[f32; 3]> = picture.pixels().map(|p| p.0.map(f32::from)).collect();
    let mut values = Vec::with_capacity(wanted.len());
    for y in 0..height {
        for x in 0..width {
            let pixel = wanted[y * width + x].map(|c| c.clamp(0.0, 255.0));
            let value = nearest.find(pixel);
            values.push(value as u32);
            let color = colors.get(value).copied().unwrap_or_default();
            for (dx, dy, weight) in [(1, 0, 7.0), (-1, 1, 3.0), (0, 1, 5.0), (1, 1, 1.0)] {
                let (nx, ny) = (x.wrapping_add_signed(dx), y + dy);
                if nx < width && ny < height {
                    for i in 0..3 {
                        wanted[ny * width + nx][i] += (pixel[i] - f32::from(color[i])) * weight / 16.0;
                    }
                }
            }
        }
    }
    values
}

/// Looks colours up, and remembers what it found per cube of 8×8×8.
struct NearestColor<'a> {
    colors: &'a [[u8; 3]],
    found: Vec<Option<usize>>,
}

impl<'a> NearestColor<'a> {
    fn new(colors: &'a [[u8; 3]]) -> Self {
        Self { colors, found: vec![None; 32 * 32 * 32] }
    }

    fn find(&mut self, pixel: [f32; 3]) -> usize {
        // Clamped to 0..=255 by the caller.
        let [r, g, b] = pixel.map(|c| c as usize / 8);
        let colors = self.colors;
        *self.found[(r * 32 + g) * 32 + b].get_or_insert_with(|| {
            let middle = [r, g, b].map(|c| (c * 8 + 4) as i64);
            let distance =
                |color: &[u8; 3]| -> i64 { color.iter().zip(middle).map(|(c, m)| (i64::from(*c) - m).pow(2)).sum() };
            (0..colors.len()).min_by_key(|i| distance(&colors[*i])).unwrap_or_default()
        })
    }
}

/// The corner that puts the picture's middle where chunk 0,0 begins: there the page looks, four chunks by four.
fn centered(picture: &RgbImage, grid: &Grid, family: &FamilyAnswer) -> At {
    let [sx, sy, _] = grid.size();
    let corner = |pixels: u32, cells: u32| {
        let chunks = i32::try_from(pixels.div_ceil(cells)).unwrap_or(i32::MAX);
        (-(chunks / 2)).max(family.coordinate_min)
    };
    At { x: corner(picture.width(), sx), y: corner(picture.height(), sy) }
}

fn plan(values: &[u32], picture: &RgbImage, grid: &Grid, family: &FamilyAnswer, at: At) -> Result<Plan> {
    let [sx, sy, _] = grid.size();
    let mut plan = Plan::new();
    for (i, value) in values.iter().enumerate() {
        let (x, y) = (i as u32 % picture.width(), i as u32 / picture.width());
        let place = |corner: i32, n: u32| i32::try_from(n).ok().and_then(|n| corner.checked_add(n));
        let chunk = place(at.x, x / sx).zip(place(at.y, y / sy)).filter(|(cx, cy)| {
            let bounds = family.coordinate_min..=family.coordinate_max;
            bounds.contains(cx) && bounds.contains(cy)
        });
        let Some((cx, cy)) = chunk else {
            bail!(
                "the picture reaches beyond the family's bounds {}..={}: choose another corner with --at",
                family.coordinate_min,
                family.coordinate_max
            );
        };
        let cells = plan.entry(ChunkId::new(&family.name, &[cx, cy])?).or_default();
        cells.push((x % sx + sx * (y % sy), *value));
    }
    Ok(plan)
}

#[derive(Clone, Copy)]
struct Share {
    writer: usize,
    of: usize,
    cells: usize,
}

struct Painted {
    commands: usize,
    versions: BTreeMap<ChunkId, Version>,
}

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

async fn ready(chunk: &Chunk) -> Result<()> {
    let ready = tokio::time::timeout(PATIENCE, chunk.ready()).await;
    Ok(ready.with_context(|| format!("{} did not come within a minute", chunk.id()))??)
}

/// One writer: every n-th cell of every chunk.
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

async fn compare_by_sdk(plan: &Plan, versions: &BTreeMap<ChunkId, Version>, settings: Settings) -> Result<usize> {
    let client = connect(settings).await?;
    let mut differing = 0;
    for (id, cells) in plan {
        let mut chunk = client.track(id);
        ready(&chunk).await?;
        let wanted = versions.get(id).copied().unwrap_or_default();
        let caught_up = async {
            while chunk.version().is_none_or(|version| version < wanted) {
                chunk.changed().await;
            }
        };
        tokio::time::timeout(PATIENCE, caught_up)
            .await
            .with_context(|| format!("{id} did not reach version {wanted}"))?;
        let snapshot = chunk.snapshot().with_context(|| format!("{id} has no content"))?;
        let found = snapshot.content.get::<Cells>().context("the content is no grid")?;
        differing += count_differing(cells, found);
    }
    client.close();
    Ok(differing)
}

async fn compare_by_http(
    plan: &Plan,
    versions: &BTreeMap<ChunkId, Version>,
    gateway: &Gateway,
    http: &reqwest::Client,
    grid: &Grid,
) -> Result<usize> {
    let mut differing = 0;
    for (id, cells) in plan {
        let wanted = versions.get(id).copied().unwrap_or_default();
        let deadline = Instant::now() + PATIENCE;
        let fetched = loop {
            let fetched = gateway.chunk(http, id).await?;
            if fetched.version >= wanted {
                break fetched;
            }
            if Instant::now() > deadline {
                bail!(
                    "{id} is at version {} with hash {} over HTTP, but {wanted} was committed",
                    fetched.version,
                    fetched.hash
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        differing += count_differing(cells, &Model::decode(grid, &fetched.encoding)?);
    }
    Ok(differing)
}

fn count_differing(cells: &[(u32, u32)], found: &Cells) -> usize {
    let found: Vec<u16> = found.values().collect();
    let differs = |(cell, value): &&(u32, u32)| found.get(*cell as usize).is_none_or(|f| u32::from(*f) != *value);
    cells.iter().filter(differs).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_cut_into_chunks_and_every_cell_belongs_to_one() {
        let family = FamilyAnswer {
            name: "canvas".into(),
            model: "grid".into(),
            parameters: serde_json::json!({"size": [4, 4], "palette": 256}).as_object().unwrap().clone(),
            coordinates: 2,
            coordinate_min: -1,
            coordinate_max: 1,
        };
        let grid = flat_grid(&family).unwrap();
        let picture = RgbImage::from_fn(6, 5, |x, y| image::Rgb([(x * 40) as u8, (y * 50) as u8, 128]));
        let values = quantise(&picture, Model::colors(&grid).unwrap());
        let painted = plan(&values, &picture, &grid, &family, At { x: -1, y: 0 }).unwrap();
        assert_eq!(painted.len(), 4);
        assert_eq!(painted.values().map(Vec::len).sum::<usize>(), 30);
        assert_eq!(painted[&"canvas/0/1".parse().unwrap()], [(0, values[4 * 6 + 4]), (1, values[4 * 6 + 5])]);
        assert!(plan(&values, &picture, &grid, &family, At { x: 1, y: 0 }).is_err());
    }

    #[test]
    fn a_picture_lies_around_the_middle_of_the_page() {
        let family = |bounds: i32| FamilyAnswer {
            name: "canvas".into(),
            model: "grid".into(),
            parameters: serde_json::json!({"size": [4, 4], "palette": 256}).as_object().unwrap().clone(),
            coordinates: 2,
            coordinate_min: -bounds,
            coordinate_max: bounds,
        };
        let corner = |width, height, bounds| {
            let (picture, family) = (RgbImage::new(width, height), family(bounds));
            centered(&picture, &flat_grid(&family).unwrap(), &family)
        };
        // Four by four chunks, as the page shows them.
        assert_eq!(corner(16, 16, 9), At { x: -2, y: -2 });
        assert_eq!(corner(1, 9, 9), At { x: 0, y: -1 });
        assert_eq!(corner(16, 16, 1), At { x: -1, y: -1 });
    }

    #[test]
    fn a_color_of_the_palette_is_taken_as_it_is() {
        let colors = [[0, 0, 0], [255, 255, 255], [255, 0, 0]];
        let picture = RgbImage::from_pixel(3, 3, image::Rgb([255, 0, 0]));
        assert_eq!(quantise(&picture, &colors), [2; 9]);
    }
}
