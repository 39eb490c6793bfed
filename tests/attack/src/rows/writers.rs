//! Floods of sessions that fill the ledger of a chunk.

use super::Scene;
use crate::honest::Honest;
use anyhow::{Result, ensure};
use driftless_e2e_tests::edits::chunk;
use driftless_e2e_tests::people::now_ms;
use driftless_schemas::{SessionId, limits};
use serde_json::{Value, json};
use std::time::Duration;

/// The number of rounds. Each round has as many writers as a ledger holds.
const ROUNDS: u64 = 3;

/// Each round sends commands of as many writers as a ledger holds. So every writer is evicted from
/// the chunk that the honest client edits. The attacker's session times are as far ahead as ingest
/// accepts, so that the floor rises above newly given sessions. The honest client must still get
/// exact outcomes, which are compared with the log at the end, and must be able to continue.
pub async fn session_flood(scene: Scene) -> Result<String> {
    let (http, shared) = (scene.target.http(), chunk(Honest::SHARED));
    let (mut slowest, mut unknown) = (Duration::ZERO, 0);
    for round in 0..ROUNDS {
        let token = scene.target.tokens.for_all(&format!("many-{round}"));
        let ahead_ms = u64::try_from(now_ms()).unwrap_or(0) + limits::SESSION_AHEAD_MAX_MS - 2_000;
        let command = json!({"set": [{"x": 127, "y": 127, "value": round + 1}]});
        let items: Vec<Value> = (0..limits::HTTP_COMMANDS_MAX as u64)
            .map(|i| {
                let mut random = [0; 10];
                random[..8].copy_from_slice(&(round << 32 | i).to_be_bytes());
                json!({"session": SessionId::new(ahead_ms + i % 1000, random), "seq": 1, "command": command})
            })
            .collect();
        let path = format!("/v1/chunks/{shared}/commands");
        let attack = http.post(&path, Some(&token), json!(items).to_string().into_bytes());
        let editing = async {
            let (mut slowest, mut unknown) = (Duration::ZERO, 0);
            for _ in 0..10 {
                match scene.honest.submit(&shared).await? {
                    Some(took) => slowest = slowest.max(took),
                    // The client was evicted again while it was reconnecting. The comparison at the
                    // end looks for this edit in the log.
                    None => unknown += 1,
                }
            }
            anyhow::Ok((slowest, unknown))
        };
        let (attacked, edited) = tokio::join!(attack, editing);
        let (status, body) = attacked?;
        let seen = || body.chars().take(300).collect::<String>();
        ensure!(status == 202, "the flood was answered with {status}, so this attacks nothing: {}", seen());
        let (took, count) = edited?;
        slowest = slowest.max(took);
        unknown += count;
    }
    scene.honest.edit(Honest::SHARED).await?;
    // An evicted writer continues under a new session. A new session needs a new Hello, and so a
    // reconnect.
    let reconnects = scene.honest.reconnects().await?;
    Ok(format!(
        "{ROUNDS} × {} writers; {unknown} of {} edits end as unknown meanwhile, the slowest of the others took {} ms; {reconnects} times a new Hello",
        limits::HTTP_COMMANDS_MAX,
        10 * ROUNDS,
        slowest.as_millis()
    ))
}
