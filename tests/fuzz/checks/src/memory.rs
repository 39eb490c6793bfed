//! Measures the peak memory of a step, so that a short input cannot cost much memory.
//!
//! libFuzzer's own limit for one allocation needs a sanitizer's allocator. This counter works in
//! every build.

use peak_alloc::PeakAlloc;
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Only one measurement runs at a time, because the counter is the whole process's.
static MEASURING: Mutex<()> = Mutex::new(());

/// The largest number of bytes in use while `act` ran, less those in use before.
pub fn peak_of(act: impl FnOnce()) -> usize {
    let _one = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    act();
    ALLOCATOR.peak_usage().saturating_sub(before)
}
