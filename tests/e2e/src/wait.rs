//! Waits with a deadline. No test measures time, so the deadline only ends a test that hangs.

use std::fmt::Debug;
use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

/// The deadline of each wait. Every expected event happens earlier, even on a machine that is busy
/// with a build.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// The pause between two checks of a condition that cannot be awaited.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Waits for a future that must complete before the deadline. `what` names it in the panic.
///
/// # Panics
/// If it does not happen in time.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {DEADLINE:?}: {what}"),
    }
}

/// Repeats a check until it succeeds, and returns its result.
///
/// # Panics
/// If the check never succeeds before the deadline. The panic shows the last error.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let mut seen = None;
    let looking = async {
        loop {
            match look().await {
                Ok(found) => return found,
                Err(e) => seen = Some(e),
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    match tokio::time::timeout(DEADLINE, looking).await {
        Ok(found) => found,
        Err(_) => panic!("not within {DEADLINE:?}: {what}; last seen: {seen:?}"),
    }
}

/// Waits until a metric of a process, summed over all labels, is at least `at_least`.
///
/// # Panics
/// If the metric stays below before the deadline.
pub async fn counter(base: &str, name: &str, at_least: u64) {
    let url = format!("{base}/metrics");
    eventually(&format!("{name} of at least {at_least}"), || async {
        let text = reqwest::get(&url).await.map_err(|e| e.to_string())?.text().await.map_err(|e| e.to_string())?;
        let lines = text.lines().filter(|line| line.starts_with(name));
        let sum: u64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        if sum >= at_least { Ok(()) } else { Err(format!("{sum}")) }
    })
    .await;
}

/// True if tests that need servers are left out.
#[must_use]
pub fn is_quick() -> bool {
    std::env::var("DRIFTLESS_TEST_QUICK").is_ok_and(|v| v == "1")
}

/// Prints a line that is visible even if the test passes.
pub fn say(what: &str) {
    // A passing test hides the output of `eprintln!`. One write keeps the line in one piece.
    let _ = std::io::stderr().write_all(format!("{what}\n").as_bytes());
}
