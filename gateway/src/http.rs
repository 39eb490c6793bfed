//! The HTTP routes (docs/design.md#gateway): a chunk's content, its events, the status of a
//! command, the world, and the positions of the partitions.

use crate::content::{content, degraded, unavailable};
use crate::context::Context;
use crate::sockets::serve;
use crate::{events, openapi};
use driftless_chunk::world::{Place, World};
use driftless_gateway_core::{Answer, Ask, Standing, Status};
use driftless_runtime::clock::unix_now;
use driftless_schemas::access::Claims;
use driftless_schemas::proto::Track;
use driftless_schemas::world::Unplaced;
use driftless_schemas::{ChunkId, Seq, SessionId};
use driftless_web::http::{
    ChunkPath, ConnectionPermit, Credentials, FixedJson, Origins, Problem, Response, Routes, credentials, json,
    query_value,
};
use driftless_web::socket::{self, Upgrade};
use serde_json::json as value;
use std::sync::Arc;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::{Filter, Rejection};

/// All routes of the gateway, to be mounted beside others.
pub(crate) fn routes(context: Arc<Context>, origins: Origins) -> Routes {
    let world = Arc::clone(&context.shared.greeter.world);
    let with = {
        let context = Arc::clone(&context);
        warp::any().map(move || Arc::clone(&context))
    };
    let websocket = warp::path!("v1" / "gateway")
        .and(socket::websocket(socket::GATEWAY, origins))
        .and(with.clone())
        .map(|upgrade: Upgrade, context: Arc<Context>| {
            let peer = upgrade.peer();
            upgrade.on_stream(move |stream, begun, permit| serve(stream, begun, permit, peer, context))
        });
    let chunks = warp::get()
        .and(driftless_web::http::chunk_path())
        .and(credentials())
        .and(warp::header::headers_cloned())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(with.clone())
        .and(warp::ext::optional())
        .and_then(|path: ChunkPath, credentials, headers, query: String, context: Arc<Context>, permit| async move {
            answer(path, credentials, headers, &query, &context, permit).await
        });
    let several = warp::path!("v1" / "events")
        .and(warp::get())
        .and(credentials())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(with.clone())
        .and(warp::ext::optional())
        .map(|credentials: Credentials, query: String, context: Arc<Context>, permit| {
            open_several(credentials, &query, &context, permit).unwrap_or_else(Problem::response)
        });
    let world = FixedJson::new(&world_json(&world));
    let spec = warp::path!("v1" / "world").and(warp::get()).and(warp::header::headers_cloned());
    let spec = spec.map(move |headers: HeaderMap| world.response(&headers));
    let partitions = warp::path!("v1" / "partitions").and(warp::get()).and(credentials()).and(with);
    let partitions = partitions.then(async |credentials: Credentials, context: Arc<Context>| {
        partitions_json(&credentials, &context).await.unwrap_or_else(Problem::response)
    });
    let routes = websocket.or(spec).unify().or(several).unify().or(partitions).unify().or(chunks).unify().boxed();
    openapi::document().guard(routes)
}

async fn answer(
    path: ChunkPath,
    credentials: Credentials,
    headers: HeaderMap,
    query: &str,
    context: &Context,
    permit: Option<ConnectionPermit>,
) -> Result<Response, Rejection> {
    let suffix = path.suffix();
    if !matches!(suffix[..], [] | ["events"] | ["commands", _, _]) {
        return Err(warp::reject::not_found());
    }
    let (claims, place) = check(&path.chunk, &credentials, context)?;
    context.pay(&claims, 1)?;
    let answered = match suffix[..] {
        ["events"] => {
            let reader = events::Reader { claims, credentials, permit };
            open_events(&path.chunk, reader, &headers, query, context)
        }
        ["commands", session, seq] => status(&path.chunk, &claims, session, seq, context).await,
        _ => content(&path, &place.family, &headers, &claims, context).await,
    };
    Ok(answered.unwrap_or_else(Problem::response))
}

fn check(chunk: &ChunkId, credentials: &Credentials, context: &Context) -> Result<(Claims, Place), Problem> {
    let claims = credentials.verify(&context.verifier, unix_now())?;
    let place = context.shared.greeter.world.place(chunk).map_err(|e| {
        let code = match e {
            Unplaced::UnknownFamily { .. } => "unknown_family",
            Unplaced::OutOfBounds { .. } => "out_of_bounds",
        };
        Problem::new(StatusCode::NOT_FOUND, code, e.to_string())
    })?;
    if !claims.access.may_read(chunk) {
        let detail =
            format!("the token gives no read access to {chunk}: its `driftless.read` has no entry that covers it");
        return Err(Problem::new(StatusCode::FORBIDDEN, "no_read_access", detail));
    }
    Ok((claims, place))
}

fn parse_session(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(|e: String| Problem::new(StatusCode::BAD_REQUEST, "bad_session", format!("session {e}")))
}

