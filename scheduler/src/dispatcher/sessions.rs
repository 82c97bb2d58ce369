//! Executors that ask for work: their credit, and what they say they hold.

use std::sync::Arc;

use super::Dispatcher;
use super::leases::{Held, Phase};
use super::types::{Cause, Delivery, HeldLease, Hello, Located, Origin, RowSource, SessionId, Welcome};
use crate::lane::TopicId;
use crate::store::StoreError;
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Session {
    pub executor: Arc<str>,
    pub namespace: Arc<str>,
    pub names: Vec<Arc<str>>,
    /// Those of its topics that exist.
    pub topics: Vec<TopicId>,
    pub poll: bool,
    /// Deliveries it still allows.
    pub credit: u32,
    pub in_flight: u32,
    pub in_flight_max: u32,
    pub draining: bool,
    /// Its shards are with others until it shows life.
    pub stalled: bool,
    /// Since when it takes nothing, if it does not.
    pub dry_since: Timestamp,
    /// Deliveries of this poll.
    pub outbox: Vec<Delivery>,
    pub outbox_bytes: usize,
    pub delivered: u64,
    pub expired: u64,
}

impl Session {
    /// How many deliveries it takes now.
    pub fn room(&self) -> u32 {
        if self.draining { 0 } else { self.credit.min(self.in_flight_max.saturating_sub(self.in_flight)) }
    }

    fn takes_part(&self) -> bool {
        !self.draining && !self.stalled
    }
}

impl Dispatcher {
    /// Opens a session and adopts what the executor still works on, so that it is not delivered again.
    ///
    /// A lease is adopted when its token is the newest known of a row that waits for that attempt; it then runs for
    /// the topic's lease from now. A stream replaces an older one of the same executor, and what the executor was
    /// given but does not list is given up at once: it counts as a failed attempt, so that work that kills its
    /// executor before it can say so still comes to an end.
    ///
    /// # Errors
    ///
    /// When the source could not be read: no session is open then, as if it had been closed at once.
    pub fn open(&mut self, now: Timestamp, hello: Hello, source: &dyn RowSource) -> Result<Welcome, StoreError> {
        let same = |s: &Session| !s.poll && s.namespace == hello.namespace && s.executor == hello.executor;
        let replaced = if hello.poll { None } else { self.sessions.iter().find(|(_, s)| same(s)).map(|(&id, _)| id) };
        if let Some(replaced) = replaced {
            self.close(replaced);
        }
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let mut names = hello.topics;
        names.sort_unstable();
        names.dedup();
        let topic = |name: &Arc<str>| self.names.get(&(hello.namespace.clone(), name.clone())).copied();
        let session = Session {
            topics: names.iter().filter_map(topic).collect(),
            names,
            executor: hello.executor,
            namespace: hello.namespace,
            poll: hello.poll,
            credit: hello.in_flight_max,
            in_flight: 0,
            in_flight_max: hello.in_flight_max,
            draining: false,
            stalled: false,
            dry_since: now,
            outbox: Vec::new(),
            outbox_bytes: 0,
            delivered: 0,
            expired: 0,
        };
        let (executor, namespace) = (session.executor.clone(), session.namespace.clone());
        self.sessions.insert(id, session);
        let mut adopted = Vec::new();
        for lease in hello.held {
            if lease.namespace != namespace {
                continue;
            }
            match self.adopt(now, id, &executor, hello.poll, &lease, source) {
                Ok(true) => adopted.push(lease),
                Ok(false) => {}
                Err(error) => {
                    self.close(id);
                    return Err(error);
                }
            }
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.credit = session.in_flight_max.saturating_sub(adopted.len().try_into().unwrap_or(u32::MAX));
        }
        if !hello.poll {
            let lost = self.leases.select(|held| {
                held.phase == Phase::Working && !held.poll && held.session != id && held.executor == executor
            });
            for generation in lost {
                let of_tenant = |held: &Held| self.namespace_of(held.lane).is_some_and(|n| *n == namespace);
                if self.leases.get(generation).is_some_and(of_tenant) {
                    self.give_up(now, generation, "executor came back without it");
                }
            }
        }
        self.regroup_session(id);
        Ok(Welcome { session: id, adopted, replaced })
    }

