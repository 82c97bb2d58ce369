//! A world for the dispatcher: a store and a log simple enough to be obviously right, driven by hand.

#![allow(dead_code, reason = "each test crate uses its part")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use scheduler::command::{Kind, Report, Token, TopicSettings};
use scheduler::dispatcher::{
    Action, Config, Decision, Delivery, Dispatcher, Done, HeldLease, Hello, Located, Marks, Origin, Outcome,
    OutcomeResult, Row, RowSource, Scanned, SessionId, Term, Ticket, Topic, Welcome, shard_of,
};
use scheduler::lane::{Class, Generation, LaneId, Position, TopicId};
use scheduler::reply::{self, Effect, Fired, Receipt, Refusal, Reply};
use scheduler::run_codec;
use scheduler::store::StoreError;
use scheduler::time::{Delay, Timestamp};

/// Attempts before the dead letters.
pub const ATTEMPTS_MAX: u32 = 3;
/// Before another attempt.
pub const BACKOFF: Delay = Delay::from_millis(100);
pub const EPOCH: u64 = 1;
/// A business command, or the error of a retry, that this log refuses.
pub const REFUSED: &[u8] = b"refused";

/// What has not ended.
#[derive(Clone, Debug)]
pub struct Live {
    pub namespace: Arc<str>,
    pub id: Arc<str>,
    pub shard: u16,
    /// Of the first attempt.
    pub due: Timestamp,
    /// Attempts made.
    pub attempt: u32,
    pub skip_when_later: Delay,
    pub bytes: usize,
}

/// The replicated part.
#[derive(Debug, Default)]
pub struct Store {
    pub index: u64,
    pub watermark: Timestamp,
    pub topics: Vec<Topic>,
    pub rows: BTreeMap<(LaneId, Position), Live>,
    pub marks: BTreeMap<LaneId, Marks>,
    pub completed: Vec<Generation>,
    pub dead: Vec<Generation>,
    /// Moments the watermark moved to, and the entries that moved it.
    fired: BTreeMap<Timestamp, u64>,
    /// Positions released, and the entry that did it.
    released: BTreeMap<(LaneId, Position), u64>,
    pub reads: Cell<usize>,
    /// Reads to come that fail.
    pub failures: Cell<usize>,
}

impl Store {
    fn fired(&self, lane: LaneId, position: Position) -> Fired {
        if let Some((_, &index)) = self.released.range((lane, position)..=(lane, end())).next() {
            return Fired { time: self.watermark, index };
        }
        let (&time, &index) = self.fired.range(position.due..).next().expect("fired");
        Fired { time, index }
    }

    fn fired_to(&self, lane: LaneId) -> Position {
        self.marks[&lane].released.unwrap_or(end()).min(Position::end_of(self.watermark))
    }

    fn find(&self, report: &Report) -> Option<(LaneId, Position)> {
        let same = |live: &Live| *live.namespace == *report.namespace && *live.id == *report.id;
        let mut found = self.rows.iter().filter(|((_, p), l)| p.generation.number() == report.generation && same(l));
        found.next().map(|(&key, _)| key)
    }

    fn receipt(&self, position: Position, outcome: reply::Outcome, report: &Report) -> Receipt {
        Receipt {
            log_index: self.index,
            generation: position.generation,
            due: position.due,
            fired: None,
            outcome,
            decided: self.watermark,
            executor: report.executor.clone(),
            attempt: report.attempt,
            token: report.token,
        }
    }

    fn ended(&self, report: &Report) -> Reply {
        let generation = Generation::from_number(report.generation);
        let outcome = match () {
            () if self.completed.contains(&generation) => reply::Outcome::Completed,
            () if self.dead.contains(&generation) => reply::Outcome::DeadLettered,
            () => return Reply::Refused(Refusal::NotFound),
        };
        Reply::AlreadyDecided(self.receipt(Position::end_of(self.watermark), outcome, report))
    }

