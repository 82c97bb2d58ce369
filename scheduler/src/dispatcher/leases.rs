//! Deliveries under way: who works on what, under which token, until when.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::Dispatcher;
use super::types::{Cause, Extended, HeldLease, SessionId};
use crate::command::{Kind, Report, Retry, Token};
use crate::lane::{Generation, LaneId, Position};
use crate::reply::Fired;
use crate::time::{Delay, Timestamp};

/// A row that was handed out, or is being skipped, and whose end is not decided.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub lane: LaneId,
    pub position: Position,
    pub id: Arc<str>,
    pub fired: Fired,
    pub attempt: u32,
    pub token: Token,
    pub executor: Arc<str>,
    /// May be closed: a lease outlives its session.
    pub session: SessionId,
    /// Handed out by a unary poll, which no hello follows.
    pub poll: bool,
    pub deadline: Timestamp,
    pub phase: Phase,
    /// It was handed out late, for the first time, and has been noted for that.
    pub late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The executor works on it.
    Working,
    /// What became of it is known here and not yet decided by the log.
    Deciding,
}

/// All of them, by generation, which is unique in a partition.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<Generation, Held, BuildHasherDefault<GenerationHasher>>,
    /// Some entries are of leases that ended or were extended; those are dropped when they come up or outnumber the
    /// others.
    deadlines: BinaryHeap<Reverse<(Timestamp, Generation)>>,
}

impl Leases {
    pub fn get(&self, generation: Generation) -> Option<&Held> {
        self.held.get(&generation)
    }

    pub fn get_mut(&mut self, generation: Generation) -> Option<&mut Held> {
        self.held.get_mut(&generation)
    }

    pub fn at(&self, lane: LaneId, position: Position) -> Option<&Held> {
        self.held.get(&position.generation).filter(|held| held.lane == lane && held.position == position)
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn insert(&mut self, held: Held) {
        if held.phase == Phase::Working {
            self.watch(held.deadline, held.position.generation);
        }
        self.held.insert(held.position.generation, held);
    }

    pub fn remove(&mut self, generation: Generation) -> Option<Held> {
        self.held.remove(&generation)
    }

    /// Removes a row whose end was decided, unless it is elsewhere by now.
    pub fn remove_at(&mut self, lane: LaneId, position: Position) -> Option<Held> {
        match self.held.entry(position.generation) {
            Entry::Occupied(entry) if entry.get().lane == lane && entry.get().position == position => {
                Some(entry.remove())
            }
            _ => None,
        }
    }

    /// Moves the deadline of a lease that is there.
    pub fn extend(&mut self, generation: Generation, deadline: Timestamp) {
        if let Some(held) = self.held.get_mut(&generation) {
            held.deadline = deadline;
            self.watch(deadline, generation);
        }
    }

    fn watch(&mut self, deadline: Timestamp, generation: Generation) {
        if self.deadlines.len() > 2 * self.held.len() + 1_024 {
            let held = &self.held;
            self.deadlines.retain(|Reverse((deadline, generation))| current(held.get(generation), *deadline));
        }
        self.deadlines.push(Reverse((deadline, generation)));
    }

    /// The earliest deadline of work under way.
    pub fn next_deadline(&mut self) -> Option<Timestamp> {
        while let Some(&Reverse((deadline, generation))) = self.deadlines.peek() {
            if current(self.held.get(&generation), deadline) {
                return Some(deadline);
            }
            self.deadlines.pop();
        }
        None
    }

    /// The lease that runs out first, if it has by now.
    pub fn expired(&mut self, now: Timestamp) -> Option<Generation> {
        self.next_deadline().filter(|&deadline| deadline <= now)?;
        self.deadlines.pop().map(|Reverse((_, generation))| generation)
    }

    /// Generations whose lease passes the test, in order: the map's own order is nobody's business.
    pub fn select(&self, test: impl Fn(&Held) -> bool) -> Vec<Generation> {
        let mut found: Vec<_> = self.held.values().filter(|held| test(held)).map(|h| h.position.generation).collect();
        found.sort_unstable();
        found
    }

    #[cfg(test)]
    pub fn deadlines_len(&self) -> usize {
        self.deadlines.len()
    }
}

fn current(held: Option<&Held>, deadline: Timestamp) -> bool {
    held.is_some_and(|held| held.phase == Phase::Working && held.deadline == deadline)
}

/// Generations are given out by the log, so nobody can choose colliding ones; one multiplication is enough.
#[derive(Debug, Default)]
pub(super) struct GenerationHasher(u64);

impl Hasher for GenerationHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let product = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

impl Dispatcher {
    /// Renews leases of work under way; says which are gone. A lease is its token, whoever asks.
    pub fn extend(&mut self, now: Timestamp, leases: Vec<HeldLease>) -> Extended {
        let mut answer = Extended::default();
        for lease in leases {
            let held = self.leases.get(lease.generation);
            let lane = held
                .filter(|held| held.phase == Phase::Working && held.token == lease.token && held.id == lease.id)
                .map(|held| held.lane)
                .filter(|&lane| self.namespace_of(lane).is_some_and(|namespace| *namespace == lease.namespace));
            match lane {
                Some(lane) => {
                    let deadline = self.deadline(now, lane);
                    self.leases.extend(lease.generation, deadline);
                    answer.extended.push(lease);
                }
                None => answer.lost.push(lease),
            }
        }
        answer
    }

