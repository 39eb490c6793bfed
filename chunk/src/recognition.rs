//! Recognises the log by its records (docs/decisions/0018).
//!
//! Offsets mean something only in one log. So a reader looks at the last record below each offset
//! that the checkpoint names. In `commands`, the print of the record must be the checkpoint's. In
//! `updates`, the epoch of the record below `updates_low` must not be above the checkpoint's,
//! because each owner of another log has claimed a later epoch; and the record below `updates_end`
//! must have the checkpoint's print, so that a log which has lost its end is noticed.

use crate::position::Position;
use bytes::Bytes;
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{Offset, Print};

/// The property by which the last record below a checkpoint's offset is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// A record of `commands` has this print.
    Print(Print),
    /// A record of `updates` does not contradict this position, which stands just above it.
    Position(Position),
}

/// A record that is compared before the records behind it are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    mark: Mark,
    /// The first offset that the reader uses. The compared record stands just below it.
    from: Offset,
}

impl Known {
    /// The record of `commands` that the checkpoint describes.
    #[must_use]
    pub fn of_commands(checkpoint: &Checkpoint) -> Option<Self> {
        let mark = Mark::Print(checkpoint.commands_print?);
        Self::below(checkpoint.commands_next, mark)
    }

    /// The record of `updates` just below the offset at which recovery begins.
    #[must_use]
    pub fn of_updates(checkpoint: &Checkpoint) -> Option<Self> {
        Self::of_updates_end(checkpoint)
            .filter(|known| known.from == checkpoint.updates_low)
            .or_else(|| Self::below(checkpoint.updates_low, Mark::Position(Position::of_checkpoint(checkpoint))))
    }

    /// The record of `updates` just below the end that the checkpoint knows. A reader compares it
    /// when it comes to it.
    #[must_use]
    pub fn of_updates_end(checkpoint: &Checkpoint) -> Option<Self> {
        Self::below(checkpoint.updates_end, Mark::Print(checkpoint.updates_print?))
    }

    fn below(from: Offset, mark: Mark) -> Option<Self> {
        (from > Offset(0)).then_some(Self { mark, from })
    }

    /// The offset of the compared record, from which the stream must be read.
    #[must_use]
    pub fn at(&self) -> Offset {
        Offset(self.from.0 - 1)
    }

    /// The first offset behind the compared record.
    #[must_use]
    pub fn from(&self) -> Offset {
        self.from
    }

    /// How the record with this value differs from what is known; `None` if it does not.
    #[must_use]
    pub fn difference(self, value: &Bytes) -> Option<String> {
        match self.mark {
            Mark::Print(known) => {
                let found = Print::of(value);
                (found != known).then(|| difference_of_prints(found, known))
            }
            Mark::Position(position) => position.contradiction(value.clone()),
        }
    }
}

/// How a record with the print `found` differs from the one that the index has noted.
#[must_use]
pub fn difference_of_prints(found: Print, known: Print) -> String {
    format!("the print of the record is {found}, and not {known}")
}
