//! What browsers are told about answers to other origins' pages (CORS). Which pages may ask at all is [`super::Origins`]'
//! business.
//!
//! Credentials are never allowed: tokens are sent by the page's own code, so nothing that a browser sends by itself counts.

use super::Response;
use driftless_schemas::limits;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};

/// The answer to a browser that asks whether it may ask.
pub(super) fn preflight() -> Response {
    let mut response = Response::new(bytes::Bytes::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-type, accept, if-none-match, range, if-range, last-event-id, driftless-session",
        ),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(limits::PREFLIGHT_MAX_AGE_S));
    response
}

/// Lets the page of an origin that may ask read the answer.
pub(super) fn allow(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    // Also where nobody asked from a page: a cache must not hand that answer to one.
    let vary = headers.get(header::VARY).and_then(|vary| vary.to_str().ok());
    let vary = vary.map_or_else(|| "origin".to_owned(), |vary| format!("{vary}, origin"));
    headers.extend(HeaderValue::try_from(vary).map(|vary| (header::VARY, vary)));
    let Some(origin) = origin else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("etag, driftless-version, retry-after, accept-ranges, content-range, allow"),
    );
}
