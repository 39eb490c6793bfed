//! What goes into a hub, and what comes out.

use crate::answer::Answer;
use crate::reread::Reread;
use crate::socket::{Frames, Joined, SocketId};
use bytes::Bytes;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{Ref, request};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Seq, Version, WriterId};
use std::sync::Arc;

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// Records of one partition of `updates`, in order, going on where the last ones ended.
    Records(Partition, Vec<(Offset, Bytes)>),
    /// A socket has said Hello.
    Joined(SocketId, Joined),
    /// Its token was renewed.
    Renewed(SocketId, Arc<Access>),
    /// A request other than Hello, Renew, Ping and Pong.
    Request(SocketId, request::Body),
    /// Bytes of [`Output::Send`] were written to the socket.
    Written(SocketId, usize),
    /// The socket is gone.
    Left(SocketId),
    /// The answer to [`Output::Load`]: `None` where nothing is stored; with what was read again, if that was asked for.
    Loaded(ChunkId, Result<Option<Loaded>, LoadError>, Option<Box<Reread>>),
    /// A question over HTTP; answered by [`Output::Answer`] with the same number.
    Asked(u64, ChunkId, Ask),
    /// All views of the index were opened after this time: they have every ref that was told before.
    ViewsRenewed(u64),
    /// Time has passed.
    Tick,
    /// Bits flip in the memory of a replica, on purpose: to show that drift is found and healed.
    #[cfg(any(debug_assertions, feature = "mutants"))]
    Damage(ChunkId),
}

/// A stored state.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The ref.
    pub stored: Ref,
    /// The object as it is stored: zstd.
    pub data: Bytes,
    /// The canonical encoding, verified.
    pub encoding: Bytes,
}

/// Why a stored state was not loaded.
#[derive(Clone, Debug)]
pub enum LoadError {
    /// The store does not answer. It may answer later.
    Unavailable(String),
    /// The object is not there, or is not what its name says. The owner may be able to make it again.
    Lost {
        /// The ref that names it.
        stored: Box<Ref>,
        /// What is wrong with it.
        reason: String,
    },
}

/// Of the ref that the log told and the one in the index, the one to load. A view of the index may be ahead of the notices
/// in the log: a gateway that begins behind the decisions that the newer ref contains would miss them if it loaded the
/// older one.
#[must_use]
pub fn newer_ref(told: Option<Ref>, indexed: Option<Ref>) -> Option<Ref> {
    match (told, indexed) {
        (Some(told), Some(indexed)) if indexed.through_offset > told.through_offset => Some(indexed),
        (Some(told), _) => Some(told),
        (None, indexed) => indexed,
    }
}

/// A question over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The content.
    Content,
    /// What became of a command.
    Status(WriterId, Seq),
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Write these frames to a socket, in order; report the bytes with [`Input::Written`].
    Send(SocketId, Frames),
    /// Close a socket with this code, after what was sent.
    Close(SocketId, u16, String),
    /// Load a chunk's stored state: of this ref or of the newest one in the index, whichever [`newer_ref`] says. And read
    /// again what the hub has given up, unless that state contains it.
    Load(ChunkId, Option<Ref>, Option<Box<Reread>>),
    /// The answer to [`Input::Asked`].
    Answer(u64, Answer),
    /// The replica differed from the log (R10): it is rebuilt.
    Drift(ChunkId, String),
    /// Stored state and log lead to this hash at that version, and the log says another: append an `Audit` to `commands`.
    Audit(ChunkId, Version, Hash),
    /// A client reports that it drifted; counted, never trusted.
    DriftReported(ChunkId, Version),
    /// A chunk of a socket began to lag.
    LaggingBegan,
    /// A chunk of a socket lags no more, after so many milliseconds: it was brought up to date, untracked, or its socket left.
    LaggingEnded(u64),
    /// `updates` cannot be understood: stop, and say so.
    Fatal(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_that_comes_late_does_not_hide_the_newer_ref_of_the_index() {
        let of = |through_offset| Some(Ref { through_offset, ..Ref::default() });
        assert_eq!(newer_ref(of(20), of(30)), of(30));
        assert_eq!(newer_ref(of(30), of(20)), of(30));
        assert_eq!([newer_ref(None, of(1)), newer_ref(of(1), None), newer_ref(None, None)], [of(1), of(1), None]);
    }
}
