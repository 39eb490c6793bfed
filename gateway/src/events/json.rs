//! The hub's events as server-sent events with JSON.

use driftless_chunk::world::Family;
use driftless_schemas::proto::{self, DiscardReason, TrackRejectCode, event, outcome, tracked};
use driftless_schemas::{HistoryId, format, limits};
use hex::encode as hex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use warp::sse::Event;

/// The tracked chunks, by chunk id.
pub(super) type Tracked = BTreeMap<String, TrackedChunk>;

/// The facts that a stream needs about a tracked chunk.
pub(super) struct TrackedChunk {
    pub family: Arc<Family>,
    /// The history of the chunk, from the last Tracked.
    pub history: HistoryId,
}

/// Converts one event of the hub to server-sent events, each about one chunk and with the length of
/// its data in bytes. If `has_ids` is true, each event with content gets the id that resumes the
/// stream after this event.
pub(super) fn to_events(chunks: &mut Tracked, has_ids: bool, body: event::Body) -> Vec<(Event, usize)> {
    let bodies = match body {
        event::Body::Beacons(beacons) => {
            let single = |beacon| event::Body::Beacons(proto::Beacons { beacons: vec![beacon] });
            beacons.beacons.into_iter().map(single).collect()
        }
        body => vec![body],
    };
    bodies.into_iter().filter_map(|body| to_event(chunks, has_ids, body)).collect()
}

fn to_event(chunks: &mut Tracked, has_ids: bool, body: event::Body) -> Option<(Event, usize)> {
    if let event::Body::Tracked(t) = &body
        && let Some(chunk) = chunks.get_mut(&t.chunk_id)
    {
        chunk.history = HistoryId::from_field(&t.history).unwrap_or_default();
    }
    let (name, id, data) = match body {
        // Tracked has no id: the content that it announces is still to come, and a stream that
        // breaks in between must get both again.
        event::Body::Tracked(t) => ("tracked", None, tracked_json(&t)),
        event::Body::Chunk(c) => {
            let chunk = chunks.get(&c.chunk_id)?;
            ("chunk", Some(id_of(c.version, &c.hash, chunk.history)), chunk_json(&chunk.family, &c)?)
        }
        event::Body::Updates(bytes) => {
            let updates: proto::Updates = format::decode("Updates", bytes).ok()?;
            let last = updates.first_version + updates.entries.len() as u64 - 1;
            let chunk = chunks.get(&updates.chunk_id)?;
            let id = id_of(last, &updates.state_hash, chunk.history);
            ("updates", Some(id), updates_json(&chunk.family, &updates))
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
    let data = data.to_string();
    let bytes = data.len();
    let event = Event::default().event(name).data(data);
    Some(match id {
        Some(id) if has_ids => (event.id(id), bytes),
        _ => (event, bytes),
    })
}

/// The id of an event after which the reader has this state.
fn id_of(version: u64, hash: &[u8], history: HistoryId) -> String {
    match history {
        HistoryId::FIRST => format!("{version}:{}", hex(hash)),
        history => format!("{version}:{}:{history}", hex(hash)),
    }
}

fn tracked_json(t: &proto::Tracked) -> Value {
    let resolved = match &t.resolved {
        // In hexadecimal: a JavaScript number cannot hold 64 bits.
        Some(tracked::Resolved::Ledger(r)) => {
            json!({"seq": r.seq, "committed_bits": format!("{:016x}", r.committed_bits)})
        }
        Some(tracked::Resolved::Expired(_)) | None => json!("expired"),
    };
    json!({
        "chunk": t.chunk_id, "version": t.version, "hash": hex(&t.hash), "history": hex(&t.history),
        "resolved": resolved,
    })
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

/// A discard as JSON: in an event, and in the answer about a command's status.
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
