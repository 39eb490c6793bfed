//! How own commits are taken back: each one's inverse, made of the very content that it was folded into.
//!
//! An inverse is a new command like any other; its guards see to it that what others did since is not overwritten.

use crate::event::CommandId;
use bytes::Bytes;
use std::collections::VecDeque;

/// The inverses of one chunk's newest own commits.
#[derive(Default)]
pub(crate) struct Undo(VecDeque<(CommandId, Vec<Bytes>)>);

impl Undo {
    /// Keeps the newest `max`; what cannot be taken back takes no place.
    pub fn remember(&mut self, id: CommandId, inverse: Vec<Vec<u8>>, max: usize) {
        if inverse.is_empty() {
            return;
        }
        self.0.push_back((id, inverse.into_iter().map(Bytes::from).collect()));
        while self.0.len() > max {
            self.0.pop_front();
        }
    }

    pub fn take(&mut self, id: CommandId) -> Option<Vec<Bytes>> {
        let at = self.0.iter().position(|(of, _)| *of == id)?;
        self.0.remove(at).map(|(_, inverse)| inverse)
    }
}
