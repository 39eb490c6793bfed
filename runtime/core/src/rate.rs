//! How much one user may ask for: a generic cell rate algorithm (ITU-T I.371) over several quantities at once.
//!
//! A user's sockets and requests share one bucket per process. The crate `governor` does the same for one quantity, but
//! reads a clock of its own behind a trait and keeps its users in a map with random hashing; with the time as an
//! argument (R11) and quantities that must be taken together or not at all, these few lines are less.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Users are looked through for ones that can be forgotten when their number has doubled, from here on.
const SWEEP_FROM: usize = 1024;
/// What is taken in debt is worked off for no longer than this: a user's sockets are not silent for ever.
const DEBT_MAX_NS: i64 = 60_000_000_000;

/// How much of one quantity a user may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Sustained.
    pub per_second: u32,
    /// At once, after a rest.
    pub burst: u32,
}

/// The buckets of all users, for so many quantities.
#[derive(Debug)]
pub struct Rates<const N: usize> {
    quantities: [Quantity; N],
    users: Mutex<Users<N>>,
}

#[derive(Debug)]
struct Users<const N: usize> {
    buckets: BTreeMap<String, Arc<Mutex<Arrivals<N>>>>,
    sweep_at: usize,
}

/// One user's bucket. Clones share it.
#[derive(Clone, Debug)]
pub struct Bucket<const N: usize> {
    quantities: [Quantity; N],
    arrivals: Arc<Mutex<Arrivals<N>>>,
}

/// Nanoseconds that one unit takes, and those that may be taken in advance.
#[derive(Clone, Copy, Debug)]
struct Quantity {
    unit_ns: f64,
    burst: u32,
    burst_ns: i64,
}

/// When each quantity will have been worked off, nanoseconds since the Unix epoch (the "theoretical arrival time").
type Arrivals<const N: usize> = [i64; N];

impl<const N: usize> Rates<N> {
    /// No user has taken anything.
    #[must_use]
    pub fn new(allowances: [Allowance; N]) -> Self {
        let users = Users { buckets: BTreeMap::new(), sweep_at: SWEEP_FROM };
        Self { quantities: allowances.map(Quantity::new), users: Mutex::new(users) }
    }

    /// A user's bucket.
    #[must_use]
    pub fn of(&self, user: &str, now_ms: i64) -> Bucket<N> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let arrivals = match users.buckets.get(user) {
            Some(arrivals) => Arc::clone(arrivals),
            None => {
                users.sweep(now_ms);
                let fresh = || Arc::new(Mutex::new([0; N]));
                Arc::clone(users.buckets.entry(user.to_owned()).or_insert_with(fresh))
            }
        };
        Bucket { quantities: self.quantities, arrivals }
    }
}

impl<const N: usize> Users<N> {
    /// Forgets who is not connected and has nothing to work off: a fresh bucket is the same.
    fn sweep(&mut self, now_ms: i64) {
        if self.buckets.len() < self.sweep_at {
            return;
        }
        let now_ns = nanoseconds(now_ms);
        self.buckets.retain(|_, arrivals| {
            let rested = {
                let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
                arrivals.iter().all(|arrival| *arrival <= now_ns)
            };
            Arc::strong_count(arrivals) > 1 || !rested
        });
        self.sweep_at = SWEEP_FROM.max(self.buckets.len() * 2);
    }
}

impl<const N: usize> Bucket<N> {
    /// Takes so much of each quantity, or nothing. More than a whole burst of one costs a whole burst: it must be possible.
    ///
    /// # Errors
    /// Milliseconds, at least 1, after which it would be taken. Nothing was taken.
    pub fn take(&self, amounts: [usize; N], now_ms: i64) -> Result<(), u32> {
        let now_ns = nanoseconds(now_ms);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        for (arrival, quantity) in arrivals.iter_mut().zip(self.quantities) {
            // Kept also where nothing is taken: else a clock that was set back would refuse until it is where it was.
            *arrival = (*arrival).min(now_ns.saturating_add(quantity.burst_ns).saturating_add(DEBT_MAX_NS));
        }
        let mut next = *arrivals;
        let mut over = 0;
        for ((next, quantity), amount) in next.iter_mut().zip(self.quantities).zip(amounts) {
            *next = quantity.after(*next, amount.min(quantity.burst as usize), now_ns, 0);
            over = over.max(quantity.over(*next, now_ns));
        }
        match over {
            0 => *arrivals = next,
            _ => return Err(milliseconds(over).max(1)),
        }
        Ok(())
    }

    /// Takes so much in any case. Gives the milliseconds until that is worked off, 0 where it was there: whoever asked should
    /// not be heard before.
    #[must_use]
    pub fn owe(&self, amounts: [usize; N], now_ms: i64) -> u32 {
        let now_ns = nanoseconds(now_ms);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut over = 0;
        for ((arrival, quantity), amount) in arrivals.iter_mut().zip(self.quantities).zip(amounts) {
            let latest_ns = now_ns.saturating_add(quantity.burst_ns).saturating_add(DEBT_MAX_NS);
            *arrival = quantity.after(*arrival, amount, now_ns, DEBT_MAX_NS).min(latest_ns);
            over = over.max(quantity.over(*arrival, now_ns));
        }
        milliseconds(over)
    }
}