    fn failed(&mut self, report: &Report, last: bool, effects: &mut Vec<Effect>) -> Reply {
        let Some((lane, position)) = self.find(report) else {
            return self.ended(report);
        };
        let mut live = self.rows[&(lane, position)].clone();
        if report.attempt != live.attempt + 1 || position > self.fired_to(lane) {
            return Reply::Superseded;
        }
        self.rows.remove(&(lane, position));
        effects.push(Effect::Ended { lane, position });
        live.attempt += 1;
        if last || live.attempt == ATTEMPTS_MAX {
            self.dead.push(position.generation);
            return Reply::Decided(self.receipt(position, reply::Outcome::DeadLettered, report));
        }
        let lane = LaneId::new(lane.topic(), Class::Retry);
        let position = Position { due: self.watermark.after(BACKOFF), generation: position.generation };
        self.rows.insert((lane, position), live);
        effects.push(Effect::Inserted { lane, position });
        Reply::Decided(self.receipt(position, reply::Outcome::Retrying, report))
    }

    fn apply(&mut self, kind: &Kind, effects: &mut Vec<Effect>) -> Reply {
        match kind {
            Kind::Complete(complete) => {
                let report = complete.report.as_ref().unwrap();
                if *complete.business == *REFUSED {
                    return Reply::Refused(Refusal::Business(Bytes::new()));
                }
                let Some((lane, position)) = self.find(report) else {
                    return self.ended(report);
                };
                let due = self.rows.remove(&(lane, position)).map_or(position.due, |live| live.due);
                self.completed.push(position.generation);
                effects.push(Effect::Ended { lane, position });
                Reply::Decided(Receipt { due, ..self.receipt(position, reply::Outcome::Completed, report) })
            }
            Kind::Retry(retry) if retry.error.as_bytes() == REFUSED => Reply::Superseded,
            Kind::Retry(retry) => self.failed(retry.report.as_ref().unwrap(), false, effects),
            Kind::Fail(fail) => self.failed(fail.report.as_ref().unwrap(), true, effects),
            Kind::CompleteRun(run) => {
                let items = run_codec::decode(run).expect("a run of ours");
                let lane = items.lane();
                let mut rejected = Vec::new();
                for item in items {
                    match self.rows.remove(&(lane, item.position)) {
                        Some(_) => self.completed.push(item.position.generation),
                        None => rejected.push(item.position),
                    }
                }
                Reply::RunDecided { rejected }
            }
            Kind::Release(release) => {
                let lane = LaneId::from_number(release.lane).unwrap();
                let to = position(release.due, release.generation);
                if self.topics[lane.topic().0 as usize].settings.paused {
                    return Reply::Refused(Refusal::Invalid { field: "lane", expected: "not paused" });
                }
                assert!(to <= Position::end_of(self.watermark), "released early");
                if let Some(released) = &mut self.marks.get_mut(&lane).unwrap().released {
                    *released = to.max(*released);
                    self.released.insert((lane, to), self.index);
                    effects.push(Effect::LaneChanged { lane });
                }
                Reply::Done
            }
            Kind::RaiseFloor(raise) => {
                let lane = LaneId::from_number(raise.lane).unwrap();
                let to = position(raise.due, raise.generation);
                let live = self.rows.range((lane, Position::MIN)..(lane, to)).next();
                assert!(live.is_none(), "floor raised to {to:?} over {live:?}");
                self.marks.get_mut(&lane).unwrap().floor = to;
                effects.push(Effect::LaneChanged { lane });
                Reply::Done
            }
            Kind::SkipLate(skip) => {
                let report = Report {
                    namespace: skip.namespace.clone(),
                    id: skip.id.clone(),
                    generation: skip.generation,
                    ..Report::default()
                };
                let Some((lane, position)) = self.find(&report) else {
                    return self.ended(&report);
                };
                self.rows.remove(&(lane, position));
                self.dead.push(position.generation);
                effects.push(Effect::Ended { lane, position });
                Reply::Ended(self.receipt(position, reply::Outcome::DeadLettered, &report))
            }
            other => panic!("the dispatcher proposed {other:?}"),
        }
    }
}

/// After every position.
fn end() -> Position {
    Position::end_of(Timestamp::MAX)
}

fn position(due: u64, generation: u64) -> Position {
    Position { due: Timestamp::from_millis(due), generation: Generation::from_number(generation) }
}

