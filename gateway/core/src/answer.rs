//! Answers to questions over HTTP: a chunk's content, and the status of a command.

use bytes::Bytes;
use driftless_chunk::ledger::Resolved;
use driftless_schemas::proto::{Discarded, mark::Outcome};
use driftless_schemas::{Hash, Seq, Version, WriterId};

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
    /// The status of a command.
    Status(Status),
    /// The chunk's stored state cannot be loaded now; the text says why.
    Unavailable(String),
}

/// The status of a command, as far as this gateway knows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Committed, at this version where the ring still has it.
    Committed(Option<Version>),
    /// Not committed, and never will be; with the reason where the ring still has it.
    NotCommitted(Option<Discarded>),
    /// Not decided in what this gateway has read.
    Unresolved,
    /// The ledger has forgotten the writer, so the status is unknown.
    Expired,
    /// The writer's newest number is more than 64 numbers later, so the status is unknown.
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
