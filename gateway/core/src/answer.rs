//! Answers to questions over HTTP: a chunk's content, and what became of a command.

use bytes::Bytes;
use driftless_chunk::ledger::Resolved;
use driftless_schemas::proto::{Discarded, mark::Outcome};
use driftless_schemas::{Hash, Seq, Version, WriterId};

use crate::ring::Ring;

/// What a question gets.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The content.
    Content {
        /// At this version.
        version: Version,
        /// With this hash.
        hash: Hash,
        /// The canonical encoding.
        encoding: Bytes,
    },
    /// What became of a command.
    Status(Status),
    /// The stored state cannot be loaded now.
    Unavailable(String),
}

/// What became of a command, as far as this gateway can say.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// It was committed; at this version, where that is still known.
    Committed(Option<Version>),
    /// It was not committed and never will be; with the reason, where that is still known.
    NotCommitted(Option<Discarded>),
    /// No decision yet.
    Unresolved,
    /// The writer is not known, and its session is too old: nothing can be said.
    Expired,
    /// More than 64 numbers ago.
    BeyondWindow,
}

/// Looks a command up in the ledger, and its details in the ring.
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
