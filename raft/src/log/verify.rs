//! Looks through a log that nobody has open, as a start would, without writing to it.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::Error;
use super::frame::{self, FRAME_HEAD_BYTES, Kind};
use super::io::{LogFile, LogIo};
use super::marks::Marks;
use super::recover::{self, Replay};
use super::segment::{self, PREAMBLE_BYTES, Segment};

/// What was found.
#[derive(Debug, Default)]
pub struct Looked {
    /// How many segments there are.
    pub segments: usize,
    /// Records read.
    pub records: u64,
    /// What is known of every group; nothing when the log is damaged.
    pub groups: Option<BTreeMap<u32, Marked>>,
    /// A last write that did not come to its end: file, offset, bytes. A start cuts it off.
    pub torn: Option<(PathBuf, u64, u64)>,
    /// What is damaged. Of one segment the first damage only: behind it nothing is known to be a record.
    pub damage: Vec<Error>,
}

/// A group that the log knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Entries up to here are gone; 0 when none is.
    pub purged: u64,
}

/// Reads every segment in `dir`. Not being able to read a file is damage of it.
pub fn look(dir: &Path) -> io::Result<Looked> {
    let mut looked = Looked::default();
    let names = ReadOnly.list(dir)?;
    let mut seqs: Vec<u32> = names.iter().filter_map(|name| segment::seq_of(name)).collect();
    seqs.sort_unstable();
    looked.segments = seqs.len();
    match replay(dir, &names, &mut looked) {
        Ok(replay) => {
            let purged = |marks: &Marks| marks.purged.map_or(0, |id| id.index);
            let groups = replay.groups.iter().filter(|(_, (marks, _))| *marks != Marks::default());
            looked.groups = Some(groups.map(|(gid, (marks, _))| (*gid, Marked { purged: purged(marks) })).collect());
        }
        Err(first) => {
            let told = path_of(&first).map(Path::to_owned);
            looked.damage.push(first);
            // Whether there is more is worth knowing, though nothing that depends on what came before can be told.
            alone(dir, &seqs, told.as_deref(), &mut looked);
        }
    }
    Ok(looked)
}

fn replay(dir: &Path, names: &[PathBuf], looked: &mut Looked) -> Result<Replay, Error> {
    let segments = recover::open_all(&ReadOnly, dir, names)?;
    let mut replay = Replay::over(segments.iter().map(|segment| segment.bytes).sum());
    for (at, segment) in segments.iter().enumerate() {
        let sealed_at = segments.get(at + 1).map(|next| next.previous_end);
        let read = replay.segment(segment, sealed_at)?;
        looked.records += contents(segment, &read.bytes[..read.end])?;
        if sealed_at.is_none() && read.torn() > 0 {
            looked.torn = Some((segment.path.clone(), read.end as u64, read.torn() as u64));
        }
    }
    replay.whole()?;
    Ok(replay)
}

/// Reads the entries themselves, which replaying leaves alone. Returns how many records there are.
fn contents(segment: &Segment, bytes: &[u8]) -> Result<u64, Error> {
    let mut records = 0;
    let mut at = PREAMBLE_BYTES as usize;
    while at < bytes.len() {
        let corrupt = |reason: String| Error::Corrupt { path: segment.path.clone(), offset: at as u64, reason };
        let frame = frame::parse(&bytes[at..], &segment.seed).map_err(|reason| corrupt(reason.to_owned()))?;
        if frame.kind == Kind::Entry as u8 || frame.kind == Kind::Rewrite as u8 {
            frame::entry(Bytes::copy_from_slice(frame.body)).map_err(corrupt)?;
        }
        records += 1;
        at += FRAME_HEAD_BYTES + frame.body.len();
    }
    Ok(records)
}

/// Looks for damage in each segment by itself, but for the one that was told of.
fn alone(dir: &Path, seqs: &[u32], told: Option<&Path>, looked: &mut Looked) {
    let mut next: Option<u64> = None;
    let opened: Vec<_> = seqs.iter().map(|seq| Segment::open(&ReadOnly, dir, *seq)).collect();
    let bytes = opened.iter().flatten().map(|segment| segment.bytes).sum();
    for (place, segment) in opened.into_iter().enumerate().rev() {
        let sealed_at = next.take();
        let is_last = place + 1 == seqs.len();
        match segment {
            Ok(segment) => {
                next = Some(segment.previous_end);
                if told == Some(&segment.path) || (sealed_at.is_none() && !is_last) {
                    continue;
                }
                // As a segment of a log that begins with it: what is before it does not matter.
                if let Err(error) = Replay::over(bytes).segment(&segment, sealed_at) {
                    looked.damage.push(error);
                }
            }
            Err(error) if path_of(&error) != told => looked.damage.push(error),
            Err(_) => {}
        }
    }
}

/// The file an error is about.
pub fn path_of(error: &Error) -> Option<&Path> {
    match error {
        Error::Io { path, .. } | Error::Corrupt { path, .. } | Error::NewerFormat { path, .. } => Some(path),
        Error::MissingSegment { dir, .. } | Error::InUse { dir } => Some(dir),
        Error::Missing { .. } | Error::Config { .. } | Error::Closed => None,
    }
}

/// A disk that nothing is written to.
#[derive(Clone, Copy, Debug)]
struct ReadOnly;

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl LogIo for ReadOnly {
    fn create(&self, _: &Path, _: u64) -> io::Result<Box<dyn LogFile>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?.map(|entry| entry.map(|e| e.file_name().into())).collect()
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        refused()
    }
}
