//! Bytes of one record: `crc32 | length of body | group | kind | body`, little-endian.
//!
//! The checksum covers everything after itself and starts from a value that belongs to the segment, so that records
//! left over from an earlier use of the file are never mistaken for records of this one. An entry's payload is stored
//! as it was proposed. No type of openraft is serialised as such: an upgrade of it cannot change what is on disk.

use bytes::Bytes;
use crc32fast::Hasher;
use openraft::EntryPayload;
use openraft::impls::leader_id_std::LeaderId;

use super::marks::{Marks, MarksRecord};
use super::membership;
use super::{Entry, LogId, Vote};
use crate::types::{self, Payload};

/// Bytes before the body.
pub const FRAME_HEAD_BYTES: usize = 13;
/// Group of records that belong to the segment.
pub const NO_GROUP: u32 = u32::MAX;

const LOG_ID_BYTES: usize = 16;
const BATCH_BODY_BYTES: u32 = 8;

/// What a record says. Released numbers keep their meaning; a new kind needs a new format number of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Begins what was written at once; says up to which offset the segment was durable before that.
    Batch = 1,
    /// Follows the preamble of a segment: the marks of all groups at that point.
    Header = 2,
    /// The next entry of a group.
    Entry = 3,
    /// A copy of an entry whose first record is in a segment that is about to be dropped.
    Rewrite = 4,
    /// The group's vote.
    Vote = 5,
    /// Entries after this log id are no longer part of the log.
    Truncate = 6,
    /// Entries up to this log id are no longer part of the log.
    Purge = 7,
    /// The group's commit mark.
    Committed = 8,
    /// Nothing of the group counts any longer.
    Forget = 9,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        use Kind::*;
        [Batch, Header, Entry, Rewrite, Vote, Truncate, Purge, Committed, Forget].into_iter().find(|k| *k as u8 == byte)
    }
}

/// A record whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Whose it is, or [`NO_GROUP`].
    pub gid: u32,
    /// What it says.
    pub kind: u8,
    /// The rest.
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// Bytes it takes in the segment.
    pub fn size(&self) -> usize {
        FRAME_HEAD_BYTES + self.body.len()
    }
}

/// Appends a record to `buf`; `body` writes what follows the head.
pub fn put(buf: &mut Vec<u8>, seed: &Hasher, gid: u32, kind: Kind, body: impl FnOnce(&mut Vec<u8>)) {
    let start = buf.len();
    buf.extend_from_slice(&[0; 8]);
    buf.extend_from_slice(&gid.to_le_bytes());
    buf.push(kind as u8);
    body(buf);
    let len = u32::try_from(buf.len() - start - FRAME_HEAD_BYTES).expect("records are checked to be under 1 GiB");
    buf[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    let mut crc = seed.clone();
    crc.update(&buf[start + 4..]);
    buf[start..start + 4].copy_from_slice(&crc.finalize().to_le_bytes());
}

/// Reads the record at the start of `bytes`, or says why there is none.
pub fn parse<'a>(bytes: &'a [u8], seed: &Hasher) -> Result<Frame<'a>, &'static str> {
    let Some((head, rest)) = bytes.split_at_checked(FRAME_HEAD_BYTES) else {
        return Err("the file ends inside a record");
    };
    let crc = u32_at(head, 0);
    let len = u32_at(head, 4) as usize;
    if head.iter().all(|b| *b == 0) {
        return Err("no record");
    }
    let Some(body) = rest.get(..len) else {
        return Err("the record is longer than the file");
    };
    let mut actual = seed.clone();
    actual.update(&head[4..]);
    actual.update(body);
    if actual.finalize() != crc {
        return Err("wrong checksum");
    }
    Ok(Frame { gid: u32_at(head, 8), kind: head[12], body })
}

/// Whether anywhere at or after `from` a [`Kind::Batch`] record says that more than `from` bytes were durable.
///
/// That separates damage from the torn end of the last write: a batch is written only after the sync of what it calls
/// durable came back, so what was torn is never followed by such a record.
pub fn durable_beyond(bytes: &[u8], from: usize, seed: &Hasher) -> bool {
    let mut pattern = [0; 9];
    pattern[..4].copy_from_slice(&BATCH_BODY_BYTES.to_le_bytes());
    pattern[4..8].copy_from_slice(&NO_GROUP.to_le_bytes());
    pattern[8] = Kind::Batch as u8;
    // The damaged length says nothing about where the next record begins, so every offset is tried.
    (from..bytes.len().saturating_sub(FRAME_HEAD_BYTES)).any(|at| {
        bytes[at + 4..at + FRAME_HEAD_BYTES] == pattern
            && parse(&bytes[at..], seed).is_ok_and(|f| Record::decode(&f).is_ok_and(|r| r.durable() > from as u64))
    })
}

