//! Server-sent events: Tracked, Chunk, Updates, Outcomes and Beacons as JSON, for people with curl, pages and services
//! without websockets.
//!
//! An event stream is a socket to the hub like any other, with the same bounds (R9): what its reader has not taken counts
//! as waiting, in the hub until it is made into JSON and here until that is taken, so that a slow reader's chunks lag; a
//! reader that takes nothing is cut off by the server loop (`http.write_timeout_ms`), which frees its place. Its token is
//! looked at again and again: it may end, or be denied.
//!
//! A stream of one chunk gives its events the `id` `<version>:<hash>`, so that `Last-Event-ID` resumes where the stream
//! ended. A stream of several chunks has no such id, because one id cannot say where each chunk ended without growing with
//! their number, on every event: its reader hands in `have` for each of them. A chunk that is not served is named by a
//! `rejected` event; the others go on.

use crate::connection::Context;
use crate::hub::{EventSubscription, Outgoing};
use bytes::Bytes;
use driftless_auth::{TokenError, Trust, Verifier};
use driftless_chunk::world::Family;
use driftless_gateway_core::Joined;
use driftless_runtime::clock::unix_now;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::places::Place;
use driftless_schemas::access::Claims;
use driftless_schemas::limits::EVENT_CHUNKS_MAX;
use driftless_schemas::proto::{
    self, DiscardReason, Have, ServerFrame, Track, TrackRejectCode, event, outcome, request, tracked,
};
use driftless_schemas::{ChunkId, Hash, SessionId, close, format, limits};
use driftless_web::http::{ConnectionPermit, Problem, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use warp::Reply;
use warp::http::{HeaderValue, StatusCode, header};
use warp::sse::Event;

/// A comment goes out this often, so that proxies and browsers keep the stream.
const KEEP_ALIVE: Duration = Duration::from_millis(limits::EVENT_KEEP_ALIVE_MS);
const TOKEN_CHECK: Duration = Duration::from_millis(limits::EVENT_TOKEN_CHECK_MS);
/// Browsers open a stream that broke again after this.
const RECONNECT: Duration = Duration::from_secs(1);
/// A stream that is gone is noticed by the next comment.
const PLACE_RETRY_MS: u32 = limits::EVENT_KEEP_ALIVE_MS as u32;
/// When a gateway ends, its readers come back one after the other: they are told to wait for up to so much more.
const RECONNECT_JITTER_MS: u64 = 4000;

/// Reads `<version>:<hash>`.
pub(crate) fn parse_id(id: &str) -> Option<Have> {
    let (version, hash) = id.split_once(':')?;
    let hash: Hash = hash.parse().ok()?;
    Some(Have { version: version.parse().ok()?, hash: hash.to_bytes() })
}

/// Reads `chunks=<id>,<id>,…` with `have=<version>:<hash>,,…`, whose places are those of the chunks and may be empty.
pub(crate) fn parse_tracks(chunks: &str, have: Option<&str>) -> Result<Vec<Track>, Problem> {
    let bad = |code: &str, detail: String| Problem::new(StatusCode::BAD_REQUEST, code, detail);
    let chunks = unescape(chunks);
    let count = chunks.split(',').count();
    if chunks.is_empty() || count > EVENT_CHUNKS_MAX {
        let detail = format!(
            "chunks names {} chunks; 1 to {EVENT_CHUNKS_MAX} are taken",
            if chunks.is_empty() { 0 } else { count }
        );
        return Err(bad("bad_chunks", detail));
    }
    let have = unescape(have.unwrap_or_default());
    let haves: Vec<&str> = if have.is_empty() { vec![""; count] } else { have.split(',').collect() };
    if haves.len() != count {
        let detail =
            format!("have has {} places for {count} chunks; leave those empty that you have nothing of", haves.len());
        return Err(bad("bad_have", detail));
    }
    let mut named = BTreeSet::new();
    let mut tracks = Vec::new();
    for (id, have) in chunks.split(',').zip(haves) {
        let id: ChunkId =
            id.parse().map_err(|e: driftless_schemas::ChunkIdError| bad("bad_chunk_id", e.to_string()))?;
        let have = match have {
            "" => None,
            have => Some(parse_id(have).ok_or_else(|| bad("bad_have", format!("{have:?} is not <version>:<hash>")))?),
        };
        let track = Track { chunk_id: id.to_string(), have };
        if !named.insert(id) {
            return Err(bad("bad_chunks", format!("{} is named twice", track.chunk_id)));
        }
        tracks.push(track);
    }
    Ok(tracks)
}

/// What pages' URL encoders make of the characters of ids and lists.
fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    for (escape, plain) in [("%2C", ","), ("%2F", "/"), ("%3A", ":")] {
        text = text.replace(escape, plain).replace(&escape.to_lowercase(), plain);
    }
    text
}

