//! Actions that a valid token does not allow.

use super::Scene;
use crate::wire::ANSWER_WITHIN;
use anyhow::{Context as _, Result, bail, ensure};
use driftless_e2e_tests::edits::set;
use driftless_e2e_tests::raw::{Raw, submit};
use driftless_schemas::proto::{RejectCode, Track, TrackRejectCode, event, request};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const CHUNK: &str = "canvas/3/3";

async fn answer(raw: &mut Raw) -> Result<event::Body> {
    match timeout(ANSWER_WITHIN, raw.next()).await.context("no answer")? {
        Ok(body) => Ok(body),
        Err(closed) => bail!("closed with {closed:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub async fn as_another(scene: Scene) -> Result<String> {
    let (target, http) = (&*scene.target, scene.target.http());
    let (ann, mallory) = (target.tokens.for_all("ann"), target.tokens.for_all("mallory"));
    let url = target.socket("ingest");
    let (mut anns, welcome) = Raw::welcomed(&url, "ingest", &ann, &[]).await;
    // Mallory has seen Ann's session in transit, and uses the session with the next number.
    let (mut thief, stolen) = Raw::welcomed(&url, "ingest", &mallory, &welcome.session).await;
    ensure!(stolen.session == welcome.session, "the session was not taken at all");
    ensure!(stolen.writer != welcome.writer, "a session makes the same writer in another user's hands");
    thief.send(submit(CHUNK, 1, 0, set(7, 7))).await;
    ensure!(matches!(answer(&mut thief).await?, event::Body::Receipt(_)), "no receipt");
    let status = async |token: &str, seq: u64| -> Result<Value> {
        let path = format!("/v1/chunks/{CHUNK}/commands/{}/{seq}", hex(&welcome.session));
        Ok(http.ask(Method::GET, &path, Some(token), &[], Vec::new()).await?.json().await?)
    };
    let decided = async |token: &str, seq: u64| -> Result<()> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        while status(token, seq).await?["status"] != "committed" {
            ensure!(Instant::now() < deadline, "not committed");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    decided(&mallory, 1).await?;
    // Ann's number 1 must still be free, so that her command is decided.
    let hers = status(&ann, 1).await?;
    ensure!(hers["status"] == "unresolved", "ann's command is {hers} after mallory's");
    anns.send(submit(CHUNK, 1, 0, set(8, 8))).await;
    ensure!(matches!(answer(&mut anns).await?, event::Body::Receipt(_)), "ann's number was taken away");
    decided(&ann, 1).await?;
    anns.send(submit(CHUNK, 2, 1, set(9, 9))).await;
    decided(&ann, 2).await?;
    let his = status(&mallory, 2).await?;
    ensure!(his["status"] == "unresolved", "mallory is told of ann's command: {his}");
    Ok("a session in other hands is another writer: own numbers, own outcomes".into())
}

pub async fn write(scene: Scene) -> Result<String> {
    let (target, http) = (&*scene.target, scene.target.http());
    let reader = target.tokens.issue("mallory", &["canvas/"], &["canvas/1/"]);
    let (mut raw, welcome) = Raw::welcomed(&target.socket("ingest"), "ingest", &reader, &[]).await;
    let foreign = ["canvas/0/0", "canvas/11/0", "canvas/-1/0", "things/1/1"];
    for id in foreign {
        raw.send(submit(id, 1, 0, set(0, 1))).await;
        let rejected = answer(&mut raw).await?;
        let is_it = matches!(&rejected, event::Body::Rejected(no) if no.code() == RejectCode::NoWriteAccess);
        ensure!(is_it, "{id}: {rejected:?}");
        let command =
            json!({"session": hex(&welcome.session), "seq": 1, "command": {"set": [{"x": 0, "y": 0, "value": 1}]}});
        let (status, body) =
            http.post(&format!("/v1/chunks/{id}/commands"), Some(&reader), command.to_string().into_bytes()).await?;
        ensure!(status == 403, "{id} over HTTP: {status} {body}");
    }
    let command =
        json!({"session": hex(&welcome.session), "seq": 1, "command": {"set": [{"x": 0, "y": 0, "value": 1}]}});
    let (status, body) =
        http.post("/v1/chunks/canvas/1/0/commands", Some(&reader), command.to_string().into_bytes()).await?;
    ensure!(status == 202, "what the token may write is refused, too: {status} {body}");
    Ok(format!("{} chunks by websocket and HTTP: NO_WRITE_ACCESS", foreign.len()))
}

pub async fn read(scene: Scene) -> Result<String> {
    let (target, http) = (&*scene.target, scene.target.http());
    let token = target.tokens.issue("mallory", &["canvas/1/"], &[]);
    let (mut raw, welcome) = Raw::welcomed(&target.socket("gateway"), "gateway", &token, &[]).await;
    let foreign = ["canvas/0/0", "canvas/11/0", "things/1/1"];
    for id in foreign {
        raw.send(request::Body::Track(Track { chunk_id: id.into(), have: None })).await;
        let rejected = answer(&mut raw).await?;
        let is_it = matches!(&rejected, event::Body::TrackRejected(no) if no.code() == TrackRejectCode::NoReadAccess);
        ensure!(is_it, "{id}: {rejected:?}");
        let session = hex(&welcome.session);
        let suffixes = [
            String::new(),
            ".json".into(),
            ".bin".into(),
            ".png".into(),
            "/events".into(),
            format!("/commands/{session}/1"),
        ];
        for suffix in suffixes {
            let status = http.get(&format!("/v1/chunks/{id}{suffix}"), Some(&token)).await?;
            ensure!(status == 403, "GET {id}{suffix}: {status}");
        }
        // The event stream itself says for each chunk whether the token may read the chunk.
        let stream = http.ask(Method::GET, &format!("/v1/events?chunks={id}"), Some(&token), &[], Vec::new()).await?;
        if stream.status().is_success() {
            let mut stream = stream;
            let mut text = String::new();
            while !text.contains("no_read_access") && !text.contains("NO_READ_ACCESS") {
                ensure!(!text.contains("chunk\ndata"), "a stream of {id} sends: {text}");
                let part = timeout(ANSWER_WITHIN, stream.chunk())
                    .await
                    .with_context(|| format!("a stream says only {text}"))??;
                text.push_str(&String::from_utf8_lossy(&part.context("the stream ended")?));
            }
        }
        for path in [format!("/v1/chunks/{id}"), format!("/v1/chunks/{id}/events")] {
            let status = http.get(&path, None).await?;
            ensure!(status == 401, "GET {path} without a token: {status}");
        }
    }
    let status = http.get("/v1/chunks/canvas/1/0", Some(&token)).await?;
    ensure!(status == 200, "what the token may read is refused, too: {status}");
    Ok(format!("{} chunks, each 8 ways: 403 or NO_READ_ACCESS; 401 without a token", foreign.len()))
}
