//! Writes events as JSON. All events that follow an input form one array, so that JavaScript
//! fetches them with one call.

use crate::json::Json;
use crate::view_cache::Change;
use driftless_client_core::{ChunkStatus, Event, Outcome, ReconnectReason};
use driftless_schemas::format::plain_name;

/// Writes an event as a JSON object. `chunk` is the number of the event's chunk; 0 if the event
/// concerns no chunk. For [`Event::Changed`], call [`change`] instead.
pub fn event(event: &Event, chunk: u32) -> String {
    let mut out = Json::object();
    let is = match event {
        Event::Status { .. } => "status",
        Event::Changed { .. } => "change",
        Event::Verified { .. } => "verified",
        Event::Outcome { .. } => "outcome",
        Event::Drift { .. } => "drift",
        Event::HistoryChanged { .. } => "history",
        Event::Welcomed { .. } => "welcomed",
        Event::Session { .. } => "session",
        Event::TokenNeeded => "token",
        Event::Refused { .. } => "refused",
        Event::Reconnect { .. } => "reconnect",
        Event::Fatal { .. } => "fatal",
    };
    out.text("is", is);
    out.number("chunk", chunk.into());
    match event {
        Event::Status { status, .. } => status_members(&mut out, status),
        Event::Verified { version, hash, .. } => {
            out.number("version", version.0);
            out.text("hash", &hash.to_string());
        }
        Event::Outcome { command, outcome, number, is_receipted, .. } => {
            out.number("command", command.0);
            out.flag("receipted", *is_receipted);
            if let Some(number) = number {
                out.text("writer", &hex::encode(number.writer.0));
                out.number("seq", number.seq.0);
            }
            outcome_members(&mut out, outcome);
        }
        Event::Drift { version, expected, found, .. } => {
            out.number("version", version.0);
            out.text("found", &found.to_string());
            if let Some(expected) = expected {
                out.text("expected", &expected.to_string());
            }
        }
        Event::HistoryChanged { world, history, message, .. } => {
            if let Some(world) = world {
                out.text("world", &world.to_string());
            }
            if let Some(history) = history {
                out.text("history", &history.to_string());
            }
            out.text("message", message);
        }
        Event::Welcomed { socket: of, world, token_expires_at } => {
            out.text("socket", &of.to_string());
            out.text("world", world);
            out.number("expires", u64::try_from(*token_expires_at).unwrap_or_default());
        }
        Event::Session { session, writer } => {
            out.text("session", &session.to_string());
            out.text("writer", &hex::encode(writer.0));
        }
        // `TokenNeeded` has no further members. [`change`] writes `Changed`, with the differences.
        Event::TokenNeeded | Event::Changed { .. } => {}
        Event::Refused { socket: of, code, message } => {
            out.text("socket", &of.to_string());
            out.text("code", &plain_name(code.as_str_name(), "REFUSAL_CODE_"));
            out.text("message", message);
        }
        Event::Reconnect { socket: of, reason } => {
            let reason = match reason {
                ReconnectReason::Dead => "dead",
                ReconnectReason::NewSession => "session",
                ReconnectReason::Undecodable => "undecodable",
                ReconnectReason::OtherWorld => "world",
            };
            out.text("socket", &of.to_string());
            out.text("reason", reason);
        }
        Event::Fatal { message } => out.text("message", message),
    }
    out.end()
}

/// Writes the event of a changed chunk, with the differences from the view that JavaScript last
/// saw.
pub fn change(chunk: u32, version: u64, change: &Change) -> String {
    let mut out = Json::object();
    out.text("is", "change");
    out.number("chunk", chunk.into());
    out.number("version", version);
    match change {
        Change::Rects(rects) => {
            let mut all = Json::array();
            for rect in rects {
                let mut one = Json::array();
                rect.iter().for_each(|number| one.number("", *number as u64));
                all.raw("", &one.end());
            }
            out.raw("rects", &all.end());
        }
        Change::Keys(keys) => out.raw("keys", &texts(keys.iter())),
        Change::All => out.flag("all", true),
    }
    out.end()
}

/// Writes an array of strings.
pub fn texts<'a>(all: impl Iterator<Item = &'a String>) -> String {
    let mut array = Json::array();
    all.for_each(|text| array.text("", text));
    array.end()
}

/// Adds the members of a status to an object: `status`, and `code` and `message` if the status has
/// them.
pub fn status_members(out: &mut Json, status: &ChunkStatus) {
    let (name_of, message) = match status {
        ChunkStatus::Loading => ("loading", None),
        ChunkStatus::Live => ("live", None),
        ChunkStatus::Lagging => ("lagging", None),
        ChunkStatus::Unavailable { message } => ("unavailable", Some(message)),
        ChunkStatus::Reloading { message } => ("reloading", Some(message)),
        ChunkStatus::Rejected { code, message } => {
            out.text("code", &plain_name(code.as_str_name(), "TRACK_REJECT_CODE_"));
            ("rejected", Some(message))
        }
        ChunkStatus::Failed { message } => ("failed", Some(message)),
    };
    out.text("status", name_of);
    if let Some(message) = message {
        out.text("message", message);
    }
}

/// Adds the members of an outcome to an object: `outcome`, and those of the outcome's fields.
fn outcome_members(out: &mut Json, outcome: &Outcome) {
    let (name_of, detail) = match outcome {
        Outcome::Committed { version } => {
            if let Some(version) = version {
                out.number("version", version.0);
            }
            ("committed", None)
        }
        Outcome::Discarded { reason, detail } => {
            out.text("reason", &plain_name(reason.as_str_name(), "DISCARD_REASON_"));
            ("discarded", Some(detail))
        }
        Outcome::Rejected { code, message } => {
            out.text("code", &plain_name(code.as_str_name(), "REJECT_CODE_"));
            ("rejected", Some(message))
        }
        Outcome::Withdrawn => ("withdrawn", None),
        Outcome::Unknown { reason } => ("unknown", Some(reason)),
    };
    out.text("outcome", name_of);
    if let Some(detail) = detail {
        out.text("detail", detail);
    }
}
