//! What any bytes may be given to of the log: records behind a checksum that is right, whole logs of any records, whole files.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use crc32fast::Hasher;
use fuzz::Target;
use prost::Message;

use super::frame::{self, FRAME_HEAD_BYTES, Frame, Kind, Record};
use super::io::{LogFile, LogIo};
use super::marks::{Marks, MarksRecord};
use super::recover::{self, Recovered, Replay};
use super::segment::{self, PREAMBLE_BYTES, Segment};

/// Bodies of records: the first byte is the kind.
pub const RECORDS: Target = Target::new("raft-log-records", records);

/// A log of several segments with any records in them, whose checksums are right, and a torn end.
pub const SEGMENTS: Target = Target::new("raft-log-segments", segments).rounds(3_000).allocates(4 << 20);

/// One segment, byte by byte, but for the checksum and the size in its preamble.
pub const FILE: Target = Target::new("raft-log-file", file).rounds(5_000).allocates(1 << 20);

/// Bytes of a segment.
const SEGMENT_BYTES: u64 = 8 << 10;

fn records(input: &[u8]) -> bool {
    let Some((kind, body)) = input.split_first() else { return false };
    let record = Record::decode(&Frame { gid: 5, kind: *kind, body });
    if let Ok(Record::Header(groups)) = &record {
        let mut written = Vec::new();
        MarksRecord::encode_all(groups.iter().map(|(gid, marks)| (*gid, marks)), &mut written);
        assert_eq!(MarksRecord::decode_all(&written).as_ref(), Ok(groups));
    }
    if let Ok(entry) = frame::entry(Bytes::copy_from_slice(body)) {
        let mut written = Vec::new();
        frame::put_entry(&mut written, &entry);
        assert_eq!(frame::entry(Bytes::from(written)), Ok(entry));
    }
    // Nothing is a record without its checksum.
    let _ = frame::parse(input, &Hasher::new());
    record.is_ok()
}

/// A log, record by record.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Script {
    /// Oldest first.
    #[prost(message, repeated, tag = "1")]
    pub(crate) segments: Vec<ScriptSegment>,
    /// Behind the last record.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) tail: Vec<u8>,
}

/// A segment.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ScriptSegment {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub(crate) records: Vec<ScriptRecord>,
    /// The body of its header; what follows from the segments before when there is none.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) header: Option<Vec<u8>>,
    /// Where it says that the one before ends, when that is not so.
    #[prost(uint64, optional, tag = "3")]
    pub(crate) previous_end: Option<u64>,
}

/// A record.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ScriptRecord {
    /// Group.
    #[prost(uint32, tag = "1")]
    pub(crate) gid: u32,
    /// Kind.
    #[prost(uint32, tag = "2")]
    pub(crate) kind: u32,
    /// What it says.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) body: Vec<u8>,
}

/// A frame of any kind, with its checksum.
fn put(buf: &mut Vec<u8>, seed: &Hasher, gid: u32, kind: u8, body: &[u8]) {
    let start = buf.len();
    frame::put(buf, seed, gid, Kind::Forget, |buf| buf.extend_from_slice(body));
    buf[start + 12] = kind;
    let mut crc = seed.clone();
    crc.update(&buf[start + 4..]);
    buf[start..start + 4].copy_from_slice(&crc.finalize().to_le_bytes());
}

fn segments(input: &[u8]) -> bool {
    let Ok(script) = Script::decode(input) else { return false };
    let (disk, dir) = (Disk::default(), Path::new("log"));
    let mut replay = Replay::over(4 * SEGMENT_BYTES);
    let mut end = 0;
    for (number, script_segment) in script.segments.iter().take(4).enumerate() {
        let seq = number as u32 + 1;
        let (segment, begin) = {
            let spare = dir.join("spare");
            let file = disk.create(&spare, SEGMENT_BYTES).expect("a file in memory");
            let groups = replay.groups.iter().map(|(gid, (marks, _))| (*gid, marks));
            match Segment::create(&disk, dir, (spare, file), seq, script_segment.previous_end.unwrap_or(end), groups) {
                Ok(created) => created,
                // So many groups that their marks do not fit.
                Err(_) => return true,
            }
        };
        let (mut buf, mut at) = (Vec::new(), begin);
        if let Some(header) = &script_segment.header {
            at = PREAMBLE_BYTES;
            put(&mut buf, &segment.seed, frame::NO_GROUP, Kind::Header as u8, header);
        }
        for record in &script_segment.records {
            let before = buf.len();
            put(&mut buf, &segment.seed, record.gid, record.kind as u8, &record.body);
            if at + buf.len() as u64 > SEGMENT_BYTES {
                buf.truncate(before);
                break;
            }
        }
        let room = (SEGMENT_BYTES - at) as usize;
        buf.truncate(room);
        segment.file.write_all_at(&buf, at).expect("memory");
        end = at + buf.len() as u64;
        // What the next header has to say; a segment that cannot be read is told of by recovery.
        if replay.segment(&segment, Some(end)).is_err() {
            break;
        }
    }
    if let Some(last) = disk.last() {
        let tail = &script.tail[..script.tail.len().min((SEGMENT_BYTES - end) as usize)];
        let file = disk.open(&last).expect("it is there");
        file.write_all_at(tail, end).expect("memory");
    }
    settled(&disk, dir)
}

