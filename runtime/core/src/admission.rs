//! Limits how fast a service admits sockets. After a restart all clients connect at once, and each
//! requests its chunks, so a service without this limit would be overloaded.
//!
//! A generic cell rate algorithm (ITU-T I.371) decides which sockets are admitted. Each refused
//! socket gets a different time to connect again, as if the refused sockets stood in a queue. The
//! clients therefore return at the admitted rate. Time is monotonic, because a wall clock that
//! jumps back must not refuse clients.

use driftless_schemas::time::MonotonicMs;
use std::sync::{Mutex, PoisonError};

/// The longest time that a refused socket is told to wait, milliseconds.
pub const RETRY_AFTER_MS_MAX: u32 = 60_000;

/// The size of a burst, as a time: the service may admit at once as many sockets as the rate allows
/// in these microseconds.
const BURST_US: u64 = 2_000_000;

/// Decides which sockets are admitted. All connections of a service share one `Admission`.
#[derive(Debug)]
pub struct Admission {
    /// The microseconds of the rate that one admitted socket uses up; 0 admits every socket.
    each_us: u64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The time until which the admitted sockets use up the rate, in microseconds of the service's
    /// monotonic clock.
    admitted_until_us: u64,
    /// When the most recently refused socket should connect again, in microseconds of the same
    /// clock.
    last_retry_us: u64,
}

impl Admission {
    /// Admits `per_second` sockets a second, and twice as many at once; 0 admits every socket.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let each_us = 1_000_000_u64.checked_div(per_second.into()).unwrap_or(0);
        Self { each_us, queue: Mutex::default() }
    }

    /// Decides whether one more socket is admitted.
    ///
    /// # Errors
    /// Milliseconds after which the socket may connect again, at most [`RETRY_AFTER_MS_MAX`]. Below
    /// that bound each refused socket gets a later time than the one before, rounded to
    /// milliseconds.
    pub fn admit(&self, now: MonotonicMs) -> Result<(), u32> {
        if self.each_us == 0 {
            return Ok(());
        }
        let now_us = now.0.saturating_mul(1000);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted_until_us = queue.admitted_until_us.max(now_us).saturating_add(self.each_us);
        if admitted_until_us <= now_us.saturating_add(BURST_US) {
            queue.admitted_until_us = admitted_until_us;
            return Ok(());
        }
        // A refused socket queues up behind the sockets that are admitted by then.
        let longest_us = now_us.saturating_add(u64::from(RETRY_AFTER_MS_MAX) * 1000);
        queue.last_retry_us =
            queue.last_retry_us.max(now_us.saturating_add(BURST_US)).saturating_add(self.each_us).min(longest_us);
        Err(u32::try_from(queue.last_retry_us.saturating_sub(now_us) / 1000).unwrap_or(RETRY_AFTER_MS_MAX))
    }
}

/// Returns the longest wait, in milliseconds, for `sockets` sockets that are closed at once. If
/// each client waits for a random part of that time, the clients connect again at the rate
/// `per_second`.
#[must_use]
pub fn spread_ms(sockets: usize, per_second: u32) -> u32 {
    let ms = (sockets as u64).saturating_mul(1000).checked_div(per_second.into()).unwrap_or(0);
    u32::try_from(ms).unwrap_or(u32::MAX).min(RETRY_AFTER_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MonotonicMs = MonotonicMs(5_000);

    #[test]
    fn ten_thousand_at_once_are_admitted_at_the_rate_and_each_retries_once() {
        let admission = Admission::new(1_000);
        let mut waits: Vec<u32> = (0..10_000).filter_map(|_| admission.admit(NOW).err()).collect();
        assert_eq!(waits.len(), 8_000, "the sockets of two seconds are admitted at once");
        waits.sort_unstable();
        assert!(waits.windows(2).all(|two| two[0] < two[1]), "no two retry at the same time");
        assert_eq!((waits[0], waits[7_999]), (2_001, 10_000));
        let refused = waits.iter().filter(|after| admission.admit(NOW.plus_ms(u64::from(**after))).is_err()).count();
        assert_eq!(refused, 0, "a socket that waits as told is admitted");
    }

    #[test]
    fn without_a_rate_every_socket_is_admitted() {
        let admission = Admission::new(0);
        assert!((0..100_000).all(|_| admission.admit(NOW).is_ok()));
        assert_eq!([spread_ms(10_000, 2_000), spread_ms(10, 0), spread_ms(usize::MAX, 1)], [5_000, 0, 60_000]);
    }
}
