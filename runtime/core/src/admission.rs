//! Limits how fast a service admits sockets. After a restart all clients connect at once, and each
//! requests its chunks, so a service without this limit would be overloaded.
//!
//! A generic cell rate algorithm (ITU-T I.371) decides which sockets are admitted. Each refused
//! socket gets a different time to connect again, as if the refused sockets stood in a queue. The
//! clients therefore return at the admitted rate. Time is monotonic, because a wall clock that
//! jumps back must not refuse clients.
//!
//! A part of the rate is kept for addresses that open few sockets. So one address that opens
//! sockets as fast as it can does not keep the others out. The address still gets most of the rate
//! while the others want little: behind a proxy, all clients may have one address.

use crate::places::counted;
use crate::rate::{Allowance, Rates};
use driftless_schemas::time::MonotonicMs;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// The longest time that a refused socket is told to wait, milliseconds.
pub const RETRY_AFTER_MS_MAX: u32 = 60_000;

/// The size of a burst, as a time: the service may admit at once as many sockets as the rate allows
/// in these microseconds.
const BURST_US: u64 = 2_000_000;
/// The part of a burst that addresses which open many sockets may use up.
const BURST_OF_MANY_US: u64 = BURST_US / 4 * 3;
/// An address opens many sockets if it opens more than this part of the rate, one in so many.
const FEW_PART: u32 = 8;

/// Decides which sockets are admitted. All connections of a service share one `Admission`.
#[derive(Debug)]
pub struct Admission {
    /// The microseconds of the rate that one admitted socket uses up; 0 admits every socket.
    each_us: u64,
    /// The sockets that an address may open without counting among those that open many sockets.
    few: Rates<1>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The time until which the admitted sockets use up the rate, in microseconds of the service's
    /// monotonic clock.
    admitted_until_us: u64,
    /// When the most recently refused socket should connect again, in microseconds of the same
    /// clock: of addresses that open few sockets, and of those that open many.
    last_retry_us: [u64; 2],
}

impl Admission {
    /// Admits `per_second` sockets a second, and twice as many at once; 0 admits every socket.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let each_us = 1_000_000_u64.checked_div(per_second.into()).unwrap_or(0);
        let few = (per_second / FEW_PART).max(1);
        let few = Rates::new([Allowance { per_second: few, burst: few * 2 }]);
        Self { each_us, few, queue: Mutex::default() }
    }

    /// Decides whether one more socket is admitted. `address` is that of its client, if it is
    /// known. Addresses of one IPv6 /64 count as one.
    ///
    /// # Errors
    /// Milliseconds after which the socket may connect again, at most [`RETRY_AFTER_MS_MAX`]. Up to
    /// this bound each refused socket gets a later time than the one before of the same kind of
    /// address, rounded to milliseconds.
    pub fn admit(&self, address: Option<IpAddr>, now: MonotonicMs) -> Result<(), u32> {
        if self.each_us == 0 {
            return Ok(());
        }
        let opens_few =
            address.is_some_and(|address| self.few.of(&counted(address).to_string(), now).take([1], now).is_ok());
        let burst_us = if opens_few { BURST_US } else { BURST_OF_MANY_US };
        let now_us = now.0.saturating_mul(1000);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted_until_us = queue.admitted_until_us.max(now_us).saturating_add(self.each_us);
        if admitted_until_us <= now_us.saturating_add(burst_us) {
            queue.admitted_until_us = admitted_until_us;
            return Ok(());
        }
        // A refused socket queues up behind the sockets that are admitted by then.
        let longest_us = now_us.saturating_add(u64::from(RETRY_AFTER_MS_MAX) * 1000);
        let last = &mut queue.last_retry_us[usize::from(!opens_few)];
        *last = (*last).max(now_us.saturating_add(burst_us)).saturating_add(self.each_us).min(longest_us);
        Err(u32::try_from(last.saturating_sub(now_us) / 1000).unwrap_or(RETRY_AFTER_MS_MAX))
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

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn ten_thousand_at_once_are_admitted_at_the_rate_and_each_retries_once() {
        let of_one: fn(u32) -> Option<IpAddr> = |_| address(7);
        let of_each: fn(u32) -> Option<IpAddr> = address;
        for (address, at_once) in [(of_each, 2_000), (of_one, 1_500)] {
            let admission = Admission::new(1_000);
            let mut waits: Vec<u32> = (0..10_000).filter_map(|i| admission.admit(address(i), NOW).err()).collect();
            assert_eq!(waits.len(), 10_000 - at_once, "the sockets of two seconds, or of one and a half");
            waits.sort_unstable();
            assert!(waits.windows(2).all(|two| two[0] < two[1]), "no two retry at the same time");
            let is_refused =
                |(i, after): (usize, &u32)| admission.admit(address(i as u32), NOW.plus_ms(u64::from(*after))).is_err();
            let refused = waits.iter().enumerate().filter(|waiting| is_refused(*waiting)).count();
            assert_eq!(refused, 0, "a socket that waits as told is admitted");
        }
    }

    #[test]
    fn an_address_that_opens_sockets_as_fast_as_it_can_keeps_nobody_out() {
        let admission = Admission::new(1_000);
        for second in 0..60 {
            let now = NOW.plus_ms(second * 1_000);
            let admitted = (0..10_000).filter(|_| admission.admit(address(1), now).is_ok()).count();
            assert!(admitted >= 500, "{admitted} in second {second}: the rest of the rate is free");
            let others = (0..400).filter(|i| admission.admit(address(100 + i), now).is_ok()).count();
            assert_eq!(others, 400, "second {second}");
        }
        // A /64 of IPv6 is one address, and a client without a known address opens many.
        let flood = |i: u64| Some(IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(i)).to_be_bytes()));
        let admission = Admission::new(1_000);
        for i in 0..10_000 {
            let _ = (admission.admit(flood(i), NOW), admission.admit(None, NOW));
        }
        assert!(admission.admit(address(9), NOW).is_ok());
    }

    #[test]
    fn without_a_rate_every_socket_is_admitted() {
        let admission = Admission::new(0);
        assert!((0..100_000).all(|_| admission.admit(None, NOW).is_ok()));
        assert_eq!([spread_ms(10_000, 2_000), spread_ms(10, 0), spread_ms(usize::MAX, 1)], [5_000, 0, 60_000]);
    }
}
