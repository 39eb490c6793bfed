//! Tokens that a gateway refuses, and what its log says about them.

mod scene;

use driftless_auth::{KeyKind, Signer, generate_key};
use driftless_runtime::clock::unix_now;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{Renew, request};
use driftless_schemas::{WorldId, close};
use scene::*;
use std::sync::Arc;
use std::time::Duration;

const C: &str = "canvas/0/0";

fn issue(signer: &Signer, sub: &str) -> String {
    let access = Access { read: vec!["canvas/".into()], ..Access::default() };
    signer.issue(sub, &access, unix_now(), 3600).unwrap()
}

#[tokio::test]
async fn a_token_of_another_world_opens_nothing() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    let token = |world| issue(&town.signer.clone().for_world(world), "ann");
    let other = Some(WorldId([2; 16]));
    for (world, status) in [(None, 200), (town.world.id(), 200), (other, 401)] {
        let answer = running.http(&format!("/v1/chunks/{C}?token={}", token(world)), &[]).await;
        assert_eq!(answer.status, status, "{world:?}");
    }
    let mut refused = running.socket().await;
    refused.send([hello(&token(other))]).await;
    assert_eq!(refused.closed().await, close::TOKEN);
    running.greeted(&token(town.world.id())).await;
}

#[tokio::test]
async fn every_way_in_logs_a_refused_token_and_never_the_token_itself() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("log"), folder.path().join("key"));
    generate_key(&key, KeyKind::Secret).unwrap();
    let forger = Signer::from_file(&key).unwrap();
    let mut open = running.greeted(&town.token("ann")).await;

    let writer = Arc::new(std::fs::File::create(&file).unwrap());
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(writer);
    let guard = tracing::subscriber::set_default(log.finish());
    let logged = || std::fs::read_to_string(&file).unwrap();
    let mut sent = Vec::new();
    for way in ["hello", "renew", "content", "events", "several"] {
        let token = issue(&forger, way);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        // The log has one line a second, so the token is sent until it gets that line.
        while !logged().contains(&format!("sub_unverified=\"{way}\"")) {
            assert!(tokio::time::Instant::now() < deadline, "no line about {way}: {}", logged());
            let status = async |path: String| running.http(&path, &[]).await.status;
            match way {
                "hello" => {
                    let mut refused = running.socket().await;
                    refused.send([hello(&token)]).await;
                    assert_eq!(refused.closed().await, close::TOKEN);
                }
                "renew" => open.send([request::Body::Renew(Renew { token: token.clone() })]).await,
                "content" => assert_eq!(status(format!("/v1/chunks/{C}?token={token}")).await, 401),
                "events" => assert_eq!(status(format!("/v1/chunks/{C}/events?token={token}")).await, 401),
                _ => assert_eq!(status(format!("/v1/events?chunks={C}&token={token}")).await, 401),
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
