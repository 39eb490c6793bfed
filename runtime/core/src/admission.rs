//! How many sockets a service lets in: after a restart all clients come at once, and each wants its chunks.
//!
//! Who comes too soon is sent away with a time to come again, each with another one: as if they stood in a line. A generic cell
//! rate algorithm (ITU-T I.371) says who is let in; the line says when the others may try again.

use std::sync::{Mutex, PoisonError};

/// Nobody is told to wait longer than this, milliseconds.
pub const RETRY_AFTER_MS_MAX: u32 = 60_000;

/// Who may come in. Shared by all of a service's connections.
#[derive(Debug)]
pub struct Admission {
    /// Microseconds that one takes; 0: everybody is let in.
    each_us: i64,
    burst_us: i64,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// When all who were let in will have been worked off, microseconds.
    busy_until_us: i64,
    /// When the last of those who were sent away comes again, microseconds.
    end_us: i64,
}

impl Admission {
    /// So many a second, and as many as come in two seconds at once; 0 lets everybody in.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let each_us = 1_000_000_i64.checked_div(per_second.into()).unwrap_or(0);
        Self { each_us, burst_us: 2_000_000, line: Mutex::default() }
    }

    /// Lets one in.
    ///
    /// # Errors
    /// Milliseconds after which it may come again; no two are told the same, as far as milliseconds go.
    pub fn admit(&self, now_ms: i64) -> Result<(), u32> {
        if self.each_us == 0 {
            return Ok(());
        }
        let now_us = now_ms.saturating_mul(1000);
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let from_us = line.busy_until_us.clamp(now_us, now_us + self.burst_us);
        // Kept also where nobody is let in: time that was ahead because the clock was set back is given up.
        line.busy_until_us = from_us;
        if from_us + self.each_us <= now_us + self.burst_us {
            line.busy_until_us = from_us + self.each_us;
            return Ok(());
        }
        // Behind those who are let in by then.
        let longest_us = now_us + i64::from(RETRY_AFTER_MS_MAX) * 1000;
        line.end_us = (line.end_us.max(now_us + self.burst_us) + self.each_us).min(longest_us);
        Err(u32::try_from((line.end_us - now_us) / 1000).unwrap_or(RETRY_AFTER_MS_MAX))
    }
}

/// The longest wait, milliseconds, to be drawn from by each of so many sockets that are closed together, so that they come
/// again at that rate.
#[must_use]
pub fn spread_ms(sockets: usize, per_second: u32) -> u32 {
    let ms = (sockets as u64).saturating_mul(1000).checked_div(per_second.into()).unwrap_or(0);
    u32::try_from(ms).unwrap_or(u32::MAX).min(RETRY_AFTER_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn ten_thousand_at_once_are_let_in_at_the_rate_and_each_comes_again_once() {
        let admission = Admission::new(1_000);
        let mut later: Vec<u32> = (0..10_000).filter_map(|_| admission.admit(NOW).err()).collect();
        assert_eq!(later.len(), 8_000, "two seconds' worth are let in at once");
        later.sort_unstable();
        assert!(later.windows(2).all(|two| two[0] < two[1]), "no two at the same time");
        assert_eq!((later[0], later[7_999]), (2_001, 10_000));
        let again = later.iter().filter(|after| admission.admit(NOW + i64::from(**after)).is_err()).count();
        assert_eq!(again, 0, "whoever does as it is told comes in");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let admission = Admission::new(10);
        let _ = (0..100).map(|_| admission.admit(NOW)).filter(Result::is_ok).count();
        assert!(admission.admit(NOW - 3_600_000).is_err_and(|after| after <= RETRY_AFTER_MS_MAX));
        assert_eq!(admission.admit(NOW - 3_600_000 + 200), Ok(()));
    }

    #[test]
    fn without_a_rate_everybody_is_let_in() {
        let admission = Admission::new(0);
        assert!((0..100_000).all(|_| admission.admit(NOW).is_ok()));
        assert_eq!([spread_ms(10_000, 2_000), spread_ms(10, 0), spread_ms(usize::MAX, 1)], [5_000, 0, 60_000]);
    }
}
