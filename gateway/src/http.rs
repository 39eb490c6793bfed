//! Questions over HTTP (DESIGN.md section 7): a chunk's content, its events, what became of a command, the world.

use crate::connection::{Context, now_ms, serve};
use crate::events;
use bytes::Bytes;
use driftless_chunk::model::Picture;
use driftless_chunk::world::{Family, Place, World};
use driftless_gateway_core::{Answer, Ask, Joined, Status};
use driftless_runtime::http::{
    ChunkPath, ConnectionPermit, Origins, Problem, Response, Routes, bytes_response, json, query_value, token,
};
use driftless_runtime::socket::{self, Upgrade};
use driftless_schemas::access::Claims;
use driftless_schemas::proto::Track;
use driftless_schemas::world::Unplaced;
use driftless_schemas::{ChunkId, Hash, Seq, SessionId, Version};
use serde_json::json as value;
use std::sync::Arc;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::{Filter, Rejection};

/// All routes of the gateway, for mounting beside others.
pub(crate) fn routes(context: Arc<Context>, origins: Origins) -> Routes {
    let world = Arc::clone(&context.greeter.world);
    let with = {
        let context = Arc::clone(&context);
        warp::any().map(move || Arc::clone(&context))
    };
    let websocket = warp::path!("v1" / "gateway")
        .and(socket::websocket(socket::GATEWAY, origins))
        .and(with.clone())
        .map(|upgrade: Upgrade, context: Arc<Context>| {
            upgrade.on_stream(move |stream, begun, permit| serve(stream, begun, permit, context))
        });
    let chunks = warp::get()
        .and(driftless_runtime::http::chunk_path())
        .and(token())
        .and(warp::header::headers_cloned())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(with.clone())
        .and(warp::ext::optional())
        .and_then(|path: ChunkPath, token, headers, query: String, context: Arc<Context>, permit| async move {
            answer(path, token, headers, &query, &context, permit).await
        });
    let several = warp::path!("v1" / "events")
        .and(warp::get())
        .and(token())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(with.clone())
        .and(warp::ext::optional())
        .map(|token: Option<String>, query: String, context: Arc<Context>, permit| {
            open_several(token.as_deref(), &query, &context, permit).unwrap_or_else(Problem::response)
        });
    let spec = warp::path!("v1" / "world").and(warp::get()).map(move || world_json(&world));
    let partitions = warp::path!("v1" / "partitions").and(warp::get()).and(with).then(partitions_json);
    websocket.or(spec).unify().or(several).unify().or(partitions).unify().or(chunks).unify().boxed()
}

async fn answer(
    path: ChunkPath,
    token: Option<String>,
    headers: HeaderMap,
    query: &str,
    context: &Context,
    permit: Option<ConnectionPermit>,
) -> Result<Response, Rejection> {
    let suffix = path.suffix();
    if !matches!(suffix[..], [] | ["events"] | ["commands", _, _]) {
        return Err(warp::reject::not_found());
    }
    let (claims, place) = check(&path.chunk, token.as_deref(), context)?;
    pay(&claims, 1, context)?;
    let answered = match suffix[..] {
        ["events"] => open_events(&path.chunk, claims, &headers, query, context, permit),
        ["commands", session, seq] => status(&path.chunk, &claims, session, seq, context).await,
        _ => content(&path, &place.family, &headers, context).await,
    };
    Ok(answered.unwrap_or_else(Problem::response))
}

fn verify(token: Option<&str>, context: &Context) -> Result<Claims, Problem> {
    let token = token.ok_or_else(Problem::no_token)?;
    context.verifier.verify(token, now_ms()).map_err(|e| Problem::token(&e))
}

/// Requests of this user, taken off its rate.
fn pay(claims: &Claims, requests: usize, context: &Context) -> Result<(), Problem> {
    let now_ms = now_ms();
    context.requests.of(&claims.sub, now_ms).take([requests], now_ms).map_err(|wait_ms| {
        let most = context.greeter.limits.requests_per_second;
        let detail = format!("{:?} asks for more than {most} things a second; wait {wait_ms} ms", claims.sub);
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).with_retry_after_ms(wait_ms)
    })
}

