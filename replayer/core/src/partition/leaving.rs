//! The planned end: the owner decides until its last checkpoint is written, and then waits for what
//! it has in flight.

use super::{Leaving, PartitionCore, Phase};
use crate::messages::End;
use driftless_schemas::time::MonotonicMs;

impl PartitionCore {
    /// The end was asked for.
    pub(super) fn drain(&mut self) {
        match self.phase {
            // Nothing was decided: there is nothing to write.
            Phase::Recovering => self.end(End::Drained),
            Phase::Running => {
                let (n, letter) = (self.trail.len(), self.dead_letters.next_id());
                self.phase = Phase::Leaving(Leaving::Before { n, letter });
            }
            Phase::Leaving(_) | Phase::Draining | Phase::Ended => {}
        }
    }

    /// Begins the last checkpoint as soon as what it contains is acknowledged.
    pub(super) fn begin_leaving(&mut self, now: MonotonicMs) {
        if let Phase::Leaving(Leaving::Before { n, .. }) = self.phase
            && self.trail.is_acknowledged_below(n)
            && !self.checkpoints.is_writing()
        {
            self.phase = Phase::Leaving(Leaving::Writing);
            self.begin_checkpoint(now);
        }
    }

    /// Goes on after any input. The next tick begins the last checkpoint even if copies to
    /// `dead-letter` are in flight: they are made again for as long as it takes.
    pub(super) fn continue_draining(&mut self, now: MonotonicMs) {
        if let Phase::Leaving(Leaving::Before { letter, .. }) = self.phase
            && self.dead_letters.is_acknowledged_below(letter)
        {
            self.begin_leaving(now);
        }
        if self.phase == Phase::Leaving(Leaving::Writing) && !self.checkpoints.is_writing() {
            // Later decisions stand in the log: the next owner reads them, and skips their
            // commands.
            self.phase = Phase::Draining;
        }
        // Commands that wait for a cold chunk are not decided; the next owner decides them.
        if self.phase == Phase::Draining && self.trail.is_acknowledged_to_the_end() {
            self.end(End::Drained);
        }
    }
}
