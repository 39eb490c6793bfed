//! What ingest answers to over HTTP; [`crate::http`] has the routes. docs/protocol.md has the story.

use driftless_schemas::limits;
use driftless_web::http::openapi::{Document, Operation, example, parameter, reference};
use serde_json::{Value, json};
use warp::http::Method;

/// Ingest's part of the document.
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
        .answers_empty(101, "It is one.")
        .problem(400, "`websocket_key`, `websocket_subprotocol`")
        .problem(426, "`websocket_expected`, `websocket_version`")
}

fn of_a_body(operation: Operation) -> Operation {
    operation
        .problem(408, "`body_timeout`: not all of the body came in time")
        .problem(413, "`body_too_large`, `command_too_large`")
}

fn new_session() -> Operation {
    let schema = json!({
        "type": "object",
        "properties": {"session_after_ms": {
            "type": "integer", "minimum": 0, "maximum": i64::MAX,
            "description": "The session's time will be above this.",
        }},
        "additionalProperties": false,
    });
    let session = "$response.body#/session";
    let link = json!({"operationId": "submit", "parameters": {"header.Driftless-Session": session}});
    of_a_body(Operation::new("newSession", "A new session").with_token())
        .description("A session belongs to one program: never share it.")
        .body(false, [("application/json", json!({"schema": schema}))])
        .answers(201, "It is yours.", "application/json", reference("NewSession"))
        .link(201, "submit", link)
        .problem(400, "`bad_body`")
        .problem(503, "`session_not_yet`: session_after_ms is ahead of this server's clock")
}

fn commands() -> Operation {
    let chunk = example(parameter("path", "chunk", "The chunk.", &reference("ChunkId")), &json!("canvas/0/0"));
    let session = "The author's session, where the command does not name it.";
    let several =
        json!({"type": "array", "minItems": 1, "maxItems": limits::HTTP_COMMANDS_MAX, "items": reference("Command")});
    let protobuf =
        |message: &str| json!({"schema": {"contentMediaType": "application/x-protobuf", "description": message}});
    let several_kinds = "application/x-protobuf; proto=driftless.v1.ClientFrame";
    of_a_body(Operation::new("submit", "Submits commands; answers when the log has them").with_token())
        .description(
            "An array, or a ClientFrame, is answered with an outcome for each command, in its order: 202 where all were \
             accepted, else 207, each with a status of its own. What is not well-formed is refused as a whole. 202 is a \
             receipt and no decision; the status of a command tells what became of it.",
        )
        .takes(chunk)
        .takes(parameter("header", "Driftless-Session", session, &reference("Session")))
        .takes(parameter("query", "session", session, &reference("Session")))
        .body(
            true,
            [
                ("application/json", json!({"schema": {"oneOf": [reference("Command"), several]}})),
                ("application/x-protobuf", protobuf("A driftless.v1.Submit; its chunk_id may be empty.")),
                (several_kinds, protobuf("A driftless.v1.ClientFrame of Submits.")),
            ],
        )
        .answers(202, "In the log.", "application/json", json!({"oneOf": [reference("Accepted"), reference("Results")]}))
        .answers(207, "An outcome for each.", "application/json", reference("Results"))
        .problem(400, "`bad_chunk_id`, `bad_body`, `bad_session`, `session_missing`")
        .problem(403, "`no_write_access`")
        .problem(404, "`unknown_family`, `out_of_bounds`, `not_found`")
        .problem(415, "`unsupported_media_type`")
        .problem(422, "`bad_command`, `bad_seq`")
        .problem(429, "`rate_limited`")
        .problem(503, "`unavailable`: the log takes nothing now")
        .problem(504, "`not_acknowledged`: nobody knows; send the same again")
}

fn session_schema() -> Value {
    json!({
        "type": "object",
        "required": ["session", "writer", "expires_at_ms", "token_expires_at"],
        "properties": {
            "session": reference("Session"), "writer": reference("Writer"),
            "expires_at_ms": {"type": "integer", "description": "After this no server takes the session any more."},
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
            "seq": number(1, "The command's number: upwards, and none twice."),
            "after": number(0, "The number of the writer's last command to this chunk that it has not given up."),
            "command": {"description": "As the model has it, such as {\"set\": [{\"x\": 3, \"y\": 4, \"value\": 7}]}."},
            "settle": {"type": "boolean", "description": "Settles all numbers up to this one, and commits nothing."},
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
