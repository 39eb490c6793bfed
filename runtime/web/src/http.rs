//! The HTTP code that all services share: problem documents (RFC 9457), tokens in requests, chunk
//! ids in paths, allowed origins, and the server loop.
//!
//! Routes are boxed warp filters that return a [`Response`], so that `driftless dev` can mount
//! ingest, gateway and its page on one port. [`serve`] handles the concerns of all requests in one
//! place: CORS, unknown paths, and draining at a shutdown.

mod anonymous;
mod clients;
mod cors;
mod credentials;
mod deadline;
mod guests;
pub mod openapi;
mod origins;
mod path;
mod problem;
mod server;

pub use clients::{ConnectionPermit, PeerAddr};
pub use credentials::{Credentials, credentials};
pub(crate) use deadline::Deadline;
pub use origins::Origins;
pub use path::{ChunkPath, chunk_path};
pub use problem::{Problem, recover};
pub use server::{ServerOptions, serve};

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use driftless_runtime_core::defences::Defence;
use driftless_runtime_core::pool::{Charge, Pool};
use driftless_schemas::limits;
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use warp::{Filter, Rejection};

/// The response type of warp.
pub type Response = warp::reply::Response;
/// Routes that can be mounted together.
pub type Routes = BoxedFilter<(Response,)>;

/// A JSON response.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => bytes_response(status, "application/json", bytes.into()),
        Err(error) => {
            tracing::error!(%error, "cannot encode a response as JSON");
            Problem::internal().response()
        }
    }
}

/// A response with these bytes as its body.
#[must_use]
pub fn bytes_response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// True if `If-None-Match` names this entity tag, which is a quoted text. A weak tag of the client
/// counts as well (RFC 9110, section 13.1.2).
#[must_use]
pub fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

/// A JSON document that does not change while the process runs. It is made once.
#[derive(Clone, Debug)]
pub struct FixedJson {
    bytes: Bytes,
    tag: HeaderValue,
}

impl FixedJson {
    /// Encodes the document.
    #[must_use]
    pub fn new(document: &impl Serialize) -> Self {
        let bytes = match serde_json::to_vec(document) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => {
                tracing::error!(%error, "cannot encode a document as JSON");
                Bytes::from_static(b"null")
            }
        };
        // A hash that the standard library keys with zeros: other processes make the same tag.
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let tag = HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish()));
        Self { bytes, tag: tag.unwrap_or(HeaderValue::from_static("\"\"")) }
    }

    /// Returns the response 200 with the document, or 304 if the client has it.
    #[must_use]
    pub fn response(&self, headers: &HeaderMap) -> Response {
        let mut response = match self.tag.to_str().is_ok_and(|tag| has_tag(headers, tag)) {
            true => bytes_response(StatusCode::NOT_MODIFIED, "application/json", Bytes::new()),
            false => bytes_response(StatusCode::OK, "application/json", self.bytes.clone()),
        };
        response.headers_mut().insert(header::ETAG, self.tag.clone());
        // The document may be another one after the process was started again.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// Accepts requests with these methods. Any other method gets 405 and the header `Allow` with the
/// accepted methods. The path filter must come before this filter.
pub fn only(methods: &'static [Method]) -> impl Filter<Extract = (), Error = Rejection> + Clone {
    let check = move |method: Method| {
        let is_taken = methods.contains(&method);
        std::future::ready(match is_taken {
            true => Ok(()),
            false => Err(Rejection::from(Problem::method_not_allowed(&method, methods))),
        })
    };
    warp::method().and_then(check).untuple_one()
}

/// Returns the token in `Authorization: Bearer …`, or else in `?token=…`.
fn token_of(headers: &HeaderMap, query: &str) -> Option<String> {
    bearer(headers).or_else(|| query_value(query, "token"))
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// Extracts what `check` makes of the request's token, and the whole body if it has at most
/// `bytes_max` bytes and arrives within [`limits::BODY_TIMEOUT_MS`]; otherwise rejects with a
/// [`Problem`]. Unlike warp's own filter, this one does not require a Content-Length, which `curl
/// -X POST` does not send.
///
/// The bytes that are held of a body count against `pool`; without room the answer is 503.
///
/// If `check` refuses the token, no byte of the body is held: the bytes are read and dropped, so
/// that the client can read the response.
pub fn body_for<T: Send>(
    bytes_max: usize,
    pool: Pool,
    check: impl Fn(Credentials) -> Result<T, Problem> + Clone + Send,
) -> impl Filter<Extract = (T, Body), Error = Rejection> + Clone {
    body_within(bytes_max, pool, Duration::from_millis(limits::BODY_TIMEOUT_MS), check)
}

/// A whole body, which counts against a budget until it is dropped.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    _charge: Charge,
}

impl std::ops::Deref for Body {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

fn body_within<T: Send>(
    bytes_max: usize,
    pool: Pool,
    within: Duration,
    check: impl Fn(Credentials) -> Result<T, Problem> + Clone + Send,
) -> impl Filter<Extract = (T, Body), Error = Rejection> + Clone {
    credentials()
        .and(warp::body::stream())
        .and_then(move |credentials, stream| {
            let (checked, charge) = (check(credentials), pool.charge());
            let pool = pool.clone();
            async move {
                let is_held = checked.is_ok() || !Defence::BodyAfterToken.is_on();
                let held_max = if is_held { bytes_max } else { 0 };
                let read = tokio::time::timeout(within, read_body(stream, held_max, bytes_max, (pool, charge))).await;
                let read = read.unwrap_or_else(|_| Err(body_timeout(within)));
                Ok::<_, Rejection>((checked?, read?))
            }
        })
        .untuple_one()
}

fn body_timeout(within: Duration) -> Problem {
    let detail =
        format!("the body did not arrive completely within {within:?}: send all announced bytes without a pause");
    // The rest of the body could not be distinguished from a next request, so the connection
    // closes.
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail)
        .with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// Reads a body of at most `bytes_max` bytes, and holds it if it has at most `held_max`.
async fn read_body<B: Buf>(
    stream: impl Stream<Item = Result<B, warp::Error>>,
    held_max: usize,
    bytes_max: usize,
    (pool, mut charge): (Pool, Charge),
) -> Result<Body, Problem> {
    let mut stream = std::pin::pin!(stream);
    let (mut body, mut bytes) = (BytesMut::new(), 0);
    let mut must_pause = held_max == 0;
    while let Some(part) = stream.next().await {
        let part = part.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "body_cut_off", e.to_string()))?;
        bytes += part.remaining();
        if must_pause && bytes > limits::INPUT_FREE_BYTES {
            // The request is refused already, so its body is not needed.
            must_pause = false;
            tokio::time::sleep(Duration::from_millis(limits::REFUSED_BODY_PAUSE_MS)).await;
        }
        if bytes <= held_max {
            if bytes > limits::INPUT_FREE_BYTES {
                let more = bytes - charge.bytes();
                if !pool.has_room(more) {
                    return Err(no_room_for_body());
                }
                charge.set(bytes);
            }
            body.put(part);
        } else if bytes > bytes_max.saturating_mul(limits::BODY_EXCESS_MAX) {
            break;
        }
        // The rest of an oversized body is read for a while and dropped. A connection that closes
        // while bytes are still arriving is reset, and the reset would overtake the response.
    }
    if bytes > bytes_max {
        let detail = format!("the body is larger than {bytes_max} bytes, the limit of this path");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
    }
    Ok(Body { bytes: body.freeze(), _charge: charge })
}

