//! The clock of the bench: processor time of this thread. Nothing measured here waits for anything, and what else runs on
//! the machine then costs the figures caches, not time slices.

use std::time::Duration;

/// How long this thread has been running.
#[expect(unsafe_code, reason = "the standard library does not tell a thread's processor time")]
pub fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec, which is all the call writes to.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "no clock of this thread's processor time");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
