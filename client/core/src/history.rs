//! The history of a chunk that the client has met, and the texts about a change of it.
//!
//! Versions, numbers and outcomes mean something only within one history of one world. A client
//! that meets another one keeps nothing of the old one but its numbers, which it never uses again,
//! and the commands that it never sent.

use driftless_schemas::{ChunkId, HistoryId, WorldId};

/// The world and the history to which a chunk's replica, and the outcomes of its numbers, belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// `None` for a world of format 1, which has no id.
    pub world: Option<WorldId>,
    pub history: HistoryId,
}

impl Origin {
    /// Whether `next` is another history than this one. No order is assumed: the server decides
    /// which history a chunk has.
    pub fn is_left_for(self, next: Self) -> bool {
        is_other_world(self.world, next.world) || self.history != next.history
    }
}

/// Whether two servers name different worlds. A server that names none may serve either.
pub(crate) fn is_other_world(one: Option<WorldId>, other: Option<WorldId>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// Says for people that the servers serve another world.
pub(crate) const OTHER_WORLD: &str = "the servers serve another world now, in which every chunk begins anew";

/// Says for people how a chunk's history changed.
pub(crate) fn change(chunk: &ChunkId, from: Origin, to: Origin) -> String {
    if is_other_world(from.world, to.world) {
        return OTHER_WORLD.into();
    }
    format!("part of the log was lost, so edits to chunk {chunk} that were committed may be gone")
}

/// The reason why a command that was sent ends as unknown.
pub(crate) fn outcome_lost(message: &str) -> String {
    format!("the history changed before the outcome was known: {message}")
}
