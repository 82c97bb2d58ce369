//! Who is served next: namespaces take turns, then priority, then topics take turns, then due order.
//!
//! An executor works for one namespace, so namespaces never compete for credit, only for the dispatcher itself;
//! therefore their turns come before priority, and no tenant gains by calling everything urgent. Within a namespace
//! priority decides first, because there executors' credit is what is short.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::lanes::Lane;
use super::leases::{Held, Phase};
use super::types::{Action, Cause, Delivery, Row, RowSource, SessionId};
use super::{Dispatcher, TopicState};
use crate::command::{Kind, SkipLate, Token};
use crate::lane::{Generation, Position, TopicId};
use crate::store::StoreError;
use crate::time::{Delay, Timestamp};

/// Lanes of each priority, highest first; retries compete as normal ones, by the time before which they are not made.
const PRIORITIES: [&[usize]; 3] = [&[0], &[1, 3], &[2]];

/// A tenant's turns.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    /// Its topics that have executors, in order.
    pub topics: Vec<TopicId>,
    turns: [Turn; PRIORITIES.len()],
}

/// Whose turn it is, and how many rows are left of it. Carried from one poll to the next, or small credit would always
/// go to the first.
#[derive(Debug, Default)]
pub(super) struct Turn {
    place: usize,
    used: u32,
}

impl Turn {
    /// Place of the one whose turn it is among `count`, and rows it may be given.
    fn next(&self, count: usize, quantum: u32, left: usize) -> (usize, usize) {
        // At least one, even if the quantum shrank meanwhile: whoever is offered nothing would seem to want nothing.
        (self.place % count, left.min(quantum.saturating_sub(self.used).max(1) as usize))
    }

    /// It was offered so many rows and took so many.
    fn took(&mut self, offered: usize, taken: usize, quantum: u32) {
        self.used = self.used.saturating_add(taken as u32);
        if taken < offered || self.used >= quantum.max(1) {
            *self = Turn { place: self.place.wrapping_add(1), used: 0 };
        }
    }
}

/// One visit to the lanes of one priority of a topic.
struct Visit<'a> {
    now: Timestamp,
    lanes: &'static [usize],
    /// Rows it may give out.
    max: usize,
    source: &'a dyn RowSource,
}

impl Dispatcher {
    /// Hands out what is ready within credit and bounds. Returns whether it stopped for the bound of one poll.
    pub(super) fn deliver(
        &mut self,
        now: Timestamp,
        source: &dyn RowSource,
        actions: &mut Vec<Action>,
    ) -> Result<bool, StoreError> {
        self.stall_at = None;
        self.graced = false;
        if self.undecided >= self.config.undecided_max {
            self.blame(Cause::Undecided);
            return Ok(false);
        }
        self.round += 1;
        let max = self.config.poll_rows_max.max(1);
        let (count, quantum) = (self.namespaces.len(), self.config.namespace_quantum);
        let (mut left, mut idle) = (max, 0);
        while left > 0 && idle < count {
            let (place, offered) = self.turn.next(count, quantum, left);
            let taken = self.deliver_namespace(now, place, offered, source, actions)?;
            self.turn.took(offered, taken, quantum);
            left -= taken;
            idle = if taken == 0 { idle + 1 } else { 0 };
        }
        Ok(left == 0)
    }

    fn deliver_namespace(
        &mut self,
        now: Timestamp,
        place: usize,
        max: usize,
        source: &dyn RowSource,
        actions: &mut Vec<Action>,
    ) -> Result<usize, StoreError> {
        let mut left = max;
        for (priority, lanes) in PRIORITIES.into_iter().enumerate() {
            let mut idle = 0;
            while left > 0 {
                let namespace = &self.namespaces[place];
                let count = namespace.topics.len();
                if idle >= count {
                    break;
                }
                // Alone, a topic need not be interrupted.
                let quantum = if count == 1 { u32::MAX } else { self.config.topic_quantum };
                let (turn, offered) = namespace.turns[priority].next(count, quantum, left);
                let visit = Visit { now, lanes, max: offered, source };
                let taken = self.deliver_topic(namespace.topics[turn], priority, &visit, actions)?;
                self.namespaces[place].turns[priority].took(offered, taken, quantum);
                left -= taken;
                idle = if taken == 0 { idle + 1 } else { 0 };
            }
        }
        Ok(max - left)
    }

