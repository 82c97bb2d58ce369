//! The hierarchical timing wheel of counts: how many triggers of which lane are due when.
//!
//! Four levels with calendar edges. Ahead of the moment the wheel has reached it knows
//!
//! | level | width of a slot | reaches at least | edge of its window |
//! |---|---|---|---|
//! | [`Level::Millisecond`] | 1 ms | 2 s | a whole second |
//! | [`Level::Second`] | 1 s | 60 min | a whole minute |
//! | [`Level::Minute`] | 1 min | 24 h | a whole hour |
//! | [`Level::Hour`] | 1 h | everything beyond | none |
//!
//! A slot holds a count per lane, never triggers: those lie on disk in due order, and the wheel says where to look. So
//! memory depends on how many slots are in use, not on how many triggers are pending, and insert and remove touch one
//! slot and one total.
//!
//! # Splits
//!
//! When a window moves forward over a slot of the level above, the counts of that slot must be spread over finer slots,
//! and only the rows know how. The wheel says which slots ([`Wheel::splits_owed`]); the caller counts the rows and hands
//! the counts in. Counting may take a while and needs no lock:
//!
//! 1. under the lock, [`Wheel::begin_split`], and take a snapshot of the store that has applied exactly what the wheel
//!    has. From here on triggers of that range are counted one level finer, and such a count may be negative for now;
//! 2. without the lock, count the rows of the range in the snapshot with a [`Recount`]: per minute for an hour (the stored
//!    minute counts have them), per second for a minute, per millisecond for a second;
//! 3. under the lock, [`Wheel::finish_split`] adds them.
//!
//! The rule that makes this sound: a trigger is counted in the coarsest level that has its slot in use, is not being
//! split there and starts where the finer level reaches; so inserting and removing it name the same cell, whatever
//! happened in between. A slot that is empty when a window moves over it needs no split.
//!
//! Until a split is finished its slot counts as possibly due at its start: [`Wheel::next_due`] may be early, never late.

mod recount;
mod slot;
mod slots;

use crate::lane::LaneId;
use crate::planted::{self, Bug};
use crate::time::{Delay, Timestamp};
pub use recount::Recount;
use slot::Slot;
use slots::Slots;

/// See the [module](self).
#[derive(Debug)]
pub struct Wheel {
    now: Timestamp,
    /// By [`Level`].
    levels: [Slots; 4],
    /// By [`Level`]: the first moment behind its window.
    ends: [u64; 4],
    splitting: Vec<Splitting>,
    pending: Pending,
    /// No insert, remove, advance or split so far.
    loading: bool,
}

/// One of the levels, finest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Slots of one millisecond.
    Millisecond = 0,
    /// Slots of one second.
    Second = 1,
    /// Slots of one minute.
    Minute = 2,
    /// Slots of one hour.
    Hour = 3,
}

/// A slot whose counts have to be spread over the next finer level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Split {
    /// The level of the slot; never [`Level::Millisecond`].
    pub level: Level,
    /// Its first millisecond. It may lie behind the moment the wheel has reached.
    pub from: Timestamp,
    /// The first millisecond after it.
    pub to: Timestamp,
}

/// When the wheel has to be looked at next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextDue {
    /// Nothing is due before this moment.
    pub at: Timestamp,
    /// Whether something is due in the very millisecond `at`, and `lanes` is all of it. Otherwise `at` is where the
    /// earliest slot that is still coarse begins, and its triggers may be due anywhere in it.
    pub exact: bool,
    /// To what moment to advance the wheel for it to know more; `at` when exact. At most two seconds before a slot that
    /// no finer level reaches yet, so that its split is finished when it begins. While [`Wheel::splits_owed`] names
    /// anything, finishing that tells more than advancing.
    pub wake: Timestamp,
    /// What the slot at `at` holds. While not exact, advice on which lanes to look at.
    pub lanes: LaneCounts,
}

/// How many triggers in which lanes, in order of lane, without zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts(Vec<(LaneId, u64)>);

/// Where a recount of rows differed from what the wheel had counted: recounted minus counted, in order of lane. Empty
/// unless rows and changes told to the wheel have come apart, which is a bug that the recount has just mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift(pub Vec<(LaneId, i64)>);

#[derive(Debug)]
struct Splitting {
    split: Split,
    /// What to compare the recount with; `None` when the wheel was already inside the slot as the split began, since the
    /// slot then counts triggers that have fired.
    counted: Option<Vec<(LaneId, i64)>>,
}

/// Running totals.
#[derive(Debug, Default)]
struct Pending {
    total: i64,
    /// By number of the lane, up to the highest seen: topics are numbered in order of first use.
    lanes: Vec<i64>,
}

/// How long before a coarse slot begins the wheel asks to be advanced: as late as the millisecond level still reaches it.
const LEAD: Delay = Delay::from_secs(2);

