//! The store against a `BTreeMap`, which is slow and obviously right.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use proptest::prelude::*;
use raft::{Batch, Snapshot, Store, StoreConfig};

fn config() -> StoreConfig {
    StoreConfig { memory_bytes: 16 << 20, write_buffer_bytes: 4 << 20, background_threads: 1 }
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Change {
    Put(u8, u8),
    Delete(u8),
    DeleteRange(u8, u8),
    Add(u8, i64),
}

/// Counters and values live in different halves of the key space: a counter that is not eight bytes is an error by design.
fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (1..100u8, any::<u8>()).prop_map(|(k, v)| Change::Put(k, v)),
        2 => (1..200u8).prop_map(Change::Delete),
        // Some end before they begin, which deletes nothing.
        1 => (3..200u8, -2..20i16).prop_map(|(a, w)| Change::DeleteRange(a, (i16::from(a) + w).min(200) as u8)),
        3 => (100..200u8, prop_oneof![any::<i64>(), -5..5i64]).prop_map(|(k, d)| Change::Add(k, d)),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Change>),
    Flush,
    Compact,
    Reopen,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec(change(), 0..12).prop_map(Step::Write),
        1 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
        2 => Just(Step::Look),
    ]
}

fn write(rows: &mut Rows, batch: &mut Batch, change: &Change) {
    match *change {
        Change::Put(k, v) => {
            batch.put(&[k], &[v]);
            rows.insert(vec![k], vec![v]);
        }
        Change::Delete(k) => {
            batch.delete(&[k]);
            rows.remove([k].as_slice());
        }
        Change::DeleteRange(from, to) => {
            batch.delete_range(&[from], &[to]);
            rows.retain(|key, _| !(key.as_slice() >= [from].as_slice() && key.as_slice() < [to].as_slice()));
        }
        Change::Add(k, delta) => {
            batch.add(&[k], delta);
            let row = rows.entry(vec![k]).or_insert_with(|| vec![0; 8]);
            let sum = i64::from_le_bytes(row.as_slice().try_into().unwrap()).wrapping_add(delta);
            *row = sum.to_le_bytes().to_vec();
        }
    }
}

fn all(scan: impl Fn(&[u8], &[u8], raft::store::Visit<'_>)) -> Rows {
    let mut rows = Rows::new();
    scan(&[], &[], &mut |key, value| {
        rows.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    });
    rows
}

fn store_rows(store: &Store) -> Rows {
    all(|from, to, visit| store.scan(from, to, visit).unwrap())
}

fn snapshot_rows(snapshot: &Snapshot) -> Rows {
    all(|from, to, visit| snapshot.scan(from, to, visit).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn it_is_an_ordered_map(steps in proptest::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open_alone(dir.path(), &config(), None).unwrap();
        let mut rows = Rows::new();
        let mut looked: Vec<(Snapshot, Rows)> = Vec::new();
        let mut in_deleted_range = [false; 201];
        for step in steps {
            match step {
                Step::Write(changes) => {
                    let mut batch = Batch::default();
                    for change in &changes {
                        if let Change::DeleteRange(from, to) = *change {
                            for key in from..to {
                                in_deleted_range[usize::from(key)] = true;
                            }
                        }
                        write(&mut rows, &mut batch, change);
                    }
                    prop_assert!(batch.len() <= changes.len());
                    store.write(batch).unwrap();
                }
                Step::Flush => store.flush().unwrap(),
                Step::Compact => store.compact(),
                Step::Reopen => {
                    store.flush().unwrap();
                    looked.clear();
                    drop(store);
                    store = Store::open_alone(dir.path(), &config(), None).unwrap();
                }
                Step::Look => looked.push((store.snapshot(), rows.clone())),
            }
        }
        prop_assert_eq!(&store_rows(&store), &rows);
        for (snapshot, then) in &looked {
            prop_assert_eq!(&snapshot_rows(snapshot), then);
        }
        let never_in_one = |key: &u8| !in_deleted_range[usize::from(*key)];
        let keys: Vec<Vec<u8>> = (1..=200u8).filter(never_in_one).map(|k| vec![k]).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let many = store.multi_get(&keys).unwrap();
        for (key, found) in keys.iter().zip(many) {
            prop_assert_eq!(found.as_deref(), rows.get(*key).map(Vec::as_slice));
        }
        for key in 1..=200u8 {
            let one = store.get(&[key]).unwrap();
            prop_assert_eq!(one.as_deref(), rows.get([key].as_slice()).map(Vec::as_slice));
        }
        let (from, to) = ([50].as_slice(), [150].as_slice());
        let mut seen = Vec::new();
        store.scan(from, to, &mut |key, _| {
            seen.push(key.to_vec());
            if seen.len() == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }).unwrap();
        let expected: Vec<Vec<u8>> = rows.range(from.to_vec()..to.to_vec()).map(|(k, _)| k.clone()).take(5).collect();
        prop_assert_eq!(seen, expected);
    }
}

/// Turns red when writes go to RocksDB's own log, or when `flush` does not flush.
#[test]
fn what_was_flushed_survives_and_nothing_else_is_promised() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let store = Store::open_alone(dir.path(), &config(), None).unwrap();
    let put = |key: &[u8]| {
        let mut batch = Batch::default();
        batch.put(key, b"row");
        store.write(batch).unwrap();
    };
    put(b"flushed");
    store.flush().unwrap();
    put(b"later");
    // What a crash at this moment would leave.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_file() && name != "LOCK" {
            std::fs::copy(&path, copy.path().join(name)).unwrap();
        }
    }
    let crashed = Store::open_alone(copy.path(), &config(), None).unwrap();
    assert!(crashed.get(b"flushed").unwrap().is_some());
    assert!(crashed.get(b"later").unwrap().is_none());
}

