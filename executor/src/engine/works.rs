//! Deliveries in hand: which wait for a free handler, which are worked on, when each lease ends or should be extended.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::v1::Delivery;

use super::{Settings, WorkId};

/// Of a topic that says nothing else, and of a server that says nothing.
const LEASE_DEFAULT: Duration = Duration::from_secs(30);

/// Deliveries in hand, over all partitions.
#[derive(Debug, Default)]
pub(super) struct Works {
    next: WorkId,
    works: HashMap<WorkId, Work>,
    by_key: HashMap<(String, u64), WorkId>,
    /// Wait for a free handler, in the order they came.
    queue: VecDeque<WorkId>,
    running: usize,
    timers: BTreeSet<(Duration, WorkId)>,
}

/// One delivery in hand.
#[derive(Debug)]
pub(super) struct Work {
    pub delivery: Arc<Delivery>,
    pub running: bool,
    /// Its end gives one credit back to the stream of its partition.
    pub owes_credit: bool,
    lease: Duration,
    margin: Duration,
    received: Duration,
    lease_until: Duration,
    /// Never extended beyond this; `None`: not at all.
    extend_until: Option<Duration>,
    /// When an extension was asked for that is not answered yet.
    asked: Option<Duration>,
    timer: Duration,
}

/// What a timer of a delivery means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask for more time.
    Extend(WorkId),
    /// The lease is over.
    Expired(WorkId),
}

impl Works {
    /// Takes a delivery; it waits for a free handler.
    pub fn received(&mut self, now: Duration, delivery: Arc<Delivery>, settings: &Settings) -> WorkId {
        self.next += 1;
        let id = self.next;
        let lease = delivery.lease.and_then(|lease| lease.try_into().ok()).unwrap_or(LEASE_DEFAULT);
        let mut work = Work {
            running: false,
            owes_credit: true,
            lease,
            margin: settings.lease_margin.min(lease / 4),
            received: now,
            lease_until: now.saturating_add(lease),
            extend_until: settings.extend_up_to.map(|longest| now.saturating_add(longest)),
            asked: None,
            timer: Duration::ZERO,
            delivery,
        };
        work.timer = work.next_timer();
        self.timers.insert((work.timer, id));
        self.by_key.insert((work.delivery.id.clone(), work.delivery.generation), id);
        self.queue.push_back(id);
        self.works.insert(id, work);
        id
    }

    /// The next delivery for a handler, while fewer than `concurrency` run: what it is and when it will be dropped.
    pub fn start(&mut self, concurrency: usize) -> Option<(WorkId, Arc<Delivery>, Duration)> {
        while self.running < concurrency {
            let id = self.queue.pop_front()?;
            // Deliveries that ended while they waited are still in the queue.
            let Some(work) = self.works.get_mut(&id) else {
                continue;
            };
            work.running = true;
            self.running += 1;
            let end = work.lease_until.max(work.extend_until.unwrap_or_default());
            let started = (id, work.delivery.clone(), end.saturating_sub(work.margin));
            self.set_timer(id);
            return Some(started);
        }
        None
    }

    /// Done with, one way or another.
    pub fn remove(&mut self, id: WorkId) -> Option<Work> {
        let work = self.works.remove(&id)?;
        self.timers.remove(&(work.timer, id));
        self.by_key.remove(&(work.delivery.id.clone(), work.delivery.generation));
        if work.running {
            self.running -= 1;
        }
        Some(work)
    }

    /// The next timer that has run out.
    pub fn due(&mut self, now: Duration) -> Option<Due> {
        let &(at, id) = self.timers.first()?;
        if at > now {
            return None;
        }
        let work = self.works.get_mut(&id)?;
        if now >= work.expires_at() {
            return Some(Due::Expired(id));
        }
        work.asked = Some(now);
        self.set_timer(id);
        Some(Due::Extend(id))
    }

    /// The server extended a lease, as was asked for.
    pub fn extended(&mut self, key: (&str, u64)) {
        let Some(id) = self.find(key) else { return };
        if let Some(work) = self.works.get_mut(&id)
            && let Some(asked_at) = work.asked
        {
            // From the asking, not from the answer: the server may have counted from any moment between.
            work.lease_until = work.lease_until.max(asked_at.saturating_add(work.lease));
            work.asked = None;
            self.set_timer(id);
        }
    }

    /// A new stream: extensions asked for on the old one may never be answered. Credit is counted afresh.
    pub fn adopted(&mut self, id: WorkId, owes_credit: bool) {
        if let Some(work) = self.works.get_mut(&id) {
            work.asked = None;
            work.owes_credit = owes_credit;
            self.set_timer(id);
        }
    }

    /// The delivery in hand of this id and generation.
    pub fn find(&self, (id, generation): (&str, u64)) -> Option<WorkId> {
        self.by_key.get(&(id.to_owned(), generation)).copied()
    }

    /// A delivery in hand.
    pub fn get(&self, id: WorkId) -> Option<&Work> {
        self.works.get(&id)
    }

    /// Deliveries of a partition, in the order they came.
    pub fn of_partition(&self, partition: u32) -> Vec<WorkId> {
        let mut ids: Vec<WorkId> =
            self.works.iter().filter(|(_, work)| work.delivery.partition == partition).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether anything of a partition is in hand.
    pub fn has_partition(&self, partition: u32) -> bool {
        self.works.values().any(|work| work.delivery.partition == partition)
    }

    /// When the next timer runs out.
    pub fn wake_at(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Nothing is in hand.
    pub fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    /// Handlers at work, and deliveries that wait for one.
    pub fn counts(&self) -> (usize, usize) {
        (self.running, self.works.len() - self.running)
    }

    fn set_timer(&mut self, id: WorkId) {
        if let Some(work) = self.works.get_mut(&id) {
            self.timers.remove(&(work.timer, id));
            work.timer = work.next_timer();
            self.timers.insert((work.timer, id));
        }
    }
}

impl Work {
    /// When the work must have ended.
    fn expires_at(&self) -> Duration {
        let lease_end = self.lease_until.saturating_sub(self.margin);
        match self.extend_until {
            Some(longest) if self.running => {
                lease_end.min(longest.max(self.received.saturating_add(self.lease)).saturating_sub(self.margin))
            }
            _ => lease_end,
        }
    }

    /// What waits for a handler is extended always: it has not had its chance. What runs, only when that is wanted.
    fn may_extend(&self) -> bool {
        let wanted = !self.running || self.extend_until.is_some_and(|longest| longest > self.lease_until);
        wanted && self.asked.is_none()
    }

    fn next_timer(&self) -> Duration {
        let expires = self.expires_at();
        if self.may_extend() { expires.min(self.lease_until.saturating_sub(self.lease / 2)) } else { expires }
    }

    /// Its lease, for messages.
    pub fn lease(&self) -> Duration {
        self.lease
    }
}
