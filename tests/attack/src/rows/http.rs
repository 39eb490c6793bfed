//! Malformed HTTP requests, and pages of other origins.

use super::Scene;
use crate::wire::{Socket, exchange};
use anyhow::{Context as _, Result, ensure};
use driftless_e2e_tests::edits::set;
use driftless_e2e_tests::raw::{Raw, hello, submit};
use driftless_schemas::limits;
use driftless_schemas::proto::{Track, event, request};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

/// The silence after which the test expects no more bytes.
const QUIET: Duration = Duration::from_millis(700);
/// The limit on the length of the answer to one GET of a canvas, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

pub async fn bodies(scene: Scene) -> Result<String> {
    let (http, token) = (scene.target.http(), scene.target.tokens.for_all("mallory"));
    // The gzip encoding of 10 MiB of spaces has about 10 KB. The service must count these 10 KB,
    // and must never decompress them.
    let bomb = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0; 5000]].concat();
    for encoding in ["gzip", "zstd", "br", "deflate"] {
        let headers = [("content-encoding", encoding), ("content-type", "application/json")];
        let answer = http.ask(Method::POST, "/v1/sessions", Some(&token), &headers, bomb.clone()).await?;
        ensure!(answer.status() == 400 || answer.status() == 415, "{encoding}: {}", answer.status());
    }
    let large = vec![b' '; limits::CLIENT_FRAME_BYTES_MAX + 1];
    let (status, _) = http.post("/v1/sessions", Some(&token), large).await?;
    ensure!(status == 413, "a body that is too large: {status}");
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let (status, _) = http.post("/v1/chunks/canvas/3/3/commands", Some(&token), deep).await?;
    ensure!(status == 400, "JSON that is 100,000 levels deep: {status}");
    let mut largest = 0;
    for suffix in ["", ".json", ".png", ".bin"] {
        let answer =
            http.ask(Method::GET, &format!("/v1/chunks/canvas/0/0{suffix}"), Some(&token), &[], Vec::new()).await?;
        ensure!(answer.status() == 200, "GET {suffix}: {}", answer.status());
        largest = largest.max(answer.bytes().await?.len());
    }
    ensure!(largest < ANSWER_BYTES_MAX, "an answer of {largest} bytes");
    Ok(format!("no encoding is undone, 413 above 256 KiB; the largest form of a canvas has {largest} bytes"))
}

pub async fn chunk_ids(scene: Scene) -> Result<String> {
    let (http, token) = (scene.target.http(), scene.target.tokens.for_all("mallory"));
    let (mut raw, _) = Raw::welcomed(&scene.target.socket("gateway"), "gateway", &token, &[]).await;
    let long = format!("canvas/{}", "1".repeat(limits::CHUNK_ID_BYTES_MAX));
    let bad = [
        "",
        "canvas",
        "canvas/",
        "canvas/0/0/0/0",
        "canvas/0/1025",
        "canvas/99999999999999999999/0",
        "canvas/00/0",
        "canvas/-0/0",
        "canvas/0/0\n",
        "canvas/0/0\0",
        "canvas/../0",
        "/etc/passwd",
        "Canvas/0/0",
        "canvas/０/0",
        "walls/0/0",
        &long,
    ];
    for id in bad {
        raw.send(request::Body::Track(Track { chunk_id: id.into(), have: None })).await;
        let answer = timeout(crate::wire::ANSWER_WITHIN, raw.next()).await.context("no answer")?;
        ensure!(matches!(answer, Ok(event::Body::TrackRejected(_))), "{id:?}: {answer:?}");
    }
    for path in [
        "canvas/0/1025",
        "canvas/00/0",
        "canvas/..%2f0",
        "canvas/0%2f0%0a",
        "canvas/%00/0",
        "walls/0/0",
        &long,
        "%2e%2e/%2e%2e/etc/passwd",
    ] {
        let status = http.get(&format!("/v1/chunks/{path}"), Some(&token)).await?;
        ensure!(status == 400 || status == 404, "GET {path}: {status}");
    }
    Ok(format!("{} ids by websocket, 8 by HTTP: rejected by name", bad.len()))
}

