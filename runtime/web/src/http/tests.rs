use super::*;
use crate::settings;
use driftless_runtime::shutdown::ShutdownSource;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn start(routes: Routes) -> (SocketAddr, ShutdownSource, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = ShutdownSource::new();
    let served = tokio::spawn(serve(listener, routes, Origins::default(), ServerOptions::new(100), shutdown.handle()));
    (address, shutdown, served)
}

/// Sends one request on a connection of its own and returns the whole response.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn a_chunk_id_is_taken_from_the_front_of_a_path() {
    for (tail, chunk, extension, rest) in [
        ("canvas/0/-1/commands", "canvas/0/-1", "", vec!["commands"]),
        ("canvas%2F0%2f-1", "canvas/0/-1", "", vec![]),
        ("canvas/0/-1.png", "canvas/0/-1", "png", vec![]),
        ("canvas/5/commands/00ff/7", "canvas/5", "", vec!["commands", "00ff", "7"]),
    ] {
        let path = ChunkPath::parse(tail).unwrap();
        assert_eq!((path.chunk.as_str(), path.extension.as_str(), path.suffix()), (chunk, extension, rest), "{tail}");
    }
    for bad in ["canvas", "canvas/+1", "canvas/01/2", "/0/1", "canvas/1/2/3/4"] {
        let problem = ChunkPath::parse(bad).unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (400, "bad_chunk_id"), "{bad}");
    }
}

/// Without settings, pages of the service's own origin and of loopback origins are allowed, and
/// others are not.
#[test]
fn pages_of_the_same_origin_and_of_this_machine_may_ask() {
    let headers = |origin: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("play.example:8080"));
        headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        headers
    };
    let default = Origins::default();
    assert_eq!(default.check(&HeaderMap::new()), Ok(None));
    for good in [
        "http://play.example:8080",
        "http://localhost:5173",
        "http://127.0.0.1",
        "http://[::1]:3000",
        "http://a.localhost",
    ] {
        assert!(default.check(&headers(good)).is_ok(), "{good}");
    }
    for bad in [
        "http://play.example",
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil",
    ] {
        assert!(default.check(&headers(bad)).is_err(), "{bad}");
    }
    let listed = Origins::new(&["https://A.example".into()]).unwrap();
    assert!(listed.check(&headers("https://a.example")).is_ok());
    assert!(listed.check(&headers("http://localhost:5173")).is_err());
    assert!(Origins::new(&["*".into()]).unwrap().check(&headers("null")).is_ok());
    for bad in ["a.example", "https://a.example/", "https://a.example/x", "ftp://a.example"] {
        assert!(Origins::new(&[bad.into()]).is_err(), "{bad}");
    }
    assert!(settings::Http::default().origins().is_ok());
}

#[test]
fn a_token_comes_by_header_or_by_query() {
    let mut headers = HeaderMap::new();
    assert_eq!(bearer(&headers), None);
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("bearer a.b.c"));
    assert_eq!(bearer(&headers).as_deref(), Some("a.b.c"));
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic xyz"));
    assert_eq!(bearer(&headers), None);
    assert_eq!(query_value("x=1&token=a.b.c&y", "token").as_deref(), Some("a.b.c"));
}

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let refusing = warp::path!("refused").and_then(|| async {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "slower").with_retry_after_ms(1500);
        Err::<Response, _>(warp::Rejection::from(problem))
    });
    let (address, shutdown, _) = start(refusing.or(healthz()).unify().boxed()).await;
    for (request, expected) in [
        (
            "GET /nothing HTTP/1.1\r\nHost: x\r\n",
            vec!["404", "application/problem+json", "urn:driftless:problem:not_found"],
        ),
        (
            "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n",
            vec!["405", "method_not_allowed", "allow: GET, HEAD"],
        ),
        (
            "GET /refused HTTP/1.1\r\nHost: x\r\n",
            vec!["429", "retry-after: 2", "\"retry_after_ms\":1500", "\"title\":\"Rate limited\""],
        ),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n", vec!["200 OK", "ok\n", "vary: origin", "nosniff"]),
        ("HEAD /healthz HTTP/1.1\r\nHost: x\r\n", vec!["200 OK", "content-length: 3"]),
        (
            "GET /healthz HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n",
            vec!["403", "origin_not_allowed", "http.allowed_origins"],
        ),
        (
            "GET /nothing HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:5173\r\n",
            vec![
                "404",
                "access-control-allow-origin: http://localhost:5173",
                "expose-headers: etag, driftless-version",
            ],
        ),
        (
            "OPTIONS /refused HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:5173\r\nAccess-Control-Request-Method: POST\r\n",
            vec![
                "204",
                "access-control-allow-origin: http://localhost:5173",
                "access-control-allow-methods: GET, HEAD, POST",
                "access-control-allow-headers: authorization",
                "access-control-max-age: 600",
                "vary: origin",
            ],
        ),
    ] {
        let answer = ask(address, request).await;
        for part in expected {
            assert!(answer.contains(part), "{request:?}: {part:?} is not in {answer}");
        }
        assert!(!answer.contains("allow-credentials"), "{answer}");
        assert!(!request.starts_with("HEAD") || answer.ends_with("\r\n\r\n"), "{answer}");
    }
    shutdown.end().await;
}