/// A record without the payload of entries.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// [`Kind::Batch`]: bytes of this segment that were durable before.
    Batch(u64),
    /// [`Kind::Header`].
    Header(Vec<(u32, Marks)>),
    /// [`Kind::Entry`].
    Entry(LogId),
    /// [`Kind::Rewrite`].
    Rewrite(LogId),
    /// [`Kind::Vote`].
    Vote(Vote),
    /// [`Kind::Truncate`].
    Truncate(Option<LogId>),
    /// [`Kind::Purge`].
    Purge(LogId),
    /// [`Kind::Committed`].
    Committed(Option<LogId>),
    /// [`Kind::Forget`].
    Forget,
}

impl Record {
    /// Reads the body of a frame.
    pub fn decode(frame: &Frame<'_>) -> Result<Record, String> {
        let body = frame.body;
        let kind = Kind::of(frame.kind).ok_or_else(|| format!("unknown kind of record {}", frame.kind))?;
        let record = match kind {
            Kind::Batch => body.try_into().ok().map(|b| Record::Batch(u64::from_le_bytes(b))),
            Kind::Header => return Ok(Record::Header(MarksRecord::decode_all(body)?)),
            Kind::Entry => log_id(body).map(Record::Entry),
            Kind::Rewrite => log_id(body).map(Record::Rewrite),
            Kind::Vote => vote(body).map(Record::Vote),
            Kind::Truncate => optional_log_id(body).map(Record::Truncate),
            Kind::Purge => log_id(body).map(Record::Purge),
            Kind::Committed => optional_log_id(body).map(Record::Committed),
            Kind::Forget => Some(Record::Forget),
        };
        record.ok_or_else(|| format!("{kind:?} record of {} bytes", body.len()))
    }

    fn durable(&self) -> u64 {
        match self {
            Record::Batch(durable) => *durable,
            _ => 0,
        }
    }
}

/// Writes the body of an [`Kind::Entry`] or [`Kind::Rewrite`].
pub fn put_entry(buf: &mut Vec<u8>, entry: &Entry) {
    put_log_id(buf, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => buf.push(0),
        EntryPayload::Normal(payload) => {
            buf.push(1);
            buf.extend_from_slice(&payload.0);
        }
        EntryPayload::Membership(members) => {
            buf.push(2);
            membership::encode(members, buf);
        }
    }
}

/// Reads the body of an entry; its payload shares `body`'s memory.
pub fn entry(body: Bytes) -> Result<Entry, String> {
    let log_id = log_id(&body).ok_or("entry too short")?;
    let kind = *body.get(LOG_ID_BYTES).ok_or("entry too short")?;
    let rest = body.slice(LOG_ID_BYTES + 1..);
    let payload = match kind {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Normal(Payload(rest)),
        2 => EntryPayload::Membership(membership::decode(&rest)?),
        other => return Err(format!("unknown kind of entry {other}")),
    };
    Ok(Entry { log_id, payload })
}

/// Writes a log id.
pub fn put_log_id(buf: &mut Vec<u8>, id: &LogId) {
    buf.extend_from_slice(&id.leader_id.term.to_le_bytes());
    buf.extend_from_slice(&id.index.to_le_bytes());
}

/// Writes a log id that may be absent.
pub fn put_optional_log_id(buf: &mut Vec<u8>, id: Option<&LogId>) {
    if let Some(id) = id {
        put_log_id(buf, id);
    }
}

/// Writes a vote.
pub fn put_vote(buf: &mut Vec<u8>, vote: &Vote) {
    buf.extend_from_slice(&vote.leader_id.term.to_le_bytes());
    buf.extend_from_slice(&vote.leader_id.voted_for.to_le_bytes());
    buf.push(u8::from(vote.committed));
}

/// `None` for the last index there is: every entry has a next one.
fn log_id(body: &[u8]) -> Option<LogId> {
    let body = body.get(..LOG_ID_BYTES)?;
    let index = Some(u64_at(body, 8)).filter(|index| *index != u64::MAX)?;
    Some(types::log_id(u64_at(body, 0), index))
}

/// `None`: neither empty nor a log id.
fn optional_log_id(body: &[u8]) -> Option<Option<LogId>> {
    if body.is_empty() { Some(None) } else { log_id(body).map(Some) }
}

fn vote(body: &[u8]) -> Option<Vote> {
    let body: &[u8; 17] = body.try_into().ok()?;
    let leader_id = LeaderId { term: u64_at(body, 0), voted_for: u64_at(body, 8) };
    (body[16] <= 1).then_some(Vote { leader_id, committed: body[16] == 1 })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
