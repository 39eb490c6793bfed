//! Services behind proxies, over real sockets. The tests play the proxies: 127.0.0.1 is one if the
//! service trusts it.

use super::receive::receive;
use super::*;
use crate::http::{self, ConnectionPermit, Origins, PeerAddr, Routes, bytes_response, serve};
use crate::settings::Http;
use crate::socket::echo::echo;
use crate::socket::{INGEST, Upgrade, websocket};
use crate::tls::tests::{certificate, handshake, settings as certificate_settings};
use driftless_runtime::shutdown::ShutdownSource;
use driftless_schemas::limits;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use warp::Filter;
use warp::http::StatusCode;

/// The deadline of each wait in these tests; only broken code reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

struct Service {
    address: SocketAddr,
    shutdown: ShutdownSource,
    /// Set to true, this lets the requests to `/held` end.
    release: watch::Sender<bool>,
}

/// Settings with two connections per address, which trust these proxies.
fn trusting(proxies: &[&str]) -> Http {
    Http {
        connections_max: 100,
        connections_per_address: 2,
        trusted_proxies: proxies.iter().map(|&proxy| proxy.to_owned()).collect(),
        ..Http::default()
    }
}

async fn start(settings: Http) -> Service {
    let (release, released) = watch::channel(false);
    let text = |text: String| bytes_response(StatusCode::OK, "text/plain", text.into());
    let who = warp::path!("who").and(warp::ext::get::<PeerAddr>());
    let who = who.map(move |PeerAddr(peer): PeerAddr| text(peer.ip().to_string()));
    let held = warp::path!("held").then(move || {
        let mut released = released.clone();
        async move {
            released.wait_for(|is_released| *is_released).await.unwrap();
            text("held".into())
        }
    });
    let upgrade = |path: &'static str| warp::path(path).and(websocket(INGEST, Origins::default()));
    let unknown = upgrade("unknown").map(|upgrade: Upgrade| upgrade.on_stream(|stream, begun, _| echo(stream, begun)));
    let known = upgrade("known").map(|upgrade: Upgrade| {
        upgrade.on_stream(|stream, begun, permit| async move {
            permit.iter().for_each(ConnectionPermit::release_address);
            echo(stream, begun).await;
        })
    });
    let routes: Routes = who.or(held).unify().or(unknown).unify().or(known).unify().boxed();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = ShutdownSource::new();
    let options = settings.server_options().unwrap();
    tokio::spawn(serve(listener, routes, Origins::default(), options, shutdown.handle()));
    Service { address, shutdown, release }
}

impl Service {
    /// Opens a connection that begins with these bytes.
    async fn connect(&self, begin: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A connection that the service refuses may be closed already.
        let _ = stream.write_all(begin).await;
        stream
    }

    /// Opens a connection, sends one request, and returns the response, or as much as arrives of
    /// it. The connection stays open.
    async fn open(&self, begin: &[u8], path: &str, header: &str) -> (TcpStream, String) {
        let mut stream = self.connect(begin).await;
        let answer = ask(&mut stream, path, header).await;
        (stream, answer)
    }

    /// Repeats a request until it is answered with 200.
    async fn served(&self, path: &str, header: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.open(b"", path, header).await.1;
            if answer.starts_with("HTTP/1.1 200") {
                return;
            }
            assert!(Instant::now() < deadline, "{answer}");
            tokio::task::yield_now().await;
        }
    }
}

/// Sends a request, and reads the response to the end of its body or of the connection.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, path: &str, header: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n");
    let _ = stream.write_all(request.as_bytes()).await;
    read(stream).await
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let (mut answer, mut part) = (Vec::new(), vec![0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
            if head.starts_with("HTTP/1.1 101") || length.is_some_and(|length: usize| body.len() >= length) {
                return text;
            }
        }
        match timeout(PATIENCE, stream.read(&mut part)).await.expect("an answer, or the end") {
            Ok(read) if read > 0 => answer.extend(&part[..read]),
            _ => return text,
        }
    }
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// True if the connection was refused because of its address. The response may be lost.
fn is_refused(answer: &str) -> bool {
    answer.is_empty() || answer.starts_with("HTTP/1.1 429") && answer.contains("too_many_connections")
}

