//! The clock that the databases of the index use (docs/decisions/0017).
//!
//! SlateDB refuses to write to a database with a clock below the one that wrote last. With the
//! machine's wall clock, a process whose clock is an hour ahead would so keep all others from a
//! partition for an hour. So the index takes the object store's time, which is one for all
//! processes, and never goes back behind a time that a database has seen.

use crate::Store;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use slatedb_common::clock::{SystemClock, SystemClockTicker};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

type Time = chrono::DateTime<chrono::Utc>;

/// The smallest difference from the store's time that counts, in milliseconds. Stores give times in
/// whole seconds, and a request takes a while.
const SKEW_MS_MIN: i64 = 5_000;

/// How far the clock goes above a time that a database has seen, in milliseconds. A database's
/// newest file may be younger than the write that is visible in it.
const MARGIN_MS: i64 = 60_000;

/// The most by which the clock moves ahead at a time, in milliseconds: a hundred years. A database
/// with a later time is damaged.
const AHEAD_MS_MAX: i64 = 100 * 366 * 86_400_000;

/// A clock that starts at a given time and never goes back.
#[derive(Debug)]
pub(crate) struct IndexClock {
    start: Time,
    since: Instant,
    /// How far the clock was moved ahead since its start, in milliseconds.
    ahead_ms: AtomicI64,
}

impl IndexClock {
    /// A clock that shows the machine's wall clock, corrected by `correction_ms`.
    pub fn new(correction_ms: i64) -> Self {
        let start = Time::from(SystemTime::now()) + chrono::TimeDelta::milliseconds(correction_ms);
        Self { start, since: Instant::now(), ahead_ms: AtomicI64::new(0) }
    }

    /// Moves the clock above a time that a database has seen, in milliseconds since the Unix epoch.
    /// Does nothing if the clock is there already.
    pub fn pass(&self, seen_ms: i64) {
        let behind = seen_ms.saturating_sub(self.now().timestamp_millis());
        if behind > 0 {
            self.ahead_ms.fetch_add(behind.min(AHEAD_MS_MAX) + MARGIN_MS, Ordering::Relaxed);
        }
    }
}

impl SystemClock for IndexClock {
    fn now(&self) -> Time {
        let elapsed = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        let passed = elapsed.saturating_add(self.ahead_ms.load(Ordering::Relaxed));
        // A time that does not fit the calendar cannot be shown. The start can.
        let time = chrono::TimeDelta::try_milliseconds(passed).and_then(|by| self.start.checked_add_signed(by));
        time.unwrap_or(self.start)
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(self, duration)
    }
}

impl Store {
    /// Compares the machine's wall clock with the time of an object that the store has just stored.
    /// Returns how far the wall clock is ahead, in milliseconds. Differences below
    /// [`SKEW_MS_MIN`] count as 0.
    ///
    /// # Errors
    /// The store's error, if it cannot store, show and delete the object.
    pub async fn clock_skew_ms(&self) -> Result<i64, object_store::Error> {
        skew_ms(&*self.inner, SystemTime::now).await
    }
}

async fn skew_ms(store: &dyn ObjectStore, wall: impl Fn() -> SystemTime) -> Result<i64, object_store::Error> {
    let path = Path::from(driftless_schemas::storage::clock(rand::random()));
    let before = Time::from(wall());
    store.put(&path, PutPayload::new()).await?;
    let stored = store.head(&path).await?.last_modified;
    let after = Time::from(wall());
    if let Err(e) = store.delete(&path).await {
        // The object is empty, and nothing reads it.
        tracing::debug!(%path, "cannot delete the object that was stored to compare clocks: {e}");
    }
    // The object was stored between the two readings of the wall clock.
    let is_ahead = before.signed_duration_since(stored).num_milliseconds();
    let is_behind = stored.signed_duration_since(after).num_milliseconds();
    Ok(match is_ahead.max(is_behind) {
        skew if skew < SKEW_MS_MIN => 0,
        _ if is_ahead > is_behind => is_ahead,
        _ => -is_behind,
    })
}

/// Shares one clock among the parts of a database.
pub(crate) fn shared(clock: &Arc<IndexClock>) -> Arc<dyn SystemClock> {
    Arc::clone(clock) as Arc<dyn SystemClock>
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_skew_is_that_of_the_wall_clock_against_the_store() {
        let store = Store::memory();
        let day = Duration::from_secs(86_400);
        assert_eq!(store.clock_skew_ms().await.unwrap(), 0);
        let ahead = skew_ms(&*store.inner, || SystemTime::now() + day).await.unwrap();
        let behind = skew_ms(&*store.inner, || SystemTime::now() - day).await.unwrap();
        assert!((86_395_000..=86_400_000).contains(&ahead), "{ahead}");
        assert!((-86_400_000..=-86_395_000).contains(&behind), "{behind}");
    }

    #[test]
    fn a_clock_passes_what_a_database_has_seen_and_never_goes_back() {
        let clock = IndexClock::new(-3_600_000);
        let before = clock.now().timestamp_millis();
        clock.pass(before - 1_000);
        assert!(clock.now().timestamp_millis() - before < 1_000, "it is ahead of that already");
        let seen = before + 86_400_000;
        clock.pass(seen);
        assert!(clock.now().timestamp_millis() >= seen + MARGIN_MS);
        clock.pass(i64::MAX);
        assert!(clock.now().timestamp_millis() > seen);
    }
}
