//! Attacks on defences that outsiders do not reach, against the defending code itself.

use super::Scene;
use crate::target::status_bytes;
use anyhow::{Context as _, Result, ensure};
use driftless_chunk::ledger::{Ledger, Resolved};
use driftless_chunk::model::Models;
use driftless_client_core::Settings;
use driftless_e2e_tests::process::{Env, command};
use driftless_schemas::{Hash, Offset, Seq, SessionId, WriterId, limits};
use driftless_store::Store;
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// The decompressed size of a bomb in bytes. It is far above the limit on a content, and above the
/// memory that may be used.
const BOMB_BYTES: u64 = 256 << 20;
/// The limit on the average time of a decision while writer ids collide. It allows for a debug
/// build on a busy machine.
const DECISION_MAX: Duration = Duration::from_millis(1);
/// The limit on the memory that this process may use while it refuses a bomb, in bytes.
const TAKEN_MAX: u64 = 64 << 20;

/// Makes a bomb: a quarter of a gibibyte of zeros in some thousand bytes. `window_log` is the
/// logarithm of the window that the bomb asks its reader to hold.
fn bomb(window_log: Option<u32>) -> Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1)?;
    if let Some(log) = window_log {
        encoder.window_log(log)?;
    }
    std::io::copy(&mut std::io::repeat(0).take(BOMB_BYTES), &mut encoder)?;
    encoder.flush()?;
    Ok(encoder.finish()?)
}

/// Runs a function. Returns its result, and by how much the peak of this process's memory exceeded
/// the memory before, in bytes.
fn taken<T>(what: impl FnOnce() -> T) -> (T, u64) {
    // Resets the peak to the present value (proc(5)). Systems other than Linux have no such file,
    // so nothing is measured there.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = status_bytes("/proc/self/status", "VmRSS:");
    let done = what();
    (done, status_bytes("/proc/self/status", "VmHWM:").saturating_sub(before))
}

pub async fn store_bomb(scene: Scene) -> Result<String> {
    let store = Store::open(&format!("file://{}", scene.target.folder().join("bombs").display()))?;
    tokio::task::block_in_place(|| {
        let data = bomb(None)?;
        let (refused, taken) = taken(|| store.verify(Hash::of(b"a content"), &data).err());
        ensure!(refused.is_some(), "a bomb is taken for a content");
        ensure!(taken < TAKEN_MAX, "{taken} bytes were taken to refuse a bomb");
        Ok(format!("{} bytes that become 256 MiB: refused, {} KiB were taken", data.len(), taken >> 10))
    })
}

pub async fn client_bomb(_: Scene) -> Result<String> {
    tokio::task::block_in_place(|| {
        let settings = Settings::new(Models::builtin());
        // The second bomb also asks its reader for a window of 128 MiB.
        let mut most = 0;
        for window in [None, Some(27)] {
            let data = bomb(window)?;
            let (refused, taken) = taken(|| (settings.host.decompress)(&data, limits::CONTENT_BYTES_MAX));
            most = most.max(taken);
            ensure!(refused.is_err(), "a bomb is taken for a content");
            ensure!(taken < TAKEN_MAX, "{taken} bytes were taken to refuse a bomb");
        }
        Ok(format!("2 bombs of 256 MiB: refused, {} KiB were taken", most >> 10))
    })
}

/// Attacks the ledger's hash table. Writer ids are the only keys of a hash table without a secret,
/// so a patient attacker can make many of them collide. A ledger bounds the number of its writers.
/// Here as many writers as a ledger holds collide in every bit.
pub async fn hash_flood(_: Scene) -> Result<String> {
    let writer = |i: u64| {
        let mut bytes = [7; 16];
        bytes[..8].copy_from_slice(&i.to_be_bytes());
        WriterId(bytes)
    };
    ensure!(SessionId::new(1, [0; 10]).writer("a") != SessionId::new(1, [0; 10]).writer("b"), "users share writers");
    let mut ledger = Ledger::new();
    let (count, begun) = (4 * limits::LEDGER_WRITERS_MAX as u64, std::time::Instant::now());
    for i in 1..=count {
        ledger.resolve(writer(i << 32), Seq(1), true, Offset(i as i64));
    }
    let took = begun.elapsed();
    ensure!(ledger.len() <= limits::LEDGER_WRITERS_MAX, "the ledger holds {} writers", ledger.len());
    let newest = ledger.resolved(writer(count << 32));
    ensure!(matches!(newest, Resolved::Known { seq: Seq(1), .. }), "the newest writer is {newest:?}");
    ensure!(took < DECISION_MAX * count as u32, "{count} decisions took {took:?}");
    Ok(format!(
        "{count} writers that all collide: {} µs a decision; the ledger holds {}",
        took.as_micros() / u128::from(count),
        ledger.len()
    ))
}

pub async fn plain_text(scene: Scene) -> Result<String> {
    let data = scene.target.folder().join("stranger").display().to_string();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let flags = ["dev", "--http", address, "--data", &data].map(str::to_owned);
        let mut stranger = tokio::process::Command::from(command(&scene.target.program, &flags, &Env::new()));
        stranger.kill_on_drop(true).stdin(std::process::Stdio::null());
        let ended = tokio::time::timeout(Duration::from_secs(30), stranger.output()).await;
        let ended = ended.with_context(|| format!("it listens on {address} without TLS"))??;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(!ended.status.success() && said.contains("--insecure"), "{address}: {said}");
    }
    Ok("refused at the start, with the way out (--tls-cert, --insecure)".into())
}
