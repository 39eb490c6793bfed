//! How much memory a step takes at its most: an input must not cost far more than it is long.
//!
//! libFuzzer's own limit for one allocation needs a sanitizer's allocator; this one counts wherever it runs.

use peak_alloc::PeakAlloc;
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// One at a time: what others allocate meanwhile would count too.
static MEASURING: Mutex<()> = Mutex::new(());

/// The most bytes that were in use at once while `act` ran, beyond those that were before.
pub fn peak_of(act: impl FnOnce()) -> usize {
    let _one = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    act();
    ALLOCATOR.peak_usage().saturating_sub(before)
}
