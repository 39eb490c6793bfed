//! Commands and chunks on which a model failed in an earlier ownership, so that this ownership does
//! not fail on the same command again.

use driftless_schemas::{ChunkId, Offset};
use std::collections::BTreeSet;

/// Chunks and commands on which a model failed.
#[derive(Default)]
pub(crate) struct ModelFaults {
    careful: BTreeSet<ChunkId>,
    unanswered: BTreeSet<Offset>,
    discarded: BTreeSet<Offset>,
}

impl ModelFaults {
    /// Notes chunks whose model failed in an earlier ownership after commands were decided. The
    /// content of these chunks is encoded after each command.
    pub fn be_careful_with(&mut self, chunks: BTreeSet<ChunkId>) {
        self.careful = chunks;
    }

    /// Notes the offsets of commands from which a model never returned.
    pub fn do_not_ask(&mut self, commands: BTreeSet<Offset>) {
        self.unanswered = commands;
    }

    /// Notes commands that an earlier owner discarded because the model failed. Their copies to
    /// `dead-letter` may have been lost with that owner, so the commands are copied again when they
    /// are read.
    pub fn discarded(&mut self, commands: impl Iterator<Item = Offset>) {
        self.discarded.extend(commands);
    }

    /// True if the chunk's content must be encoded after each command.
    pub fn is_careful(&self, chunk: &ChunkId) -> bool {
        self.careful.contains(chunk)
    }

    /// True if the model must not be asked about the command at this offset.
    pub fn is_unanswered(&self, command: Offset) -> bool {
        self.unanswered.contains(&command)
    }

    /// True if the command at this offset must be copied to `dead-letter` although an earlier owner
    /// has decided it. A second call for the same offset returns false.
    pub fn take_discarded(&mut self, command: Offset) -> bool {
        self.discarded.remove(&command)
    }
}
