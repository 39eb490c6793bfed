//! Chunk ids in paths: `/v1/chunks/canvas/0/-1/commands`. An id contains slashes, so the parser
//! takes segments from the front as long as they look like coordinates. The rest of the path, such
//! as `commands`, begins with a letter.

use super::Problem;
use driftless_schemas::ChunkId;
use warp::http::StatusCode;
use warp::{Filter, Rejection};

/// A path below `/v1/chunks/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkPath {
    /// The chunk.
    pub chunk: ChunkId,
    /// The text after a dot behind the last coordinate, such as `png`; empty if there is none.
    pub extension: String,
    /// The segments after the id: `["commands"]`, `["events"]`, …
    pub rest: Vec<String>,
}

impl ChunkPath {
    /// Parses the path after `/v1/chunks/`. A slash may be written `%2F`.
    ///
    /// # Errors
    /// A problem with status 400 that names the fault of the id.
    pub fn parse(tail: &str) -> Result<Self, Problem> {
        let (id, extension, rest) = split(tail);
        let chunk = id.parse().map_err(|e: driftless_schemas::ChunkIdError| {
            Problem::new(StatusCode::BAD_REQUEST, "bad_chunk_id", e.to_string())
        })?;
        Ok(Self { chunk, extension, rest })
    }

    /// Returns the segments after the id as string slices, to compare them with a route's.
    #[must_use]
    pub fn suffix(&self) -> Vec<&str> {
        self.rest.iter().map(String::as_str).collect()
    }
}

/// Splits the path after `/v1/chunks/` into id, extension and rest, by syntax alone. The id may be
/// invalid.
pub(super) fn split(tail: &str) -> (String, String, Vec<String>) {
    let tail = tail.replace("%2F", "/").replace("%2f", "/");
    let mut segments = tail.split('/');
    let mut id = segments.next().unwrap_or_default().to_owned();
    let mut rest = Vec::new();
    for segment in segments {
        if rest.is_empty() && segment.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+')) {
            id.push('/');
            id.push_str(segment);
        } else {
            rest.push(segment.to_owned());
        }
    }
    // Only a dot behind the last coordinate starts an extension; elsewhere it makes the id invalid.
    let last = id.rfind('/').map_or(0, |slash| slash + 1);
    let extension = match id[last..].find('.') {
        None => String::new(),
        Some(dot) => {
            let extension = id[last + dot + 1..].to_owned();
            id.truncate(last + dot);
            extension
        }
    };
    (id, extension, rest)
}

/// Matches `/v1/chunks/<id><rest>`. An invalid id is rejected with a [`Problem`]. The route must
/// check extension and rest itself, and reject those of other routes with
/// `warp::reject::not_found()`.
pub fn chunk_path() -> impl Filter<Extract = (ChunkPath,), Error = Rejection> + Clone {
    warp::path("v1").and(warp::path("chunks")).and(warp::path::tail()).and_then(|tail: warp::path::Tail| {
        let parsed = match tail.as_str() {
            "" => Err(warp::reject::not_found()),
            tail => ChunkPath::parse(tail).map_err(Rejection::from),
        };
        std::future::ready(parsed)
    })
}
