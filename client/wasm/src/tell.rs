//! Events as JSON: one array for all of a turn, so that the boundary is crossed once.

use crate::picture::Change;
use driftless_client_core::{ChunkStatus, Event, Outcome, ReconnectReason, Socket};
use serde_json::{Map, Value, json};

pub fn socket(socket: Socket) -> &'static str {
    match socket {
        Socket::Ingest => "ingest",
        Socket::Gateway => "gateway",
    }
}

/// An event with its chunk's number where it has a chunk; `Changed` is told with what changed.
pub fn event(event: &Event, chunk: u32) -> Value {
    match event {
        Event::Status { status, .. } => {
            let (name, code, message) = status_words(status);
            json!({ "is": "status", "chunk": chunk, "status": name, "code": code, "message": message })
        }
        Event::Changed { version, .. } => json!({ "is": "change", "chunk": chunk, "version": version.0 }),
        Event::Verified { version, hash, .. } => {
            json!({ "is": "verified", "chunk": chunk, "version": version.0, "hash": hash.to_string() })
        }
        Event::Outcome { command, outcome, number, is_receipted, .. } => {
            let mut told = outcome_members(outcome);
            told.insert("is".into(), "outcome".into());
            told.insert("chunk".into(), chunk.into());
            told.insert("command".into(), command.0.into());
            told.insert("receipted".into(), (*is_receipted).into());
            if let Some(number) = number {
                told.insert("writer".into(), hex::encode(number.writer.0).into());
                told.insert("seq".into(), number.seq.0.into());
            }
            told.into()
        }
        Event::Drift { version, expected, found, .. } => json!({
            "is": "drift", "chunk": chunk, "version": version.0,
            "expected": expected.map(|hash| hash.to_string()), "found": found.to_string(),
        }),
        Event::Welcomed { socket: of, world, token_expires_at } => {
            json!({ "is": "welcomed", "socket": socket(*of), "world": world, "expires": token_expires_at })
        }
        Event::Session { session, writer } => {
            json!({ "is": "session", "session": session.to_string(), "writer": hex::encode(writer.0) })
        }
        Event::TokenNeeded => json!({ "is": "token" }),
        Event::Refused { socket: of, code, message } => {
            json!({ "is": "refused", "socket": socket(*of), "code": name(code.as_str_name(), "REFUSAL_CODE_"), "message": message })
        }
        Event::Reconnect { socket: of, reason } => {
            let reason = match reason {
                ReconnectReason::Dead => "dead",
                ReconnectReason::NewSession => "session",
                ReconnectReason::Undecodable => "undecodable",
            };
            json!({ "is": "reconnect", "socket": socket(*of), "reason": reason })
        }
        Event::Fatal { message } => json!({ "is": "fatal", "message": message }),
    }
}

/// Adds to a `Changed` what is different.
pub fn change(told: &mut Value, change: Change) {
    let (member, value) = match change {
        Change::Rects(rects) => ("rects", json!(rects)),
        Change::Keys(keys) => ("keys", json!(keys)),
        Change::All => ("all", true.into()),
    };
    told[member] = value;
}

/// A status, a code and words for it.
pub fn status_words(status: &ChunkStatus) -> (&'static str, Option<String>, Option<&str>) {
    match status {
        ChunkStatus::Loading => ("loading", None, None),
        ChunkStatus::Live => ("live", None, None),
        ChunkStatus::Lagging => ("lagging", None, None),
        ChunkStatus::Reloading => ("reloading", None, None),
        ChunkStatus::Rejected { code, message } => {
            ("rejected", Some(name(code.as_str_name(), "TRACK_REJECT_CODE_")), Some(message))
        }
        ChunkStatus::Failed { message } => ("failed", None, Some(message)),
    }
}

fn outcome_members(outcome: &Outcome) -> Map<String, Value> {
    let members = match outcome {
        Outcome::Committed { version } => {
            json!({ "outcome": "committed", "version": version.map(|version| version.0) })
        }
        Outcome::Discarded { reason, detail } => json!({
            "outcome": "discarded", "reason": name(reason.as_str_name(), "DISCARD_REASON_"), "detail": detail,
        }),
        Outcome::Rejected { code, message } => json!({
            "outcome": "rejected", "code": name(code.as_str_name(), "REJECT_CODE_"), "detail": message,
        }),
        Outcome::Withdrawn => json!({ "outcome": "withdrawn" }),
        Outcome::Unknown { reason } => json!({ "outcome": "unknown", "detail": reason }),
    };
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// `DISCARD_REASON_CONFLICT` is `conflict`.
fn name(full: &str, prefix: &str) -> String {
    full.strip_prefix(prefix).unwrap_or(full).to_ascii_lowercase()
}
