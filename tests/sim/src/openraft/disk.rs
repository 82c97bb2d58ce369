//! The disk under a replica's log: frames that were queued, written, synced, and what a crash leaves of them.
//!
//! As the product's log does it: changes are readable at once; a writer takes everything that is queued, writes it, and
//! syncs if an entry or a vote is among it; while that lasts the next batch gathers. Truncations, purges and commit marks
//! become durable with whatever is synced after them. A process that dies loses what it had queued; a power cut also what
//! was written and not synced, from some byte on: the last frame may be torn, and is cut off.

use std::collections::VecDeque;

use openraft::EntryPayload;
use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::rng::Rng;

/// Bytes of a frame around its payload.
const FRAME_BYTES: u64 = 40;

/// What a log says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// The newest promise.
    pub vote: Option<Vote>,
    /// The last entry that is gone because the rows hold it.
    pub purged: Option<LogId>,
    /// The mark of what is known to be committed.
    pub committed: Option<LogId>,
    entries: VecDeque<Entry>,
}

/// One change.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Another entry at the end.
    Entry(Entry),
    /// A promise.
    Vote(Vote),
    /// Everything behind this entry is gone.
    Truncate(Option<LogId>),
    /// Everything up to this entry is gone.
    Purge(LogId),
    /// So much is committed.
    Committed(Option<LogId>),
}

/// Whoever waits for a sync.
pub enum Waiting {
    /// Entries of openraft's.
    Entries(IOFlushed<TypeConfig>),
    /// A promise.
    Vote(oneshot::Sender<()>),
}

/// See the module.
#[derive(Default)]
pub struct Disk {
    /// As the process sees it.
    live: Image,
    /// As it was synced.
    durable: Image,
    /// Everything since then.
    frames: VecDeque<Frame>,
    /// How many of them are in the file.
    written: usize,
    /// The batch that is being written ends here.
    batch: Option<usize>,
    waiting: VecDeque<(usize, Waiting)>,
}

/// What a crash left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crashed {
    /// Entries that are gone.
    pub lost: u64,
    /// The file ended in the middle of a frame.
    pub torn: bool,
}

impl Image {
    /// The last entry, or the one before the first when there is none.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }

    /// Index of the first entry there is room for.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.entries.front().map_or_else(|| self.purged.map_or(0, |id| id.index + 1), |entry| entry.log_id.index)
    }

    /// The entry at an index.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<&Entry> {
        let first = self.entries.front()?.log_id.index;
        self.entries.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    /// Entries from `start` to before `end`, as far as there are any.
    #[must_use]
    pub fn range(&self, start: u64, end: u64) -> Vec<Entry> {
        (start.max(self.first_index())..end).map_while(|index| self.get(index).cloned()).collect()
    }

    /// Whether a crash of everything else would leave this entry here, in the log or in rows that hold it.
    #[must_use]
    pub fn holds(&self, id: LogId) -> bool {
        self.purged.is_some_and(|purged| purged.index >= id.index)
            || self.get(id.index).is_some_and(|entry| entry.log_id == id)
    }

    fn change(&mut self, frame: Frame) {
        match frame {
            Frame::Entry(entry) => {
                let next = self.last().map(|last| last.index + 1);
                let index = entry.log_id.index;
                assert!(
                    next.is_none_or(|next| next == index),
                    "entry {index} where {next:?} is due: a log has no holes"
                );
                self.entries.push_back(entry);
            }
            Frame::Vote(vote) => self.vote = Some(vote),
            Frame::Truncate(after) => {
                let keep = after.map_or(0, |id| id.index + 1);
                while self.entries.back().is_some_and(|entry| entry.log_id.index >= keep) {
                    self.entries.pop_back();
                }
            }
            Frame::Purge(upto) => {
                while self.entries.front().is_some_and(|entry| entry.log_id.index <= upto.index) {
                    self.entries.pop_front();
                }
                self.purged = self.purged.max(Some(upto));
            }
            Frame::Committed(id) => self.committed = id,
        }
    }
}

impl Frame {
    fn bytes(&self) -> u64 {
        match self {
            Frame::Entry(Entry { payload: EntryPayload::Normal(payload), .. }) => FRAME_BYTES + payload.0.len() as u64,
            _ => FRAME_BYTES,
        }
    }

    fn needs_sync(&self) -> bool {
        matches!(self, Frame::Entry(_) | Frame::Vote(_))
    }
}

impl Disk {
    /// The log as the process sees it.
    #[must_use]
    pub fn live(&self) -> &Image {
        &self.live
    }

    /// The log as a power cut would leave it at least.
    #[must_use]
    pub fn durable(&self) -> &Image {
        &self.durable
    }

    /// Queues a change, which is readable at once.
    pub fn push(&mut self, frame: Frame) {
        self.live.change(frame.clone());
        self.frames.push_back(frame);
    }

    /// Whoever waits until everything queued so far is synced.
    pub fn wait(&mut self, waiting: Waiting) {
        self.waiting.push_back((self.frames.len(), waiting));
    }

    /// The writer takes what is queued; whether it has to sync, which is over with [`Self::synced`]. Does nothing while it
    /// is at work.
    pub fn write(&mut self) -> bool {
        if self.batch.is_some() || self.written == self.frames.len() {
            return false;
        }
        if !self.frames.range(self.written..).any(Frame::needs_sync) {
            self.written = self.frames.len();
            return false;
        }
        self.batch = Some(self.frames.len());
        true
    }

