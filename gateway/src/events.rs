//! Server-sent events: Tracked, Chunk, Updates, Outcomes and Beacons as JSON, for curl, for pages,
//! and for services without websockets.
//!
//! The JSON of a whole chunk is much larger than its frame, and takes a core for milliseconds. It
//! is made on a thread of its own, in turns of the users. What waits for the readers of all streams
//! has one budget; a stream without room ends, and its reader opens it again later.
//!
//! To the hub, an event stream is a socket like any other, with the same bounds (R9). Frames count
//! as queued until the reader has taken their JSON, so that the chunks of a slow reader lag. The
//! server loop cuts off a reader that takes nothing (`http.write_timeout_ms`) and frees its place.
//! The stream verifies its token again and again, because a token may expire or be denied.
//!
//! A stream of one chunk gives its events the `id` `<version>:<hash>`, followed by `:<history>`
//! except in the first history, and `Last-Event-ID` resumes the stream there. The events of a
//! stream of several chunks have no ids, because each id would have to name the state of every
//! chunk. Its reader passes `have` for each chunk instead. A chunk that is not served gets a
//! `rejected` event, and the stream goes on with the others. A stream all of whose chunks are
//! unavailable ends, so that its reader opens it again.

mod json;
mod query;

use crate::content::DEGRADED_RETRY_MS;
use crate::context::Context;
use crate::hub::EventSubscription;
use crate::hub::shard::Outgoing;
use crate::metrics;
use crate::turns::Turns;
use bytes::Bytes;
use driftless_auth::{TokenError, Trust, Verifier};
use driftless_gateway_core::Joined;
use driftless_runtime::clock::{Clock, unix_now};
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::places::Place;
use driftless_runtime_core::pool::{Charge, Pool};
use driftless_runtime_core::rate::Bucket;
use driftless_schemas::access::Claims;
use driftless_schemas::proto::{ServerFrame, Track, TrackRejectCode, event, request};
use driftless_schemas::time::UnixMs;
use driftless_schemas::{HistoryId, SessionId, close, features, format, limits};
use driftless_web::http::{ConnectionPermit, Credentials, Problem, Response};
use json::{Tracked, TrackedChunk, to_events};
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use warp::Reply;
use warp::http::{HeaderValue, StatusCode, header};
use warp::sse::Event;

pub(crate) use json::discarded_json;
pub(crate) use query::{parse_id, parse_tracks};

/// The stream sends a comment this often, so that proxies and browsers keep the connection.
const KEEP_ALIVE: Duration = Duration::from_millis(limits::EVENT_KEEP_ALIVE_MS);
/// The stream verifies its token again at least this often.
const TOKEN_CHECK: Duration = Duration::from_millis(limits::EVENT_TOKEN_CHECK_MS);
/// The shortest time to the next check of the token. The timer and the wall clock may differ about
/// the time of expiry, and this pause prevents a busy loop of checks. A stream may therefore
/// outlive its token a little.
const TOKEN_CHECK_MIN: Duration = Duration::from_millis(50);
/// Browsers wait this long before they open a broken stream again.
const RECONNECT: Duration = Duration::from_secs(1);
/// A reader whose user has too many connections is told to retry after this time. By then the
/// gateway has sent each stream a comment, has noticed dead streams, and has freed their places.
const PLACE_RETRY_MS: u32 = limits::EVENT_KEEP_ALIVE_MS as u32;
/// A reader whose chunks are all unavailable is told to open the stream again after this time.
const UNAVAILABLE_RETRY: Duration = Duration::from_millis(DEGRADED_RETRY_MS as u64);
/// At shutdown, readers are told to wait for up to this much longer, so that they do not all come
/// back at once.
const RECONNECT_JITTER_MS: u64 = 4000;

/// The reader of a stream.
pub(crate) struct Reader {
    pub claims: Claims,
    /// The token that the claims were read from, and who sent it.
    pub credentials: Credentials,
    /// Counts the connection among those of its address until the stream starts; then it counts for
    /// its user.
    pub permit: Option<ConnectionPermit>,
}

