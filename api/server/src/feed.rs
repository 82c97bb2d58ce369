//! What a replica tells the rest of its node about what it applied: the wheel, the leader's dispatcher, watchers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use scheduler::Topics;
use scheduler::forecast::{Grid, Part};
use scheduler::lane::{Class, LaneId, Position, TopicId};
use scheduler::machine::{Applied, Machine};
use scheduler::read;
use scheduler::record::Topic;
use scheduler::reply::Effect;
use scheduler::store::StoreError;
use scheduler::time::Timestamp;
use scheduler::wheel::{Split, Wheel};
use tokio::sync::{mpsc, watch};

use crate::canary;
use crate::machine::Rows;
use crate::records::Records;
use crate::recount::{Recount, Recounter};

/// Changes kept for watches that resume.
const CHANGES_MAX: usize = 16_384;

/// Exact slots looked through one by one when time moves on; beyond that every lane with anything pending counts as
/// touched.
const SLOTS_LOOKED_THROUGH_MAX: usize = 64;

/// One applied entry, as the dispatcher needs it.
#[derive(Debug)]
pub struct Fed {
    /// Its index.
    pub index: u64,
    /// The watermark it moved to.
    pub watermark: Timestamp,
    /// Lanes in which something became due; may name too many.
    pub lanes: Vec<LaneId>,
    /// What it changed.
    pub effects: Vec<Effect>,
}

/// Something that watchers cannot find by looking at what fell due.
#[derive(Clone, Debug)]
pub struct Change {
    /// By the entry at this index, or by one a little before.
    pub index: u64,
    /// What.
    pub what: Changed,
}

/// What changed.
#[derive(Clone, Debug)]
pub enum Changed {
    /// A command changed the state of a trigger.
    Trigger {
        /// Tenant.
        namespace: String,
        /// Which.
        id: String,
    },
    /// A topic was resumed or its rate limit let some pass: triggers that had been due before fired.
    Released {
        /// Their lane.
        lane: LaneId,
        /// They lie after this position.
        after: Position,
    },
}

/// How far a replica has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Index of the last entry applied and readable.
    pub index: u64,
    /// Its time.
    pub watermark: Timestamp,
    /// The feature level in force since.
    pub level: u32,
}

/// What one replica tells.
pub struct Feed {
    partition: u32,
    inner: Mutex<Inner>,
    progress: watch::Sender<Progress>,
    records: Records,
    recounter: Recounter,
}

struct Inner {
    wheel: Wheel,
    /// Counts the wheels there have been: what was counted for one says nothing about the next.
    wheels: u64,
    /// Between apply and its publication: the store may be ahead of the wheel, so no split may begin.
    applying: bool,
    owed: bool,
    dispatcher: Option<mpsc::UnboundedSender<Vec<Fed>>>,
    topics: Arc<Vec<Topic>>,
    changes: VecDeque<Change>,
    /// Changes up to this index are not (all) kept.
    changes_after: u64,
}

/// When the leader has to propose an entry though nobody asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextEntry {
    /// Internal work is left over: soon.
    Owed,
    /// When time is here.
    At(Timestamp),
    /// Nothing is pending.
    Never,
}

impl Feed {
    /// Of a partition; splits of the wheel are counted by `recounter`.
    pub fn new(partition: u32, recounter: Recounter) -> Arc<Feed> {
        Arc::new(Feed {
            partition,
            inner: Mutex::new(Inner {
                wheel: Wheel::new(Timestamp::MIN),
                wheels: 0,
                applying: false,
                owed: false,
                dispatcher: None,
                topics: Arc::default(),
                changes: VecDeque::new(),
                changes_after: 0,
            }),
            progress: watch::Sender::default(),
            records: Records::default(),
            recounter,
        })
    }

    /// Which partition.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// How far the replica has come. Told again, unchanged, when [`Feed::next_entry`] may have another answer.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Who waits for records of the business domains.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Entries are being applied: the store may be ahead of what was published.
    pub(crate) fn applying(&self) {
        self.lock().applying = true;
    }

