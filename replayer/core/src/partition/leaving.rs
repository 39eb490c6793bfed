//! The planned end: the owner decides until its last checkpoint is written, and then waits until
//! the log has acknowledged all its records.

use super::{Leaving, PartitionCore, Phase};
use crate::messages::End;
use driftless_schemas::time::MonotonicMs;

impl PartitionCore {
    /// Begins the planned end, which the shell has asked for.
    pub(super) fn drain(&mut self) {
        match self.phase {
            // Nothing was decided yet, so there is no checkpoint to write.
            Phase::Recovering => self.end(End::Drained),
            Phase::Running => {
                let (n, letter) = (self.trail.len(), self.dead_letters.next_id());
                self.phase = Phase::Leaving(Leaving::Before { n, letter });
            }
            Phase::Leaving(_) | Phase::Draining | Phase::Ended => {}
        }
    }

    /// Begins the last checkpoint, once every record from before the request for the end is
    /// acknowledged and counts.
    pub(super) fn begin_leaving(&mut self, now: MonotonicMs) {
        if let Phase::Leaving(Leaving::Before { n, .. }) = self.phase
            && self.trail.counts_below(n)
            && !self.checkpoints.is_writing()
        {
            self.phase = Phase::Leaving(Leaving::Writing);
            self.begin_checkpoint(now);
        }
    }

    /// Advances the planned end; called after each input. The last checkpoint waits for copies to
    /// `dead-letter` only until the next tick, because a copy that fails is tried again without a
    /// time limit.
    pub(super) fn continue_draining(&mut self, now: MonotonicMs) {
        if let Phase::Leaving(Leaving::Before { letter, .. }) = self.phase
            && self.dead_letters.is_acknowledged_below(letter)
        {
            self.begin_leaving(now);
        }
        if self.phase == Phase::Leaving(Leaving::Writing) && !self.checkpoints.is_writing() {
            // Decisions that the last checkpoint does not contain are in the log. The next owner
            // reads them, and skips their commands.
            self.phase = Phase::Draining;
        }
        // Commands that wait for a cold chunk are not decided; the next owner decides them.
        if self.phase == Phase::Draining && self.trail.is_acknowledged_to_the_end() {
            self.end(End::Drained);
        }
    }
}
