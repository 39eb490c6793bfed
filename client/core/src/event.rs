//! What the core tells its shell and the user, and the few names that both use.

use driftless_schemas::proto::{DiscardReason, RefusalCode, RejectCode, TrackRejectCode};
use driftless_schemas::{ChunkId, Hash, Seq, SessionId, Version, WriterId};
use std::fmt;

/// One of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Socket {
    /// Takes commands.
    Ingest,
    /// Gives states and decisions.
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

/// A command as the user knows it: local, never used twice in one [`crate::ClientCore`], and not its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What a command was last sent under: together with its chunk, its name in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    /// Of the session.
    pub writer: WriterId,
    /// The writer's number for that chunk.
    pub seq: Seq,
}

/// What became of a command. There is exactly one for each, and it is never taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the chunk, from this version on, where that is still known.
    Committed {
        /// The version that it made.
        version: Option<Version>,
    },
    /// The decider said no.
    Discarded {
        /// Why; `Unspecified` where that is not known any more.
        reason: DiscardReason,
        /// Which cell, which key; for people.
        detail: String,
    },
    /// Ingest said a final no to every transmission; or there was none and will be none, then the code is `Unspecified`.
    Rejected {
        /// Why.
        code: RejectCode,
        /// For people.
        message: String,
    },
    /// The user cancelled it, and it was not committed.
    Withdrawn,
    /// Nobody can say any more: access or the ledger's entry was lost before the client could ask.
    Unknown {
        /// What happened; for people.
        reason: String,
    },
}

/// How a tracked chunk is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkStatus {
    /// There is no state yet.
    Loading,
    /// The replica follows the log.
    Live,
    /// There is a replica, but it is not fed at present: the gateway skips it, or there is no connection.
    Lagging,
    /// The replica differs from the log (R10), or what came cannot be used; a fresh one is on its way. What is shown meanwhile is
    /// not to be trusted.
    Reloading {
        /// For people.
        message: String,
    },
    /// The gateway does not serve it to this user. `track` asks again.
    Rejected {
        /// Why.
        code: TrackRejectCode,
        /// For people.
        message: String,
    },
    /// It was given up: reloaded too often, or its model cannot be made. `track` tries again.
    Failed {
        /// For people.
        message: String,
    },
}

/// Why the shell is asked to drop a socket and connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectReason {
    /// Nothing was heard for too long.
    Dead,
    /// A new session begins.
    NewSession,
    /// What came cannot be read.
    Undecodable,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A chunk's status changed.
    Status {
        /// Which chunk.
        chunk: ChunkId,
        /// The new one.
        status: ChunkStatus,
    },
    /// A chunk's view may have changed.
    Changed {
        /// Which chunk.
        chunk: ChunkId,
        /// The version of its confirmed replica.
        version: Version,
    },
    /// A command ended.
    Outcome {
        /// Its chunk.
        chunk: ChunkId,
        /// Which command.
        command: CommandId,
        /// How.
        outcome: Outcome,
        /// What it was last sent under; `None` where it never was.
        number: Option<Number>,
        /// Whether ingest said that it is in the log under that number.
        is_receipted: bool,
    },
    /// The gateway named the hash of the confirmed replica's version, and it is the replica's (R10).
    Verified {
        /// Which chunk.
        chunk: ChunkId,
        /// Where.
        version: Version,
        /// The hash that both have.
        hash: Hash,
    },
    /// The confirmed replica had another hash than the log (R10). It was reported, and is loaded again.
    Drift {
        /// Which chunk.
        chunk: ChunkId,
        /// Where.
        version: Version,
        /// What the log says; absent where an effect could not be folded at all.
        expected: Option<Hash>,
        /// What the replica had.
        found: Hash,
    },
    /// A server welcomed the client.
    Welcomed {
        /// Which one.
        socket: Socket,
        /// The world's name.
        world: String,
        /// Seconds since the Unix epoch.
        token_expires_at: i64,
    },
    /// A session began: numbers count from 1 again.
    Session {
        /// Its id.
        session: SessionId,
        /// The writer id that the server derived.
        writer: WriterId,
    },
    /// A fresh token is wanted: hand it to [`crate::ClientCore::renew`].
    TokenNeeded,
    /// A server could not make sense of a request; for logs.
    Refused {
        /// Which one.
        socket: Socket,
        /// Why.
        code: RefusalCode,
        /// For people.
        message: String,
    },
    /// Drop this socket at once and connect again; the core has forgotten it already.
    Reconnect {
        /// Which one.
        socket: Socket,
        /// Why.
        reason: ReconnectReason,
    },
    /// The client stopped for good; every command has its outcome. Drop both sockets.
    Fatal {
        /// For people.
        message: String,
    },
}

/// Why a command was not taken; it has no effect and no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Track the chunk first.
    #[error("{chunk} is not tracked (or was rejected, or given up): track it first")]
    NotTracked {
        /// Which one.
        chunk: ChunkId,
    },
    /// No server takes it.
    #[error("a command of {bytes} bytes: the server takes {bytes_max} at most")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Wait until some of them are decided.
    #[error("{pending} commands of {chunk} are pending already: wait until some are decided")]
    TooMany {
        /// The chunk.
        chunk: ChunkId,
        /// How many wait.
        pending: usize,
    },
    /// The client was stopped, or a server closed it for good.
    #[error("the client is closed: {reason}")]
    Closed {
        /// Why.
        reason: String,
    },
}
