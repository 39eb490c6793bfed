//! The log does not hold an offset that is to be read.
//!
//! Retention that was shorter than the time without an owner has taken records. Only an operator
//! may accept that they are lost ([`Settings::accept_loss`](crate::Settings::accept_loss)); without
//! that word, and whenever the log is another one, the ownership ends with the offsets.

use super::{PartitionCore, Phase};
use crate::messages::{End, OutOfRange, Output, Stream};
use driftless_schemas::time::MonotonicMs;

impl PartitionCore {
    pub(super) fn take_out_of_range(&mut self, range: OutOfRange, now: MonotonicMs) {
        let OutOfRange { stream, wanted, low, .. } = range;
        let is_cut = wanted < low;
        let is_accepted = is_cut && self.settings.accept_loss;
        match stream {
            // For one chunk that is read again, that the log begins later is an answer.
            Stream::History if is_cut => self.history_is_cut(low, now),
            Stream::Updates if is_accepted && self.phase == Phase::Recovering => {
                self.outputs.push_back(Output::LossAccepted(range));
                self.continue_recovery_at(low);
            }
            Stream::Commands if is_accepted => {
                self.outputs.push_back(Output::LossAccepted(range));
                self.progress.skip(wanted, low);
                self.outputs.push_back(Output::ReadCommands(low));
            }
            Stream::History | Stream::Updates | Stream::Commands => self.end(End::OutOfRange(range)),
        }
    }
}