fn check(chunk: &ChunkId, token: Option<&str>, context: &Context) -> Result<(Claims, Place), Problem> {
    let claims = verify(token, context)?;
    let place = context.greeter.world.place(chunk).map_err(|e| {
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

fn unavailable(reason: &str) -> Problem {
    let detail = format!("the chunk's stored state cannot be loaded now: {reason}; try again");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).with_retry_after_ms(1000)
}

fn parse_session(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(|e: String| Problem::new(StatusCode::BAD_REQUEST, "bad_session", format!("session {e}")))
}

fn open_events(
    chunk: &ChunkId,
    claims: Claims,
    headers: &HeaderMap,
    query: &str,
    context: &Context,
    permit: Option<ConnectionPermit>,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok().map(str::to_owned));
    let have = last.or_else(|| query_value(query, "have")).and_then(|id| events::parse_id(&id));
    let track = Track { chunk_id: chunk.to_string(), have };
    let joined = joined(&claims, query)?;
    events::respond(context, permit, claims, joined, vec![track])
}

/// `GET /v1/events?chunks=<id>,<id>…`: the events of several chunks in one stream, for pages, which have few connections
/// to a host. Whether a chunk may be read is said in the stream, for each by itself.
fn open_several(
    token: Option<&str>,
    query: &str,
    context: &Context,
    permit: Option<ConnectionPermit>,
) -> Result<Response, Problem> {
    let claims = verify(token, context)?;
    let chunks = query_value(query, "chunks").unwrap_or_default();
    let tracks = events::parse_tracks(&chunks, query_value(query, "have").as_deref())?;
    pay(&claims, tracks.len(), context)?;
    let joined = joined(&claims, query)?;
    events::respond(context, permit, claims, joined, tracks)
}

fn joined(claims: &Claims, query: &str) -> Result<Joined, Problem> {
    let session = query_value(query, "session").map(|session| parse_session(&session)).transpose()?;
    // Without a session nothing of the stream is one's own: a writer that nobody can be.
    let session = session.unwrap_or(SessionId([0; 16]));
    Ok(Joined { writer: session.writer(&claims.sub), access: Arc::new(claims.access.clone()), families: None })
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
    let body = match context.hub.ask(chunk.clone(), Ask::Status(writer, Seq(seq))).await {
        Some(Answer::Status(status)) => match status {
            Status::Committed(version) => value!({"status": "committed", "version": version}),
            Status::NotCommitted(discarded) => {
                value!({"status": "not_committed", "discarded": discarded.as_ref().map(events::discarded_json)})
            }
            Status::Unresolved => value!({"status": "unresolved"}),
            Status::Expired => value!({"status": "expired"}),
            Status::BeyondWindow => value!({"status": "beyond_window"}),
        },
        Some(Answer::Unavailable(reason)) => return Err(unavailable(&reason)),
        Some(Answer::Content { .. }) | None => return Err(Problem::internal()),
    };
    let mut response = json(StatusCode::OK, &body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn content(
    path: &ChunkPath,
    family: &Family,
    headers: &HeaderMap,
    context: &Context,
) -> Result<Response, Problem> {
    let form = Form::choose(&path.extension, headers)?;
    let (version, hash, encoding) = match context.hub.ask(path.chunk.clone(), Ask::Content).await {
        Some(Answer::Content { version, hash, encoding }) => (version, hash, encoding),
        Some(Answer::Unavailable(reason)) => return Err(unavailable(&reason)),
        Some(Answer::Status(_)) | None => return Err(Problem::internal()),
    };
    let etag = format!("\"{hash}\"");
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let is_known = |one: &str| one == "*" || one.trim_start_matches("W/") == etag;
    // The hash is of the canonical encoding: for the other forms it says "the same", not "the same bytes" (RFC 9110, 8.8.1).
    let weak = if form == Form::Encoding { "" } else { "W/" };
    let mut response = if known.split(',').any(|one| is_known(one.trim())) {
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        form.body(family, &path.chunk, version, hash, encoding)?
    };
    let headers = response.headers_mut();
    let text = |text: &str| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    headers.insert(header::ETAG, text(&format!("{weak}{etag}")));
    headers.insert("driftless-version", text(&version.to_string()));
    // May be kept, but must be asked for each time: the chunk changes.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, authorization"));
    Ok(response)
}

/// How a content is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Encoding,
    Png,
}

impl Form {
    /// By the path's extension, else by `Accept`; JSON where the client takes anything.
    fn choose(extension: &str, headers: &HeaderMap) -> Result<Self, Problem> {
        match extension {
            "png" => return Ok(Self::Png),
            "json" => return Ok(Self::Json),
            "bin" => return Ok(Self::Encoding),
            "" => {}
            other => {
                let detail = format!("there is no .{other} of a chunk: .json, .bin and, for flat grids, .png");
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

    fn body(
        self,
        family: &Family,
        chunk: &ChunkId,
        version: Version,
        hash: Hash,
        encoding: Bytes,
    ) -> Result<Response, Problem> {
        if self == Self::Encoding {
            return Ok(bytes_response(StatusCode::OK, "application/octet-stream", encoding));
        }
        let content = family.model.decode(&encoding).map_err(|e| {
            tracing::error!(%chunk, "a replica's own encoding cannot be read: {e}");
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
            let detail = format!("chunks of {} are no flat pictures; take .json or .bin", family.spec.name);
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
        tracing::error!("a picture cannot be written: {e}");
        Problem::internal()
    })?;
    Ok(bytes.into())
}

/// `GET /v1/world`: what `Welcome` announces, for those who do not say Hello; with the colours of flat grids.
fn world_json(world: &World) -> Response {
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
    json(
        StatusCode::OK,
        &value!({
            "name": spec.name, "generation": spec.generation, "partitions": spec.partitions,
            "families": families.collect::<Vec<_>>(),
        }),
    )
}

/// `GET /v1/partitions`: where each partition of `updates` stands, with the epoch and n that R4 needs to read on from there.
async fn partitions_json(context: Arc<Context>) -> Response {
    let Some(positions) = context.hub.positions().await else { return Problem::internal().response() };
    let topic = &context.greeter.world.topics().updates;
    let positions: Vec<_> = positions
        .iter()
        .enumerate()
        .map(|(partition, at)| value!({"partition": partition, "offset": at.offset, "epoch": at.epoch, "n": at.n}))
        .collect();
    json(StatusCode::OK, &value!({"topic": &**topic, "positions": positions}))
}