impl Quantity {
    fn new(allowance: Allowance) -> Self {
        let (unit_ns, burst) = (1e9 / f64::from(allowance.per_second.max(1)), allowance.burst.max(1));
        Self { unit_ns, burst, burst_ns: (unit_ns * f64::from(burst)) as i64 }
    }

    /// The new arrival time.
    fn after(self, arrival_ns: i64, units: usize, now_ns: i64, debt_max_ns: i64) -> i64 {
        // An arrival further ahead than a full burst means that the clock was set back: start from a spent bucket.
        let latest_ns = now_ns.saturating_add(self.burst_ns).saturating_add(debt_max_ns);
        let from_ns = arrival_ns.clamp(now_ns, latest_ns);
        from_ns.saturating_add((self.unit_ns * units as f64) as i64)
    }

    /// How far a new arrival time is beyond what may be taken in advance, nanoseconds.
    fn over(self, next_ns: i64, now_ns: i64) -> u64 {
        let over = next_ns.saturating_sub(now_ns).saturating_sub(self.burst_ns);
        u64::try_from(over).unwrap_or(0)
    }
}

fn nanoseconds(ms: i64) -> i64 {
    ms.saturating_mul(1_000_000)
}

fn milliseconds(ns: u64) -> u32 {
    u32::try_from(ns.div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    /// Commands and bytes.
    fn rates() -> Rates<2> {
        Rates::new([Allowance { per_second: 10, burst: 5 }, Allowance { per_second: 1000, burst: 20_000 }])
    }

    #[test]
    fn a_burst_is_taken_and_then_the_sustained_rate() {
        let bucket = rates().of("ann", NOW);
        for i in 0..5 {
            assert_eq!(bucket.take([1, 1], NOW), Ok(()), "{i}");
        }
        assert_eq!(bucket.take([1, 1], NOW), Err(100));
        assert_eq!(bucket.take([1, 1], NOW + 99), Err(1));
        assert_eq!(bucket.take([1, 1], NOW + 100), Ok(()));
        assert_eq!(bucket.take([1, 1], NOW + 100), Err(100));
    }

    #[test]
    fn every_quantity_counts_and_a_refusal_takes_nothing() {
        let bucket = rates().of("ann", NOW);
        assert_eq!(bucket.take([1, 20_000], NOW), Ok(()));
        assert_eq!(bucket.take([1, 500], NOW), Err(500));
        for _ in 0..4 {
            assert_eq!(bucket.take([1, 0], NOW), Ok(()));
        }
        assert_eq!(bucket.take([1, 500], NOW + 500), Ok(()));
    }

    #[test]
    fn more_than_a_burst_costs_all_of_it_and_is_not_refused_for_ever() {
        let bucket = rates().of("ann", NOW);
        assert_eq!(bucket.take([1, usize::MAX], NOW), Ok(()));
        assert_eq!(bucket.take([1, 1], NOW), Err(1));
        assert_eq!(bucket.take([1, usize::MAX], NOW + 19_999), Err(1));
        assert_eq!(bucket.take([1, usize::MAX], NOW + 20_000), Ok(()));
    }

    #[test]
    fn debt_is_worked_off_and_shared_by_a_users_sockets() {
        let rates = Rates::new([Allowance { per_second: 10, burst: 5 }]);
        let (one, two) = (rates.of("ann", NOW), rates.of("ann", NOW));
        assert_eq!(one.owe([5], NOW), 0);
        assert_eq!(one.owe([20], NOW), 2_000);
        assert_eq!(two.owe([10], NOW), 3_000, "the other socket's debt is there too");
        assert_eq!(two.owe([0], NOW + 2_000), 1_000);
        assert_eq!(two.owe([1], NOW + 3_500), 0);
        assert_eq!(one.owe([usize::MAX], NOW + 3_500), 60_000, "but not for ever");
        assert_eq!(one.owe([0], NOW + 63_500), 0);
    }

    #[test]
    fn users_are_apart_and_their_sockets_are_not() {
        let rates = rates();
        let (one, two, other) = (rates.of("ann", NOW), rates.of("ann", NOW), rates.of("bob", NOW));
        for _ in 0..5 {
            one.take([1, 1], NOW).unwrap();
        }
        assert!(two.take([1, 1], NOW).is_err());
        assert!(other.take([1, 1], NOW).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_lock_a_user_out() {
        let bucket = rates().of("ann", NOW);
        bucket.take([1, 1], NOW).unwrap();
        assert_eq!(bucket.take([1, 1], NOW - 3_600_000), Err(100));
        let debt_ms = DEBT_MAX_NS / 1_000_000;
        assert_eq!(bucket.take([1, 1], NOW - 3_600_000 + debt_ms + 100), Ok(()));
    }

    #[test]
    fn users_that_are_gone_are_forgotten() {
        let rates = rates();
        for i in 0..10_000 {
            rates.of(&format!("user {i}"), NOW + i).take([1, 1], NOW + i).unwrap();
        }
        assert!(rates.users.lock().unwrap().buckets.len() <= SWEEP_FROM + 1);
    }
}
