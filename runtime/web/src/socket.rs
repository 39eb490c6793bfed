//! Websockets: the check of the request, the upgrade of the connection, and the close. The
//! submodules read and write frames.
//!
//! warp's own `ws()` is not used. Its read buffer of 128 KiB per connection costs 136 KB of memory
//! for an idle socket, as measured, and it checks neither subprotocol nor origin. This module uses
//! hyper's upgrade and hands the plain stream to the service. A service can therefore encode a
//! frame once and write it to many sockets.
//!
//! Requests must arrive through [`crate::http::serve`], whose connections are [`Stream`]s. No
//! compression is negotiated: snapshots are compressed already, and a compressor costs hundreds of
//! kilobytes per socket.

use crate::http::{ConnectionPermit, Deadline, Origins, PeerAddr, Problem, Response};
use crate::stream::{CLOSE_TIMEOUT, Stream};
use bytes::Bytes;
use driftless_schemas::limits;
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::{IpAddr, Shutdown as Half};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use warp::{Filter, Rejection};

pub use driftless_schemas::close;

mod inbound;
pub use inbound::{Inbound, InboundError, Reader};
mod outbound;
pub use outbound::{Flushed, SendQueue, frame_header};

/// The subprotocol of ingest.
pub const INGEST: &str = "driftless.ingest.v1";
/// The subprotocol of the gateway.
pub const GATEWAY: &str = "driftless.gateway.v1";

/// Matches a request for a websocket. The path filter must come before this filter. A request with
/// a fault is rejected with a [`Problem`] that names the fault.
pub fn websocket(
    subprotocol: &'static str,
    origins: Origins,
) -> impl Filter<Extract = (Upgrade,), Error = Rejection> + Clone {
    warp::method()
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::optional::<ConnectionPermit>())
        .and(warp::ext::optional::<PeerAddr>())
        .and_then(move |method: Method, headers: HeaderMap, on_upgrade, permit, peer: Option<PeerAddr>| {
            let checked = check(&method, &headers, on_upgrade, subprotocol, &origins);
            let peer = peer.map(|PeerAddr(address)| address.ip());
            std::future::ready(checked.map(|upgrade| Upgrade { permit, peer, ..upgrade }).map_err(Rejection::from))
        })
}

/// A checked request for a websocket.
#[derive(Debug)]
pub struct Upgrade {
    on_upgrade: OnUpgrade,
    accept_key: String,
    subprotocol: &'static str,
    permit: Option<ConnectionPermit>,
    peer: Option<IpAddr>,
}

impl Upgrade {
    /// The address of the client; `None` if it is not known.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Returns the answer 101, and runs `serve` in a task of its own once the connection is
    /// upgraded. `serve` gets the stream, the bytes already read from it, and the connection's
    /// permit. The permit is held until `serve` ends.
    pub fn on_stream<F, U>(self, serve: F) -> Response
    where
        F: FnOnce(Stream, Bytes, Option<ConnectionPermit>) -> U + Send + 'static,
        U: Future<Output = ()> + Send + 'static,
    {
        let response = self.response();
        tokio::spawn(async move {
            let permit = self.permit;
            let upgraded = match self.on_upgrade.await {
                Ok(upgraded) => upgraded,
                Err(error) => return tracing::debug!(%error, "the peer disconnected before the upgrade"),
            };
            match upgraded.downcast::<TokioIo<Deadline>>() {
                Ok(Parts { io, read_buf, .. }) => {
                    let stream = io.into_inner().into_inner();
                    // Websockets detect dead peers with pings, and close with a close frame. The
                    // kernel's time limit for HTTP would cut the connection without one, so it
                    // is removed.
                    #[cfg(target_os = "linux")]
                    if matches!(stream, Stream::Tcp(_))
                        && let Err(error) = socket2::SockRef::from(&stream).set_tcp_user_timeout(None)
                    {
                        tracing::debug!(%error, "cannot remove the HTTP time limit from a websocket");
                    }
                    let must_leave = async {
                        match &permit {
                            Some(permit) => permit.must_leave().await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = serve(stream, read_buf, permit.clone()) => {}
                        () = must_leave => tracing::debug!("closed a websocket without Hello to make room for others"),
                    }
                }
                Err(_) => tracing::error!("a websocket request did not arrive through http::serve"),
            }
            permit.iter().for_each(ConnectionPermit::websocket_ended);
        });
        response
    }

    fn response(&self) -> Response {
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(self.subprotocol));
        if let Ok(accept) = HeaderValue::try_from(&self.accept_key) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }
}

