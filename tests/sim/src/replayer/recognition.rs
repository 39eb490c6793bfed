//! Compares the log with what the index knows of it, as the shell of the replayer does.

use super::{Ownership, Process};
use crate::log::{Log, PartitionLog};
use driftless_chunk::mutant::Mutant;
use driftless_chunk::recognition::Known;
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{Offset, Partition};

/// The state of a partition of a topic, as an examination finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The topic holds all that the index names.
    Whole,
    /// The offset from which an owner reads is not in the topic, or the topic is another one.
    Another,
    /// The topic has lost records behind that offset.
    Shorter,
}

/// Compares `updates` with a checkpoint.
#[must_use]
pub fn updates(checkpoint: &Checkpoint, log: &PartitionLog) -> Found {
    match () {
        () if !holds(log, checkpoint.updates_low, Known::of_updates(checkpoint)) => Found::Another,
        () if !holds(log, checkpoint.updates_end, Known::of_updates_end(checkpoint)) => Found::Shorter,
        () => Found::Whole,
    }
}

/// Compares `commands` with a checkpoint.
#[must_use]
pub fn commands(checkpoint: &Checkpoint, log: &PartitionLog) -> Found {
    match holds(log, checkpoint.commands_next, Known::of_commands(checkpoint)) {
        true => Found::Whole,
        false => Found::Another,
    }
}

/// True if the log does not hold what an ownership with this checkpoint needs.
pub(super) fn refuses(checkpoint: &Checkpoint, partition: Partition, log: &Log) -> bool {
    let p = partition.0 as usize;
    let is_unusable = match updates(checkpoint, &log.updates[p]) {
        Found::Whole => false,
        Found::Another => true,
        Found::Shorter => !Mutant::ForgetTheEnd.is_on(),
    };
    is_unusable || commands(checkpoint, &log.commands[p]) != Found::Whole
}

fn holds(log: &PartitionLog, wanted: Offset, known: Option<Known>) -> bool {
    let is_in_range = wanted <= log.end() && (wanted >= log.low() || wanted == Offset(0));
    is_in_range && known.is_none_or(|known| is_own(log, known))
}

/// True if the compared record is the one that the index knows, or if retention has deleted it.
fn is_own(log: &PartitionLog, known: Known) -> bool {
    let Some(records) = log.read(known.at(), 1) else { return true };
    records.first().is_none_or(|(_, value)| known.difference(value).is_none())
}

impl Ownership {
    /// True if the stream (0 for `updates`, 1 for `commands`) is not the log that the ownership
    /// began with, or if its record below the offset `from` is not the one that the index knows.
    pub(super) fn finds_another_log(&mut self, stream: usize, from: Offset, log: &PartitionLog) -> bool {
        let known = self.known[stream].take_if(|known| known.from() == from);
        self.losses[stream] != log.losses() || known.is_some_and(|known| !is_own(log, known))
    }
}

impl Process {
    /// Ends an ownership that has found another log, as the shell of the replayer does.
    pub(super) fn end_for_another_log(&mut self, i: usize, now: u64) -> bool {
        let own = &mut self.ownerships[i];
        own.is_stopped = true;
        let partition = own.partition;
        *self.ends.entry("another log").or_default() += 1;
        self.refused.insert(partition);
        if let Some(at) = self.assigned.get_mut(&partition) {
            *at = now + 300;
        }
        true
    }
}
