//! What the tests of the log share: entries, waiting, and a disk that fails on demand.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};
use openraft::{EntryPayload, RaftLogReader};
use raft::log::{FileIo, GroupLog, Log, LogConfig, LogFile, LogIo};
use raft::types::{Payload, TypeConfig};

pub type Entry = openraft::alias::EntryOf<TypeConfig>;
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;

/// Small segments, so that tests cross their borders.
pub fn small() -> LogConfig {
    LogConfig { segment_bytes: 64 << 10, ..LogConfig::default() }
}

pub fn open(dir: &Path) -> Log {
    Log::open(dir, small(), Box::new(FileIo)).expect("opens")
}

pub fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: CommittedLeaderId::new(term), index }
}

pub fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId { term, voted_for: 1 }, committed: true }
}

pub fn entry(term: u64, index: u64, payload: impl Into<Bytes>) -> Entry {
    Entry::new(log_id(term, index), EntryPayload::Normal(Payload(payload.into())))
}

/// A payload that depends on where it is, so that a mixed-up record shows.
pub fn payload(gid: u32, term: u64, index: u64, bytes: usize) -> Vec<u8> {
    let tag = format!("{gid}/{term}/{index};");
    tag.bytes().cycle().take(bytes).collect()
}

/// Appends and waits until durable.
pub async fn append(log: &mut GroupLog, entries: Vec<Entry>) -> io::Result<()> {
    let (callback, told) = flushed();
    log.append(entries, callback).await?;
    told.await
}

/// A callback for an append, and what it is told.
pub fn flushed() -> (IOFlushed<TypeConfig>, BoxFuture<'static, io::Result<()>>) {
    let (tx, rx) = TypeConfig::oneshot();
    (IOFlushed::signal(tx), rx.map(|told| told.unwrap_or_else(|_| Err(io::Error::other("dropped")))).boxed())
}

/// Appends `range` with payloads of `bytes`.
pub async fn fill(log: &mut GroupLog, term: u64, range: std::ops::Range<u64>, bytes: usize) {
    let gid = log.gid();
    let entries = range.map(|i| entry(term, i, payload(gid, term, i, bytes))).collect();
    append(log, entries).await.expect("appends");
}

pub async fn read(log: &GroupLog) -> Vec<Entry> {
    log.clone().try_get_log_entries(..).await.expect("reads")
}

/// Index and payload of everything in the log.
pub async fn contents(log: &GroupLog) -> Vec<(u64, Bytes)> {
    let body = |entry: Entry| match entry.payload {
        EntryPayload::Normal(payload) => (entry.log_id.index, payload.0),
        _ => (entry.log_id.index, Bytes::new()),
    };
    read(log).await.into_iter().map(body).collect()
}

pub fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|e| e.index()).collect()
}

/// Waits for the next sync, after which everything that was asked for before is durable and tidied up.
pub async fn settle(log: &GroupLog) {
    // Two: the first may share its write with the request that is waited for, and tidying comes after the answer.
    log.flush().await.expect("flushes");
    log.flush().await.expect("flushes");
}

pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).expect("lists").map(|e| e.expect("entry").path());
    let mut segments: Vec<_> =
        all.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("segment-"))).collect();
    segments.sort();
    segments
}

/// Real files that begin to fail when told to.
#[derive(Clone, Debug)]
pub struct Faulty {
    pub faults: Arc<Faults>,
}

#[derive(Debug)]
pub struct Faults {
    /// Syncs that still succeed; negative: all.
    pub syncs_left: AtomicI64,
    /// Bytes that can still be written; negative: all. The write that goes over is cut off there.
    pub bytes_left: AtomicI64,
    /// Syncs tried, failed ones included.
    pub syncs: AtomicU64,
    /// While true, syncs wait.
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Faulty {
    pub fn new() -> Faulty {
        let faults = Faults {
            syncs_left: (-1).into(),
            bytes_left: (-1).into(),
            syncs: 0.into(),
            closed: Mutex::new(false),
            changed: Condvar::new(),
        };
        Faulty { faults: Arc::new(faults) }
    }

    /// Syncs from now on wait for [`open_gate`](Self::open_gate).
    pub fn close_gate(&self) {
        *self.faults.closed.lock().expect("a gate") = true;
    }

    pub fn open_gate(&self) {
        *self.faults.closed.lock().expect("a gate") = false;
        self.faults.changed.notify_all();
    }

    /// Returns when `count` syncs were begun.
    pub fn wait_for_sync(&self, count: u64) {
        let mut closed = self.faults.closed.lock().expect("a gate");
        while self.faults.syncs.load(Ordering::SeqCst) < count {
            closed = self.faults.changed.wait(closed).expect("a gate");
        }
    }

    fn wrap(&self, file: Box<dyn LogFile>) -> Box<dyn LogFile> {
        Box::new(FaultyFile { inner: file, faults: self.faults.clone() })
    }
}

impl LogIo for Faulty {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn LogFile>> {
        Ok(self.wrap(FileIo.create(path, bytes)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(self.wrap(FileIo.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileIo.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileIo.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        FileIo.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        FileIo.list(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        FileIo.lock(dir)
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn LogFile>,
    faults: Arc<Faults>,
}

impl LogFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let left = self.faults.bytes_left.load(Ordering::SeqCst);
        if left < 0 {
            return self.inner.write_all_at(buf, offset);
        }
        let part = buf.len().min(left as usize);
        self.inner.write_all_at(&buf[..part], offset)?;
        self.faults.bytes_left.fetch_sub(part as i64, Ordering::SeqCst);
        if part < buf.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut closed = self.faults.closed.lock().expect("a gate");
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        self.faults.changed.notify_all();
        while *closed {
            closed = self.faults.changed.wait(closed).expect("a gate");
        }
        drop(closed);
        match self.faults.syncs_left.load(Ordering::SeqCst) {
            0 => Err(io::Error::other("the disk is gone")),
            left => {
                if left > 0 {
                    self.faults.syncs_left.fetch_sub(1, Ordering::SeqCst);
                }
                self.inner.sync()
            }
        }
    }
}
