//! Computes the checkpoint's `commands_next`, the offset below which every command is done.
//!
//! Commands arrive in batches, one per poll. A command is done when its decision is acknowledged,
//! or when it needs no decision. A batch is done when all its commands are done, and open until
//! then. `commands_next` is the first offset of the oldest open batch, so that a checkpoint never
//! points past a command whose decision is not acknowledged (R6). Counting by batch is coarser than
//! counting by command, and a thousand times cheaper (docs/decisions/0003): after a crash, the next
//! owner reads all commands of an open batch again, and each chunk skips the commands that it has
//! decided already.

use driftless_schemas::{Offset, Print};
use std::collections::VecDeque;

/// Identifies a batch within an ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId(u64);

/// A number of commands of one batch that become done together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchPart {
    pub batch: BatchId,
    pub count: usize,
}

/// A place between two commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The offset of the command after the place.
    pub offset: Offset,
    /// The print of the record just before the place, if it is known.
    pub print: Option<Print>,
}

#[derive(Debug)]
struct Batch {
    /// The place before the batch's first command.
    before: Place,
    open: usize,
}

/// The batches that are not done, oldest first, and the offset after the newest batch.
#[derive(Debug)]
pub(crate) struct Progress {
    batches: VecDeque<Batch>,
    /// The id of the oldest batch in `batches`.
    first_id: u64,
    /// The place after the newest batch, behind lost commands if any follow it.
    next: Place,
    open: usize,
    /// The range of lost commands, from the first offset to before the second. `None` when the
    /// range was passed, or when nothing is lost.
    lost: Option<(Offset, Offset)>,
}

impl BatchPart {
    pub fn one(batch: BatchId) -> Self {
        Self { batch, count: 1 }
    }

    /// Adds one command of `batch` to a list of parts.
    pub fn add_one(parts: &mut Vec<Self>, batch: BatchId) {
        match parts.last_mut() {
            Some(last) if last.batch == batch => last.count += 1,
            _ => parts.push(Self::one(batch)),
        }
    }
}

impl Progress {
    pub fn new(next: Place) -> Self {
        Self { batches: VecDeque::new(), first_id: 0, next, open: 0, lost: None }
    }

    /// Begins a batch of `count` commands, from offset `first` to the place `next`.
    pub fn begin(&mut self, first: Offset, next: Place, count: usize) -> BatchId {
        let id = BatchId(self.first_id + self.batches.len() as u64);
        // Where offsets are missing, no record stands just before the first command.
        let print = self.next.print.filter(|_| first == self.next.offset);
        self.batches.push_back(Batch { before: Place { offset: first, print }, open: count });
        self.next = next;
        self.skip_lost();
        self.open += count;
        id
    }

    /// Notes that the commands from `from` to before `to` are lost, so that no batch will contain
    /// them. Commands below `from` may still come.
    pub fn skip(&mut self, from: Offset, to: Offset) {
        self.lost = Some((from, to));
        self.skip_lost();
    }

    fn skip_lost(&mut self) {
        if let Some((_, to)) = self.lost.take_if(|(from, _)| *from <= self.next.offset)
            && to > self.next.offset
        {
            self.next = Place { offset: to, print: None };
        }
    }

    /// The batch waits for one more event, such as a dead letter's acknowledgement.
    /// [`Progress::done`] ends that wait like a command's.
    pub fn hold(&mut self, batch: BatchId) {
        if let Some(batch) = self.batch_mut(batch) {
            batch.open += 1;
            self.open += 1;
        }
    }

    /// Notes that `part.count` commands of a batch are done.
    pub fn done(&mut self, part: BatchPart) {
        let count = part.count;
        let batch = self.batch_mut(part.batch);
        debug_assert!(batch.as_ref().is_some_and(|b| b.open >= count), "a command is done once");
        if let Some(batch) = batch {
            batch.open = batch.open.saturating_sub(count);
            self.open = self.open.saturating_sub(count);
        }
        while self.batches.front().is_some_and(|b| b.open == 0) {
            self.batches.pop_front();
            self.first_id += 1;
        }
    }

    /// The place before which every command is done.
    pub fn commands_next(&self) -> Place {
        self.batches.front().map_or(self.next, |b| b.before)
    }

    /// The place before which every command was read. Only a mutant uses it, in the place of
    /// [`Progress::commands_next`], to show that tests notice.
    pub fn read_up_to(&self) -> Place {
        self.next
    }

    /// How many commands, and other events that batches wait for, are not done.
    pub fn open(&self) -> usize {
        self.open
    }

    fn batch_mut(&mut self, BatchId(id): BatchId) -> Option<&mut Batch> {
        let index = usize::try_from(id.checked_sub(self.first_id)?).ok()?;
        self.batches.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place before an offset, with a print that tells such places apart.
    fn at(offset: i64) -> Place {
        Place { offset: Offset(offset), print: Some(Print::of(&offset.to_le_bytes())) }
    }

    #[test]
    fn r6_progress_never_passes_an_open_command() {
        let mut progress = Progress::new(at(10));
        let a = progress.begin(Offset(10), at(13), 3);
        let b = progress.begin(Offset(13), at(20), 2);
        assert_eq!(progress.commands_next(), at(10));
        progress.done(BatchPart { batch: b, count: 2 });
        progress.done(BatchPart { batch: a, count: 2 });
        assert_eq!((progress.commands_next(), progress.open()), (at(10), 1));
        progress.done(BatchPart::one(a));
        assert_eq!((progress.commands_next(), progress.open()), (at(20), 0));
    }

    #[test]
    fn r6_a_skip_over_lost_commands_waits_for_the_commands_before_them() {
        let mut progress = Progress::new(at(5));
        progress.skip(Offset(8), Offset(20));
        assert_eq!(progress.commands_next(), at(5), "commands 5 to 7 are read, but not begun");
        let batch = progress.begin(Offset(5), at(8), 3);
        assert_eq!(progress.commands_next(), at(5));
        progress.done(BatchPart { batch, count: 3 });
        assert_eq!(progress.commands_next(), Place { offset: Offset(20), print: None });
        progress.skip(Offset(20), Offset(30));
        assert_eq!(progress.commands_next(), Place { offset: Offset(30), print: None });
    }
    #[test]
    fn a_print_is_that_of_the_record_just_before_the_place() {
        let mut progress = Progress::new(at(5));
        let batch = progress.begin(Offset(5), at(8), 3);
        assert_eq!(progress.commands_next(), at(5));
        progress.done(BatchPart { batch, count: 3 });
        assert_eq!(progress.commands_next(), at(8));
        // Offsets 8 to 10 are missing in the log, so the print of record 7 says nothing about 11.
        progress.begin(Offset(11), at(12), 1);
        assert_eq!(progress.commands_next(), Place { offset: Offset(11), print: None });
    }
}
