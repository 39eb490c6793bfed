//! The server loop: accepts connections, limits their number, and serves HTTP on each.
//!
//! warp's own server is not used. It sets neither TCP_NODELAY (an acknowledgement would wait for
//! Nagle's algorithm) nor a time limit for headers, accepts connections without bound, and its
//! graceful shutdown waits for ever for a stream that does not end.

use super::anonymous::{Anonymous, has_token};
use super::clients::{Addresses, Clients, PeerAddr, TOO_MANY};
use super::deadline::Deadline;
use super::{Origins, Problem, Response, Routes, cors, recover};
use crate::metrics;
use crate::proxy::{Arrival, NoHeader, Proxies};
use crate::stream::Stream;
use crate::tls::Tls;
use driftless_runtime::files;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime::telemetry::LogThrottle;
use driftless_runtime_core::defences::Defence;
use driftless_runtime_core::places::counted;
use driftless_schemas::limits;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use warp::Filter;
use warp::http::{HeaderValue, Method, Request, StatusCode, Version, header};

const HEADER_TIMEOUT: Duration = Duration::from_millis(limits::HEAD_TIMEOUT_MS);
/// The sizes of hyper's buffers, for a request's head and for the part of a response that the peer
/// has not accepted. The size is above the limit on heads, because hyper refuses a head that
/// exceeds its buffer without a problem document.
const BUFFER_BYTES: usize = 2 * limits::HEAD_BYTES_MAX;
/// The number of headers that hyper accepts, above the limit on headers for the same reason.
const HEADERS_MAX: usize = 2 * limits::HEADERS_MAX;
/// How long running requests may take after a shutdown is requested. Websockets are not included:
/// their tasks drain them.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause after an accept failed for lack of a resource, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How often certificate and key are polled for changes.
const TLS_RELOAD: Duration = Duration::from_secs(2);

/// The detail of the problem `not_a_trusted_proxy`.
const NOT_A_PROXY: &str =
    "this address is for proxies; connect to the proxy (http.proxy_protocol, http.trusted_proxies)";

/// The limits and the encryption of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The largest number of connections. If they are taken, one without a user makes room, or more
    /// wait in the system's accept queue.
    pub connections_max: usize,
    /// The largest number of unauthenticated connections per address (per /64 with IPv6); 0 is
    /// unlimited.
    pub connections_per_address: usize,
    /// A connection that accepts no bytes of a response for this long is closed.
    pub write_timeout: Duration,
    /// The certificate for TLS; `None` for plain text.
    pub tls: Option<Tls>,
    /// The trusted proxies, and how they name their clients.
    pub proxies: Proxies,
    addresses: Addresses,
}

impl ServerOptions {
    /// Creates options with a limit on all connections, no limit per address, no TLS, and no
    /// trusted proxy.
    #[must_use]
    pub fn new(connections_max: usize) -> Self {
        let write_timeout = Duration::from_millis(limits::WRITE_TIMEOUT_MS);
        Self {
            connections_max,
            connections_per_address: 0,
            write_timeout,
            tls: None,
            proxies: Proxies::default(),
            addresses: Addresses::default(),
        }
    }

    /// Returns the same options with a limit per address, or with the largest part that an address
    /// may have ([`limits::CONNECTIONS_PER_ADDRESS_PART`]) if that is less.
    #[must_use]
    pub fn per_address(self, connections_per_address: usize) -> Self {
        let most = (self.connections_max / limits::CONNECTIONS_PER_ADDRESS_PART).max(1);
        Self { connections_per_address: connections_per_address.min(most), ..self }
    }

    /// Returns the same options with another write time-out.
    #[must_use]
    pub fn with_write_timeout(self, write_timeout: Duration) -> Self {
        Self { write_timeout, ..self }
    }

    /// Returns the same options with TLS.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Returns the same options with these trusted proxies.
    #[must_use]
    pub fn with_proxies(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
    }

    /// The rates of requests without a token; `None` if addresses have no limits.
    fn anonymous(&self) -> Option<&Anonymous> {
        (self.connections_per_address > 0 && Defence::AnonymousRate.is_on()).then(|| self.addresses.anonymous())
    }
}

