//! Compares the painted chunks with the plan, through a new client and over HTTP.

use super::plan::Plan;
use super::{PATIENCE, connect, ready};
use crate::http_client::Gateway;
use anyhow::{Context, Result, bail};
use driftless_chunk::grid::{Cells, Grid};
use driftless_chunk::model::Model;
use driftless_client::{ChunkId, Settings, Version};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Counts the cells that differ from the plan, read through a new client. First waits until each
/// chunk has reached its version in `versions`.
pub(super) async fn by_sdk(plan: &Plan, versions: &BTreeMap<ChunkId, Version>, settings: Settings) -> Result<usize> {
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
        let found = snapshot.content.get::<Cells>().context("the content is not a grid")?;
        differing += count_differing(cells, found);
    }
    client.close();
    Ok(differing)
}

/// Counts the cells that differ from the plan, read over HTTP. First waits until each chunk has
/// reached its version in `versions`.
pub(super) async fn by_http(
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
