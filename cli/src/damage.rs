//! `POST /debug/damage/{replayer|gateway}?chunk=ID`: flips a bit in a service's copy of a chunk in
//! memory. A demo or a test can then show that Driftless detects and heals drift. Only debug builds
//! have this route.

use driftless_schemas::ChunkId;
use driftless_web::http::{Routes, only};
use std::collections::HashMap;
use warp::http::{Method, StatusCode};
use warp::{Filter, Reply};

/// The route for one service. `service` is the last part of the path, and `damage` flips the bit.
pub(crate) fn route(service: &'static str, damage: impl Fn(ChunkId) + Clone + Send + Sync + 'static) -> Routes {
    warp::path!("debug" / "damage" / String)
        .and_then(move |named: String| async move { if named == service { Ok(()) } else { Err(warp::reject()) } })
        .untuple_one()
        .and(only(&[Method::POST]))
        .and(warp::query::<HashMap<String, String>>())
        .map(move |query: HashMap<String, String>| match query.get("chunk").and_then(|id| id.parse().ok()) {
            Some(chunk) => {
                damage(chunk);
                StatusCode::ACCEPTED.into_response()
            }
            None => {
                warp::reply::with_status("name a chunk: ?chunk=canvas/0/0", StatusCode::BAD_REQUEST).into_response()
            }
        })
        .boxed()
}
