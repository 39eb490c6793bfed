//! Many runs, side by side: each seed is a run of its own, whatever thread it is on.

use crate::sim::{self, Report};
use crate::violation::Violation;
use driftless_chunk::mutant::{self, Mutant};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Runs a seed with a mutant, or none; a panic is a violation too.
#[must_use]
pub fn run(seed: u64, mutant: Option<Mutant>) -> Report {
    mutant::set(mutant);
    let report = catch_unwind(AssertUnwindSafe(|| sim::run(seed)));
    mutant::set(None);
    report.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Report {
            seed,
            steps: 0,
            edits: 0,
            faults: Default::default(),
            seen: Default::default(),
            outcomes: [0; 5],
            trace: 0,
            violation: Some(Violation::new("panic", said.unwrap_or("something panicked"))),
        }
    })
}

/// Runs seeds from `first` on, until `goes_on` says no, and hands each report to `take`, in no order.
pub fn run_many(
    first: u64,
    threads: usize,
    mutant: Option<Mutant>,
    goes_on: impl Fn(u64) -> bool + Sync,
    take: impl FnMut(Report) + Send,
) {
    let next = AtomicU64::new(first);
    let is_over = AtomicBool::new(false);
    let take = Mutex::new(take);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(seed) {
                        return;
                    }
                    let report = run(seed, mutant);
                    if report.violation.is_some() {
                        is_over.store(true, Ordering::Relaxed);
                    }
                    let mut take = take.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    take(report);
                }
            });
        }
    });
}
