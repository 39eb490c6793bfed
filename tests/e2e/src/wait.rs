//! Waiting for a condition with a deadline. No test measures time: the deadline only ends what
//! hangs.

use std::fmt::Debug;
use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

/// Every expected event happens within this time, even on a machine that is busy with a build.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// The pause between two looks at something that cannot be awaited.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Waits for an event that must happen.
///
/// # Panics
/// If it does not happen in time.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {DEADLINE:?}: {what}"),
    }
}

/// Repeats a look until it succeeds.
///
/// # Panics
/// If it never succeeds, with the last error.
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

/// Waits until a counter of a process is at least `at_least`, summed over all labels.
///
/// # Panics
/// If it is not in time.
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

/// Whether tests that need servers are left out.
#[must_use]
pub fn is_quick() -> bool {
    std::env::var("DRIFTLESS_TEST_QUICK").is_ok_and(|v| v == "1")
}

/// Prints a line even if the test passes.
pub fn say(what: &str) {
    // A passing test hides the output of `eprintln!`. One write keeps the line in one piece.
    let _ = std::io::stderr().write_all(format!("{what}\n").as_bytes());
}
