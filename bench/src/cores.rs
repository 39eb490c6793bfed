//! Pins the measuring process to a processor core that the measured server does not use.

use std::process::{Command, Stdio};

/// Pins the process with the id `process` to the core with the number `core`. If that fails,
/// because there is no such core or no `taskset`, the function prints a warning. The measured
/// figures are then lower than they could be.
pub(crate) fn pin(core: &str, process: &str) {
    let pinned = Command::new("taskset").args(["-cp", core, process]).stdout(Stdio::null()).status();
    if !pinned.is_ok_and(|status| status.success()) {
        eprintln!("the crowd is not on a core of its own: the figures are lower than they could be");
    }
}
