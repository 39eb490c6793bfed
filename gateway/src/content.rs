//! `GET /v1/chunks/{id}`: a chunk's content as JSON, as its canonical encoding, or as a picture.
//! The hash is the ETag, so that a client revalidates cheaply. The encoding is also served by byte
//! ranges.

use crate::context::Context;
use bytes::Bytes;
use driftless_chunk::model::Picture;
use driftless_chunk::world::Family;
use driftless_gateway_core::{Answer, Ask};
use driftless_runtime_core::defences::Defence;
use driftless_schemas::access::Claims;
use driftless_schemas::{ChunkId, Hash, Version, limits};
use driftless_web::http::{ChunkPath, Problem, Response, bytes_response, has_tag, json};
use serde_json::json as value;
use std::ops::Range;
use std::sync::Arc;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};

/// Clients are told to ask again after this time for a chunk whose partition is degraded. An
/// operator may have to act, so the time is longer than for a chunk that failed to load.
pub(crate) const DEGRADED_RETRY_MS: u32 = 5_000;

pub(crate) async fn content(
    path: &ChunkPath,
    family: &Arc<Family>,
    headers: &HeaderMap,
    claims: &Claims,
    context: &Context,
) -> Result<Response, Problem> {
    let form = Form::choose(&path.extension, headers)?;
    let (version, hash, encoding) = match context.hub.ask(path.chunk.clone(), Ask::Content).await {
        Some(Answer::Content { version, hash, encoding }) => (version, hash, encoding),
        Some(Answer::Unavailable(reason)) => return Err(unavailable(&reason)),
        Some(Answer::Degraded(reason)) => return Err(degraded(&reason)),
        Some(Answer::Status(..)) | None => return Err(Problem::internal()),
    };
    let etag = format!("\"{hash}\"");
    // The hash covers the canonical encoding. In the other forms equal content may have other
    // bytes, so their tag is weak (RFC 9110, section 8.8.1).
    let weak = if form == Form::Encoding { "" } else { "W/" };
    let is_encoding = form == Form::Encoding;
    let mut response = if has_tag(headers, &etag) {
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        match asked_range(headers, &etag, encoding.len()).filter(|_| is_encoding) {
            None => {
                context.pay(claims, form.requests(encoding.len()))?;
                let work = (Arc::clone(family), path.chunk.clone(), version, hash, encoding);
                form.response(work, claims, context).await?
            }
            Some(Ok(range)) => {
                context.pay(claims, form.requests(range.len()))?;
                part(&encoding, range)
            }
            Some(Err(problem)) => problem.response(),
        }
    };
    let headers = response.headers_mut();
    if is_encoding {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    headers.insert(header::ETAG, text(&format!("{weak}{etag}")));
    headers.insert("driftless-version", text(&version.to_string()));
    // A cache may store the response, but must revalidate it each time, because the chunk may have
    // changed.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, authorization"));
    Ok(response)
}

/// The answer while a chunk's stored state cannot be loaded.
pub(crate) fn unavailable(reason: &str) -> Problem {
    let detail = format!("the chunk cannot be loaded now: {reason}; try again");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).with_retry_after_ms(1000)
}

/// The answer while the chunk's partition is degraded.
pub(crate) fn degraded(reason: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason).with_retry_after_ms(DEGRADED_RETRY_MS)
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

fn part(encoding: &Bytes, range: Range<usize>) -> Response {
    let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, encoding.len());
    let mut response = bytes_response(StatusCode::PARTIAL_CONTENT, "application/octet-stream", encoding.slice(range));
    response.headers_mut().insert(header::CONTENT_RANGE, text(&content_range));
    response
}

/// The requested byte range (RFC 9110, section 14.2) of a content of `bytes` bytes. `None` means
/// that the whole content is served: there is no `Range`, or `If-Range` names another encoding, or
/// `Range` has several ranges, another unit or a malformed value, which a server may ignore. A
/// range without any byte of the content is a problem (416).
///
/// The range is parsed by hand, because the crate `headers` misreads a suffix longer than the
/// content, and a start behind the content's end.
fn asked_range(headers: &HeaderMap, etag: &str, bytes: usize) -> Option<Result<Range<usize>, Problem>> {
    let value = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim());
    // Neither a weak tag nor a date proves that the bytes are the same.
    if value(header::IF_RANGE).is_some_and(|tag| tag != etag) {
        return None;
    }
    let (first, last) = value(header::RANGE)?.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // A number too large for a `usize` lies behind the end of every content.
        is_number.then(|| digits.parse::<usize>().unwrap_or(usize::MAX))
    };
    let range = match (first, last) {
        ("", suffix) => bytes.saturating_sub(number(suffix)?)..bytes,
        (first, "") => number(first)?..bytes,
        (first, last) if number(first)? <= number(last)? => number(first)?..number(last)?.saturating_add(1).min(bytes),
        _ => return None,
    };
    if range.is_empty() {
        let detail = format!("the content has {bytes} bytes, and the range has none of them");
        let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", detail);
        return Some(Err(problem.with_header(header::CONTENT_RANGE, text(&format!("bytes */{bytes}")))));
    }
    Some(Ok(range))
}

