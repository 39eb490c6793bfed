//! Time as two types that cannot be mixed up: wall time and monotonic time.
//!
//! Tokens and sessions carry wall time, because other machines read it. Timers, rates and back-off
//! use monotonic time, because a wall clock may step forwards or backwards at any moment. Cores
//! take both as arguments and read neither clock (R11); a service's clock makes them.

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
    /// For what other machines said or will read: tokens, sessions, records.
    pub unix: UnixMs,
    /// For timers, rates and back-off.
    pub monotonic: MonotonicMs,
}

impl UnixMs {
    /// The end of time: later than every moment that a token or a record can name.
    pub const MAX: Self = Self(i64::MAX);

    /// The moment that is `seconds` after 1970, as tokens write it (RFC 7519 `exp`).
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The moment `ms` later, or earlier if `ms` is negative; it stays at the type's bounds.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment: negative if `earlier` is in fact later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl MonotonicMs {
    /// A moment that never comes: the deadline of a timer that is not set.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `ms` later; it stays at the type's maximum.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment: 0 if `earlier` is in fact later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time left until `later`: zero if that moment has passed.
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
