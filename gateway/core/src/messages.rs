//! The hub's inputs and outputs.

use crate::answer::Answer;
use crate::reread::Reread;
use crate::socket::{Frames, Joined, SocketId};
use bytes::Bytes;
use driftless_schemas::access::Access;
use driftless_schemas::proto::request;
use driftless_schemas::stored::StoredRef;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Seq, Version, WriterId};
use std::sync::Arc;

/// An input of the hub.
#[derive(Debug)]
pub enum Input {
    /// Records of one partition of `updates`, in order, from where the last ones ended.
    Records(Partition, Vec<(Offset, Bytes)>),
    /// A socket has said Hello.
    Joined(SocketId, Joined),
    /// A socket renewed its token, which gives this access.
    Renewed(SocketId, Arc<Access>),
    /// A request other than Hello, Renew, Ping and Pong.
    Request(SocketId, request::Body),
    /// Bytes of [`Output::Send`] were written to the socket.
    Written(SocketId, usize),
    /// The socket is gone.
    Left(SocketId),
    /// The answer to [`Output::Load`]: the state, `None` if nothing is stored; and the reread
    /// records, if the output asked for them.
    Loaded(ChunkId, Result<Option<Loaded>, LoadError>, Option<Box<Reread>>),
    /// A question over HTTP; answered by [`Output::Answer`] with the same number.
    Asked(u64, ChunkId, Ask),
    /// All views of the index were opened at this time or later, so they have every ref that was in
    /// the log before.
    ViewsRenewed(MonotonicMs),
    /// Time has passed.
    Tick,
    /// Flips bits in the memory of a replica on purpose, to show that drift is found and healed.
    #[cfg(any(debug_assertions, feature = "mutants"))]
    Damage(ChunkId),
}

/// A stored state.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The ref.
    pub stored: StoredRef,
    /// The object as stored: compressed with zstd.
    pub data: Bytes,
    /// The canonical encoding, verified.
    pub encoding: Bytes,
}

/// Why a stored state was not loaded.
#[derive(Clone, Debug)]
pub enum LoadError {
    /// The store does not answer now.
    Unavailable(String),
    /// The object is missing, or its content does not have the hash in its name. The owner may be
    /// able to store it again.
    Lost {
        /// The ref that names it.
        stored: Box<StoredRef>,
        /// The problem with the object.
        reason: String,
    },
}

/// The newer of the ref from the log and the ref from the index, which is the one to load.
///
/// A view of the index may be ahead of the `SnapshotStored` records that the gateway has read. A
/// gateway that starts reading behind decisions that only the newer ref contains would miss them if
/// it loaded the older one.
#[must_use]
pub fn newer_ref(logged: Option<StoredRef>, indexed: Option<StoredRef>) -> Option<StoredRef> {
    match (logged, indexed) {
        (Some(logged), Some(indexed)) if indexed.through_offset > logged.through_offset => Some(indexed),
        (Some(logged), _) => Some(logged),
        (None, indexed) => indexed,
    }
}

/// A question over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The chunk's content.
    Content,
    /// The status of a command.
    Status(WriterId, Seq),
}

/// An output of the hub: something to do.
#[derive(Debug)]
pub enum Output {
    /// Write these frames to a socket, in order; report the bytes with [`Input::Written`].
    Send(SocketId, Frames),
    /// Close a socket with this code and reason, after all frames that were sent.
    Close(SocketId, u16, String),
    /// Load a chunk's stored state: of this ref or of the newest one in the index, whichever
    /// [`newer_ref`] chooses. Also reread the records that the hub evicted, unless that state
    /// contains them.
    Load(ChunkId, Option<StoredRef>, Option<Box<Reread>>),
    /// The answer to [`Input::Asked`].
    Answer(u64, Answer),
    /// The replica differed from the log (R10) and is rebuilt; the text says how it differed.
    Drift(ChunkId, String),
    /// Stored state and log lead to this hash at that version, but the log published another:
    /// append an `Audit` to `commands`.
    Audit(ChunkId, Version, Hash),
    /// A client reports that its replica drifted; count the report, do not trust it.
    DriftReported(ChunkId, Version),
    /// A chunk of a socket began to lag.
    LaggingBegan,
    /// A chunk of a socket no longer lags, after so many milliseconds: it was brought up to date,
    /// untracked, or its socket left.
    LaggingEnded(u64),
    /// A record of `updates` cannot be read: log the text and end the process.
    Fatal(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_schemas::stored::Location;

    #[test]
    fn a_ref_read_late_from_the_log_does_not_hide_the_newer_ref_of_the_index() {
        let of = |through_offset| {
            Some(StoredRef {
                version: Version(1),
                hash: Hash::of(b""),
                location: Location::Object,
                through_offset: Offset(through_offset),
                model_revision: 1,
                bytes: 0,
                ledger: None,
            })
        };
        assert_eq!(newer_ref(of(20), of(30)), of(30));
        assert_eq!(newer_ref(of(30), of(20)), of(30));
        assert_eq!([newer_ref(None, of(1)), newer_ref(of(1), None), newer_ref(None, None)], [of(1), of(1), None]);
    }
}
