//! The memory of a process: how much it may take, how much it takes, and how it is divided.
//!
//! *Anonymous* memory counts: the pages that the process itself has written. Pages of files, which
//! the kernel can drop at any time, are apart.

use crate::shutdown::Shutdown;
use driftless_runtime_core::memory::{Division, Part};
use metrics::{describe_gauge, gauge};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The interval at which the gauge of the process's memory is read.
const SAMPLE: Duration = Duration::from_secs(5);
/// The part of a container's limit that a process uses by default, percent.
const OF_LIMIT: u64 = 80;

/// A mebibyte, in bytes.
pub const MIB: usize = 1 << 20;
/// The memory that a service needs before it serves clients: its code's data, its threads' stacks,
/// clients of the log and of the store, metrics.
pub const PROGRAM: Part = Part::fixed("program", 24 * MIB);
/// The memory that the allocator holds beside the bytes in use. A fifth of the whole is an
/// estimate, which no measurement under load has confirmed yet.
#[must_use]
pub const fn allocator(max: usize) -> Part {
    Part::fixed("allocator", max / 5)
}
/// The name of the part for records that clients of the log have fetched and not passed on.
pub const LOG_READER_NAME: &str = "log reader";
/// The records that clients of the log have fetched and not passed on.
pub const LOG_READER: Part = Part::share(LOG_READER_NAME, 10, 8 * MIB).at_most(64 * MIB);
/// The name of the part for the databases of the index.
pub const INDEX_NAME: &str = "index";
/// The databases of the index: their block cache, and tables that are not stored yet.
pub const INDEX: Part = Part::share(INDEX_NAME, 8, 8 * MIB).at_most(64 * MIB);

/// Returns `wanted`, or a default if it is 0: 80 % of the memory that the container (cgroup) may
/// use. Without such a limit it is `of_machine` percent of the machine's memory. A system that
/// tells neither has no limit.
#[must_use]
pub fn max_or_default(wanted: usize, of_machine: u64) -> usize {
    if wanted > 0 {
        return wanted;
    }
    let percent = |bytes: u64, percent: u64| usize::try_from(bytes / 100 * percent).unwrap_or(usize::MAX);
    match (container(), machine()) {
        (Some(limit), Some(machine)) if limit < machine => percent(limit, OF_LIMIT),
        (_, Some(machine)) => percent(machine, of_machine),
        (Some(limit), None) => percent(limit, OF_LIMIT),
        (None, None) => usize::MAX,
    }
}

/// The limit of the container, in bytes: the lowest of this process's control group and of those
/// above it.
fn container() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let lowest = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        match controllers {
            "" => lowest_limit(Path::new("/sys/fs/cgroup"), path, "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                lowest_limit(Path::new("/sys/fs/cgroup/memory"), path, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    lowest.min()
}

fn lowest_limit(root: &Path, group: &str, file: &str) -> Option<u64> {
    let folder: PathBuf = root.join(group.trim_start_matches('/'));
    let limits = folder.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(|folder| {
        let text = std::fs::read_to_string(folder.join(file)).ok()?;
        text.trim().parse().ok()
    });
    limits.min()
}

/// The memory of the machine, in bytes.
fn machine() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// The anonymous memory of this process in RAM, in bytes; `None` if the system does not tell it.
#[must_use]
pub fn anonymous() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "RssAnon:")
}

/// Finds a line such as `RssAnon:  6232 kB`, and returns its bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Logs how the memory of a service is divided, and sets the gauges of its parts.
pub fn announce(service: &'static str, division: &Division) {
    describe_gauge!("driftless_memory_max_bytes", "The division of memory_max, by service and part");
    describe_gauge!("driftless_memory_anonymous_bytes", "Anonymous memory of the process in RAM");
    tracing::info!(service, "memory: {division}");
    for (part, bytes) in division.parts() {
        gauge!("driftless_memory_max_bytes", "service" => service, "part" => part).set(bytes as f64);
    }
}

/// Keeps the gauge of the process's memory until the shutdown.
pub async fn sample(shutdown: Shutdown) {
    loop {
        if let Some(bytes) = anonymous() {
            gauge!("driftless_memory_anonymous_bytes").set(bytes as f64);
        }
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(SAMPLE) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_size_counts_and_the_default_is_a_part_of_what_there_is() {
        assert_eq!(max_or_default(7, 50), 7);
        let (half, whole) = (max_or_default(0, 50), max_or_default(0, 100));
        assert!(half <= whole && half > 1 << 20, "{half} of {whole}");
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        assert_eq!(kilobytes("VmRSS:\t 10 kB\nRssAnon:\t    6232 kB\n", "RssAnon:"), Some(6232 * 1024));
        for text in ["", "RssAnon: 6232\n", "RssAnon: x kB\n", "RssAnon: 99999999999999999999 kB\n"] {
            assert_eq!(kilobytes(text, "RssAnon:"), None, "{text:?}");
        }
    }

    #[test]
    fn the_lowest_limit_of_the_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("outer/inner");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(root.path().join("outer/memory.max"), "1000\n").unwrap();
        std::fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(lowest_limit(root.path(), "/outer/inner", "memory.max"), Some(1000));
        std::fs::write(inner.join("memory.max"), "500\n").unwrap();
        assert_eq!(lowest_limit(root.path(), "/outer/inner", "memory.max"), Some(500));
        assert_eq!(lowest_limit(root.path(), "/other", "memory.max"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_anonymous_memory() {
        assert!(anonymous().unwrap() > 100_000);
    }
}
