//! Handles reads of offsets that the log does not hold.
//!
//! Either retention has deleted records while the partition had no owner, or the index belongs to
//! another log. If commands are deleted, an operator may accept that
//! ([`Settings::accept_loss`](crate::Settings::accept_loss)). Otherwise the ownership ends, and its
//! error names the offsets. A loss of records of `updates` is accepted when an ownership begins
//! ([`PartitionCore::with_loss`]), because its fence then begins a new history.

use super::{PartitionCore, Phase};
use crate::messages::{End, OutOfRange, Output, Stream};
use driftless_schemas::time::MonotonicMs;

impl PartitionCore {
    pub(super) fn take_out_of_range(&mut self, range: OutOfRange, now: MonotonicMs) {
        let OutOfRange { stream, wanted, low, .. } = range;
        let is_cut = wanted < low;
        let is_accepted = is_cut && self.settings.accept_loss;
        match stream {
            // The log is only being read again for one chunk. That reading goes on at the new
            // beginning of the log, and no ownership ends because of it.
            Stream::History if is_cut => self.history_is_cut(low, now),
            // Recovery had read the own fence before the shell reported the cut. So it needs no
            // more of the log.
            Stream::Updates if is_cut && self.phase != Phase::Recovering => {}
            Stream::Commands if is_accepted => {
                self.outputs.push_back(Output::LossAccepted(range));
                self.progress.skip(wanted, low);
                self.outputs.push_back(Output::ReadCommands(low));
            }
            Stream::History | Stream::Updates | Stream::Commands | Stream::ReadBack => self.end(End::OutOfRange(range)),
        }
    }
}
