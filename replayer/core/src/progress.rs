//! How far `commands` is done: `commands_next` of the checkpoint.
//!
//! Commands arrive in batches, one per poll. A batch is done when each of its commands is decided
//! and the decision is acknowledged, or when the command needs no decision. Everything below the
//! first open batch is done, so that a checkpoint never points past what is acknowledged (R6).
//! Counting by batch is coarser than counting by command, and a thousand times cheaper
//! (docs/decisions/0003): after a crash, commands of an open batch are read again and skipped per
//! chunk.

use driftless_schemas::Offset;
use std::collections::VecDeque;

/// Names a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId(u64);

/// A number of open commands of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchPart {
    pub batch: BatchId,
    pub count: usize,
}

#[derive(Debug)]
struct Batch {
    first: Offset,
    open: usize,
}

/// The batches that are not done.
#[derive(Debug)]
pub(crate) struct Progress {
    batches: VecDeque<Batch>,
    first_id: u64,
    next: Offset,
    open: usize,
    /// Commands from the first to before the second offset are lost.
    lost: Option<(Offset, Offset)>,
}

impl BatchPart {
    pub fn one(batch: BatchId) -> Self {
        Self { batch, count: 1 }
    }

    /// Adds one command to a list of parts.
    pub fn add_one(parts: &mut Vec<Self>, batch: BatchId) {
        match parts.last_mut() {
            Some(last) if last.batch == batch => last.count += 1,
            _ => parts.push(Self::one(batch)),
        }
    }
}

impl Progress {
    pub fn new(next: Offset) -> Self {
        Self { batches: VecDeque::new(), first_id: 0, next, open: 0, lost: None }
    }

    /// A batch of `count` commands begins: the first at `first`, the last before `next`.
    pub fn begin(&mut self, first: Offset, next: Offset, count: usize) -> BatchId {
        let id = BatchId(self.first_id + self.batches.len() as u64);
        self.batches.push_back(Batch { first, open: count });
        self.next = next;
        self.skip_lost();
        self.open += count;
        id
    }

    /// The commands from `from` to before `to` are lost, and never come. Commands below `from` may
    /// still come.
    pub fn skip(&mut self, from: Offset, to: Offset) {
        self.lost = Some((from, to));
        self.skip_lost();
    }

    fn skip_lost(&mut self) {
        if let Some((_, to)) = self.lost.take_if(|(from, _)| *from <= self.next) {
            self.next = self.next.max(to);
        }
    }

    /// The batch waits for one thing more.
    pub fn hold(&mut self, batch: BatchId) {
        if let Some(batch) = self.batch_mut(batch) {
            batch.open += 1;
            self.open += 1;
        }
    }

    /// Some commands of a batch are done.
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

    /// Every command below this offset is decided, and its decision acknowledged.
    pub fn commands_next(&self) -> Offset {
        self.batches.front().map_or(self.next, |b| b.first)
    }

    /// The mutant of [`Progress::commands_next`]: every command below this offset was read.
    pub fn read_up_to(&self) -> Offset {
        self.next
    }

    /// How many commands are not done.
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

    #[test]
    fn r6_progress_never_passes_an_open_command() {
        let mut progress = Progress::new(Offset(10));
        let a = progress.begin(Offset(10), Offset(13), 3);
        let b = progress.begin(Offset(13), Offset(20), 2);
        assert_eq!(progress.commands_next(), Offset(10));
        progress.done(BatchPart { batch: b, count: 2 });
        progress.done(BatchPart { batch: a, count: 2 });
        assert_eq!((progress.commands_next(), progress.open()), (Offset(10), 1));
        progress.done(BatchPart::one(a));
        assert_eq!((progress.commands_next(), progress.open()), (Offset(20), 0));
    }

    #[test]
    fn r6_a_skip_over_lost_commands_waits_for_the_commands_before_them() {
        let mut progress = Progress::new(Offset(5));
        progress.skip(Offset(8), Offset(20));
        assert_eq!(progress.commands_next(), Offset(5), "commands 5 to 7 are read, but not begun");
        let batch = progress.begin(Offset(5), Offset(8), 3);
        assert_eq!(progress.commands_next(), Offset(5));
        progress.done(BatchPart { batch, count: 3 });
        assert_eq!(progress.commands_next(), Offset(20));
        progress.skip(Offset(20), Offset(30));
        assert_eq!(progress.commands_next(), Offset(30));
    }
}