    /// Returns how many rows it gave out or skipped; fewer than offered means that there is no more in this poll.
    fn deliver_topic(
        &mut self,
        id: TopicId,
        priority: usize,
        visit: &Visit<'_>,
        actions: &mut Vec<Action>,
    ) -> Result<usize, StoreError> {
        let Some(topic) = self.topics.get_mut(&id) else {
            return Ok(0);
        };
        if topic.drained[priority] == self.round || !visit.lanes.iter().any(|&lane| topic.lanes[lane].backlog()) {
            return Ok(0);
        }
        let concurrency = match topic.info.settings.concurrency_max {
            0 => usize::MAX,
            bound => bound.saturating_sub(topic.working) as usize,
        };
        let max = visit.max.min(concurrency);
        let members = topic.shards.members();
        let mut rooms: Vec<u32> =
            members.iter().map(|m| self.sessions.get(&m.session).map_or(0, |session| session.room())).collect();
        let mut taken = 0;
        let mut graced = false;
        let mut heads = BinaryHeap::new();
        let mut late = Vec::new();
        let mut failed = None;
        while taken < max && failed.is_none() && rooms.iter().any(|&room| room > 0) {
            let mut read = false;
            for &place in visit.lanes {
                let lane = &mut topic.lanes[place];
                while starving(lane, &rooms) {
                    let before = lane.ready_bytes;
                    let (shards, leases) = (&topic.shards, &self.leases);
                    match lane.read(&self.config, self.watermark, self.ready_bytes, shards, leases, visit.source) {
                        Ok(true) => {}
                        Ok(false) => break,
                        // What is ready goes out all the same.
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    }
                    self.ready_bytes += lane.ready_bytes - before;
                    read = true;
                }
            }
            let grace = (visit.now < self.grace_end).then_some(self.term.first_index);
            graced = false;
            for (member, _) in rooms.iter().enumerate().filter(|&(_, &room)| room > 0) {
                for &lane in visit.lanes {
                    graced |= push_head(&mut heads, &topic.lanes[lane], lane, member, grace);
                }
            }
            self.graced |= graced;
            if heads.is_empty() && !read {
                break;
            }
            while taken < max
                && let Some(Reverse((_, member, place))) = heads.pop()
            {
                if rooms[member] == 0 {
                    continue;
                }
                let Some(row) = topic.lanes[place].pop(member) else {
                    continue;
                };
                self.ready_bytes -= row.value.len();
                taken += 1;
                let present = visit.now.max(self.watermark);
                let overdue = present.since(row.position.due);
                let is_late = row.attempt == 1 && self.lateness.is_late(overdue);
                if is_late {
                    let lane = &topic.lanes[place];
                    self.lateness.late_delivery(&topic.info, &row, present, lane.behind, lane.cause);
                }
                if row.attempt == 1 && row.skip_when_later > Delay::ZERO && overdue > row.skip_when_later {
                    late.push((place, row));
                } else {
                    self.counter += 1;
                    let token = Token { epoch: self.term.epoch, term: self.term.term, counter: self.counter };
                    let session = topic.shards.members()[member].session;
                    let deadline = visit.now.after(topic.lease()).after(self.config.lease_slack);
                    let waited = topic.lanes[place].cause.or(topic.lanes[place].behind);
                    let Some(open) = self.sessions.get_mut(&session) else {
                        continue;
                    };
                    let mut held = held(topic, place, &row, token, &open.executor, session, open.poll, deadline);
                    held.late = is_late;
                    topic.lanes[place].hold(row.position);
                    topic.working += 1;
                    self.leases.insert(held);
                    open.credit -= 1;
                    open.in_flight += 1;
                    open.delivered += 1;
                    rooms[member] -= 1;
                    if rooms[member] == 0 {
                        open.dry_since = visit.now;
                    }
                    if open.outbox.is_empty() {
                        self.touched.insert(session);
                    }
                    open.outbox_bytes += row.value.len();
                    let (lane, lease) = (topic.lanes[place].id, topic.lease());
                    // A term hands out an attempt once; one before may have handed out what was there by then.
                    let first = row.attempt == 1 && row.position.generation.index() >= self.term.first_index;
                    open.outbox.push(Delivery { topic: topic.info.clone(), lane, row, token, lease, waited, first });
                    if open.outbox.len() >= self.config.batch_rows_max
                        || open.outbox_bytes >= self.config.batch_bytes_max
                    {
                        open.outbox_bytes = 0;
                        actions.push(Action::Deliver { session, deliveries: std::mem::take(&mut open.outbox) });
                    }
                }
                push_head(&mut heads, &topic.lanes[place], place, member, grace);
            }
            heads.clear();
        }
        if taken < visit.max {
            topic.drained[priority] = self.round;
        }
        let cause = match () {
            () if taken == concurrency => Cause::Concurrency,
            () if taken == visit.max => Cause::Queued,
            () if graced => Cause::Grace,
            () => Cause::NoCredit,
        };
        for &place in visit.lanes {
            topic.note(place, cause);
        }
        let mut stalled = Vec::new();
        if taken < max {
            for &place in visit.lanes {
                self.stall_at = earlier(
                    self.stall_at,
                    blocked(topic, place, &rooms, visit.now, &self.config, &self.sessions, &mut stalled),
                );
            }
        }
        let namespace = topic.info.namespace.clone();
        for (place, row) in late {
            self.skip(id, place, &row, &namespace);
        }
        for session in stalled {
            self.stall(session);
        }
        failed.map_or(Ok(taken), Err)
    }

