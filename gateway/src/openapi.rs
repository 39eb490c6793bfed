//! The OpenAPI document of the gateway's HTTP API. The routes in `http` serve only the operations
//! of this document; docs/protocol.md explains the API.

use driftless_gateway_core::Standing;
use driftless_schemas::limits;
use driftless_web::http::openapi::{Document, Operation, chunk_id_pattern, example, header, parameter, reference};
use serde_json::{Value, json};
use warp::http::Method;

const UNAVAILABLE: &str =
    "`unavailable`: the stored state cannot be loaded now, or this gateway cannot read the chunk's partition now";

/// The gateway's part of the OpenAPI document.
pub(crate) fn document() -> Document {
    let get = |path, operation| (Method::GET, path, operation);
    let content = |id: &str, form: &str| at_chunk(Operation::new(id, form)).takes(known());
    Document::new([
        get("/v1/gateway", websocket()),
        get("/v1/chunks/{chunk}", all_forms(content("chunk", "A chunk's content, in the form that Accept asks for"))),
        get("/v1/chunks/{chunk}.json", json_form(content("chunkAsJson", "A chunk's content as JSON"))),
        get("/v1/chunks/{chunk}.bin", bytes(content("chunkAsBytes", "A chunk's canonical encoding"))),
        get("/v1/chunks/{chunk}.png", picture(content("chunkAsPicture", "A flat grid as a picture"))),
        get("/v1/chunks/{chunk}/events", events_of_one()),
        get("/v1/events", events_of_several()),
        get("/v1/chunks/{chunk}/commands/{session}/{seq}", status()),
        get("/v1/world", world()),
        get("/v1/partitions", partitions()),
    ])
    .with_schema("Content", content_schema())
    .with_schema("Event", event_schema())
    .with_schema("Status", status_schema())
    .with_schema("Discarded", discarded())
    .with_schema("World", world_schema())
    .with_schema("Positions", positions())
}

fn websocket() -> Operation {
    Operation::new("gateway", "The websocket, with subprotocol driftless.gateway.v1")
        .answers_empty(101, "The connection becomes a websocket.")
        .problem(400, "`websocket_key`, `websocket_subprotocol`")
        .problem(426, "`websocket_expected`, `websocket_version`")
}

/// An operation on a chunk that the token may read.
fn at_chunk(operation: Operation) -> Operation {
    operation
        .with_token()
        .takes(example(parameter("path", "chunk", "The chunk.", &reference("ChunkId")), &json!("canvas/0/0")))
        .problem(400, "`bad_chunk_id`")
        .problem(403, "`no_read_access`")
        .problem(404, "`unknown_family`, `out_of_bounds`, `not_found`")
}

fn known() -> Value {
    let text = json!({"type": "string"});
    parameter(
        "header",
        "If-None-Match",
        "The ETag of the content that the client has; if it is still current, the answer is 304.",
        &text,
    )
}

/// Adds the headers and the other answers that all forms of a chunk's content have in common.
/// `form` is the status code of the answer with the content.
fn of_content(operation: Operation, form: u16) -> Operation {
    let etag = header("The state hash; a weak tag except for the canonical encoding.", &json!({"type": "string"}));
    let version = header("The chunk's version.", &json!({"type": "string", "pattern": "^[0-9]+$"}));
    let operation = operation.with_header(form, "ETag", etag).with_header(form, "Driftless-Version", version);
    operation.answers_empty(304, "The client's content is current.").problem(503, UNAVAILABLE)
}

fn json_form(operation: Operation) -> Operation {
    of_content(operation.answers(200, "The content.", "application/json", reference("Content")), 200)
}

fn png(operation: Operation) -> Operation {
    let schema = json!({"contentMediaType": "image/png"});
    operation.answers(200, "The content.", "image/png", schema).problem(
        406,
        "`no_picture`, `not_acceptable`: chunks of this family are not flat grids, or Accept names no form of theirs",
    )
}

fn picture(operation: Operation) -> Operation {
    of_content(png(operation), 200)
}

