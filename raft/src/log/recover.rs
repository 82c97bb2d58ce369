//! Reads the segments at start: what every group has, where it is, and where writing goes on.
//!
//! A record that cannot be read is the torn end of the last write only if it is in the last segment and nothing after
//! it shows that it had been durable. Anything else is damage, and the node must not start with a shorter log than it
//! acknowledged. What cannot be told apart: damage inside the very last write, when the process was killed before
//! another write or an orderly close could say that it was durable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::frame::{self, FRAME_HEAD_BYTES, Record};
use super::group::Places;
use super::io::LogIo;
use super::marks::Marks;
use super::segment::{self, Location, PREAMBLE_BYTES, Segment};
use super::spare::Spare;

/// File name prefix of files that may become segments.
pub const SPARE: &str = "spare-";

/// The log as it was found.
pub struct Recovered {
    /// Oldest first; empty in a new directory.
    pub segments: Vec<Segment>,
    /// Where the last segment goes on. Everything before is durable.
    pub end: u64,
    /// Marks and places of entries of every group.
    pub groups: BTreeMap<u32, (Marks, Places)>,
    /// A file of the right size that may become a segment.
    pub spare: Option<Spare>,
}

/// Reads the log in `dir` and makes what it found durable.
pub fn recover(io: &dyn LogIo, dir: &Path, segment_bytes: u64) -> Result<Recovered, Error> {
    let names = io.list(dir).map_err(Error::io("list", dir))?;
    let segments = open_all(io, dir, &names)?;
    let mut replay = Replay::over(segments.iter().map(|segment| segment.bytes).sum());
    let mut end = 0;
    for (at, segment) in segments.iter().enumerate() {
        let sealed_at = segments.get(at + 1).map(|next| next.previous_end);
        let read = replay.segment(segment, sealed_at)?;
        if sealed_at.is_none() {
            settle(segment, &read)?;
        }
        end = read.end as u64;
    }
    replay.whole()?;
    let spare = reuse_spares(io, dir, &names, segment_bytes)?;
    Ok(Recovered { segments, end, groups: replay.groups, spare })
}

/// Opens every segment among `names`, oldest first; none may be missing between them.
pub fn open_all(io: &dyn LogIo, dir: &Path, names: &[PathBuf]) -> Result<Vec<Segment>, Error> {
    let mut seqs: Vec<u32> = names.iter().filter_map(|name| segment::seq_of(name)).collect();
    seqs.sort_unstable();
    if let Some(gap) = seqs.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        return Err(Error::MissingSegment { dir: dir.to_owned(), seq: gap[0] + 1 });
    }
    seqs.iter().map(|seq| Segment::open(io, dir, *seq)).collect()
}