    /// Goes on with a lease if it is the newest of a row that waits for this attempt.
    fn adopt(
        &mut self,
        now: Timestamp,
        session: SessionId,
        executor: &Arc<str>,
        poll: bool,
        lease: &HeldLease,
        source: &dyn RowSource,
    ) -> Result<bool, StoreError> {
        let (lane, position, attempt, fired) = match self.leases.get(lease.generation) {
            // Of two executors that claim one delivery, or an older and a newer one, the newest token has it.
            Some(held) => {
                let newest = held.token == lease.token || held.token < lease.token && self.of_earlier_term(lease);
                let same = held.id == lease.id && held.attempt == lease.attempt;
                // A lease that is listed twice is held once.
                if held.phase != Phase::Working || held.session == session || !same || !newest {
                    return Ok(false);
                }
                (held.lane, held.position, held.attempt, held.fired)
            }
            None => {
                if !self.of_earlier_term(lease) {
                    return Ok(false);
                }
                match source.locate(&lease.namespace, &lease.id, lease.generation)? {
                    Some(Located { lane, position, attempt, fired })
                        if attempt == lease.attempt && position.generation == lease.generation =>
                    {
                        (lane, position, attempt, fired)
                    }
                    _ => return Ok(false),
                }
            }
        };
        if self.namespace_of(lane).is_none_or(|namespace| *namespace != lease.namespace) {
            return Ok(false);
        }
        self.forget(now, lease.generation);
        let deadline = self.deadline(now, lane);
        let Some(topic) = self.topics.get_mut(&lane.topic()) else {
            return Ok(false);
        };
        let Some(place) = topic.lane_mut(lane) else {
            return Ok(false);
        };
        let bytes = place.ready_bytes;
        place.remove_ready(position);
        self.ready_bytes -= bytes - place.ready_bytes;
        place.hold(position);
        topic.working += 1;
        self.leases.insert(Held {
            lane,
            position,
            id: lease.id.clone(),
            fired,
            attempt,
            token: lease.token,
            executor: executor.clone(),
            session,
            poll,
            deadline,
            phase: Phase::Working,
            // What the leader before noted of it is gone with its term.
            late: false,
        });
        if let Some(session) = self.sessions.get_mut(&session) {
            session.in_flight += 1;
        }
        Ok(true)
    }

    fn of_earlier_term(&self, lease: &HeldLease) -> bool {
        lease.token.epoch == self.term.epoch && lease.token.term < self.term.term
    }

    /// Allows this many more deliveries, up to what the executor may hold at once.
    pub fn credit(&mut self, now: Timestamp, session: SessionId, deliveries: u32) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.credit = session.credit.saturating_add(deliveries).min(session.in_flight_max);
        }
        self.freed(now, session);
    }

    /// No more deliveries for this session; its shards move, what it works on stays its own.
    pub fn drain(&mut self, session: SessionId) {
        if let Some(open) = self.sessions.get_mut(&session) {
            open.draining = true;
            self.regroup_session(session);
        }
    }

    /// Ends a session. Its leases run to their deadline: the executor may have lost its stream alone, and go on by
    /// another or by unary calls. Undelivered rows of its shards move at once. Unknown sessions are ignored.
    pub fn close(&mut self, session: SessionId) {
        let Some(closed) = self.sessions.remove(&session) else {
            return;
        };
        self.results.remove(&Origin::Session(session));
        for topic in closed.topics {
            self.regroup(topic);
        }
    }

    /// How many deliveries the session takes now.
    pub(super) fn room(&self, session: SessionId) -> u32 {
        self.sessions.get(&session).map_or(0, Session::room)
    }

    /// The session may have room again: if its shards were moved for that, they come back.
    pub(super) fn freed(&mut self, now: Timestamp, session: SessionId) {
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        if open.room() == 0 {
            return;
        }
        open.dry_since = now;
        if std::mem::take(&mut open.stalled) {
            self.regroup_session(session);
        }
    }

    /// Moves the shards of a session that takes nothing to the others.
    pub(super) fn stall(&mut self, session: SessionId) {
        if let Some(open) = self.sessions.get_mut(&session)
            && !std::mem::replace(&mut open.stalled, true)
        {
            self.regroup_session(session);
        }
    }

    pub(super) fn regroup_session(&mut self, session: SessionId) {
        let topics = self.sessions.get(&session).map(|s| s.topics.clone()).unwrap_or_default();
        for topic in topics {
            self.regroup(topic);
        }
    }

    /// Shares the shards of a topic, and what is ready of it, among the executors that take part now.
    pub(super) fn regroup(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        let members = self.sessions.iter().filter(|(_, session)| session.takes_part() && session.topics.contains(&id));
        topic.shards.share(members.map(|(&session, open)| (session, &*open.executor)));
        for lane in &mut topic.lanes {
            let bytes = lane.ready_bytes;
            lane.share(&topic.shards);
            self.ready_bytes -= bytes - lane.ready_bytes;
        }
        // Only topics with executors are looked at when it is decided who is served next.
        let served = &mut self.namespaces[topic.namespace].topics;
        match (served.binary_search(&id), topic.shards.members().is_empty()) {
            (Err(place), false) => served.insert(place, id),
            (Ok(place), true) => drop(served.remove(place)),
            _ => {}
        }
        for lane in topic.lanes.iter_mut().filter(|lane| lane.backlog() && topic.shards.members().is_empty()) {
            lane.cause = Some(Cause::NoExecutor);
        }
        self.untold.insert(id);
    }
}