/// A start reads the log or refuses it; having read it, a second one reads the same, and every entry it knows is there.
fn settled(disk: &Disk, dir: &Path) -> bool {
    let Ok(first) = recover::recover(disk, dir, SEGMENT_BYTES) else { return false };
    for (gid, (marks, places)) in &first.groups {
        for index in marks.first..marks.next() {
            let location = places.get(index).expect("no entry is missing");
            let segment = first.segments.iter().find(|segment| segment.seq == location.seq).expect("its segment");
            let body = segment.read(*gid, location).expect("an entry that was read once");
            if let Ok(entry) = frame::entry(body) {
                assert_eq!(entry.log_id.index, index);
            }
        }
    }
    let second = recover::recover(disk, dir, SEGMENT_BYTES).expect("what was settled is read again");
    let marks = |of: &Recovered| -> BTreeMap<u32, Marks> {
        of.groups.iter().map(|(gid, (marks, _))| (*gid, marks.clone())).collect()
    };
    assert_eq!((marks(&first), first.end), (marks(&second), second.end));
    let Some(last) = first.segments.last() else { return false };
    let mut bytes = vec![0; (last.bytes - first.end) as usize];
    last.file.read_exact_at(&mut bytes, first.end).expect("memory");
    assert!(bytes.iter().all(|byte| *byte == 0), "nothing is left behind the end");
    true
}

fn file(input: &[u8]) -> bool {
    let (disk, dir) = (Disk::default(), Path::new("log"));
    let mut bytes = input[..input.len().min(SEGMENT_BYTES as usize)].to_vec();
    if bytes.len() < PREAMBLE_BYTES as usize {
        return false;
    }
    let written = bytes.len();
    bytes.resize(SEGMENT_BYTES as usize, 0);
    bytes[32..40].copy_from_slice(&SEGMENT_BYTES.to_le_bytes());
    let mut crc = Hasher::new();
    crc.update(&bytes[..40]);
    bytes[40..44].copy_from_slice(&crc.finalize().to_le_bytes());
    let seq = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
    disk.put(&dir.join(segment::file_name(seq)), bytes);
    let Ok(found) = recover::recover(&disk, dir, SEGMENT_BYTES) else { return false };
    // Nothing but frames whose checksums are right, up to the end.
    let segment = found.segments.first().expect("the file");
    let mut bytes = vec![0; SEGMENT_BYTES as usize];
    segment.file.read_exact_at(&mut bytes, 0).expect("memory");
    let mut at = PREAMBLE_BYTES as usize;
    while at < found.end as usize {
        let frame = frame::parse(&bytes[at..found.end as usize], &segment.seed).expect("a whole frame");
        at += FRAME_HEAD_BYTES + frame.body.len();
    }
    assert!(at == found.end as usize && at <= written);
    settled(&disk, dir)
}

/// What is in a file.
type Contents = Arc<Mutex<Vec<u8>>>;

/// A disk in memory.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<BTreeMap<PathBuf, Contents>>>);

