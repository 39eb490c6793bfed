//! The clock of a service: the only place where a service reads wall time and monotonic time.

use driftless_schemas::time::{MonotonicMs, Now, UnixMs};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads wall time and monotonic time. Monotonic time counts from the creation of the clock; copies
/// of a clock share that start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock {
    /// Reads both clocks at one moment.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { unix: unix_now(), monotonic: self.monotonic() }
    }

    /// Returns the milliseconds since this clock was created.
    #[must_use]
    pub fn monotonic(&self) -> MonotonicMs {
        MonotonicMs(milliseconds(self.started.elapsed()))
    }
}

/// Reads wall time. A system clock before 1970 reads as 1970.
#[must_use]
pub fn unix_now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(milliseconds(since)).unwrap_or(i64::MAX))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