/// Whose stream it is.
pub(crate) struct Reader {
    pub claims: Claims,
    /// The token that says so.
    pub token: String,
    /// The connection's.
    pub permit: Option<ConnectionPermit>,
}

/// Starts a stream of these chunks, if its user may have one more connection.
pub(crate) fn respond(
    context: &Context,
    reader: Reader,
    session: Option<SessionId>,
    tracks: Vec<Track>,
) -> Result<Response, Problem> {
    let own_place = context.shared.greeter.users.take(&reader.claims).map_err(|e| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", e.to_string())
            .with_retry_after_ms(PLACE_RETRY_MS)
    })?;
    let place = Arc::clone(&context.streams).try_acquire_owned().map_err(|_| {
        let detail =
            "this gateway serves as many streams of events as it may (gateway.event_streams_max); try again later";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", detail);
        problem.with_retry_after_ms(RECONNECT_JITTER_MS as u32)
    })?;
    reader.permit.iter().for_each(ConnectionPermit::release_address);
    let world = &context.shared.greeter.world;
    let family = |id: &str| Some(world.place(&id.parse().ok()?).ok()?.family);
    // What has no place gets no events but the hub's rejection.
    let families = tracks.iter().filter_map(|t| Some((t.chunk_id.clone(), family(&t.chunk_id)?))).collect();
    let has_ids = tracks.len() == 1;
    let Reader { claims, token, .. } = reader;
    // Without a session nothing of the stream is one's own: a writer that nobody can be.
    let writer = session.unwrap_or(SessionId([0; 16])).writer(&claims.sub);
    let member = context.hub.listen(Joined { writer, access: Arc::new(claims.access), families: None });
    member.requests(tracks.into_iter().map(request::Body::Track).collect());
    // What has changed between the check and here is looked for at once.
    let mut changes = context.verifier.changes();
    changes.mark_changed();
    let stream = EventStream {
        member,
        families,
        has_ids,
        frames: VecDeque::new(),
        opened_bytes: 0,
        ready: VecDeque::from([Event::default().retry(RECONNECT).comment("driftless")]),
        shutdown: context.shutdown.clone(),
        changes,
        verifier: context.verifier.clone(),
        token,
        check_at: next_check(claims.expires_at),
        is_over: false,
        _places: (own_place, place),
    };
    let events = futures_util::stream::unfold(stream, EventStream::next);
    let events = warp::sse::keep_alive().interval(KEEP_ALIVE).stream(events);
    let mut response = warp::sse::reply(events).into_response();
    let headers = response.headers_mut();
    // Proxies must not gather events, and nobody keep them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A token is looked at again at its end, and before.
fn next_check(expires_at: i64) -> Instant {
    let lifetime_ms = expires_at.saturating_mul(1000).saturating_sub(unix_now().0);
    // Clocks differ: at the end it may be good for a moment still.
    let lifetime = Duration::from_millis(u64::try_from(lifetime_ms).unwrap_or(0).max(50));
    Instant::now() + lifetime.min(TOKEN_CHECK)
}

struct EventStream {
    member: EventSubscription,
    /// By chunk id.
    families: BTreeMap<String, Arc<Family>>,
    /// Whether `Last-Event-ID` can say where the stream ended.
    has_ids: bool,
    /// From the hub. Each is made into events when the one before has been taken: JSON is much larger than a frame, and
    /// many whole chunks may be waiting.
    frames: VecDeque<Bytes>,
    /// Of the hub's bytes, those that stand in `ready`.
    opened_bytes: usize,
    ready: VecDeque<Event>,
    shutdown: Shutdown,
    changes: watch::Receiver<Trust>,
    verifier: Verifier,
    token: String,
    check_at: Instant,
    is_over: bool,
    /// Its user's, and one among the streams of this gateway.
    _places: (Place<String>, OwnedSemaphorePermit),
}