    /// The entries are readable in `store`. Takes them.
    pub(crate) fn publish(self: &Arc<Self>, store: &raft::Store, applied: &mut Vec<Applied>, topics: &Topics) {
        let Some(last) = applied.last() else {
            self.lock().applying = false;
            return;
        };
        let progress = Progress { index: last.index, watermark: last.watermark, level: last.level };
        let Progress { watermark: before, level, .. } = *self.progress.borrow();
        if level != 0 && last.level > level {
            tracing::info!(
                partition = self.partition,
                from = level,
                to = last.level,
                "goes over to another feature level"
            );
        }
        let mut inner = self.lock();
        inner.applying = false;
        inner.owed = last.owed;
        let mut released = Vec::new();
        if applied.iter().any(|one| one.effects.iter().any(|effect| matches!(effect, Effect::LaneChanged { .. })))
            || topics.len() != inner.topics.len()
        {
            let topics: Vec<Topic> = topics.iter().cloned().collect();
            released = released_since(&inner.topics, &topics, before);
            inner.topics = Arc::new(topics);
        }
        for one in applied.iter() {
            for effect in &one.effects {
                if let Effect::Changed { namespace, id } = effect
                    && id.contains(' ')
                {
                    self.records.changed(namespace, id, one.index);
                }
            }
        }
        let fed: Vec<Fed> = applied.drain(..).map(|one| inner.take_in(one)).collect();
        for (lane, after) in released {
            inner.changed(Change { index: progress.index, what: Changed::Released { lane, after } });
        }
        self.begin_splits(&mut inner, store);
        if let Some(dispatcher) = &inner.dispatcher
            && dispatcher.send(fed).is_err()
        {
            inner.dispatcher = None;
        }
        // Under the lock, so that whoever begins to follow knows where.
        self.progress.send_replace(progress);
    }

    /// The store is another than before.
    pub(crate) fn restored<D>(self: &Arc<Self>, store: &raft::Store, machine: &Machine<D>) -> Result<(), StoreError>
    where
        D: scheduler::domain::Domain,
    {
        let progress = Progress { index: machine.applied(), watermark: machine.watermark(), level: machine.level() };
        let mut wheel = Wheel::new(progress.watermark);
        for row in read::minute_counts(&Rows(store))? {
            wheel.load_minute(row.lane, row.minute, i64::try_from(row.count).unwrap_or(i64::MAX));
        }
        let mut inner = self.lock();
        inner.wheel = wheel;
        inner.wheels += 1;
        inner.applying = false;
        inner.owed = false;
        // Whoever followed the store before cannot go on: a dispatcher ends with its term, watches begin anew.
        inner.dispatcher = None;
        inner.changes.clear();
        inner.changes_after = progress.index;
        inner.topics = Arc::new(machine.topics().iter().cloned().collect());
        self.begin_splits(&mut inner, store);
        self.progress.send_replace(progress);
        Ok(())
    }

    /// Sends a leader's dispatcher every entry published after the place that is returned.
    pub fn follow(&self) -> (Progress, mpsc::UnboundedReceiver<Vec<Fed>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = self.lock();
        inner.dispatcher = Some(sender);
        let progress = *self.progress.borrow();
        (progress, receiver)
    }

    /// When an entry is needed to move time.
    pub fn next_entry(&self) -> NextEntry {
        let inner = self.lock();
        if inner.owed {
            return NextEntry::Owed;
        }
        match inner.wheel.next_due(inner.wheel.now()) {
            None => NextEntry::Never,
            Some(next) if next.exact => NextEntry::At(next.at),
            Some(next) => NextEntry::At(next.wake),
        }
    }

