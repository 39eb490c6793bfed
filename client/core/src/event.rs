//! The core's events for its shell and the user, and the types that occur in events.

use driftless_schemas::proto::{DiscardReason, RefusalCode, RejectCode, TrackRejectCode};
use driftless_schemas::{ChunkId, Hash, HistoryId, Seq, SessionId, Version, WorldId, WriterId};
use std::fmt;

/// One of the client's two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Socket {
    /// Receives commands.
    Ingest,
    /// Sends contents and decisions.
    Gateway,
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "ingest",
            Self::Gateway => "gateway",
        })
    }
}

/// A command's local id. A [`crate::ClientCore`] never uses an id twice. The id is not the
/// command's number on the wire ([`Number`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// The writer and the number under which a command was last sent. Together with the chunk id, the
/// two name the command in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    /// The writer id of the session.
    pub writer: WriterId,
    /// The writer's number of the command; each chunk has its own numbers.
    pub seq: Seq,
}

/// How a command ended. Each command has exactly one outcome, and it is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command is committed: the chunk contains its effect.
    Committed {
        /// The chunk's version after the command; `None` if the version is no longer known.
        version: Option<Version>,
    },
    /// The decider refused the command.
    Discarded {
        /// The reason; `Unspecified` if the reason is no longer known.
        reason: DiscardReason,
        /// Details for people, such as the cell or the key.
        detail: String,
    },
    /// The command is not in the log and never will be. Either ingest rejected every transmission,
    /// and said that a resend is useless; or the command was never sent, and the code is
    /// `Unspecified`.
    Rejected {
        /// The reason.
        code: RejectCode,
        /// A text for people.
        message: String,
    },
    /// The user cancelled the command, and it was not committed.
    Withdrawn,
    /// The outcome can no longer be found out. For example, the client lost its access, the chunk's
    /// ledger evicted the writer, or the chunk's history changed, before the client could ask.
    Unknown {
        /// A text for people.
        reason: String,
    },
}

/// The status of a tracked chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkStatus {
    /// No content is loaded yet.
    Loading,
    /// The replica follows the log.
    Live,
    /// The replica receives no updates at present, because the gateway has stopped sending them to
    /// this slow client, or because there is no connection.
    Lagging,
    /// The gateway cannot serve the chunk at present. A replica, if there is one, receives no
    /// updates. The client tracks the chunk again by itself.
    Unavailable {
        /// A text for people.
        message: String,
    },
    /// The replica differs from the log (R10), or a message cannot be used. A fresh replica is
    /// being loaded; do not trust the view until then.
    Reloading {
        /// A text for people.
        message: String,
    },
    /// The gateway does not serve the chunk to this user. Another call of `track` asks again.
    Rejected {
        /// The reason.
        code: TrackRejectCode,
        /// A text for people.
        message: String,
    },
    /// The client follows the chunk no longer: the chunk was reloaded too often, or this client
    /// cannot make its model, or the client ended. `track` tries again, except after the client's
    /// end.
    Failed {
        /// A text for people.
        message: String,
    },
}

/// Why the shell must drop a socket and connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectReason {
    /// The server sent nothing for too long.
    Dead,
    /// A new session begins.
    NewSession,
    /// The client cannot decode a message of the server.
    Undecodable,
    /// Ingest serves another world than the gateway. The client sends nothing until both name the
    /// same world.
    OtherWorld,
}

/// An event of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A chunk's status changed.
    Status {
        /// The chunk.
        chunk: ChunkId,
        /// The new status.
        status: ChunkStatus,
    },
    /// A chunk's view may have changed.
    Changed {
        /// The chunk.
        chunk: ChunkId,
        /// The version of the chunk's confirmed replica.
        version: Version,
    },
    /// A command ended.
    Outcome {
        /// The command's chunk.
        chunk: ChunkId,
        /// The command.
        command: CommandId,
        /// The outcome.
        outcome: Outcome,
        /// The number under which the command was last sent; `None` if it was never sent.
        number: Option<Number>,
        /// Whether ingest confirmed that the log has the command under that number.
        is_receipted: bool,
    },
    /// The gateway named its hash of the confirmed replica's version, and the replica has the same
    /// hash (R10).
    Verified {
        /// The chunk.
        chunk: ChunkId,
        /// The version.
        version: Version,
        /// The hash, which the gateway's content and the replica share.
        hash: Hash,
    },
    /// The confirmed replica had another hash than the log (R10). The client reported the drift to
    /// the gateway, and loads the chunk again.
    Drift {
        /// The chunk.
        chunk: ChunkId,
        /// The version.
        version: Version,
        /// The hash in the log; `None` if an effect could not be folded at all.
        expected: Option<Hash>,
        /// The replica's hash.
        found: Hash,
    },
    /// The chunk has another history than before, or the servers serve another world. Versions,
    /// hashes and outcomes that the client reported before belong to the old history: the chunk may
    /// not contain what was committed. The client dropped the replica and loads the chunk again.
    /// Commands that were sent and had no outcome end as [`Outcome::Unknown`] after this event.
    /// Commands that were never sent are sent now, and decided on the new content. Reported once
    /// for each change.
    HistoryChanged {
        /// The chunk.
        chunk: ChunkId,
        /// The world now; `None` if the world has no id.
        world: Option<WorldId>,
        /// The history now; `None` if the world is another one and no gateway has served the chunk
        /// in it yet.
        history: Option<HistoryId>,
        /// A text for people.
        message: String,
    },
    /// A server welcomed the client.
    Welcomed {
        /// The server's socket.
        socket: Socket,
        /// The world's name.
        world: String,
        /// When the token expires, in seconds since the Unix epoch; 0 if it never expires.
        token_expires_at: i64,
    },
    /// A session began. The numbers of commands count from 1 again.
    Session {
        /// The session's id.
        session: SessionId,
        /// The writer id that the server derived.
        writer: WriterId,
    },
    /// The client needs a fresh token: hand it to [`crate::ClientCore::renew`].
    TokenNeeded,
    /// A server could not understand a request. This event is meant for logs.
    Refused {
        /// The server's socket.
        socket: Socket,
        /// The reason.
        code: RefusalCode,
        /// A text for people.
        message: String,
    },
    /// The shell must drop this socket at once and connect again. The core treats the socket as
    /// closed already.
    Reconnect {
        /// The server's socket.
        socket: Socket,
        /// The reason.
        reason: ReconnectReason,
    },
    /// The client ended for good, and every command has its outcome. The shell must drop both
    /// sockets.
    Fatal {
        /// A text for people.
        message: String,
    },
}

/// Why a command was not accepted. Such a command has no effect and no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The chunk is not tracked: track it first.
    #[error("chunk {chunk} is not tracked (or was rejected, or failed): track it first")]
    NotTracked {
        /// The chunk.
        chunk: ChunkId,
    },
    /// The command is larger than ingest accepts.
    #[error("a command of {bytes} bytes is too large: the server accepts at most {bytes_max}")]
    TooLarge {
        /// The command's size in bytes.
        bytes: usize,
        /// The largest size that ingest accepts, in bytes.
        bytes_max: usize,
    },
    /// Too many commands are pending: wait until some are decided.
    #[error("{pending} commands to chunk {chunk} are already pending: wait until some are decided")]
    TooMany {
        /// The chunk.
        chunk: ChunkId,
        /// The number of pending commands.
        pending: usize,
    },
    /// The client was closed, or it ended because a server refused it for good.
    #[error("the client is closed: {reason}")]
    Closed {
        /// The reason.
        reason: String,
    },
}
