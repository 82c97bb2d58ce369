//! The thread that writes: everything that waits, for all groups at once, then one sync.
//!
//! While a sync runs, requests gather, so the batch grows by itself when the disk is slow; there is no timer.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use openraft::storage::IOFlushed;

use super::error::Error;
use super::frame::{self, Kind, NO_GROUP};
use super::marks::Marks;
use super::queue::{Op, Request};
use super::segment::{Location, Segment};
use super::spare::Spares;
use super::{LogId, Shared, metrics};
use crate::crash;

/// Most bytes taken from the queue for one write.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// A sync that takes longer is worth a line.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// Owner of the end of the log.
pub struct Writer {
    shared: Arc<Shared>,
    spares: Spares,
    /// Where it writes.
    segment: Arc<Segment>,
    /// Where the next write goes.
    end: u64,
    /// Durable up to here.
    synced: u64,
    /// Full segments, oldest first.
    sealed: VecDeque<u32>,
    /// Marks of every group after the last record that was encoded: the next header.
    marks: BTreeMap<u32, Marks>,
    /// Encoded, not written.
    buf: Vec<u8>,
    /// Where the entries of this batch are.
    places: Vec<(u32, LogId, Location)>,
    /// There is a vote among what is encoded or written and not synced.
    voting: bool,
    /// Requests handled, in the counting of the queue.
    handled: u64,
    /// The oldest segment and the request after which nothing needs it.
    condemned: Option<(u32, u64)>,
}

impl Writer {
    /// Goes on at `end` of the last of the segments in `shared`; all before is durable.
    pub fn new(shared: Arc<Shared>, spares: Spares, end: u64, marks: BTreeMap<u32, Marks>) -> Writer {
        let mut sealed: VecDeque<u32> = shared.segments().keys().copied().collect();
        let last = sealed.pop_back().expect("a log has a segment");
        let segment = shared.segments()[&last].clone();
        Writer {
            shared,
            spares,
            segment,
            end,
            synced: end,
            sealed,
            marks,
            buf: Vec::new(),
            places: Vec::new(),
            voting: false,
            handled: 0,
            condemned: None,
        }
    }

