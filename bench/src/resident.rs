//! The memory of a process.

use anyhow::{Context, Result};

/// Returns the resident memory of a process, in bytes. Works on Linux only.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    read(pid, "VmRSS:")
}

/// Returns the anonymous memory of a process, in bytes. Works on Linux only.
pub(crate) fn anonymous(pid: u32) -> Result<u64> {
    read(pid, "RssAnon:")
}

fn read(pid: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.context("the memory of a process is known on Linux only, and only while it runs")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}
