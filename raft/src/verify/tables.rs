//! Every block of every table that counts, by RocksDB's own means. The binding has no method for them.

#![expect(
    unsafe_code,
    reason = "rocksdb_verify_checksum is only in the C interface, and the binding does not show its handles"
)]

use std::ffi::{CStr, CString, c_char, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use librocksdb_sys as ffi;

/// Says nothing: a logger of our own keeps RocksDB from writing a LOG into the directory.
unsafe extern "C" fn mute(_: *mut c_void, _: c_uint, _: *mut c_char, _: usize) {}

/// What RocksDB wants for one look, given back when dropped.
struct Handles {
    options: *mut ffi::rocksdb_options_t,
    logger: *mut ffi::rocksdb_logger_t,
    db: *mut ffi::rocksdb_t,
}

impl Drop for Handles {
    fn drop(&mut self) {
        // SAFETY: each is null or came from RocksDB and is given back once; the database goes before what it was opened with.
        unsafe {
            if !self.db.is_null() {
                ffi::rocksdb_close(self.db);
            }
            ffi::rocksdb_options_destroy(self.options);
            ffi::rocksdb_logger_destroy(self.logger);
        }
    }
}

/// Compares all checksums of the tables that the MANIFEST in `dir` names. The first that is wrong ends it.
pub(super) fn check(dir: &Path) -> Result<(), String> {
    let path = CString::new(dir.as_os_str().as_bytes()).map_err(|_| "a zero byte in the path".to_owned())?;
    let mut error: *mut c_char = null_mut();
    // SAFETY: every pointer handed over is one that RocksDB made, the path, which ends with a zero byte and outlives the call, or the
    // address of `error`, into which RocksDB puts null or a string of its own.
    unsafe {
        let logger = ffi::rocksdb_logger_create_callback_logger(4, Some(mute), null_mut());
        let options = ffi::rocksdb_options_create();
        let mut handles = Handles { options, logger, db: null_mut() };
        ffi::rocksdb_options_set_info_log(options, logger);
        handles.db = ffi::rocksdb_open_for_read_only(options, path.as_ptr(), 0, &mut error);
        if error.is_null() {
            ffi::rocksdb_verify_checksum(handles.db, &mut error);
        }
    }
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: not null, so it is a string that RocksDB allocated, ending with a zero byte, and it is given back once after it was copied.
    let text = unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        ffi::rocksdb_free(error.cast());
        text
    };
    Err(text)
}

/// The file and the offset in a message of RocksDB's, which says `… in FILE offset N size M`.
pub(super) fn named(error: &str) -> Option<(PathBuf, Option<u64>)> {
    let words: Vec<&str> = error.split_whitespace().collect();
    let at = words.iter().position(|word| word.ends_with(".sst"))?;
    let offset = match words.get(at + 1..at + 3) {
        Some(["offset", number]) => number.trim_end_matches(',').parse().ok(),
        _ => None,
    };
    Some((PathBuf::from(words[at]), offset))
}
