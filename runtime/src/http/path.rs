//! Chunk ids in paths: `/v1/chunks/canvas/0/-1/commands`. An id has slashes, so it is taken from the path's front for as
//! long as segments look like coordinates; a suffix begins with a letter.

use super::Problem;
use driftless_schemas::ChunkId;
use warp::http::StatusCode;
use warp::{Filter, Rejection};

/// A path below `/v1/chunks/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkPath {
    /// The chunk.
    pub chunk: ChunkId,
    /// What follows the id's last coordinate after a dot, such as `png`; empty if nothing.
    pub extension: String,
    /// The segments after the id: `["commands"]`, `["events"]`, …
    pub rest: Vec<String>,
}

impl ChunkPath {
    /// Reads what stands after `/v1/chunks/`. A slash may be written `%2F`.
    ///
    /// # Errors
    /// A problem with status 400 that says what is wrong with the id.
    pub fn parse(tail: &str) -> Result<Self, Problem> {
        let tail = tail.replace("%2F", "/").replace("%2f", "/");
        let mut segments = tail.split('/');
        let mut id = segments.next().unwrap_or_default().to_owned();
        let mut extension = String::new();
        let mut rest = Vec::new();
        for segment in segments {
            if rest.is_empty() && segment.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+')) {
                let (coordinate, after_dot) = segment.split_once('.').unwrap_or((segment, ""));
                id.push('/');
                id.push_str(coordinate);
                after_dot.clone_into(&mut extension);
            } else {
                rest.push(segment.to_owned());
            }
        }
        let chunk = id.parse().map_err(|e: driftless_schemas::ChunkIdError| {
            Problem::new(StatusCode::BAD_REQUEST, "bad_chunk_id", e.to_string())
        })?;
        Ok(Self { chunk, extension, rest })
    }

    /// The segments after the id, to match on.
    #[must_use]
    pub fn suffix(&self) -> Vec<&str> {
        self.rest.iter().map(String::as_str).collect()
    }
}

/// Matches `/v1/chunks/<id><rest>`. What the rest must be is the route's business: reject with
/// `warp::reject::not_found()` where it is not yours. A bad id is rejected with a [`Problem`].
pub fn chunk_path() -> impl Filter<Extract = (ChunkPath,), Error = Rejection> + Clone {
    warp::path("v1").and(warp::path("chunks")).and(warp::path::tail()).and_then(|tail: warp::path::Tail| {
        let parsed = match tail.as_str() {
            "" => Err(warp::reject::not_found()),
            tail => ChunkPath::parse(tail).map_err(Rejection::from),
        };
        std::future::ready(parsed)
    })
}
