//! The answers to `POST /v1/chunks/{id}/commands`.

use driftless_ingest_core::Rejection;
use driftless_log::AppendError;
use driftless_schemas::proto::{RejectCode, Retry};
use driftless_schemas::{ChunkId, Offset, Partition};
use driftless_web::http::{Problem, Response, json};
use serde::Serialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

/// The outcome of one command of a request.
pub(crate) enum Outcome {
    /// The log has the command, so the replayer will decide it.
    Accepted(Accepted),
    /// The command was rejected, or the log did not acknowledge it; the problem tells which.
    Failed(Problem),
}

/// The answer for a command that the log has acknowledged.
#[derive(Debug, Serialize)]
pub(crate) struct Accepted {
    pub chunk_id: String,
    pub seq: u64,
    pub partition: Partition,
    /// Absent if the log acknowledged the record without an offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
}

/// Creates the answer to a request from the outcomes of its commands. If the request had a single
/// command, its outcome is the answer. For an array or a frame the answer is an array with a status
/// for each outcome; its own status is 202 if all commands were accepted, or else 207.
pub(crate) fn answer(mut outcomes: Vec<Outcome>, is_array: bool) -> Response {
    if !is_array && outcomes.len() == 1 {
        return match outcomes.remove(0) {
            Outcome::Accepted(accepted) => json(StatusCode::ACCEPTED, &accepted),
            Outcome::Failed(problem) => problem.response(),
        };
    }
    let all_accepted = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Accepted(_)));
    let status = if all_accepted { StatusCode::ACCEPTED } else { StatusCode::MULTI_STATUS };
    let results: Vec<Value> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Accepted(accepted) => {
                let mut value = json!(accepted);
                value["status"] = StatusCode::ACCEPTED.as_u16().into();
                value
            }
            Outcome::Failed(problem) => json!(problem),
        })
        .collect();
    json(status, &json!({ "results": results }))
}

/// Converts a rejection to a problem document whose type is the name of the websocket's rejection
/// code.
pub(crate) fn rejected(chunk: &ChunkId, seq: u64, rejection: &Rejection) -> Problem {
    let status = match rejection.code {
        RejectCode::CommandTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RejectCode::BadChunkId => StatusCode::BAD_REQUEST,
        RejectCode::UnknownFamily | RejectCode::OutOfBounds => StatusCode::NOT_FOUND,
        RejectCode::NoWriteAccess => StatusCode::FORBIDDEN,
        RejectCode::BadCommand | RejectCode::BadSeq => StatusCode::UNPROCESSABLE_ENTITY,
        RejectCode::SeqReused => StatusCode::CONFLICT,
        RejectCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        RejectCode::TokenExpired => StatusCode::UNAUTHORIZED,
        RejectCode::Unavailable | RejectCode::Unspecified => StatusCode::SERVICE_UNAVAILABLE,
    };
    let problem = about(Problem::new(status, rejection.name(), rejection.message.clone()), chunk, seq);
    match rejection.retry {
        Retry::After => problem.with("retry", "after").with_retry_after_ms(rejection.retry_after_ms),
        Retry::Reauthenticate => problem.with("retry", "reauthenticate"),
        Retry::Final | Retry::Unspecified => problem.with("retry", "final"),
    }
}

/// The problem document for a command that the log did not acknowledge in time.
pub(crate) fn unacknowledged(chunk: &ChunkId, seq: u64, error: &AppendError) -> Problem {
    let detail = format!("{error}. Send the same command again (same session and seq): it is never applied twice");
    about(Problem::new(StatusCode::GATEWAY_TIMEOUT, "not_acknowledged", detail), chunk, seq)
        .with("retry", "after")
        .with_retry_after_ms(1000)
}

fn about(problem: Problem, chunk: &ChunkId, seq: u64) -> Problem {
    problem.with("chunk_id", chunk.as_str()).with("seq", seq)
}
