//! One group's log as openraft sees it.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::error::Error;
use super::group::{State, entry_bytes};
use super::queue::{Done, Op};
use super::segment::{Location, Segment};
use super::{Entry, Group, LogId, Shared, Vote, frame};
use crate::types::TypeConfig;

/// The log of one group: openraft's storage and its reader at once. Clones are the same log.
///
/// Every change is readable when the call returns. [`append`](RaftLogStorage::append) reports through its callback when
/// the entries are durable, in the order of the calls; [`save_vote`](RaftLogStorage::save_vote) returns when the vote is
/// durable; truncations, purges and commit marks are durable at the latest with the next entry or vote. A purge may
/// reach beyond the last entry.
///
/// Errors are final: the log stopped, or the caller broke a rule.
#[derive(Clone)]
pub struct GroupLog {
    gid: u32,
    group: Arc<Group>,
    shared: Arc<Shared>,
}

impl GroupLog {
    pub(super) fn new(gid: u32, group: Arc<Group>, shared: Arc<Shared>) -> GroupLog {
        GroupLog { gid, group, shared }
    }

    /// Which group it is.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Returns when everything this group asked for before is durable.
    ///
    /// A group that is to be opened again waits for this after its old instance ended.
    pub async fn flush(&self) -> io::Result<()> {
        self.wait_for(Op::Barrier).await
    }

    /// Drops everything the log has of this group, its vote included; durable on return. For a replica that has left
    /// this node for good: one that still counts in its group would vote twice and forget what it acknowledged.
    pub async fn forget(&self) -> io::Result<()> {
        let (done, told) = oneshot::channel();
        {
            let mut state = self.group.lock();
            self.push(Op::Forget(done))?;
            *state = State::default();
        }
        heard(told.await)
    }

    async fn wait_for(&self, op: impl FnOnce(Done) -> Op) -> io::Result<()> {
        let (done, told) = oneshot::channel();
        self.push(op(done))?;
        heard(told.await)
    }

    /// Call it with the group locked if the request changes the group.
    fn push(&self, op: Op) -> io::Result<()> {
        self.shared.queue.push(self.gid, op).map_err(io::Error::other)
    }

    /// What to read: entries `start..end` as far as the log has them, the first ones from disk, the others from memory.
    /// With `bytes_max`, stops before going over it, yet not before the first entry.
    fn plan(&self, start: u64, end: u64, bytes_max: usize) -> Plan {
        let state = self.group.lock();
        let (start, end) = (start.max(state.marks.first), end.min(state.marks.next()));
        let in_memory = state.cache_first().max(start);
        let mut plan = Plan { gid: self.gid, start, places: Vec::new(), segments: BTreeMap::new(), cached: Vec::new() };
        let mut bytes = 0;
        let mut fits = |more: usize| {
            bytes += more;
            bytes == more || bytes <= bytes_max
        };
        for index in start..end.min(in_memory) {
            let place = state.places.get(index).expect("an index of the log");
            if !fits(place.bytes as usize) {
                return plan;
            }
            plan.places.push(place);
            // Still locked: as long as an entry is live its segment is there.
            plan.segments.entry(place.seq).or_insert_with(|| self.shared.segments()[&place.seq].clone());
        }
        for index in in_memory..end {
            let entry = state.cached(index).expect("in memory from here on");
            if !fits(entry_bytes(entry)) {
                break;
            }
            plan.cached.push(entry.clone());
        }
        plan
    }
}

impl fmt::Debug for GroupLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupLog").field("gid", &self.gid).finish_non_exhaustive()
    }
}

impl RaftLogReader<TypeConfig> for GroupLog {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        self.plan(start, end, usize::MAX).read().await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.group.lock().marks.vote)
    }

    /// Stops at [`LogConfig::read_bytes`](super::LogConfig::read_bytes). Nothing is returned when `start` was purged
    /// meanwhile: later entries would reach the follower as if they followed what it has.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let plan = self.plan(start, end, self.shared.config.read_bytes);
        if plan.start > start {
            return Ok(Vec::new());
        }
        plan.read().await
    }

    /// Entries as they were at the call; those on disk are read as the stream is. Fails when `range` begins with purged
    /// entries: the state machine must not skip what it has not applied.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let plan = self.plan(start, end, usize::MAX);
        let gone = plan.start > start && start < end && self.group.lock().marks.purged.is_some();
        let purged = gone.then(|| {
            let what = format!("entries from {start} were asked for, but they are purged before {}", plan.start);
            Err(io::Error::new(io::ErrorKind::NotFound, what))
        });
        let read_bytes = self.shared.config.read_bytes;
        let (disk, cached) = plan.split(read_bytes);
        let from_disk = stream::iter(disk).then(Plan::read).flat_map(|read| match read {
            Ok(entries) => stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        });
        stream::iter(purged).chain(from_disk).chain(stream::iter(cached.into_iter().map(Ok)))
    }
}