/// Attacks with names that contain line ends. Every line of the log must still begin with a time
/// stamp, which shows that no line is forged.
pub async fn log_injection(scene: Scene) -> Result<String> {
    const EVIL: &str = "x\r\n2026-01-01T00:00:00.000000Z ERROR forged: the-forged-line\u{1b}[31m\u{85}\u{2028}\u{7}";
    let target = &*scene.target;
    let claims = json!({"sub": EVIL, "jti": EVIL, "driftless": {"read": ["canvas/", EVIL], "write": ["canvas/"], "roles": [EVIL]}});
    let token = target.token_with(&claims)?;
    let (unsigned, signature) = token.rsplit_once('.').context("a token has a signature")?;
    let forged = format!("{unsigned}.{}", signature.chars().rev().collect::<String>());
    for (url, service) in target.sockets() {
        let (mut raw, _) = Raw::welcomed(&url, service, &token, &[]).await;
        raw.send(submit(EVIL, 1, 0, set(0, 1))).await;
        raw.send(request::Body::Track(Track { chunk_id: EVIL.into(), have: None })).await;
        raw.send(hello(EVIL, EVIL.as_bytes())).await;
        // The service logs the name in a refused token, too, forged or not.
        for token in [EVIL, &forged] {
            let mut refused = Raw::connect(&url, service).await;
            refused.send(hello(token, EVIL.as_bytes())).await;
            let _ = timeout(crate::wire::ANSWER_WITHIN, refused.closed()).await;
        }
        drop(raw);
    }
    // A command of this user also brings the name to the decider.
    let (mut raw, _) = Raw::welcomed(&target.socket("ingest"), "ingest", &token, &[]).await;
    raw.send(submit("canvas/3/3", 1, 0, set(1, 1))).await;
    timeout(crate::wire::ANSWER_WITHIN, raw.next())
        .await
        .context("no receipt")?
        .map_err(|e| anyhow::anyhow!("closed: {e:?}"))?;
    let encoded: String = EVIL.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for path in [
        format!("/v1/chunks/{encoded}"),
        format!("/{encoded}?token={encoded}"),
        format!("/v1/chunks/canvas/0/0?token={encoded}"),
    ] {
        target.http().get(&path, Some(&token)).await?;
    }
    let raw_lines = [
        "GET / HTTP/1.1\r\nHost: x\r\nX: a\u{1b}[31mthe-forged-line\r\n\r\n",
        "the-forged-line\u{1b}[31m\n\n\n",
        "GET /v1/\u{1b}[31mthe-forged-line HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v1/gateway HTTP/1.1\r\nHost: x\r\nOrigin: the-forged-line\u{1b}\r\n\r\n",
    ];
    for bytes in raw_lines {
        exchange(target.address, bytes.as_bytes(), QUIET).await?;
    }
    let log = target.log()?;
    let text = String::from_utf8_lossy(&log);
    let mut ready = 0;
    for line in text.lines() {
        ready += usize::from(line.starts_with('{'));
        let begins =
            line.starts_with('{') || line.get(..5).is_some_and(|year| year.ends_with('-') && year.starts_with("20"));
        ensure!(begins, "a line of the log begins with {:?}", line.chars().take(80).collect::<String>());
        ensure!(!line.contains(" ERROR forged:") || !line.starts_with("2026-01-01"), "a forged line: {line:?}");
    }
    ensure!(ready == 1, "{ready} lines of JSON where there is one");
    ensure!(!text.contains(['\u{1b}', '\u{7}']), "an escape is in the log");
    // The one line of JSON is no log: it has a link with a token, for the person at the terminal.
    let logged: Vec<&str> = text.lines().filter(|line| !line.starts_with('{')).collect();
    for part in token.split('.').chain(forged.rsplit('.').take(1)) {
        let with_it = logged.iter().find(|line| line.contains(&part[..16.min(part.len())]));
        ensure!(with_it.is_none(), "a part of a token is in the log: {with_it:?}");
    }
    let escaped = text.lines().filter(|line| line.contains("the-forged-line")).count();
    Ok(format!(
        "{} lines of the log at debug: each begins as one, no escapes; {escaped} repeat what was sent",
        text.lines().count()
    ))
}

