//! CORS headers, by which browsers decide what pages of other origins may do with responses.
//! [`super::Origins`] decides which origins may send requests at all.
//!
//! The headers never allow credentials that a browser adds by itself, such as cookies. They are not
//! needed, because the page's own code sends the token.

use super::Response;
use driftless_schemas::limits;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};

/// The response to a preflight request.
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

/// Allows a page of a permitted origin to read the response.
pub(super) fn allow(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    // `Vary` is also set if the request has no origin. Otherwise a cache could serve that
    // response, which allows no origin, to a page.
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
