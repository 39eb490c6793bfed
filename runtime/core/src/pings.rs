//! Bounds the websocket pings of a connection. They need no token and are cheap to send, but each
//! of them must be read and answered.

use driftless_schemas::limits::{PINGS_MAX, PINGS_WINDOW_MS};
use driftless_schemas::time::MonotonicMs;

/// The pings of one connection in the current window of time.
#[derive(Debug, Default)]
pub struct Pings {
    since: MonotonicMs,
    count: u32,
}

impl Pings {
    /// Counts a ping.
    ///
    /// # Errors
    /// The reason to close the connection, because there are too many pings.
    pub fn take(&mut self, now: MonotonicMs) -> Result<(), String> {
        if now.ms_since(self.since) >= PINGS_WINDOW_MS {
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        match self.count > PINGS_MAX {
            true => Err(format!("more than {PINGS_MAX} pings came within {} s", PINGS_WINDOW_MS / 1000)),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_send_some_pings_all_the_time_and_no_flood() {
        let mut pings = Pings::default();
        for second in 0..100 {
            (0..5).for_each(|_| pings.take(MonotonicMs(second * 1000)).unwrap());
        }
        let now = MonotonicMs(100_000);
        let refused = (0..=PINGS_MAX).find_map(|_| pings.take(now).err()).unwrap();
        assert!(refused.contains("100 pings"), "{refused}");
    }
}