impl RowSource for Store {
    fn rows(
        &self,
        lane: LaneId,
        from: Position,
        to: Position,
        rows_max: usize,
        bytes_max: usize,
        rows: &mut Vec<Row>,
    ) -> Result<Scanned, StoreError> {
        self.reads.set(self.reads.get() + 1);
        if self.failures.get() > 0 {
            self.failures.set(self.failures.get() - 1);
            return Err(StoreError("broken".into()));
        }
        assert!(to <= self.fired_to(lane), "read ahead of what has fired");
        let (mut last, mut bytes) = (None, 0);
        for (&(_, position), live) in self.rows.range((lane, from)..=(lane, to)) {
            if rows.len() == rows_max || bytes >= bytes_max {
                return Ok(Scanned { last, more: true });
            }
            bytes += live.bytes;
            last = Some(position);
            rows.push(Row {
                position,
                id: live.id.clone(),
                shard: live.shard,
                attempt: live.attempt + 1,
                fired: self.fired(lane, position),
                skip_when_later: live.skip_when_later,
                value: Bytes::from(vec![0; live.bytes]),
            });
        }
        Ok(Scanned { last, more: false })
    }

    fn count(
        &self,
        lane: LaneId,
        from: Position,
        to: Position,
        count_max: usize,
    ) -> Result<Option<(Position, usize)>, StoreError> {
        let found = self.rows.range((lane, from)..=(lane, to)).take(count_max);
        let found: Vec<_> = found.map(|(&(_, position), _)| position).collect();
        Ok(found.last().map(|&last| (last, found.len())))
    }

    fn locate(&self, namespace: &str, id: &str, generation: Generation) -> Result<Option<Located>, StoreError> {
        let report = Report {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            generation: generation.number(),
            ..Report::default()
        };
        Ok(self.find(&report).filter(|&(lane, position)| position <= self.fired_to(lane)).map(|(lane, position)| {
            let attempt = self.rows[&(lane, position)].attempt + 1;
            Located { lane, position, attempt, fired: self.fired(lane, position) }
        }))
    }
}

/// A leader with its store.
pub struct World {
    pub store: Store,
    pub d: Dispatcher,
    pub config: Config,
    pub term: u64,
    pub now: Timestamp,
    /// Proposed and not decided.
    pub proposals: Vec<(Ticket, Kind)>,
    /// What was answered, in order.
    pub results: Vec<(Origin, OutcomeResult)>,
    /// Shares told, in order.
    pub assigned: Vec<(SessionId, Arc<str>, u32)>,
}

impl World {
    pub fn new(config: Config) -> Self {
        let store = Store { index: 1, watermark: Timestamp::from_millis(1_000), ..Store::default() };
        let now = store.watermark;
        let mut world = World {
            d: Dispatcher::new(config.clone(), Term { epoch: EPOCH, term: 1, first_index: 2, watermark: now }, now),
            store,
            config,
            term: 1,
            now,
            proposals: Vec::new(),
            results: Vec::new(),
            assigned: Vec::new(),
        };
        world.store.fired.insert(now, 1);
        world
    }

    /// Another leader, that knows what the log decided and nothing else.
    pub fn new_term(&mut self) {
        self.term += 1;
        self.store.index += 1;
        self.proposals.clear();
        let first_index = self.store.index + 1;
        let term = Term { epoch: EPOCH, term: self.term, first_index, watermark: self.store.watermark };
        self.d = Dispatcher::new(self.config.clone(), term, self.now);
        for topic in &self.store.topics {
            self.d.set_topic(self.now, topic.clone());
        }
        for (&lane, &marks) in &self.store.marks {
            self.d.set_lane(lane, marks);
        }
    }

    pub fn topic(&mut self, namespace: &str, name: &str) -> TopicId {
        self.topic_with(namespace, name, TopicSettings { lease_ms: 30_000, ..TopicSettings::default() })
    }