pub async fn smuggling(scene: Scene) -> Result<String> {
    let address = scene.target.address;
    // The service must never answer the bytes behind the attacking request as a separate request.
    const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let len = HIDDEN.len();
    let post = |headers: &str, body: &str| format!("POST /v1/sessions HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}");
    let attacks = [
        ("two lengths", post(&format!("Content-Length: 0\r\nContent-Length: {len}\r\n"), HIDDEN)),
        ("two lengths in one", post(&format!("Content-Length: 0, {len}\r\n"), HIDDEN)),
        ("a signed length", post("Content-Length: +0\r\n", HIDDEN)),
        (
            "length and chunks",
            post(
                &format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", len + 5),
                &format!("0\r\n\r\n{HIDDEN}"),
            ),
        ),
        (
            "chunks and length",
            post(
                &format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", len + 5),
                &format!("0\r\n\r\n{HIDDEN}"),
            ),
        ),
        ("an encoding that is none", post("Transfer-Encoding: xchunked\r\n", &format!("0\r\n\r\n{HIDDEN}"))),
        ("chunks that are not last", post("Transfer-Encoding: chunked, identity\r\n", &format!("0\r\n\r\n{HIDDEN}"))),
        (
            "a folded header",
            post(
                &format!("X: a\r\n Content-Length: {len}\r\nContent-Length: 0\r\nTransfer-Encoding:\r\n chunked\r\n"),
                HIDDEN,
            ),
        ),
        ("a blank before the colon", post(&format!("Content-Length : {len}\r\n"), HIDDEN)),
        (
            "a bare carriage return",
            post(&format!("X: a\rContent-Length: {len}\r\nContent-Length: 0\r\nX: b\r"), HIDDEN),
        ),
        ("a nul in a header", post("X: a\0b\r\nContent-Length: 0\r\n", HIDDEN)),
        (
            "chunks of HTTP/1.0",
            format!("POST /v1/sessions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
        ),
        ("a length that overflows", post("Content-Length: 18446744073709551616\r\n", HIDDEN)),
        ("a chunk that overflows", post("Transfer-Encoding: chunked\r\n", &format!("fffffffffffffffff\r\n{HIDDEN}"))),
    ];
    let both = exchange(address, HIDDEN.repeat(2).as_bytes(), QUIET).await?;
    ensure!(both.matches("HTTP/1.1 200").count() == 2, "two requests behind each other are not answered: {both:?}");
    for (what, request) in &attacks {
        let answer = exchange(address, request.as_bytes(), QUIET).await?;
        ensure!(answer.matches("HTTP/1.1 ").count() <= 1, "{what}: what was hidden was answered: {answer:?}");
        ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer:?}");
    }
    Ok(format!("{} requests: refused, or the connection ends behind them", attacks.len()))
}

pub async fn cross_site(scene: Scene) -> Result<String> {
    let (target, http, token) = (&*scene.target, scene.target.http(), scene.target.tokens.for_all("mallory"));
    let strangers =
        ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost@evil.example", "file://"];
    for origin in strangers {
        for service in ["ingest", "gateway"] {
            let socket = Socket::open(target.address, service, &format!("Origin: {origin}\r\n")).await?;
            ensure!(socket.head.starts_with("HTTP/1.1 403"), "{origin} to {service}: {}", socket.head);
        }
        let answer =
            http.ask(Method::GET, "/v1/chunks/canvas/0/0", Some(&token), &[("origin", origin)], Vec::new()).await?;
        ensure!(answer.status() == 403, "GET from {origin}: {}", answer.status());
        ensure!(!answer.headers().contains_key("access-control-allow-origin"), "CORS lets {origin} read");
        let preflight = [("origin", origin), ("access-control-request-method", "POST")];
        let answer = http.ask(Method::OPTIONS, "/v1/chunks/canvas/0/0/commands", None, &preflight, Vec::new()).await?;
        ensure!(answer.status() == 403, "a preflight from {origin}: {}", answer.status());
    }
    // A browser sends cookies by itself. So a cookie must give no access, and no answer may set
    // one.
    let cookie = format!("token={token}; Authorization={token}");
    let answer = http.ask(Method::GET, "/v1/chunks/canvas/0/0", None, &[("cookie", &cookie)], Vec::new()).await?;
    ensure!(answer.status() == 401, "a token in a cookie: {}", answer.status());
    for path in ["/", "/v1/world", "/v1/chunks/canvas/0/0"] {
        let own = format!("http://{}", target.address);
        let answer = http.ask(Method::GET, path, Some(&token), &[("origin", &own)], Vec::new()).await?;
        ensure!(answer.status() == 200, "its own page is refused, too: {}", answer.status());
        let headers = answer.headers();
        ensure!(!headers.contains_key("set-cookie"), "{path} sets a cookie");
        ensure!(!headers.contains_key("access-control-allow-credentials"), "{path} allows cookies");
        ensure!(headers.get("x-content-type-options").is_some_and(|v| v == "nosniff"), "{path} may be sniffed");
    }
    Ok(format!("{} origins × 4 ways: 403; cookies mean nothing", strangers.len()))
}
