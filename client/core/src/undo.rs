//! Undo: the inverses of this client's newest commits in a chunk.
//!
//! The model makes an inverse from the content just before the commit. An inverse consists of new
//! commands, which are sent and decided like any others. Their guards make the decider discard them
//! if another client has changed the same content since.

use crate::event::CommandId;
use bytes::Bytes;
use std::collections::VecDeque;

/// The inverses of this client's newest commits in one chunk.
#[derive(Default)]
pub(crate) struct Undo(VecDeque<(CommandId, Vec<Bytes>)>);

impl Undo {
    /// Remembers the inverse of a commit, and drops the oldest inverses above `max`. Remembers
    /// nothing for a commit without an inverse.
    pub fn remember(&mut self, id: CommandId, inverse: Vec<Vec<u8>>, max: usize) {
        if inverse.is_empty() {
            return;
        }
        self.0.push_back((id, inverse.into_iter().map(Bytes::from).collect()));
        while self.0.len() > max {
            self.0.pop_front();
        }
    }

    /// Removes and returns the inverse of a commit; `None` if no inverse of that commit is kept.
    pub fn take(&mut self, id: CommandId) -> Option<Vec<Bytes>> {
        let at = self.0.iter().position(|(of, _)| *of == id)?;
        self.0.remove(at).map(|(_, inverse)| inverse)
    }
}
