//! Malformed and excessive websocket frames.

use super::Scene;
use crate::wire::{ANSWER_WITHIN, Socket, frame};
use anyhow::{Result, ensure};
use driftless_e2e_tests::raw::Raw;
use driftless_schemas::proto::{Ping, RefusalCode, event, request};
use driftless_schemas::{close, limits};
use std::time::Duration;

const BINARY: u8 = 0x82;

async fn closes(scene: &Scene, what: &str, bytes: &[u8]) -> Result<()> {
    for service in ["ingest", "gateway"] {
        let mut socket = Socket::open(scene.target.address, service, "").await?;
        socket.send(bytes).await;
        let code = socket.close_code(ANSWER_WITHIN).await.map_err(|e| e.context(format!("{what} to {service}")))?;
        ensure!(code == close::FRAME_UNTRUSTED, "{what}: {service} closed with {code}");
    }
    Ok(())
}

pub async fn giant(scene: Scene) -> Result<String> {
    let before = scene.target.memory();
    let largest = limits::CLIENT_FRAME_BYTES_MAX as u64;
    let attacks: [(&str, Vec<u8>); 9] = [
        ("a frame of 2^63 bytes", frame(BINARY, b"", Some(1 << 63))),
        ("a frame of 2^64-1 bytes", frame(BINARY, b"", Some(u64::MAX))),
        ("a frame of one byte too many", frame(BINARY, b"", Some(largest + 1))),
        ("an unmasked frame", vec![BINARY, 1, 0]),
        ("a frame with a reserved bit", frame(BINARY | 0x40, b"a", None)),
        ("an opcode that does not exist", frame(0x83, b"a", None)),
        ("a ping in fragments", frame(0x09, b"a", None)),
        ("a ping of 126 bytes", frame(0x89, &[0; 126], None)),
        ("a continuation of nothing", frame(0x80, b"a", None)),
    ];
    for (what, bytes) in &attacks {
        closes(&scene, what, bytes).await?;
    }
    let grown = scene.target.memory().saturating_sub(before);
    ensure!(grown < 64 << 20, "the service took {grown} bytes more");
    Ok(format!("{} frames × 2 services: 4500", attacks.len()))
}

pub async fn fragments(scene: Scene) -> Result<String> {
    let mut bytes = frame(0x02, &[0; 1024], None);
    for _ in 0..(limits::CLIENT_FRAME_BYTES_MAX / 1024) {
        bytes.extend(frame(0x00, &[0; 1024], None));
    }
    closes(&scene, "fragments without end", &bytes).await?;
    // A message of empty fragments never ends, however many there are. The Hello time-out ends the
    // socket.
    let mut empty = frame(0x02, b"", None);
    (0..10_000).for_each(|_| empty.extend(frame(0x00, b"", None)));
    empty.extend(frame(0x80, &[0xff; 20], None));
    closes(&scene, "ten thousand empty fragments, then garbage", &empty).await?;
    Ok("4500 at 256 KiB in all".into())
}

pub async fn requests(scene: Scene) -> Result<String> {
    let token = scene.target.tokens.for_all("mallory");
    let many = vec![request::Body::Ping(Ping { nonce: 1 }); limits::CLIENT_FRAME_REQUESTS_MAX + 1];
    for (url, service) in scene.target.sockets() {
        let (mut raw, _) = Raw::welcomed(&url, service, &token, &[]).await;
        raw.send_all(many.clone()).await;
        let answer = tokio::time::timeout(ANSWER_WITHIN, raw.next()).await?;
        let refused = matches!(&answer, Ok(event::Body::Refused(no)) if no.code() == RefusalCode::Limit);
        ensure!(refused, "{service} answered {answer:?}");
    }
    // A length inside the message that goes beyond its frame, and malformed nesting.
    for bytes in [&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0xff; 64], &[0x0b; 4096]] {
        closes(&scene, "garbage", &frame(BINARY, bytes, None)).await?;
    }
    Ok("LIMIT for 4,097 requests; 4500 for garbage".into())
}

pub async fn deflate(scene: Scene) -> Result<String> {
    for service in ["ingest", "gateway"] {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        let mut socket = Socket::open(scene.target.address, service, offer).await?;
        let head = socket.head.to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 101"), "{service}: {head}");
        ensure!(!head.contains("sec-websocket-extensions"), "{service} agreed on an extension: {head}");
        socket.send(&frame(BINARY | 0x40, &[0; 64], None)).await;
        let code = socket.close_code(Duration::from_secs(20)).await?;
        ensure!(code == close::FRAME_UNTRUSTED, "{service} took a compressed message: {code}");
    }
    Ok("no extension is agreed on; a compressed message ends its socket (4500)".into())
}