    /// A sync is through: returns whoever waited for it, in order. Of those who wait for entries only the last: it speaks
    /// for those before it.
    pub fn synced(&mut self) -> Vec<Waiting> {
        let Some(end) = self.batch.take() else { return Vec::new() };
        for frame in self.frames.drain(..end) {
            self.durable.change(frame);
        }
        self.written = 0;
        let (mut told, mut last) = (Vec::new(), None);
        while let Some((_, waiting)) = self.waiting.pop_front_if(|(until, _)| *until <= end) {
            match waiting {
                Waiting::Vote(_) => told.push(waiting),
                Waiting::Entries(_) => last = Some(waiting),
            }
        }
        for (until, _) in &mut self.waiting {
            *until -= end;
        }
        told.extend(last);
        told
    }

    /// The process dies, and with it what it had queued. With the power gone, what was not synced is kept up to a random
    /// byte; without, all that was written is, and of the batch that was being written a part.
    pub fn crash(&mut self, rng: &mut Rng, power_lost: bool) -> Crashed {
        self.waiting.clear();
        let certain = if power_lost { 0 } else { self.written };
        let end = self.batch.take().unwrap_or(self.written);
        let uncertain: u64 = self.frames.range(certain..end).map(Frame::bytes).sum();
        let mut bytes = rng.below(uncertain + 1);
        let mut keep = certain;
        while keep < end && self.frames[keep].bytes() <= bytes {
            bytes -= self.frames[keep].bytes();
            keep += 1;
        }
        let gone = self.frames.split_off(keep);
        let lost = gone.iter().filter(|frame| matches!(frame, Frame::Entry(_))).count() as u64;
        for frame in self.frames.drain(..) {
            self.durable.change(frame);
        }
        self.written = 0;
        self.live = self.durable.clone();
        Crashed { lost, torn: bytes > 0 }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::types::{CommittedLeaderId, Payload};
    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId { leader_id: CommittedLeaderId::new(term), index }
    }

    fn entry(term: u64, index: u64) -> Frame {
        let payload = EntryPayload::Normal(Payload(Bytes::from(vec![0; index as usize])));
        Frame::Entry(Entry { log_id: id(term, index), payload })
    }

    fn written(entries: u64, synced: u64) -> Disk {
        let mut disk = Disk::default();
        for index in 0..entries {
            disk.push(entry(1, index));
            if index + 1 == synced {
                assert!(disk.write());
                disk.synced();
            }
        }
        disk
    }

    /// Red when a crash may take what was synced, or always keeps everything, or never tears.
    #[test]
    fn a_power_cut_keeps_what_was_synced_and_some_of_the_rest() {
        let (mut seen, mut torn) = (std::collections::BTreeSet::new(), 0);
        for seed in 0..500 {
            let mut disk = written(8, 3);
            assert!(disk.write());
            let crashed = disk.crash(&mut Rng::new(seed), true);
            let last = disk.live().last().map_or(0, |id| id.index);
            assert!(last >= 2 && last + crashed.lost == 7 && disk.durable() == disk.live());
            seen.insert(last);
            torn += u32::from(crashed.torn);
        }
        assert!(seen.contains(&2) && seen.contains(&7) && torn > 100, "{seen:?} {torn}");
    }

    /// Red when a process takes with it what it had written, or leaves behind what it had only queued.
    #[test]
    fn a_process_that_dies_loses_what_it_had_queued() {
        let mut disk = written(3, 3);
        disk.push(Frame::Committed(Some(id(1, 2))));
        assert!(!disk.write(), "a commit mark is not worth a sync");
        disk.push(entry(1, 3));
        disk.crash(&mut Rng::new(1), false);
        assert_eq!((disk.live().last(), disk.live().committed), (Some(id(1, 2)), Some(id(1, 2))));
        let mut disk = written(3, 3);
        disk.push(Frame::Committed(Some(id(1, 2))));
        disk.write();
        let kept = (0..20).map(|seed| {
            let mut disk = written(3, 3);
            disk.push(Frame::Committed(Some(id(1, 2))));
            disk.write();
            disk.crash(&mut Rng::new(seed), true);
            disk.live().committed.is_some()
        });
        let kept = kept.filter(|kept| *kept).count();
        assert!(kept < 20, "a power cut may take it");
    }

    /// Red when a sync speaks for what was queued after it began.
    #[test]
    fn a_sync_says_nothing_about_what_came_after_it() {
        let mut disk = written(1, 1);
        let (tell, mut told) = oneshot::channel();
        disk.push(entry(1, 1));
        assert!(disk.write() && !disk.write());
        disk.push(Frame::Vote(Vote::new(2, 7)));
        disk.wait(Waiting::Vote(tell));
        assert!(disk.synced().is_empty() && told.try_recv().is_err());
        assert_eq!((disk.durable().vote, disk.live().vote), (None, Some(Vote::new(2, 7))));
        assert!(disk.write());
        assert_eq!(disk.synced().len(), 1);
        assert_eq!(disk.durable(), disk.live());
    }

    #[test]
    fn a_purge_may_reach_beyond_the_end() {
        let mut disk = written(4, 4);
        disk.push(Frame::Purge(id(2, 9)));
        assert_eq!((disk.live().last(), disk.live().first_index()), (Some(id(2, 9)), 10));
        disk.push(entry(2, 10));
        disk.push(Frame::Truncate(Some(id(2, 9))));
        assert_eq!((disk.live().last(), disk.live().get(10)), (Some(id(2, 9)), None));
        assert!(disk.live().holds(id(1, 3)) && !disk.live().holds(id(2, 10)));
    }
}