fn bytes(operation: Operation) -> Operation {
    let octets = || json!({"contentMediaType": "application/octet-stream"});
    let text = json!({"type": "string"});
    let ranges = header("Byte ranges are served.", &json!({"const": "bytes"}));
    let range = header(
        "Which bytes of how many these are.",
        &json!({"type": "string", "pattern": "^bytes [0-9]+-[0-9]+/[0-9]+$"}),
    );
    let operation = operation
        .takes(parameter("header", "Range", "One range of bytes; any other value is ignored.", &text))
        .takes(parameter("header", "If-Range", "The strong ETag of the content to take the range from; if it is not current, the whole content is the answer.", &text))
        .answers(200, "The content.", "application/octet-stream", octets())
        .answers(206, "The requested bytes.", "application/octet-stream", octets())
        .with_header(206, "Content-Range", range)
        .with_header(206, "Accept-Ranges", ranges)
        .problem(416, "`range_not_satisfiable`");
    of_content(of_content(operation, 200), 206)
}

fn all_forms(operation: Operation) -> Operation {
    // `Accept` is not listed as a parameter, because the media types of the answers are its values.
    json_form(bytes(png(operation)))
}

fn events(operation: Operation) -> Operation {
    let session = parameter("query", "session", "The session whose outcomes the stream has.", &reference("Session"));
    operation
        .takes(session)
        .answers(
            200,
            "A stream that ends only with the connection, the token or the gateway, or when all its chunks are unavailable.",
            "text/event-stream",
            reference("Event"),
        )
        .problem(400, "`bad_chunk_id`, `bad_chunks`, `bad_have`, `bad_session`")
        .problem(503, "`too_many_streams`")
}

fn events_of_one() -> Operation {
    // The schema has no pattern, because the gateway ignores a malformed id. A browser can
    // therefore always open its stream again.
    let have = json!({"type": "string", "examples": [format!("12:{}", "6628bb7c".repeat(8))]});
    events(at_chunk(Operation::new("events", "Server-sent events of one chunk")))
        .takes(parameter(
            "header",
            "Last-Event-ID",
            "The id of the last event that the client has: the stream resumes there.",
            &have,
        ))
        .takes(parameter("query", "have", "The same as Last-Event-ID, for clients that cannot set the header.", &have))
}

fn events_of_several() -> Operation {
    let list = json!({"type": "string"});
    let ids = {
        let id = chunk_id_pattern();
        json!({"type": "string", "pattern": format!("^{id}(,{id}){{0,{}}}$", limits::EVENT_CHUNKS_MAX - 1)})
    };
    let description = format!("Up to {} chunk ids, separated by commas.", limits::EVENT_CHUNKS_MAX);
    let mut chunks = parameter("query", "chunks", &description, &ids);
    chunks["required"] = true.into();
    let have = "For each chunk an event id, `<version>:<hash>` or `<version>:<hash>:<history>`, or nothing, separated by commas.";
    events(Operation::new("eventsOfSeveral", "Server-sent events of several chunks").with_token())
        .takes(example(chunks, &json!("canvas/0/0,canvas/1/0")))
        .takes(parameter("query", "have", have, &list))
}

fn status() -> Operation {
    let seq = json!({"type": "integer", "minimum": 1, "maximum": i64::MAX});
    at_chunk(Operation::new("commandStatus", "The status of a command"))
        .description("`committed` and `not_committed` are final within the history. `unresolved` is only as far as this gateway has read. The others prove nothing.")
        .takes(parameter("path", "session", "The session of the command's author; the user is that of the token.", &reference("Session")))
        .takes(parameter("path", "seq", "The command's sequence number.", &seq))
        .answers(200, "The status, as far as this gateway knows it.", "application/json", reference("Status"))
        .problem(400, "`bad_chunk_id`, `bad_session`, `bad_seq`")
        .problem(503, UNAVAILABLE)
}

fn world() -> Operation {
    Operation::new("world", "The world's name, generation, partitions and families").answers(
        200,
        "The world.",
        "application/json",
        reference("World"),
    )
}