    /// Triggers due later than the watermark, all lanes together, canaries left out.
    pub fn pending(&self) -> u64 {
        let inner = self.lock();
        let own = inner.topics.iter().find(|topic| canary::is_own(topic)).map(|topic| topic.id);
        let lanes = inner.wheel.pending_by_lane();
        let own: u64 = lanes.iter().filter(|(lane, _)| Some(lane.topic()) == own).map(|(_, count)| count).sum();
        inner.wheel.pending().saturating_sub(own)
    }

    /// How many triggers are due in each of the 24 hours from `now` on, canaries left out. Cheap: from the wheel's counts.
    pub fn due_by_hour(&self, now: Timestamp) -> [u64; 24] {
        let inner = self.lock();
        let own = inner.topics.iter().find(|topic| canary::is_own(topic)).map(|topic| topic.id);
        inner.wheel.by_hour(now, |lane| Some(lane.topic()) != own)
    }

    /// This partition's share of a forecast, the topics by their numbers here, and the rows it was taken from. `None`
    /// while entries are being applied: the rows may be ahead of the wheel.
    pub fn forecast(
        &self,
        store: &raft::Store,
        grid: Grid,
        topic: Option<TopicId>,
    ) -> Option<(Part, Arc<Vec<Topic>>, raft::Snapshot)> {
        let inner = self.lock();
        (!inner.applying).then(|| (inner.wheel.forecast(grid, topic), inner.topics.clone(), store.snapshot()))
    }

    /// The topics of this partition.
    pub fn topics(&self) -> Arc<Vec<Topic>> {
        self.lock().topics.clone()
    }

    /// Whether all changes after `index` are kept.
    pub fn is_kept(&self, index: u64) -> bool {
        index >= self.lock().changes_after
    }

    /// The changes after `index`, in order; `None` when not all of them are kept any more.
    pub fn changes_after(&self, index: u64) -> Option<Vec<Change>> {
        let inner = self.lock();
        if index < inner.changes_after {
            return None;
        }
        let first = inner.changes.partition_point(|change| change.index <= index);
        Some(inner.changes.iter().skip(first).cloned().collect())
    }

    /// A split has been counted. Nothing happens when the store, and with it the wheel, was replaced meanwhile: the wheel of
    /// now may be counting the same slot, from other rows.
    pub(crate) fn finish_split(
        self: &Arc<Self>,
        wheel: u64,
        split: Split,
        counts: Vec<(LaneId, Timestamp, i64)>,
        store: &raft::Store,
    ) {
        let mut inner = self.lock();
        if wheel != inner.wheels {
            return;
        }
        let drift = inner.wheel.finish_split(split, counts);
        if !drift.0.is_empty() {
            tracing::error!(partition = self.partition, ?split, ?drift, "the wheel and the rows had come apart");
            crate::metrics::wheel_drift();
        }
        // While entries are being applied the store may be ahead; their publication begins the splits then.
        if !inner.applying {
            self.begin_splits(&mut inner, store);
        }
        drop(inner);
        // Nothing was applied, but the next entry may be needed at another moment.
        self.progress.send_modify(|_| {});
    }

