//! Events as JSON: one array for all of a turn, so that the boundary is crossed once.

use crate::json::Json;
use crate::picture::Change;
use driftless_client_core::{ChunkStatus, Event, Outcome, ReconnectReason};
use driftless_schemas::format::plain_name;

/// An event with its chunk's number where it has a chunk; a change comes by [`change`].
pub fn event(event: &Event, chunk: u32) -> String {
    let mut told = Json::object();
    let is = match event {
        Event::Status { .. } => "status",
        Event::Changed { .. } => "change",
        Event::Verified { .. } => "verified",
        Event::Outcome { .. } => "outcome",
        Event::Drift { .. } => "drift",
        Event::Welcomed { .. } => "welcomed",
        Event::Session { .. } => "session",
        Event::TokenNeeded => "token",
        Event::Refused { .. } => "refused",
        Event::Reconnect { .. } => "reconnect",
        Event::Fatal { .. } => "fatal",
    };
    told.text("is", is);
    told.number("chunk", chunk.into());
    match event {
        Event::Status { status, .. } => status_members(&mut told, status),
        Event::Verified { version, hash, .. } => {
            told.number("version", version.0);
            told.text("hash", &hash.to_string());
        }
        Event::Outcome { command, outcome, number, is_receipted, .. } => {
            told.number("command", command.0);
            told.flag("receipted", *is_receipted);
            if let Some(number) = number {
                told.text("writer", &hex::encode(number.writer.0));
                told.number("seq", number.seq.0);
            }
            outcome_members(&mut told, outcome);
        }
        Event::Drift { version, expected, found, .. } => {
            told.number("version", version.0);
            told.text("found", &found.to_string());
            if let Some(expected) = expected {
                told.text("expected", &expected.to_string());
            }
        }
        Event::Welcomed { socket: of, world, token_expires_at } => {
            told.text("socket", &of.to_string());
            told.text("world", world);
            told.number("expires", u64::try_from(*token_expires_at).unwrap_or_default());
        }
        Event::Session { session, writer } => {
            told.text("session", &session.to_string());
            told.text("writer", &hex::encode(writer.0));
        }
        // A change is told with what is different: see `change`.
        Event::TokenNeeded | Event::Changed { .. } => {}
        Event::Refused { socket: of, code, message } => {
            told.text("socket", &of.to_string());
            told.text("code", &plain_name(code.as_str_name(), "REFUSAL_CODE_"));
            told.text("message", message);
        }
        Event::Reconnect { socket: of, reason } => {
            let reason = match reason {
                ReconnectReason::Dead => "dead",
                ReconnectReason::NewSession => "session",
                ReconnectReason::Undecodable => "undecodable",
            };
            told.text("socket", &of.to_string());
            told.text("reason", reason);
        }
        Event::Fatal { message } => told.text("message", message),
    }
    told.end()
}

/// A chunk that changed, with what is different.
pub fn change(chunk: u32, version: u64, change: &Change) -> String {
    let mut told = Json::object();
    told.text("is", "change");
    told.number("chunk", chunk.into());
    told.number("version", version);
    match change {
        Change::Rects(rects) => {
            let mut all = Json::array();
            for rect in rects {
                let mut one = Json::array();
                rect.iter().for_each(|number| one.number("", *number as u64));
                all.raw("", &one.end());
            }
            told.raw("rects", &all.end());
        }
        Change::Keys(keys) => told.raw("keys", &texts(keys.iter())),
        Change::All => told.flag("all", true),
    }
    told.end()
}

/// An array of texts.
pub fn texts<'a>(all: impl Iterator<Item = &'a String>) -> String {
    let mut array = Json::array();
    all.for_each(|text| array.text("", text));
    array.end()
}

/// A status, and a code and words for it where there are any.
pub fn status_members(told: &mut Json, status: &ChunkStatus) {
    let (name_of, message) = match status {
        ChunkStatus::Loading => ("loading", None),
        ChunkStatus::Live => ("live", None),
        ChunkStatus::Lagging => ("lagging", None),
        ChunkStatus::Reloading { message } => ("reloading", Some(message)),
        ChunkStatus::Rejected { code, message } => {
            told.text("code", &plain_name(code.as_str_name(), "TRACK_REJECT_CODE_"));
            ("rejected", Some(message))
        }
        ChunkStatus::Failed { message } => ("failed", Some(message)),
    };
    told.text("status", name_of);
    if let Some(message) = message {
        told.text("message", message);
    }
}

fn outcome_members(told: &mut Json, outcome: &Outcome) {
    let (name_of, detail) = match outcome {
        Outcome::Committed { version } => {
            if let Some(version) = version {
                told.number("version", version.0);
            }
            ("committed", None)
        }
        Outcome::Discarded { reason, detail } => {
            told.text("reason", &plain_name(reason.as_str_name(), "DISCARD_REASON_"));
            ("discarded", Some(detail))
        }
        Outcome::Rejected { code, message } => {
            told.text("code", &plain_name(code.as_str_name(), "REJECT_CODE_"));
            ("rejected", Some(message))
        }
        Outcome::Withdrawn => ("withdrawn", None),
        Outcome::Unknown { reason } => ("unknown", Some(reason)),
    };
    told.text("outcome", name_of);
    if let Some(detail) = detail {
        told.text("detail", detail);
    }
}
