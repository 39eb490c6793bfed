//! Limits the rate of each user with a generic cell rate algorithm (ITU-T I.371) over several
//! quantities at once, such as commands and bytes.
//!
//! All sockets and requests of a user share one bucket per process. The crate `governor` limits one
//! quantity, reads a clock of its own behind a trait, and keeps its users in a map with random
//! hashing. Here time is an argument (R11), and the quantities of one request are taken together or
//! not at all. Time is monotonic, because a wall clock that jumps must neither refuse users nor
//! forgive them.

use driftless_schemas::time::MonotonicMs;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of users at which the first sweep removes unused buckets. Later sweeps follow
/// whenever the number of users has doubled.
const SWEEP_FROM: usize = 1024;
/// The limit on a user's debt, in nanoseconds. A service does not read from a user's sockets while
/// there is debt, so this is also the limit on that pause.
const DEBT_MAX_NS: u64 = 60_000_000_000;

/// The limits on how much of one quantity, such as bytes, a user may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The sustained rate, in units a second.
    pub per_second: u32,
    /// The number of units that a user may take at once after a pause.
    pub burst: u32,
}

impl Allowance {
    /// An allowance that no user exceeds.
    pub const UNLIMITED: Self = Self { per_second: u32::MAX, burst: u32::MAX };
}

/// The buckets of all users, for `N` quantities.
#[derive(Debug)]
pub struct Rates<const N: usize> {
    quantities: [Quantity; N],
    users: Mutex<Users<N>>,
}

#[derive(Debug)]
struct Users<const N: usize> {
    buckets: BTreeMap<String, Arc<Mutex<Arrivals<N>>>>,
    /// The number of buckets at which the next sweep runs.
    sweep_at: usize,
}

/// The bucket of one user. Clones share its state.
#[derive(Clone, Debug)]
pub struct Bucket<const N: usize> {
    quantities: [Quantity; N],
    arrivals: Arc<Mutex<Arrivals<N>>>,
}

/// An [`Allowance`] as times: the time that one unit uses up, and the units and the time of a whole
/// burst.
#[derive(Clone, Copy, Debug)]
struct Quantity {
    unit_ns: f64,
    burst: u32,
    burst_ns: u64,
}

/// For each quantity, the time until which the units taken so far use up the rate (the algorithm's
/// "theoretical arrival time"), in nanoseconds of the clock of [`MonotonicMs`].
type Arrivals<const N: usize> = [u64; N];

impl<const N: usize> Rates<N> {
    /// Creates full buckets with these allowances.
    #[must_use]
    pub fn new(allowances: [Allowance; N]) -> Self {
        let users = Users { buckets: BTreeMap::new(), sweep_at: SWEEP_FROM };
        Self { quantities: allowances.map(Quantity::new), users: Mutex::new(users) }
    }

    /// Returns a user's bucket, which all sockets of the user share.
    #[must_use]
    pub fn of(&self, user: &str, now: MonotonicMs) -> Bucket<N> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let arrivals = match users.buckets.get(user) {
            Some(arrivals) => Arc::clone(arrivals),
            None => {
                users.sweep(now);
                let fresh = || Arc::new(Mutex::new([0; N]));
                Arc::clone(users.buckets.entry(user.to_owned()).or_insert_with(fresh))
            }
        };
        Bucket { quantities: self.quantities, arrivals }
    }
}

impl<const N: usize> Users<N> {
    /// Removes the buckets that are full again and that no connection uses: a new bucket would be
    /// the same.
    fn sweep(&mut self, now: MonotonicMs) {
        if self.buckets.len() < self.sweep_at {
            return;
        }
        let now_ns = nanoseconds(now);
        self.buckets.retain(|_, arrivals| {
            let is_rested = {
                let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
                arrivals.iter().all(|arrival| *arrival <= now_ns)
            };
            Arc::strong_count(arrivals) > 1 || !is_rested
        });
        self.sweep_at = SWEEP_FROM.max(self.buckets.len() * 2);
    }
}

