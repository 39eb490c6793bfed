//! Sessions in a chunk's ledger.

use super::Scene;
use crate::honest::Honest;
use anyhow::{Result, ensure};
use driftless_e2e_tests::edits::chunk;
use driftless_e2e_tests::people::now_ms;
use driftless_schemas::{SessionId, limits};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// One more than the ledger holds, with as many as one request takes.
const ROUNDS: u64 = 3;

/// One request is as many writers as a ledger holds: each round evicts everybody from the chunk that the honest client edits, with
/// sessions as far ahead as ingest takes them, so that the floor is above those that are given out now. What the honest client is
/// told must stay exact (it is compared with the log at the end), and it must get on.
pub async fn session_flood(scene: Scene) -> Result<String> {
    let (http, shared) = (scene.target.http(), chunk(Honest::SHARED));
    let mut slowest = Duration::ZERO;
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let token = scene.target.tokens.for_all(&format!("many-{round}"));
        let ahead_ms = u64::try_from(now_ms()).unwrap_or(0) + limits::SESSION_AHEAD_MAX_MS - 2_000;
        let command = json!({"set": {"cells": [16_383], "values": [round + 1]}});
        let items: Vec<Value> = (0..limits::HTTP_COMMANDS_MAX as u64)
            .map(|i| {
                let mut random = [0; 10];
                random[..8].copy_from_slice(&(round << 32 | i).to_be_bytes());
                json!({"session": SessionId::new(ahead_ms + i % 1000, random), "seq": 1, "command": command})
            })
            .collect();
        let attack = async {
            let begun = Instant::now();
            let mut answers = Vec::new();
            for half in items.chunks(limits::HTTP_COMMANDS_MAX) {
                answers.push(
                    http.post(
                        &format!("/v1/chunks/{shared}/commands"),
                        Some(&token),
                        json!(half).to_string().into_bytes(),
                    )
                    .await?,
                );
            }
            anyhow::Ok((answers, begun.elapsed()))
        };
        let editing = async {
            let mut slowest = Duration::ZERO;
            for _ in 0..10 {
                slowest = slowest.max(scene.honest.commit(&shared).await?);
            }
            anyhow::Ok(slowest)
        };
        let (attacked, edited) = tokio::join!(attack, editing);
        for (status, body) in attacked?.0 {
            match status {
                202 => accepted += 1,
                207 | 413 | 429 => refused += 1,
                _ => anyhow::bail!(
                    "the flood was answered with {status}: {}",
                    body.chars().take(200).collect::<String>()
                ),
            }
        }
        slowest = slowest.max(edited?);
    }
    ensure!(accepted > 0, "the flood was refused ({refused} requests): this attacks nothing");
    scene.honest.edit(Honest::SHARED).await?;
    Ok(format!(
        "{accepted} × {} writers; every edit committed meanwhile, the slowest after {} ms",
        limits::HTTP_COMMANDS_MAX,
        slowest.as_millis()
    ))
}
