//! The log of a node: one sequence of records for all its groups, one thread that writes it, one sync for everything
//! that waits.
//!
//! - A [`Log`] is a directory of segments (`segment`). A record (`frame`) is a vote, an entry, a truncation, a purge or a
//!   commit mark of one group; the header of a segment repeats the marks (`marks`) of all groups, so that old segments
//!   can go.
//! - A [`GroupLog`] is what openraft sees of it (`store`): it changes the group's state in memory (`group`), puts the
//!   record into the queue (`queue`) and returns; the writer (`writer`) tells when it is durable, in order.
//! - A segment is dropped when no group has live entries in it. If a group that purges late pins an old one, its live
//!   entries are copied to the end of the log.
//! - At start everything is read back (`recover`). A torn last write is cut off; damage to anything that had been
//!   acknowledged refuses the start.
//! - A failed write or sync is final: everything queued fails, every later call fails, and [`Log::failed`] says so. The
//!   node has to exit, because the kernel may forget what it could not write.

mod error;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod golden;
mod group;
mod io;
mod marks;
mod membership;
pub mod metrics;
mod queue;
mod recover;
mod segment;
mod spare;
mod store;
pub(crate) mod verify;
mod writer;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use self::error::Error;
pub use self::io::{FileIo, LogFile, LogIo, SlowSync};
pub use self::store::GroupLog;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::membership::{decode as membership_of, encode as put_membership};

use self::group::State;
use self::queue::Queue;
use self::segment::Segment;
use self::spare::Spares;
use self::writer::Writer;
use crate::types::TypeConfig;

type LogId = openraft::alias::LogIdOf<TypeConfig>;
type Vote = openraft::alias::VoteOf<TypeConfig>;
type Entry = openraft::alias::EntryOf<TypeConfig>;

/// Settings of a [`Log`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Size of new segment files, in bytes. Default 64 MiB, 64 KiB to 1 GiB. A quarter of it bounds one entry.
    pub segment_bytes: u64,
    /// With more full segments than this, what is live in the oldest one is copied to the end if it is at most a
    /// quarter of the segment. Default 8, 1 to 4096.
    pub segments_max: usize,
    /// Entries kept in memory over all groups, in bytes. More only while they are not durable or, up to twice as much,
    /// not committed. Default 64 MiB, 0 to 64 GiB.
    pub cache_bytes: usize,
    /// Waiting requests, in bytes, above which appends wait. Default 32 MiB, 4 KiB to 4 GiB.
    pub queue_bytes: usize,
    /// Bound of one read for replication, in bytes; a single larger entry is returned alone. Default 2 MiB, 4 KiB to
    /// 64 MiB.
    pub read_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 64 << 20,
            segments_max: 8,
            cache_bytes: 64 << 20,
            queue_bytes: 32 << 20,
            read_bytes: 2 << 20,
        }
    }
}

impl LogConfig {
    /// Largest payload of an entry, in bytes.
    pub fn entry_bytes_max(&self) -> usize {
        usize::try_from(self.segment_bytes / 4).unwrap_or(usize::MAX)
    }

    fn check(&self) -> Result<(), Error> {
        let bounds = [
            ("segment_bytes", self.segment_bytes, 64 << 10, 1 << 30),
            ("segments_max", self.segments_max as u64, 1, 4096),
            ("cache_bytes", self.cache_bytes as u64, 0, 64 << 30),
            ("queue_bytes", self.queue_bytes as u64, 4 << 10, 4 << 30),
            ("read_bytes", self.read_bytes as u64, 4 << 10, 64 << 20),
        ];
        match bounds.into_iter().find(|(_, value, min, max)| value < min || value > max) {
            Some((field, value, min, max)) => Err(Error::Config { field, value, min, max }),
            None => Ok(()),
        }
    }
}

/// What a log holds at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Segment files, the one being written included.
    pub segments: usize,
    /// Their size on disk, in bytes.
    pub bytes: u64,
    /// Records of live entries per group, in bytes: what keeps segments from being dropped.
    pub pinned_bytes: BTreeMap<u32, u64>,
    /// Entries in memory, in bytes, after the last write.
    pub cached_bytes: usize,
    /// Waiting to be written, in bytes.
    pub queued_bytes: usize,
    /// How long the sync that is running has taken so far. A disk that hangs reports no error; whoever leads over it
    /// should not for long.
    pub syncing: Option<Duration>,
}

/// The log of a node. Dropping it writes what is queued, syncs, and waits for that; a [`GroupLog`] that is still around
/// can read and no longer write.
pub struct Log {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    /// Released after the writer has ended.
    _lock: Box<dyn Any + Send + Sync>,
}