/// A header that makes the request one for a websocket.
fn upgrade(header: &str) -> String {
    format!(
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
         dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {INGEST}\r\n{header}"
    )
}

/// A header of version 2 for an IPv4 client, with this number of bytes to skip.
fn binary(client: [u8; 4], skipped: u16) -> Vec<u8> {
    let block = [client, [127, 0, 0, 1], [0x12, 0x34, 0, 80]].concat();
    let fields = vec![4; usize::from(skipped)];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &(12 + skipped).to_be_bytes()[..], &block, &fields].concat()
}

const ANN: &str = "X-Forwarded-For: 2001:db8:0:1::1\r\n";
/// Another address in the /64 of [`ANN`].
const ANN_TOO: &str = "X-Forwarded-For: 203.0.113.9, 2001:db8:0:1::2\r\n";
const BOB: &str = "X-Forwarded-For: 2001:db8:0:1::1, 2001:db8:0:2::1\r\n";

#[tokio::test]
async fn a_forged_address_from_an_untrusted_peer_has_no_effect() {
    for forwarded_header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let service = start(Http { forwarded_header, ..trusting(&["192.0.2.0/24"]) }).await;
        let mut open = Vec::new();
        for client in 1..=2 {
            let forged = format!("X-Forwarded-For: 192.0.2.{client}\r\nForwarded: for=192.0.2.{client}\r\n");
            let (stream, answer) = service.open(b"", "/who", &forged).await;
            assert_eq!(body(&answer), "127.0.0.1");
            open.push(stream);
        }
        let (_, third) = service.open(b"", "/who", "X-Forwarded-For: 192.0.2.3\r\n").await;
        assert!(is_refused(&third), "{third}");
        drop(open);
        // Without the setting, a header of the PROXY protocol is no request.
        service.served("/who", "").await;
        let (_, answer) = service.open(b"PROXY TCP4 192.0.2.9 192.0.2.8 1 2\r\n", "/who", "").await;
        assert!(!answer.contains("200 OK"), "{answer}");
        service.shutdown.end().await;
    }
}

#[tokio::test]
async fn clients_behind_a_proxy_have_requests_at_a_time_of_their_own() {
    let service = start(trusting(&["127.0.0.0/8"])).await;
    let mut held = Vec::new();
    for header in [ANN, ANN_TOO] {
        let mut stream = service.connect(b"").await;
        stream.write_all(format!("GET /held HTTP/1.1\r\nHost: x\r\n{header}\r\n").as_bytes()).await.unwrap();
        held.push(stream);
    }
    // The proxy's connection goes on after a refusal, and serves other clients.
    let mut shared = service.connect(b"").await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask(&mut shared, "/who", ANN).await;
        if answer.starts_with("HTTP/1.1 429") {
            assert!(is_refused(&answer) && answer.contains("retry-after: 10"), "{answer}");
            break;
        }
        // The requests that are held may not have arrived yet.
        assert!(Instant::now() < deadline, "{answer}");
    }
    assert!(is_refused(&ask(&mut shared, "/who", ANN_TOO).await), "the same /64");
    assert_eq!(body(&ask(&mut shared, "/who", BOB).await), "2001:db8:0:2::1");
    assert_eq!(body(&ask(&mut shared, "/who", "").await), "127.0.0.1", "the proxy's own");
    service.release.send_replace(true);
    for stream in &mut held {
        assert_eq!(body(&read(stream).await), "held");
    }
    assert_eq!(body(&ask(&mut shared, "/who", ANN).await), "2001:db8:0:1::1");
    // A proxy has any number of connections.
    for _ in 0..10 {
        held.push(service.open(b"", "/who", BOB).await.0);
    }
    assert_eq!(body(&ask(&mut shared, "/who", ANN).await), "2001:db8:0:1::1");
    service.shutdown.end().await;
}