    /// Dead-letters a row whose first delivery would be too late.
    fn skip(&mut self, id: TopicId, place: usize, row: &Row, namespace: &str) {
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        let nobody: Arc<str> = "".into();
        let mut held = held(topic, place, row, Token::default(), &nobody, SessionId(0), false, Timestamp::MAX);
        held.phase = Phase::Deciding;
        topic.lanes[place].hold(row.position);
        self.leases.insert(held);
        let generation: Generation = row.position.generation;
        let command =
            SkipLate { namespace: namespace.to_owned(), id: row.id.to_string(), generation: generation.number() };
        self.propose_single(Kind::SkipLate(command), Some(generation), None);
    }

    /// Notes why nothing was delivered at all.
    fn blame(&mut self, cause: Cause) {
        for topic in self.topics.values_mut() {
            for place in 0..topic.lanes.len() {
                topic.note(place, cause);
            }
        }
    }

    /// Hands over what has gathered for the executors.
    pub(super) fn send(&mut self, actions: &mut Vec<Action>) {
        for session in std::mem::take(&mut self.touched) {
            if let Some(open) = self.sessions.get_mut(&session)
                && !open.outbox.is_empty()
            {
                open.outbox_bytes = 0;
                actions.push(Action::Deliver { session, deliveries: std::mem::take(&mut open.outbox) });
            }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the fields of a lease, gathered from as many places")]
fn held(
    topic: &TopicState,
    place: usize,
    row: &Row,
    token: Token,
    executor: &Arc<str>,
    session: SessionId,
    poll: bool,
    deadline: Timestamp,
) -> Held {
    Held {
        lane: topic.lanes[place].id,
        position: row.position,
        id: row.id.clone(),
        fired: row.fired,
        attempt: row.attempt,
        token,
        executor: executor.clone(),
        session,
        poll,
        deadline,
        phase: Phase::Working,
        late: false,
    }
}

/// An executor with room has nothing ready, and there may be something to read.
fn starving(lane: &Lane, rooms: &[u32]) -> bool {
    lane.unread && rooms.iter().enumerate().any(|(member, &room)| room > 0 && lane.head(member).is_none())
}

type Heads = BinaryHeap<Reverse<(Position, usize, usize)>>;

/// Offers the first row ready for a member; returns whether it has to wait for the end of the grace.
fn push_head(heads: &mut Heads, lane: &Lane, place: usize, member: usize, grace: Option<u64>) -> bool {
    let Some(row) = lane.head(member) else {
        return false;
    };
    // What follows a row that waits for the grace waits with it: it may be of the same shard.
    if grace.is_some_and(|first_index| row.fired.index < first_index) {
        return true;
    }
    heads.push(Reverse((row.position, member, place)));
    false
}

/// Finds executors without room that keep others from reading on, and have for too long; else when that will be.
fn blocked(
    topic: &TopicState,
    place: usize,
    rooms: &[u32],
    now: Timestamp,
    config: &super::Config,
    sessions: &super::Sessions,
    stalled: &mut Vec<SessionId>,
) -> Option<Timestamp> {
    let lane = &topic.lanes[place];
    if !lane.full(config) || !starving(lane, rooms) {
        return None;
    }
    let mut next = None;
    for (member, _) in rooms.iter().enumerate().filter(|&(member, &room)| room == 0 && lane.head(member).is_some()) {
        let session = topic.shards.members()[member].session;
        let Some(open) = sessions.get(&session) else {
            continue;
        };
        let at = open.dry_since.after(config.stall);
        if at <= now {
            stalled.push(session);
        } else {
            next = earlier(next, Some(at));
        }
    }
    next
}

/// The earlier of two moments that may not be.
pub(super) fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}
