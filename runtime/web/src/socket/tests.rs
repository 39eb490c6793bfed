use super::*;
use crate::http::{ServerOptions, serve};
use driftless_runtime::shutdown::ShutdownSource;
use driftless_schemas::limits;
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Starts a server that echoes binary messages and closes on text.
async fn start() -> (SocketAddr, ShutdownSource) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = ShutdownSource::new();
    let routes = warp::path!("ws")
        .and(websocket(INGEST, Origins::default()))
        .map(|upgrade: Upgrade| upgrade.on_stream(|stream, begun, _| echo::echo(stream, begun)))
        .boxed();
    tokio::spawn(serve(listener, routes, Origins::default(), ServerOptions::new(100), shutdown.handle()));
    (address, shutdown)
}

#[tokio::test]
async fn a_socket_carries_messages_and_our_close_codes() {
    let (address, shutdown) = start().await;
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    request
        .headers_mut()
        .insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("other, driftless.ingest.v1"));
    let (mut socket, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], INGEST);
    let large = vec![7; limits::CLIENT_FRAME_BYTES_MAX];
    socket.send(Message::binary(large.clone())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(large));
    socket.send(Message::text("hello")).await.unwrap();
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!("no close frame") };
    assert_eq!((u16::from(frame.code), frame.reason.len()), (close::FRAME_UNTRUSTED, 123));
    shutdown.end().await;
}

#[tokio::test]
async fn a_wrong_subprotocol_is_refused() {
    let (address, _shutdown) = start().await;
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(GATEWAY));
    let Err(Error::Http(response)) = tokio_tungstenite::connect_async(request).await else { panic!("not refused") };
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_request_without_a_valid_upgrade_gets_the_reason() {
    let (address, _shutdown) = start().await;
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let protocol = "Sec-WebSocket-Protocol: driftless.ingest.v1\r\n";
    for (method, headers, status, code) in [
        ("GET", String::new(), "426", "websocket_expected"),
        ("POST", upgrade.to_owned(), "405", "method_not_allowed"),
        ("GET", format!("{upgrade}Sec-WebSocket-Version: 8\r\n{key}{protocol}"), "426", "websocket_version"),
        ("GET", format!("{upgrade}Sec-WebSocket-Version: 13\r\n{protocol}"), "400", "websocket_key"),
        ("GET", format!("{upgrade}Sec-WebSocket-Version: 13\r\n{key}"), "400", "websocket_subprotocol"),
        (
            "GET",
            format!("{upgrade}Sec-WebSocket-Version: 13\r\n{key}{protocol}Origin: https://evil.example\r\n"),
            "403",
            "origin_not_allowed",
        ),
        (
            "GET",
            format!("{upgrade}Sec-WebSocket-Version: 13\r\n{key}{protocol}Origin: http://localhost:1\r\n"),
            "101",
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        ),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{method} /ws HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains(code) {
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                n => answer.extend_from_slice(&buffer[..n]),
            }
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(code), "{headers:?}: {answer}");
    }
}
