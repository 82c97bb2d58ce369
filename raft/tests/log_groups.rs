//! Many groups in one log: order, memory, old segments, failures.

mod log_support;

use std::sync::atomic::Ordering;

use futures::{FutureExt, StreamExt};
use log_support::*;
use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, RaftLogStorage};
use raft::log::{FileIo, Log, LogConfig, SlowSync};

/// Red when `Places::in_segment` or `Replay::record` mix up groups, e.g. when `replay` ignores `frame.gid`.
#[tokio::test]
async fn interleaved_groups_stay_apart() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let writers = (0..20u32).map(|gid| {
        let mut group = log.group(gid);
        async move {
            for index in 1..=30 {
                fill(&mut group, 1, index..index + 1, 100 + gid as usize).await;
            }
            group.save_vote(&vote(u64::from(gid))).await.expect("saves");
            group.truncate_after(Some(log_id(1, 20))).await.expect("truncates");
            fill(&mut group, 2, 21..25, 50).await;
            group.purge(log_id(1, u64::from(gid))).await.expect("purges");
            group.save_committed(Some(log_id(2, 22))).await.expect("saves");
            group.flush().await.expect("flushes");
        }
    });
    futures::future::join_all(writers).await;
    let check = async |log: &Log| {
        for gid in 0..20u32 {
            let mut group = log.group(gid);
            let first = u64::from(gid) + 1;
            let expected = (first..25).map(|i| match i {
                21.. => (i, payload(gid, 2, i, 50).into()),
                _ => (i, payload(gid, 1, i, 100 + gid as usize).into()),
            });
            assert_eq!(contents(&group).await, expected.collect::<Vec<_>>(), "group {gid}");
            assert_eq!(group.read_vote().await.expect("reads"), Some(vote(u64::from(gid))));
            assert_eq!(group.read_committed().await.expect("reads"), Some(log_id(2, 22)));
            let state = group.get_log_state().await.expect("reads");
            assert_eq!(state.last_purged_log_id.map(|id| id.index), Some(u64::from(gid)));
            assert_eq!(state.last_log_id, Some(log_id(2, 24)));
        }
        assert_eq!(log.group_ids(), (0..20).collect::<Vec<_>>());
    };
    check(&log).await;
    drop(log);
    check(&open(dir.path())).await;
}

/// Red when `tell` or `flush` in `log/writer.rs` run once per request.
#[tokio::test]
async fn what_waits_during_a_sync_is_written_with_one_sync() {
    let dir = tempfile::tempdir().expect("a directory");
    let io = Faulty::new();
    let log = Log::open(dir.path(), small(), Box::new(io.clone())).expect("opens");
    let mut groups: Vec<_> = (1..=8).map(|gid| log.group(gid)).collect();
    fill(&mut groups[0], 1, 1..2, 10).await;
    io.close_gate();
    let before = io.faults.syncs.load(Ordering::SeqCst);
    let (callback, mut first) = flushed();
    groups[0].append([entry(1, 2, "a")], callback).await.expect("appends");
    io.wait_for_sync(before + 1);
    let mut waiting = Vec::new();
    for group in &mut groups[1..] {
        let (callback, told) = flushed();
        group.append([entry(1, 1, "b")], callback).await.expect("appends");
        assert_eq!(indexes(&read(group).await), vec![1], "readable before it is durable");
        waiting.push(told);
    }
    assert!((&mut first).now_or_never().is_none(), "not durable yet");
    assert!(waiting.iter_mut().all(|told| told.now_or_never().is_none()), "not durable yet");
    io.open_gate();
    first.await.expect("durable");
    for told in waiting {
        told.await.expect("durable");
    }
    assert_eq!(io.faults.syncs.load(Ordering::SeqCst), before + 2);
}

/// Red when `append` in `log/store.rs` does not wait for space.
#[tokio::test]
async fn appends_wait_while_the_queue_is_full() {
    let dir = tempfile::tempdir().expect("a directory");
    let io = Faulty::new();
    let config = LogConfig { queue_bytes: 4 << 10, ..small() };
    let log = Log::open(dir.path(), config, Box::new(io.clone())).expect("opens");
    let mut group = log.group(1);
    io.close_gate();
    let before = io.faults.syncs.load(Ordering::SeqCst);
    group.append([entry(1, 1, vec![1; 5000])], IOFlushed::noop()).await.expect("appends");
    io.wait_for_sync(before + 1);
    group.append([entry(1, 2, vec![2; 5000])], IOFlushed::noop()).await.expect("appends");
    {
        let third = group.append([entry(1, 3, vec![3; 5000])], IOFlushed::noop());
        tokio::pin!(third);
        assert!(futures::poll!(third.as_mut()).is_pending());
        io.open_gate();
        third.await.expect("appends");
    }
    group.flush().await.expect("flushes");
    assert_eq!(indexes(&read(&group).await), vec![1, 2, 3]);
}