    pub fn topic_with(&mut self, namespace: &str, name: &str, settings: TopicSettings) -> TopicId {
        let id = TopicId(self.store.topics.len() as u32);
        let limited = settings.rate_milli_per_second > 0;
        let topic = Topic { id, namespace: namespace.into(), name: name.into(), settings };
        self.store.topics.push(topic.clone());
        self.d.set_topic(self.now, topic);
        for class in [Class::High, Class::Normal, Class::Low, Class::Retry] {
            let released = limited.then(|| Position::end_of(self.store.watermark));
            let marks = Marks { floor: Position::MIN, released };
            self.store.marks.insert(LaneId::new(id, class), marks);
            self.d.set_lane(LaneId::new(id, class), marks);
        }
        id
    }

    pub fn pause(&mut self, id: TopicId, paused: bool) {
        self.store.index += 1;
        let topic = &mut self.store.topics[id.0 as usize];
        topic.settings.paused = paused;
        self.d.set_topic(self.now, topic.clone());
        for class in [Class::High, Class::Normal, Class::Low, Class::Retry] {
            let lane = LaneId::new(id, class);
            let end = Position::end_of(self.store.watermark);
            let marks = self.store.marks.get_mut(&lane).unwrap();
            marks.released = paused.then(|| marks.released.unwrap_or(end).min(end));
            if !paused {
                self.store.released.insert((lane, end), self.store.index);
            }
            self.d.set_lane(lane, *marks);
        }
    }

    /// One trigger; due at once when `due` is not after the watermark.
    pub fn schedule(&mut self, topic: TopicId, class: Class, due: u64, id: &str, shard_key: &str) -> Generation {
        self.schedule_with(topic, class, due, id, shard_key, Delay::ZERO, 100)
    }

    #[expect(clippy::too_many_arguments, reason = "one per field of a trigger")]
    pub fn schedule_with(
        &mut self,
        topic: TopicId,
        class: Class,
        due: u64,
        id: &str,
        shard_key: &str,
        skip_when_later: Delay,
        bytes: usize,
    ) -> Generation {
        self.store.index += 1;
        let generation = Generation::new(self.store.index, 0);
        let due = Timestamp::from_millis(due).max(self.store.watermark);
        let lane = LaneId::new(topic, class);
        let position = Position { due, generation };
        let namespace = self.store.topics[topic.0 as usize].namespace.clone();
        let key = if shard_key.is_empty() { id } else { shard_key };
        let shard = shard_of(key.as_bytes());
        let live = Live { namespace, id: id.into(), shard, due, attempt: 0, skip_when_later, bytes };
        self.store.rows.insert((lane, position), live);
        self.d.effects(self.now, &[Effect::Inserted { lane, position }]);
        generation
    }

    /// Time passes, and the log with it.
    pub fn advance(&mut self, to: u64) {
        let to = Timestamp::from_millis(to);
        let before = Position::end_of(self.store.watermark);
        let due =
            |lane: &&LaneId| self.store.rows.range((**lane, before)..=(**lane, Position::end_of(to))).next().is_some();
        let lanes: Vec<_> = self.store.marks.keys().filter(due).copied().collect();
        self.store.index += 1;
        self.store.watermark = to;
        self.store.fired.insert(to, self.store.index);
        self.now = self.now.max(to);
        self.d.advance(to, lanes);
    }

    /// The leader's clock moves, the log does not.
    pub fn wait(&mut self, ms: u64) {
        self.now = self.now.after(Delay::from_millis(ms));
    }

    pub fn hello(&self, executor: &str, namespace: &str, topics: &[&str], in_flight_max: u32) -> Hello {
        Hello {
            executor: executor.into(),
            namespace: namespace.into(),
            topics: topics.iter().map(|&topic| topic.into()).collect(),
            in_flight_max,
            held: Vec::new(),
            poll: false,
        }
    }

    pub fn open(&mut self, executor: &str, namespace: &str, topics: &[&str], in_flight_max: u32) -> SessionId {
        let hello = self.hello(executor, namespace, topics, in_flight_max);
        self.open_with(hello).session
    }

    pub fn open_with(&mut self, hello: Hello) -> Welcome {
        self.d.open(self.now, hello, &self.store).unwrap()
    }

