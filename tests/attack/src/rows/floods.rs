//! Floods of requests that are allowed one by one.

use super::Scene;
use crate::honest::Honest;
use crate::wire::{ANSWER_WITHIN, Http, connect_from};
use anyhow::{Context as _, Result, bail, ensure};
use driftless_e2e_tests::edits::{fill, set};
use driftless_e2e_tests::raw::{Raw, hello, submit};
use driftless_schemas::proto::{Ping, Refresh, RejectCode, Track, TrackRejectCode, event, request};
use driftless_schemas::{close, limits};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};

/// The limit on the memory that a flood may cost the attacked process, in bytes: the difference
/// between before and after.
const MEMORY_MAX: u64 = 512 << 20;

/// Sends requests in frames of bounded size, and then reads the answers. Returns the first result
/// that `find` selects from an answer.
async fn flood<T>(
    raw: &mut Raw,
    requests: Vec<request::Body>,
    what: &str,
    mut find: impl FnMut(&event::Body) -> Option<T>,
) -> Result<T> {
    for part in requests.chunks(1024) {
        raw.send_all(part.to_vec()).await;
    }
    let deadline = Instant::now() + ANSWER_WITHIN;
    loop {
        let answer =
            tokio::time::timeout_at(deadline, raw.next()).await.with_context(|| format!("{what} never came"))?;
        match answer {
            Ok(body) => {
                if let Some(found) = find(&body) {
                    return Ok(found);
                }
            }
            Err(closed) => bail!("closed with {closed:?} before {what}"),
        }
    }
}

fn rate_limited(body: &event::Body) -> Option<u32> {
    match body {
        event::Body::Rejected(no) if no.code() == RejectCode::RateLimited => Some(no.retry_after_ms),
        _ => None,
    }
}

pub async fn commands(scene: Scene) -> Result<String> {
    let token = scene.target.tokens.for_all("flooder");
    let (mut raw, _) = Raw::welcomed(&scene.target.socket("ingest"), "ingest", &token, &[]).await;
    let count = u64::from(limits::COMMANDS_BURST) + u64::from(limits::COMMANDS_PER_SECOND) * 2;
    let all = (1..=count).map(|seq| submit("canvas/4/4", seq, seq - 1, set(0, 1))).collect();
    let wait_ms = flood(&mut raw, all, "RATE_LIMITED", rate_limited).await?;
    let (mut other, _) = Raw::welcomed(&scene.target.socket("ingest"), "ingest", &token, &[]).await;
    let again = (1..=count).map(|seq| submit("canvas/4/5", seq, seq - 1, set(0, 1))).collect();
    flood(&mut other, again, "RATE_LIMITED on another socket", rate_limited).await?;
    Ok(format!("RATE_LIMITED (wait {wait_ms} ms) above a burst of {}, also on another socket", limits::COMMANDS_BURST))
}

pub async fn cost(scene: Scene) -> Result<String> {
    let token = scene.target.tokens.for_all("filler");
    let (mut raw, _) = Raw::welcomed(&scene.target.socket("ingest"), "ingest", &token, &[]).await;
    // Each of these commands fills a whole canvas with a message of some twenty bytes.
    let cells = 128 * 128;
    let count = u64::from(limits::COST_BURST + limits::COST_PER_SECOND) / cells * 2;
    let all = (1..=count).map(|seq| submit("canvas/4/4", seq, seq - 1, fill([0, 0], [128, 128], 1))).collect();
    let mut taken = 0;
    let wait_ms = flood(&mut raw, all, "RATE_LIMITED", |body| {
        taken += usize::from(matches!(body, event::Body::Receipt(_)));
        rate_limited(body)
    });
    let wait_ms = wait_ms.await?;
    Ok(format!("RATE_LIMITED (wait {wait_ms} ms) of {count} fills of a canvas"))
}

pub async fn requests(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let token = target.tokens.for_all("asker");
    let (mut raw, _) = Raw::welcomed(&target.socket("gateway"), "gateway", &token, &[]).await;
    let refresh = request::Body::Refresh(Refresh { chunk_id: "canvas/0/0".into(), version: 0 });
    let count = limits::REQUESTS_BURST as usize + 3 * limits::REQUESTS_PER_SECOND as usize;
    let mut all = vec![refresh; count];
    all.push(request::Body::Ping(Ping { nonce: 99 }));
    flood(&mut raw, all, "the answer to the last request", |body| {
        matches!(body, event::Body::Pong(pong) if pong.nonce == 99).then_some(())
    })
    .await?;
    let status = target.http().get("/v1/chunks/canvas/0/0", Some(&token)).await?;
    ensure!(status == 429, "after {count} requests on a socket, HTTP of the same user answers {status}");
    Ok(format!("{count} requests are answered, then the socket is not read; 429 over HTTP"))
}

pub async fn user_sockets(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let token = target.tokens.for_all("hoarder");
    let mut held = Vec::new();
    for (url, service) in target.sockets() {
        for _ in 0..limits::CONNECTIONS_PER_USER {
            held.push(Raw::welcomed(&url, service, &token, &[]).await.0);
        }
        let mut one_more = Raw::connect(&url, service).await;
        one_more.send(hello(&token, &[])).await;
        let closed = timeout(ANSWER_WITHIN, one_more.closed()).await.context("one more is let in")?;
        ensure!(closed == Some(close::TOO_MANY), "{service}: one more was closed with {closed:?}");
    }
    Ok(format!("4006 above {}, on each service", limits::CONNECTIONS_PER_USER))
}

