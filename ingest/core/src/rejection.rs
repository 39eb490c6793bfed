//! A rejection: the answer to a command that ingest does not hand to the log. It concerns only
//! this transmission of the command: a later resend may be accepted.

use driftless_runtime_core::text::bounded;
use driftless_schemas::proto::{self, RejectCode, Retry};

/// Why ingest rejects a command, and what the client can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The code of the reason.
    pub code: RejectCode,
    /// Whether the client may send the command again.
    pub retry: Retry,
    /// Milliseconds that the client should wait before it sends the command again, with
    /// [`Retry::After`]; otherwise 0.
    pub retry_after_ms: u32,
    /// For people: the offending value, and what to change.
    pub message: String,
}

impl Rejection {
    /// Creates a rejection of a command that will never be accepted.
    pub fn never(code: RejectCode, message: impl Into<String>) -> Self {
        Self { code, retry: Retry::Final, retry_after_ms: 0, message: bounded(message.into()) }
    }

    /// Creates a rejection after which the client may send the command again in `wait_ms`
    /// milliseconds.
    pub fn later(code: RejectCode, wait_ms: u32, message: impl Into<String>) -> Self {
        Self { code, retry: Retry::After, retry_after_ms: wait_ms, message: bounded(message.into()) }
    }

    /// Creates the rejection for an expired token; `expired_at` is in seconds since 1970. The
    /// client may send the command again after it has renewed the token.
    #[must_use]
    pub fn token_expired(expired_at: i64) -> Self {
        Self {
            code: RejectCode::TokenExpired,
            retry: Retry::Reauthenticate,
            retry_after_ms: 0,
            message: format!("the token expired at {expired_at} (seconds since 1970); renew it, then send again"),
        }
    }

    /// Returns the event that carries this rejection to the client.
    #[must_use]
    pub fn event(self, chunk_id: String, seq: u64) -> proto::Rejected {
        proto::Rejected {
            chunk_id,
            seq,
            code: self.code.into(),
            retry: self.retry.into(),
            retry_after_ms: self.retry_after_ms,
            message: self.message,
        }
    }

    /// The name of the code, for problem types and metric labels.
    #[must_use]
    pub fn name(&self) -> &'static str {
        name(self.code)
    }
}

/// Returns the name of a rejection code in lower case, such as `bad_chunk_id`.
#[must_use]
pub fn name(code: RejectCode) -> &'static str {
    match code {
        RejectCode::Unspecified => "unspecified",
        RejectCode::CommandTooLarge => "command_too_large",
        RejectCode::BadChunkId => "bad_chunk_id",
        RejectCode::UnknownFamily => "unknown_family",
        RejectCode::OutOfBounds => "out_of_bounds",
        RejectCode::NoWriteAccess => "no_write_access",
        RejectCode::BadCommand => "bad_command",
        RejectCode::BadSeq => "bad_seq",
        RejectCode::SeqReused => "seq_reused",
        RejectCode::RateLimited => "rate_limited",
        RejectCode::Unavailable => "unavailable",
        RejectCode::TokenExpired => "token_expired",
    }
}