    /// One poll; what it delivered. Proposals wait for [`Self::apply`].
    pub fn poll_once(&mut self) -> (Vec<(SessionId, Delivery)>, bool) {
        let mut actions = Vec::new();
        let more = self.d.poll(self.now, &self.store, &mut actions).unwrap();
        let mut delivered = Vec::new();
        for action in actions {
            match action {
                Action::Deliver { session, deliveries } => {
                    delivered.extend(deliveries.into_iter().map(|delivery| (session, delivery)));
                }
                Action::Propose { ticket, command } => self.proposals.push((ticket, command)),
                Action::Results { to, results } => self.results.extend(results.into_iter().map(|result| (to, result))),
                Action::Assigned { session, topic, owned, .. } => self.assigned.push((session, topic, owned)),
            }
        }
        (delivered, more)
    }

    /// Polls until there is no more.
    pub fn poll(&mut self) -> Vec<(SessionId, Delivery)> {
        let mut all = Vec::new();
        loop {
            let (delivered, more) = self.poll_once();
            all.extend(delivered);
            if !more {
                return all;
            }
        }
    }

    /// One entry with everything proposed. The watermark stays.
    pub fn apply(&mut self) {
        self.store.index += 1;
        for (ticket, kind) in std::mem::take(&mut self.proposals) {
            let mut effects = Vec::new();
            let reply = self.store.apply(&kind, &mut effects);
            self.d.effects(self.now, &effects);
            for effect in &effects {
                if let Effect::LaneChanged { lane } = *effect {
                    self.d.set_lane(lane, self.store.marks[&lane]);
                }
            }
            let (index, time) = (self.store.index, self.store.watermark);
            self.d.decided(self.now, ticket, Decision::Applied { index, time, reply });
        }
    }

    /// Nothing proposed could be proposed.
    pub fn refuse(&mut self) {
        for (ticket, _) in std::mem::take(&mut self.proposals) {
            self.d.decided(self.now, ticket, Decision::Again);
        }
    }

    /// Polls and applies until nothing more happens at this moment; what was delivered.
    pub fn settle(&mut self) -> Vec<(SessionId, Delivery)> {
        let mut all = self.poll();
        while !self.proposals.is_empty() {
            self.apply();
            all.extend(self.poll());
        }
        all
    }

    /// Reports on deliveries of a session.
    pub fn report(&mut self, session: SessionId, deliveries: &[Delivery], result: Done) {
        let executor: Arc<str> = format!("by-{}", session.0).into();
        let outcomes = deliveries.iter().map(|delivery| outcome(delivery, result.clone())).collect();
        self.d.report(self.now, Origin::Session(session), &executor, outcomes);
    }

    /// Reports success and gives the credit back.
    pub fn complete(&mut self, session: SessionId, deliveries: &[Delivery]) {
        self.report(session, deliveries, success());
        self.d.credit(self.now, session, deliveries.len() as u32);
    }
}

pub fn success() -> Done {
    Done::Success { business: Bytes::new() }
}

pub fn retry() -> Done {
    Done::Retry { error: "no".into(), after: Delay::ZERO }
}

pub fn held(delivery: &Delivery) -> HeldLease {
    HeldLease {
        namespace: delivery.topic.namespace.clone(),
        id: delivery.row.id.clone(),
        generation: delivery.row.position.generation,
        token: delivery.token,
        attempt: delivery.row.attempt,
    }
}

pub fn outcome(delivery: &Delivery, result: Done) -> Outcome {
    Outcome { sequence: delivery.token.counter, lease: held(delivery), result }
}

/// Ids of deliveries, in order.
pub fn ids(deliveries: &[(SessionId, Delivery)]) -> Vec<&str> {
    deliveries.iter().map(|(_, delivery)| &*delivery.row.id).collect()
}

/// Deliveries to one session.
pub fn of(deliveries: &[(SessionId, Delivery)], session: SessionId) -> Vec<Delivery> {
    deliveries.iter().filter(|(to, _)| *to == session).map(|(_, delivery)| delivery.clone()).collect()
}

/// Ids without repeats.
pub fn distinct(deliveries: &[(SessionId, Delivery)]) -> BTreeSet<String> {
    deliveries.iter().map(|(_, delivery)| delivery.row.id.to_string()).collect()
}

pub fn token(term: u64, counter: u64) -> Token {
    Token { epoch: EPOCH, term, counter }
}