/// Floods from another address of this machine, so that the limits on an address do not cost the
/// honest client its connections.
pub async fn address(scene: Scene) -> Result<String> {
    let to = scene.target.address;
    let open = || connect_from(Ipv4Addr::new(127, 0, 0, 2), to);
    if descriptors() < 2 * limits::CONNECTIONS_PER_ADDRESS as u64 + 512 {
        return Ok(format!("only by its test: `ulimit -n` is {}", descriptors()));
    }
    let mut held = Vec::new();
    for _ in 0..limits::CONNECTIONS_PER_ADDRESS {
        held.push(open().await?);
    }
    let mut said = Vec::new();
    let mut one_more = open().await?;
    let ended = timeout(ANSWER_WITHIN, one_more.read_to_end(&mut said)).await.context("one more is let in")?;
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(ended.is_err() || said.starts_with("HTTP/1.1 429"), "one more hears {said:?}");
    scene.honest.edit(Honest::HOME).await.context("while the address is full")?;
    Ok(format!("429 above {}; other addresses have theirs", limits::CONNECTIONS_PER_ADDRESS))
}

fn descriptors() -> u64 {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default().to_owned();
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(0)
}

/// Floods with work that no rate limits: pings, requests without a valid token, refused commands.
/// Such work costs its sender as much as the service. The honest client must not notice the flood.
pub async fn refused(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let length = Duration::from_secs(2);
    let token = target.tokens.for_all("noise");
    let pings = async || -> Result<u64> {
        let (mut raw, _) = Raw::welcomed(&target.socket("gateway"), "gateway", &token, &[]).await;
        let (ping, begun, mut sent) = (request::Body::Ping(Ping { nonce: 1 }), Instant::now(), 0);
        while begun.elapsed() < length {
            raw.send_all(vec![ping.clone(); 64]).await;
            for _ in 0..64 {
                timeout(ANSWER_WITHIN, raw.next()).await?.map_err(|closed| anyhow::anyhow!("closed: {closed:?}"))?;
            }
            sent += 64;
        }
        Ok(sent)
    };
    let bad = async || -> Result<u64> {
        let (mut raw, _) = Raw::welcomed(&target.socket("ingest"), "ingest", &token, &[]).await;
        let (begun, mut sent) = (Instant::now(), 0);
        while begun.elapsed() < length {
            raw.send_all((1..=64).map(|seq| submit("canvas/3/3", seq, 0, vec![0xff; 20])).collect()).await;
            for _ in 0..64 {
                timeout(ANSWER_WITHIN, raw.next()).await?.map_err(|closed| anyhow::anyhow!("closed: {closed:?}"))?;
            }
            sent += 64;
        }
        Ok(sent)
    };
    let unsigned = async || -> Result<u64> {
        // From another address, because it has no more requests without a token for a while.
        let http = Http::from(Ipv4Addr::new(127, 0, 0, 2), format!("http://{}", target.address));
        let (begun, mut sent) = (Instant::now(), 0);
        while begun.elapsed() < length {
            ensure!(http.get("/v1/chunks/canvas/0/0", Some("eyJhbGciOiJIUzI1NiJ9.e30.AAAA")).await? == 401, "not 401");
            sent += 1;
        }
        Ok(sent)
    };
    let editing = async || -> Result<(usize, Duration)> {
        let (begun, mut edits, mut slowest) = (Instant::now(), 0, Duration::ZERO);
        while begun.elapsed() < length {
            slowest = slowest.max(scene.honest.edit(Honest::HOME).await?);
            edits += 1;
        }
        Ok((edits, slowest))
    };
    let (pings, bad, unsigned, editing) = tokio::join!(pings(), bad(), unsigned(), editing());
    let (edits, slowest) = editing?;
    Ok(format!(
        "meanwhile {edits} edits, the slowest {} ms; {} pings, {} bad commands, {} bad tokens",
        slowest.as_millis(),
        pings?,
        bad?,
        unsigned?
    ))
}

pub async fn chunks(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let before = target.memory();
    let token = target.tokens.for_all("explorer");
    let (mut raw, _) = Raw::welcomed(&target.socket("gateway"), "gateway", &token, &[]).await;
    let count = limits::TRACKED_CHUNKS_MAX + 1;
    let id = |i: usize| format!("things/{}/{}", i / 1000, i % 1000);
    let track = |i| request::Body::Track(Track { chunk_id: id(i), have: None });
    let (mut tracked, mut rejected) = (0, Vec::new());
    // The gateway rejects some of these chunks at once, and answers for the others after it has
    // looked in the store.
    flood(&mut raw, (0..count).map(track).collect(), "an answer to each", |body| {
        match body {
            event::Body::Tracked(_) => tracked += 1,
            event::Body::TrackRejected(no) => rejected.push(no.code()),
            _ => {}
        }
        (tracked + rejected.len() == count).then_some(())
    })
    .await?;
    ensure!(rejected == [TrackRejectCode::TooMany], "{tracked} chunks are tracked, and {rejected:?}");
    let grown = target.memory().saturating_sub(before);
    ensure!(grown < MEMORY_MAX, "{count} chunks that nobody has seen take {grown} bytes");
    Ok(format!("TOO_MANY after {tracked} chunks; {} KiB each", grown / 1024 / count as u64))
}
