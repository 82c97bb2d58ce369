//! What the log does with damaged and unfinished files.

mod log_support;

use std::path::{Path, PathBuf};

use log_support::*;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use proptest::prelude::*;
use raft::log::{Error, FileIo, Log, LogConfig};
use tokio::runtime::Runtime;

const PREAMBLE_BYTES: usize = 64;
const BATCH: u8 = 1;
const ENTRY: u8 = 3;

/// Records of a segment: offset, size, kind.
fn records(bytes: &[u8]) -> Vec<(usize, usize, u8)> {
    let mut found = Vec::new();
    let mut at = PREAMBLE_BYTES;
    while at + 13 <= bytes.len() && bytes[at..at + 13] != [0; 13] {
        let size = 13 + u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("four bytes")) as usize;
        found.push((at, size, bytes[at + 12]));
        at += size;
    }
    found
}

/// The files of a log as a kill would leave them: a copy taken while it is open.
fn kill(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for segment in segments(dir) {
        std::fs::copy(&segment, copy.path().join(segment.file_name().expect("a name"))).expect("copies");
    }
    copy
}

fn only_segment(dir: &Path) -> PathBuf {
    let all = segments(dir);
    assert_eq!(all.len(), 1, "one segment");
    all[0].clone()
}

fn try_open(dir: &Path) -> Result<Log, Error> {
    Log::open(dir, small(), Box::new(FileIo))
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

/// Entries 1 to `count`, each written and synced alone, and the files as a kill leaves them.
fn killed_after(count: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let mut group = log.group(1);
    runtime().block_on(async {
        for index in 1..=count {
            fill(&mut group, 1, index..index + 1, 40).await;
        }
    });
    kill(dir.path())
}

/// Red when `is_torn_end` in `log/recover.rs` returns false, or when `settle` there does not zero what follows the end.
#[test]
fn the_last_record_torn_at_any_byte_is_cut_off() {
    let runtime = runtime();
    let whole = std::fs::read(only_segment(killed_after(5).path())).expect("reads");
    let (last, size, kind) = *records(&whole).last().expect("records");
    assert_eq!(kind, ENTRY);
    for cut in 0..size {
        // What was in the file before: zeros, or records of an earlier use.
        for filler in [0, 0xa5] {
            let dir = tempfile::tempdir().expect("a directory");
            let mut bytes = whole.clone();
            bytes[last + cut..last + size].fill(filler);
            if bytes == whole {
                continue;
            }
            std::fs::write(dir.path().join("segment-0000000001.log"), &bytes).expect("writes");

            let log = open(dir.path());
            let mut group = log.group(1);
            let expected: Vec<u64> = (1..=4).collect();
            assert_eq!(indexes(&runtime.block_on(read(&group))), expected, "cut at byte {cut}");
            runtime.block_on(fill(&mut group, 2, 5..7, 40));
            drop(log);
            let log = open(dir.path());
            let entries = runtime.block_on(contents(&log.group(1)));
            assert_eq!(entries.len(), 6, "cut at byte {cut}, then written on");
            assert_eq!(entries[4].1, payload(1, 2, 5, 40));
        }
    }
}

/// Red when `durable_beyond` in `log/frame.rs` returns false.
#[test]
fn a_damaged_record_before_durable_ones_refuses_the_start() {
    let whole = std::fs::read(only_segment(killed_after(6).path())).expect("reads");
    let all = records(&whole);
    // The last batch could be a torn write: its mark and its entry.
    for &(at, size, _) in &all[..all.len() - 2] {
        for byte in [at, at + 5, at + 12, at + size - 1] {
            let dir = tempfile::tempdir().expect("a directory");
            let mut bytes = whole.clone();
            bytes[byte] ^= 0x10;
            let path = dir.path().join("segment-0000000001.log");
            std::fs::write(&path, &bytes).expect("writes");
            match try_open(dir.path()) {
                Err(Error::Corrupt { path: named, offset, .. }) => {
                    assert_eq!((named, offset), (path, at as u64), "byte {byte}");
                }
                other => panic!("byte {byte} of the record at {at}: {other:?}"),
            }
        }
    }
}

/// Red when `Writer::put` in `log/writer.rs` writes 0 instead of what was durable into the mark of a batch.
#[test]
fn records_of_one_torn_write_may_arrive_out_of_order() {
    // Three entries in one write; the first one's sector is lost, the others are there.
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let mut group = log.group(1);
    runtime().block_on(async {
        fill(&mut group, 1, 1..3, 40).await;
        fill(&mut group, 1, 3..6, 40).await;
    });
    let killed = kill(dir.path());
    let path = only_segment(killed.path());
    let mut bytes = std::fs::read(&path).expect("reads");
    let all = records(&bytes);
    let (third, size, _) = all[all.len() - 3];
    bytes[third..third + size].fill(0);
    std::fs::write(&path, &bytes).expect("writes");
    let log = open(killed.path());
    assert_eq!(indexes(&runtime().block_on(read(&log.group(1)))), vec![1, 2]);

    // The same loss when a later write says that this one had been durable.
    runtime().block_on(fill(&mut group, 1, 6..7, 40));
    let killed = kill(dir.path());
    let path = only_segment(killed.path());
    let mut bytes = std::fs::read(&path).expect("reads");
    bytes[third..third + size].fill(0);
    std::fs::write(&path, &bytes).expect("writes");
    match try_open(killed.path()) {
        Err(Error::Corrupt { offset, .. }) => assert_eq!(offset, third as u64),
        other => panic!("{other:?}"),
    }
}

/// Red when `Writer::close` in `log/writer.rs` leaves no mark.
#[test]
fn after_an_orderly_close_damage_to_the_last_write_is_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    runtime().block_on(fill(&mut log.group(1), 1, 1..4, 40));
    drop(log);
    let path = only_segment(dir.path());
    let mut bytes = std::fs::read(&path).expect("reads");
    let (at, _, _) = *records(&bytes).iter().rfind(|(_, _, kind)| *kind == ENTRY).expect("an entry");
    bytes[at + 20] ^= 1;
    std::fs::write(&path, &bytes).expect("writes");
    assert!(matches!(try_open(dir.path()), Err(Error::Corrupt { offset, .. }) if offset == at as u64));
}