/// Serves until shutdown is requested, and then accepts no more connections. Returns when all
/// requests are answered or the drain time-out has passed. Websockets do not delay the return,
/// because their tasks hold a [`Shutdown`] of their own.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    origins: Origins,
    options: ServerOptions,
    shutdown: Shutdown,
) {
    metrics::describe();
    // Accepted connections inherit the size, before the peer learns how much it may send.
    if let Err(error) = SockRef::from(&listener).set_recv_buffer_size(limits::SOCKET_RECEIVE_BYTES) {
        tracing::debug!(%error, "cannot set the size of receive buffers: the kernel chooses it");
    }
    if let Some(tls) = &options.tls {
        tokio::spawn(files::keep_reloading(vec![tls.reloader()], TLS_RELOAD, shutdown.clone()));
    }
    let (phase, phases) = watch::channel(Phase::Serve);
    // No task sends on this channel; it closes when the last connection drops its sender.
    let (alive, mut ended) = mpsc::channel::<Infallible>(1);
    let permits = Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS)));
    let service = TowerToHyperService::new(warp::service(routes.recover(recover)));
    let server = Arc::new(Server { service, origins, options, refused: Refused::default() });
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.wait() => break,
            accepted = accept(&listener, &permits, &server.options.addresses) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let Some(guest) = server.admit(&stream, peer, permit) else { continue };
        set_up(&stream, peer, server.options.write_timeout, server.options.tls.is_some());
        let (server, mut phases, alive) = (Arc::clone(&server), phases.clone(), alive.clone());
        tokio::spawn(async move {
            let opened = tokio::select! {
                biased;
                opened = server.open(stream, peer, guest) => opened,
                _ = phases.changed() => None,
            };
            let Some((stream, clients)) = opened else { return };
            let stream = TokioIo::new(Deadline::new(stream, server.options.write_timeout));
            let (peer, permit, clients) = (clients.peer, clients.permit.clone(), Arc::new(clients));
            let answer = move |request| {
                let (server, clients) = (Arc::clone(&server), Arc::clone(&clients));
                async move { Ok::<_, Infallible>(server.respond(request, &clients).await) }
            };
            let connection = http().serve_connection(stream, hyper::service::service_fn(answer));
            let connection = drive(connection.with_upgrades(), peer, phases, alive);
            tokio::select! {
                () = connection => {}
                () = permit.must_leave() => tracing::debug!(%peer, "closed a connection to make room for others"),
            }
        });
    }
    drop((listener, alive));
    phase.send_replace(Phase::Drain);
    if tokio::time::timeout(DRAIN_TIMEOUT, ended.recv()).await.is_err() {
        tracing::warn!(
            "requests did not finish within {DRAIN_TIMEOUT:?} of the shutdown; their connections are closed"
        );
        phase.send_replace(Phase::Cut);
    }
}

/// Configures hyper's HTTP/1.1 with the limits of this module.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS_MAX);
    http
}

/// The state that all connections of a server share.
struct Server<S> {
    service: TowerToHyperService<S>,
    origins: Origins,
    options: ServerOptions,
    refused: Refused,
}

/// The log lines about refused connections, at a bounded rate.
#[derive(Default)]
struct Refused {
    peers: LogThrottle,
    headers: LogThrottle,
}

/// A connection that is accepted, before its first byte is read.
enum Guest {
    Known(Clients),
    /// The client will be known by the header of the PROXY protocol.
    Unnamed(Arc<OwnedSemaphorePermit>),
}

impl<S> Server<S> {
    /// Decides about a new connection without reading from it, so that a refusal costs little more
    /// than the accept. Returns `None` if it is refused.
    fn admit(&self, stream: &TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) -> Option<Guest> {
        let permit = Arc::new(permit);
        match self.options.proxies.arrival(peer.ip()) {
            Arrival::Direct => Some(Guest::Known(self.one_client(stream, peer, &permit)?)),
            Arrival::NamedByRequest => Some(Guest::Known(Clients::of_proxy(peer, &permit))),
            Arrival::NamedByConnection => Some(Guest::Unnamed(permit)),
            Arrival::NotAllowed => {
                metrics::refused("not_a_proxy");
                if let Some(suppressed) = self.refused.peers.due(Instant::now()) {
                    tracing::warn!(
                        %peer,
                        suppressed,
                        "refused a connection: with http.proxy_protocol, only http.trusted_proxies may connect; if \
                         this address is a proxy, add it there"
                    );
                }
                self.refuse(stream, StatusCode::FORBIDDEN, "not_a_trusted_proxy", NOT_A_PROXY);
                None
            }
        }
    }

    /// Counts a connection for its client's address, or refuses it.
    fn one_client(
        &self,
        stream: &TcpStream,
        client: SocketAddr,
        permit: &Arc<OwnedSemaphorePermit>,
    ) -> Option<Clients> {
        let max = self.options.connections_per_address;
        let clients = Clients::one(client, permit, &self.options.addresses, max);
        if clients.is_none() {
            metrics::refused("address");
            tracing::debug!(%client, "refused a connection: its address has reached the limit");
            self.refuse(stream, StatusCode::TOO_MANY_REQUESTS, "too_many_connections", TOO_MANY);
        }
        clients
    }

