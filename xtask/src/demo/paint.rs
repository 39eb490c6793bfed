//! Runs `driftless paint`, and reads the hashes of the painted chunks.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::http;

/// The number of concurrent writers.
const WRITERS: &str = "8";
/// The least number of chunks for a convincing demo.
const CHUNKS_MIN: u64 = 16;
/// Number of cells along a side of a chunk of the family `canvas`.
const SIDE: u64 = 128;

/// The addresses of a deployment, and a token for it.
#[derive(Clone, Debug, Default)]
pub struct Target {
    pub ingest: String,
    pub gateway: String,
    pub token: String,
}

/// Version and hash of each painted chunk.
pub type State = BTreeMap<String, (String, String)>;

/// Paints, and fails if a cell differs from the picture. Returns the JSON report of `driftless
/// paint`.
pub fn paint(driftless: &Path, picture: &Path, target: &Target) -> Result<Value> {
    let mut paint = Command::new(driftless);
    // `state` looks for the painted chunks from chunk 0,0 on, so the picture must begin there.
    paint.arg("paint").arg(picture).args(["--at", "0,0", "--writers", WRITERS, "--json"]);
    paint.args(["--http", &target.ingest, "--gateway-http", &target.gateway]);
    paint.env("DRIFTLESS_TOKEN", &target.token);
    let output = paint.output().context("cannot run driftless paint")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "driftless paint failed ({}): {}", output.status, said.trim());
    let printed = String::from_utf8_lossy(&output.stdout);
    let last = printed.lines().last().unwrap_or_default();
    let painted: Value = serde_json::from_str(last).with_context(|| format!("driftless paint printed {last:?}"))?;
    ensure!(painted["differing_cells"] == 0, "cells differ from the picture: {painted}");
    let chunks = painted["chunks"].as_u64().unwrap_or(0);
    ensure!(chunks >= CHUNKS_MIN, "the picture covers {chunks} chunks; take a larger one (512×512)");
    Ok(painted)
}

/// Summarises the report of `driftless paint` in one line.
pub fn summary(painted: &Value) -> String {
    let [cells, chunks, writers] = ["cells", "chunks", "writers"].map(|name| &painted[name]);
    let seconds = painted["seconds"].as_f64().unwrap_or_default();
    format!("{cells} cells over {chunks} chunks by {writers} writers in {seconds:.1} s, 0 differ")
}

/// Asks the gateway for version and hash of every painted chunk.
pub fn state(painted: &Value, target: &Target) -> Result<State> {
    let size = |name: &str| painted[name].as_u64().with_context(|| format!("driftless paint told no {name}"));
    let (columns, rows) = (size("width")?.div_ceil(SIDE), size("height")?.div_ceil(SIDE));
    let mut state = State::new();
    for (x, y) in (0..rows).flat_map(|y| (0..columns).map(move |x| (x, y))) {
        let chunk = format!("canvas/{x}/{y}");
        let answer = http::get(&format!("{}/v1/chunks/{chunk}", target.gateway), &target.token)?;
        ensure!(answer.status == 200, "{chunk}: the gateway answers {}", answer.status);
        let header = |name: &str| answer.header(name).with_context(|| format!("{chunk} comes without {name}"));
        let hash = header("etag")?.split('"').nth(1).with_context(|| format!("{chunk} has a strange ETag"))?.to_owned();
        state.insert(chunk.clone(), (header("driftless-version")?.to_owned(), hash));
    }
    Ok(state)
}