#[test]
fn compaction_drops_what_the_filter_names() {
    let dir = tempfile::tempdir().unwrap();
    let mark = Arc::new(AtomicU8::new(0));
    let filter = {
        let mark = mark.clone();
        Arc::new(move |key: &[u8], _: &[u8]| key[0] < mark.load(Ordering::Relaxed))
    };
    let store = Store::open_alone(dir.path(), &config(), Some(filter)).unwrap();
    let mut batch = Batch::default();
    for key in 1..10u8 {
        batch.put(&[key], b"row");
    }
    store.write(batch).unwrap();
    store.flush().unwrap();
    store.compact();
    assert_eq!(store_rows(&store).len(), 9);
    mark.store(5, Ordering::Relaxed);
    // A file is only rewritten when there is something to merge with it.
    let mut batch = Batch::default();
    batch.put(&[1], b"row");
    batch.put(&[9], b"row");
    store.write(batch).unwrap();
    store.flush().unwrap();
    store.compact();
    let left: Vec<u8> = store_rows(&store).into_keys().map(|k| k[0]).collect();
    assert_eq!(left, [5, 6, 7, 8, 9]);
}

#[test]
fn a_counter_that_is_none_fails_its_reader() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_alone(dir.path(), &config(), None).unwrap();
    let mut batch = Batch::default();
    batch.put(b"value", b"not eight bytes long");
    batch.add(b"value", 1);
    store.write(batch).unwrap();
    assert!(store.get(b"value").is_err());
    let mut seen = 0;
    let scan = store.scan(&[], &[], &mut |_, _| {
        seen += 1;
        ControlFlow::Continue(())
    });
    assert!(scan.is_err() && seen == 0);
}

#[test]
#[should_panic(expected = "must not be empty or start with a zero byte")]
fn keys_of_the_crate_itself_are_out_of_reach() {
    Batch::default().put(&[0, 1], b"");
}

#[test]
fn a_snapshot_outlives_its_store_handle() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_alone(dir.path(), &config(), None).unwrap();
    let mut batch = Batch::default();
    batch.put(b"a", b"1");
    store.write(batch).unwrap();
    let snapshot = store.snapshot();
    let mut batch = Batch::default();
    batch.delete(b"a");
    store.write(batch).unwrap();
    drop(store);
    let read = std::thread::spawn(move || snapshot.get(b"a").unwrap());
    assert_eq!(read.join().unwrap().as_deref(), Some(b"1".as_slice()));
}

#[test]
fn settings_out_of_bounds_are_refused_by_name() {
    for (config, field) in [
        (StoreConfig { memory_bytes: 1, ..config() }, "store.memory_bytes"),
        (StoreConfig { write_buffer_bytes: 12 << 20, ..config() }, "store.write_buffer_bytes"),
        (StoreConfig { background_threads: 0, ..config() }, "store.background_threads"),
    ] {
        let refused = config.check().unwrap_err().to_string();
        assert!(refused.contains(field), "{refused}");
    }
    StoreConfig::default().check().unwrap();
}
