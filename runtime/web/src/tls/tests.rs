use super::*;
use crate::http::{self, Origins, ServerOptions};
use crate::settings::Http;
use crate::socket::echo::echo;
use crate::socket::{INGEST, Upgrade, websocket};
use driftless_runtime::files::Reload;
use driftless_runtime::shutdown::ShutdownSource;
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use warp::Filter;

/// The deadline of each wait in these tests; only broken code reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Creates a certificate for `localhost` and its key in a folder; returns the certificate to trust.
pub(crate) fn certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

pub(crate) fn settings(folder: &Path) -> Settings {
    Settings { cert: folder.join("cert.pem"), key: folder.join("key.pem") }
}

struct Running {
    address: SocketAddr,
    shutdown: ShutdownSource,
    tls: Tls,
    folder: tempfile::TempDir,
    trusted: CertificateDer<'static>,
}

/// Starts a server with a websocket that echoes binary messages.
async fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let tls = Tls::new(settings(folder.path())).unwrap();
    let socket = warp::path!("ws")
        .and(websocket(INGEST, Origins::default()))
        .map(|upgrade: Upgrade| upgrade.on_stream(|stream, begun, _| echo(stream, begun)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = ShutdownSource::new();
    let options = ServerOptions::new(100).with_tls(tls.clone());
    let routes = socket.or(http::healthz()).unify().boxed();
    tokio::spawn(http::serve(listener, routes, Origins::default(), options, shutdown.handle()));
    Running { address, shutdown, tls, folder, trusted }
}

async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    handshake(tokio::net::TcpStream::connect(address).await?, trusted).await
}

/// Performs the client's side of a handshake on a connection.
pub(crate) async fn handshake(
    stream: tokio::net::TcpStream,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    tokio::time::timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("an answer")
}

#[tokio::test]
async fn http_is_answered_over_tls_and_plain_text_is_not() {
    let running = start().await;
    let mut stream = connect(running.address, &running.trusted).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    for last in [false, true] {
        let close = if last { "Connection: close\r\n" } else { "" };
        stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{close}\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.expect("an answer").unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    }
    // The connection ends with a TLS close_notify, not only with TCP's FIN, so an attacker on the
    // path cannot truncate a response unseen.
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the end").unwrap();
    assert!(rest.is_empty());

    let mut plain = tokio::net::TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("the end");
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    running.shutdown.end().await;
}

#[tokio::test]
async fn a_websocket_carries_large_messages_both_ways_at_once_over_tls() {
    let running = start().await;
    let stream = connect(running.address, &running.trusted).await.unwrap();
    let mut request = "wss://localhost/ws".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", INGEST.parse().unwrap());
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let (mut sink, mut stream) = socket.split();
    // The messages are more than all buffers on the path can hold, and the client reads none of
    // them at first.
    let message = |i: u8| vec![i; 200_000];
    let sending = tokio::spawn(async move {
        for i in 0..40 {
            sink.send(Message::binary(message(i))).await.unwrap();
        }
        sink
    });
    for i in 0..40 {
        let got = tokio::time::timeout(PATIENCE, stream.next()).await.expect("a message").unwrap().unwrap();
        assert_eq!(got, Message::binary(message(i)));
    }
    drop(sending.await.unwrap());
    running.shutdown.end().await;
}

