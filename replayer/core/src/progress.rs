//! How far `commands` is done: `commands_next` of the checkpoint.
//!
//! Commands arrive in batches, one per poll. A batch is done when each of its commands is decided and that decision is
//! acknowledged, or needs none. Everything below the first batch that is not done is done, so that the checkpoint never
//! points past what is acknowledged (R6). Counting by batch is coarser than by command, and a thousand times cheaper;
//! what is read again after a crash is skipped per chunk.

use driftless_schemas::Offset;
use std::collections::VecDeque;

/// Names a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId(u64);

/// Open commands of one batch that share a fate.
pub(crate) type Share = (BatchId, usize);

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
}

impl Progress {
    pub fn new(next: Offset) -> Self {
        Self { batches: VecDeque::new(), first_id: 0, next, open: 0 }
    }

    /// A batch of `count` commands, the first at `first`, the last before `next`.
    pub fn begin(&mut self, first: Offset, next: Offset, count: usize) -> BatchId {
        let id = BatchId(self.first_id + self.batches.len() as u64);
        self.batches.push_back(Batch { first, open: count });
        self.next = next;
        self.open += count;
        id
    }

    /// What stands below was never read and is lost.
    pub fn skip_to(&mut self, next: Offset) {
        self.next = self.next.max(next);
    }

    /// The batch waits for one thing more.
    pub fn hold(&mut self, BatchId(id): BatchId) {
        let index = id.checked_sub(self.first_id).and_then(|i| usize::try_from(i).ok());
        if let Some(batch) = index.and_then(|i| self.batches.get_mut(i)) {
            batch.open += 1;
            self.open += 1;
        }
    }

    /// Some of a batch's commands are done.
    pub fn done(&mut self, (BatchId(id), count): Share) {
        let index = id.checked_sub(self.first_id).and_then(|i| usize::try_from(i).ok());
        let batch = index.and_then(|i| self.batches.get_mut(i));
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

    /// Every command below this is decided, and its decision acknowledged.
    pub fn commands_next(&self) -> Offset {
        self.batches.front().map_or(self.next, |b| b.first)
    }

    /// The mutant of [`Progress::commands_next`]: every command below this was read.
    pub fn read_up_to(&self) -> Offset {
        self.next
    }

    /// Commands that are not done.
    pub fn open(&self) -> usize {
        self.open
    }
}

/// Adds one command to a list of shares.
pub(crate) fn add_one(shares: &mut Vec<Share>, batch: BatchId) {
    match shares.last_mut() {
        Some((last, count)) if *last == batch => *count += 1,
        _ => shares.push((batch, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r6_progress_never_passes_what_is_open() {
        let mut progress = Progress::new(Offset(10));
        let a = progress.begin(Offset(10), Offset(13), 3);
        let b = progress.begin(Offset(13), Offset(20), 2);
        assert_eq!(progress.commands_next(), Offset(10));
        progress.done((b, 2));
        progress.done((a, 2));
        assert_eq!((progress.commands_next(), progress.open()), (Offset(10), 1));
        progress.done((a, 1));
        assert_eq!((progress.commands_next(), progress.open()), (Offset(20), 0));
    }
}