fn no_room_for_body() -> Problem {
    let detail = "too many long requests are on their way: send this one again later";
    // The rest of the body is not read.
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
        .with_retry_after_ms(limits::ROOM_WAIT_MS as u32)
        .with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// Returns the value of a key in a query string. The value is not percent-decoded, because tokens,
/// numbers and hex digits do not need that.
#[must_use]
pub fn query_value(query: &str, key: &str) -> Option<String> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|(_, value)| value.to_owned())
}

/// The route `GET /healthz`, which answers 200 while the process runs. It does not check
/// dependencies, so that an orchestrator does not restart the process for an outage elsewhere.
#[must_use]
pub fn healthz() -> Routes {
    warp::path!("healthz")
        .and(only(&[Method::GET]))
        .map(|| bytes_response(StatusCode::OK, "text/plain", "ok\n".into()))
        .boxed()
}

/// The route `GET /readyz`, which answers 200, or 503 with the reason. `ready` returns
/// `Err(reason)` while requests should go to another process.
#[must_use]
pub fn readyz(ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static) -> Routes {
    readyz_with_notes(move || ready().map(|()| String::new()))
}

/// The route `GET /readyz` like [`readyz`], of a service that may be ready although something is
/// wrong. `ready` returns `Ok(notes)`; unless empty, the notes follow in a line of their own.
#[must_use]
pub fn readyz_with_notes(ready: impl Fn() -> Result<String, String> + Clone + Send + Sync + 'static) -> Routes {
    warp::path!("readyz")
        .and(only(&[Method::GET]))
        .map(move || match ready() {
            Ok(notes) if notes.is_empty() => bytes_response(StatusCode::OK, "text/plain", "ready\n".into()),
            Ok(notes) => bytes_response(StatusCode::OK, "text/plain", format!("ready\n{notes}\n").into()),
            Err(reason) => bytes_response(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{reason}\n").into()),
        })
        .boxed()
}

/// The route `GET /metrics`, which answers with all metrics in the Prometheus text format.
#[must_use]
pub fn metrics(metrics: driftless_runtime::telemetry::Metrics) -> Routes {
    warp::path!("metrics")
        .and(only(&[Method::GET]))
        .map(move || bytes_response(StatusCode::OK, "text/plain; version=0.0.4", metrics.render().into()))
        .boxed()
}

#[cfg(test)]
mod tests;
