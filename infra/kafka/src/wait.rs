//! Waits for a condition with a deadline. A failure reports what was seen instead.

use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The pause between two probes of a condition.
const BETWEEN_PROBES: Duration = Duration::from_millis(20);

/// Calls `probe` until it breaks with a result, for at most `within`. `Break(Err(_))` ends the wait
/// at once. `Continue(seen)` describes the present state; the last one is part of the time-out's
/// error.
pub fn poll<T>(within: Duration, what: &str, mut probe: impl FnMut() -> ControlFlow<Result<T>, String>) -> Result<T> {
    let start = Instant::now();
    loop {
        let seen = match probe() {
            ControlFlow::Break(result) => return result,
            ControlFlow::Continue(seen) => seen,
        };
        if start.elapsed() >= within {
            bail!("waited {:.1} s for {what}; last seen: {seen}", within.as_secs_f64());
        }
        thread::sleep(BETWEEN_PROBES);
    }
}

/// Calls `probe` until it returns a value, for at most `within`.
pub fn until<T>(within: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    poll(within, what, || match probe() {
        Some(found) => ControlFlow::Break(Ok(found)),
        None => ControlFlow::Continue("nothing yet".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_what_was_found() {
        let mut looks = 0;
        let found = until(Duration::from_secs(5), "the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn a_wait_that_fails_says_for_what_and_what_was_seen() {
        let error = poll::<()>(Duration::ZERO, "rain", || ControlFlow::Continue("sunshine".to_owned()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("rain") && error.contains("sunshine"), "{error}");
    }

    #[test]
    fn a_hopeless_wait_ends_at_once() {
        let error = poll::<()>(Duration::from_secs(3600), "the dead", || {
            ControlFlow::Break(Err(anyhow::anyhow!("it is dead")))
        });
        assert_eq!(error.unwrap_err().to_string(), "it is dead");
    }
}
