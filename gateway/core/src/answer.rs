//! Answers to questions over HTTP: a chunk's content, and the status of a command.

use bytes::Bytes;
use driftless_chunk::ledger::Resolved;
use driftless_schemas::proto::{Discarded, mark::Outcome};
use driftless_schemas::{Hash, HistoryId, Seq, Version, WriterId};

use crate::ring::Ring;

/// The answer to a question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The chunk's content.
    Content {
        /// The chunk's version.
        version: Version,
        /// The state hash at that version.
        hash: Hash,
        /// The canonical encoding.
        encoding: Bytes,
    },
    /// The status of a command, and the history of the chunk's partition. The status holds within
    /// that history.
    Status(Status, HistoryId),
    /// The chunk's stored state cannot be loaded now; the text says why.
    Unavailable(String),
    /// The chunk's partition is degraded; the text says so, and what clients should do.
    Degraded(String),
}

/// The status of a command, as far as this gateway knows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// The command was committed at this version. The version is `None` if the ring no longer has
    /// the command's record.
    Committed(Option<Version>),
    /// The command was not committed and never will be. The reason is `None` if the ring has no
    /// discard of the command, for example because its record was dropped.
    NotCommitted(Option<Discarded>),
    /// No record that this gateway has read decides the command. A later record may decide it.
    Unresolved,
    /// The ledger has forgotten the writer, so the status is unknown.
    Expired,
    /// The command's number is not among the newest 64 of its writer, which are all that the ledger
    /// keeps. The status is therefore unknown.
    BeyondWindow,
}

/// Determines a command's status from `resolved`, the ledger entry of its writer. The ring adds the
/// version or the reason of a discard.
pub(crate) fn status(resolved: Resolved, ring: &Ring, writer: WriterId, seq: Seq) -> Status {
    let Resolved::Known { seq: newest, .. } = resolved else { return Status::Expired };
    if seq > newest || seq.0 == 0 {
        return Status::Unresolved;
    }
    match resolved.is_committed(seq) {
        None => Status::BeyondWindow,
        Some(true) => Status::Committed(ring.iter().find_map(|record| {
            let updates = record.updates.as_ref()?;
            let i = updates.entries.iter().position(|e| e.seq == seq.0 && e.writer[..] == writer.0)?;
            Some(Version(updates.first_version + i as u64))
        })),
        Some(false) => {
            let marks = ring.iter().flat_map(|record| &record.decisions.marks);
            let own = marks.filter(|mark| mark.seq == seq.0 && mark.writer[..] == writer.0);
            let reasons = own.filter_map(|mark| match &mark.outcome {
                Some(Outcome::Discarded(discarded)) => Some(discarded.clone()),
                _ => None,
            });
            Status::NotCommitted(reasons.last())
        }
    }
}
