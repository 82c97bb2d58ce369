//! Kept bytes of the log. How they are kept and how a new format is added is said in `tests/golden/src/lib.rs`.

use bytes::Bytes;
use crc32fast::Hasher;
use openraft::EntryPayload;
use openraft::impls::leader_id_std::LeaderId;

use super::frame::{self, FRAME_HEAD_BYTES, Kind, NO_GROUP, Record};
use super::io::{FileIo, LogIo};
use super::marks::{Marks, MarksRecord};
use super::segment::{PREAMBLE_BYTES, Segment, file_name};
use super::{Entry, Vote};
use crate::golden::{area, membership};
use crate::types::{Payload, log_id};

fn vote() -> Vote {
    Vote { leader_id: LeaderId { term: 7, voted_for: 9 << 32 | 1 }, committed: true }
}

fn marks() -> Marks {
    let (committed, purged, last) = (Some(log_id(7, 40)), Some(log_id(6, 30)), Some(log_id(7, 41)));
    Marks { vote: Some(vote()), committed, purged, last, first: 31 }
}

fn entries() -> [(&'static str, Entry); 3] {
    [
        ("entry-blank", Entry { log_id: log_id(7, 41), payload: EntryPayload::Blank }),
        (
            "entry-normal",
            Entry {
                log_id: log_id(7, 42),
                payload: EntryPayload::Normal(Payload(Bytes::from_static(b"\x00\xffbytes"))),
            },
        ),
        ("entry-membership", Entry { log_id: log_id(7, 43), payload: EntryPayload::Membership(membership()) }),
    ]
}

/// Red when a kind of record changes its number or its body, or the checksum what it covers.
#[test]
fn records_are_read_and_written_the_same() {
    let mut golden = area("log");
    let seed = Hasher::new_with_initial(0x0123_4567);
    let mut check = |name: &str, gid: u32, kind: Kind, record: Option<Record>, body: &dyn Fn(&mut Vec<u8>)| {
        let mut today = Vec::new();
        frame::put(&mut today, &seed, gid, kind, body);
        let kept = golden.bytes(name, &today);
        let frame = frame::parse(&kept, &seed).unwrap();
        assert_eq!((frame.gid, frame.kind, frame.size()), (gid, kind as u8, kept.len()), "{name}");
        if let Some(record) = record {
            assert_eq!(Record::decode(&frame).unwrap(), record, "{name}");
        }
        kept
    };
    for (name, entry) in entries() {
        for (kind, record) in
            [(Kind::Entry, Record::Entry(entry.log_id)), (Kind::Rewrite, Record::Rewrite(entry.log_id))]
        {
            let name = if kind == Kind::Entry { name.to_owned() } else { format!("rewrite-{name}") };
            let kept = check(&name, 5, kind, Some(record), &|buf| frame::put_entry(buf, &entry));
            let back = frame::entry(Bytes::from(kept).slice(FRAME_HEAD_BYTES..)).unwrap();
            assert_eq!(back, entry, "{name}");
        }
    }
    let id = log_id(7, 41);
    let body = |buf: &mut Vec<u8>| buf.extend_from_slice(&0x1234u64.to_le_bytes());
    check("batch", NO_GROUP, Kind::Batch, Some(Record::Batch(0x1234)), &body);
    let groups = vec![(5, marks()), (6, Marks::default())];
    let all = groups.clone();
    check("header", NO_GROUP, Kind::Header, Some(Record::Header(groups)), &|buf| {
        MarksRecord::encode_all(all.iter().map(|(gid, marks)| (*gid, marks)), buf);
    });
    check("vote", 5, Kind::Vote, Some(Record::Vote(vote())), &|buf| frame::put_vote(buf, &vote()));
    check("truncate", 5, Kind::Truncate, Some(Record::Truncate(Some(id))), &|buf| {
        frame::put_optional_log_id(buf, Some(&id));
    });
    check("truncate-all", 5, Kind::Truncate, Some(Record::Truncate(None)), &|buf| {
        frame::put_optional_log_id(buf, None)
    });
    check("purge", 5, Kind::Purge, Some(Record::Purge(id)), &|buf| frame::put_log_id(buf, &id));
    check("committed", 5, Kind::Committed, Some(Record::Committed(Some(id))), &|buf| {
        frame::put_optional_log_id(buf, Some(&id));
    });
    check("forget", 5, Kind::Forget, Some(Record::Forget), &|_| ());
    golden.done();
}

/// Red when the preamble of a segment changes. Its nonce, and the checksums that follow from it, are drawn anew for each.
#[test]
fn the_beginning_of_a_segment_is_read_and_written_the_same() {
    let mut golden = area("segment");
    let dir = tempfile::tempdir().unwrap();
    let spare = dir.path().join("spare-1");
    let file = FileIo.create(&spare, 4_096).unwrap();
    let groups = [(5, marks())];
    let groups = groups.iter().map(|(gid, marks)| (*gid, marks));
    let (segment, end) = Segment::create(&FileIo, dir.path(), (spare, file), 3, 0x1234, groups).unwrap();
    let today = std::fs::read(&segment.path).unwrap();
    let kept = golden.kept("begin", &today[..end as usize]);
    let but_drawn = |bytes: &[u8]| {
        let mut bytes = bytes[..end as usize].to_vec();
        [16..24, 40..44, 64..68].into_iter().for_each(|range: std::ops::Range<usize>| bytes[range].fill(0));
        bytes
    };
    assert_eq!(but_drawn(&today), but_drawn(&kept));

    let mut whole = kept.clone();
    whole.resize(4_096, 0);
    std::fs::write(dir.path().join(file_name(3)), &whole).unwrap();
    let segment = Segment::open(&FileIo, dir.path(), 3).unwrap();
    assert_eq!((segment.seq, segment.bytes, segment.previous_end), (3, 4_096, 0x1234));
    let frame = frame::parse(&kept[PREAMBLE_BYTES as usize..], &segment.seed).unwrap();
    assert_eq!(Record::decode(&frame).unwrap(), Record::Header(vec![(5, marks())]));
    golden.done();
}
