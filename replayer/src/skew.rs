//! Compares the clocks of other services with this machine's, by the times that the log gives to
//! their records.
//!
//! A record may be old for many reasons, but it cannot be from the future. So only clocks that are
//! ahead of this machine's can be seen here. No decision depends on it: the warning is for the
//! operator.

use driftless_schemas::Partition;
use driftless_schemas::time::UnixMs;
use metrics::counter;
use std::time::{Duration, Instant};

/// How far a record's time may be ahead, in milliseconds.
const AHEAD_MS_MAX: i64 = 5_000;

/// The least time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Notices records from the future.
#[derive(Default)]
pub(crate) struct SkewWatch {
    warned: Option<Instant>,
}

impl SkewWatch {
    /// Looks at the time of the newest record of a batch. Returns how far it is ahead of `now`, in
    /// milliseconds, if that is worth a warning.
    pub fn look(&mut self, topic: &str, partition: Partition, newest: UnixMs, now: UnixMs) -> Option<i64> {
        let ahead_ms = newest.0.saturating_sub(now.0);
        if ahead_ms <= AHEAD_MS_MAX {
            return None;
        }
        counter!("driftless_replayer_records_from_the_future_total").increment(1);
        if self.warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return None;
        }
        self.warned = Some(Instant::now());
        tracing::warn!(
            partition = partition.0,
            "a record of {topic} is {} s ahead of this machine's clock: set the clocks of this machine and of the services that write {topic}",
            ahead_ms / 1000
        );
        Some(ahead_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_is_warned_of_once_a_minute() {
        let mut watch = SkewWatch::default();
        let mut look = |newest| watch.look("w.1.commands", Partition(0), UnixMs(newest), UnixMs(1_000_000));
        assert_eq!(look(0), None, "a record may be old");
        assert_eq!(look(1_005_000), None);
        assert_eq!(look(1_060_000), Some(60_000));
        assert_eq!(look(i64::MAX), None, "the last warning is not a minute old");
    }
}