impl Wheel {
    /// An empty wheel that has reached `now`.
    pub fn new(now: Timestamp) -> Self {
        let mut wheel = Wheel {
            now,
            levels: [Slots::ring(), Slots::ring(), Slots::ring(), Slots::sparse()],
            ends: [0; 4],
            splitting: Vec::new(),
            pending: Pending::default(),
            loading: true,
        };
        wheel.move_windows();
        wheel
    }

    /// Counts the triggers of a lane due in the minute that begins at `minute`, as stored: once per lane and minute, after
    /// [`Wheel::new`] and before anything else. Minutes already past are ignored. The count of the minute under way
    /// may include triggers that have fired; a recount sorts that out. Then finish the splits owed.
    ///
    /// # Panics
    ///
    /// If `minute` is not a whole minute, or the wheel has been used for anything but loading.
    pub fn load_minute(&mut self, lane: LaneId, minute: Timestamp, count: i64) {
        assert!(self.loading, "minute counts are loaded into a fresh wheel, and this one has been used");
        assert!(minute.as_millis().is_multiple_of(Level::Minute.width()), "{minute} is not a whole minute");
        if Level::Minute.split_at(minute).to <= self.first_open() {
            return;
        }
        let level = if minute.as_millis() < self.ends[Level::Minute as usize] { Level::Minute } else { Level::Hour };
        self.count(level, minute, lane, count);
    }

    /// The newest moment the wheel was advanced to. Everything it counts is due later.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Counts one more trigger of this lane due at `due`.
    ///
    /// # Panics
    ///
    /// If `due` is not later than [`Wheel::now`]: such a trigger has fired and is not the wheel's any more.
    pub fn insert(&mut self, lane: LaneId, due: Timestamp) {
        self.change(lane, due, 1);
    }

    /// Counts one trigger less of this lane due at `due`: it was cancelled or moved.
    ///
    /// Removing what was never inserted leaves a count below zero. The slot then counts as in use, so that it is
    /// recounted and [`Wheel::finish_split`] reports the drift.
    ///
    /// # Panics
    ///
    /// If `due` is not later than [`Wheel::now`].
    pub fn remove(&mut self, lane: LaneId, due: Timestamp) {
        self.change(lane, due, -1);
    }

    /// Drops everything due at `now` or earlier, moves the windows, and returns how many splits are owed.
    ///
    /// The cost is that of the slots in use that are passed, however long the way.
    ///
    /// # Panics
    ///
    /// If `now` is before a moment the wheel was already given: replicated time does not run backwards.
    pub fn advance(&mut self, now: Timestamp) -> usize {
        assert!(now >= self.now, "the wheel is at {} and cannot go back to {now}", self.now);
        self.loading = false;
        if now > self.now {
            self.now = now;
            self.move_windows();
            let open = self.first_open();
            self.splitting.retain(|s| s.split.to > open);
        }
        self.splits_owed().count()
    }

    /// The slots to be split, most urgent first. Those being split are not named, nor anything inside them.
    pub fn splits_owed(&self) -> impl Iterator<Item = Split> + use<> {
        let mut owed = Vec::new();
        for level in [Level::Hour, Level::Minute, Level::Second] {
            let end = self.reach_below(level);
            let mut from = level.slot(self.first_open());
            while let Some((number, _)) = self.levels[level as usize].next(from) {
                let split = level.split(number);
                if split.from.as_millis() >= end {
                    break;
                }
                if !self.is_splitting(split) {
                    owed.push(split);
                }
                from = number + 1;
            }
        }
        owed.sort_by_key(|split| split.from);
        owed.into_iter()
    }

    /// Begins a split: from here on triggers due in this range are counted one level finer. False, and nothing changes,
    /// when the split is not owed (any more): the slot has emptied or passed, or is being split already.
    ///
    /// The caller takes its snapshot of the store before the wheel sees another change. A split that was begun is either
    /// finished or passed; until then [`Wheel::next_due`] names its range.
    pub fn begin_split(&mut self, split: Split) -> bool {
        self.loading = false;
        let number = split.level.slot(split.from);
        let owed = split.level != Level::Millisecond
            && split == split.level.split(number)
            && split.from.as_millis() < self.reach_below(split.level)
            && !self.is_splitting(split);
        let Some(slot) = self.levels[split.level as usize].get(number).filter(|_| owed) else { return false };
        let counted = (split.from > self.now).then(|| slot.iter().collect());
        self.splitting.push(Splitting { split, counted });
        true
    }

