//! The disk under a node's log: what was written, what is safe, and what a crash leaves.
//!
//! A log is a file of frames. A crash keeps some beginning of it that holds at least everything synced; it may end in the
//! middle of a frame, which recovery finds torn and cuts off.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use crate::rng::Rng;

/// Bytes of a frame around its payload.
const FRAME_BYTES: u64 = 24;

/// One entry of the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub index: u64,
    /// Of the leader that made it.
    pub term: u64,
    /// `None` for the entry a leader begins its term with: the state machine never sees it.
    pub payload: Option<Bytes>,
}

impl Entry {
    fn frame_bytes(&self) -> u64 {
        FRAME_BYTES + self.payload.as_ref().map_or(0, |payload| payload.len() as u64)
    }
}

/// The log of one node.
#[derive(Debug, Default)]
pub struct Log {
    /// Everything up to here is in the checkpoint: index and term.
    base: (u64, u64),
    entries: VecDeque<Rc<Entry>>,
    /// Safe up to this index.
    synced: u64,
    /// Counts cuts, so that a sync that was under way says nothing about entries written since.
    cuts: u64,
    /// A sync is under way.
    pub syncing: bool,
}

/// What a crash left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crashed {
    /// Entries that are gone.
    pub lost: u64,
    /// The file ended in the middle of a frame.
    pub torn: bool,
}

impl Log {
    /// Index and term of the last entry.
    pub fn last(&self) -> (u64, u64) {
        self.entries.back().map_or(self.base, |entry| (entry.index, entry.term))
    }

    /// Everything up to here is in the checkpoint.
    pub fn base(&self) -> (u64, u64) {
        self.base
    }

    /// Safe up to this index.
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// Names the present state for [`Self::sync_done`].
    pub fn sync_begun(&mut self) -> (u64, u64) {
        self.syncing = true;
        (self.cuts, self.last().0)
    }

    /// A sync that began with this name is through.
    pub fn sync_done(&mut self, (cuts, up_to): (u64, u64)) {
        self.syncing = false;
        if cuts == self.cuts {
            self.synced = self.synced.max(up_to);
        }
    }

    /// The entry at an index, unless it is in the checkpoint or was never written.
    pub fn get(&self, index: u64) -> Option<&Rc<Entry>> {
        self.entries.get(usize::try_from(index.checked_sub(self.base.0 + 1)?).ok()?)
    }

    /// The term of the entry at an index, as far as it is known.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.base.0 { Some(self.base.1) } else { self.get(index).map(|entry| entry.term) }
    }

    /// Writes an entry behind the last one.
    ///
    /// # Panics
    ///
    /// If it is not the next one.
    pub fn append(&mut self, entry: Rc<Entry>) {
        assert_eq!(entry.index, self.last().0 + 1, "a log has no holes");
        self.entries.push_back(entry);
    }

    /// Cuts off everything from an index on.
    pub fn truncate(&mut self, from: u64) {
        let keep = from.saturating_sub(self.base.0 + 1);
        if (self.entries.len() as u64) > keep {
            self.entries.truncate(keep as usize);
            self.synced = self.synced.min(from - 1);
            self.cuts += 1;
        }
    }

    /// Drops what a checkpoint holds.
    pub fn purge(&mut self, up_to: u64) {
        while let Some(first) = self.entries.front().filter(|entry| entry.index <= up_to) {
            self.base = (first.index, first.term);
            self.entries.pop_front();
        }
    }

    /// Begins anew behind a snapshot.
    pub fn reset(&mut self, base: (u64, u64)) {
        self.entries.clear();
        self.base = base;
        self.synced = base.0;
        self.cuts += 1;
    }

    /// The process dies. With the power gone, what was not synced is kept up to a random byte; without, all of it is.
    pub fn crash(&mut self, rng: &mut Rng, power_lost: bool) -> Crashed {
        self.cuts += 1;
        self.syncing = false;
        if !power_lost {
            return Crashed::default();
        }
        let unsynced = self.entries.iter().filter(|entry| entry.index > self.synced).map(|entry| entry.frame_bytes());
        let mut kept_bytes = rng.below(unsynced.sum::<u64>() + 1);
        let mut keep = self.synced;
        while let Some(next) = self.get(keep + 1)
            && next.frame_bytes() <= kept_bytes
        {
            kept_bytes -= next.frame_bytes();
            keep += 1;
        }
        let lost = self.last().0 - keep;
        self.truncate(keep + 1);
        self.synced = keep.max(self.base.0);
        Crashed { lost, torn: kept_bytes > 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: u64, synced: u64) -> Log {
        let mut log = Log::default();
        for index in 1..=entries {
            let payload = Some(Bytes::from(vec![0; 10 * index as usize]));
            log.append(Rc::new(Entry { index, term: 1, payload }));
            if index == synced {
                let name = log.sync_begun();
                log.sync_done(name);
            }
        }
        log
    }

    /// Red when a crash may take what was synced, or always keeps everything, or never tears.
    #[test]
    fn a_crash_keeps_what_was_synced_and_some_of_the_rest() {
        let (mut seen, mut torn) = (std::collections::BTreeSet::new(), 0);
        for seed in 0..500 {
            let mut log = log(8, 3);
            let crashed = log.crash(&mut Rng::new(seed), true);
            assert!(log.last().0 >= 3 && log.last().0 + crashed.lost == 8);
            assert_eq!(log.synced(), log.last().0);
            assert!(!crashed.torn || crashed.lost > 0);
            seen.insert(log.last().0);
            torn += u32::from(crashed.torn);
        }
        assert!(seen.contains(&3) && seen.contains(&7) && torn > 100, "{seen:?} {torn}");
    }

    /// Red when `sync_done` believes a sync that began before entries were replaced.
    #[test]
    fn a_sync_says_nothing_about_what_was_written_since() {
        let mut log = log(5, 2);
        let name = log.sync_begun();
        log.truncate(4);
        log.append(Rc::new(Entry { index: 4, term: 2, payload: None }));
        log.sync_done(name);
        assert_eq!(log.synced(), 2);
        log.truncate(2);
        assert_eq!((log.synced(), log.last()), (1, (1, 1)));
    }

    #[test]
    fn what_is_purged_keeps_its_last_term() {
        let mut log = log(5, 5);
        log.purge(4);
        assert_eq!((log.base(), log.term_at(4), log.term_at(3), log.last()), ((4, 1), Some(1), None, (5, 1)));
        log.reset((9, 3));
        assert_eq!((log.last(), log.synced()), ((9, 3), 9));
    }
}
