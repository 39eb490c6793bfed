//! Parses the body of a request: a JSON object, an array of such objects, a protobuf `Submit`, or a
//! protobuf `ClientFrame` of several `Submit` requests.
//!
//! A malformed body is refused as a whole, before any of its commands is handed to the log. If the
//! body is well-formed, each of its commands is accepted or rejected on its own.

use bytes::Bytes;
use driftless_ingest_core::{Body, Submission};
use driftless_schemas::limits::HTTP_COMMANDS_MAX;
use driftless_schemas::proto::{request, submit};
use driftless_schemas::{ChunkId, SessionId, proto};
use driftless_web::http::Problem;
use prost::Message as _;
use serde::Deserialize;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use warp::http::StatusCode;

const SUBMIT: &str = "driftless.v1.Submit";
const CLIENT_FRAME: &str = "driftless.v1.ClientFrame";

/// A command of the request's body, for the chunk that the path names.
pub(crate) struct Item {
    pub session: SessionId,
    pub seq: u64,
    pub after: u64,
    body: Form,
}

enum Form {
    Json(Value),
    Settle,
    Protobuf(Option<submit::Body>),
}

/// The commands of a parsed body.
pub(crate) struct Batch {
    pub items: Vec<Item>,
    /// True if the body was an array or a frame; the answer then is an array too.
    pub is_array: bool,
}

/// A command as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonItem {
    /// The session, 32 hex digits. If it is absent, the session comes from the header
    /// `Driftless-Session` or from `?session=`.
    session: Option<SessionId>,
    seq: u64,
    #[serde(default)]
    after: u64,
    command: Option<Value>,
    #[serde(default)]
    settle: bool,
}

impl Batch {
    /// Parses a body. `session` is the session of the header or the query, for commands that do not
    /// name one.
    pub(crate) fn read(
        chunk: &ChunkId,
        content_type: &str,
        body: &Bytes,
        session: Option<SessionId>,
    ) -> Result<Self, Problem> {
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        match &*kind.trim().to_ascii_lowercase() {
            "application/x-protobuf" | "application/protobuf" => match message(parameters).unwrap_or(SUBMIT) {
                SUBMIT => one(chunk, body.clone(), session),
                CLIENT_FRAME => frame(chunk, body.clone(), session),
                other => {
                    let detail =
                        format!("proto={other} is not supported; send a {SUBMIT}, or several in a {CLIENT_FRAME}");
                    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
                }
            },
            "application/json" | "" => json(body, session),
            other => {
                let detail = format!(
                    "{other:?} is not supported; send application/json, or application/x-protobuf with a Submit, or \
                     with several in a ClientFrame (application/x-protobuf; proto={CLIENT_FRAME})"
                );
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
            }
        }
    }
}

impl Item {
    pub(crate) fn submission<'a>(&'a self, chunk: &'a ChunkId) -> Submission<'a> {
        let body = match &self.body {
            Form::Json(command) => Some(Body::Json(command)),
            Form::Settle | Form::Protobuf(Some(submit::Body::Settle(_))) => Some(Body::Settle),
            Form::Protobuf(Some(submit::Body::Command(bytes))) => Some(Body::Command(bytes.clone())),
            Form::Protobuf(None) => None,
        };
        Submission { chunk_id: chunk.as_str(), seq: self.seq, after: self.after, body }
    }

    /// Returns a hash of the body. Two commands with the same number and the same hash are the same
    /// command, sent twice. The hash is not cryptographic: a client that constructs a collision
    /// affects only its own request.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match &self.body {
            Form::Json(json) => (0, json).hash(&mut hasher),
            Form::Settle => 1.hash(&mut hasher),
            Form::Protobuf(body) => (2, body).hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// Returns the value of the content type's parameter `proto`, which names a protobuf message.
fn message(parameters: &str) -> Option<&str> {
    let pairs = parameters.split(';').filter_map(|pair| pair.split_once('='));
    let value =
        pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("proto")).map(|(_, value)| value.trim()).next();
    value.map(|value| value.trim_matches('"'))
}

fn one(chunk: &ChunkId, body: Bytes, session: Option<SessionId>) -> Result<Batch, Problem> {
    let submit = proto::Submit::decode(body).map_err(|e| malformed(format!("the body is not a Submit: {e}")))?;
    Ok(Batch { items: vec![protobuf(chunk, submit, session)?], is_array: false })
}

fn frame(chunk: &ChunkId, body: Bytes, session: Option<SessionId>) -> Result<Batch, Problem> {
    let frame =
        proto::ClientFrame::decode(body).map_err(|e| malformed(format!("the body is not a ClientFrame: {e}")))?;
    check_count(frame.requests.len())?;
    let items = frame.requests.into_iter().enumerate().map(|(i, request)| match request.body {
        Some(request::Body::Submit(submit)) => {
            protobuf(chunk, submit, session).map_err(|problem| at(i, "the frame", problem))
        }
        _ => Err(malformed(format!("request {i} of the frame is not a Submit; only Submits are supported here"))),
    });
    Ok(Batch { items: items.collect::<Result<_, _>>()?, is_array: true })
}

fn protobuf(chunk: &ChunkId, submit: proto::Submit, session: Option<SessionId>) -> Result<Item, Problem> {
    if !submit.chunk_id.is_empty() && submit.chunk_id != chunk.as_str() {
        return Err(malformed(format!(
            "the path names the chunk {chunk}, the Submit {:?}; leave chunk_id empty",
            submit.chunk_id
        )));
    }
    let session = session.ok_or_else(no_session)?;
    Ok(Item { session, seq: submit.seq, after: submit.after, body: Form::Protobuf(submit.body) })
}

fn check_count(count: usize) -> Result<(), Problem> {
    match count {
        1..=HTTP_COMMANDS_MAX => Ok(()),
        _ => Err(malformed(format!("the body has {count} commands; send 1 to {HTTP_COMMANDS_MAX}"))),
    }
}

fn at(index: usize, of: &str, mut problem: Problem) -> Problem {
    problem.detail.insert_str(0, &format!("command {index} of {of}: "));
    problem
}

fn json(body: &[u8], session: Option<SessionId>) -> Result<Batch, Problem> {
    let value: Value = serde_json::from_slice(body).map_err(|e| malformed(format!("the body is not JSON: {e}")))?;
    let (values, is_array) = match value {
        Value::Array(values) => (values, true),
        one => (vec![one], false),
    };
    check_count(values.len())?;
    let items = values.into_iter().enumerate().map(|(i, value)| {
        item(value, session).map_err(|problem| if is_array { at(i, "the array", problem) } else { problem })
    });
    Ok(Batch { items: items.collect::<Result<_, _>>()?, is_array })
}

fn item(value: Value, session: Option<SessionId>) -> Result<Item, Problem> {
    let example = r#"for example {"session": "<32 hex digits>", "seq": 1, "after": 0, "command": {…}}, or with "settle": true instead of a command"#;
    let item: JsonItem = serde_json::from_value(value).map_err(|e| malformed(format!("{e}; {example}")))?;
    let body = match (item.command, item.settle) {
        (Some(command), false) => Form::Json(command),
        (None, true) => Form::Settle,
        _ => return Err(malformed(format!("a command must have either `command` or `settle`; {example}"))),
    };
    let session = item.session.or(session).ok_or_else(no_session)?;
    Ok(Item { session, seq: item.seq, after: item.after, body })
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_body", detail)
}

fn no_session() -> Problem {
    let detail = "the session is missing; get one with POST /v1/sessions and send it in the body, in the header Driftless-Session or as ?session=";
    Problem::new(StatusCode::BAD_REQUEST, "session_missing", detail)
}
