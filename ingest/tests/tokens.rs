//! Tokens that ingest refuses, and what its log says about them.

mod scene;

use driftless_schemas::proto::{Renew, request};
use driftless_schemas::time::UnixMs;
use driftless_schemas::{WorldId, close};
use scene::*;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_world_without_an_id_takes_no_token_that_names_a_world() {
    let scene = Scene::new().await;
    let signer = scene.signer.clone().for_world(Some(WorldId([1; 16])));
    let token = signer.issue("ann", &access(), UnixMs(now_ms()), 60).unwrap();
    let mut refused = scene.socket().await;
    refused.send([hello(token.clone())]).await;
    assert_eq!(refused.closed().await, close::TOKEN);
    let answer = reqwest::Client::new().post(scene.url("/v1/sessions")).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let problem: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], "urn:driftless:problem:token_other_world");
    assert!(problem["detail"].as_str().unwrap().contains("driftless init --update"), "{problem}");
}

#[tokio::test]
async fn every_way_in_logs_a_refused_token_and_never_the_token_itself() {
    let scene = Scene::new().await;
    let (mut open, _) = scene.greeted("ann").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");

    let writer = Arc::new(std::fs::File::create(&file).unwrap());
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(writer);
    let guard = tracing::subscriber::set_default(log.finish());
    let logged = || std::fs::read_to_string(&file).unwrap();
    let mut sent = Vec::new();
    for way in ["hello", "renew", "session", "commands"] {
        let token = scene.forger.issue(way, &access(), UnixMs(now_ms()), 60).unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        // The log has one line a second, so the token is sent until it gets that line.
        while !logged().contains(&format!("sub_unverified=\"{way}\"")) {
            assert!(tokio::time::Instant::now() < deadline, "no line about {way}: {}", logged());
            let status = async |path: &str| {
                let request = reqwest::Client::new().post(scene.url(path)).bearer_auth(&token);
                request.send().await.unwrap().status()
            };
            match way {
                "hello" => {
                    let mut refused = scene.socket().await;
                    refused.send([hello(token.clone())]).await;
                    assert_eq!(refused.closed().await, close::TOKEN);
                }
                "renew" => open.send([request::Body::Renew(Renew { token: token.clone() })]).await,
                "session" => assert_eq!(status("/v1/sessions").await, 401),
                _ => assert_eq!(status("/v1/chunks/canvas/0/1/commands").await, 401),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sent.push(token);
    }
    drop(guard);
    let log = logged();
    for line in log.lines().filter(|line| line.contains("refused a token")) {
        assert!(line.contains("peer=127.0.0.1") && line.contains("token_forged"), "{line}");
    }
    for part in sent.iter().flat_map(|token| token.split('.')) {
        assert!(!log.contains(&part[..16]), "a part of a token is in the log: {log}");
    }
}