#[tokio::test]
async fn an_oversized_head_gets_a_problem_document() {
    let (address, shutdown, _) = start(healthz()).await;
    let long = "x".repeat(limits::URI_BYTES_MAX);
    let large = format!("X-A: {}\r\nX-B: {}\r\n", &long[..30_000], &long[..30_000]);
    let many = "X-A: 1\r\n".repeat(limits::HEADERS_MAX);
    for (path, headers, status, code) in [
        (format!("/healthz?{long}"), "", "414", "uri_too_long"),
        ("/healthz".to_owned(), &*large, "431", "head_too_large"),
        ("/healthz".to_owned(), &*many, "431", "head_too_large"),
    ] {
        let answer = ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("application/problem+json") && answer.contains(code), "{answer}");
    }
    shutdown.end().await;
}

#[tokio::test]
async fn a_route_missing_from_the_openapi_document_is_not_reachable() {
    let any = warp::any().map(|| bytes_response(StatusCode::OK, "text/plain", "reached".into())).boxed();
    let operation = |id: &str| openapi::Operation::new(id, "one");
    let document = openapi::Document::new([
        (Method::GET, "/v1/chunks/{chunk}", operation("content")),
        (Method::POST, "/v1/things", operation("make")),
        (Method::GET, "/v1/things", operation("look")),
    ]);
    let routes = document.guard(any).or(openapi::openapi(&document)).unify().boxed();
    let (address, shutdown, _) = start(routes).await;
    for (request, expected) in [
        ("GET /v1/chunks/canvas/0/0", vec!["200", "reached"]),
        ("HEAD /v1/things", vec!["200"]),
        ("POST /v1/things", vec!["200", "reached"]),
        ("DELETE /v1/things", vec!["405", "allow: GET, POST, HEAD", "application/problem+json"]),
        ("GET /v1/things/1", vec!["404", "urn:driftless:problem:not_found"]),
        ("GET /v1/chunks/canvas/0/0/secret", vec!["404", "urn:driftless:problem:not_found"]),
        ("GET /v1/openapi.json", vec!["200", "\"operationId\":\"make\"", "/healthz"]),
    ] {
        let answer = ask(address, &format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n")).await;
        for part in expected {
            assert!(answer.contains(part), "{request:?}: {part:?} is not in {answer}");
        }
    }
    shutdown.end().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_its_connection() {
    // A large response, which waits in the server, and a small one, which waits in the kernel.
    // A client without a user would make room for the next one at once.
    let give = |bytes: usize| {
        warp::ext::get::<ConnectionPermit>().map(move |permit: ConnectionPermit| {
            permit.release_address();
            bytes_response(StatusCode::OK, "text/plain", vec![b'x'; bytes].into())
        })
    };
    let much = warp::path!("much").and(give(4 * 1024 * 1024));
    let little = warp::path!("little").and(give(48 * 1024));
    let routes = much.or(little).unify().or(healthz()).unify().boxed();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = ShutdownSource::new();
    // The server has a single slot: the next client waits until the first has disconnected.
    let write_timeout = Duration::from_millis(200);
    let options = ServerOptions::new(1).with_write_timeout(write_timeout);
    tokio::spawn(serve(listener, routes, Origins::default(), options, shutdown.handle()));
    let ways = if cfg!(target_os = "linux") { &["much", "little"][..] } else { &["much"] };
    for way in ways {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stalled = socket.connect(address).await.unwrap();
        stalled.write_all(format!("GET /{way} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let next = ask(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n");
        let next = tokio::time::timeout(Duration::from_secs(9), next).await;
        assert!(next.unwrap_or_else(|_| panic!("{way}: the client still holds its slot")).contains("200 OK"));
        drop(stalled);
    }
    shutdown.end().await;
}

/// A flood from a few addresses takes all connections. Clients at other addresses still get in, and
/// those that are users keep their connections.
#[tokio::test]
async fn a_flood_of_strangers_makes_room_for_others() {
    let known = warp::path!("known").and(warp::ext::get::<ConnectionPermit>()).map(|permit: ConnectionPermit| {
        permit.release_address();
        bytes_response(StatusCode::OK, "text/plain", "known".into())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = ShutdownSource::new();
    let routes = known.or(healthz()).unify().boxed();
    tokio::spawn(serve(listener, routes, Origins::default(), ServerOptions::new(4), shutdown.handle()));
    let mut user = TcpStream::connect(address).await.unwrap();
    let mut buffer = [0; 4096];
    user.write_all(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(user.read(&mut buffer).await.unwrap() > 0);
    let mut strangers = Vec::new();
    for last in [2, 2, 2, 3, 3, 2, 2] {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        strangers.push(socket.connect(address).await.unwrap());
    }
    for _ in 0..3 {
        let answer = ask(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n");
        let answer = tokio::time::timeout(Duration::from_secs(9), answer).await;
        assert!(answer.expect("a newcomer gets in").contains("200 OK"));
    }
    user.write_all(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(user.read(&mut buffer).await.unwrap() > 0, "the user's connection is kept");
    drop(strangers);
    shutdown.end().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_times_out() {
    let within = Duration::from_millis(50);
    let echo = |(), body: Body| bytes_response(StatusCode::OK, "text/plain", body.clone());
    let room = Pool::new(1 << 20);
    let routes = warp::path!("echo").and(warp::post()).and(body_within(64, room, within, |_| Ok(()))).map(echo);
    let (address, shutdown, _) = start(routes.boxed()).await;
    // The client keeps the connections open; the server closes them.
    for sent in ["", "half"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{sent}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let answered = tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut answer)).await;
        answered.expect("an answer, and the end").unwrap();
        for part in ["HTTP/1.1 408", "application/problem+json", "urn:driftless:problem:body_timeout", "50ms"] {
            assert!(answer.contains(part), "{sent:?}: {part:?} is not in {answer}");
        }
    }
    shutdown.end().await;
}

#[tokio::test]
async fn a_running_request_is_answered_before_the_shutdown() {
    let (started, mut has_started) = tokio::sync::mpsc::channel(1);
    let (go, gone) = tokio::sync::watch::channel(false);
    let slow = warp::path!("slow")
        .then(move || {
            let (started, mut gone) = (started.clone(), gone.clone());
            async move {
                started.send(()).await.unwrap();
                gone.wait_for(|gone| *gone).await.unwrap();
                bytes_response(StatusCode::OK, "text/plain", "done".into())
            }
        })
        .boxed();
    let (address, shutdown, served) = start(slow).await;
    let asked = tokio::spawn(async move { ask(address, "GET /slow HTTP/1.1\r\nHost: x\r\n").await });
    has_started.recv().await.unwrap();
    // A connection without a request does not delay the shutdown.
    let _idle = TcpStream::connect(address).await.unwrap();
    let ended = tokio::spawn(shutdown.end());
    go.send_replace(true);
    assert!(asked.await.unwrap().contains("done"));
    tokio::time::timeout(Duration::from_secs(5), served).await.expect("serve() returns").unwrap();
    ended.await.unwrap();
}

#[tokio::test]
async fn an_address_has_a_limit_of_unauthenticated_connections() {
    let known = warp::path!("known").and(warp::ext::get::<ConnectionPermit>()).map(|permit: ConnectionPermit| {
        permit.release_address();
        bytes_response(StatusCode::OK, "text/plain", "known".into())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = ShutdownSource::new();
    let (routes, options) = (known.or(healthz()).unify().boxed(), ServerOptions::new(100).per_address(2));
    tokio::spawn(serve(listener, routes, Origins::default(), options, shutdown.handle()));
    /// Sends a request on a connection that stays open and returns the first bytes of the response.
    async fn open(address: SocketAddr, path: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A refused client may see a reset here.
        let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await.expect("an answer");
        answer.truncate(read.unwrap_or(0));
        (stream, String::from_utf8(answer).unwrap())
    }
    let (first, second) = (open(address, "/healthz").await, open(address, "/healthz").await);
    assert!(first.1.contains("200 OK") && second.1.contains("200 OK"));
    let (_, third) = open(address, "/healthz").await;
    assert!(third.is_empty() || third.contains("429") && third.contains("too_many_connections"), "{third}");
    drop(first);
    // The slot is free once the server has seen the end of the connection.
    let mut known = Vec::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while known.len() < 5 {
        assert!(tokio::time::Instant::now() < deadline, "only {} clients were accepted", known.len());
        let (stream, answer) = open(address, "/known").await;
        if answer.contains("known") {
            known.push(stream);
        }
    }
    shutdown.end().await;
}
