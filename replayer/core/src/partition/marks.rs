//! Checks the positions in the marks of recovered records.
//!
//! A mark names the offset of the command that it decides. Everything at or below the newest such
//! offset counts as decided for the chunk. So one false offset, such as 2^40, would make the owner
//! skip all later commands of the chunk. The offsets of a chunk must rise, and must lie below the
//! end of `commands`. Until that is certain, the owner writes no checkpoint.

use super::PartitionCore;
use crate::messages::{End, Output};
use crate::recovered::Recovered;
use driftless_schemas::{ChunkId, Offset};
use std::collections::HashMap;

/// The positions in the marks that recovery has read.
#[derive(Default)]
pub(super) struct Marks {
    /// For each chunk, the offset of its newest decided command. Empty after recovery.
    newest: HashMap<ChunkId, Offset>,
    /// The mark that names the highest offset, until it is certain that `commands` holds it.
    highest: Option<Highest>,
}

struct Highest {
    chunk: ChunkId,
    source: Offset,
    /// The offset of the mark's record in `updates`.
    offset: Offset,
}

impl Marks {
    /// Notes the marks of the valid record at `offset` of `updates`.
    ///
    /// # Errors
    /// [`End::ImpossibleMark`] if they do not rise.
    pub fn note(&mut self, offset: Offset, chunk: &ChunkId, recovered: &Recovered) -> Result<(), End> {
        // A record whose own marks do not rise cannot be read. So the first and the last suffice.
        let (Some(first), Some(last)) = (recovered.sources().next(), recovered.sources().last()) else {
            return Ok(());
        };
        let newest = self.newest.get(chunk).copied().unwrap_or(Offset::NONE);
        if first <= newest {
            let reason = format!("offset {newest} of the chunk was decided before it");
            return Err(End::ImpossibleMark { offset, chunk: chunk.clone(), source_offset: first, reason });
        }
        self.newest.insert(chunk.clone(), last);
        if self.highest.as_ref().is_none_or(|highest| highest.source < last) {
            self.highest = Some(Highest { chunk: chunk.clone(), source: last, offset });
        }
        Ok(())
    }

    /// Forgets what only recovery needs. Offsets below `commands_next` of the checkpoint are
    /// certain to be in the log.
    fn end_recovery(&mut self, commands_next: Offset) {
        self.newest = HashMap::new();
        self.see(commands_next);
    }

    /// Notes that `commands` holds, or held, all offsets below `end`.
    fn see(&mut self, end: Offset) {
        self.highest.take_if(|highest| highest.source < end);
    }
}

impl PartitionCore {
    /// Begins to prove that `commands` holds the highest offset that a mark names.
    pub(super) fn prove_marks(&mut self, commands_next: Offset) {
        self.marks.end_recovery(commands_next);
        if self.marks.highest.is_some() {
            self.outputs.push_back(Output::AskCommandsEnd);
        }
    }

    /// True if every mark names an offset that `commands` is certain to hold.
    pub(super) fn are_marks_proven(&self) -> bool {
        self.marks.highest.is_none()
    }

    /// Notes that a record of `commands` was read, whose next offset is `end`.
    pub(super) fn see_commands(&mut self, end: Offset) {
        self.marks.see(end);
    }

    pub(super) fn take_commands_end(&mut self, end: Offset) {
        self.marks.see(end);
        if let Some(Highest { chunk, source, offset }) = self.marks.highest.take() {
            let reason = format!("commands ends at offset {end}");
            self.end(End::ImpossibleMark { offset, chunk, source_offset: source, reason });
        }
    }
}
