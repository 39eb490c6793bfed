//! A library that shifts the wall clock of the program that preloads it (`LD_PRELOAD`).
//!
//! The variable `DRIFTLESS_CLOCK_SHIFT` names a file with the shift: 8 bytes, nanoseconds in the
//! machine's byte order. The library maps the file into memory, so another process can set the
//! clock ahead and back while the program runs. Only `CLOCK_REALTIME` is shifted, with all
//! functions that read it. Monotonic clocks stay as they are.
//!
//! Some functions wait until a time of `CLOCK_REALTIME`. librdkafka computes such times itself,
//! from the shifted clock. The kernel waits by the true clock, so these functions subtract the
//! shift again. Without this, a wait of 100 ms would last as long as the shift. (libfaketime does
//! not subtract it in all of these functions, and librdkafka then stalls.)

#![cfg(target_os = "linux")]

use libc::{c_int, c_void, clockid_t, time_t, timespec, timeval};
use std::cell::Cell;
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicUsize, Ordering};

/// The environment variable that names the file with the shift.
const VARIABLE: &CStr = c"DRIFTLESS_CLOCK_SHIFT";
/// The size of that file in bytes.
const SHIFT_BYTES: usize = size_of::<i64>();
const NS_PER_S: i128 = 1_000_000_000;
/// The longest time that a machine is up, in seconds (17 years). A deadline above it belongs to
/// `CLOCK_REALTIME`, and a deadline below it to a monotonic clock. A condition variable does not
/// say which clock it uses.
const UPTIME_S_MAX: time_t = 1 << 29;

/// The mapped file; null if the variable is not set.
static SHIFT: AtomicPtr<AtomicI64> = AtomicPtr::new(null_mut());

thread_local! {
    /// The shift at the time when this thread last read the clock. The thread made its deadlines
    /// from that time, also if the shift has changed since.
    static SEEN: Cell<i64> = const { Cell::new(0) };
}

/// Makes the dynamic linker call [`open`] before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = open;

/// Maps the file with the shift.
extern "C" fn open() {
    // SAFETY: all pointers are valid C strings. The mapping is never removed, it is as large as an
    // i64, and it is aligned, because mappings begin at a page. A shorter file ends the program.
    unsafe {
        let path = libc::getenv(VARIABLE.as_ptr());
        if path.is_null() {
            return;
        }
        let file = libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC);
        let is_long_enough = libc::lseek(file, 0, libc::SEEK_END) >= SHIFT_BYTES as libc::off_t;
        let map = libc::mmap(null_mut(), SHIFT_BYTES, libc::PROT_READ, libc::MAP_SHARED, file, 0);
        if file < 0 || !is_long_enough || map == libc::MAP_FAILED {
            fail("the file that DRIFTLESS_CLOCK_SHIFT names cannot be mapped, or has less than 8 bytes\n");
        }
        libc::close(file);
        SHIFT.store(map.cast(), Ordering::Release);
    }
}

/// Ends the program with a message. A fault that silently does not happen would pass for a success.
fn fail(message: &str) -> ! {
    // SAFETY: the message is a valid range of bytes.
    unsafe {
        libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
        libc::abort()
    }
}

/// The present shift in nanoseconds. Remembers it for the deadlines of this thread.
fn shift() -> i64 {
    // SAFETY: the pointer is null or points to a mapping that is never removed.
    let shift = unsafe { SHIFT.load(Ordering::Acquire).as_ref() }.map_or(0, |shift| shift.load(Ordering::Relaxed));
    SEEN.set(shift);
    shift
}

/// Adds nanoseconds to a time.
fn plus(time: timespec, ns: i64) -> timespec {
    let all = i128::from(time.tv_sec) * NS_PER_S + i128::from(time.tv_nsec) + i128::from(ns);
    timespec { tv_sec: all.div_euclid(NS_PER_S) as time_t, tv_nsec: all.rem_euclid(NS_PER_S) as _ }
}

/// The true time of a deadline. A deadline on a monotonic clock stays as it is.
///
/// # Safety
/// The pointer must point to a time.
unsafe fn true_time(deadline: *const timespec) -> timespec {
    // SAFETY: the caller guarantees it.
    let deadline = unsafe { *deadline };
    if deadline.tv_sec > UPTIME_S_MAX { plus(deadline, -SEEN.get()) } else { deadline }
}