#[tokio::test]
async fn holes_and_oversized_entries_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let mut group = log.group(1);
    fill(&mut group, 1, 1..4, 10).await;
    let error = append(&mut group, vec![entry(1, 5, "x")]).await.expect_err("a hole");
    assert!(error.to_string().contains("entry 5 after entry 3"), "{error}");
    let error = append(&mut group, vec![entry(1, 4, "x"), entry(1, 5, vec![0; 20_000])]).await.expect_err("too large");
    assert!(error.to_string().contains("entry 5 is larger than 16384 bytes"), "{error}");
    assert_eq!(indexes(&read(&group).await), vec![1, 2, 3]);
    fill(&mut group, 1, 4..6, 10).await;
    assert_eq!(indexes(&read(&group).await), vec![1, 2, 3, 4, 5]);
}

/// Red when `limited_get_log_entries` in `log/store.rs` returns `plan.read()` for a purged start, or `fits` counts wrong.
#[tokio::test]
async fn reads_for_replication_are_bounded_by_bytes() {
    for cache_bytes in [0, 64 << 20] {
        let dir = tempfile::tempdir().expect("a directory");
        let config = LogConfig { read_bytes: 4 << 10, cache_bytes, ..small() };
        let log = Log::open(dir.path(), config, Box::new(FileIo)).expect("opens");
        let mut group = log.group(1);
        fill(&mut group, 1, 1..11, 1000).await;
        fill(&mut group, 1, 11..12, 9000).await;
        settle(&group).await;
        let count = async |group: &raft::log::GroupLog, start, end| {
            indexes(&group.clone().limited_get_log_entries(start, end).await.expect("reads"))
        };
        assert_eq!(count(&group, 1, 12).await, vec![1, 2, 3]);
        assert_eq!(count(&group, 4, 6).await, vec![4, 5]);
        assert_eq!(count(&group, 11, 12).await, vec![11], "one entry at least");
        assert_eq!(indexes(&group.try_get_log_entries(1..=11).await.expect("reads")).len(), 11, "never stops early");
        group.purge(log_id(1, 4)).await.expect("purges");
        assert_eq!(count(&group, 3, 9).await, Vec::<u64>::new(), "what follows a purged start is not its successor");
        assert_eq!(indexes(&group.try_get_log_entries(3..7).await.expect("reads")), vec![5, 6]);
        let applied: Vec<_> = group.entries_stream(4..7).await.collect().await;
        assert!(applied[0].is_err(), "a purged entry cannot be applied");
        let applied: Vec<_> = group.entries_stream(5..12).await.map(|e| e.expect("reads")).collect().await;
        assert_eq!(indexes(&applied), (5..12).collect::<Vec<_>>());
    }
}

/// Red when `evict` in `log/writer.rs` does nothing, or `State::evict` does not stop at what is not durable.
#[tokio::test]
async fn memory_stays_near_its_budget() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = LogConfig { cache_bytes: 20_000, ..small() };
    let log = Log::open(dir.path(), config, Box::new(FileIo)).expect("opens");
    let (mut one, mut two) = (log.group(1), log.group(2));
    for index in 1..=40 {
        fill(&mut one, 1, index..index + 1, 1000).await;
        one.save_committed(Some(log_id(1, index))).await.expect("saves");
        fill(&mut two, 1, index..index + 1, 1000).await;
    }
    settle(&one).await;
    let cached = log.stats().cached_bytes;
    assert!((10_000..=41_000).contains(&cached), "{cached} bytes; the second group never commits");
    for group in [one, two] {
        let expected: Vec<_> = (1..=40).map(|i| (i, payload(group.gid(), 1, i, 1000).into())).collect();
        assert_eq!(contents(&group).await, expected);
    }
}

/// Red when `collect` in `log/writer.rs` returns at once.
#[tokio::test]
async fn purged_segments_go_and_their_files_are_used_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let mut group = log.group(1);
    for round in 0..30 {
        fill(&mut group, 1, 1 + round * 10..11 + round * 10, 4000).await;
        group.purge(log_id(1, 5 + round * 10)).await.expect("purges");
    }
    settle(&group).await;
    let stats = log.stats();
    assert!(stats.segments <= 3, "{stats:?}");
    assert!(stats.pinned_bytes[&1] < 30_000, "{stats:?}");
    let files = std::fs::read_dir(dir.path()).expect("lists").count();
    assert!(files <= stats.segments + 3, "{files} files: segments, two spares at most, the lock");
    drop(log);
    let log = open(dir.path());
    let expected: Vec<_> = (296..=300).map(|i| (i, payload(1, 1, i, 4000).into())).collect();
    assert_eq!(contents(&log.group(1)).await, expected);
}