    /// Finishes a split with what the snapshot held, usually a [`Recount`]: how many triggers of which lane were due when.
    /// A moment may be anywhere in the finer slot, may come more than once, and may lie behind [`Wheel::now`]: finer slots
    /// that have passed are left out. Nothing happens when the slot itself has passed.
    ///
    /// # Panics
    ///
    /// If a moment is outside the range of the split.
    pub fn finish_split(&mut self, split: Split, counts: impl IntoIterator<Item = (LaneId, Timestamp, i64)>) -> Drift {
        let Some(place) = self.splitting.iter().position(|s| s.split == split) else { return Drift::default() };
        let counted = self.splitting.swap_remove(place).counted;
        let coarse = self.levels[split.level as usize].take(split.level.slot(split.from));
        self.pending.subtract(&coarse);

        let finer = split.level.finer();
        let (mut recounted, mut kept) = (Slot::default(), Slot::default());
        for (lane, at, count) in counts {
            let (from, to) = (split.from, split.to);
            assert!(from <= at && at < to, "a trigger at {at} in the split of {from} to {to}");
            recounted.add(lane, count);
            // A slot that has begun is kept whole: it has to be split in its turn, unless it is a millisecond.
            if finer.split_at(at).to > self.first_open() && !planted::is(Bug::WheelDropsSplits) {
                kept.add(lane, count);
                self.levels[finer as usize].add(finer.slot(at), lane, count);
            }
        }
        for (lane, count) in kept.iter() {
            self.pending.add(lane, count);
        }
        for (lane, count) in counted.iter().flatten() {
            recounted.add(*lane, -count);
        }
        let mut drift: Vec<_> = counted.map_or_else(Vec::new, |_| recounted.iter().collect());
        drift.sort_unstable();
        Drift(drift)
    }

    /// The first moment after `after` at which something may be due: exact within the millisecond level, otherwise the
    /// start of the earliest coarse slot in use (or the millisecond after `after` inside that slot). Never later than
    /// the first trigger due after `after`. `None` when nothing is scheduled at all.
    ///
    /// Counts include triggers of paused lanes; the caller knows what it may release.
    ///
    /// # Panics
    ///
    /// If `after` is before a moment the wheel was already given: replicated time does not run backwards.
    pub fn next_due(&self, after: Timestamp) -> Option<NextDue> {
        assert!(after >= self.now, "the wheel is at {} and forgot what was due after {after}", self.now);
        let earliest = after.after(Delay::from_millis(1));
        // Finest first, and `<=`: where a millisecond and a coarse slot meet, the coarse one may hide more of it.
        let mut next: Option<(Timestamp, Level, &Slot)> = None;
        for level in Level::ALL {
            if let Some((number, slot)) = self.levels[level as usize].next(level.slot(earliest)) {
                let at = level.split(number).from.max(earliest);
                if next.is_none_or(|(best, ..)| at <= best) {
                    next = Some((at, level, slot));
                }
            }
        }
        let (at, level, slot) = next?;
        let exact = level == Level::Millisecond;
        let reached = exact || at.as_millis() < self.reach_below(level);
        let wake = if reached {
            at
        } else {
            earliest.max(Timestamp::from_millis(at.as_millis().saturating_sub(LEAD.as_millis())))
        };
        Some(NextDue { at, exact, wake, lanes: LaneCounts::of(slot.iter()) })
    }

    /// How many triggers are due after [`Wheel::now`].
    ///
    /// Inside a slot that the wheel entered before it was split, what has fired is included until it is split. This
    /// happens after a load, a jump of more than two seconds, or when splits are finished late.
    pub fn pending(&self) -> u64 {
        self.pending.total.max(0) as u64
    }

    /// [`Wheel::pending`] of one lane.
    pub fn pending_in(&self, lane: LaneId) -> u64 {
        self.pending.lanes.get(lane.number() as usize).map_or(0, |count| (*count).max(0) as u64)
    }

    /// [`Wheel::pending`] of every lane that has any.
    pub fn pending_by_lane(&self) -> LaneCounts {
        let numbered = (0..).zip(&self.pending.lanes);
        LaneCounts::of(numbered.filter_map(|(number, count)| Some((LaneId::from_number(number)?, *count))))
    }

    /// Shows every count of the slots that begin before `to`, with the range of its slot. While a split is under way its
    /// coarse slot and the finer ones below it come with the range of the split: only together do they say what is due
    /// there.
    pub(crate) fn visit(&self, to: Timestamp, mut visit: impl FnMut(Split, LaneId, i64)) {
        for level in Level::ALL {
            let mut from = level.slot(self.first_open());
            while let Some((number, slot)) = self.levels[level as usize].next(from) {
                let range = level.split(number);
                if range.from >= to {
                    break;
                }
                let under_way = self.splitting.iter().find(|s| s.split.covers(range));
                for (lane, count) in slot.iter() {
                    visit(under_way.map_or(range, |s| s.split), lane, count);
                }
                from = number + 1;
            }
        }
    }

    fn change(&mut self, lane: LaneId, due: Timestamp, delta: i64) {
        assert!(due > self.now, "a trigger due at {due} has fired: the wheel is at {}", self.now);
        self.loading = false;
        self.count(self.level_of(due), due, lane, delta);
    }