/// Starts a stream of the chunks in `tracks`, if its user may have one more connection. The stream
/// has the outcomes of `session`'s commands.
pub(crate) fn respond(
    context: &Context,
    reader: Reader,
    session: Option<SessionId>,
    tracks: Vec<Track>,
) -> Result<Response, Problem> {
    let places = take_places(context, &reader.claims)?;
    reader.permit.iter().for_each(ConnectionPermit::release_address);
    let world = &context.shared.greeter.world;
    let chunk = |id: &str| {
        let family = world.place(&id.parse().ok()?).ok()?.family;
        Some(TrackedChunk { family, history: HistoryId::FIRST })
    };
    // A chunk without a family gets only the hub's rejection, which needs no family.
    let chunks = tracks.iter().filter_map(|t| Some((t.chunk_id.clone(), chunk(&t.chunk_id)?))).collect();
    let has_ids = tracks.len() == 1;
    let served = tracks.iter().map(|track| track.chunk_id.clone()).collect();
    let Reader { claims, credentials, .. } = reader;
    // Without a session, the reader gets no outcomes: no client can have this writer id.
    let writer = session.unwrap_or(SessionId([0; 16])).writer(&claims.sub);
    let bucket = context.shared.requests.of(&claims.sub, context.clock.monotonic());
    let user: Arc<str> = claims.sub.as_str().into();
    let subscription = context.hub.subscribe(Joined {
        user: Arc::clone(&user),
        writer,
        access: Arc::new(claims.access),
        families: None,
        features: features::HISTORIES,
        bucket: Some(bucket.clone()),
    });
    subscription.requests(tracks.into_iter().map(request::Body::Track).collect());
    // The stream verifies its token once more at once, because a key or the deny list may have
    // changed since the request was checked.
    let mut changes = context.verifier.changes();
    changes.mark_changed();
    let stream = EventStream {
        subscription,
        chunks,
        has_ids,
        served,
        frames: VecDeque::new(),
        decoded_bytes: 0,
        ready: VecDeque::from([Event::default().retry(RECONNECT).comment("driftless")]),
        shutdown: context.shutdown.clone(),
        changes,
        verifier: context.verifier.clone(),
        credentials,
        check_at: next_check(claims.expires_at),
        is_over: false,
        pool: context.events.clone(),
        charge: context.events.charge(),
        heavy: context.heavy.clone(),
        user,
        clock: context.clock,
        bucket,
        _places: places,
    };
    Ok(response(stream))
}

/// A place among the connections of the user and one among the streams of this gateway.
type Places = (Place<String>, OwnedSemaphorePermit);

fn take_places(context: &Context, claims: &Claims) -> Result<Places, Problem> {
    let own_place = context.shared.greeter.users.take(claims).map_err(|e| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", e.to_string())
            .with_retry_after_ms(PLACE_RETRY_MS)
    })?;
    let place = Arc::clone(&context.streams).try_acquire_owned().map_err(|_| {
        let detail = "this gateway serves as many event streams as it may (gateway.event_streams_max); try again later";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", detail);
        problem.with_retry_after_ms(RECONNECT_JITTER_MS as u32)
    })?;
    Ok((own_place, place))
}

