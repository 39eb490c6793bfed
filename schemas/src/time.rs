//! Time as two types that cannot be mixed up: wall time and monotonic time.
//!
//! Tokens and sessions carry wall time, because other machines read it. Timers, rates and back-off
//! use monotonic time, because a wall clock may step forwards or backwards at any moment. Cores
//! take both as arguments and read no clock (R11). A service's shell reads the clocks.

use std::fmt;
use std::time::Duration;

/// Wall time: milliseconds since 1970-01-01 00:00 UTC, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

/// Monotonic time: milliseconds since a start that the clock chose, usually the start of the
/// process.
///
/// Values of two clocks (two processes, or a service and its client) cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonotonicMs(pub u64);

/// Both clocks, read at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Wall time, for values that other machines wrote or will read: tokens, sessions, records.
    pub unix: UnixMs,
    /// Monotonic time, for timers, rates and back-off.
    pub monotonic: MonotonicMs,
}

impl UnixMs {
    /// The latest possible time. No token or record can name a later one.
    pub const MAX: Self = Self(i64::MAX);

    /// Converts seconds since 1970, the form of times in tokens (RFC 7519 `exp`).
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The time `ms` milliseconds later, or earlier if `ms` is negative. The result stops at the
    /// type's bounds.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time. Negative if `earlier` is in fact later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl MonotonicMs {
    /// The deadline of a timer that is not set. No clock reaches this time.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time `ms` milliseconds later. The result stops at the type's maximum.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time. 0 if `earlier` is in fact later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time left until `later`. Zero if `later` has passed.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.ms_since(self))
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms since 1970", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stays_at_the_bounds_of_the_types() {
        assert_eq!(UnixMs::MAX.plus_ms(1), UnixMs::MAX);
        assert_eq!(UnixMs(i64::MIN).ms_since(UnixMs::MAX), i64::MIN);
        assert_eq!(UnixMs::from_seconds(i64::MAX), UnixMs::MAX);
        assert_eq!(MonotonicMs::NEVER.plus_ms(1), MonotonicMs::NEVER);
        assert_eq!(MonotonicMs(3).ms_since(MonotonicMs(5)), 0);
        assert_eq!(MonotonicMs(5).until(MonotonicMs(3)), Duration::ZERO);
        assert_eq!(MonotonicMs(3).until(MonotonicMs(5)), Duration::from_millis(2));
    }
}
