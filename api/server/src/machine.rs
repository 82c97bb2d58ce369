//! The composed state machine as raft sees it: the scheduler's core over RocksDB rows.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use domain::Domains;
use raft::{Batch, Committed, CompactionFilter, Halt};
use scheduler::machine::{Applied, Machine};
use scheduler::overlay::Overlay;
use scheduler::reply::Reply;
use scheduler::retention::{self, Marks};
use scheduler::store::{Read, StoreError, Write};
use scheduler::time::Timestamp;

use crate::feed::Feed;

/// What the proposer of an entry is answered.
#[derive(Debug)]
pub struct Answers {
    /// Time of the entry.
    pub time: Timestamp,
    /// One per command, in order.
    pub replies: Vec<Reply>,
}

/// One partition's state machine.
pub struct Adapter {
    machine: Machine<Domains>,
    feed: Arc<Feed>,
    marks: Arc<RwLock<Marks>>,
    /// Applied and not yet readable.
    unpublished: Vec<Applied>,
}

impl Adapter {
    /// A state machine that tells `feed` what it applied.
    pub fn new(feed: Arc<Feed>) -> Adapter {
        Adapter {
            machine: Machine::new(Domains),
            feed,
            marks: Arc::new(RwLock::new(Marks::default())),
            unpublished: Vec::new(),
        }
    }
}

impl raft::StateMachine for Adapter {
    type Reply = Answers;

    fn apply(&mut self, store: &raft::Store, entries: &[Committed], batch: &mut Batch) -> Result<Vec<Answers>, Halt> {
        self.feed.applying();
        let started = std::time::Instant::now();
        let rows = Rows(store);
        let mut overlay = Overlay::new(&rows);
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            // A panic would take the group down without naming the entry.
            let applied =
                catch_unwind(AssertUnwindSafe(|| self.machine.apply(entry.index, entry.payload.clone(), &mut overlay)));
            let mut applied = match applied {
                Ok(Ok(applied)) => applied,
                Ok(Err(halt)) => return Err(Halt { index: halt.index, reason: halt.reason }),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                    return Err(Halt { index: entry.index, reason: format!("apply panicked: {text}") });
                }
            };
            let replies = std::mem::take(&mut applied.replies);
            answers.push(Answers { time: applied.watermark, replies });
            self.unpublished.push(applied);
        }
        for write in overlay.into_writes() {
            match write {
                Write::Put { key, value } => batch.put(&key, &value),
                Write::Delete { key } => batch.delete(&key),
                Write::DeleteRange { from, to } => batch.delete_range(&from, &to),
                Write::Add { key, delta } => batch.add(&key, delta),
            }
        }
        crate::metrics::applied(started.elapsed());
        Ok(answers)
    }

    fn applied(&mut self, store: &raft::Store) {
        self.feed.publish(store, &mut self.unpublished, self.machine.topics());
    }

    fn restored(&mut self, store: &raft::Store) -> Result<(), Halt> {
        self.unpublished.clear();
        let halt = |error: StoreError| Halt { index: 0, reason: error.to_string() };
        self.machine.restored(&Rows(store)).map_err(halt)?;
        self.feed.restored(store, &self.machine).map_err(halt)
    }

    fn flushed(&mut self, durable: &raft::Snapshot) {
        match retention::marks(&SnapshotRows(durable)) {
            Ok(marks) => *self.marks.write().expect("the marks' lock is never held over a panic") = marks,
            // The older marks drop less, which is always allowed.
            Err(error) => tracing::warn!(%error, "cannot read what compaction may drop"),
        }
    }

    fn compaction_filter(&self) -> Option<CompactionFilter> {
        let marks = self.marks.clone();
        Some(Arc::new(move |key: &[u8], value: &[u8]| {
            marks.read().expect("the marks' lock is never held over a panic").drops(key, value)
        }))
    }
}

/// The rows of a store, as the core reads them.
pub struct Rows<'a>(pub &'a raft::Store);

impl Read for Rows<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key).map_err(failed)
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Option<Vec<Option<Bytes>>>, StoreError> {
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        self.0.multi_get(&keys).map(Some).map_err(failed)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.0.scan(from, to, visit).map_err(failed)
    }
}

/// The rows as they were at one moment, as the core reads them.
pub struct SnapshotRows<'a>(pub &'a raft::Snapshot);

impl Read for SnapshotRows<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key).map_err(failed)
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Option<Vec<Option<Bytes>>>, StoreError> {
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        self.0.multi_get(&keys).map(Some).map_err(failed)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.0.scan(from, to, visit).map_err(failed)
    }
}

fn failed(error: raft::StoreError) -> StoreError {
    StoreError(error.0)
}
