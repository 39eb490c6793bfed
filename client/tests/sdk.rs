//! Tests of the SDK over real websockets. The server is the in-memory server of the core's tests.

use driftless_client::{Client, Error, Event, HistoryId, Outcome, Settings, Socket, Token};
use driftless_scenes::client::{CHUNK, Server, chunk, frame, put, requests};
use driftless_schemas::proto::{Receipt, event, request};
use futures_util::{SinkExt as _, StreamExt as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

struct Backend {
    server: Mutex<Server>,
    changed: watch::Sender<u64>,
    messages: AtomicUsize,
    connections: AtomicUsize,
    /// If set, the server closes each socket with this code and sends no Welcome.
    refuse: Option<u16>,
}

async fn backend(refuse: Option<u16>) -> (Arc<Backend>, String) {
    let backend = Arc::new(Backend {
        server: Mutex::new(Server::new()),
        changed: watch::Sender::new(0),
        messages: AtomicUsize::new(0),
        connections: AtomicUsize::new(0),
        refuse,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let accepting = Arc::clone(&backend);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(Arc::clone(&accepting), stream));
        }
    });
    (backend, url)
}

#[allow(clippy::result_large_err)]
async fn serve(backend: Arc<Backend>, stream: TcpStream) {
    backend.connections.fetch_add(1, Ordering::SeqCst);
    let echo = |request: &Request, mut response: Response| {
        let protocol = request.headers()["sec-websocket-protocol"].clone();
        response.headers_mut().insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, echo).await else { return };
    let mut changed = backend.changed.subscribe();
    let (mut writer, mut sent) = (None, None);
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = changed.changed() => {
                let frames: Vec<_> = {
                    let server = backend.server.lock().unwrap();
                    let (Some(writer), Some(from)) = (writer, sent) else { continue };
                    sent = Some(server.records.len());
                    (from..server.records.len()).filter_map(|at| server.live(at, writer, false)).collect()
                };
                for bytes in frames {
                    if socket.send(Message::Binary(bytes)).await.is_err() { return }
                }
                continue;
            }
        };
        let Some(Ok(message)) = message else { return };
        let Message::Binary(message) = message else { continue };
        backend.messages.fetch_add(1, Ordering::SeqCst);
        if let Some(code) = backend.refuse {
            let close = CloseFrame { code: CloseCode::from(code), reason: "no".into() };
            socket.send(Message::Close(Some(close))).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
            return;
        }
        let mut bodies = Vec::new();
        for body in requests(message) {
            let mut server = backend.server.lock().unwrap();
            match body {
                request::Body::Hello(hello) => {
                    let (welcome, id) = server.hello(1_700_000_000_000, &hello, "ann");
                    writer = Some(id);
                    bodies.push(event::Body::Welcome(welcome));
                }
                request::Body::Submit(submit) => {
                    server.append(writer.unwrap(), &submit);
                    server.decide(1);
                    bodies.push(event::Body::Receipt(Receipt { chunk_id: CHUNK.into(), seq: submit.seq }));
                    backend.changed.send_modify(|count| *count += 1);
                }
                request::Body::Track(track) => {
                    let at = server.records.len() - 1;
                    bodies.push(server.tracked(at, writer.unwrap()));
                    bodies.extend(server.updates_above(track.have.map_or(0, |have| have.version), 0, at));
                    sent = Some(at + 1);
                }
                request::Body::Untrack(_) => sent = None,
                _ => {}
            }
        }
        if socket.send(Message::Binary(frame(bodies))).await.is_err() {
            return;
        }
    }
}

async fn within_deadline<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap_or_else(|_| panic!("no {what} within 20 s"))
}

#[tokio::test]
async fn two_clients_edit_and_end_with_the_same_bytes() {
    let (backend, url) = backend(None).await;
    let ann = within_deadline("connect", Client::connect(Settings::new(&url, &url, "token"))).await.unwrap();
    let token = Token::provider(|| async { Ok("token".to_owned()) });
    let bob = within_deadline("connect", Client::connect(Settings::new(&url, &url, token))).await.unwrap();
    let (a, b) = (ann.track(&chunk()), bob.track(&chunk()));
    within_deadline("ready", a.ready()).await.unwrap();
    within_deadline("ready", b.ready()).await.unwrap();

    let pending = a.submit(put("k", "1", false)).unwrap();
    assert_ne!(a.with_view(|view| view.model.content_to_json(view.content).to_string()).unwrap(), "{}");
    let conclusion = within_deadline("outcome", pending.conclusion()).await;
    assert!(matches!(conclusion.outcome, Outcome::Committed { version: Some(_) }), "{conclusion:?}");
    assert_eq!(conclusion.number.map(|number| number.seq.0), Some(1), "{conclusion:?}");
    let discarded = within_deadline("outcome", b.submit(put("k", "2", true)).unwrap()).await;
    assert!(matches!(discarded, Outcome::Discarded { .. }), "{discarded:?}");

    // The client must send a burst of commands in few messages, and must lose none of them in
    // reconnects.
    let before = backend.messages.load(Ordering::SeqCst);
    let burst: Vec<_> = (0..200).map(|i| a.submit(put(&format!("k{i}"), &format!("v{i}"), false)).unwrap()).collect();
    tokio::task::yield_now().await;
    ann.debug_drop_sockets();
    bob.debug_drop_socket(Socket::Gateway);
    within_deadline("drain", ann.drain()).await;
    for pending in burst {
        let outcome = pending.await;
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }
    assert!(backend.messages.load(Ordering::SeqCst) - before < 100, "commands are not batched");
    let mut b = b;
    within_deadline("equal hashes", async {
        while a.confirmed() != b.confirmed() {
            b.changed().await;
        }
    })
    .await;
    assert_eq!(a.version().unwrap().0, 201);
    assert_eq!(backend.server.lock().unwrap().newest().hash, a.hash().unwrap());
    ann.close();
    assert!(ann.status().ended.is_some());
}