    /// Writes until the log is closed or fails.
    pub fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            self.shared.queue.take(BATCH_BYTES_MAX, &mut batch);
            let closed = batch.is_empty();
            let result = if closed { self.close() } else { self.step(&mut batch) };
            match result {
                Ok(()) if closed => return,
                Ok(()) => {}
                Err(error) => return self.fail(error, batch),
            }
        }
    }

    /// Writes a batch, makes it durable if anybody waits for that, tells them, and tidies up. On an error the batch
    /// holds what was not told.
    fn step(&mut self, batch: &mut Vec<Request>) -> Result<(), Error> {
        let mut sync = false;
        for request in batch.iter() {
            sync |= self.encode(request)?;
        }
        self.flush(sync)?;
        metrics::batch(batch.len());
        self.handled += batch.len() as u64;
        for group in self.places.chunk_by(|a, b| a.0 == b.0) {
            let shared = self.shared.group(group[0].0);
            let mut state = shared.lock();
            group.iter().for_each(|(_, id, place)| state.written(*id, *place));
        }
        self.places.clear();
        if batch.iter().any(|request| matches!(request.op, Op::Purge(_))) {
            crash::point("purge-written");
        }
        let freed = batch.iter().any(|r| matches!(r.op, Op::Purge(_) | Op::Truncate(_) | Op::Forget(_)));
        tell(batch);
        crash::point("log-told");
        self.evict();
        if freed || self.condemned.is_some() || self.sealed.len() > self.shared.config.segments_max {
            self.collect()?;
        }
        Ok(())
    }

    /// Encodes one request; says whether it needs a sync.
    fn encode(&mut self, request: &Request) -> Result<bool, Error> {
        let gid = request.gid;
        match &request.op {
            Op::Append(entries, _) => {
                for entry in entries {
                    let place = self.put(gid, Kind::Entry, &|buf| frame::put_entry(buf, entry))?;
                    self.places.push((gid, entry.log_id, place));
                    let marks = self.marks.entry(gid).or_default();
                    marks.append(entry.log_id).expect("checked when it was queued");
                }
            }
            Op::Vote(vote, _) => {
                self.put(gid, Kind::Vote, &|buf| frame::put_vote(buf, vote))?;
                self.voting = true;
                self.marks.entry(gid).or_default().vote = Some(*vote);
            }
            Op::Truncate(after) => {
                self.put(gid, Kind::Truncate, &|buf| frame::put_optional_log_id(buf, after.as_ref()))?;
                self.marks.entry(gid).or_default().truncate(*after);
            }
            Op::Purge(upto) => {
                self.put(gid, Kind::Purge, &|buf| frame::put_log_id(buf, upto))?;
                self.marks.entry(gid).or_default().purge(*upto);
            }
            Op::Committed(id) => {
                self.put(gid, Kind::Committed, &|buf| frame::put_optional_log_id(buf, id.as_ref()))?;
                self.marks.entry(gid).or_default().committed = *id;
            }
            Op::Forget(_) => {
                self.put(gid, Kind::Forget, &|_| {})?;
                self.marks.remove(&gid);
            }
            Op::Barrier(_) => {}
        }
        Ok(matches!(request.op, Op::Append(..) | Op::Vote(..) | Op::Forget(_) | Op::Barrier(_)))
    }

    /// Encodes a record and returns where it will be, going on to another segment when this one is full.
    fn put(&mut self, gid: u32, kind: Kind, body: &dyn Fn(&mut Vec<u8>)) -> Result<Location, Error> {
        for _ in 0..2 {
            let start = self.buf.len();
            if start == 0 {
                let durable = self.synced;
                frame::put(&mut self.buf, &self.segment.seed, NO_GROUP, Kind::Batch, |buf| {
                    buf.extend_from_slice(&durable.to_le_bytes());
                });
            }
            let at = self.buf.len();
            frame::put(&mut self.buf, &self.segment.seed, gid, kind, body);
            if self.end + self.buf.len() as u64 <= self.segment.bytes {
                let (offset, bytes) = (self.end as usize + at, self.buf.len() - at);
                return Ok(Location { seq: self.segment.seq, offset: offset as u32, bytes: bytes as u32 });
            }
            self.buf.truncate(start);
            self.flush(true)?;
            self.roll()?;
        }
        let source = io::Error::new(io::ErrorKind::FileTooLarge, "a record is larger than a segment");
        Err(Error::Io { action: "write", path: self.segment.path.clone(), source })
    }

    /// Writes what is encoded, and makes everything written durable if asked to.
    fn flush(&mut self, sync: bool) -> Result<(), Error> {
        if !self.buf.is_empty() {
            crash::point("log-encoded");
            if crash::is_armed("log-half-written") {
                let half = &self.buf[..self.buf.len() / 2];
                self.segment.file.write_all_at(half, self.end).map_err(Error::io("write", &self.segment.path))?;
                crash::point("log-half-written");
            }
            self.segment.file.write_all_at(&self.buf, self.end).map_err(Error::io("write", &self.segment.path))?;
            metrics::wrote(self.buf.len());
            self.end += self.buf.len() as u64;
            self.buf.clear();
            self.buf.shrink_to(2 * BATCH_BYTES_MAX);
        }
        if sync && self.synced < self.end {
            crash::point("log-written");
            if self.voting {
                crash::point("vote-written");
            }
            let began = Instant::now();
            *self.shared.sync_began() = Some(began);
            self.segment.file.sync().map_err(Error::io("sync", &self.segment.path))?;
            *self.shared.sync_began() = None;
            let took = began.elapsed();
            metrics::synced(took);
            if took > SLOW_SYNC {
                tracing::warn!(milliseconds = took.as_millis() as u64, "slow sync of the log");
            }
            self.synced = self.end;
            crash::point("log-synced");
            if std::mem::take(&mut self.voting) {
                crash::point("vote-synced");
            }
        }
        if 2 * self.end > self.segment.bytes {
            self.spares.prepare();
        }
        Ok(())
    }

    /// Goes on in a new segment. The current one is completely durable.
    fn roll(&mut self) -> Result<(), Error> {
        let spare = self.spares.take()?;
        let seq = self.segment.seq.checked_add(1).expect("2^32 segments");
        let groups = self.marks.iter().map(|(gid, marks)| (*gid, marks));
        let (io, dir) = (&*self.shared.io, &self.shared.dir);
        crash::point("segment-taken");
        let (segment, end) = Segment::create(io, dir, spare, seq, self.end, groups)?;
        crash::point("segment-created");
        self.sealed.push_back(self.segment.seq);
        self.segment = Arc::new(segment);
        (self.end, self.synced) = (end, end);
        self.shared.segments().insert(seq, self.segment.clone());
        metrics::segments(self.sealed.len() + 1);
        Ok(())
    }

    /// Keeps the entries in memory near their budget, taking from the group that has most.
    fn evict(&self) {
        let groups = self.shared.groups();
        let budget = self.shared.config.cache_bytes;
        let mut by_size: Vec<_> = groups.values().map(|g| (g.lock().cache_bytes(), g)).collect();
        by_size.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut cached: usize = by_size.iter().map(|(bytes, _)| bytes).sum();
        // More than twice the budget: reading from disk later is better than running out of memory.
        for (limit, hard) in [(budget, false), (2 * budget, true)] {
            for (_, group) in &by_size {
                if cached > limit {
                    cached -= group.lock().evict(cached - limit, hard).min(cached);
                }
            }
        }
        self.shared.cached_bytes.store(cached, Ordering::Relaxed);
        metrics::cached(cached);
    }

    /// Drops the oldest segments as long as nobody needs them.
    fn collect(&mut self) -> Result<(), Error> {
        while let Some(&oldest) = self.sealed.front() {
            if let Some((seq, after)) = self.condemned
                && seq == oldest
            {
                // What the groups hold in memory is ahead of the disk: the purge that freed the segment may still be
                // queued, and after a crash its entries would be missed.
                if self.handled < after {
                    return Ok(());
                }
                self.flush(true)?;
                crash::point("segment-condemned");
                self.drop_segment(oldest)?;
                crash::point("segment-dropped");
                continue;
            }
            let groups = self.shared.groups();
            let pins: Vec<_> = groups.values().filter_map(|g| g.lock().places.pins().get(&oldest).copied()).collect();
            let bytes: u64 = pins.iter().map(|pin| pin.bytes).sum();
            if pins.is_empty() {
                self.condemned = Some((oldest, self.shared.queue.pushed()));
            } else if self.sealed.len() > self.shared.config.segments_max && 4 * bytes <= self.segment.bytes {
                self.rewrite(oldest)?;
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Copies what is live in a segment to the end of the log.
    fn rewrite(&mut self, seq: u32) -> Result<(), Error> {
        let segment = self.shared.segments()[&seq].clone();
        let mut moved = Vec::new();
        let mut bytes = 0;
        for (gid, group) in self.shared.groups() {
            let live = group.lock().places.in_segment(seq);
            for (index, old) in live {
                let body = segment.read(gid, old).map_err(Error::io("read", &segment.path))?;
                let new = self.put(gid, Kind::Rewrite, &|buf| buf.extend_from_slice(&body))?;
                bytes += u64::from(new.bytes);
                moved.push((group.clone(), index, old, new));
            }
        }
        // Readable from here on, durable before the old segment goes.
        self.flush(false)?;
        for (group, index, old, new) in moved {
            let mut group = group.lock();
            if group.places.get(index) == Some(old) {
                group.places.set(index, new);
            }
        }
        metrics::rewrote(bytes);
        tracing::debug!(segment = seq, bytes, "copied what was live in an old segment of the log");
        Ok(())
    }

    /// Takes the oldest segment out of the log.
    fn drop_segment(&mut self, seq: u32) -> Result<(), Error> {
        self.sealed.pop_front();
        self.condemned = None;
        let segment = self.shared.segments().remove(&seq);
        metrics::segments(self.sealed.len() + 1);
        match segment.map(Arc::try_unwrap) {
            Some(Ok(segment)) => self.spares.recycle(segment),
            // Somebody is reading it: the file may go, its contents must not change.
            Some(Err(segment)) => self.spares.remove(&segment.path),
            None => Ok(()),
        }
    }

    /// Makes all durable and leaves a note of it, so that damage to the last write can be told from a torn one.
    fn close(&mut self) -> Result<(), Error> {
        self.flush(true)?;
        if self.end + 64 <= self.segment.bytes {
            let durable = self.synced;
            frame::put(&mut self.buf, &self.segment.seed, NO_GROUP, Kind::Batch, |buf| {
                buf.extend_from_slice(&durable.to_le_bytes());
            });
            self.flush(true)?;
        }
        Ok(())
    }

    /// Nothing is written any more: tells everybody.
    fn fail(self, error: Error, batch: Vec<Request>) {
        tracing::error!(%error, "the log stops");
        let error = Arc::new(error);
        self.shared.queue.close(error.clone());
        self.shared.failed.send_replace(Some(error.clone()));
        let mut left = batch;
        loop {
            for request in left.drain(..) {
                request.op.fail(&error);
            }
            self.shared.queue.take(usize::MAX, &mut left);
            if left.is_empty() {
                return;
            }
        }
    }
}

/// Tells everybody in the batch that it is durable, in order. Completions of one group are a watermark: the last one
/// speaks for those before it.
fn tell(batch: &mut Vec<Request>) {
    let mut appended = BTreeMap::new();
    for request in batch.drain(..) {
        match request.op {
            Op::Append(_, done @ IOFlushed::Notify(_)) => drop(appended.insert(request.gid, done)),
            Op::Append(_, done) => done.io_completed(Ok(())),
            Op::Vote(_, done) | Op::Forget(done) | Op::Barrier(done) => drop(done.send(Ok(()))),
            Op::Truncate(_) | Op::Purge(_) | Op::Committed(_) => {}
        }
    }
    for done in appended.into_values() {
        done.io_completed(Ok(()));
    }
}
