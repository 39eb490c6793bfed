//! Tests of a whole ingest service over HTTP.

mod scene;

use driftless_ingest::{Policy, Settings};
use driftless_log::memory::MemoryLog;
use driftless_runtime::telemetry::Metrics;
use driftless_schemas::proto::request;
use driftless_schemas::{Offset, SessionId, limits, proto};
use prost::Message as _;
use reqwest::header::HeaderValue;
use scene::*;
use serde_json::{Value, json};
use std::sync::Arc;

struct Browser {
    scene: Scene,
    client: reqwest::Client,
    token: String,
}

impl Browser {
    async fn new(settings: Settings) -> Self {
        let scene = Scene::with(settings, Arc::new(MemoryLog::new())).await;
        let token = scene.token("ann");
        Self { scene, client: reqwest::Client::new(), token }
    }

    async fn post(&self, path: &str, token: Option<&str>, content_type: &str, body: Vec<u8>) -> (u16, Value) {
        let mut request = self.client.post(self.scene.url(path)).header("content-type", content_type).body(body);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let expected = if status < 300 { "application/json" } else { "application/problem+json" };
        assert_eq!(kind, expected, "{status}: {body}");
        (status, body)
    }

    async fn json(&self, path: &str, body: Value) -> (u16, Value) {
        self.post(path, Some(&self.token), "application/json", body.to_string().into_bytes()).await
    }

    async fn session(&self) -> String {
        let (status, new) = self.json("/v1/sessions", json!({})).await;
        assert_eq!(status, 201);
        new["session"].as_str().unwrap().to_owned()
    }
}

fn set(cell: u32, value: u32) -> Value {
    let command = cell_command(cell, value);
    let world = world();
    let model = &world.families()[0].model;
    model.command_to_json(&command).unwrap()
}

const COMMANDS: &str = "/v1/chunks/canvas/0/1/commands";

#[tokio::test]
async fn a_session_and_a_command_by_json() {
    let browser = Browser::new(Settings::default()).await;
    let (status, new) = browser.post("/v1/sessions", Some(&browser.token), "application/json", vec![]).await;
    assert_eq!(status, 201, "{new}");
    let session: SessionId = new["session"].as_str().unwrap().parse().unwrap();
    assert_eq!(new["writer"], session.writer("ann").to_string());
    assert_eq!(new["expires_at_ms"], session.time_ms() + limits::SESSION_AGE_MAX_MS);

    let body = json!({"session": session, "seq": 1, "after": 0, "command": set(5, 7)});
    let (status, accepted) = browser.json(COMMANDS, body.clone()).await;
    assert_eq!(status, 202, "{accepted}");
    let (record, command) = browser.scene.records("canvas/0/1").await.pop().unwrap();
    assert_eq!(accepted["offset"], record.offset.0);
    let partition = browser.scene.world.place(&"canvas/0/1".parse().unwrap()).unwrap().partition;
    assert_eq!((&accepted["partition"], &accepted["seq"]), (&json!(partition), &json!(1)));
    let Some(proto::command_record::Body::Command(command)) = command.body else { panic!("no command") };
    assert_eq!(command.body, Some(proto::command::Body::Command(cell_command(5, 7).into())));
    assert_eq!(command.writer, session.writer("ann").to_bytes());

    // A resend is safe: ingest appends the command to the log again, and the replayer decides it
    // only once (R8).
    assert_eq!(browser.json(COMMANDS, body).await.0, 202);
    let (status, _) = browser.json(COMMANDS, json!({"session": session, "seq": 2, "settle": true})).await;
    assert_eq!(status, 202);
    assert_eq!(browser.scene.count().await, 3);
}

#[tokio::test]
async fn a_command_by_protobuf_and_a_token_in_the_query() {
    let browser = Browser::new(Settings::default()).await;
    let session = browser.session().await;
    let submit = proto::Submit { seq: 1, body: cell(5, 7), ..Default::default() }.encode_to_vec();
    let path = format!("{COMMANDS}?session={session}&token={}", browser.token);
    let (status, accepted) = browser.post(&path, None, "application/x-protobuf", submit.clone()).await;
    assert_eq!((status, &accepted["offset"]), (202, &json!(Offset(0))));
    let response = browser
        .client
        .post(browser.scene.url(COMMANDS))
        .header("authorization", format!("Bearer {}", browser.token))
        .header("content-type", "application/x-protobuf")
        .header("driftless-session", session)
        .body(submit)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    let other = proto::Submit { chunk_id: "canvas/0/2".into(), seq: 2, body: settle(), ..Default::default() };
    let (status, problem) = browser.post(&path, None, "application/x-protobuf", other.encode_to_vec()).await;
    assert_eq!((status, &problem["type"]), (400, &json!("urn:driftless:problem:bad_body")));
}