impl<const N: usize> Bucket<N> {
    /// Takes all of these amounts, or none of them.
    ///
    /// An amount above the burst counts as one burst, because a request of any size must be
    /// possible.
    ///
    /// # Errors
    /// The milliseconds after which the amounts are available, at least 1. The bucket is unchanged.
    pub fn take(&self, amounts: [usize; N], now: MonotonicMs) -> Result<(), u32> {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        *arrivals = self.after(*arrivals, amounts, now)?;
        Ok(())
    }

    /// Checks whether the bucket has these amounts, and takes nothing. A service asks this before
    /// it does the work that tells what else a request costs.
    ///
    /// # Errors
    /// The milliseconds after which the amounts are available, at least 1.
    pub fn check(&self, amounts: [usize; N], now: MonotonicMs) -> Result<(), u32> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        self.after(*arrivals, amounts, now).map(drop)
    }

    /// The arrivals after these amounts were taken, or the milliseconds until they are available.
    fn after(&self, mut arrivals: Arrivals<N>, amounts: [usize; N], now: MonotonicMs) -> Result<Arrivals<N>, u32> {
        let now_ns = nanoseconds(now);
        let mut over_ns = 0;
        for ((arrival, quantity), amount) in arrivals.iter_mut().zip(self.quantities).zip(amounts) {
            *arrival = quantity.after(*arrival, amount.min(quantity.burst as usize), now_ns);
            over_ns = over_ns.max(quantity.over(*arrival, now_ns));
        }
        match over_ns {
            0 => Ok(arrivals),
            _ => Err(milliseconds(over_ns).max(1)),
        }
    }

    /// Takes these amounts in any case. If the bucket does not have them, the user gets into debt.
    ///
    /// Returns the milliseconds until the debt is worked off, 0 without debt. The service should
    /// not read from the user before that.
    #[must_use]
    pub fn owe(&self, amounts: [usize; N], now: MonotonicMs) -> u32 {
        let now_ns = nanoseconds(now);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut over_ns = 0;
        for ((arrival, quantity), amount) in arrivals.iter_mut().zip(self.quantities).zip(amounts) {
            let latest_ns = now_ns.saturating_add(quantity.burst_ns).saturating_add(DEBT_MAX_NS);
            *arrival = quantity.after(*arrival, amount, now_ns).min(latest_ns);
            over_ns = over_ns.max(quantity.over(*arrival, now_ns));
        }
        milliseconds(over_ns)
    }
}

impl Quantity {
    fn new(allowance: Allowance) -> Self {
        let (unit_ns, burst) = (1e9 / f64::from(allowance.per_second.max(1)), allowance.burst.max(1));
        Self { unit_ns, burst, burst_ns: (unit_ns * f64::from(burst)) as u64 }
    }

    /// Returns the arrival time after `units` more units are taken.
    fn after(self, arrival_ns: u64, units: usize, now_ns: u64) -> u64 {
        arrival_ns.max(now_ns).saturating_add((self.unit_ns * units as f64) as u64)
    }

    /// Returns by how many nanoseconds an arrival time exceeds a whole burst; 0 if it does not.
    fn over(self, arrival_ns: u64, now_ns: u64) -> u64 {
        arrival_ns.saturating_sub(now_ns).saturating_sub(self.burst_ns)
    }
}

fn nanoseconds(now: MonotonicMs) -> u64 {
    now.0.saturating_mul(1_000_000)
}