#[tokio::test]
async fn clients_behind_a_proxy_have_anonymous_rates_of_their_own() {
    let service = start(trusting(&["127.0.0.0/8"])).await;
    let mut shared = service.connect(b"").await;
    let mut count = 0;
    let refused = loop {
        let answer = ask(&mut shared, "/who", ANN).await;
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        count += 1;
        assert!(count < 100 * limits::ANONYMOUS_REQUESTS_BURST, "no request was refused");
    };
    assert!(refused.contains("429") && refused.contains("rate_limited"), "{refused}");
    assert!(count >= limits::ANONYMOUS_REQUESTS_BURST);
    assert_eq!(body(&ask(&mut shared, "/who", BOB).await), "2001:db8:0:2::1");
    service.shutdown.end().await;
}

#[tokio::test]
async fn a_websocket_behind_a_proxy_counts_for_its_client_until_the_user_is_known() {
    let service = start(Http { connections_per_address: 1, ..trusting(&["127.0.0.1"]) }).await;
    let (socket, answer) = service.open(b"", "/unknown", &upgrade(ANN)).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let (_, second) = service.open(b"", "/unknown", &upgrade(ANN_TOO)).await;
    assert!(is_refused(&second), "{second}");
    assert!(is_refused(&service.open(b"", "/who", ANN).await.1));
    assert_eq!(body(&service.open(b"", "/who", BOB).await.1), "2001:db8:0:2::1");
    drop(socket);
    service.served("/who", ANN).await;
    let (_known, answer) = service.open(b"", "/known", &upgrade(ANN)).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    service.served("/who", ANN).await;
    service.shutdown.end().await;
}

#[tokio::test]
async fn each_version_of_the_proxy_protocol_names_the_client_for_which_a_connection_counts() {
    let ann = b"PROXY TCP6 2001:db8:0:1::1 2001:db8::9 4711 443\r\n";
    let ann_too = b"PROXY TCP6 2001:db8:0:1::2 2001:db8::9 4711 443\r\n";
    let bob = binary([192, 0, 2, 7], 40);
    let service = start(Http { proxy_protocol: true, ..trusting(&["127.0.0.1"]) }).await;
    // Headers of requests are not read here.
    let (_one, answer) = service.open(ann, "/who", BOB).await;
    assert_eq!(body(&answer), "2001:db8:0:1::1");
    let (_two, answer) = service.open(ann_too, "/who", "").await;
    assert_eq!(body(&answer), "2001:db8:0:1::2");
    let (_, third) = service.open(ann, "/who", "").await;
    assert!(is_refused(&third), "{third}");
    let (_bob, answer) = service.open(&bob, "/who", "").await;
    assert_eq!(body(&answer), "192.0.2.7");
    // Health checks, and clients without an address, keep the proxy's.
    for own in [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], b"PROXY UNKNOWN\r\n"] {
        let (_, answer) = service.open(own, "/who", "").await;
        assert_eq!(body(&answer), "127.0.0.1");
    }
    service.shutdown.end().await;
}