#[tokio::test]
async fn every_wrong_request_is_a_problem_with_a_name() {
    let browser = Browser::new(Settings::default()).await;
    let session = browser.session().await;
    let old = SessionId::new(now_ms() as u64 - limits::SESSION_AGE_MAX_MS - 10_000, [1; 10]);
    let item = |seq: u64, after: u64, command: Value| json!({"session": session, "seq": seq, "after": after, "command": command});
    let good = || item(1, 0, set(5, 7));
    for (path, body, status, name) in [
        ("/v1/chunks/canvas/01/1/commands", good(), 400, "bad_chunk_id"),
        ("/v1/chunks/town/0/1/commands", good(), 404, "unknown_family"),
        ("/v1/chunks/canvas/0/2000/commands", good(), 404, "out_of_bounds"),
        ("/v1/chunks/canvas/9/1/commands", good(), 403, "no_write_access"),
        (COMMANDS, item(0, 0, set(5, 7)), 422, "bad_seq"),
        (COMMANDS, item(1, 0, json!({"paint": "red"})), 422, "bad_command"),
        (COMMANDS, json!({"session": old, "seq": 1, "settle": true}), 400, "bad_session"),
        (COMMANDS, json!({"seq": 1, "settle": true}), 400, "session_missing"),
        (COMMANDS, json!({"session": session, "seq": 1}), 400, "bad_body"),
        (COMMANDS, json!({"session": "x", "seq": 1, "settle": true}), 400, "bad_body"),
        (COMMANDS, json!({"session": session, "seq": 1, "settle": true, "sql": ""}), 400, "bad_body"),
        (COMMANDS, json!([]), 400, "bad_body"),
        ("/v1/chunks/canvas/0/1/events", good(), 404, "not_found"),
        ("/v1/chunks/canvas/0/1.png/commands", good(), 404, "not_found"),
    ] {
        let (found, problem) = browser.json(path, body).await;
        assert_eq!((found, &problem["type"]), (status, &json!(format!("urn:driftless:problem:{name}"))), "{problem}");
        assert_eq!(problem["status"], status);
    }
    let too_large = vec![b' '; limits::CLIENT_FRAME_BYTES_MAX + 1];
    let expired =
        browser.scene.signer.issue("ann", &access(), driftless_schemas::time::UnixMs(now_ms() - 120_000), 60).unwrap();
    let forged = browser.scene.forger.issue("ann", &access(), driftless_schemas::time::UnixMs(now_ms()), 60).unwrap();
    let body = good().to_string().into_bytes();
    let token = browser.token.as_str();
    for (token, kind, body, status, name) in [
        (None, "application/json", body.clone(), 401, "token_missing"),
        (Some(expired.as_str()), "application/json", body.clone(), 401, "token_expired"),
        (Some(forged.as_str()), "application/json", body.clone(), 401, "token_forged"),
        (Some("x"), "application/json", body.clone(), 401, "token_malformed"),
        (Some(token), "text/plain", body, 415, "unsupported_media_type"),
        (Some(token), "application/json", b"{".to_vec(), 400, "bad_body"),
        (Some(token), "application/json", too_large, 413, "body_too_large"),
    ] {
        let (found, problem) = browser.post(COMMANDS, token, kind, body).await;
        assert_eq!((found, &problem["type"]), (status, &json!(format!("urn:driftless:problem:{name}"))), "{problem}");
    }
    let response = browser.client.get(browser.scene.url(COMMANDS)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &HeaderValue::from_static("POST")));
    assert_eq!(browser.scene.count().await, 0);
}

/// Each command of a JSON array has its own outcome in the answer.
#[tokio::test]
async fn an_array_has_an_outcome_for_each() {
    let policy = Policy { commands_per_second: 1, commands_burst: 8, ..Policy::default() };
    let browser = Browser::new(Settings { policy, ..Settings::default() }).await;
    let session = browser.session().await;
    let item = |seq: u64, command: Value| json!({"session": session, "seq": seq, "after": seq - 1, "command": command});
    let (status, all) = browser.json(COMMANDS, json!([item(1, set(1, 1)), item(2, set(2, 2))])).await;
    assert_eq!(status, 202);
    let seqs: Vec<_> = all["results"].as_array().unwrap().iter().map(|result| result["seq"].clone()).collect();
    assert_eq!(seqs, [json!(1), json!(2)]);

    let outcomes = |answer: &Value| -> Vec<(Value, Value)> {
        answer["results"].as_array().unwrap().iter().map(|r| (r["status"].clone(), r["retry"].clone())).collect()
    };
    let body = json!([item(3, set(3, 3)), item(3, set(4, 4)), item(4, json!("x"))]);
    let (status, some) = browser.json(COMMANDS, body).await;
    assert_eq!(status, 207);
    let expected = [(json!(202), Value::Null), (json!(409), json!("final")), (json!(422), json!("final"))];
    assert_eq!(outcomes(&some), expected);

    // Far more commands than the burst, because the rate allows one more for each second that the
    // test takes.
    let many: Vec<_> = (4..500).map(|seq| item(seq, set(5, 5))).collect();
    let (status, some) = browser.json(COMMANDS, json!(many)).await;
    assert_eq!(status, 207);
    let taken = outcomes(&some).into_iter().take_while(|outcome| *outcome == (json!(202), Value::Null)).count();
    assert!(taken < many.len(), "the last of {} was within a burst of 8", many.len());
    assert_eq!(outcomes(&some)[taken], (json!(429), json!("after")));
    assert!(some["results"][taken]["retry_after_ms"].as_u64().unwrap() > 0);
}