#[derive(Debug)]
struct MemoryFile(Arc<Mutex<Vec<u8>>>);

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    fn put(&self, path: &Path, bytes: Vec<u8>) {
        held(&self.0).insert(path.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    fn last(&self) -> Option<PathBuf> {
        held(&self.0).keys().next_back().cloned()
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl LogIo for Disk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn LogFile>> {
        self.put(path, vec![0; bytes as usize]);
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = held(&self.0).get(path).cloned().ok_or_else(missing)?;
        Ok(Box::new(MemoryFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = held(&self.0);
        let file = files.remove(from).ok_or_else(missing)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        held(&self.0).remove(path).map(drop).ok_or_else(missing)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(held(&self.0).keys().filter_map(|path| path.file_name().map(PathBuf::from)).collect())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        Ok(Some(Box::new(())))
    }
}

impl LogFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(held(&self.0).len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let file = held(&self.0);
        let at = offset as usize;
        let part = file.get(at..at + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(part);
        Ok(())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut file = held(&self.0);
        let at = offset as usize;
        file.get_mut(at..at + buf.len()).ok_or(io::ErrorKind::StorageFull)?.copy_from_slice(buf);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::tests::golden;
    use crate::types::log_id;

    /// Red when the body of a record is sliced without asking.
    #[test]
    fn any_body_of_a_record_is_read_or_refused() {
        let body = |record: Vec<u8>| [&record[12..13], &record[FRAME_HEAD_BYTES..]].concat();
        fuzz::sweep(&RECORDS, &golden("log", |_| true).into_iter().map(body).collect::<Vec<_>>());
    }

    /// Red when a checksum covers less than the record.
    #[test]
    fn no_damaged_record_is_another() {
        let seed = Hasher::new_with_initial(0x0123_4567);
        for record in golden("log", |_| true) {
            frame::parse(&record, &seed).unwrap();
            for at in 0..record.len() {
                assert!(frame::parse(&record[..at], &seed).is_err(), "cut to {at} bytes");
                for bit in 0..8 {
                    let mut flipped = record.clone();
                    flipped[at] ^= 1 << bit;
                    assert!(frame::parse(&flipped, &seed).is_err(), "byte {at}, bit {bit}");
                }
            }
            let mut random = fuzz::Random::new(1);
            for _ in 0..2_000 {
                let damaged = fuzz::mutate::mutate(&mut random, &record, &record);
                if let Ok(frame) = frame::parse(&damaged, &seed) {
                    assert_eq!(damaged[..frame.size()], record[..], "only what follows it may differ");
                }
            }
        }
    }

    fn record(gid: u32, kind: Kind, body: impl FnOnce(&mut Vec<u8>)) -> ScriptRecord {
        let mut bytes = Vec::new();
        body(&mut bytes);
        ScriptRecord { gid, kind: kind as u32, body: bytes }
    }

    fn entry(gid: u32, index: u64) -> ScriptRecord {
        record(gid, Kind::Entry, |buf| {
            frame::put_log_id(buf, &log_id(1, index));
            buf.extend_from_slice(&[1, 0xff]);
        })
    }

    /// Red when recovery believes a record that cannot be, such as one about an entry that is nowhere.
    #[test]
    fn any_log_is_read_or_refused() {
        let batch =
            |durable: u64| record(frame::NO_GROUP, Kind::Batch, |buf| buf.extend_from_slice(&durable.to_le_bytes()));
        let of = |records: Vec<ScriptRecord>| ScriptSegment { records, header: None, previous_end: None };
        let first = of(vec![batch(0), entry(1, 0), entry(1, 1), entry(2, 7), entry(1, 2), batch(64), entry(1, 3)]);
        let second = of(vec![
            record(1, Kind::Truncate, |buf| frame::put_optional_log_id(buf, Some(&log_id(1, 2)))),
            entry(1, 3),
            record(1, Kind::Committed, |buf| frame::put_log_id(buf, &log_id(1, 3))),
            record(1, Kind::Purge, |buf| frame::put_log_id(buf, &log_id(1, 1))),
            record(2, Kind::Forget, |_| ()),
            record(2, Kind::Vote, |buf| buf.extend_from_slice(&[1; 17])),
        ]);
        let third = of(vec![record(1, Kind::Rewrite, |buf| {
            frame::put_log_id(buf, &log_id(1, 2));
            buf.push(0);
        })]);
        let one = Script { segments: vec![first.clone()], tail: vec![7; 40] };
        let three = Script { segments: vec![first, second, third], tail: Vec::new() };
        fuzz::sweep(&SEGMENTS, &[one.encode_to_vec(), three.encode_to_vec()]);
    }

    /// Red when room is made for all that a header names, or a segment counts whose end lies in its preamble.
    #[test]
    fn a_header_is_not_believed_beyond_the_size_of_the_log() {
        let mut header = Vec::new();
        let marks = Marks { last: Some(log_id(1, 1 << 40)), ..Marks::default() };
        MarksRecord::encode_all([(1, &marks)].into_iter(), &mut header);
        let far = ScriptSegment { header: Some(header), ..ScriptSegment::default() };
        let early = ScriptSegment { previous_end: Some(7), ..ScriptSegment::default() };
        for segments in [vec![far], vec![ScriptSegment::default(), early]] {
            let script = Script { segments, tail: Vec::new() };
            assert!(!SEGMENTS.check(&script.encode_to_vec()), "{script:?}");
        }
    }

    /// Red when something that is no record is taken for one, or for the end of the log when it was durable.
    #[test]
    fn any_file_is_read_or_refused() {
        let (disk, dir) = (Disk::default(), Path::new("log"));
        let spare = dir.join("spare");
        let space = disk.create(&spare, SEGMENT_BYTES).unwrap();
        let (segment, begin) = Segment::create(&disk, dir, (spare, space), 1, 0, std::iter::empty()).unwrap();
        let mut bytes = vec![0; begin as usize];
        segment.file.read_exact_at(&mut bytes, 0).unwrap();
        // The nonce is drawn anew each time; here it may not be.
        bytes[16..24].fill(7);
        bytes[32..40].copy_from_slice(&SEGMENT_BYTES.to_le_bytes());
        let mut crc = Hasher::new();
        crc.update(&bytes[..40]);
        let crc = crc.finalize();
        let seed = Hasher::new_with_initial(crc);
        bytes.truncate(PREAMBLE_BYTES as usize);
        put(&mut bytes, &seed, frame::NO_GROUP, Kind::Header as u8, &[]);
        for one in [entry(1, 0), entry(1, 1), entry(2, 0)] {
            put(&mut bytes, &seed, one.gid, one.kind as u8, &one.body);
        }
        fuzz::sweep(&FILE, &[bytes]);
    }
}
