//! Problem documents (RFC 9457): the form of every error response.

use super::Response;
use driftless_auth::TokenError;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};
use std::convert::Infallible;
use warp::http::{HeaderValue, Method, StatusCode, header};
use warp::{Rejection, Reply};

/// An error response: `application/problem+json` with the members `type`
/// (`urn:driftless:problem:<code>`), `title`, `status`, `detail` and further members.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The code for programs: lower-case with underscores.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// The text for people: what happened, the value, and what to do.
    pub detail: String,
    /// Further members.
    pub members: Map<String, Value>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut title = self.code.replace('_', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format!("urn:driftless:problem:{}", self.code))?;
        map.serialize_entry("title", &title)?;
        map.serialize_entry("status", &self.status)?;
        map.serialize_entry("detail", &self.detail)?;
        self.members.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

impl Problem {
    /// Creates a problem. `code` is lower-case with underscores; the title is derived from it.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let (code, detail) = (code.to_owned(), detail.into());
        Self { code, status: status.as_u16(), detail, members: Map::new(), headers: Vec::new() }
    }

    /// The problem of a request on which the server failed. The server's log has the details.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed on this request; its log has the details",
        )
    }

    /// The problem of a request that needs a token and has none.
    #[must_use]
    pub fn no_token() -> Self {
        let detail = "this needs a token: send the header `Authorization: Bearer <token>`";
        Self::new(StatusCode::UNAUTHORIZED, "token_missing", detail)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// The problem of a request whose token is refused.
    #[must_use]
    pub fn token(error: &TokenError) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error.name(), error.to_string())
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))
    }

    /// The problem of a request whose method the path does not accept. The header `Allow` lists the
    /// accepted methods.
    #[must_use]
    pub fn method_not_allowed(method: &Method, allowed: &[Method]) -> Self {
        let mut names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        // The server answers HEAD wherever it answers GET.
        if allowed.contains(&Method::GET) && !allowed.contains(&Method::HEAD) {
            names.push("HEAD");
        }
        let names = names.join(", ");
        let detail = format!("this path does not accept {method}; it accepts {names}");
        let mut problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        // Method names are always valid in a header, so the conversion cannot fail.
        problem.headers.extend(HeaderValue::try_from(names).map(|names| (header::ALLOW, names)));
        problem
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.members.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Tells the client when to retry: the header `Retry-After` (whole seconds, rounded up) and the
    /// member `retry_after_ms`.
    #[must_use]
    pub fn with_retry_after_ms(mut self, ms: u32) -> Self {
        self.headers.push((header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000))));
        self.with("retry_after_ms", ms)
    }

    /// Converts to a response.
    #[must_use]
    pub fn response(self) -> Response {
        // Strings and JSON values always serialize. If that failed, the response would have an
        // empty body and still the right status.
        let mut response = Response::new(serde_json::to_vec(&self).unwrap_or_default().into());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

impl Reply for Problem {
    fn into_response(self) -> Response {
        self.response()
    }
}

impl warp::reject::Reject for Problem {}

/// Turns every rejection of warp into a response with a problem document.
///
/// # Errors
/// Never fails; warp requires the `Result`.
pub async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    use warp::reject::{PayloadTooLarge, UnsupportedMediaType};
    let problem = if let Some(problem) = rejection.find::<Problem>() {
        problem.clone()
    } else if rejection.is_not_found() {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
    } else if rejection.find::<PayloadTooLarge>().is_some() {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is larger than the limit of this path")
    } else if rejection.find::<UnsupportedMediaType>().is_some() {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "this path does not accept this Content-Type",
        )
    } else {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("{rejection:?}"))
    };
    Ok(problem.response())
}