/// Red when `recover` in `log/recover.rs` lets a full segment end where its records do.
#[test]
fn a_full_segment_must_be_readable_to_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    runtime().block_on(fill(&mut log.group(1), 1, 1..30, 4000));
    drop(log);
    let first = segments(dir.path())[0].clone();
    let mut bytes = std::fs::read(&first).expect("reads");
    let (at, size, _) = *records(&bytes).last().expect("records");
    bytes[at..at + size].fill(0);
    std::fs::write(&first, &bytes).expect("writes");
    match try_open(dir.path()) {
        Err(Error::Corrupt { path, offset, .. }) => assert_eq!((path, offset), (first, at as u64)),
        other => panic!("{other:?}"),
    }
}

/// Red when `recover` in `log/recover.rs` does not look for gaps.
#[test]
fn a_missing_segment_refuses_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    runtime().block_on(fill(&mut log.group(1), 1, 1..60, 4000));
    drop(log);
    let all = segments(dir.path());
    assert!(all.len() > 3, "{all:?}");
    std::fs::remove_file(&all[1]).expect("removes");
    assert!(matches!(try_open(dir.path()), Err(Error::MissingSegment { seq: 2, .. })));
    // Without the oldest ones the log begins later, and the entries are missed.
    std::fs::remove_file(&all[0]).expect("removes");
    assert!(matches!(try_open(dir.path()), Err(Error::Missing { gid: 1, index: 1, .. })));
}