/// Returns the payload of a close frame: the code, and the reason cut to the length that fits.
#[must_use]
pub fn close_payload(code: u16, reason: &str) -> Bytes {
    [&code.to_be_bytes(), close::reason(reason).as_bytes()].concat().into()
}

/// Closes a socket so that the peer receives the close frame with this payload. A TCP connection
/// that closes while bytes are still arriving is reset, and the reset would overtake the close
/// frame. Incoming bytes are therefore read and dropped until the peer closes too, or
/// [`CLOSE_TIMEOUT`] has passed.
pub async fn finish(stream: Stream, mut output: SendQueue, payload: Bytes, is_greeted: bool) {
    output.push_close(payload);
    let farewell = async {
        if output.drain(&stream).await.is_err() {
            return;
        }
        stream.shut(Half::Write);
        discard(&stream, is_greeted).await;
    };
    // If the peer does not close in time, the connection is closed all the same.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await;
}

/// Reads and drops what the peer of a closed websocket still sends, until it closes too, or until
/// there were as many bytes as it may send before Hello, or [`limits::CLOSED_BYTES_MAX`] bytes if
/// it has said Hello. The caller sets a deadline.
pub async fn discard(stream: &Stream, is_greeted: bool) {
    let mut left = if is_greeted { limits::CLOSED_BYTES_MAX } else { limits::BEFORE_HELLO_BYTES_MAX };
    while left > 0 && stream.readable().await.is_ok() {
        match stream.read_ready(<[u8]>::len) {
            Ok(read) => left = left.saturating_sub(read.unwrap_or(0)),
            Err(_) => return,
        }
        // A socket that always has bytes is always ready, so that this loop would never wait.
        tokio::task::yield_now().await;
    }
}

fn check(
    method: &Method,
    headers: &HeaderMap,
    on_upgrade: Option<OnUpgrade>,
    subprotocol: &'static str,
    origins: &Origins,
) -> Result<Upgrade, Problem> {
    if method != Method::GET {
        let detail = format!("a websocket begins with GET, not {method}");
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail));
    }
    if !lists(headers, header::CONNECTION, "upgrade") || !lists(headers, header::UPGRADE, "websocket") {
        let detail = format!(
            "this path is a websocket (subprotocol {subprotocol}); request it with `Connection: upgrade` and `Upgrade: websocket`"
        );
        return Err(upgrade_required("websocket_expected", detail));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(upgrade_required("websocket_version", "Sec-WebSocket-Version must be 13 (RFC 6455)".into()));
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24) else {
        let detail = "Sec-WebSocket-Key must be 16 bytes in base64";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "websocket_key", detail));
    };
    if !lists(headers, header::SEC_WEBSOCKET_PROTOCOL, subprotocol) {
        let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|v| v.to_str().ok()).unwrap_or("none");
        let detail = format!(
            "this server speaks the subprotocol {subprotocol}; the client offered {offered:?}. Check the client's version, and that this is the intended service"
        );
        return Err(
            Problem::new(StatusCode::BAD_REQUEST, "websocket_subprotocol", detail).with("subprotocol", subprotocol)
        );
    }
    if let Err(origin) = origins.check(headers) {
        let detail = format!(
            "pages of {origin:?} may not use this server; its setting http.allowed_origins names those that may"
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail));
    }
    let Some(on_upgrade) = on_upgrade else {
        return Err(upgrade_required(
            "websocket_expected",
            "this connection cannot become a websocket; use HTTP/1.1".into(),
        ));
    };
    Ok(Upgrade { on_upgrade, accept_key: derive_accept_key(key.as_bytes()), subprotocol, permit: None, peer: None })
}

fn upgrade_required(code: &str, detail: String) -> Problem {
    Problem::new(StatusCode::UPGRADE_REQUIRED, code, detail)
        .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(header::CONNECTION, HeaderValue::from_static("upgrade"))
        .with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

/// Returns true if a comma-separated header contains a value, ignoring case. Subprotocols are
/// case-sensitive, but those of Driftless have no capitals.
fn lists(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
pub(crate) mod echo;
#[cfg(test)]
mod tests;