#[tokio::test]
async fn a_new_certificate_is_applied_and_a_broken_one_is_refused() {
    let running = start().await;
    let mut files = running.tls.reloader();
    assert_eq!(files.reload(), Reload::Applied);
    let old = running.trusted.clone();
    // The key file is replaced and the certificate is not, as if only half of a change had arrived.
    let other = tempfile::tempdir().unwrap();
    let new = certificate(other.path());
    std::fs::copy(other.path().join("key.pem"), running.folder.path().join("key.pem")).unwrap();
    let Reload::Refused(problem) = files.reload() else { panic!("taken") };
    assert!(problem.contains("does not belong to this key"), "{problem}");
    assert!(connect(running.address, &old).await.is_ok());
    std::fs::copy(other.path().join("cert.pem"), running.folder.path().join("cert.pem")).unwrap();
    assert_eq!(files.reload(), Reload::Applied);
    assert!(connect(running.address, &new).await.is_ok());
    assert!(connect(running.address, &old).await.is_err());
    running.shutdown.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_arrive_times_out() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let tls = Tls::new(settings(folder.path())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let began = tokio::time::Instant::now();
    let error = tls.accept(stream).await.err().expect("no handshake");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(began.elapsed() >= HANDSHAKE_TIMEOUT);
}

#[test]
fn the_error_names_an_unusable_certificate_or_key() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let problem = || Tls::new(settings(folder.path())).unwrap_err().to_string();
    let missing = problem();
    assert!(missing.contains("cert.pem cannot be read"), "{missing}");
    certificate(folder.path());
    std::fs::copy(&cert, &key).unwrap();
    let swapped = problem();
    assert!(swapped.contains("no private key") && swapped.contains("key.pem"), "{swapped}");
    std::fs::write(&cert, "").unwrap();
    let empty = problem();
    assert!(empty.contains("no certificate"), "{empty}");
}

#[test]
fn plain_text_is_for_loopback_only_unless_insecure_is_set() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let http = |listen: &str| Http { listen: listen.parse().unwrap(), ..Http::default() };
    for loopback in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        assert!(http(loopback).server_options().is_ok(), "{loopback}");
    }
    for open in ["0.0.0.0:80", "[::]:80", "10.1.2.3:80", "[2001:db8::1]:80"] {
        let error = http(open).server_options().unwrap_err().to_string();
        for part in [open, "--tls-cert", "--tls-key", "--insecure"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(Http { insecure: true, ..http(open) }.server_options().is_ok());
        let options = Http { tls: Some(settings(folder.path())), ..http(open) }.server_options().unwrap();
        assert!(options.tls.is_some());
    }
    let broken = Settings { cert: folder.path().join("none"), key: folder.path().join("key.pem") };
    assert!(Http { tls: Some(broken), ..http("127.0.0.1:80") }.server_options().is_err(), "never plain text instead");
}

/// A peer that reads nothing fills all buffers. The service closes its end, and the relay must then
/// close the connection, so that the slot is free again.
#[tokio::test]
async fn a_peer_that_reads_nothing_does_not_keep_its_slot() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let (filled, mut is_filled) = tokio::sync::mpsc::channel(1);
    let flood = warp::path!("ws").and(websocket(INGEST, Origins::default())).map(move |upgrade: Upgrade| {
        let filled = filled.clone();
        upgrade.on_stream(move |stream, _, _| async move {
            let bytes = vec![7; 64 * 1024];
            let mut sent = 0;
            while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(300), stream.writable()).await {
                sent += stream.try_write_vectored(&[std::io::IoSlice::new(&bytes)]).unwrap_or(0);
            }
            let _ = filled.send(sent).await;
        })
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = ShutdownSource::new();
    // The server accepts a single connection at a time.
    let options = ServerOptions::new(1).with_tls(Tls::new(settings(folder.path())).unwrap());
    let routes = flood.or(http::healthz()).unify().boxed();
    tokio::spawn(http::serve(listener, routes, Origins::default(), options, shutdown.handle()));
    let mut stalled = connect(address, &trusted).await.unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {INGEST}\r\n\r\n"
    );
    stalled.write_all(request.as_bytes()).await.unwrap();
    let sent = tokio::time::timeout(PATIENCE, is_filled.recv()).await.expect("all buffers are full").unwrap();
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes wait for a peer that reads nothing");
    // The peer is still connected and reads nothing, but its slot is free for another.
    let mut next = connect(address, &trusted).await.unwrap();
    next.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, next.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(stalled);
    shutdown.end().await;
}