/// Red when `Segment::open` in `log/segment.rs` checks the checksum before the format.
#[test]
fn a_newer_format_is_named() {
    let dir = killed_after(1);
    let path = only_segment(dir.path());
    let mut bytes = std::fs::read(&path).expect("reads");
    bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
    std::fs::write(&path, &bytes).expect("writes");
    let error = try_open(dir.path()).expect_err("refused");
    assert!(matches!(error, Error::NewerFormat { found: 2, known: 1, .. }));
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[test]
fn other_files_are_refused_or_left_alone() {
    let dir = killed_after(2);
    let path = only_segment(dir.path());
    std::fs::write(dir.path().join("notes.txt"), "mine").expect("writes");
    std::fs::write(dir.path().join("segment-1.log"), "not a name of ours").expect("writes");
    drop(open(dir.path()));
    assert!(dir.path().join("notes.txt").exists());

    let copied = dir.path().join("segment-0000000002.log");
    std::fs::copy(&path, &copied).expect("copies");
    assert!(matches!(try_open(dir.path()), Err(Error::Corrupt { path, offset: 0, .. }) if path == copied));
    std::fs::write(&copied, vec![7; 64 << 10]).expect("writes");
    assert!(matches!(try_open(dir.path()), Err(Error::Corrupt { path, offset: 0, .. }) if path == copied));
}

#[test]
fn a_directory_is_opened_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    assert!(matches!(try_open(dir.path()), Err(Error::InUse { .. })));
    drop(log);
    drop(open(dir.path()));
}

#[test]
fn settings_out_of_bounds_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = LogConfig { segment_bytes: 1000, ..LogConfig::default() };
    let error = Log::open(dir.path(), config, Box::new(FileIo)).expect_err("refused");
    assert_eq!(error.to_string(), "log: segment_bytes is 1000, must be 65536 to 1073741824");
}

/// A log over two segments, closed in an orderly way, and what its two groups have.
fn closed() -> (tempfile::TempDir, Vec<Vec<(u64, bytes::Bytes)>>) {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let contents = runtime().block_on(async {
        let (mut one, mut two) = (log.group(1), log.group(2));
        for step in 0..20 {
            fill(&mut one, 1, 1 + 2 * step..3 + 2 * step, 1500).await;
            fill(&mut two, 1, 1 + step..2 + step, 300).await;
        }
        one.save_vote(&vote(3)).await.expect("saves");
        vec![contents(&one).await, contents(&two).await]
    });
    drop(log);
    assert_eq!(segments(dir.path()).len(), 2);
    (dir, contents)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bit flips: the start is refused or nothing is lost or changed.
    ///
    /// Red when `parse` in `log/frame.rs` does not compare the checksum, or `durable_beyond` there returns false.
    #[test]
    fn a_flipped_bit_never_changes_what_is_read(segment in 0usize..2, place in 0.0..1.0f64, bit in 0u8..8) {
        thread_local! {
            static CLOSED: (tempfile::TempDir, Vec<Vec<(u64, bytes::Bytes)>>) = closed();
        }
        CLOSED.with(|(dir, expected)| {
            let copy = kill(dir.path());
            let path = &segments(copy.path())[segment];
            let mut bytes = std::fs::read(path).expect("reads");
            let (last, size, _) = *records(&bytes).last().expect("records");
            let at = ((last + size) as f64 * place) as usize;
            bytes[at] ^= 1 << bit;
            std::fs::write(path, &bytes).expect("writes");
            match try_open(copy.path()) {
                Err(Error::Corrupt { path: named, .. } | Error::NewerFormat { path: named, .. }) => assert_eq!(&named, path),
                Err(other) => panic!("byte {at} bit {bit}: {other}"),
                Ok(log) => runtime().block_on(async {
                    for (gid, expected) in [1, 2].into_iter().zip(expected) {
                        assert_eq!(&contents(&log.group(gid)).await, expected, "byte {at} bit {bit}");
                    }
                    assert_eq!(log.group(1).read_vote().await.expect("reads"), Some(vote(3)));
                }),
            }
        });
    }
}

/// Every batch begins with a mark; the tests above rely on where it is.
#[test]
fn a_write_begins_with_its_mark() {
    let whole = std::fs::read(only_segment(killed_after(3).path())).expect("reads");
    let kinds: Vec<u8> = records(&whole).into_iter().map(|(_, _, kind)| kind).collect();
    assert_eq!(kinds, vec![2, BATCH, ENTRY, BATCH, ENTRY, BATCH, ENTRY]);
}
