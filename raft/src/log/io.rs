//! The few things the log asks of a disk, so that tests can refuse them and measurements can slow them down.

use std::any::Any;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A disk as the log sees it.
pub trait LogIo: fmt::Debug + Send + Sync + 'static {
    /// Makes a file of `bytes` zeros whose blocks are allocated and written, so that a later sync of data inside it
    /// has no metadata to write. Durable on return, except for its directory entry.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn LogFile>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;

    /// Renames a file inside one directory, replacing what had the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Names of the files in `dir`, which is created if it does not exist.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Takes the directory for this process until the result is dropped; `None` when another process has it.
    fn lock(&self, dir: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
}

/// An open file of a [`LogIo`].
pub trait LogFile: fmt::Debug + Send + Sync + 'static {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buf` from `offset`, or fails.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at `offset`. After an error any part of it may have been written.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Makes everything written so far survive a power failure. After an error nothing is known about any of it, and
    /// the call must not be repeated: the kernel may have dropped the pages and report success the second time.
    fn sync(&self) -> io::Result<()>;
}

/// Real files.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileIo;

const ZEROS: &[u8] = &[0; 1 << 20];

impl LogIo for FileIo {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn LogFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        // One MiB at a time: 64 MiB of dirty pages at once would make the next sync of the log wait for them.
        let mut at = 0;
        while at < bytes {
            let part = ZEROS.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
            FileExt::write_all_at(&file, &ZEROS[..part], at)?;
            file.sync_data()?;
            at += part as u64;
        }
        file.sync_all()?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(dir)?;
        std::fs::read_dir(dir)?.map(|entry| entry.map(|e| e.file_name().into())).collect()
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join("LOCK"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

impl LogFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Another disk, with syncs that take longer by a fixed time: a slow device for measurements on a fast one.
#[derive(Debug)]
pub struct SlowSync<I> {
    inner: I,
    delay: Duration,
}

impl<I: LogIo> SlowSync<I> {
    /// Adds `delay` to every sync of a segment.
    pub fn new(inner: I, delay: Duration) -> Self {
        SlowSync { inner, delay }
    }

    fn wrap(&self, file: Box<dyn LogFile>) -> Box<dyn LogFile> {
        Box::new(SlowFile { inner: file, delay: self.delay })
    }
}

impl<I: LogIo> LogIo for SlowSync<I> {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn LogFile>> {
        Ok(self.wrap(self.inner.create(path, bytes)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(self.wrap(self.inner.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.inner.lock(dir)
    }
}

#[derive(Debug)]
struct SlowFile {
    inner: Box<dyn LogFile>,
    delay: Duration,
}

impl LogFile for SlowFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        std::thread::sleep(self.delay);
        Ok(())
    }
}