/// Red when `rewrite` in `log/writer.rs` is not called, or copies without moving the places.
#[tokio::test]
async fn a_group_that_never_purges_does_not_keep_every_segment() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = LogConfig { segments_max: 3, cache_bytes: 0, ..small() };
    let log = Log::open(dir.path(), config.clone(), Box::new(FileIo)).expect("opens");
    let (mut busy, mut idle) = (log.group(1), log.group(2));
    idle.save_vote(&vote(4)).await.expect("saves");
    fill(&mut idle, 4, 1..6, 500).await;
    for round in 0..60 {
        fill(&mut busy, 1, 1 + round * 10..11 + round * 10, 4000).await;
        busy.purge(log_id(1, 10 + round * 10)).await.expect("purges");
    }
    settle(&busy).await;
    assert!(log.stats().segments <= 5, "{:?}", log.stats());
    assert!(segments(dir.path())[0].to_string_lossy().contains("segment-00000000"), "named by number");
    let oldest = segments(dir.path())[0].clone();
    assert!(!oldest.ends_with("segment-0000000001.log"), "the first segment is gone");
    let expected: Vec<_> = (1..6).map(|i| (i, payload(2, 4, i, 500).into())).collect();
    assert_eq!(contents(&idle).await, expected);
    drop(log);
    let log = Log::open(dir.path(), config, Box::new(FileIo)).expect("opens");
    let mut idle = log.group(2);
    assert_eq!(contents(&idle).await, expected);
    assert_eq!(idle.read_vote().await.expect("reads"), Some(vote(4)));
    fill(&mut idle, 4, 6..8, 500).await;
    assert_eq!(indexes(&read(&idle).await), (1..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_forgotten_group_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let (mut gone, mut stays) = (log.group(1), log.group(2));
    fill(&mut gone, 3, 1..9, 100).await;
    gone.save_vote(&vote(3)).await.expect("saves");
    fill(&mut stays, 1, 1..3, 100).await;
    gone.forget().await.expect("forgets");
    assert_eq!(log.group_ids(), vec![2]);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.group_ids(), vec![2]);
    let mut again = log.group(1);
    assert_eq!(again.read_vote().await.expect("reads"), None);
    fill(&mut again, 1, 5..7, 100).await;
    drop(log);
    assert_eq!(indexes(&read(&open(dir.path()).group(1)).await), vec![5, 6]);
}

/// Red when `Writer::fail` in `log/writer.rs` does not close the queue, or when anything syncs again.
#[tokio::test]
async fn a_failed_sync_stops_the_log_for_good() {
    let dir = tempfile::tempdir().expect("a directory");
    let io = Faulty::new();
    let log = Log::open(dir.path(), small(), Box::new(io.clone())).expect("opens");
    let (mut one, mut two) = (log.group(1), log.group(2));
    fill(&mut one, 1, 1..4, 100).await;
    let mut failed = log.failed();
    assert!(failed.borrow().is_none());
    io.faults.syncs_left.store(0, Ordering::SeqCst);
    let error = append(&mut one, vec![entry(1, 4, "lost")]).await.expect_err("not durable");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    failed.wait_for(|f| f.is_some()).await.expect("told");
    let syncs = io.faults.syncs.load(Ordering::SeqCst);
    io.faults.syncs_left.store(-1, Ordering::SeqCst);
    for error in [
        append(&mut two, vec![entry(1, 1, "x")]).await.expect_err("stopped"),
        two.save_vote(&vote(9)).await.expect_err("stopped"),
        one.purge(log_id(1, 1)).await.expect_err("stopped"),
        one.truncate_after(None).await.expect_err("stopped"),
        one.save_committed(None).await.expect_err("stopped"),
        one.flush().await.expect_err("stopped"),
    ] {
        assert!(error.to_string().contains("the disk is gone"), "{error}");
    }
    drop(log);
    assert_eq!(io.faults.syncs.load(Ordering::SeqCst), syncs, "a failed sync is never tried again");
    let log = open(dir.path());
    assert!(indexes(&read(&log.group(1)).await).starts_with(&[1, 2, 3]));
    assert_eq!(log.group(2).read_vote().await.expect("reads"), None);
}

/// Red when `Writer::flush` in `log/writer.rs` ignores the error of the write.
#[tokio::test]
async fn a_write_cut_short_stops_the_log_and_is_cut_off_at_the_next_start() {
    for left in [0, 1, 20, 21, 30, 90] {
        let dir = tempfile::tempdir().expect("a directory");
        let io = Faulty::new();
        let log = Log::open(dir.path(), small(), Box::new(io.clone())).expect("opens");
        let mut group = log.group(1);
        fill(&mut group, 1, 1..4, 100).await;
        io.faults.bytes_left.store(left, Ordering::SeqCst);
        assert!(append(&mut group, vec![entry(1, 4, vec![9; 100])]).await.is_err());
        assert!(log.failed().borrow().is_some());
        drop(log);
        let log = open(dir.path());
        assert_eq!(indexes(&read(&log.group(1)).await), vec![1, 2, 3], "{left} bytes of the last write");
        fill(&mut log.group(1), 2, 4..6, 100).await;
    }
}

#[tokio::test]
async fn a_closed_log_can_be_read_and_not_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = Log::open(dir.path(), small(), Box::new(SlowSync::new(FileIo, std::time::Duration::ZERO))).expect("opens");
    let mut group = log.group(1);
    let (callback, told) = flushed();
    group.append([entry(1, 1, "queued")], callback).await.expect("appends");
    drop(log);
    told.await.expect("what was queued is written before the end");
    assert_eq!(indexes(&read(&group).await), vec![1]);
    let error = append(&mut group, vec![entry(1, 2, "late")]).await.expect_err("closed");
    assert!(error.to_string().contains("closed"), "{error}");
}
