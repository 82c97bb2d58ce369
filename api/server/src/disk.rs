//! Whether the disk has room for more.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Refuses writes while less than a mark is free; cheap to clone. Looked at with every command, measured now and then.
#[derive(Clone, Debug)]
pub struct DiskGuard {
    free: Arc<AtomicU64>,
    min: u64,
}

impl DiskGuard {
    /// With this mark in bytes. Until the first measurement there is room.
    pub fn new(min_bytes: u64) -> DiskGuard {
        DiskGuard { free: Arc::new(AtomicU64::new(u64::MAX)), min: min_bytes }
    }

    /// One that never refuses.
    pub fn none() -> DiskGuard {
        DiskGuard::new(0)
    }

    /// Measures the file system that holds `dir`.
    pub fn measure(&self, dir: &Path) {
        match free_bytes(dir) {
            Ok(free) => {
                self.set(free);
            }
            Err(error) => tracing::warn!(dir = %dir.display(), %error, "cannot tell how much room the disk has"),
        }
    }

    /// What the last measurement found free.
    pub fn free_bytes(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Records a measurement. Returns whether there is room.
    pub fn set(&self, free_bytes: u64) -> bool {
        self.free.store(free_bytes, Ordering::Relaxed);
        free_bytes >= self.min
    }

    /// Whether there is room.
    ///
    /// # Errors
    ///
    /// [`Error::DiskLow`] with both numbers.
    pub fn check(&self) -> Result<(), Error> {
        let free_bytes = self.free_bytes();
        if free_bytes < self.min { Err(Error::DiskLow { free_bytes, min_bytes: self.min }) } else { Ok(()) }
    }
}

#[expect(unsafe_code, reason = "the standard library has no statvfs")]
fn free_bytes(dir: &Path) -> std::io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
    let mut stats = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero byte and the buffer is as large as the call writes.
    let result = unsafe { libc::statvfs(path.as_ptr(), stats.as_mut_ptr()) };
    if result != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it has filled the buffer.
    let stats = unsafe { stats.assume_init() };
    Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_mark_writes_are_refused_until_there_is_room() {
        let guard = DiskGuard::new(1_000);
        assert!(guard.check().is_ok());
        guard.set(999);
        assert!(matches!(guard.check(), Err(Error::DiskLow { free_bytes: 999, min_bytes: 1_000 })));
        guard.set(1_000);
        assert!(guard.check().is_ok());
    }

    #[test]
    fn a_directory_that_exists_has_some_room() {
        let guard = DiskGuard::new(1);
        guard.measure(Path::new("/"));
        assert!(guard.free_bytes() < u64::MAX && guard.check().is_ok());
    }
}
