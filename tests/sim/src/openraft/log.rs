//! A replica's log as openraft sees it: its storage and its reader, over a simulated disk.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, stream};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use scheduler::planted::{self, Bug};
use tokio::sync::oneshot;

use super::disk::{Disk, Frame, Waiting};
use super::port::{Ask, Met, Port};
use super::types::{Entry, LogId, TypeConfig, Vote};

/// A disk that its node's world and its replica's tasks both look at.
pub type Shared = Arc<Mutex<Disk>>;

/// Looks at a disk.
pub fn lock(disk: &Shared) -> MutexGuard<'_, Disk> {
    // A change that panics is a finding, and ends the run.
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    disk: Shared,
    port: Port,
}

impl Log {
    /// The log on a disk.
    #[must_use]
    pub fn new(disk: Shared, port: Port) -> Self {
        Log { disk, port }
    }

    fn push(&self, frame: Frame) {
        lock(&self.disk).push(frame);
        self.port.ask(Ask::Write);
    }
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        Ok(lock(&self.disk).live().range(start, end))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(lock(&self.disk).live().vote)
    }

    /// Nothing when `start` was purged meanwhile: later entries would reach the follower as if they followed what it has.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let disk = lock(&self.disk);
        if disk.live().first_index() > start {
            return Ok(Vec::new());
        }
        Ok(disk.live().range(start, end))
    }

    /// Fails when the first entries were purged: the state machine must not skip what it has not applied.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let disk = lock(&self.disk);
        let first = disk.live().first_index();
        let mut entries: Vec<io::Result<Entry>> = disk.live().range(start, end).into_iter().map(Ok).collect();
        if first > start && start < end && disk.live().purged.is_some() {
            let what = format!("entries from {start} were asked for, but they are purged before {first}");
            entries.insert(0, Err(io::Error::new(io::ErrorKind::NotFound, what)));
        }
        stream::iter(entries)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let disk = lock(&self.disk);
        Ok(LogState { last_purged_log_id: disk.live().purged, last_log_id: disk.live().last() })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        {
            let mut disk = lock(&self.disk);
            let before = disk.live().vote;
            if before.is_some_and(|before| before > *vote) {
                self.port.ask(Ask::Broke(format!("a vote stepped back from {before:?} to {vote:?}")));
            }
            disk.push(Frame::Vote(*vote));
            disk.wait(Waiting::Vote(tell));
        }
        self.port.ask(Ask::Write);
        if planted::is(Bug::VoteNotSynced) {
            return Ok(());
        }
        told.await.map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.push(Frame::Committed(committed));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(lock(&self.disk).live().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let early = planted::is(Bug::FlushReportedEarly);
        {
            let mut disk = lock(&self.disk);
            for entry in entries {
                disk.push(Frame::Entry(entry));
            }
            if !early {
                disk.wait(Waiting::Entries(callback));
                self.port.ask(Ask::Write);
                return Ok(());
            }
        }
        self.port.ask(Ask::Write);
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let last = lock(&self.disk).live().last().map_or(0, |id| id.index);
        let gone = last.saturating_sub(last_log_id.map_or(0, |id| id.index));
        self.port.ask(Ask::Met(Met::Truncated(gone)));
        self.push(Frame::Truncate(last_log_id));
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.push(Frame::Purge(upto));
        Ok(())
    }
}

/// From the first index to one past the last.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}
