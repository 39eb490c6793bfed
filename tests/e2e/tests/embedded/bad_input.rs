//! Messages that no proper client sends. Each message gets a specific refusal, and harms no other
//! client.

use driftless_client::Outcome;
use driftless_e2e_tests::edits::{chunk, put, set};
use driftless_e2e_tests::raw::{Raw, hello, submit};
use driftless_e2e_tests::scenarios::Neighbour;
use driftless_e2e_tests::stack::{Dev, Entrance, Stack};
use driftless_e2e_tests::wait::soon;
use driftless_schemas::proto::{
    Hello, ModelRevision, Ping, Pong, Refresh, RefusalCode, RejectCode, Renew, Request, Retry, Submit, Track,
    TrackRejectCode, event, request,
};
use driftless_schemas::{close, limits};
use prost::Message as _;
use tokio_tungstenite::tungstenite::protocol::Message;

fn urls(entrance: &Entrance) -> [(String, &'static str); 2] {
    [
        (format!("ws://{}/v1/ingest", entrance.ingests[0].address()), "ingest"),
        (format!("ws://{}/v1/gateway", entrance.gateways[0].address()), "gateway"),
    ]
}

fn binary(bytes: Vec<u8>) -> Message {
    Message::Binary(bytes.into())
}

/// Checks that the service still answers on this socket.
async fn lives_on(raw: &mut Raw, what: &str) {
    raw.send(request::Body::Ping(Ping { nonce: 42 })).await;
    let is_pong = |body: &event::Body| matches!(body, event::Body::Pong(Pong { nonce: 42 })).then_some(());
    raw.expect_next(&format!("a Pong after {what}"), is_pong).await;
}

async fn refused(raw: &mut Raw, what: &str, code: RefusalCode) {
    let find = |body: &event::Body| match body {
        event::Body::Refused(refused) => Some((refused.code(), refused.message.clone())),
        _ => None,
    };
    let (found, message) = raw.expect_next(&format!("a Refused for {what}"), find).await;
    assert_eq!(found, code, "{what}: {message}");
    assert!(!message.is_empty(), "{what}: people want to know why");
    lives_on(raw, what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_cannot_be_trusted_ends_its_own_socket_only() {
    let dev = Dev::embedded().await;
    let entrance = dev.entrance();
    let neighbour = Neighbour::moves_in(entrance, "canvas/0/0").await;
    let token = entrance.tokens.for_all("mallory");
    let oversize = vec![0; limits::CLIENT_FRAME_BYTES_MAX + 1];
    for (url, service) in urls(entrance) {
        for (what, message) in [
            ("garbage", binary(vec![0xff; 40])),
            ("half a frame", binary(vec![0x0a, 0x7f, 0x01])),
            ("text", Message::Text("{\"hello\": 1}".into())),
            ("an oversize frame", binary(oversize.clone())),
        ] {
            for is_welcome in [false, true] {
                let mut raw = match is_welcome {
                    true => Raw::welcomed(&url, service, &token, &[]).await.0,
                    false => Raw::connect(&url, service).await,
                };
                raw.send_message(message.clone()).await;
                assert_eq!(
                    raw.closed().await,
                    Some(close::FRAME_UNTRUSTED),
                    "{what} to {service}, welcome: {is_welcome}"
                );
            }
        }
    }
    neighbour.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_cannot_be_taken_ends_the_socket_with_its_reason() {
    let dev = Dev::embedded().await;
    let entrance = dev.entrance();
    let neighbour = Neighbour::moves_in(entrance, "canvas/0/0").await;
    let token = entrance.tokens.for_all("mallory");
    let expired = entrance.tokens.issue_at("mallory", &[], &["canvas/"], 3_700);
    // The forged token has the claims of another user and the old signature.
    let other = entrance.tokens.for_all("root");
    let forged: Vec<&str> =
        token.split('.').take(1).chain(other.split('.').skip(1).take(1)).chain(token.split('.').skip(2)).collect();
    let forged = forged.join(".");
    let session = |bytes: &[u8]| hello(&token, bytes);
    let model = |id: &str, revision| {
        let models = vec![ModelRevision { id: id.into(), revision }];
        request::Body::Hello(Hello { token: token.clone(), models, ..Hello::default() })
    };
    for (url, service) in urls(entrance) {
        for (what, body, code) in [
            ("an expired token", hello(&expired, &[]), close::TOKEN),
            ("a forged token", hello(&forged, &[]), close::TOKEN),
            ("no token", hello("", &[]), close::TOKEN),
            ("a token that is none", hello("a.b.c", &[]), close::TOKEN),
            ("an oversize token", hello(&"a".repeat(limits::TOKEN_BYTES_MAX + 1), &[]), close::TOKEN),
            ("a session of 3 bytes", session(&[1, 2, 3]), close::SESSION),
            ("a session from 1970", session(&[0; 16]), close::SESSION),
            ("a session from the future", session(&[0xff; 16]), close::SESSION),
            ("no model that the world has", model("voxels", 1), close::UPGRADE_NEEDED),
            ("a model of another revision", model("grid", 99), close::UPGRADE_NEEDED),
        ] {
            let mut raw = Raw::connect(&url, service).await;
            raw.send(body).await;
            assert_eq!(raw.closed().await, Some(code), "{what} to {service}");
        }
    }
    neighbour.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_command_is_rejected_by_name_and_its_socket_lives_on() {
    let mut dev = Dev::embedded().await;
    let entrance = dev.entrance();
    let neighbour = Neighbour::moves_in(entrance, "canvas/0/0").await;
    let token = entrance.tokens.issue("mallory", &["canvas/", "things/"], &["canvas/0/", "things/5/5"]);
    let [(url, service), _] = urls(entrance);
    let (mut raw, welcome) = Raw::welcomed(&url, service, &token, &[]).await;
    let good = || set(0, 1);
    let no_body = request::Body::Submit(Submit { chunk_id: "canvas/0/0".into(), seq: 9, after: 0, body: None });
    for (what, body, code) in [
        ("no chunk id", submit("", 1, 0, good()), RejectCode::BadChunkId),
        ("a path as chunk id", submit("canvas/../0", 1, 0, good()), RejectCode::BadChunkId),
        ("another spelling", submit("canvas/00/0", 1, 0, good()), RejectCode::BadChunkId),
        ("an oversize chunk id", submit(&format!("canvas/{}", "1".repeat(200)), 1, 0, good()), RejectCode::BadChunkId),
        ("an unknown family", submit("walls/0/0", 1, 0, good()), RejectCode::UnknownFamily),
        ("a chunk out of bounds", submit("canvas/0/1025", 1, 0, good()), RejectCode::OutOfBounds),
        ("a coordinate too many", submit("canvas/0/0/0", 1, 0, good()), RejectCode::OutOfBounds),
        ("no write access", submit("canvas/1/0", 1, 0, good()), RejectCode::NoWriteAccess),
        ("no write access beside a chunk", submit("things/5/55", 1, 0, put("a", "b")), RejectCode::NoWriteAccess),
        ("number 0", submit("canvas/0/0", 0, 0, good()), RejectCode::BadSeq),
        ("after itself", submit("canvas/0/0", 3, 3, good()), RejectCode::BadSeq),
        ("after a later one", submit("canvas/0/0", 3, 4, good()), RejectCode::BadSeq),
        (
            "an oversize command",
            submit("canvas/0/0", 1, 0, vec![0; limits::COMMAND_BYTES_MAX + 1]),
            RejectCode::CommandTooLarge,
        ),
        ("a value off the palette", submit("canvas/0/0", 1, 0, set(0, 256)), RejectCode::BadCommand),
        ("a cell out of range", submit("canvas/0/0", 2, 0, set(128 * 128, 1)), RejectCode::BadCommand),
        ("garbage", submit("canvas/0/0", 3, 0, vec![0xff; 20]), RejectCode::BadCommand),
        ("an empty command", submit("canvas/0/0", 4, 0, Vec::new()), RejectCode::BadCommand),
        ("another model's command", submit("things/5/5", 1, 0, vec![0xff, 1]), RejectCode::BadCommand),
        ("neither command nor settle", no_body, RejectCode::BadCommand),
    ] {
        let request::Body::Submit(sent) = body.clone() else { unreachable!() };
        raw.send(body).await;
        let find = |body: &event::Body| match body {
            event::Body::Rejected(rejected) => Some(rejected.clone()),
            _ => None,
        };
        let rejected = raw.expect_next(&format!("a Rejected for {what}"), find).await;
        assert_eq!((rejected.code(), rejected.retry()), (code, Retry::Final), "{what}: {}", rejected.message);
        assert_eq!((rejected.chunk_id, rejected.seq), (sent.chunk_id, sent.seq), "{what}");
        assert!(!rejected.message.is_empty(), "{what}: people want to know why");
        lives_on(&mut raw, what).await;
    }

    // A bad request in one message with good requests does not harm the good ones.
    raw.send_all(vec![
        submit("canvas/0/0", 10, 0, set(10, 1)),
        submit("canvas/0/0", 11, 10, set(10, 256)),
        submit("canvas/0/0", 12, 10, set(11, 2)),
    ])
    .await;
    let (mut receipts, mut rejected) = (Vec::new(), Vec::new());
    while receipts.len() < 2 || rejected.is_empty() {
        match raw.next().await {
            Ok(event::Body::Receipt(receipt)) => receipts.push(receipt.seq),
            Ok(event::Body::Rejected(no)) => rejected.push(no.seq),
            other => panic!("{other:?}"),
        }
    }
    receipts.sort_unstable();
    assert_eq!((receipts, rejected), (vec![10, 12], vec![11]));

    // Another command under a used number is rejected with a reason that says so. The same command
    // under its number is a resend, and is not decided again.
    raw.send(submit("canvas/0/0", 12, 10, set(11, 3))).await;
    let reused = raw.expect_next("a Rejected for a number used twice", |body| match body {
        event::Body::Rejected(rejected) => Some(rejected.code()),
        _ => None,
    });
    assert_eq!(reused.await, RejectCode::SeqReused);
    let receipted = |body: &event::Body| matches!(body, event::Body::Receipt(_)).then_some(());
    for resend in [submit("canvas/0/0", 12, 10, set(11, 2)), submit("canvas/0/0", 10, 0, set(10, 1))] {
        raw.send(resend).await;
        raw.expect_next("a Receipt for a resend", receipted).await;
    }
    // On another socket of the same session, ingest does not remember the numbers, and so
    // acknowledges both commands. The decider passes over them (R8).
    let (mut again, second) = Raw::welcomed(&url, service, &token, &welcome.session).await;
    assert_eq!(second.writer, welcome.writer);
    for late in [submit("canvas/0/0", 12, 10, set(11, 9)), submit("canvas/0/0", 11, 10, set(11, 9))] {
        again.send(late).await;
        again.expect_next("a Receipt for what will have no effect", receipted).await;
    }

    neighbour.is_unharmed().await;
    let history = dev.history().await;
    let id = chunk("canvas/0/0");
    assert_eq!(history.commits(&id, "mallory"), [set(10, 1), set(11, 2)], "R2: what was good, once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_cannot_be_followed_is_refused_by_name_and_its_socket_lives_on() {
    let dev = Dev::embedded().await;
    let entrance = dev.entrance();
    let neighbour = Neighbour::moves_in(entrance, "canvas/0/0").await;
    let token = entrance.tokens.issue("mallory", &["canvas/0/"], &[]);
    let track = |id: &str| request::Body::Track(Track { chunk_id: id.into(), have: None });
    let many = vec![request::Body::Ping(Ping { nonce: 1 }); limits::CLIENT_FRAME_REQUESTS_MAX + 1];
    for (url, service) in urls(entrance) {
        let (mut raw, _) = Raw::welcomed(&url, service, &token, &[]).await;
        raw.send(hello(&token, &[])).await;
        refused(&mut raw, "a second Hello", RefusalCode::HelloRepeated).await;
        // This frame is valid. Its only request has nothing but the unknown field 1000.
        raw.send_message(binary(vec![0x0a, 0x03, 0xc0, 0x3e, 0x01])).await;
        refused(&mut raw, "an unknown request", RefusalCode::Undecodable).await;
        raw.send(request::Body::Renew(Renew { token: entrance.tokens.for_all("somebody-else") })).await;
        refused(&mut raw, "another user's token", RefusalCode::Token).await;
        raw.send_all(many.clone()).await;
        refused(&mut raw, "too many requests", RefusalCode::Limit).await;
        let wrong = if service == "ingest" { track("canvas/0/0") } else { submit("canvas/0/0", 1, 0, set(0, 1)) };
        raw.send(wrong.clone()).await;
        refused(&mut raw, "the other service's request", RefusalCode::WrongService).await;
        let mut early = Raw::connect(&url, service).await;
        early.send(wrong).await;
        refused(&mut early, "a request before Hello", RefusalCode::HelloExpected).await;
    }

    let [_, (url, service)] = urls(entrance);
    let (mut raw, _) = Raw::welcomed(&url, service, &token, &[]).await;
    raw.send(request::Body::Refresh(Refresh { chunk_id: "canvas/0/0".into(), version: 0 })).await;
    refused(&mut raw, "a Refresh of what is not tracked", RefusalCode::NotTracked).await;
    for (id, code) in [
        ("canvas/+1/0", TrackRejectCode::BadChunkId),
        ("walls/0/0", TrackRejectCode::UnknownFamily),
        ("canvas/0/-1025", TrackRejectCode::OutOfBounds),
        ("canvas/1/0", TrackRejectCode::NoReadAccess),
    ] {
        raw.send(track(id)).await;
        let find = |body: &event::Body| match body {
            event::Body::TrackRejected(rejected) => Some((rejected.chunk_id.clone(), rejected.code())),
            _ => None,
        };
        assert_eq!(raw.expect_next(&format!("a TrackRejected for {id}"), find).await, (id.to_owned(), code));
        lives_on(&mut raw, id).await;
    }
    // A client with a read-only token can track a chunk, and cannot write.
    raw.send(track("canvas/0/0")).await;
    raw.expect_next("Tracked", |body| matches!(body, event::Body::Tracked(_)).then_some(())).await;
    let (client, replica) = entrance.follower("writer", &chunk("canvas/0/0")).await;
    let outcome = soon("an edit", replica.submit(set(3, 3)).unwrap()).await;
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    client.close();
    neighbour.is_unharmed().await;
}

/// Frames may be joined and empty, and a message may end between two requests
/// (docs/protocol.md#4-frames).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joined_and_empty_frames_are_frames() {
    let dev = Dev::embedded().await;
    let token = dev.entrance().tokens.for_all("ann");
    for (url, service) in urls(dev.entrance()) {
        let mut raw = Raw::connect(&url, service).await;
        let frame = |body| {
            driftless_schemas::proto::ClientFrame { requests: vec![Request { body: Some(body) }] }.encode_to_vec()
        };
        let joined = [frame(hello(&token, &[])), frame(request::Body::Ping(Ping { nonce: 7 }))].concat();
        raw.send_message(binary(Vec::new())).await;
        raw.send_message(binary(joined)).await;
        raw.expect_next("Welcome", |body| matches!(body, event::Body::Welcome(_)).then_some(())).await;
        raw.expect_next("Pong", |body| matches!(body, event::Body::Pong(Pong { nonce: 7 })).then_some(())).await;
    }
}
