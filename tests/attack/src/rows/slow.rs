//! Slow peers. These attacks wait for time limits of the services, so they run beside the other
//! rows.

use super::Scene;
use crate::wire::{self, Socket, drip, frame as ws_frame};
use anyhow::{Result, ensure};
use driftless_e2e_tests::raw::hello;
use driftless_schemas::proto::{ClientFrame, Request};
use driftless_schemas::{close, limits};
use prost::Message as _;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

/// The tolerance beyond a time limit, because machines are busy.
const GRACE: Duration = Duration::from_secs(8);

fn within(limit_ms: u64) -> Duration {
    Duration::from_millis(limit_ms) + GRACE
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

pub async fn head(scene: Scene) -> Result<String> {
    let mut stream = wire::connect(scene.target.address).await?;
    let request = format!("GET /v1/world HTTP/1.1\r\nHost: x\r\nX-Slow: {}", "a".repeat(4000));
    let (_, took) =
        drip(&mut stream, request.as_bytes(), Duration::from_millis(100), within(limits::HEAD_TIMEOUT_MS)).await?;
    Ok(format!("cut off after {}", seconds(took)))
}

pub async fn body(scene: Scene) -> Result<String> {
    let mut stream = wire::connect(scene.target.address).await?;
    let token = scene.target.tokens.for_all("mallory");
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 2000\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (said, took) =
        drip(&mut stream, &[b' '; 2000], Duration::from_millis(100), within(limits::BODY_TIMEOUT_MS)).await?;
    let said = String::from_utf8_lossy(&said);
    ensure!(said.starts_with("HTTP/1.1 408"), "it said {said:?}");
    Ok(format!("408 after {}", seconds(took)))
}

pub async fn tls(scene: Scene) -> Result<String> {
    let mut silent = wire::connect(scene.target.tls_address).await?;
    let mut slow = wire::connect(scene.target.tls_address).await?;
    // The beginning of a ClientHello of 512 bytes.
    let mut begun = vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    begun.extend([7; 200]);
    let pause = Duration::from_millis(100);
    let limit = within(limits::HEAD_TIMEOUT_MS);
    let (one, two) = tokio::join!(drip(&mut silent, &[], pause, limit), drip(&mut slow, &begun, pause, limit));
    Ok(format!("cut off after {} and {}", seconds(one?.1), seconds(two?.1)))
}

pub async fn no_hello(scene: Scene) -> Result<String> {
    let mut took = Vec::new();
    let begun = Instant::now();
    for service in ["ingest", "gateway"] {
        let mut socket = Socket::open(scene.target.address, service, "").await?;
        // A ping must not count as Hello.
        socket.send(&ws_frame(0x89, b"alive", None)).await;
        took.push((service, socket));
    }
    for (service, socket) in &mut took {
        let code = socket.close_code(within(limits::HELLO_TIMEOUT_MS)).await?;
        ensure!(code == close::NO_HELLO, "{service} closed with {code}");
    }
    Ok(format!("4503 after {}", seconds(begun.elapsed())))
}

pub async fn frame(scene: Scene) -> Result<String> {
    let token = scene.target.tokens.for_all("mallory");
    let frame = ClientFrame { requests: vec![Request { body: Some(hello(&token, &[])) }] }.encode_to_vec();
    let bytes = ws_frame(0x82, &frame, None);
    let begun = Instant::now();
    let attack = async |service: &'static str| -> Result<()> {
        let mut socket = Socket::open(scene.target.address, service, "").await?;
        let pause = Duration::from_millis(200);
        let (said, _) = drip(&mut socket.stream, &bytes, pause, within(limits::HELLO_TIMEOUT_MS)).await?;
        // The service must have sent a close frame with the right code, and no other frame.
        let code = said.get(2..4).map(|code| u16::from_be_bytes([code[0], code[1]]));
        ensure!(said.first() == Some(&0x88) && code == Some(close::NO_HELLO), "{service} said {said:?}");
        Ok(())
    };
    let (one, two) = tokio::join!(attack("ingest"), attack("gateway"));
    one?;
    two?;
    Ok(format!("4503 after {}", seconds(begun.elapsed())))
}

/// A client asks for much more data than the kernel buffers, and reads none of it.
pub async fn reader(scene: Scene) -> Result<String> {
    let mut stream = wire::connect(scene.target.address).await?;
    let request = "GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(400);
    // The service stops reading at some point, so this write need not complete.
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(request.as_bytes())).await;
    let begun = Instant::now();
    let limit = within(limits::WRITE_TIMEOUT_MS);
    loop {
        // A failed write shows that the service has closed the connection.
        match tokio::time::timeout(
            Duration::from_millis(500),
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        )
        .await
        {
            Ok(Err(_)) => {
                return Ok(format!("an answer that was not taken: cut off after {}", seconds(begun.elapsed())));
            }
            Ok(Ok(())) => tokio::time::sleep(Duration::from_millis(500)).await,
            Err(_) => {
                let gone = stream.take_error()?;
                if gone.is_some() {
                    return Ok(format!("an answer that was not taken: cut off after {}", seconds(begun.elapsed())));
                }
            }
        }
        ensure!(begun.elapsed() < limit, "after {} the connection is still open", seconds(begun.elapsed()));
    }
}