fn open_events(
    chunk: &ChunkId,
    reader: events::Reader,
    headers: &HeaderMap,
    query: &str,
    context: &Context,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok().map(str::to_owned));
    let have = last.or_else(|| query_value(query, "have")).and_then(|id| events::parse_id(&id));
    let track = Track { chunk_id: chunk.to_string(), have };
    let session = session(query)?;
    events::respond(context, reader, session, vec![track])
}

/// `GET /v1/events?chunks=<id>,<id>…`: the events of several chunks in one stream, because a
/// browser allows a page few connections to a host. The stream itself rejects each chunk that the
/// token may not read.
fn open_several(
    credentials: Credentials,
    query: &str,
    context: &Context,
    permit: Option<ConnectionPermit>,
) -> Result<Response, Problem> {
    let claims = credentials.verify(&context.verifier, unix_now())?;
    let reader = events::Reader { claims, credentials, permit };
    let chunks = query_value(query, "chunks").unwrap_or_default();
    let tracks = events::parse_tracks(&chunks, query_value(query, "have").as_deref())?;
    context.pay(&reader.claims, tracks.len())?;
    let session = session(query)?;
    events::respond(context, reader, session, tracks)
}

fn session(query: &str) -> Result<Option<SessionId>, Problem> {
    query_value(query, "session").map(|session| parse_session(&session)).transpose()
}

async fn status(
    chunk: &ChunkId,
    claims: &Claims,
    session: &str,
    seq: &str,
    context: &Context,
) -> Result<Response, Problem> {
    let writer = parse_session(session)?.writer(&claims.sub);
    let seq = seq.parse().ok().filter(|seq| *seq > 0).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "bad_seq", format!("seq {seq:?} is not a whole number from 1 on"))
    })?;
    let (mut body, history) = match context.hub.ask(chunk.clone(), Ask::Status(writer, Seq(seq))).await {
        Some(Answer::Status(status, history)) => (status_json(&status), history),
        Some(Answer::Unavailable(reason)) => return Err(unavailable(&reason)),
        Some(Answer::Degraded(reason)) => return Err(degraded(&reason)),
        Some(Answer::Content { .. }) | None => return Err(Problem::internal()),
    };
    body["history"] = history.text().into();
    let mut response = json(StatusCode::OK, &body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn status_json(status: &Status) -> serde_json::Value {
    match status {
        Status::Committed(version) => value!({"status": "committed", "version": version}),
        Status::NotCommitted(discarded) => {
            value!({"status": "not_committed", "discarded": discarded.as_ref().map(events::discarded_json)})
        }
        Status::Unresolved => value!({"status": "unresolved"}),
        Status::Expired => value!({"status": "expired"}),
        Status::BeyondWindow => value!({"status": "beyond_window"}),
    }
}

/// `GET /v1/world`: the description of the world that `Welcome` announces, for clients without a
/// websocket, and the colours of flat grids.
fn world_json(world: &World) -> serde_json::Value {
    let families = world.families().iter().map(|family| {
        let spec = &family.spec;
        value!({
            "name": spec.name, "model": spec.model, "model_revision": family.revision,
            "parameters": spec.parameters, "coordinates": spec.coordinates,
            "coordinate_min": -spec.bounds, "coordinate_max": spec.bounds, "region": spec.region,
            "colors": family.model.colors().map(|colors| colors.iter().map(|[r, g, b]| format!("#{r:02x}{g:02x}{b:02x}")).collect::<Vec<_>>()),
        })
    });
    let spec = world.spec();
    value!({
        "name": spec.name, "generation": spec.generation, "partitions": spec.partitions,
        "families": families.collect::<Vec<_>>(),
    })
}

/// `GET /v1/partitions`: the position of each partition of `updates`, with the epoch, n and history
/// that a reader needs to judge later records (R4), and whether this gateway serves the partition's
/// chunks. It is for tokens that may read all chunks, because positions tell how busy others are.
async fn partitions_json(credentials: &Credentials, context: &Context) -> Result<Response, Problem> {
    let claims = credentials.verify(&context.verifier, unix_now())?;
    let families = context.shared.greeter.world.families();
    if let Some(hidden) = families.iter().find(|family| !claims.access.may_read_family(&family.spec.name)) {
        let detail = format!(
            "positions are for tokens that may read the whole world, and this token may not read all of {0}: its \
             `driftless.read` needs the entry \"{0}/\"",
            hidden.spec.name
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, "no_read_access", detail));
    }
    context.pay(&claims, 1)?;
    let positions = context.hub.positions().await.ok_or_else(Problem::internal)?;
    let topic = &context.shared.greeter.world.topics().updates;
    // The reasons are for operators: `/readyz` has them.
    let states = context.hub.standings.borrow().0.iter().map(Standing::name).collect::<Vec<_>>();
    let positions = positions.iter().zip(states).enumerate().map(|(partition, (at, state))| {
        value!({
            "partition": partition, "offset": at.offset, "epoch": at.epoch, "n": at.n,
            "history": at.history.text(), "state": state,
        })
    });
    let positions: Vec<_> = positions.collect();
    let mut response = json(StatusCode::OK, &value!({"topic": &**topic, "positions": positions}));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