fn response(stream: EventStream) -> Response {
    let events = futures_util::stream::unfold(stream, EventStream::next);
    let events = warp::sse::keep_alive().interval(KEEP_ALIVE).stream(events);
    let mut response = warp::sse::reply(events).into_response();
    let headers = response.headers_mut();
    // Tells proxies to pass each event on at once, and to store none.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// When to verify a token again: at its expiry, or earlier.
fn next_check(expires_at: i64) -> Instant {
    let life_ms = UnixMs::from_seconds(expires_at).ms_since(unix_now());
    let life = Duration::from_millis(u64::try_from(life_ms).unwrap_or(0)).max(TOKEN_CHECK_MIN);
    Instant::now() + life.min(TOKEN_CHECK)
}

struct EventStream {
    subscription: EventSubscription,
    chunks: Tracked,
    /// True if events have ids, so that `Last-Event-ID` can resume the stream.
    has_ids: bool,
    /// The chunks that are not unavailable, as far as the hub has said.
    served: BTreeSet<String>,
    /// Frames of the hub that are not decoded yet. A frame is decoded only once the reader has
    /// taken all events of the previous frame, because JSON is much larger than a frame and many
    /// whole chunks may be waiting.
    frames: VecDeque<Bytes>,
    /// Bytes of the frame whose events are in `ready`.
    decoded_bytes: usize,
    /// The budget for the JSON that waits for the readers of all streams, and what this stream has
    /// taken of it: the events of one frame.
    pool: Pool,
    charge: Charge,
    heavy: Turns,
    user: Arc<str>,
    clock: Clock,
    /// The user's [requests, bytes of answers].
    bucket: Bucket<2>,
    ready: VecDeque<Event>,
    shutdown: Shutdown,
    changes: watch::Receiver<Trust>,
    verifier: Verifier,
    credentials: Credentials,
    check_at: Instant,
    is_over: bool,
    _places: Places,
}

impl EventStream {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            // The reader has taken all events of the decoded frame, so report the frame's bytes to
            // the hub as written.
            if self.decoded_bytes > 0 {
                self.subscription.written(std::mem::take(&mut self.decoded_bytes));
                self.charge.set(0);
            }
            if self.is_over {
                return None;
            }
            // Check the token before the next frame, so that the token of a busy stream is verified
            // too.
            if self.check_at <= Instant::now() {
                self.check_token();
                continue;
            }
            if let Some(frame) = self.frames.pop_front() {
                self.decode(frame).await;
                continue;
            }
            tokio::select! {
                outgoing = self.subscription.outgoing.recv() => match outgoing? {
                    Outgoing::Frames(frames) => self.frames.extend(frames),
                    Outgoing::Close(code, reason) => self.end(code, &reason),
                },
                _ = self.changes.changed() => {
                    self.changes.borrow_and_update();
                    self.check_at = Instant::now();
                }
                () = self.shutdown.wait() => {
                    self.end_for_a_while(RECONNECT, close::SHUTTING_DOWN, "this gateway ends: open the stream again");
                }
                () = tokio::time::sleep_until(self.check_at) => {}
            }
        }
    }

    /// Converts a whole chunk, and charges the user as for the same JSON over HTTP.
    async fn content(&mut self, body: event::Body) -> Vec<(Event, usize)> {
        let _turn = self.heavy.permit(&self.user).await;
        let (mut chunks, has_ids) = (std::mem::take(&mut self.chunks), self.has_ids);
        let made = tokio::task::spawn_blocking(move || {
            let events = to_events(&mut chunks, has_ids, body);
            (events, chunks)
        });
        let Ok((events, chunks)) = made.await else {
            tracing::error!("making the JSON of a chunk panicked");
            self.end(close::INTERNAL, "the chunk could not be converted");
            return Vec::new();
        };
        self.chunks = chunks;
        let bytes: usize = events.iter().map(|(_, bytes)| bytes).sum();
        // The user pays with its next requests: this stream goes on.
        let _ = self.bucket.owe([bytes / limits::FORM_BYTES_PER_REQUEST, 0], self.clock.monotonic());
        events
    }

    fn check_token(&mut self) {
        // A stream without a token was not opened, so the default is never used.
        let token = self.credentials.token.as_deref().unwrap_or_default();
        match self.verifier.at(self.credentials.peer).verify(token, unix_now()) {
            Ok(claims) => self.check_at = next_check(claims.expires_at),
            Err(TokenError::Expired { .. }) => {
                self.end(close::TOKEN, "the token expired: open the stream again with a fresh one");
            }
            Err(error) => self.end(close::TOKEN, &error.to_string()),
        }
    }

    /// Ends the stream, and tells the reader to open it again after `pause` and up to
    /// [`RECONNECT_JITTER_MS`] more.
    fn end_for_a_while(&mut self, pause: Duration, code: u16, reason: &str) {
        let jitter = Duration::from_millis(rand::random_range(0..=RECONNECT_JITTER_MS));
        self.ready.push_back(Event::default().retry(pause + jitter));
        self.end(code, reason);
    }

    fn end(&mut self, code: u16, reason: &str) {
        metrics::closed(code);
        let why = serde_json::json!({"code": code, "reason": reason});
        self.ready.push_back(Event::default().event("closed").data(why.to_string()));
        self.is_over = true;
    }

    async fn decode(&mut self, frame: Bytes) {
        self.decoded_bytes += frame.len();
        // The hub encoded the frame, so it decodes.
        let Ok(frame) = format::decode::<ServerFrame>("ServerFrame", frame) else { return };
        for body in frame.events.into_iter().filter_map(|event| event.body) {
            if let event::Body::TrackRejected(rejected) = &body
                && rejected.code() == TrackRejectCode::Unavailable
            {
                self.served.remove(&rejected.chunk_id);
            }
            let events = match &body {
                event::Body::Chunk(_) => self.content(body).await,
                _ => to_events(&mut self.chunks, self.has_ids, body),
            };
            let bytes: usize = events.iter().map(|(_, bytes)| bytes).sum();
            if !self.pool.has_room(bytes) {
                self.ready.clear();
                let reason = "too much waits for the readers of event streams: open the stream again";
                return self.end_for_a_while(UNAVAILABLE_RETRY, close::OVERLOADED, reason);
            }
            self.charge.set(self.charge.bytes() + bytes);
            self.ready.extend(events.into_iter().map(|(event, _)| event));
        }
        if self.served.is_empty() && !self.is_over {
            let reason = "no chunk of this stream is available now: open the stream again";
            self.end_for_a_while(UNAVAILABLE_RETRY, close::INTERNAL, reason);
        }
    }
}
