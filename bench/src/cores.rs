//! Pins the measuring process to a processor core of its own.

use std::process::{Command, Stdio};

/// Pins a process to a core. Without a second core, or without `taskset`, it prints a warning: the
/// figures are then lower than they could be.
pub(crate) fn pin(core: &str, process: &str) {
    let pinned = Command::new("taskset").args(["-cp", core, process]).stdout(Stdio::null()).status();
    if !pinned.is_ok_and(|status| status.success()) {
        eprintln!("the crowd is not on a core of its own: the figures are lower than they could be");
    }
}