impl Log {
    /// Opens the log in `dir`, which is created if there is none, and reads all of it. Blocks for as long as that takes.
    ///
    /// Fails when another process has it open, when acknowledged records are damaged or missing, when it was written by
    /// a newer version, and when the disk fails. Everything found is durable on return.
    pub fn open(dir: impl AsRef<Path>, config: LogConfig, io: Box<dyn LogIo>) -> Result<Log, Error> {
        config.check()?;
        let dir = dir.as_ref();
        let io: Arc<dyn LogIo> = Arc::from(io);
        io.list(dir).map_err(Error::io("list", dir))?;
        let lock = io.lock(dir).map_err(Error::io("lock", dir))?.ok_or_else(|| Error::InUse { dir: dir.to_owned() })?;

        let found = recover::recover(&*io, dir, config.segment_bytes)?;
        let mut spares = Spares::new(io.clone(), dir, config.segment_bytes, found.spare);
        let (mut segments, mut end) = (found.segments, found.end);
        if segments.is_empty() {
            let (first, begin) = Segment::create(&*io, dir, spares.take()?, 1, 0, std::iter::empty())?;
            segments.push(first);
            end = begin;
        }
        metrics::segments(segments.len());
        let marks = found.groups.iter().map(|(gid, (marks, _))| (*gid, marks.clone())).collect();
        let groups = found.groups.into_iter().map(|(gid, (marks, places))| {
            (gid, Arc::new(Group { state: Mutex::new(State::recovered(marks, places)) }))
        });
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            io,
            queue: Queue::new(config.queue_bytes),
            config,
            groups: Mutex::new(groups.collect()),
            segments: Mutex::new(segments.into_iter().map(|s| (s.seq, Arc::new(s))).collect()),
            cached_bytes: AtomicUsize::new(0),
            sync_began: Mutex::new(None),
            failed: watch::Sender::new(None),
        });
        let writer = Writer::new(shared.clone(), spares, end, marks);
        let guard = WriterGuard(shared.clone());
        let run = move || {
            // Also when the writer panics: nobody may wait for a thread that is gone.
            let _guard = guard;
            writer.run();
        };
        let thread = std::thread::Builder::new().name("log-writer".to_owned()).spawn(run);
        let writer = Some(thread.map_err(Error::io("start the writer of", dir))?);
        Ok(Log { shared, writer, _lock: lock })
    }

    /// The log of one group; empty if the group was never seen. `u32::MAX` is not a group.
    ///
    /// # Panics
    ///
    /// If `gid` is `u32::MAX`.
    pub fn group(&self, gid: u32) -> GroupLog {
        assert_ne!(gid, frame::NO_GROUP, "not a group");
        GroupLog::new(gid, self.shared.group(gid), self.shared.clone())
    }

    /// Groups that have anything in the log, ascending.
    pub fn group_ids(&self) -> Vec<u32> {
        let groups = self.shared.groups();
        groups.into_iter().filter(|(_, g)| g.lock().marks != Default::default()).map(|(gid, _)| gid).collect()
    }

    /// What the log holds.
    pub fn stats(&self) -> Stats {
        let (segments, bytes) = {
            let segments = self.shared.segments();
            (segments.len(), segments.values().map(|s| s.bytes).sum())
        };
        let pinned = |g: &Group| g.lock().places.pins().values().map(|pin| pin.bytes).sum();
        Stats {
            segments,
            bytes,
            pinned_bytes: self.shared.groups().into_iter().map(|(gid, g)| (gid, pinned(&g))).collect(),
            cached_bytes: self.shared.cached_bytes.load(Ordering::Relaxed),
            queued_bytes: self.shared.queue.bytes(),
            syncing: self.shared.sync_began().map(|began| began.elapsed()),
        }
    }

    /// Holds the reason once a write or sync failed. The node has to exit then: nothing it has not acknowledged will be.
    pub fn failed(&self) -> watch::Receiver<Option<Arc<Error>>> {
        self.shared.failed.subscribe()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.queue.close(Arc::new(Error::Closed));
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the log panicked");
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

/// What the writer and the groups' handles share.
struct Shared {
    dir: PathBuf,
    io: Arc<dyn LogIo>,
    config: LogConfig,
    queue: Queue,
    groups: Mutex<BTreeMap<u32, Arc<Group>>>,
    segments: Mutex<BTreeMap<u32, Arc<Segment>>>,
    cached_bytes: AtomicUsize,
    sync_began: Mutex<Option<Instant>>,
    failed: watch::Sender<Option<Arc<Error>>>,
}

impl Shared {
    fn group(&self, gid: u32) -> Arc<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.entry(gid).or_insert_with(|| Arc::new(Group { state: Mutex::default() })).clone()
    }

    fn groups(&self) -> BTreeMap<u32, Arc<Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sync_began(&self) -> MutexGuard<'_, Option<Instant>> {
        self.sync_began.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Segment>>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One group's state. Requests enter the queue under its lock, so their order is that of the changes in memory.
struct Group {
    state: Mutex<State>,
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a change of a group's log panicked halfway")
    }
}

struct WriterGuard(Arc<Shared>);

impl Drop for WriterGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Arc::new(Error::Closed);
            self.0.queue.close(error.clone());
            self.0.failed.send_replace(Some(error));
            // Dropping a request tells whoever waits for it.
            self.0.queue.take(usize::MAX, &mut Vec::new());
        }
    }
}