    /// The level that counts triggers due at `due`; see the module on why.
    fn level_of(&self, due: Timestamp) -> Level {
        for level in [Level::Hour, Level::Minute, Level::Second] {
            if due.as_millis() >= self.reach_below(level) {
                return level;
            }
            let under_way = |s: &Splitting| s.split.level == level && s.split.from <= due && due < s.split.to;
            if self.splitting.iter().any(under_way) {
                return level.finer();
            }
            if self.levels[level as usize].get(level.slot(due)).is_some() {
                return level;
            }
        }
        Level::Millisecond
    }

    fn count(&mut self, level: Level, due: Timestamp, lane: LaneId, delta: i64) {
        self.levels[level as usize].add(level.slot(due), lane, delta);
        self.pending.add(lane, delta);
    }

    /// Whether this slot, or a coarser one around it, is being split.
    fn is_splitting(&self, split: Split) -> bool {
        self.splitting.iter().any(|s| s.split.covers(split))
    }

    /// The first moment that can still be due.
    fn first_open(&self) -> Timestamp {
        self.now.after(Delay::from_millis(1))
    }

    /// The first moment that the level finer than this one does not reach.
    fn reach_below(&self, level: Level) -> u64 {
        self.ends[level.finer() as usize]
    }

    /// Drops what is past, and lets each window reach as far ahead of `now` as it promises.
    fn move_windows(&mut self) {
        let open = self.first_open();
        for level in Level::ALL {
            let pending = &mut self.pending;
            self.levels[level as usize].pass(level.slot(open), |slot| pending.subtract(slot));
        }
        let end = |level: Level, ahead: u64| {
            let number = level.slot(self.now) + 1 + ahead;
            number.saturating_mul(level.width())
        };
        // The slot under way, and then as many as the window promises. Never moves back, since `now` does not.
        self.ends = [end(Level::Second, 2), end(Level::Minute, 60), end(Level::Hour, 24), u64::MAX];
    }
}

impl Level {
    /// Finest first.
    pub const ALL: [Level; 4] = [Level::Millisecond, Level::Second, Level::Minute, Level::Hour];

    /// How long a slot of this level lasts.
    pub const fn step(self) -> Delay {
        Delay::from_millis(self.width())
    }

    const fn width(self) -> u64 {
        match self {
            Level::Millisecond => 1,
            Level::Second => 1_000,
            Level::Minute => 60_000,
            Level::Hour => 3_600_000,
        }
    }

    /// The next finer level; the finest stays.
    fn finer(self) -> Level {
        Level::ALL[(self as usize).saturating_sub(1)]
    }

    /// The number of the slot that this moment lies in.
    fn slot(self, at: Timestamp) -> u64 {
        // Spelled out, so that each division is by a constant.
        match self {
            Level::Millisecond => at.as_millis(),
            Level::Second => at.as_millis() / const { Level::Second.width() },
            Level::Minute => at.as_millis() / const { Level::Minute.width() },
            Level::Hour => at.as_millis() / const { Level::Hour.width() },
        }
    }

    /// The range of a slot.
    fn split(self, number: u64) -> Split {
        let edge = |number: u64| Timestamp::from_millis(number.saturating_mul(self.width()));
        Split { level: self, from: edge(number), to: edge(number.saturating_add(1)) }
    }

    fn split_at(self, at: Timestamp) -> Split {
        self.split(self.slot(at))
    }
}

impl Split {
    fn covers(&self, other: Split) -> bool {
        self.from <= other.from && other.to <= self.to
    }
}

impl LaneCounts {
    fn of(counts: impl Iterator<Item = (LaneId, i64)>) -> Self {
        let mut counts: Vec<_> =
            counts.filter(|(_, count)| *count > 0).map(|(lane, count)| (lane, count as u64)).collect();
        counts.sort_unstable();
        LaneCounts(counts)
    }

    /// The lanes and their counts, in order of lane.
    pub fn iter(&self) -> impl Iterator<Item = (LaneId, u64)> + '_ {
        self.0.iter().copied()
    }

    /// All lanes together.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    /// The count of one lane.
    pub fn of_lane(&self, lane: LaneId) -> u64 {
        self.0.binary_search_by_key(&lane, |(lane, _)| *lane).map_or(0, |i| self.0[i].1)
    }
}

impl Pending {
    fn add(&mut self, lane: LaneId, delta: i64) {
        self.total += delta;
        let number = lane.number() as usize;
        if number >= self.lanes.len() {
            self.lanes.resize(number + 1, 0);
        }
        self.lanes[number] += delta;
    }

    fn subtract(&mut self, slot: &Slot) {
        for (lane, count) in slot.iter() {
            self.add(lane, -count);
        }
    }
}
