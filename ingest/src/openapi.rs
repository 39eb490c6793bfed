//! The OpenAPI description of ingest's HTTP interface. [`crate::http`] has the routes, and
//! docs/protocol.md explains them.

use driftless_schemas::limits;
use driftless_web::http::openapi::{Document, Operation, example, parameter, reference};
use serde_json::{Value, json};
use warp::http::Method;

/// Returns the OpenAPI document of ingest's own routes.
pub(crate) fn document() -> Document {
    Document::new([
        (Method::GET, "/v1/ingest", websocket()),
        (Method::POST, "/v1/sessions", new_session()),
        (Method::POST, "/v1/chunks/{chunk}/commands", commands()),
    ])
    .with_schema("NewSession", session_schema())
    .with_schema("Command", command_schema())
    .with_schema("Accepted", accepted(false))
    .with_schema("Results", results())
}

fn websocket() -> Operation {
    Operation::new("ingest", "The websocket, subprotocol driftless.ingest.v1")
        .answers_empty(101, "The connection becomes a websocket.")
        .problem(400, "`websocket_key`, `websocket_subprotocol`")
        .problem(426, "`websocket_expected`, `websocket_version`")
}

fn of_a_body(operation: Operation) -> Operation {
    operation
        .problem(408, "`body_timeout`: the body did not arrive in time")
        .problem(413, "`body_too_large`, `command_too_large`")
}

fn new_session() -> Operation {
    let schema = json!({
        "type": "object",
        "properties": {"session_after_ms": {
            "type": "integer", "minimum": 0, "maximum": i64::MAX,
            "description": "The new session's time is above this.",
        }},
        "additionalProperties": false,
    });
    let session = "$response.body#/session";
    let link = json!({"operationId": "submit", "parameters": {"header.Driftless-Session": session}});
    of_a_body(Operation::new("newSession", "A new session").with_token())
        .description("A session belongs to one client instance: never share it.")
        .body(false, [("application/json", json!({"schema": schema}))])
        .answers(201, "The new session.", "application/json", reference("NewSession"))
        .link(201, "submit", link)
        .problem(400, "`bad_body`")
        .problem(503, "`session_not_yet`: `session_after_ms` is too far ahead of this server's clock; retry later")
}

fn commands() -> Operation {
    let chunk = example(parameter("path", "chunk", "The chunk.", &reference("ChunkId")), &json!("canvas/0/0"));
    let session = "The author's session, for commands that do not name one.";
    let several =
        json!({"type": "array", "minItems": 1, "maxItems": limits::HTTP_COMMANDS_MAX, "items": reference("Command")});
    let protobuf =
        |message: &str| json!({"schema": {"contentMediaType": "application/x-protobuf", "description": message}});
    let several_kinds = "application/x-protobuf; proto=driftless.v1.ClientFrame";
    of_a_body(Operation::new("submit", "Submits commands; answers once the log has them").with_token())
        .description(
            "The answer to an array or a ClientFrame has an outcome for each command, in order: 202 if all were \
             accepted, or else 207, each outcome with its own status. A malformed body is refused as a whole. 202 \
             is a receipt and not a decision; the status of a command says whether it was committed.",
        )
        .takes(chunk)
        .takes(parameter("header", "Driftless-Session", session, &reference("Session")))
        .takes(parameter("query", "session", session, &reference("Session")))
        .body(
            true,
            [
                ("application/json", json!({"schema": {"oneOf": [reference("Command"), several]}})),
                ("application/x-protobuf", protobuf("A driftless.v1.Submit. Its chunk_id may be empty.")),
                (several_kinds, protobuf("A driftless.v1.ClientFrame of Submits.")),
            ],
        )
        .answers(
            202,
            "The log has the commands.",
            "application/json",
            json!({"oneOf": [reference("Accepted"), reference("Results")]}),
        )
        .answers(207, "An outcome for each command.", "application/json", reference("Results"))
        .problem(400, "`bad_chunk_id`, `bad_body`, `bad_session`, `session_missing`")
        .problem(403, "`no_write_access`")
        .problem(404, "`unknown_family`, `out_of_bounds`, `not_found`")
        .problem(415, "`unsupported_media_type`")
        .problem(422, "`bad_command`, `bad_seq`")
        .problem(429, "`rate_limited`")
        .problem(503, "`unavailable`: the log accepts no records now; retry later")
        .problem(504, "`not_acknowledged`: the command may be in the log; send the same command again")
}

fn session_schema() -> Value {
    json!({
        "type": "object",
        "required": ["session", "writer", "expires_at_ms", "token_expires_at"],
        "properties": {
            "session": reference("Session"), "writer": reference("Writer"),
            "expires_at_ms": {"type": "integer", "description": "No server accepts the session after this."},
            "token_expires_at": {"type": "integer", "description": "Seconds since the Unix epoch."},
        },
        "additionalProperties": false,
    })
}

fn command_schema() -> Value {
    let number = |minimum: u64, description: &str| json!({"type": "integer", "minimum": minimum, "maximum": i64::MAX, "description": description});
    json!({
        "type": "object",
        "required": ["seq"],
        "properties": {
            "session": reference("Session"),
            "seq": number(1, "The command's number: greater than the last one, and never used twice."),
            "after": number(0, "The number of the writer's previous command to this chunk that it has not withdrawn."),
            "command": {"description": "The command in the model's JSON, such as {\"set\": [{\"x\": 3, \"y\": 4, \"value\": 7}]}."},
            "settle": {"type": "boolean", "description": "Resolves all numbers up to this one, and commits nothing."},
        },
        "additionalProperties": false,
        "examples": [{"seq": 1, "after": 0, "command": {"set": [{"x": 3, "y": 4, "value": 7}]}}],
    })
}

fn accepted(has_status: bool) -> Value {
    let integer = || json!({"type": "integer", "minimum": 0});
    let mut schema = json!({
        "type": "object",
        "required": ["chunk_id", "seq", "partition"],
        "properties": {"chunk_id": reference("ChunkId"), "seq": integer(), "partition": integer(), "offset": integer()},
        "additionalProperties": false,
    });
    if has_status {
        schema["required"] = json!(["chunk_id", "seq", "partition", "status"]);
        schema["properties"]["status"] = json!({"const": 202});
    }
    schema
}

fn results() -> Value {
    json!({
        "type": "object",
        "required": ["results"],
        "properties": {"results": {
            "type": "array", "minItems": 1, "maxItems": limits::HTTP_COMMANDS_MAX,
            "items": {"oneOf": [accepted(true), reference("Problem")]},
        }},
        "additionalProperties": false,
    })
}