/// A content of which a form is made.
type Work = (Arc<Family>, ChunkId, Version, Hash, Bytes);

/// A form in which content is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Encoding,
    Png,
}

impl Form {
    /// Chooses by the path's extension, else by `Accept`; JSON if the client takes anything.
    fn choose(extension: &str, headers: &HeaderMap) -> Result<Self, Problem> {
        match extension {
            "png" => return Ok(Self::Png),
            "json" => return Ok(Self::Json),
            "bin" => return Ok(Self::Encoding),
            "" => {}
            other => {
                let detail = format!("a chunk has no form .{other}: take .json, .bin or, for flat grids, .png");
                return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_extension", detail));
            }
        }
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
        for one in accept.split(',') {
            match one.split(';').next().unwrap_or_default().trim() {
                "application/json" | "*/*" | "application/*" => return Ok(Self::Json),
                "application/octet-stream" => return Ok(Self::Encoding),
                "image/png" | "image/*" => return Ok(Self::Png),
                _ => {}
            }
        }
        let detail = format!("Accept: {accept} names none of application/json, application/octet-stream, image/png");
        Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail))
    }

    /// How many requests it costs to make this form of an encoding of so many bytes, and to send
    /// it, beside the request itself.
    fn requests(self, bytes: usize) -> usize {
        match self {
            Self::Encoding => bytes / limits::ENCODING_BYTES_PER_REQUEST,
            Self::Json | Self::Png if !Defence::FormCost.is_on() => 0,
            Self::Json | Self::Png => bytes / limits::FORM_BYTES_PER_REQUEST,
        }
    }

    /// Makes the response. Forms that take a core for milliseconds are made on a thread of their
    /// own, in turns of the users.
    async fn response(self, work: Work, claims: &Claims, context: &Context) -> Result<Response, Problem> {
        if self == Self::Encoding {
            return self.body(work);
        }
        let _turn = context.heavy.permit(&claims.sub.as_str().into()).await;
        let made = tokio::task::spawn_blocking(move || self.body(work)).await;
        made.unwrap_or_else(|panic| {
            tracing::error!("making a form of a content panicked: {panic}");
            Err(Problem::internal())
        })
    }

    fn body(self, (family, chunk, version, hash, encoding): Work) -> Result<Response, Problem> {
        if self == Self::Encoding {
            return Ok(bytes_response(StatusCode::OK, "application/octet-stream", encoding));
        }
        let content = family.model.decode(&encoding).map_err(|e| {
            tracing::error!(%chunk, "the encoding of a replica cannot be decoded: {e}");
            Problem::internal()
        })?;
        if self == Self::Json {
            let content = family.model.content_to_json(&content);
            let model = &family.spec.model;
            let body =
                value!({"chunk": chunk.as_str(), "version": version, "hash": hash, "model": model, "content": content});
            return Ok(json(StatusCode::OK, &body));
        }
        let picture = family.model.picture(&content).ok_or_else(|| {
            let detail =
                format!("chunks of {} are not flat grids and have no picture; take .json or .bin", family.spec.name);
            Problem::new(StatusCode::NOT_ACCEPTABLE, "no_picture", detail)
        })?;
        Ok(bytes_response(StatusCode::OK, "image/png", png(&picture)?))
    }
}

fn png(picture: &Picture) -> Result<Bytes, Problem> {
    use image::ImageEncoder as _;
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    let written = encoder.write_image(&picture.rgb, picture.width, picture.height, image::ExtendedColorType::Rgb8);
    written.map_err(|e| {
        tracing::error!("cannot encode a picture: {e}");
        Problem::internal()
    })?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_served_ignored_or_refused_as_rfc_9110_says() {
        let ask = |range: &str, if_range: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, text(range));
            headers.extend(if_range.map(|tag| (header::IF_RANGE, text(tag))));
            asked_range(&headers, "\"a\"", 10).map(|found| found.map_err(|problem| problem.status))
        };
        for (range, found) in [
            ("bytes=0-0", Some(Ok(0..1))),
            ("bytes=2-4", Some(Ok(2..5))),
            ("bytes=7-99", Some(Ok(7..10))),
            ("bytes=7-", Some(Ok(7..10))),
            ("bytes=-3", Some(Ok(7..10))),
            ("bytes=-99", Some(Ok(0..10))),
            ("bytes=0-99999999999999999999999", Some(Ok(0..10))),
            ("bytes=10-", Some(Err(416))),
            ("bytes=99999999999999999999999-", Some(Err(416))),
            ("bytes=-0", Some(Err(416))),
            ("bytes=4-2", None),
            ("bytes=0-1,4-5", None),
            ("bytes=+1-2", None),
            ("bytes=-", None),
            ("cells=0-1", None),
            ("", None),
        ] {
            assert_eq!(ask(range, None), found, "{range}");
            assert_eq!(ask(range, Some("\"a\"")), found, "{range}");
            for other in ["\"b\"", "W/\"a\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
                assert_eq!(ask(range, Some(other)), None, "{range}");
            }
        }
    }
}
