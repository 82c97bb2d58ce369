//! One file of the log: a preamble, the marks of all groups, then records.
//!
//! The preamble is 64 bytes: magic, format, sequence number, nonce, end of the previous segment, size of the file,
//! checksum, zeros. A file gets its name as a segment only after its preamble and header are durable, so a segment
//! with an unreadable one is damaged, not unfinished.

use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use crc32fast::Hasher;

use super::error::Error;
use super::frame::{self, FRAME_HEAD_BYTES, Kind, NO_GROUP};
use super::io::{LogFile, LogIo};
use super::marks::{Marks, MarksRecord};

/// Newest format this program writes and reads.
pub const FORMAT: u32 = 1;
/// Where the first record of a segment begins.
pub const PREAMBLE_BYTES: u64 = 64;

const MAGIC: &[u8; 8] = b"bosinlog";

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Sequence number of its segment; 0 means nowhere yet.
    pub seq: u32,
    /// Byte offset in it.
    pub offset: u32,
    /// Bytes of the whole record.
    pub bytes: u32,
}

impl Location {
    /// Not written yet.
    pub const NOWHERE: Location = Location { seq: 0, offset: 0, bytes: 0 };
}

/// An open segment.
#[derive(Debug)]
pub struct Segment {
    /// Sequence numbers count from 1 without gaps.
    pub seq: u32,
    /// Its file.
    pub path: PathBuf,
    /// Its file, open.
    pub file: Box<dyn LogFile>,
    /// What checksums of its records start from.
    pub seed: Hasher,
    /// Size of the file: no record goes beyond.
    pub bytes: u64,
    /// Offset at which the previous segment ends.
    pub previous_end: u64,
}

/// File name of segment `seq`.
pub fn file_name(seq: u32) -> String {
    format!("segment-{seq:010}.log")
}

/// Sequence number of the segment with this file name; `None` when it is not a segment.
pub fn seq_of(name: &Path) -> Option<u32> {
    let digits = name.to_str()?.strip_prefix("segment-")?.strip_suffix(".log")?;
    digits.parse().ok().filter(|seq| file_name(*seq) == name.to_str().unwrap_or_default())
}

impl Segment {
    /// Turns a spare file into segment `seq` and returns it with the offset of its first record after the header.
    pub fn create<'a>(
        io: &dyn LogIo,
        dir: &Path,
        (spare, file): (PathBuf, Box<dyn LogFile>),
        seq: u32,
        previous_end: u64,
        groups: impl Iterator<Item = (u32, &'a Marks)>,
    ) -> Result<(Segment, u64), Error> {
        let path = dir.join(file_name(seq));
        let bytes = file.size().map_err(Error::io("read size of", &spare))?;
        let mut buf = Vec::with_capacity(4096);
        buf.extend_from_slice(MAGIC);
        buf.extend_from_slice(&FORMAT.to_le_bytes());
        buf.extend_from_slice(&seq.to_le_bytes());
        // Unguessable, so that a payload cannot be made to look like a record.
        buf.extend_from_slice(&RandomState::new().build_hasher().finish().to_le_bytes());
        buf.extend_from_slice(&previous_end.to_le_bytes());
        buf.extend_from_slice(&bytes.to_le_bytes());
        let mut crc = Hasher::new();
        crc.update(&buf);
        let crc = crc.finalize();
        buf.extend_from_slice(&crc.to_le_bytes());
        buf.resize(PREAMBLE_BYTES as usize, 0);
        let seed = Hasher::new_with_initial(crc);
        frame::put(&mut buf, &seed, NO_GROUP, Kind::Header, |buf| MarksRecord::encode_all(groups, buf));

        if buf.len() as u64 > bytes {
            let source = io::Error::new(io::ErrorKind::FileTooLarge, "the header does not fit");
            return Err(Error::Io { action: "begin", path, source });
        }
        file.write_all_at(&buf, 0).map_err(Error::io("write", &spare))?;
        file.sync().map_err(Error::io("sync", &spare))?;
        io.rename(&spare, &path).map_err(Error::io("rename", &spare))?;
        io.sync_dir(dir).map_err(Error::io("sync", dir))?;
        Ok((Segment { seq, path, file, seed, bytes, previous_end }, buf.len() as u64))
    }

    /// Opens segment `seq` and checks its preamble.
    pub fn open(io: &dyn LogIo, dir: &Path, seq: u32) -> Result<Segment, Error> {
        let path = dir.join(file_name(seq));
        let corrupt = |reason: &str| Error::Corrupt { path: path.clone(), offset: 0, reason: reason.to_owned() };
        let file = io.open(&path).map_err(Error::io("open", &path))?;
        let bytes = file.size().map_err(Error::io("read size of", &path))?;
        if bytes < PREAMBLE_BYTES {
            return Err(corrupt("shorter than its preamble"));
        }
        let mut preamble = [0; PREAMBLE_BYTES as usize];
        file.read_exact_at(&mut preamble, 0).map_err(Error::io("read", &path))?;
        if &preamble[..8] != MAGIC {
            return Err(corrupt("not a segment of a log"));
        }
        let word = |at: usize| u32::from_le_bytes(preamble[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(preamble[at..at + 8].try_into().expect("eight bytes"));
        // Before the checksum: a newer format may keep it elsewhere.
        let found = word(8);
        if found > FORMAT {
            return Err(Error::NewerFormat { path, found, known: FORMAT });
        }
        let mut crc = Hasher::new();
        crc.update(&preamble[..40]);
        if crc.finalize() != word(40) {
            return Err(corrupt("wrong checksum of the preamble"));
        }
        if word(12) != seq {
            return Err(corrupt("the file has the name of another segment"));
        }
        if long(32) != bytes {
            return Err(corrupt(&format!("the file has {bytes} bytes instead of {}", long(32))));
        }
        let (seed, previous_end) = (Hasher::new_with_initial(word(40)), long(24));
        Ok(Segment { seq, path, file, seed, bytes, previous_end })
    }

    /// Reads the body of the record at `location`, checking its checksum.
    pub fn read(&self, gid: u32, location: Location) -> io::Result<Bytes> {
        let mut buf = vec![0; location.bytes as usize];
        self.file.read_exact_at(&mut buf, u64::from(location.offset))?;
        let parsed = frame::parse(&buf, &self.seed).map(|f| (f.gid, f.size()));
        if parsed != Ok((gid, buf.len())) {
            let reason = parsed.err().unwrap_or("another record is there");
            let what = format!("{} is damaged at offset {}: {reason}", self.path.display(), location.offset);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Bytes::from(buf).slice(FRAME_HEAD_BYTES..))
    }
}
