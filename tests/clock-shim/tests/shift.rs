//! The shim moves the wall clock, and nothing else.
//!
//! The test runs itself once more with the shim preloaded. The child changes the shift while it
//! runs, and checks its clocks and its waits.

#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

const VARIABLE: &str = "DRIFTLESS_CLOCK_SHIFT";
const WAIT: Duration = Duration::from_millis(200);
const HOUR_NS: i64 = 3_600_000_000_000;
/// The test of the child, which does nothing without the shim.
const CHILD: &str = "the_child_checks_its_clocks";

#[test]
fn the_wall_clock_is_shifted_and_monotonic_clocks_and_waits_are_not() {
    let program = std::env::current_exe().unwrap();
    let shim = program.with_file_name("libdriftless_clock_shim.so");
    assert!(shim.is_file(), "{} is not there: run the test by `cargo test`", shim.display());
    let file = std::env::temp_dir().join(format!("driftless-clock-shift-{}", std::process::id()));
    std::fs::File::create(&file).unwrap().write_all(&0_i64.to_ne_bytes()).unwrap();
    let mut child = Command::new(&program);
    child.args(["--exact", CHILD, "--nocapture"]).env("LD_PRELOAD", shim).env(VARIABLE, &file);
    let ended = child.output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains("all clocks are checked"), "{said}");
}

#[test]
fn the_child_checks_its_clocks() {
    let Some(file) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let file = OpenOptions::new().write(true).open(file).unwrap();
    let set = |shift_ns: i64| file.write_all_at(&shift_ns.to_ne_bytes(), 0).unwrap();
    for shift_ns in [HOUR_NS, -HOUR_NS, 0] {
        let (wall, monotonic) = (SystemTime::now(), Instant::now());
        set(shift_ns);
        let moved = nanoseconds(SystemTime::now()) - nanoseconds(wall);
        let expected = i128::from(shift_ns) + i128::try_from(monotonic.elapsed().as_nanos()).unwrap();
        assert!((moved - expected).abs() < 1_000_000_000, "moved by {moved} ns, expected {expected}");
        assert!(monotonic.elapsed() < Duration::from_secs(10), "the monotonic clock moved");
        for took in [wait_on_condition(WAIT, &|| ()), wait_on_semaphore(WAIT, &|| ())] {
            assert!((150..10_000).contains(&took.as_millis()), "a wait of 200 ms took {took:?}");
        }
        set(0);
    }
    // librdkafka computes a deadline once and waits for it several times.
    set(HOUR_NS);
    let took = wait_on_condition(WAIT, &|| set(0));
    assert!((150..10_000).contains(&took.as_millis()), "a wait during which the clock went back took {took:?}");
    println!("all clocks are checked");
}

fn nanoseconds(time: SystemTime) -> i128 {
    i128::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// The time on the wall clock after this wait.
fn deadline(wait: Duration) -> libc::timespec {
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + wait;
    libc::timespec { tv_sec: i64::try_from(at.as_secs()).unwrap(), tv_nsec: i64::from(at.subsec_nanos()) }
}

/// Waits on a condition variable that uses the wall clock. `before` runs after the deadline is
/// computed.
fn wait_on_condition(wait: Duration, before: &dyn Fn()) -> Duration {
    let began = Instant::now();
    let deadline = deadline(wait);
    before();
    let (mut condition, mut mutex) = (libc::PTHREAD_COND_INITIALIZER, libc::PTHREAD_MUTEX_INITIALIZER);
    // SAFETY: both are initialised and are used on this thread only.
    unsafe {
        assert_eq!(libc::pthread_mutex_lock(&raw mut mutex), 0);
        while libc::pthread_cond_timedwait(&raw mut condition, &raw mut mutex, &raw const deadline) == 0 {}
        assert_eq!(libc::pthread_mutex_unlock(&raw mut mutex), 0);
    }
    began.elapsed()
}

/// Waits like [`wait_on_condition`], on a semaphore.
fn wait_on_semaphore(wait: Duration, before: &dyn Fn()) -> Duration {
    let began = Instant::now();
    let deadline = deadline(wait);
    before();
    // SAFETY: a semaphore of zeros is initialised at once, and is used on this thread only.
    unsafe {
        let mut semaphore: libc::sem_t = std::mem::zeroed();
        assert_eq!(libc::sem_init(&raw mut semaphore, 0, 0), 0);
        while libc::sem_timedwait(&raw mut semaphore, &raw const deadline) == 0 {}
    }
    began.elapsed()
}
