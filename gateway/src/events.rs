//! Server-sent events: one chunk's Tracked, Chunk, Updates, Outcomes and Beacons as JSON, for people with curl and
//! services without websockets.
//!
//! An event stream is a socket to the hub like any other, with the same bounds. The `id` of an event is
//! `<version>:<hash>`, so that `Last-Event-ID` resumes where the stream ended.

use crate::connection::Context;
use crate::hub::{Member, Out};
use bytes::Bytes;
use driftless_chunk::world::Family;
use driftless_gateway_core::Joined;
use driftless_runtime::http::Response;
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::proto::{
    self, DiscardReason, Have, ServerFrame, Track, TrackRejectCode, event, outcome, request, tracked,
};
use driftless_schemas::{ChunkId, Hash, format, limits};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use warp::Reply;
use warp::sse::Event;

/// A comment goes out this often, so that proxies and browsers keep the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Reads `<version>:<hash>`.
pub(crate) fn parse_id(id: &str) -> Option<Have> {
    let (version, hash) = id.split_once(':')?;
    let hash: Hash = hash.parse().ok()?;
    Some(Have { version: version.parse().ok()?, hash: hash.to_bytes() })
}

/// Starts a stream.
pub(crate) fn respond(
    context: &Context,
    joined: Joined,
    chunk: &ChunkId,
    family: Arc<Family>,
    have: Option<Have>,
    expires_at: i64,
) -> Response {
    let member = context.hub.join(joined);
    member.requests(vec![request::Body::Track(Track { chunk_id: chunk.to_string(), have })]);
    let lifetime = expires_at.saturating_mul(1000).saturating_sub(crate::connection::now_ms());
    let stream = EventStream {
        member,
        family,
        ready: VecDeque::from([Event::default().retry(Duration::from_secs(1)).comment("driftless")]),
        shutdown: context.shutdown.clone(),
        ends: tokio::time::Instant::now() + Duration::from_millis(u64::try_from(lifetime).unwrap_or(0)),
        is_over: false,
    };
    let events = futures_util::stream::unfold(stream, EventStream::next);
    let events = warp::sse::keep_alive().interval(KEEP_ALIVE).stream(events);
    let mut response = warp::sse::reply(events).into_response();
    // Proxies must not gather events.
    response.headers_mut().insert("x-accel-buffering", warp::http::HeaderValue::from_static("no"));
    response
}

struct EventStream {
    member: Member,
    family: Arc<Family>,
    ready: VecDeque<Event>,
    shutdown: Shutdown,
    /// With the token.
    ends: tokio::time::Instant,
    is_over: bool,
}

impl EventStream {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.is_over {
                return None;
            }
            tokio::select! {
                out = self.member.out.recv() => self.take(out?),
                () = self.shutdown.wait() => return None,
                () = tokio::time::sleep_until(self.ends) => {
                    let why = json!({"reason": "the token expired: open the stream again with a fresh one"});
                    self.ready.push_back(Event::default().event("closed").data(why.to_string()));
                    self.is_over = true;
                }
            }
        }
    }

    fn take(&mut self, out: Out) {
        match out {
            Out::Close(code, reason) => {
                let why = json!({"code": code, "reason": reason});
                self.ready.push_back(Event::default().event("closed").data(why.to_string()));
                self.is_over = true;
            }
            Out::Frames(frames) => {
                self.member.written(frames.iter().map(Bytes::len).sum());
                for frame in frames {
                    // The hub's own bytes.
                    let Ok(frame) = format::decode::<ServerFrame>("ServerFrame", frame) else { continue };
                    for event in frame.events.into_iter().filter_map(|event| event.body) {
                        self.ready.extend(to_event(&self.family, event));
                    }
                }
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn to_event(family: &Family, body: event::Body) -> Option<Event> {
    let (name, id, data) = match body {
        event::Body::Tracked(t) => ("tracked", Some((t.version, hex(&t.hash))), tracked_json(&t)),
        event::Body::Chunk(c) => ("chunk", Some((c.version, hex(&c.hash))), chunk_json(family, &c)?),
        event::Body::Updates(bytes) => {
            let updates: proto::Updates = format::decode("Updates", bytes).ok()?;
            let last = updates.first_version + updates.entries.len() as u64 - 1;
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
        Some((version, hash)) => event.id(format!("{version}:{hash}")),
        None => event,
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
}
