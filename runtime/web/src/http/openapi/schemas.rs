//! The operations that all services have, for clients and for operators, and shared schemas.

use super::{Document, Operation};
use driftless_schemas::limits;
use serde_json::{Value, json};
use warp::http::Method;

/// Returns the operations for operators: those of an internal listener.
#[must_use]
pub fn operators() -> Document {
    let text = || json!({"type": "string"});
    let get = |path, operation| (Method::GET, path, operation);
    Document::new([
        get(
            "/readyz",
            Operation::new("readyz", "Whether requests should come here")
                .answers(200, "They should. A gateway also lists its degraded partitions.", "text/plain", text())
                .answers(503, "Not now; the text says why.", "text/plain", text()),
        ),
        get(
            "/metrics",
            Operation::new("metrics", "Prometheus' text format").answers(200, "All metrics.", "text/plain", text()),
        ),
    ])
}

/// Returns the part of the document that the clients of all services have in common.
pub(super) fn common() -> Document {
    let text = || json!({"type": "string"});
    let get = |path, operation| (Method::GET, path, operation);
    Document::new([
        get(
            "/healthz",
            Operation::new("healthz", "The process answers").answers(200, "It does.", "text/plain", text()),
        ),
        get(
            "/v1/openapi.json",
            Operation::new("openapi", "This document").answers(
                200,
                "OpenAPI 3.1.",
                "application/json",
                json!({"type": "object", "required": ["openapi", "info", "paths"]}),
            ),
        ),
    ])
    .with_schema("Problem", problem())
    .with_schema("Hash", hex(32, "BLAKE3-256 of a chunk's canonical encoding"))
    .with_schema("Session", hex(16, "A session, like a UUIDv7"))
    .with_schema("Writer", hex(16, "A session with a user's name"))
    .with_schema(
        "Version",
        json!({"type": "integer", "minimum": 0, "description": "Commands committed to a chunk so far"}),
    )
    .with_schema(
        "ChunkId",
        json!({
            "type": "string", "maxLength": limits::CHUNK_ID_BYTES_MAX,
            "pattern": format!("^{}$", chunk_id_pattern()),
            "description": "A family and up to three coordinates. In a path a slash may stand as it is or as %2F.",
        }),
    )
}

/// Returns a regular expression for chunk ids. A coordinate has 32 bits, so the expression compares
/// numbers of ten digits with 2147483647 digit by digit.
#[must_use]
pub fn chunk_id_pattern() -> String {
    const MAX: &str = "2147483647";
    let mut ten_digits = Vec::new();
    for (place, digit) in MAX.char_indices() {
        // Matches numbers that are smaller at this digit, with any digits after it. The first digit
        // is never 0.
        let lowest = if place == 0 { '1' } else { '0' };
        if digit > lowest {
            let below = char::from(digit as u8 - 1);
            ten_digits.push(format!("{}[{lowest}-{below}][0-9]{{{}}}", &MAX[..place], MAX.len() - 1 - place));
        }
    }
    ten_digits.push(MAX.to_owned());
    format!("[a-z][a-z0-9_-]{{0,31}}(/(0|-2147483648|-?([1-9][0-9]{{0,8}}|{}))){{1,3}}", ten_digits.join("|"))
}

fn hex(bytes: usize, description: &str) -> Value {
    json!({"type": "string", "pattern": format!("^[0-9a-f]{{{}}}$", 2 * bytes), "description": description})
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457. Programs use `status` and the last part of `type`.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "pattern": "^urn:driftless:problem:[a-z0-9_]+$"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "For people: the value, and what to do."},
            "chunk_id": {"type": "string"},
            "seq": {"type": "integer", "minimum": 0},
            "retry": {"enum": ["final", "after", "reauthenticate"]},
            "retry_after_ms": {"type": "integer", "minimum": 0},
        },
    })
}