    fn begin_splits(self: &Arc<Self>, inner: &mut Inner, store: &raft::Store) {
        let owed: Vec<Split> = inner.wheel.splits_owed().collect();
        let mut snapshot = None;
        for split in owed {
            if inner.wheel.begin_split(split) {
                let snapshot = snapshot.get_or_insert_with(|| store.snapshot()).clone();
                let (feed, wheel) = (self.clone(), inner.wheels);
                self.recounter.count(Recount { feed, wheel, split, snapshot, store: store.clone() });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("a panic while feeding has been reported, and the state is lost")
    }
}

impl Inner {
    fn take_in(&mut self, applied: Applied) -> Fed {
        let lanes = self.advance(applied.watermark);
        for effect in &applied.effects {
            match effect {
                Effect::Inserted { lane, position }
                    if position.due > applied.watermark && lane.class() != Class::Dead =>
                {
                    self.wheel.insert(*lane, position.due);
                }
                Effect::Removed { lane, position }
                    if position.due > applied.watermark && lane.class() != Class::Dead =>
                {
                    self.wheel.remove(*lane, position.due);
                }
                // Records of the business domains are told on their own.
                Effect::Changed { namespace, id } if !id.contains(' ') => {
                    let what = Changed::Trigger { namespace: namespace.clone(), id: id.clone() };
                    self.changed(Change { index: applied.index, what });
                }
                _ => {}
            }
        }
        Fed { index: applied.index, watermark: applied.watermark, lanes, effects: applied.effects }
    }

    fn changed(&mut self, change: Change) {
        if self.changes.len() == CHANGES_MAX
            && let Some(oldest) = self.changes.pop_front()
        {
            self.changes_after = oldest.index;
        }
        self.changes.push_back(change);
    }

    /// Moves the wheel; returns the lanes in which something became due.
    fn advance(&mut self, watermark: Timestamp) -> Vec<LaneId> {
        let mut lanes = Vec::new();
        for looked_through in 0.. {
            let Some(next) = self.wheel.next_due(self.wheel.now()).filter(|next| next.at <= watermark) else { break };
            if !next.exact || looked_through == SLOTS_LOOKED_THROUGH_MAX {
                lanes.extend(self.wheel.pending_by_lane().iter().map(|(lane, _)| lane));
                break;
            }
            lanes.extend(next.lanes.iter().map(|(lane, _)| lane));
            self.wheel.advance(next.at);
        }
        self.wheel.advance(watermark);
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }
}

/// Lanes that let more pass than they did before at the watermark then, and up to where they had.
fn released_since(before: &[Topic], now: &[Topic], watermark: Timestamp) -> Vec<(LaneId, Position)> {
    let mut released = Vec::new();
    // Topics are never taken away, and keep their place.
    for (old, new) in before.iter().zip(now) {
        for class in [Class::High, Class::Normal, Class::Low] {
            let passed = old.lanes[class as usize].fired_up_to(watermark);
            if new.lanes[class as usize].fired_up_to(watermark) > passed {
                released.push((new.lane(class), passed));
            }
        }
    }
    released
}

#[cfg(test)]
mod tests {
    use scheduler::domain::NoDomain;
    use scheduler::keys;
    use scheduler::lane::TopicId;

    use super::*;

    /// A snapshot replaces the rows while a slot of the wheel is counted: what was counted in the rows of before is not taken
    /// for what is in those of now.
    ///
    /// Turns red when `finish_split` does not look which wheel was counted for. Found by seed 2475 of the simulation.
    #[test]
    fn a_count_for_a_wheel_that_was_replaced_is_not_believed() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = raft::Store::open_alone(directory.path(), &raft::StoreConfig::default(), None).expect("opens");
        let lane = LaneId::new(TopicId(1), Class::Normal);
        let mut batch = raft::Batch::default();
        batch.add(&keys::count(Timestamp::MIN, lane), 2);
        store.write(batch).expect("written");
        let (recounter, work) = Recounter::by_hand();
        let feed = Feed::new(0, recounter);
        let machine = Machine::new(NoDomain);
        feed.restored(&store, &machine).expect("readable");
        let before = work.try_recv().expect("the slot that has begun is counted");
        feed.restored(&store, &machine).expect("readable");
        let now = work.try_recv().expect("and again, for the new wheel");
        assert_eq!(before.split, now.split);

        feed.finish_split(before.wheel, before.split, Vec::new(), &before.store);
        assert!(work.try_recv().is_err(), "the count is still under way");
        let due = Timestamp::from_millis(1_000);
        feed.finish_split(now.wheel, now.split, vec![(lane, due, 2)], &now.store);
        assert_eq!(feed.pending(), 2);
        match feed.next_entry() {
            NextEntry::At(at) => assert!(at <= due, "{at} is after {due}"),
            NextEntry::Owed | NextEntry::Never => panic!("two are due at {due}"),
        }
    }
}