    /// Answers a refused connection without reading its bytes. The response may be lost; the peer
    /// then sees a reset.
    fn refuse(&self, stream: &TcpStream, status: StatusCode, code: &str, detail: &str) {
        if self.options.tls.is_some() {
            return;
        }
        let retry = if status == StatusCode::TOO_MANY_REQUESTS { "Retry-After: 10\r\n" } else { "" };
        let document = serde_json::to_string(&Problem::new(status, code, detail)).unwrap_or_default();
        let head = format!("Content-Type: application/problem+json\r\n{retry}Connection: close\r\n");
        let _ = stream.try_write(format!("HTTP/1.1 {status}\r\n{head}\r\n{document}").as_bytes());
    }

    /// Returns the service's end of a connection, and its clients: after the header of the PROXY
    /// protocol and after the TLS handshake, where the server has these. Returns `None` if one of
    /// them fails, or if the client has too many connections.
    async fn open(&self, mut stream: TcpStream, peer: SocketAddr, guest: Guest) -> Option<(Stream, Clients)> {
        let clients = match guest {
            Guest::Known(clients) => clients,
            Guest::Unnamed(permit) => match self.options.proxies.client_of_connection(&mut stream, peer).await {
                Ok(client) => self.one_client(&stream, client, &permit)?,
                Err(error) => return self.without_header(peer, &error),
            },
        };
        let stream = match &self.options.tls {
            Some(tls) => encrypted(tls, stream, &clients).await?,
            None => Stream::Tcp(stream),
        };
        Some((stream, clients))
    }

    /// Logs why a connection from a trusted proxy is closed before it has a client.
    fn without_header<T>(&self, proxy: SocketAddr, error: &NoHeader) -> Option<T> {
        if matches!(error, NoHeader::Empty | NoHeader::Io(_)) {
            tracing::debug!(%proxy, %error, "a proxy closed a connection before it named a client");
            return None;
        }
        metrics::refused("proxy_header");
        if let Some(suppressed) = self.refused.headers.due(Instant::now()) {
            tracing::warn!(
                %proxy,
                %error,
                suppressed,
                "closed a connection of a trusted proxy that did not name its client; turn on the PROXY protocol in \
                 the proxy, or turn off http.proxy_protocol"
            );
        }
        None
    }

    /// Answers one request of a connection.
    async fn respond(&self, mut request: Request<Incoming>, clients: &Clients) -> Response
    where
        TowerToHyperService<S>: hyper::service::Service<Request<Incoming>, Response = Response, Error = Infallible>,
    {
        let Self { service, origins, options, .. } = self;
        let max = options.connections_per_address;
        let named = clients.of_request(request.headers(), &options.proxies, &options.addresses, max);
        let (client, permit) = match named {
            Ok(named) => named,
            Err(refused) => return *refused,
        };
        let counted = counted(client.ip());
        request.extensions_mut().insert(PeerAddr(client));
        request.extensions_mut().insert(permit);
        let Some(anonymous) = options.anonymous() else { return answer(request, service, origins).await };
        if let Some(refused) = anonymous.refuses(&counted, &request) {
            return refused;
        }
        let had_token = has_token(&request);
        let response = answer(request, service, origins).await;
        anonymous.charge(&counted, had_token, &response);
        response
    }
}

/// Performs the TLS handshake and returns the service's end of the connection. The permit is held
/// as long as the connection lives.
async fn encrypted(tls: &Tls, stream: TcpStream, clients: &Clients) -> Option<Stream> {
    match tls.accept(stream).await {
        Ok((stream, relay)) => {
            let permit = clients.permit.clone();
            tokio::spawn(async move {
                relay.await;
                drop(permit);
            });
            Some(stream)
        }
        Err(error) => {
            metrics::refused("handshake");
            tracing::debug!(peer = %clients.peer, %error, "the TLS handshake failed");
            None
        }
    }
}

/// The phase of a server, which tells its connections what to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serve,
    /// Answer the running requests, then close.
    Drain,
    /// Close at once, because the drain time-out has passed.
    Cut,
}