#[tokio::test]
async fn a_header_may_arrive_in_parts_and_takes_no_byte_of_the_request() {
    let service = start(Http { proxy_protocol: true, ..trusting(&["127.0.0.1"]) }).await;
    let most = u16::try_from(limits::PROXY_HEADER_BYTES_MAX - 28).unwrap();
    for header in [b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n".to_vec(), binary([192, 0, 2, 7], most)] {
        let request = b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n";
        let bytes = [&header, &request[..]].concat();
        for size in [1, 7, header.len() - 1, header.len() + 1, bytes.len()] {
            let mut stream = service.connect(b"").await;
            stream.set_nodelay(true).unwrap();
            for part in bytes.chunks(size) {
                stream.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            assert_eq!(body(&read(&mut stream).await), "192.0.2.7", "parts of {size} bytes");
        }
    }
    service.shutdown.end().await;
}

#[tokio::test]
async fn the_header_of_the_proxy_protocol_comes_before_tls() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let tls = Some(certificate_settings(folder.path()));
    let service = start(Http { proxy_protocol: true, tls, ..trusting(&["127.0.0.1"]) }).await;
    let mut open = Vec::new();
    for client in [[192, 0, 2, 7], [192, 0, 2, 7], [192, 0, 2, 8]] {
        let stream = service.connect(&binary(client, 3)).await;
        let mut stream = handshake(stream, &trusted).await.unwrap();
        assert_eq!(body(&ask(&mut stream, "/who", "").await), IpAddr::from(client).to_string());
        open.push(stream);
    }
    let third = service.connect(&binary([192, 0, 2, 7], 0)).await;
    assert!(handshake(third, &trusted).await.is_err(), "this client has its two connections");
    service.shutdown.end().await;
}

#[tokio::test]
async fn a_bad_header_closes_its_connection_and_nothing_else() {
    let service = start(Http { proxy_protocol: true, ..trusting(&["127.0.0.1"]) }).await;
    let good = binary([192, 0, 2, 7], 0);
    let (mut open, answer) = service.open(&good, "/who", "").await;
    assert_eq!(body(&answer), "192.0.2.7");
    let unknown_family = [&good[..13], b"\x41", &good[14..]].concat();
    for bad in [&b""[..], b"PROXY TCP4 x y 1 2\r\n", b"\x16\x03\x01\x02\x00", &unknown_family] {
        let (_, answer) = service.open(bad, "/who", "").await;
        assert_eq!(answer, "", "{bad:?}");
        assert_eq!(body(&ask(&mut open, "/who", "").await), "192.0.2.7", "{bad:?}");
        assert_eq!(body(&service.open(&good, "/who", "").await.1), "192.0.2.7", "{bad:?}");
    }
    service.shutdown.end().await;
}

#[tokio::test]
async fn with_the_proxy_protocol_only_trusted_proxies_may_connect() {
    let service = start(Http { proxy_protocol: true, ..trusting(&["192.0.2.0/24"]) }).await;
    for begin in [&b""[..], b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n"] {
        let (_, answer) = service.open(begin, "/who", "").await;
        let is_closed = answer.is_empty() || answer.contains("403 Forbidden") && answer.contains("not_a_trusted_proxy");
        assert!(is_closed, "{answer}");
    }
    service.shutdown.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_arrive_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for begin in [&b""[..], b"PROXY TCP4 192.0.2.7", &binary([192, 0, 2, 7], 100)[..60]] {
        let mut silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        silent.write_all(begin).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let began = Instant::now();
        let error = receive(&mut stream).await.unwrap_err();
        assert!(matches!(error, NoHeader::TimedOut), "{error}");
        assert!(began.elapsed() >= Duration::from_millis(limits::PROXY_HEADER_TIMEOUT_MS));
    }
}

#[test]
fn settings_for_proxies_are_checked_at_the_start() {
    let error = |settings: Http| settings.server_options().unwrap_err().to_string();
    let bad = error(trusting(&["10.0.0.0/8", "10.0.0.0/40"]));
    assert!(bad.contains("trusted_proxies = \"10.0.0.0/40\"") && bad.contains("write 192.0.2.7, 10.0.0.0/8"), "{bad}");
    let alone = error(Http { proxy_protocol: true, ..trusting(&[]) });
    assert!(alone.contains("proxy_protocol = true") && alone.contains("trusted_proxies = [\"10.0.0.0/8\"]"), "{alone}");
    assert_eq!(http::ServerOptions::new(1).proxies, Proxies::default());
    assert_eq!(serde_json::to_value(ForwardedHeader::XForwardedFor).unwrap(), "x-forwarded-for");
    assert_eq!(serde_json::to_value(ForwardedHeader::Forwarded).unwrap(), "forwarded");
}
