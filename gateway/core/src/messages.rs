//! The hub's inputs and outputs.

use crate::answer::Answer;
use crate::partitions::{Fault, Opened, Standings};
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
    /// The result of [`Output::Open`]: the partition is open. Its records from
    /// [`Opened::position`] on follow, and loads use its new view of the index from now on.
    Opened(Partition, Opened),
    /// The partition could not be opened, or cannot be read any further.
    Failed(Partition, Fault),
    /// Records of one partition of `updates`, in the order of the log. They begin where the
    /// previous records of this partition ended, or at the position of [`Input::Opened`]; the hub
    /// skips records that it has read already.
    Records(Partition, Vec<(Offset, Bytes)>),
    /// A socket has said Hello.
    Joined(SocketId, Joined),
    /// A socket renewed its token. The new token gives this access.
    Renewed(SocketId, Arc<Access>),
    /// A request of a socket. Hello, Renew, Ping and Pong never arrive here, because
    /// [`crate::connection::Connection`] handles them.
    Request(SocketId, request::Body),
    /// This many bytes of frames from [`Output::Send`] were written to the socket.
    Written(SocketId, usize),
    /// The socket has closed, so the hub forgets it.
    Left(SocketId),
    /// The result of [`Output::Load`]. The second field has the stored state; `None` means that no
    /// state of the chunk is stored. The third field has the reread records. It is `None` if the
    /// output asked for none, if the stored state contains them, or if the load failed.
    Loaded(ChunkId, Result<Option<Loaded>, LoadError>, Option<Box<Reread>>),
    /// A question over HTTP about a chunk. [`Output::Answer`] carries this question's number.
    Asked(u64, ChunkId, Ask),
    /// The view of this partition's index was opened at this time. It contains every ref that the
    /// hub read from the log before this time, so the hub may forget unused chunks with such refs.
    ViewRenewed(Partition, MonotonicMs),
    /// Time has passed: the hub has partitions opened, retries loads, sends beacons and drops idle
    /// replicas.
    Tick,
    /// Flips bits in the memory of a replica on purpose, to show that drift is found and healed.
    #[cfg(any(debug_assertions, feature = "mutants"))]
    Damage(ChunkId),
}

/// A stored state.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The ref that names the stored object.
    pub stored: StoredRef,
    /// The bytes of the stored object: the encoding, compressed with zstd. The hub sends them to
    /// clients unchanged.
    pub data: Bytes,
    /// The chunk's canonical encoding. Its hash was compared with the hash in the ref.
    pub encoding: Bytes,
}

/// Why a stored state was not loaded.
#[derive(Clone, Debug)]
pub enum LoadError {
    /// The store, the index or the log could not be read; the text says why. A retry may succeed.
    Unavailable(String),
    /// The object is missing, or its content does not have the hash in its name. The hub then asks
    /// the chunk's owner to check the chunk, because the owner may be able to store the object
    /// again.
    Lost {
        /// The ref that names the object.
        stored: Box<StoredRef>,
        /// The problem with the object.
        reason: String,
    },
}

/// Returns the newer of a chunk's two refs: `logged` was read from the log, `indexed` from the
/// index. The gateway loads the state that the returned ref names. Returns `None` if both are
/// `None`.
///
/// A view of the index may be ahead of the `SnapshotStored` records that the gateway has read. A
/// gateway that starts may begin to read the log after decisions that only the newer state
/// contains. It would miss those decisions if it loaded the older state.
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
    /// The status of the command with this writer and sequence number.
    Status(WriterId, Seq),
}

/// An output of the hub: an action that the shell carries out.
#[derive(Debug)]
pub enum Output {
    /// Write these frames to a socket, in order. Report the number of written bytes with
    /// [`Input::Written`].
    Send(SocketId, Frames),
    /// Close a socket with this websocket close code and reason, after all frames of earlier
    /// [`Output::Send`]s.
    Close(SocketId, u16, String),
    /// Load a chunk's stored state and report it with [`Input::Loaded`]. [`newer_ref`] chooses
    /// between this ref, which is from the log, and the newest ref in the index. If there is a
    /// [`Reread`], also read the evicted records from the log again, unless the stored state
    /// contains them.
    Load(ChunkId, Option<StoredRef>, Option<Box<Reread>>),
    /// The answer to the question with this number ([`Input::Asked`]).
    Answer(u64, Answer),
    /// The chunk's replica differed from the log, so the hub rebuilds the replica (R10). The text
    /// describes the difference.
    Drift(ChunkId, String),
    /// Append an `Audit` record to `commands`, which asks the chunk's owner to check its state at
    /// this version. Either stored state and log lead to this hash although the log published
    /// another hash, or the stored object with this hash is lost.
    Audit(ChunkId, Version, Hash),
    /// A client reports that its replica of the chunk drifted at this version. Only count the
    /// report, because clients are not trusted.
    DriftReported(ChunkId, Version),
    /// A chunk began to lag for one socket: the hub skips the chunk's updates until the socket's
    /// queue has drained (R9).
    LaggingBegan,
    /// A chunk no longer lags for one socket. The number is how long the chunk lagged, in
    /// milliseconds. The lag ends when the client is brought up to date, repeats or ends its Track,
    /// or leaves, and when the replica is rebuilt.
    LaggingEnded(u64),
    /// Open a view of this partition's index, and report the position of its checkpoint with
    /// [`Input::Opened`], or the reason why that failed with [`Input::Failed`].
    Open(Partition),
    /// Stop reading this partition of `updates`, until it is opened again.
    StopReading(Partition),
    /// The partition became degraded: the hub serves none of its chunks. Log the reason.
    Degraded(Partition, String),
    /// The hub serves the chunks of the partition again.
    Recovered(Partition),
    /// The standing of a partition has changed: publish the standings of all.
    Standings(Standings),
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
