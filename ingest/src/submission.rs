//! Commands in the body of a request: one JSON object, an array of them, or one protobuf `Submit`.

use bytes::Bytes;
use driftless_ingest_core::{Body, Submission};
use driftless_runtime::http::Problem;
use driftless_schemas::proto::submit;
use driftless_schemas::{ChunkId, SessionId, proto};
use prost::Message as _;
use serde::Deserialize;
use serde_json::Value;
use warp::http::StatusCode;

/// Commands of one request.
pub(crate) const COMMANDS_MAX: usize = 1024;

/// One command for one chunk.
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

/// A request's body, read.
pub(crate) struct Batch {
    pub items: Vec<Item>,
    /// Whether the body was an array; then the answer is one too.
    pub is_array: bool,
}

/// A command as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonItem {
    /// 32 hex digits; may stand in the header `Driftless-Session` or in `?session=` instead.
    session: Option<SessionId>,
    seq: u64,
    #[serde(default)]
    after: u64,
    command: Option<Value>,
    #[serde(default)]
    settle: bool,
}

impl Batch {
    /// Reads a body. `session` is what header or query say.
    pub(crate) fn read(
        chunk: &ChunkId,
        content_type: &str,
        body: &Bytes,
        session: Option<SessionId>,
    ) -> Result<Self, Problem> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        match kind {
            "application/x-protobuf" | "application/protobuf" => protobuf(chunk, body.clone(), session),
            "application/json" | "" => json(body, session),
            other => {
                let detail =
                    format!("{other:?} is not taken; send application/json, or application/x-protobuf with a Submit");
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

    /// What tells this command from another with the same number.
    pub(crate) fn has_same_body(&self, other: &Self) -> bool {
        match (&self.body, &other.body) {
            (Form::Json(one), Form::Json(two)) => one == two,
            (Form::Settle, Form::Settle) => true,
            (Form::Protobuf(one), Form::Protobuf(two)) => one == two,
            _ => false,
        }
    }
}

fn protobuf(chunk: &ChunkId, body: Bytes, session: Option<SessionId>) -> Result<Batch, Problem> {
    let submit = proto::Submit::decode(body).map_err(|e| malformed(format!("the body is no Submit: {e}")))?;
    if !submit.chunk_id.is_empty() && submit.chunk_id != chunk.as_str() {
        return Err(malformed(format!(
            "the path says {chunk}, the Submit {:?}; leave the latter empty",
            submit.chunk_id
        )));
    }
    let session = session.ok_or_else(no_session)?;
    let item = Item { session, seq: submit.seq, after: submit.after, body: Form::Protobuf(submit.body) };
    Ok(Batch { items: vec![item], is_array: false })
}

fn json(body: &[u8], session: Option<SessionId>) -> Result<Batch, Problem> {
    let value: Value = serde_json::from_slice(body).map_err(|e| malformed(format!("the body is no JSON: {e}")))?;
    let (values, is_array) = match value {
        Value::Array(values) => (values, true),
        one => (vec![one], false),
    };
    if values.is_empty() || values.len() > COMMANDS_MAX {
        return Err(malformed(format!("the body has {} commands; 1 to {COMMANDS_MAX} are taken", values.len())));
    }
    let items = values.into_iter().enumerate().map(|(i, value)| {
        item(value, session).map_err(|mut problem| {
            if is_array {
                problem.detail.insert_str(0, &format!("command {i} of the array: "));
            }
            problem
        })
    });
    Ok(Batch { items: items.collect::<Result<_, _>>()?, is_array })
}

fn item(value: Value, session: Option<SessionId>) -> Result<Item, Problem> {
    let example = r#"one looks like {"session": "<32 hex digits>", "seq": 1, "after": 0, "command": {…}}, or with "settle": true instead of a command"#;
    let item: JsonItem = serde_json::from_value(value).map_err(|e| malformed(format!("{e}; {example}")))?;
    let body = match (item.command, item.settle) {
        (Some(command), false) => Form::Json(command),
        (None, true) => Form::Settle,
        _ => return Err(malformed(format!("it must have either a command or a settle; {example}"))),
    };
    let session = item.session.or(session).ok_or_else(no_session)?;
    Ok(Item { session, seq: item.seq, after: item.after, body })
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_body", detail)
}

fn no_session() -> Problem {
    let detail = "no session; get one with POST /v1/sessions and send it in the body, in the header Driftless-Session or as ?session=";
    Problem::new(StatusCode::BAD_REQUEST, "session_missing", detail)
}