/// A function of libc that this library replaces.
struct Replaced {
    name: &'static CStr,
    address: AtomicUsize,
}

impl Replaced {
    const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicUsize::new(0) }
    }

    fn address(&self) -> usize {
        match self.address.load(Ordering::Relaxed) {
            0 => {
                // SAFETY: the name is a C string.
                let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) } as usize;
                if found == 0 {
                    fail("libc lacks a function that this library replaces\n");
                }
                self.address.store(found, Ordering::Relaxed);
                found
            }
            known => known,
        }
    }
}

/// Calls the replaced function of libc with this signature.
macro_rules! libc_call {
    ($name:literal, fn($($kind:ty),*) -> $result:ty, $($argument:expr),*) => {{
        static REPLACED: Replaced = Replaced::new($name);
        // SAFETY: the symbol is libc's function of this name, which has this signature.
        let function: unsafe extern "C" fn($($kind),*) -> $result =
            unsafe { std::mem::transmute::<usize, unsafe extern "C" fn($($kind),*) -> $result>(REPLACED.address()) };
        // SAFETY: the arguments are those of the caller, who must keep libc's contract.
        unsafe { function($($argument),*) }
    }};
}

/// `clock_gettime(2)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    let result = libc_call!(c"clock_gettime", fn(clockid_t, *mut timespec) -> c_int, clock, time);
    if result == 0 && matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE) {
        // SAFETY: libc has just written to it.
        unsafe { *time = plus(*time, shift()) };
    }
    result
}

fn now() -> timespec {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid. The call cannot fail for this clock.
    unsafe { clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    time
}

/// `gettimeofday(2)`. The time zone is obsolete, and stays as it is.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut timeval, _zone: *mut c_void) -> c_int {
    let now = now();
    // SAFETY: the caller passes null or a valid pointer.
    if let Some(time) = unsafe { time.as_mut() } {
        *time = timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 };
    }
    0
}

/// `time(2)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(time: *mut time_t) -> time_t {
    let now = now().tv_sec;
    // SAFETY: the caller passes null or a valid pointer.
    if let Some(time) = unsafe { time.as_mut() } {
        *time = now;
    }
    now
}

/// `timespec_get(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timespec_get(time: *mut timespec, base: c_int) -> c_int {
    let result = libc_call!(c"timespec_get", fn(*mut timespec, c_int) -> c_int, time, base);
    if result != 0 {
        // SAFETY: libc has just written to it.
        unsafe { *time = plus(*time, shift()) };
    }
    result
}

/// Replaces a function whose last argument is an absolute time by one that waits until the true
/// time.
macro_rules! waits_until {
    ($(#[$about:meta])* $function:ident, $name:literal, ($($argument:ident),*)) => {
        $(#[$about])*
        ///
        /// # Safety
        /// As libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function($($argument: *mut c_void,)* deadline: *const timespec) -> c_int {
            // SAFETY: the caller passes a time.
            let deadline = unsafe { true_time(deadline) };
            libc_call!(
                $name,
                fn($(waits_until!(@kind $argument),)* *const timespec) -> c_int,
                $($argument,)* &raw const deadline
            )
        }
    };
    (@kind $argument:ident) => { *mut c_void };
}

waits_until!(
    /// `pthread_cond_timedwait(3)`.
    pthread_cond_timedwait, c"pthread_cond_timedwait", (condition, mutex)
);
waits_until!(
    /// `cnd_timedwait(3)`, with which librdkafka waits.
    cnd_timedwait, c"cnd_timedwait", (condition, mutex)
);
waits_until!(
    /// `mtx_timedlock(3)`.
    mtx_timedlock, c"mtx_timedlock", (mutex)
);
waits_until!(
    /// `pthread_mutex_timedlock(3)`.
    pthread_mutex_timedlock, c"pthread_mutex_timedlock", (mutex)
);
waits_until!(
    /// `sem_timedwait(3)`.
    sem_timedwait, c"sem_timedwait", (semaphore)
);