/// Keeps one spare file of the right size, removes the others.
fn reuse_spares(io: &dyn LogIo, dir: &Path, names: &[PathBuf], segment_bytes: u64) -> Result<Option<Spare>, Error> {
    let mut kept = None;
    for name in names.iter().filter(|name| name.to_string_lossy().starts_with(SPARE)) {
        let path = dir.join(name);
        let file = io.open(&path).map_err(Error::io("open", &path))?;
        if kept.is_none() && file.size().map_err(Error::io("read size of", &path))? == segment_bytes {
            kept = Some((path, file));
        } else {
            io.remove(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(kept)
}

/// What reading the segments, oldest first, has come to.
pub struct Replay {
    /// Marks and places of entries of every group.
    pub groups: BTreeMap<u32, (Marks, Places)>,
    begun: bool,
    entries_max: u64,
}

/// A segment that was read.
pub struct Read {
    /// Its bytes, up to where it is sealed.
    pub bytes: Vec<u8>,
    /// Up to where a record says that it was durable.
    pub durable: usize,
    /// Where its records end.
    pub end: usize,
}

impl Read {
    /// Bytes of a torn write behind the end.
    pub fn torn(&self) -> usize {
        self.bytes[self.end..].iter().rposition(|b| *b != 0).map_or(0, |last| last + 1)
    }
}

impl Replay {
    /// Of segments that have so many bytes together.
    pub fn over(bytes: u64) -> Replay {
        Replay { groups: BTreeMap::new(), begun: false, entries_max: bytes / FRAME_HEAD_BYTES as u64 }
    }

    /// Whether every entry that must be there was met.
    pub fn whole(&self) -> Result<(), Error> {
        for (gid, (marks, places)) in &self.groups {
            let missing = |i: &u64| places.get(*i).is_none_or(|p| p == Location::NOWHERE);
            if let Some(index) = (marks.first..marks.next()).find(missing) {
                let (purged, last) = (marks.purged.map(|id| id.index), marks.last.map(|id| id.index));
                return Err(Error::Missing { gid: *gid, index, purged, last });
            }
        }
        Ok(())
    }

    /// Replays one segment, up to where the next one says it ends.
    pub fn segment(&mut self, segment: &Segment, sealed_at: Option<u64>) -> Result<Read, Error> {
        let corrupt = |offset: usize, reason: String| {
            Err(Error::Corrupt { path: segment.path.clone(), offset: offset as u64, reason })
        };
        if sealed_at.is_some_and(|end| end > segment.bytes) {
            return corrupt(0, "shorter than the next segment says".to_owned());
        }
        if sealed_at.is_some_and(|end| end <= PREAMBLE_BYTES) {
            return corrupt(0, "the next segment says that it has no header".to_owned());
        }
        let mut bytes = vec![0; sealed_at.unwrap_or(segment.bytes) as usize];
        segment.file.read_exact_at(&mut bytes, 0).map_err(Error::io("read", &segment.path))?;

        let (mut at, mut durable) = (PREAMBLE_BYTES as usize, PREAMBLE_BYTES);
        while at < bytes.len() {
            let frame = match frame::parse(&bytes[at..], &segment.seed) {
                Ok(frame) => frame,
                Err(_) if self.is_torn_end(segment, sealed_at, &bytes, at) => break,
                Err(reason) => return corrupt(at, reason.to_owned()),
            };
            let location = Location { seq: segment.seq, offset: at as u32, bytes: frame.size() as u32 };
            let is_header = at as u64 == PREAMBLE_BYTES;
            let record = Record::decode(&frame);
            if let Err(reason) =
                record.and_then(|record| self.record(frame.gid, record, location, is_header, &mut durable))
            {
                return corrupt(at, reason);
            }
            at += frame.size();
        }
        self.begun = true;
        Ok(Read { bytes, durable: durable as usize, end: at })
    }

    fn is_torn_end(&self, segment: &Segment, sealed_at: Option<u64>, bytes: &[u8], at: usize) -> bool {
        sealed_at.is_none() && at as u64 > PREAMBLE_BYTES && !frame::durable_beyond(bytes, at, &segment.seed)
    }

    fn record(
        &mut self,
        gid: u32,
        record: Record,
        location: Location,
        is_header: bool,
        durable: &mut u64,
    ) -> Result<(), String> {
        match record {
            Record::Header(groups) if is_header => return self.header(groups),
            Record::Header(_) => return Err("a header in the middle".to_owned()),
            _ if is_header => return Err("no header".to_owned()),
            Record::Batch(before) => {
                *durable = (*durable).max(before);
                return Ok(());
            }
            Record::Forget => {
                self.groups.remove(&gid);
                return Ok(());
            }
            _ => {}
        }
        let (marks, places) = self.groups.entry(gid).or_default();
        match record {
            Record::Entry(id) => {
                marks.append(id)?;
                places.push(id.index, location);
            }
            // Copied while the group let go of it: a later record says so.
            Record::Rewrite(id) => places.set(id.index, location),
            Record::Vote(vote) => marks.vote = Some(vote),
            Record::Truncate(after) => marks.truncate(after),
            Record::Purge(upto) => marks.purge(upto),
            Record::Committed(id) => marks.committed = id,
            Record::Batch(_) | Record::Header(_) | Record::Forget => unreachable!("answered above"),
        }
        places.trim(marks.first, marks.next());
        Ok(())
    }

    /// The first header says what was before; every other one must say what was replayed.
    fn header(&mut self, groups: Vec<(u32, Marks)>) -> Result<(), String> {
        if !self.begun {
            // Room is made for each before any is met.
            let named = |marks: &Marks| marks.next().saturating_sub(marks.first);
            let named = groups.iter().map(|(_, marks)| named(marks)).fold(0, u64::saturating_add);
            if named > self.entries_max {
                return Err(format!("a header that names {named} entries, of which {} have room", self.entries_max));
            }
            let known = |marks: Marks| {
                let places = Places::unknown(marks.first, marks.next());
                (marks, places)
            };
            self.groups = groups.into_iter().map(|(gid, marks)| (gid, known(marks))).collect();
            return Ok(());
        }
        let replayed = self.groups.iter().map(|(gid, (marks, _))| (*gid, marks));
        match replayed.eq(groups.iter().map(|(gid, marks)| (*gid, marks))) {
            true => Ok(()),
            false => Err("the header does not agree with the segments before it".to_owned()),
        }
    }
}

/// Makes the last segment fit to go on at `end`.
///
/// The last write is written once more before the sync: if its first sync failed, the kernel may hold these pages as
/// clean although they never reached the disk. The rest is zeroed: whole records of a torn write may be there, and
/// would come back to life when writing goes on right up to them.
fn settle(segment: &Segment, read: &Read) -> Result<(), Error> {
    let Read { bytes, durable, end } = read;
    let (durable, end) = (*durable, *end);
    let write =
        |buf: &[u8], at: usize| segment.file.write_all_at(buf, at as u64).map_err(Error::io("write", &segment.path));
    if durable < end {
        write(&bytes[durable..end], durable)?;
    }
    let torn = read.torn();
    if torn > 0 {
        tracing::warn!(segment = %segment.path.display(), offset = end, bytes = torn, "dropping the torn end of the log");
        write(&vec![0; torn], end)?;
    }
    segment.file.sync().map_err(Error::io("sync", &segment.path))
}