impl EventStream {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            // All of it has gone on: only now there is room for more.
            if self.opened_bytes > 0 {
                self.member.written(std::mem::take(&mut self.opened_bytes));
            }
            if self.is_over {
                return None;
            }
            // Before the next frame: a reader that always has something to take is looked at, too.
            if self.check_at <= Instant::now() {
                self.check_token();
                continue;
            }
            if let Some(frame) = self.frames.pop_front() {
                self.open(frame);
                continue;
            }
            tokio::select! {
                out = self.member.out.recv() => match out? {
                    Outgoing::Frames(frames) => self.frames.extend(frames),
                    Outgoing::Close(code, reason) => self.end(code, &reason),
                },
                _ = self.changes.changed() => {
                    self.changes.borrow_and_update();
                    self.check_at = Instant::now();
                }
                () = self.shutdown.wait() => {
                    let jitter = Duration::from_millis(rand::random_range(0..=RECONNECT_JITTER_MS));
                    self.ready.push_back(Event::default().retry(RECONNECT + jitter));
                    self.end(close::SHUTTING_DOWN, "this gateway ends: open the stream again");
                }
                () = tokio::time::sleep_until(self.check_at) => {}
            }
        }
    }

    fn check_token(&mut self) {
        match self.verifier.verify(&self.token, unix_now()) {
            Ok(claims) => self.check_at = next_check(claims.expires_at),
            Err(TokenError::Expired { .. }) => {
                self.end(close::TOKEN, "the token expired: open the stream again with a fresh one");
            }
            Err(error) => self.end(close::TOKEN, &error.to_string()),
        }
    }

    fn end(&mut self, code: u16, reason: &str) {
        crate::metrics::closed(code);
        let why = json!({"code": code, "reason": reason});
        self.ready.push_back(Event::default().event("closed").data(why.to_string()));
        self.is_over = true;
    }

    fn open(&mut self, frame: Bytes) {
        self.opened_bytes += frame.len();
        // The hub's own bytes.
        let Ok(frame) = format::decode::<ServerFrame>("ServerFrame", frame) else { return };
        for body in frame.events.into_iter().filter_map(|event| event.body) {
            // One event names one chunk.
            let bodies = match body {
                event::Body::Beacons(b) => {
                    let one = |beacon| event::Body::Beacons(proto::Beacons { beacons: vec![beacon] });
                    b.beacons.into_iter().map(one).collect()
                }
                body => vec![body],
            };
            self.ready.extend(bodies.into_iter().filter_map(|body| to_event(&self.families, self.has_ids, body)));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn to_event(families: &BTreeMap<String, Arc<Family>>, has_ids: bool, body: event::Body) -> Option<Event> {
    let (name, id, data) = match body {
        // Without an id: what it announces is still to come, and a stream that breaks in between must get it again.
        event::Body::Tracked(t) => ("tracked", None, tracked_json(&t)),
        event::Body::Chunk(c) => {
            ("chunk", Some((c.version, hex(&c.hash))), chunk_json(families.get(&c.chunk_id)?, &c)?)
        }
        event::Body::Updates(bytes) => {
            let updates: proto::Updates = format::decode("Updates", bytes).ok()?;
            let last = updates.first_version + updates.entries.len() as u64 - 1;
            let family = families.get(&updates.chunk_id)?;
            ("updates", Some((last, hex(&updates.state_hash))), updates_json(family, &updates))
        }
        event::Body::Outcomes(o) => ("outcomes", None, outcomes_json(&o)),
        event::Body::Beacons(b) => {
            let beacon = b.beacons.first()?;
            let data = json!({"chunk": beacon.chunk_id, "version": beacon.version, "hash": hex(&beacon.hash)});
            ("beacon", None, data)
        }
        event::Body::Lagging(l) => ("lagging", None, json!({"chunk": l.chunk_id})),
        event::Body::TrackRejected(r) => {
            let code = TrackRejectCode::try_from(r.code).unwrap_or_default().as_str_name();
            ("rejected", None, json!({"chunk": r.chunk_id, "code": code, "message": r.message}))
        }
        _ => return None,
    };
    let event = Event::default().event(name).data(data.to_string());
    Some(match id {
        Some((version, hash)) if has_ids => event.id(format!("{version}:{hash}")),
        _ => event,
    })
}

fn tracked_json(t: &proto::Tracked) -> Value {
    let resolved = match &t.resolved {
        // As hex: 64 bits do not fit into a JavaScript number.
        Some(tracked::Resolved::Ledger(r)) => {
            json!({"seq": r.seq, "committed_bits": format!("{:016x}", r.committed_bits)})
        }
        Some(tracked::Resolved::Expired(_)) | None => json!("expired"),
    };
    json!({"chunk": t.chunk_id, "version": t.version, "hash": hex(&t.hash), "resolved": resolved})
}

fn chunk_json(family: &Family, c: &proto::Chunk) -> Option<Value> {
    let encoding = zstd::bulk::decompress(&c.data, limits::CONTENT_BYTES_MAX).ok()?;
    let content = family.model.decode(&encoding).ok()?;
    let content = family.model.content_to_json(&content);
    Some(json!({
        "chunk": c.chunk_id, "version": c.version, "hash": hex(&c.hash),
        "model": c.model, "revision": c.revision, "content": content,
    }))
}

fn updates_json(family: &Family, updates: &proto::Updates) -> Value {
    let entries = updates.entries.iter().zip(updates.first_version..).map(|(entry, version)| {
        let effect = family.model.effect_to_json(&entry.effect).unwrap_or(Value::Null);
        json!({"version": version, "writer": hex(&entry.writer), "seq": entry.seq, "effect": effect})
    });
    json!({
        "chunk": updates.chunk_id, "first_version": updates.first_version,
        "entries": entries.collect::<Vec<_>>(), "hash": hex(&updates.state_hash),
    })
}

/// A discard as JSON; also for the status of a command.
pub(crate) fn discarded_json(discarded: &proto::Discarded) -> Value {
    let reason = DiscardReason::try_from(discarded.reason).unwrap_or_default().as_str_name();
    json!({"reason": reason, "detail": discarded.detail})
}

fn outcomes_json(o: &proto::Outcomes) -> Value {
    let outcomes = o.outcomes.iter().map(|outcome| {
        let what = match &outcome.outcome {
            Some(outcome::Outcome::Discarded(d)) => json!({"discarded": discarded_json(d)}),
            Some(outcome::Outcome::OutOfOrder(_)) => json!({"out_of_order": {}}),
            Some(outcome::Outcome::SessionExpired(e)) => json!({"session_expired": {"floor_ms": e.floor_ms}}),
            None => Value::Null,
        };
        json!({"seq": outcome.seq, "outcome": what})
    });
    json!({"chunk": o.chunk_id, "outcomes": outcomes.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_read_back() {
        let hash = Hash::of(b"x");
        let have = parse_id(&format!("12:{hash}")).unwrap();
        assert_eq!((have.version, &have.hash[..]), (12, &hash.0[..]));
        for bad in ["", "12", "12:", "12:00", ":aa", "x:y"] {
            assert_eq!(parse_id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_list_of_chunks_is_read_with_what_is_had_of_each() {
        let hash = Hash::of(b"x");
        let read = |chunks: &str, have: Option<&str>| {
            parse_tracks(chunks, have).map(|tracks| {
                tracks.into_iter().map(|t| (t.chunk_id, t.have.map(|have| have.version))).collect::<Vec<_>>()
            })
        };
        let both = |versions: [Option<u64>; 2]| Ok(vec![("a/0/-1".into(), versions[0]), ("a/1/0".into(), versions[1])]);
        assert_eq!(read("a/0/-1,a/1/0", None), both([None, None]));
        assert_eq!(read("a/0/-1,a/1/0", Some(&format!("7:{hash},"))), both([Some(7), None]));
        assert_eq!(read("a%2F0%2f-1%2Ca%2F1%2F0", Some(&format!("%2C9%3A{hash}"))), both([None, Some(9)]));
        let ids = |count: usize| (0..count).map(|i| format!("a/{i}/0")).collect::<Vec<_>>().join(",");
        assert_eq!(read(&ids(EVENT_CHUNKS_MAX), None).map(|tracks| tracks.len()), Ok(EVENT_CHUNKS_MAX));
        for (chunks, have, code) in [
            ("", None, "bad_chunks"),
            (&*ids(EVENT_CHUNKS_MAX + 1), None, "bad_chunks"),
            ("a/0/0,a/0/0", None, "bad_chunks"),
            ("a/0/0,", None, "bad_chunk_id"),
            ("a/0/+0", None, "bad_chunk_id"),
            ("a/0/0", Some("1:aa"), "bad_have"),
            ("a/0/0,a/1/0", Some("1:aa"), "bad_have"),
        ] {
            let problem = read(chunks, have).unwrap_err();
            assert_eq!((problem.status, &*problem.code), (400, code), "{chunks:?} {have:?}");
        }
    }
}