impl RaftLogStorage<TypeConfig> for GroupLog {
    type LogReader = GroupLog;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.group.lock();
        Ok(LogState { last_purged_log_id: state.marks.purged, last_log_id: state.marks.last })
    }

    async fn get_log_reader(&mut self) -> GroupLog {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (done, told) = oneshot::channel();
        {
            let mut state = self.group.lock();
            self.push(Op::Vote(*vote, done))?;
            state.marks.vote = Some(*vote);
        }
        heard(told.await)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut state = self.group.lock();
        self.push(Op::Committed(committed))?;
        state.marks.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.group.lock().marks.committed)
    }

    /// Waits while [`LogConfig::queue_bytes`](super::LogConfig::queue_bytes) are queued. An entry that leaves a hole or
    /// is larger than [`LogConfig::entry_bytes_max`](super::LogConfig::entry_bytes_max) fails the call and nothing is
    /// appended.
    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let limit = self.shared.config.entry_bytes_max();
        if let Some(entry) = entries.iter().find(|e| entry_bytes(e) > limit) {
            let what = format!("entry {} is larger than {limit} bytes", entry.log_id.index);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        self.shared.queue.space().await;
        let mut state = self.group.lock();
        let mut marks = state.marks.clone();
        for entry in &entries {
            marks.append(entry.log_id).map_err(|what| io::Error::new(io::ErrorKind::InvalidInput, what))?;
        }
        let copies = entries.clone();
        self.push(Op::Append(entries, callback))?;
        state.append(marks, copies.into_iter());
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let mut state = self.group.lock();
        self.push(Op::Truncate(last_log_id))?;
        state.marks.truncate(last_log_id);
        state.trim();
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut state = self.group.lock();
        self.push(Op::Purge(upto))?;
        state.marks.purge(upto);
        state.trim();
        Ok(())
    }
}

/// Entries on their way from the log to a reader, taken at one moment.
struct Plan {
    gid: u32,
    start: u64,
    places: Vec<Location>,
    segments: BTreeMap<u32, Arc<Segment>>,
    cached: Vec<Entry>,
}

impl Plan {
    /// Reads what is on disk, off the caller's thread, and adds what was in memory.
    async fn read(self) -> io::Result<Vec<Entry>> {
        let Plan { gid, start, places, segments, cached } = self;
        if places.is_empty() {
            return Ok(cached);
        }
        let read = move || {
            let entries = (start..).zip(places).map(|(index, place)| {
                let segment = &segments[&place.seq];
                let damaged = |what: String| {
                    let what = format!("{} at offset {}: {what}", segment.path.display(), place.offset);
                    io::Error::new(io::ErrorKind::InvalidData, what)
                };
                let entry = frame::entry(segment.read(gid, place)?).map_err(damaged)?;
                match entry.log_id.index == index {
                    true => Ok(entry),
                    false => Err(damaged(format!("entry {} instead of {index}", entry.log_id.index))),
                }
            });
            entries.collect::<io::Result<Vec<Entry>>>()
        };
        let mut entries = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        entries.extend(cached);
        Ok(entries)
    }

    /// Parts of about `bytes` that are on disk, and what was in memory.
    fn split(self, bytes: usize) -> (Vec<Plan>, Vec<Entry>) {
        let Plan { gid, start, places, segments, cached } = self;
        let mut parts: Vec<Plan> = Vec::new();
        let mut filled = usize::MAX;
        for (index, place) in (start..).zip(places) {
            if filled >= bytes {
                filled = 0;
                let segments = BTreeMap::new();
                parts.push(Plan { gid, start: index, places: Vec::new(), segments, cached: Vec::new() });
            }
            let part = parts.last_mut().expect("one was just begun");
            part.places.push(place);
            part.segments.entry(place.seq).or_insert_with(|| segments[&place.seq].clone());
            filled += place.bytes as usize;
        }
        (parts, cached)
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

/// What the writer said; if it is gone, that the log is closed.
fn heard(told: Result<io::Result<()>, oneshot::error::RecvError>) -> io::Result<()> {
    told.unwrap_or_else(|_| Err(io::Error::other(Error::Closed)))
}
