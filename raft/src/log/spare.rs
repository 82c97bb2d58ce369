//! Files ready to become segments: prepared in the background or left over from segments nobody needs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::error::Error;
use super::io::{LogFile, LogIo};
use super::recover::SPARE;
use super::segment::Segment;

type Spare = (PathBuf, Box<dyn LogFile>);

/// At most one file in stock and one in the making.
pub struct Spares {
    io: Arc<dyn LogIo>,
    dir: PathBuf,
    bytes: u64,
    ready: Option<Spare>,
    coming: Option<JoinHandle<io::Result<Spare>>>,
    made: u64,
}

impl Spares {
    /// Spares of `bytes` bytes; `ready` is one from before.
    pub fn new(io: Arc<dyn LogIo>, dir: &Path, bytes: u64, ready: Option<Spare>) -> Spares {
        Spares { io, dir: dir.to_owned(), bytes, ready, coming: None, made: 0 }
    }

    /// Starts to make a file in the background, unless there is one.
    pub fn prepare(&mut self) {
        if self.ready.is_some() || self.coming.is_some() {
            return;
        }
        let (io, path, bytes) = (self.io.clone(), self.fresh_path(), self.bytes);
        let make = move || io.create(&path, bytes).map(|file| (path, file));
        // Without a thread the file is made when it is needed.
        self.coming = std::thread::Builder::new().name("log-spare".to_owned()).spawn(make).ok();
    }

    /// A file to make a segment of.
    pub fn take(&mut self) -> Result<Spare, Error> {
        if let Some(spare) = self.ready.take() {
            return Ok(spare);
        }
        if let Some(coming) = self.coming.take()
            && let Ok(Ok(spare)) = coming.join()
        {
            return Ok(spare);
        }
        let path = self.fresh_path();
        let file = self.io.create(&path, self.bytes).map_err(Error::io("create", &path))?;
        Ok((path, file))
    }

    /// Takes a segment out of the log and keeps its file. Records in it have another seed than any later segment's.
    pub fn recycle(&mut self, segment: Segment) -> Result<(), Error> {
        if self.ready.is_some() || segment.bytes != self.bytes {
            return self.remove(&segment.path);
        }
        let path = self.fresh_path();
        self.io.rename(&segment.path, &path).map_err(Error::io("rename", &segment.path))?;
        self.io.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        self.ready = Some((path, segment.file));
        Ok(())
    }

    /// Takes a segment out of the log.
    ///
    /// Each removal is made durable before the next: segments must not disappear out of order.
    pub fn remove(&self, path: &Path) -> Result<(), Error> {
        self.io.remove(path).map_err(Error::io("remove", path))?;
        self.io.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))
    }

    fn fresh_path(&mut self) -> PathBuf {
        loop {
            self.made += 1;
            let path = self.dir.join(format!("{SPARE}{}", self.made));
            if self.ready.as_ref().is_none_or(|(ready, _)| *ready != path) {
                return path;
            }
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        // The file that is being made belongs to the directory, which another process may want next.
        if let Some(coming) = self.coming.take() {
            drop(coming.join());
        }
    }
}
