//! What is kept in memory of one group: its marks, where each entry is, and the newest entries themselves.

use std::collections::{BTreeMap, VecDeque};

use openraft::EntryPayload;

use super::marks::Marks;
use super::segment::Location;
use super::{Entry, LogId};

/// Live entries of a group in one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// How many.
    pub entries: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// Where the live entries of a group are, by index; twelve bytes each.
#[derive(Debug, Default)]
pub struct Places {
    first: u64,
    places: VecDeque<Location>,
    pins: BTreeMap<u32, Pin>,
}

impl Places {
    /// Entries from `first` to before `next`, none of them written yet.
    pub fn unknown(first: u64, next: u64) -> Places {
        let count = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX);
        Places { first, places: std::iter::repeat_n(Location::NOWHERE, count).collect(), pins: BTreeMap::new() }
    }

    /// One past the last index.
    pub fn next(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// Where entry `index` is; `None` when there is no such entry.
    pub fn get(&self, index: u64) -> Option<Location> {
        self.places.get(usize::try_from(index.checked_sub(self.first)?).ok()?).copied()
    }

    /// The next entry is at `location`. The first one ever may have any index.
    pub fn push(&mut self, index: u64, location: Location) {
        if self.places.is_empty() {
            self.first = index;
        }
        assert_eq!(index, self.next(), "entries are consecutive");
        self.places.push_back(location);
        self.pin(location);
    }

    /// Entry `index` is at `location` from now on.
    pub fn set(&mut self, index: u64, location: Location) {
        let Some(at) = index.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else { return };
        let Some(place) = self.places.get_mut(at) else { return };
        let old = std::mem::replace(place, location);
        self.unpin(old);
        self.pin(location);
    }

    /// Only entries from `first` to before `next` are left.
    pub fn trim(&mut self, first: u64, next: u64) {
        while self.first < first {
            let Some(place) = self.places.pop_front() else { break };
            self.first += 1;
            self.unpin(place);
        }
        while self.next() > next {
            let Some(place) = self.places.pop_back() else { break };
            self.unpin(place);
        }
        if self.places.is_empty() {
            self.first = first;
        }
    }

    /// Live entries by segment.
    pub fn pins(&self) -> &BTreeMap<u32, Pin> {
        &self.pins
    }

    /// Live entries in segment `seq`.
    pub fn in_segment(&self, seq: u32) -> Vec<(u64, Location)> {
        let wanted = self.pins.get(&seq).map_or(0, |pin| pin.entries);
        let all = (self.first..).zip(self.places.iter().copied());
        all.filter(|(_, place)| place.seq == seq).take(usize::try_from(wanted).unwrap_or(usize::MAX)).collect()
    }

    fn pin(&mut self, place: Location) {
        if place != Location::NOWHERE {
            let pin = self.pins.entry(place.seq).or_default();
            pin.entries += 1;
            pin.bytes += u64::from(place.bytes);
        }
    }

    fn unpin(&mut self, place: Location) {
        if place != Location::NOWHERE
            && let Some(pin) = self.pins.get_mut(&place.seq)
        {
            pin.entries -= 1;
            pin.bytes -= u64::from(place.bytes);
            if pin.entries == 0 {
                self.pins.remove(&place.seq);
            }
        }
    }
}

/// One group as its readers see it: ahead of the disk by what is queued.
#[derive(Debug, Default)]
pub struct State {
    /// Positions, including what is queued.
    pub marks: Marks,
    /// Where entries are.
    pub places: Places,
    /// The newest entries, up to the last one.
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    /// One past the last entry known to be durable.
    durable_next: u64,
}

impl State {
    /// A group as recovery found it: everything durable, nothing in memory.
    pub fn recovered(marks: Marks, places: Places) -> State {
        let durable_next = places.next();
        State { marks, places, durable_next, ..State::default() }
    }

    /// Adds entries that follow the last one. Checked by the caller with [`Marks::append`].
    pub fn append(&mut self, marks: Marks, entries: impl Iterator<Item = Entry>) {
        self.marks = marks;
        for entry in entries {
            self.places.push(entry.log_id.index, Location::NOWHERE);
            self.cache_bytes += entry_bytes(&entry);
            self.cache.push_back(entry);
        }
    }

    /// Follows a change of the marks that removed entries.
    pub fn trim(&mut self) {
        let (first, next) = (self.marks.first, self.marks.next());
        self.places.trim(first, next);
        while self.cache.front().is_some_and(|e| e.log_id.index < first) {
            self.evict_front();
        }
        while self.cache.back().is_some_and(|e| e.log_id.index >= next) {
            let entry = self.cache.pop_back().expect("looked at");
            self.cache_bytes -= entry_bytes(&entry);
        }
        self.durable_next = self.durable_next.min(next);
    }

    /// The record of entry `id` is durable at `location`.
    ///
    /// Another entry may have taken its index while it was on its way; that one has a record of its own coming.
    pub fn written(&mut self, id: LogId, location: Location) {
        if self.cached(id.index).is_some_and(|entry| entry.log_id == id) {
            self.places.set(id.index, location);
            self.durable_next = self.durable_next.max(id.index + 1);
        }
    }

    /// First index that is in memory; entries from there on all are.
    pub fn cache_first(&self) -> u64 {
        self.cache.front().map_or(self.marks.next(), |e| e.log_id.index)
    }

    /// The entry, if it is in memory.
    pub fn cached(&self, index: u64) -> Option<&Entry> {
        self.cache.get(usize::try_from(index.checked_sub(self.cache_first())?).ok()?)
    }

    /// Bytes of entries in memory.
    pub fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    /// Lets go of durable entries, oldest first, until `bytes` are freed; entries that were not committed only when
    /// `even_uncommitted`, because the state machine and the followers are about to read them. Returns bytes freed.
    pub fn evict(&mut self, bytes: usize, even_uncommitted: bool) -> usize {
        let committed_next = self.marks.committed.map_or(0, |id| id.index + 1);
        let limit = if even_uncommitted { self.durable_next } else { self.durable_next.min(committed_next) };
        let before = self.cache_bytes;
        while before - self.cache_bytes < bytes && self.cache.front().is_some_and(|e| e.log_id.index < limit) {
            self.evict_front();
        }
        before - self.cache_bytes
    }

    fn evict_front(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes -= entry_bytes(&entry);
        }
    }
}

/// What an entry costs in memory, roughly, and on disk, at most by a few bytes per member.
pub fn entry_bytes(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(payload) => payload.0.len(),
        EntryPayload::Membership(members) => members.nodes().map(|(_, m)| 64 + m.endpoint.len() + m.peer_endpoint.len()).sum(),
    };
    payload + 96
}
