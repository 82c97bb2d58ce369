//! The state machine on RocksDB: what a compaction dropped, or a crash took with the memtable, changes no answer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use raft::{Batch, Committed, StateMachine, Store, StoreConfig};
use scheduler::command::{Cancel, Command, CompleteRun, Entry, Kind, RaiseFloor, Schedule, Token, When};
use scheduler::lane::{Class, Generation, LaneId, TopicId};
use scheduler::read;
use scheduler::reply::{Refusal, Reply};
use server::feed::Feed;
use server::machine::{Adapter, Rows};
use server::recount::Recounter;
use tempfile::TempDir;

const DAY_MS: u64 = 86_400_000;

/// A replica without a log: rows, and the machine on them.
struct Replica {
    dir: TempDir,
    store: Store,
    adapter: Adapter,
    applied: u64,
}

impl Replica {
    /// On the rows that are in `dir`.
    fn open(dir: TempDir, applied: u64) -> Replica {
        let mut adapter = Adapter::new(Feed::new(0, Recounter::start().unwrap()));
        let config = StoreConfig { memory_bytes: 16 << 20, write_buffer_bytes: 4 << 20, background_threads: 1 };
        let store = Store::open_alone(&dir.path().join("rows"), &config, adapter.compaction_filter()).unwrap();
        adapter.restored(&store).unwrap();
        // What was opened is in files: it says what may be dropped from now on.
        adapter.flushed(&store.snapshot());
        Replica { dir, store, adapter, applied }
    }

    fn fresh() -> Replica {
        Replica::open(tempfile::tempdir().unwrap(), 0)
    }

    fn apply(&mut self, entry: &(u64, Vec<Kind>)) -> Vec<Reply> {
        self.applied += 1;
        let commands = entry.1.iter().map(|kind| Command { kind: Some(kind.clone()) }).collect();
        let payload = Entry { time: entry.0, commands, level: 1 }.encode_to_vec().into();
        let mut batch = Batch::default();
        let committed = Committed { index: self.applied, term: 1, payload };
        let answers = self.adapter.apply(&self.store, &[committed], &mut batch).unwrap();
        self.store.write(batch).unwrap();
        self.adapter.applied(&self.store);
        answers.into_iter().flat_map(|answer| answer.replies).collect()
    }

    fn flush_and_compact(&mut self) {
        let durable = self.store.snapshot();
        self.store.flush().unwrap();
        self.adapter.flushed(&durable);
        self.store.compact();
    }

    /// What a crash now would leave: the files, without what is only in memory.
    fn crashed(&self) -> Replica {
        // RocksDB removes files that a compaction replaced in its own time; a copy is of one moment if they are the same afterwards.
        let rows = self.dir.path().join("rows");
        let left = loop {
            let left = tempfile::tempdir().unwrap();
            let before = files(&rows);
            if copy(&before, &rows, &left.path().join("rows")).is_ok() && files(&rows) == before {
                break left;
            }
        };
        let mut replica = Replica::open(left, 0);
        replica.applied = read::status(&Rows(&replica.store)).unwrap().applied;
        replica
    }
}

/// Names and lengths, but for the lock.
fn files(dir: &Path) -> BTreeMap<OsString, u64> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    // What is gone meanwhile has no length.
    let files = entries.filter_map(|entry| Some((entry.file_name(), entry.metadata().ok()?.len())));
    files.filter(|(name, _)| name != "LOCK").collect()
}

fn copy(files: &BTreeMap<OsString, u64>, from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for name in files.keys() {
        std::fs::copy(from.join(name), to.join(name))?;
    }
    Ok(())
}

fn schedule(fingerprint: u64, at: u64) -> Kind {
    Kind::Schedule(Schedule {
        namespace: "shop".into(),
        id: "a".into(),
        topic: "mail".into(),
        when: Some(When::At(at)),
        priority: 1,
        fingerprint,
        payload: Bytes::from_static(b"hello"),
        ..Schedule::default()
    })
}

/// Uses one id again and again, each time when its retention of seven days has just not and has just passed.
fn log() -> Vec<(u64, Vec<Kind>)> {
    let lane = LaneId::new(TopicId(0), Class::Normal).number();
    let generation = Generation::new(1, 0);
    let run = CompleteRun {
        lane,
        executors: vec!["e1".into()],
        executor_counts: vec![1],
        token: Some(Token { epoch: 1, term: 1, counter: 1 }),
        due_deltas: vec![1_000],
        generation_deltas: vec![generation.number() as i64],
        ..CompleteRun::default()
    };
    let floor = RaiseFloor { lane, due: 2_500, generation: u64::MAX };
    let cancel = Cancel { namespace: "shop".into(), id: "a".into(), ..Cancel::default() };
    let week = 7 * DAY_MS;
    vec![
        (1_000, vec![schedule(1, 1_000)]),
        (2_000, vec![Kind::CompleteRun(run)]),
        (3_000, vec![Kind::RaiseFloor(floor)]),
        (2_000 + week - 1, vec![schedule(2, 30 * DAY_MS)]),
        (2_000 + week, vec![schedule(2, 30 * DAY_MS), Kind::Cancel(cancel)]),
        (2_000 + week + 60_000, vec![]),
        (2_000 + 2 * week, vec![schedule(3, 60 * DAY_MS)]),
    ]
}

/// Red when `retention::marks` takes the floor instead of `forgotten`.
#[test]
fn id_reused_after_retention_same_answer_also_after_a_crash_that_lost_the_memtable() {
    let log = log();
    let mut plain = Replica::fresh();
    let expected: Vec<_> = log.iter().map(|entry| plain.apply(entry)).collect();
    assert!(matches!(&expected[3][0], Reply::Refused(Refusal::AlreadyExists(_))), "{:?}", expected[3]);
    assert!(matches!(expected[4][0], Reply::Scheduled { replayed: false, .. }), "{:?}", expected[4]);
    assert!(matches!(expected[6][0], Reply::Scheduled { replayed: false, .. }), "{:?}", expected[6]);
    let digest = |replica: &Replica| read::digest(&Rows(&replica.store)).unwrap();

    for flush in 0..=log.len() {
        let mut replica = Replica::fresh();
        for (number, entry) in log.iter().enumerate() {
            if number == flush {
                replica.flush_and_compact();
            }
            assert_eq!(replica.apply(entry), expected[number], "flush before {flush}, entry {number}");
        }
        if flush == log.len() {
            replica.flush_and_compact();
        }
        assert_eq!(digest(&replica), digest(&plain), "flush before {flush}");

        let mut crashed = replica.crashed();
        // RocksDB has not flushed by itself: something was lost, unless the flush was the last.
        assert_eq!(crashed.applied, flush as u64);
        crashed.flush_and_compact();
        for (number, entry) in log.iter().enumerate().skip(flush) {
            assert_eq!(crashed.apply(entry), expected[number], "flush before {flush}, entry {number} after the crash");
        }
        crashed.flush_and_compact();
        assert_eq!(digest(&crashed), digest(&plain), "flush before {flush}, after the crash");
    }
}
