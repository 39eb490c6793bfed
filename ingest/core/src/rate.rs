//! How much one user may submit: a generic cell rate algorithm (ITU-T I.371) over commands and one over bytes.
//!
//! A user's sockets and requests share one bucket per process. The crate `governor` does the same for one quantity, but
//! reads a clock of its own behind a trait and keeps its users in a map with random hashing; with the time as an
//! argument (R11) and two quantities that must be taken together or not at all, these few lines are less.

use crate::policy::Policy;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Users are looked through for ones that can be forgotten when their number has doubled, from here on.
const SWEEP_FROM: usize = 1024;

/// The buckets of all users.
#[derive(Debug)]
pub struct Rates {
    commands: Quantity,
    bytes: Quantity,
    users: Mutex<Users>,
}

#[derive(Debug)]
struct Users {
    buckets: BTreeMap<String, Arc<Mutex<Arrivals>>>,
    sweep_at: usize,
}

/// One user's bucket. Clones share it.
#[derive(Clone, Debug)]
pub struct Bucket {
    commands: Quantity,
    bytes: Quantity,
    arrivals: Arc<Mutex<Arrivals>>,
}

/// Nanoseconds that one unit takes, and those that may be taken in advance.
#[derive(Clone, Copy, Debug)]
struct Quantity {
    unit_ns: f64,
    burst_ns: i64,
}

/// When each quantity will have been worked off, nanoseconds since the Unix epoch (the "theoretical arrival time").
#[derive(Clone, Copy, Debug, Default)]
struct Arrivals {
    commands_ns: i64,
    bytes_ns: i64,
}

impl Rates {
    /// No user has taken anything.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        Self {
            commands: Quantity::new(policy.commands_per_second, policy.commands_burst),
            bytes: Quantity::new(policy.bytes_per_second, policy.bytes_burst),
            users: Mutex::new(Users { buckets: BTreeMap::new(), sweep_at: SWEEP_FROM }),
        }
    }

    /// A user's bucket.
    #[must_use]
    pub fn of(&self, user: &str, now_ms: i64) -> Bucket {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let arrivals = match users.buckets.get(user) {
            Some(arrivals) => Arc::clone(arrivals),
            None => {
                users.sweep(now_ms);
                Arc::clone(users.buckets.entry(user.to_owned()).or_default())
            }
        };
        Bucket { commands: self.commands, bytes: self.bytes, arrivals }
    }
}

impl Users {
    /// Forgets who is not connected and has nothing to work off: a fresh bucket is the same.
    fn sweep(&mut self, now_ms: i64) {
        if self.buckets.len() < self.sweep_at {
            return;
        }
        let now_ns = nanoseconds(now_ms);
        self.buckets.retain(|_, arrivals| {
            let rested = {
                let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
                arrivals.commands_ns <= now_ns && arrivals.bytes_ns <= now_ns
            };
            Arc::strong_count(arrivals) > 1 || !rested
        });
        self.sweep_at = SWEEP_FROM.max(self.buckets.len() * 2);
    }
}

impl Bucket {
    /// Takes one command of so many bytes.
    ///
    /// # Errors
    /// Milliseconds, at least 1, after which it would be taken. Nothing was taken.
    pub fn take(&self, bytes: usize, now_ms: i64) -> Result<(), u32> {
        let now_ns = nanoseconds(now_ms);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let commands = self.commands.after(arrivals.commands_ns, 1, now_ns);
        let bytes = self.bytes.after(arrivals.bytes_ns, bytes, now_ns);
        match (commands, bytes) {
            (Ok(commands_ns), Ok(bytes_ns)) => {
                *arrivals = Arrivals { commands_ns, bytes_ns };
                Ok(())
            }
            (commands, bytes) => {
                let wait_ns = commands.err().max(bytes.err()).unwrap_or(1);
                Err(u32::try_from(wait_ns.max(1).div_ceil(1_000_000)).unwrap_or(u32::MAX))
            }
        }
    }
}

impl Quantity {
    fn new(per_second: u32, burst: u32) -> Self {
        let unit_ns = 1e9 / f64::from(per_second.max(1));
        Self { unit_ns, burst_ns: (unit_ns * f64::from(burst.max(1))) as i64 }
    }

    /// The new arrival time, or the nanoseconds to wait.
    fn after(self, arrival_ns: i64, units: usize, now_ns: i64) -> Result<i64, u64> {
        // An arrival further ahead than a full burst means that the clock was set back: start from a spent bucket.
        let from_ns = arrival_ns.clamp(now_ns, now_ns.saturating_add(self.burst_ns));
        let next_ns = from_ns.saturating_add((self.unit_ns * units as f64) as i64);
        match next_ns.saturating_sub(now_ns).saturating_sub(self.burst_ns) {
            over if over > 0 => Err(over.unsigned_abs()),
            _ => Ok(next_ns),
        }
    }
}

fn nanoseconds(ms: i64) -> i64 {
    ms.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn rates() -> Rates {
        Rates::new(&Policy {
            commands_per_second: 10,
            commands_burst: 5,
            bytes_per_second: 1000,
            bytes_burst: 20_000,
            ..Policy::default()
        })
    }

    #[test]
    fn a_burst_is_taken_and_then_the_sustained_rate() {
        let bucket = rates().of("ann", NOW);
        for i in 0..5 {
            assert_eq!(bucket.take(1, NOW), Ok(()), "{i}");
        }
        assert_eq!(bucket.take(1, NOW), Err(100));
        assert_eq!(bucket.take(1, NOW + 99), Err(1));
        assert_eq!(bucket.take(1, NOW + 100), Ok(()));
        assert_eq!(bucket.take(1, NOW + 100), Err(100));
    }

    #[test]
    fn bytes_count_too_and_a_refusal_takes_nothing() {
        let bucket = rates().of("ann", NOW);
        assert_eq!(bucket.take(20_000, NOW), Ok(()));
        assert_eq!(bucket.take(500, NOW), Err(500));
        for _ in 0..4 {
            assert_eq!(bucket.take(0, NOW), Ok(()));
        }
        assert_eq!(bucket.take(500, NOW + 500), Ok(()));
    }

    #[test]
    fn users_are_apart_and_their_sockets_are_not() {
        let rates = rates();
        let (one, two, other) = (rates.of("ann", NOW), rates.of("ann", NOW), rates.of("bob", NOW));
        for _ in 0..5 {
            one.take(1, NOW).unwrap();
        }
        assert!(two.take(1, NOW).is_err());
        assert!(other.take(1, NOW).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_lock_a_user_out() {
        let bucket = rates().of("ann", NOW);
        bucket.take(1, NOW).unwrap();
        assert_eq!(bucket.take(1, NOW - 3_600_000), Err(100));
    }

    #[test]
    fn users_that_are_gone_are_forgotten() {
        let rates = rates();
        for i in 0..10_000 {
            rates.of(&format!("user {i}"), NOW + i).take(1, NOW + i).unwrap();
        }
        assert!(rates.users.lock().unwrap().buckets.len() <= SWEEP_FROM + 1);
    }
}
