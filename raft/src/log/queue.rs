//! What the groups want written, in order, bounded by bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use openraft::storage::IOFlushed;
use tokio::sync::{Notify, oneshot};

use super::error::Error;
use super::group::entry_bytes;
use super::{Entry, LogId, Vote};
use crate::types::TypeConfig;

/// Told whether something is durable.
pub type Done = oneshot::Sender<io::Result<()>>;

/// One wish of one group.
pub enum Op {
    /// Append entries; sync; tell.
    Append(Vec<Entry>, IOFlushed<TypeConfig>),
    /// Save a vote; sync; tell.
    Vote(Vote, Done),
    /// Drop entries after this one.
    Truncate(Option<LogId>),
    /// Drop entries up to this one.
    Purge(LogId),
    /// Save a commit mark, whenever something else is written.
    Committed(Option<LogId>),
    /// Drop the whole group; sync; tell.
    Forget(Done),
    /// Sync what was asked for before; tell.
    Barrier(Done),
}

/// An [`Op`] of a group.
pub struct Request {
    /// The group.
    pub gid: u32,
    /// The wish.
    pub op: Op,
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Op::Append(entries, _) => entries.iter().map(entry_bytes).sum(),
            _ => 96,
        }
    }

    /// A commit mark alone is not worth a write: after a crash the leader says how far the log is committed.
    fn is_urgent(&self) -> bool {
        !matches!(self, Op::Committed(_))
    }

    /// Tells whoever waits that it failed.
    pub fn fail(self, error: &Arc<Error>) {
        let error = || io::Error::other(error.clone());
        match self {
            Op::Append(_, done) => done.io_completed(Err(error())),
            Op::Vote(_, done) | Op::Forget(done) | Op::Barrier(done) => drop(done.send(Err(error()))),
            Op::Truncate(_) | Op::Purge(_) | Op::Committed(_) => {}
        }
    }
}

/// Between the groups and the writer.
pub struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
    space: Notify,
    bytes_max: usize,
}

#[derive(Default)]
struct Inner {
    requests: VecDeque<Request>,
    bytes: usize,
    pushed: u64,
    urgent: bool,
    closed: Option<Arc<Error>>,
}

impl Queue {
    /// Takes requests while it holds under `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Queue {
        Queue { inner: Mutex::default(), ready: Condvar::new(), space: Notify::new(), bytes_max }
    }

    /// Waits until there is room. Each caller may then add one request whatever its size.
    pub async fn space(&self) {
        loop {
            let freed = self.space.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.has_space() {
                return;
            }
            freed.await;
        }
    }

    fn has_space(&self) -> bool {
        let inner = self.lock();
        inner.bytes < self.bytes_max || inner.closed.is_some()
    }

    /// Adds a request, or says why nothing is written any more.
    pub fn push(&self, gid: u32, op: Op) -> Result<(), Arc<Error>> {
        let mut inner = self.lock();
        if let Some(error) = &inner.closed {
            return Err(error.clone());
        }
        inner.bytes += op.bytes();
        inner.pushed += 1;
        let wake = op.is_urgent() && !inner.urgent;
        inner.urgent |= wake;
        inner.requests.push_back(Request { gid, op });
        drop(inner);
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// How many requests were ever added.
    pub fn pushed(&self) -> u64 {
        self.lock().pushed
    }

    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Waits for something worth writing and takes up to `bytes_max` bytes of it, at least one request. Nothing is
    /// returned when the queue is closed and empty.
    pub fn take(&self, bytes_max: usize, batch: &mut Vec<Request>) {
        let mut inner = self.lock();
        while !inner.urgent && inner.closed.is_none() {
            inner = self.ready.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        while bytes < bytes_max
            && let Some(request) = inner.requests.pop_front()
        {
            bytes += request.op.bytes();
            batch.push(request);
        }
        inner.bytes -= bytes;
        inner.urgent = !inner.requests.is_empty();
        drop(inner);
        self.space.notify_waiters();
    }

    /// Refuses further requests with `error`; what is there can still be taken. The first call counts.
    pub fn close(&self, error: Arc<Error>) {
        self.lock().closed.get_or_insert(error);
        self.ready.notify_one();
        self.space.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is complete or harmless, so a panic elsewhere does not make it unusable.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