    pub(super) fn deadline(&self, now: Timestamp, lane: LaneId) -> Timestamp {
        let lease = self.topics.get(&lane.topic()).map_or(Delay::ZERO, |topic| topic.lease());
        now.after(lease).after(self.config.lease_slack)
    }

    /// Gives up leases that have run out: each is logged as an attempt.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some(generation) = self.leases.expired(now) {
            let session = self.leases.get(generation).map(|held| held.session);
            self.give_up(now, generation, "lease expired");
            // An executor that lets leases run out and takes nothing new is likely gone: its shards move until it
            // shows life. One that still has credit would be offered the shards back at once, so it keeps them.
            if let Some(session) = session.filter(|&session| self.room(session) == 0) {
                self.stall(session);
            }
        }
    }

    /// Proposes a failed attempt for work under way that nobody will report on.
    pub(super) fn give_up(&mut self, now: Timestamp, generation: Generation, why: &str) {
        self.stop_working(now, generation);
        let Some(held) = self.leases.get(generation) else {
            return;
        };
        let namespace = self.namespace_of(held.lane).map(ToString::to_string).unwrap_or_default();
        let report = Report {
            namespace,
            id: held.id.to_string(),
            generation: generation.number(),
            token: Some(held.token),
            attempt: held.attempt,
            executor: held.executor.to_string(),
        };
        let session = held.session;
        self.expired_count += 1;
        self.note_expired(&report.namespace);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.expired += 1;
        }
        let retry = Retry { report: Some(report), error: why.to_owned(), retry_after_ms: 0, lease_expired: true };
        self.propose_single(Kind::Retry(retry), Some(generation), None);
    }

    /// What became of it is known now: it counts against nobody's bounds any more.
    pub(super) fn stop_working(&mut self, now: Timestamp, generation: Generation) {
        let Some(held) = self.leases.get_mut(generation).filter(|held| held.phase == Phase::Working) else {
            return;
        };
        held.phase = Phase::Deciding;
        let (session, topic) = (held.session, held.lane.topic());
        if let Some(topic) = self.topics.get_mut(&topic) {
            topic.working -= 1;
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.in_flight -= 1;
        }
        self.freed(now, session);
    }

    /// What was known of it came to nothing: the executor works on it for another lease.
    pub(super) fn resume(&mut self, now: Timestamp, generation: Generation) {
        let Some(lane) = self.leases.get(generation).map(|held| held.lane) else { return };
        let deadline = self.deadline(now, lane);
        let Some(held) = self.leases.get_mut(generation).filter(|held| held.phase == Phase::Deciding) else { return };
        held.phase = Phase::Working;
        if let Some(session) = self.sessions.get_mut(&held.session) {
            session.in_flight += 1;
        }
        if let Some(topic) = self.topics.get_mut(&lane.topic()) {
            topic.working += 1;
        }
        self.leases.extend(generation, deadline);
    }

    /// A row that was handed out has ended, or left its lane.
    pub(super) fn forget(&mut self, now: Timestamp, generation: Generation) {
        self.stop_working(now, generation);
        let Some(held) = self.leases.remove(generation) else {
            return;
        };
        if let Some(lane) = self.lane_mut(held.lane) {
            lane.held.remove(&held.position);
        }
    }

    /// The log did not do with a row what was proposed: it is read again, and treated as what it is then.
    pub(super) fn look_again(&mut self, now: Timestamp, generation: Generation) {
        let Some((id, position)) = self.leases.get(generation).map(|held| (held.lane, held.position)) else {
            return;
        };
        self.forget(now, generation);
        if let Some(lane) = self.lane_mut(id) {
            lane.set_back(position);
            lane.cause = Some(Cause::Queued);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Class, TopicId};

    fn held(number: u64, deadline: u64) -> Held {
        let generation = Generation::from_number(number);
        Held {
            lane: LaneId::new(TopicId(1), Class::Normal),
            position: Position { due: Timestamp::from_millis(1), generation },
            id: "id".into(),
            fired: Fired { time: Timestamp::from_millis(1), index: 1 },
            attempt: 1,
            token: Token::default(),
            executor: "e".into(),
            session: SessionId(1),
            poll: false,
            deadline: Timestamp::from_millis(deadline),
            phase: Phase::Working,
            late: false,
        }
    }

    /// Red when `watch` no longer drops entries of ended leases: a million deliveries leave a million entries.
    #[test]
    fn memory_follows_the_leases_under_way_not_those_ended() {
        let mut leases = Leases::default();
        for number in 0..1_000_000 {
            leases.insert(held(number, 30_000 + number));
            if number >= 100 {
                leases.remove(Generation::from_number(number - 100));
            }
        }
        assert_eq!(leases.len(), 100);
        assert!(leases.deadlines_len() < 2_000, "{} deadlines", leases.deadlines_len());
    }

    /// Red when `extend` leaves `held.deadline` as it was: the lease then expires at the first deadline.
    #[test]
    fn an_extended_lease_expires_once_at_its_last_deadline() {
        let mut leases = Leases::default();
        leases.insert(held(5, 100));
        leases.extend(Generation::from_number(5), Timestamp::from_millis(200));
        assert_eq!(leases.expired(Timestamp::from_millis(199)), None);
        assert_eq!(leases.expired(Timestamp::from_millis(200)), Some(Generation::from_number(5)));
        assert_eq!(leases.expired(Timestamp::from_millis(300)), None);
    }
}
