//! Measures the peak memory of a step, so that a short input cannot cost much memory.
//!
//! libFuzzer's own limit for one allocation needs a sanitizer's allocator. This counter works in
//! every build.

use peak_alloc::PeakAlloc;
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Allows only one measurement at a time, because the counter covers the whole process.
static MEASURING: Mutex<()> = Mutex::new(());

/// Runs `act`. Returns the peak of the bytes in use meanwhile, minus the bytes in use before.
pub fn peak_of(act: impl FnOnce()) -> usize {
    let _one = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    act();
    ALLOCATOR.peak_usage().saturating_sub(before)
}