fn milliseconds(ns: u64) -> u32 {
    u32::try_from(ns.div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MonotonicMs = MonotonicMs(5_000);

    fn after(ms: u64) -> MonotonicMs {
        NOW.plus_ms(ms)
    }

    /// Rates of two quantities: commands and bytes.
    fn rates() -> Rates<2> {
        Rates::new([Allowance { per_second: 10, burst: 5 }, Allowance { per_second: 1000, burst: 20_000 }])
    }

    #[test]
    fn a_check_takes_nothing_and_says_when_the_amounts_are_there() {
        let bucket = rates().of("ann", NOW);
        for _ in 0..5 {
            assert_eq!((bucket.check([1, 1], NOW), bucket.take([1, 1], NOW)), (Ok(()), Ok(())));
        }
        let check = |ms| bucket.check([1, 0], after(ms));
        assert_eq!((check(0), check(99), check(100)), (Err(100), Err(1), Ok(())));
        assert_eq!(bucket.check([0, 1], NOW), Ok(()), "bytes are left");
        let _ = bucket.owe([0, 30_000], after(100));
        assert_eq!(check(100), Err(10_000), "a debt of one quantity counts for all");
    }

    #[test]
    fn a_burst_is_taken_and_then_the_sustained_rate() {
        let bucket = rates().of("ann", NOW);
        for i in 0..5 {
            assert_eq!(bucket.take([1, 1], NOW), Ok(()), "{i}");
        }
        assert_eq!(bucket.take([1, 1], NOW), Err(100));
        assert_eq!(bucket.take([1, 1], after(99)), Err(1));
        assert_eq!(bucket.take([1, 1], after(100)), Ok(()));
        assert_eq!(bucket.take([1, 1], after(100)), Err(100));
    }

    /// A user may take a whole burst at the time 0 of the monotonic clock.
    #[test]
    fn a_whole_burst_is_there_when_the_clock_starts() {
        let bucket = rates().of("ann", MonotonicMs(0));
        for i in 0..5 {
            assert_eq!(bucket.take([1, 1], MonotonicMs(0)), Ok(()), "{i}");
        }
        assert_eq!(bucket.take([1, 1], MonotonicMs(0)), Err(100));
    }

    #[test]
    fn every_quantity_counts_and_a_refusal_takes_nothing() {
        let bucket = rates().of("ann", NOW);
        assert_eq!(bucket.take([1, 20_000], NOW), Ok(()));
        assert_eq!(bucket.take([1, 500], NOW), Err(500));
        for _ in 0..4 {
            assert_eq!(bucket.take([1, 0], NOW), Ok(()));
        }
        assert_eq!(bucket.take([1, 500], after(500)), Ok(()));
    }

    #[test]
    fn more_than_a_burst_costs_a_whole_burst_and_is_not_refused_for_ever() {
        let bucket = rates().of("ann", NOW);
        assert_eq!(bucket.take([1, usize::MAX], NOW), Ok(()));
        assert_eq!(bucket.take([1, 1], NOW), Err(1));
        assert_eq!(bucket.take([1, usize::MAX], after(19_999)), Err(1));
        assert_eq!(bucket.take([1, usize::MAX], after(20_000)), Ok(()));
    }

    #[test]
    fn debt_is_worked_off_and_shared_by_a_users_sockets() {
        let rates = Rates::new([Allowance { per_second: 10, burst: 5 }]);
        let (one, two) = (rates.of("ann", NOW), rates.of("ann", NOW));
        assert_eq!(one.owe([5], NOW), 0);
        assert_eq!(one.owe([20], NOW), 2_000);
        assert_eq!(two.owe([10], NOW), 3_000, "the debt of the other socket is included");
        assert_eq!(two.owe([0], after(2_000)), 1_000);
        assert_eq!(two.owe([1], after(3_500)), 0);
        assert_eq!(one.owe([usize::MAX], after(3_500)), 60_000, "debt is bounded");
        assert_eq!(one.owe([0], after(63_500)), 0);
    }

    #[test]
    fn sockets_of_one_user_share_a_bucket_and_users_do_not() {
        let rates = rates();
        let (one, two, other) = (rates.of("ann", NOW), rates.of("ann", NOW), rates.of("bob", NOW));
        for _ in 0..5 {
            one.take([1, 1], NOW).unwrap();
        }
        assert!(two.take([1, 1], NOW).is_err());
        assert!(other.take([1, 1], NOW).is_ok());
    }

    /// Sweeps remove the unused buckets of users without connections, so the memory is bounded.
    #[test]
    fn users_that_are_gone_are_forgotten() {
        let rates = rates();
        for i in 0..10_000 {
            rates.of(&format!("user {i}"), after(i)).take([1, 1], after(i)).unwrap();
        }
        assert!(rates.users.lock().unwrap().buckets.len() <= SWEEP_FROM + 1);
    }
}