#[tokio::test]
async fn another_history_is_an_event_and_the_client_goes_on_in_it() {
    let (backend, url) = backend(None).await;
    let client = within_deadline("connect", Client::connect(Settings::new(&url, &url, "token"))).await.unwrap();
    let mut chunk = client.track(&chunk());
    within_deadline("ready", chunk.ready()).await.unwrap();
    within_deadline("outcome", chunk.submit(put("k", "lost", false)).unwrap()).await;
    let mut events = client.events();
    let second = HistoryId([2; 16]);
    backend.server.lock().unwrap().begin_history(second, 1, 0);
    client.debug_drop_socket(Socket::Gateway);
    let told = within_deadline("event", async {
        loop {
            if let Event::HistoryChanged { history, message, .. } = events.recv().await.unwrap() {
                return (history, message);
            }
        }
    })
    .await;
    assert_eq!(told.0, Some(second));
    assert!(told.1.contains("part of the log was lost"), "{}", told.1);
    within_deadline("the lost commit to be gone", async {
        while chunk.version().map(|version| version.0) != Some(0) {
            chunk.changed().await;
        }
    })
    .await;
    let outcome = within_deadline("outcome", chunk.submit(put("k", "new", false)).unwrap()).await;
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, Event::HistoryChanged { .. }), "the change is reported once");
    }
}

#[tokio::test]
async fn a_close_for_good_ends_the_client() {
    let (backend, url) = backend(Some(4501)).await;
    let client = Client::start(Settings::new(&url, &url, "token"));
    let chunk = client.track(&chunk());
    let pending = chunk.submit(put("k", "1", false)).unwrap();
    assert!(matches!(within_deadline("outcome", pending).await, Outcome::Rejected { .. }));
    assert!(matches!(within_deadline("error", chunk.ready()).await, Err(Error::Chunk(_))));
    let again = within_deadline("connect", Client::connect(Settings::new(&url, &url, "token"))).await;
    assert!(matches!(again.map(|_| ()), Err(Error::Ended(message)) if message.contains("4501")));
    assert!(backend.connections.load(Ordering::SeqCst) <= 4);
}

#[tokio::test]
async fn the_next_url_is_tried_when_one_does_not_answer() {
    let (_backend, url) = backend(None).await;
    let dead = "ws://127.0.0.1:1".to_owned();
    let mut settings = Settings::new("", "", "token");
    settings.ingest_urls = vec![dead.clone(), url.clone()];
    settings.gateway_urls = vec![dead, url];
    let client = within_deadline("connect", Client::connect(settings)).await.unwrap();
    let chunk = client.track(&chunk());
    within_deadline("ready", chunk.ready()).await.unwrap();
    drop(client);
    let outcome = within_deadline("outcome", chunk.submit(put("k", "1", false)).unwrap()).await;
    assert!(matches!(outcome, Outcome::Committed { .. }), "a chunk's handle must keep the client alive");
}

#[tokio::test]
async fn a_provider_that_hangs_at_the_first_connect_is_called_again() {
    let (_backend, url) = backend(None).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let token = Token::provider(move || {
        let is_first_of_both = count.fetch_add(1, Ordering::SeqCst) < 2;
        async move {
            if is_first_of_both {
                std::future::pending::<()>().await;
            }
            Ok("token".to_owned())
        }
    });
    let mut settings = Settings::new(&url, &url, token);
    settings.connect_timeout = Duration::from_secs(1);
    let client = within_deadline("connect", Client::connect(settings)).await.unwrap();
    let chunk = client.track(&chunk());
    within_deadline("ready", chunk.ready()).await.unwrap();
    assert!(asked.load(Ordering::SeqCst) >= 4);
}
