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
    /// The models of these chunks panicked where the panic could not be contained.
    pub fn be_careful_with(&mut self, chunks: BTreeSet<ChunkId>) {
        self.careful = chunks;
    }

    /// A model never returned from the commands at these offsets.
    pub fn do_not_ask(&mut self, commands: BTreeSet<Offset>) {
        self.unanswered = commands;
    }

    /// An earlier owner discarded these commands because the model failed. The copies to
    /// `dead-letter` may have been lost with that owner, so they are made again.
    pub fn discarded(&mut self, commands: impl Iterator<Item = Offset>) {
        self.discarded.extend(commands);
    }

    /// Whether the chunk's content must be encoded after each command.
    pub fn is_careful(&self, chunk: &ChunkId) -> bool {
        self.careful.contains(chunk)
    }

    /// Whether the model must not be asked about this command.
    pub fn is_unanswered(&self, command: Offset) -> bool {
        self.unanswered.contains(&command)
    }

    /// Whether the command must be copied to `dead-letter` although it is decided already; true
    /// once.
    pub fn take_discarded(&mut self, command: Offset) -> bool {
        self.discarded.remove(&command)
    }
}