fn partitions() -> Operation {
    Operation::new(
        "partitions",
        "The position of each partition of `updates`, with the epoch and n to read on from there; for tokens that may \
         read the whole world",
    )
    .with_token()
    .problem(403, "`no_read_access`")
    .answers(200, "The positions.", "application/json", reference("Positions"))
}

fn content_schema() -> Value {
    json!({
        "type": "object",
        "required": ["chunk", "version", "hash", "model", "content"],
        "properties": {
            "chunk": reference("ChunkId"), "version": reference("Version"), "hash": reference("Hash"),
            "model": {"type": "string"},
            "content": {"description": "In the model's own form: a grid has {size, cells}, a map has its entries."},
        },
        "additionalProperties": false,
    })
}

fn event_schema() -> Value {
    json!({
        "type": "object",
        "description": "One event of a stream; docs/protocol.md lists the members of its data.",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": ["tracked", "chunk", "updates", "outcomes", "beacon", "lagging", "rejected", "closed"]},
            "id": {"type": "string", "pattern": "^[0-9]+:[0-9a-f]{64}$"},
            "data": {"type": "string", "contentMediaType": "application/json"},
            "retry": {"type": "integer", "minimum": 0},
        },
    })
}

fn status_schema() -> Value {
    let one = |status: &str, more: Value| {
        let mut properties = json!({"status": {"const": status}, "history": history()});
        let mut required = vec!["status", "history"];
        for (name, schema) in more.as_object().into_iter().flatten() {
            properties[name] = schema.clone();
            required.push(name);
        }
        json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
    };
    let or_null = |schema: Value| json!({"oneOf": [schema, {"type": "null"}]});
    json!({"oneOf": [
        one("committed", json!({"version": or_null(reference("Version"))})),
        one("not_committed", json!({"discarded": or_null(reference("Discarded"))})),
        one("unresolved", json!({})),
        one("expired", json!({})),
        one("beyond_window", json!({})),
    ]})
}

fn discarded() -> Value {
    json!({
        "type": "object",
        "required": ["reason", "detail"],
        "properties": {
            "reason": {"type": "string", "pattern": "^DISCARD_REASON_[A-Z_]+$"},
            "detail": {"type": "string"},
        },
        "additionalProperties": false,
    })
}

fn world_schema() -> Value {
    let integer = || json!({"type": "integer"});
    json!({
        "type": "object",
        "required": ["name", "generation", "partitions", "families"],
        "properties": {
            "name": {"type": "string"}, "generation": integer(), "partitions": integer(),
            "families": {"type": "array", "items": {
                "type": "object",
                "required": ["name", "model", "model_revision", "parameters", "coordinates", "coordinate_min", "coordinate_max", "region"],
                "properties": {
                    "name": {"type": "string"}, "model": {"type": "string"}, "model_revision": integer(),
                    "parameters": {"type": "object"}, "coordinates": integer(),
                    "coordinate_min": integer(), "coordinate_max": integer(), "region": integer(),
                    "colors": {"oneOf": [
                        {"type": "null"},
                        {"type": "array", "items": {"type": "string", "pattern": "^#[0-9a-f]{6}$"}},
                    ]},
                },
                "additionalProperties": false,
            }},
        },
        "additionalProperties": false,
    })
}

fn history() -> Value {
    json!({
        "type": "string",
        "description": "The history of the partition: 32 hex digits, or empty for the first one. Versions, numbers and outcomes hold within one history.",
    })
}

fn positions() -> Value {
    let integer = || json!({"type": "integer", "minimum": 0});
    json!({
        "type": "object",
        "required": ["topic", "positions"],
        "properties": {
            "topic": {"type": "string"},
            "positions": {"type": "array", "items": {
                "type": "object",
                "required": ["partition", "offset", "epoch", "n", "history", "state"],
                "properties": {
                    "partition": integer(), "offset": integer(), "epoch": integer(), "n": integer(),
                    "history": history(),
                    "state": {
                        "enum": Standing::NAMES,
                        "description": "Whether this gateway serves the partition's chunks. The chunks of a `degraded` partition are unavailable.",
                    },
                },
                "additionalProperties": false,
            }},
        },
        "additionalProperties": false,
    })
}