/// Each command of a well-formed `ClientFrame` has its own outcome. A malformed frame is refused,
/// and none of its commands reaches the log.
#[tokio::test]
async fn a_frame_has_an_outcome_for_each_and_is_refused_as_a_whole_where_it_is_not_well_formed() {
    let browser = Browser::new(Settings::default()).await;
    let path = format!("{COMMANDS}?session={}", browser.session().await);
    let submit = |seq: u64, body| proto::Submit { seq, after: seq.saturating_sub(1), body, ..Default::default() };
    let frame = |bodies: Vec<request::Body>| {
        let requests = bodies.into_iter().map(|body| proto::Request { body: Some(body) }).collect();
        proto::ClientFrame { requests }.encode_to_vec()
    };
    let post = async |kind: &str, body: Vec<u8>| browser.post(&path, Some(&browser.token), kind, body).await;
    let kind = "application/x-protobuf; proto=driftless.v1.ClientFrame";
    let three = [submit(1, cell(5, 7)), submit(2, cell(6, 7)), submit(0, cell(7, 7))].map(request::Body::Submit);
    let (status, answer) = post(kind, frame(three.to_vec())).await;
    let statuses: Vec<_> = answer["results"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!((status, statuses), (207, vec![json!(202), json!(202), json!(422)]), "{answer}");
    assert_eq!(browser.scene.count().await, 2);
    // A frame with a single command is answered with an array too.
    let (status, answer) = post(kind, frame(vec![request::Body::Submit(submit(3, cell(5, 8)))])).await;
    assert_eq!((status, &answer["results"][0]["seq"]), (202, &json!(3)));

    let good = request::Body::Submit(submit(4, cell(5, 7)));
    let ping = request::Body::Ping(proto::Ping { nonce: 1 });
    let elsewhere = proto::Submit { chunk_id: "canvas/0/2".into(), ..submit(5, cell(5, 7)) };
    let many = vec![good.clone(); limits::HTTP_COMMANDS_MAX + 1];
    for (kind, body, status, name, says) in [
        (kind, frame(vec![good.clone(), ping]), 400, "bad_body", "request 1 of the frame"),
        (kind, frame(vec![good.clone(), request::Body::Submit(elsewhere)]), 400, "bad_body", "command 1 of the frame"),
        (kind, frame(vec![]), 400, "bad_body", "0 commands"),
        (kind, frame(many), 400, "bad_body", "1025 commands"),
        (kind, vec![0xff], 400, "bad_body", "ClientFrame"),
        (
            "application/x-protobuf; proto=driftless.v1.Hello",
            vec![],
            415,
            "unsupported_media_type",
            "driftless.v1.Submit",
        ),
    ] {
        let (found, problem) = post(kind, body).await;
        assert_eq!((found, &problem["type"]), (status, &json!(format!("urn:driftless:problem:{name}"))), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    }
    assert_eq!(browser.scene.count().await, 3, "nothing of those");
}

#[tokio::test]
async fn the_metrics_of_ingest_count_what_it_did_and_name_no_user_and_no_chunk() {
    let metrics = Metrics::install().unwrap();
    let scene = Scene::new().await;
    let client = reqwest::Client::new();
    let session = SessionId::new(now_ms() as u64, [1; 10]);
    for seq in [1, 0] {
        let body = json!({"session": session, "seq": seq, "settle": true}).to_string();
        let url = scene.url(&format!("{COMMANDS}?token={}", scene.token("ann")));
        client.post(url).body(body).send().await.unwrap();
    }
    let text = metrics.render();
    for line in [
        "# HELP driftless_ingest_receipts_total",
        "driftless_ingest_produced_total",
        "driftless_ingest_rejected_total{code=\"bad_seq\"}",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert!(!text.contains("canvas") && !text.contains("ann\""), "a label has unbounded values: {text}");
}