async fn drive<S>(
    connection: http1::UpgradeableConnection<TokioIo<Deadline>, S>,
    peer: SocketAddr,
    mut phases: watch::Receiver<Phase>,
    _alive: mpsc::Sender<Infallible>,
) where
    S: hyper::service::Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let mut connection = std::pin::pin!(connection);
    let result = loop {
        tokio::select! {
            result = connection.as_mut() => break result,
            changed = phases.changed() => match *phases.borrow_and_update() {
                Phase::Serve if changed.is_ok() => {}
                Phase::Drain if changed.is_ok() => connection.as_mut().graceful_shutdown(),
                _ => return,
            },
        }
    };
    if let Err(error) = result {
        // Peers disconnect and send invalid requests at any time, so this is not an error of the
        // server.
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Accepts a connection. If all connections are taken, one that has not said yet for which user it
/// is makes room. If there is none, the new connection waits until another one ends.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    addresses: &Addresses,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
                return Some((stream, peer, permit));
            }
            if addresses.shed().is_some() {
                metrics::refused("shed");
            }
            // The semaphore is never closed.
            let permit = Arc::clone(permits).acquire_owned().await.ok()?;
            Some((stream, peer, permit))
        }
        Err(error) => {
            use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
            if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
                tracing::error!(%error, "cannot accept connections; check the limit of open files");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None
        }
    }
}

/// Sets the socket's options. An acknowledgement must not wait for Nagle's algorithm. Data for a
/// slow peer must not grow old in the kernel. A peer that does not acknowledge packets, or whose
/// machine accepts no more data, counts as gone.
fn set_up(stream: &TcpStream, peer: SocketAddr, write_timeout: Duration, is_tls: bool) {
    let socket = SockRef::from(stream);
    let done = socket.set_tcp_nodelay(true).and_then(|()| socket.set_send_buffer_size(limits::SOCKET_SEND_BYTES));
    #[cfg(target_os = "linux")]
    let done = match is_tls {
        false => done.and_then(|()| socket.set_tcp_user_timeout(Some(write_timeout))),
        // The option is not set with TLS: it could not be removed for a websocket, which has
        // another limit, because the relay does not know what its connection carries.
        true => done,
    };
    #[cfg(not(target_os = "linux"))]
    let _ = (write_timeout, is_tls);
    if let Err(error) = done {
        tracing::debug!(%peer, %error, "cannot set the options of a socket");
    }
}

async fn answer<S>(mut request: Request<Incoming>, service: &TowerToHyperService<S>, origins: &Origins) -> Response
where
    TowerToHyperService<S>: hyper::service::Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let origin = match origins.check(request.headers()) {
        Ok(origin) => origin,
        Err(origin) => {
            let detail = format!(
                "pages of {origin:?} may not use this server; its setting http.allowed_origins names those that may"
            );
            return Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail).response();
        }
    };
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::HEAD {
        // hyper remembers the HEAD request and sends no body. A websocket never begins with HEAD.
        *request.method_mut() = Method::GET;
        request.headers_mut().remove(header::UPGRADE);
    }
    let mut response = if let Some(problem) = too_large(&request).or_else(|| without_one_host(&request)) {
        problem.response()
    } else if is_preflight {
        cors::preflight()
    } else {
        match service.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    let headers = response.headers_mut();
    // A browser must not guess the type of content that users wrote, and run it as a page of this
    // origin.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    cors::allow(headers, origin);
    response
}

/// Returns the problem of a request whose head exceeds the limits of Driftless; `None` if it does
/// not.
fn too_large<B>(request: &Request<B>) -> Option<Problem> {
    let uri_bytes = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if uri_bytes > limits::URI_BYTES_MAX {
        let detail = format!("the path with its query has {uri_bytes} bytes; the limit is {}", limits::URI_BYTES_MAX);
        return Some(refused(StatusCode::URI_TOO_LONG, "uri_too_long", detail));
    }
    let headers = request.headers();
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() + uri_bytes;
    if bytes > limits::HEAD_BYTES_MAX || headers.len() > limits::HEADERS_MAX {
        let (count, bytes_max, max) = (headers.len(), limits::HEAD_BYTES_MAX, limits::HEADERS_MAX);
        let detail = format!(
            "the request's head has {count} headers with {bytes} bytes; the limits are {max} headers and {bytes_max} bytes"
        );
        return Some(refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail));
    }
    None
}

/// Returns the problem of a request that does not have exactly one `Host`; `None` if it does. With
/// two of them, a proxy and this server may see requests to different hosts (RFC 9112, 3.2).
fn without_one_host<B>(request: &Request<B>) -> Option<Problem> {
    let count = request.headers().get_all(header::HOST).iter().count();
    (count != 1 && request.version() == Version::HTTP_11).then(|| {
        let detail = format!("the request has {count} Host headers; send exactly one (RFC 9112)");
        refused(StatusCode::BAD_REQUEST, "bad_host", detail)
    })
}

fn refused(status: StatusCode, code: &str, detail: String) -> Problem {
    // The server does not read the body that may follow, so the connection must close.
    Problem::new(status, code, detail).with_header(header::CONNECTION, HeaderValue::from_static("close"))
}
