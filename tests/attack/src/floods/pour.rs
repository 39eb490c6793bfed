//! Pours bytes into a service. Nothing here waits for an answer, so a service cannot slow the
//! attacker down except by not reading, and a sink takes the same bytes.

use crate::wire::{connect_from, frame};
use bytes::Bytes;
use driftless_schemas::proto::{ClientFrame, Request, request};
use prost::Message as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The pause after a connection that was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// The behaviour of one connection of an attacker.
#[derive(Clone)]
pub struct Pour {
    /// The attacker's address is 127.0.0.`from`. Honest clients have 127.0.0.1.
    pub from: u8,
    /// The service.
    pub to: SocketAddr,
    /// Sent first.
    pub first: Bytes,
    /// Sent after that.
    pub then: Bytes,
    /// How often `then` is sent; `None` until the flood ends.
    pub times: Option<usize>,
    /// Answers are read and dropped; otherwise they are left in the socket.
    pub reads: bool,
    /// A connection that has ended, or that has sent everything, is opened again.
    pub reopens: bool,
}

/// What was sent in all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Poured {
    /// The number of connections.
    pub connections: usize,
    /// The number of bytes that the kernel took.
    pub bytes: u64,
}

impl std::fmt::Display for Poured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} connections sent {} KiB", self.connections, self.bytes >> 10)
    }
}

/// Runs all pours side by side until the flood ends.
pub async fn pour(pours: impl IntoIterator<Item = Pour>, until: Instant) -> Poured {
    let mut tasks: JoinSet<Poured> = pours.into_iter().map(|pour| pour.run(until)).collect();
    let mut all = Poured::default();
    while let Some(done) = tasks.join_next().await {
        let Poured { connections, bytes } = match done {
            Ok(poured) => poured,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        all.connections += connections;
        all.bytes += bytes;
    }
    all
}

impl Pour {
    async fn run(self, until: Instant) -> Poured {
        let mut all = Poured::default();
        while Instant::now() < until {
            let opened = timeout_at(until, connect_from(Ipv4Addr::new(127, 0, 0, self.from), self.to)).await;
            let Ok(Ok(stream)) = opened else {
                sleep_until(until.min(Instant::now() + REFUSED_PAUSE)).await;
                continue;
            };
            all.connections += 1;
            all.bytes += self.over(stream, until).await;
            if !self.reopens {
                break;
            }
        }
        all
    }

    /// Sends everything over one connection, and returns how many bytes the kernel took. A
    /// connection that is not to be opened again stays open until the flood ends.
    async fn over(&self, stream: TcpStream, until: Instant) -> u64 {
        let (mut reading, mut writing) = stream.into_split();
        let reader = self.reads.then(|| {
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while reading.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
            })
        });
        let (mut bytes, mut times) = (0, self.times);
        let mut next: &[u8] = &self.first;
        loop {
            match timeout_at(until, writing.write_all(next)).await {
                Ok(Ok(())) => bytes += next.len() as u64,
                Ok(Err(_)) | Err(_) => break,
            }
            next = &self.then;
            match &mut times {
                Some(0) => {
                    if !self.reopens {
                        sleep_until(until).await;
                    }
                    break;
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
        if let Some(reader) = reader {
            reader.abort();
        }
        bytes
    }
}

/// The request that opens a websocket to `ingest` or `gateway`.
#[must_use]
pub fn handshake(service: &str) -> Vec<u8> {
    format!(
        "GET /v1/{service} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: driftless.{service}.v1\r\n\r\n"
    )
    .into_bytes()
}

/// A message with these requests.
#[must_use]
pub fn message(requests: impl IntoIterator<Item = request::Body>) -> Vec<u8> {
    let requests = requests.into_iter().map(|body| Request { body: Some(body) }).collect();
    frame(0x82, &ClientFrame { requests }.encode_to_vec(), None)
}

/// A GET request with a token, if there is one.
#[must_use]
pub fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{token}\r\n").into_bytes()
}

/// A POST request with a body of JSON.
#[must_use]
pub fn post(path: &str, token: &str, body: &[u8], announced: usize) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {announced}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
