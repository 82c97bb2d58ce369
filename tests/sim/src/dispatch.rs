//! Drives the dispatcher of a term: entries and decisions in, deliveries and proposals out. As the server's runner does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use checkers::convert;
use checkers::history::Event as Recorded;
use domain::triggers;
use proto::v1;
use proto::v1::work_response::Message;
use scheduler::command::Kind;
use scheduler::dispatcher::{
    Action, Config, Decision, Dispatcher, HeldLease, Marks, Origin, Outcome, SessionId, Term, Ticket, Topic,
};
use scheduler::lane::{Class, LaneId, Position, TopicId};
use scheduler::planted::{self, Bug};
use scheduler::read;
use scheduler::reply::{Effect, Reply};
use scheduler::time::Timestamp;

use crate::events::{MS, Micros};
use crate::feed::Fed;
use crate::rows::Source;
use crate::wire;
use crate::world::{NodeEvent, World, endpoint};

/// Floors are raised unasked this long after something ended,
const FLOORS_AFTER: Micros = 300 * MS;
/// but no oftener than this.
const FLOORS_EVERY: Micros = 10_000 * MS;
/// Triggers the node's own session may have in hand.
const INTERNAL_MAX: u32 = 64;
/// How long to wait for a lease that has run out to be acknowledged again.
const LEASE_PAUSE: Micros = 10 * MS;

/// The dispatcher of a term and what waits for it.
#[derive(Debug)]
pub struct Desk {
    dispatcher: Dispatcher,
    /// Streams by session.
    sessions: BTreeMap<SessionId, u64>,
    /// Sessions by stream, with the name of the executor.
    streams: BTreeMap<u64, (SessionId, Arc<str>)>,
    known: BTreeSet<TopicId>,
    fed: VecDeque<Fed>,
    decisions: VecDeque<(Ticket, Decision, bool)>,
    inbox: VecDeque<Heard>,
    /// The node's own session for triggers that are pure changes of state, in a run that has such.
    internal: Option<SessionId>,
    floors: Option<Micros>,
    raised: Option<Micros>,
    /// The only alarm that counts, and when it rings.
    alarm: (u64, Micros),
    withheld: bool,
}

/// A hello that waits for somebody to lead.
#[derive(Clone, Debug)]
pub struct Hello(pub v1::Hello);

/// What executors tell.
#[derive(Debug)]
enum Heard {
    Open(u64, v1::Hello),
    Credit(u64, u32),
    Drain(u64),
    Close(u64),
    Extend(u64, Vec<HeldLease>),
    Report(u64, Vec<Outcome>),
    /// The node's own session has run these.
    Internal(Vec<Outcome>),
}

impl World {
    /// The dispatcher begins to listen: what was applied before is told to nobody, its rows are there to be read.
    pub fn begin_dispatch(&mut self, number: usize, term: u64) {
        let now = self.stamp(number);
        let at = self.now();
        let node = &self.nodes[number];
        let (Some(office), Some(leading)) = (&node.office, &node.member.leads) else { return };
        if office.term != term || office.desk.is_some() {
            return;
        }
        let watermark = node.machine.watermark();
        let begins = Term { epoch: node.machine.epoch(), term, first_index: leading.first_index + 1, watermark };
        let mut dispatcher = Dispatcher::new(Config { floor_rows: 64, ..Config::default() }, begins, now);
        dispatcher.advance(watermark, []);
        let mut desk = Desk {
            dispatcher,
            sessions: BTreeMap::new(),
            streams: BTreeMap::new(),
            known: BTreeSet::new(),
            fed: VecDeque::new(),
            decisions: VecDeque::new(),
            inbox: VecDeque::new(),
            internal: None,
            floors: Some(at + FLOORS_AFTER),
            raised: None,
            alarm: (0, Micros::MAX),
            withheld: false,
        };
        let topics: Vec<TopicId> = node.machine.topics().iter().map(|topic| topic.id).collect();
        for topic in topics {
            self.load_topic(number, &mut desk, topic, now);
        }
        if self.gifts.is_some() {
            self.open_internal(number, &mut desk, now);
        }
        for (stream, hello) in std::mem::take(&mut self.nodes[number].hellos) {
            desk.inbox.push_back(Heard::Open(stream, hello.0));
        }
        if let Some(office) = &mut self.nodes[number].office {
            office.desk = Some(desk);
        }
        self.turn_in(number, 0);
    }

    /// As the server's `internal.rs` does: the node that leads completes such triggers with their own payload.
    fn open_internal(&mut self, number: usize, desk: &mut Desk, now: Timestamp) {
        let hello = scheduler::dispatcher::Hello {
            executor: triggers::INTERNAL.into(),
            namespace: crate::gifts::NAMESPACE.into(),
            topics: vec![triggers::INTERNAL.into()],
            in_flight_max: INTERNAL_MAX,
            held: Vec::new(),
            poll: false,
        };
        match desk.dispatcher.open(now, hello, &Source(&self.nodes[number].store)) {
            Ok(welcome) => desk.internal = Some(welcome.session),
            Err(error) => self.broke(format!("the dispatcher of node {number} cannot open: {error}")),
        }
    }

    fn desk(&mut self, number: usize) -> Option<&mut Desk> {
        self.nodes[number].office.as_mut()?.desk.as_mut()
    }

    fn load_topic(&mut self, number: usize, desk: &mut Desk, id: TopicId, now: Timestamp) {
        let rows = &self.nodes[number].store;
        let found = read::topic(rows, id);
        let Ok(Some(topic)) = found else {
            if let Err(error) = found {
                self.broke(format!("node {number} cannot read topic {id:?}: {error}"));
            }
            return;
        };
        desk.known.insert(id);
        let lanes = topic.lanes;
        let settings = topic.settings;
        let topic = Topic { id, namespace: topic.namespace.into(), name: topic.name.into(), settings };
        desk.dispatcher.set_topic(now, topic);
        for class in [Class::High, Class::Normal, Class::Low, Class::Retry] {
            let marks = lanes[class as usize];
            let marks = Marks { floor: marks.floor, released: marks.released };
            desk.dispatcher.set_lane(LaneId::new(id, class), marks);
        }
    }

    /// Sees to it that the dispatcher works within this.
    fn turn_in(&mut self, number: usize, wait: Micros) {
        let at = self.now() + wait;
        let Some(desk) = self.desk(number) else { return };
        if desk.alarm.1 <= at {
            return;
        }
        desk.alarm = (desk.alarm.0 + 1, at);
        let alarm = desk.alarm.0;
        self.at_node(at, number, NodeEvent::Turn(alarm));
    }

    /// An entry was applied here: the dispatcher of the term is told, sooner or later.
    pub fn feed_dispatcher(&mut self, number: usize, fed: Fed) {
        let lag = self.swarm.feed_lag;
        let wait = if lag == 0 { 0 } else { self.rng.below(lag) };
        if let Some(desk) = self.desk(number) {
            desk.fed.push_back(fed);
            self.turn_in(number, wait);
        }
    }

    /// What became of a command of the dispatcher.
    pub fn decided(&mut self, number: usize, ticket: Ticket, may_end: bool, how: Option<(u64, Timestamp, Reply)>) {
        let decision = match how {
            Some((index, time, reply)) => Decision::Applied { index, time, reply },
            None => Decision::Again,
        };
        if let Some(desk) = self.desk(number) {
            desk.decisions.push_back((ticket, decision, may_end));
            self.turn_in(number, 0);
        }
    }

    /// The dispatcher's alarm rings.
    pub fn turn_alarm(&mut self, number: usize, alarm: u64) {
        let Some(desk) = self.desk(number).filter(|desk| desk.alarm.0 == alarm) else { return };
        desk.alarm.1 = Micros::MAX;
        // Taken out while it works: it looks at everything else of the node.
        let Some(mut desk) = self.nodes[number].office.as_mut().and_then(|office| office.desk.take()) else { return };
        let wait = self.turn(number, &mut desk);
        if let Some(office) = &mut self.nodes[number].office {
            office.desk = Some(desk);
            if let Some(wait) = wait {
                self.turn_in(number, wait);
            }
        }
        self.propose_soon(number);
    }

    /// Works; says how long until it has to again.
    fn turn(&mut self, number: usize, desk: &mut Desk) -> Option<Micros> {
        let now = self.stamp(number);
        while let Some(fed) = desk.fed.pop_front() {
            self.take_in(number, desk, fed, now);
        }
        let present = self.now();
        while let Some((ticket, decision, may_end)) = desk.decisions.pop_front() {
            if may_end && desk.floors.is_none() {
                let soon = present + FLOORS_AFTER;
                desk.floors = Some(desk.raised.map_or(soon, |raised| soon.max(raised + FLOORS_EVERY)));
            }
            desk.dispatcher.decided(now, ticket, decision);
        }
        while let Some(heard) = desk.inbox.pop_front() {
            self.hear(number, desk, heard, now);
        }
        if desk.floors.is_some_and(|at| at <= present) {
            desk.floors = None;
            desk.raised = Some(present);
            desk.dispatcher.raise_floors();
        }
        let floors = desk.floors.map(|at| at - present);
        if !self.is_trusted(number) && !planted::is(Bug::DeliversWithoutLease) {
            self.coverage.withheld += u64::from(!std::mem::replace(&mut desk.withheld, true));
            return Some(floors.map_or(LEASE_PAUSE, |floors| floors.min(LEASE_PAUSE)));
        }
        desk.withheld = false;
        let mut actions = Vec::new();
        let more = match desk.dispatcher.poll(now, &Source(&self.nodes[number].store), &mut actions) {
            Ok(more) => more,
            Err(error) => {
                self.broke(format!("the dispatcher of node {number} cannot read: {error}"));
                return None;
            }
        };
        for action in actions {
            self.perform(number, desk, action);
        }
        desk.dispatcher.take_noted();
        let more = more || !desk.inbox.is_empty();
        let wake = if more { Some(0) } else { desk.dispatcher.next_wake().map(|at| self.until(number, at) + 1) };
        [wake, floors].into_iter().flatten().min()
    }

    fn take_in(&mut self, number: usize, desk: &mut Desk, fed: Fed, now: Timestamp) {
        let Fed { index, watermark, lanes, effects } = fed;
        desk.dispatcher.entry_decided(now, index, watermark);
        let mut changed: BTreeSet<TopicId> = BTreeSet::new();
        for effect in &effects {
            match effect {
                Effect::LaneChanged { lane } => {
                    changed.insert(lane.topic());
                }
                Effect::Inserted { lane, .. } if !desk.known.contains(&lane.topic()) => {
                    changed.insert(lane.topic());
                }
                _ => {}
            }
        }
        for topic in changed {
            self.load_topic(number, desk, topic, now);
        }
        desk.dispatcher.advance(watermark, lanes);
        desk.dispatcher.effects(now, &effects);
    }

    fn hear(&mut self, number: usize, desk: &mut Desk, heard: Heard, now: Timestamp) {
        match heard {
            Heard::Open(stream, hello) => self.open_session(number, desk, stream, hello, now),
            Heard::Credit(stream, credit) => {
                if let Some((session, _)) = desk.streams.get(&stream) {
                    desk.dispatcher.credit(now, *session, credit);
                }
            }
            Heard::Drain(stream) => {
                if let Some((session, _)) = desk.streams.get(&stream) {
                    desk.dispatcher.drain(*session);
                }
            }
            Heard::Close(stream) => {
                if let Some((session, _)) = desk.streams.remove(&stream) {
                    desk.sessions.remove(&session);
                    desk.dispatcher.close(session);
                }
            }
            Heard::Extend(stream, leases) => {
                let extended = desk.dispatcher.extend(now, leases);
                self.coverage.extended += extended.extended.len() as u64;
                self.send_down(stream, Message::Extended(wire::extended(extended)));
            }
            Heard::Internal(outcomes) => {
                if let Some(session) = desk.internal {
                    let count = outcomes.len() as u32;
                    desk.dispatcher.report(now, Origin::Session(session), &triggers::INTERNAL.into(), outcomes);
                    desk.dispatcher.credit(now, session, count);
                }
            }
            Heard::Report(stream, outcomes) => {
                if let Some((session, executor)) = desk.streams.get(&stream).cloned() {
                    desk.dispatcher.report(now, Origin::Session(session), &executor, outcomes);
                }
            }
        }
    }

    fn open_session(&mut self, number: usize, desk: &mut Desk, stream: u64, hello: v1::Hello, now: Timestamp) {
        let executor: Arc<str> = hello.executor.as_str().into();
        let opened = desk.dispatcher.open(now, wire::hello(hello), &Source(&self.nodes[number].store));
        let welcome = match opened {
            Ok(welcome) => welcome,
            Err(error) => return self.broke(format!("the dispatcher of node {number} cannot open: {error}")),
        };
        if let Some(old) = welcome.replaced.and_then(|old| desk.sessions.remove(&old)) {
            desk.streams.remove(&old);
            self.go_away(old, None);
        }
        self.coverage.adopted += welcome.adopted.len() as u64;
        desk.sessions.insert(welcome.session, stream);
        desk.streams.insert(stream, (welcome.session, executor));
        let adopted = welcome.adopted.into_iter().map(wire::lease).collect();
        self.send_down(stream, Message::Welcome(v1::Welcome { session: String::new(), adopted, server_time: None }));
    }

    fn perform(&mut self, number: usize, desk: &mut Desk, action: Action) {
        match action {
            Action::Deliver { session, deliveries } if desk.internal == Some(session) => {
                self.coverage.internal_runs += deliveries.len() as u64;
                desk.inbox.push_back(Heard::Internal(deliveries.into_iter().map(wire::run_internal).collect()));
            }
            Action::Deliver { session, deliveries } => {
                let Some(&stream) = desk.sessions.get(&session) else { return desk.dispatcher.drain(session) };
                let executor = desk.streams.get(&stream).map(|(_, executor)| executor.to_string()).unwrap_or_default();
                let deliveries: Vec<v1::Delivery> = deliveries.into_iter().map(wire::delivery).collect();
                for delivery in &deliveries {
                    // What a leader may not do is to send: when it arrives is the network's business.
                    let sent = convert::delivery(&executor, delivery, self.recorded_us());
                    self.coverage.deliveries += 1;
                    self.coverage.second_attempts += u64::from(sent.attempt > 1);
                    self.record(Recorded::Delivery(sent));
                }
                self.send_down(stream, Message::Deliveries(v1::Deliveries { deliveries }));
            }
            Action::Propose { ticket, command } => {
                // Raising a floor ends nothing, and must not be a reason to raise it again.
                let may_end = !matches!(command, Kind::RaiseFloor(_) | Kind::Release(_));
                match &command {
                    Kind::Retry(retry) if retry.lease_expired => self.coverage.leases_expired += 1,
                    Kind::CompleteRun(_) => self.coverage.runs += 1,
                    Kind::Release(_) => self.coverage.releases += 1,
                    _ => {}
                }
                self.propose_internal(number, command, ticket, may_end);
            }
            Action::Results { to: Origin::Session(session), results } => {
                if let Some(&stream) = desk.sessions.get(&session) {
                    let results = results.into_iter().map(wire::result).collect();
                    self.send_down(stream, Message::Results(v1::OutcomeResults { results }));
                }
            }
            // Nobody calls without a stream here, and shares are for people to look at.
            Action::Results { to: Origin::Call(_), .. } | Action::Assigned { .. } => {}
        }
    }

    /// Whether a row is handed out, as far as the leader knows.
    pub fn holds(&self, number: usize, lane: LaneId, position: Position) -> bool {
        let desk = self.nodes[number].office.as_ref().and_then(|office| office.desk.as_ref());
        desk.is_some_and(|desk| desk.dispatcher.holds(lane, position))
    }

    /// A term is over: its sessions are told where the leader is.
    pub fn close_desk(&mut self, number: usize, desk: Desk, leader: Option<usize>) {
        let holds = desk.dispatcher.status().held > 0;
        self.coverage.leader_lost_with_leases += u64::from(holds);
        for stream in desk.streams.into_keys() {
            if self.nodes[number].up {
                self.go_away(stream, leader);
            }
        }
    }

    /// A segment of a stream reaches its node.
    pub fn stream_up(&mut self, stream: u64, request: v1::WorkRequest) {
        use v1::work_request::Message;
        let Some(open) = self.streams.get(&stream) else { return };
        let (number, boot) = (open.node, open.node_boot);
        if !self.nodes[number].up || self.nodes[number].boot != boot {
            return;
        }
        let heard = match request.message {
            Some(Message::Hello(hello)) => return self.greet(number, stream, hello),
            Some(Message::Credit(credit)) => Heard::Credit(stream, credit.deliveries),
            Some(Message::Drain(_)) => Heard::Drain(stream),
            Some(Message::Outcomes(report)) => {
                Heard::Report(stream, report.outcomes.into_iter().map(wire::outcome).collect())
            }
            Some(Message::Extend(extend)) => Heard::Extend(stream, extend.leases.into_iter().map(wire::held).collect()),
            None => return,
        };
        if let Some(desk) = self.desk(number) {
            desk.inbox.push_back(heard);
            self.turn_in(number, 0);
        }
    }

    fn greet(&mut self, number: usize, stream: u64, hello: v1::Hello) {
        if let Some(desk) = self.desk(number) {
            desk.inbox.push_back(Heard::Open(stream, hello));
            return self.turn_in(number, 0);
        }
        let leader = self.nodes[number].member.leader.filter(|&leader| leader != number);
        if leader.is_some() {
            return self.go_away(stream, leader);
        }
        // While nobody leads there is nobody to send the executor to.
        self.nodes[number].hellos.insert(stream, Hello(hello));
        let at = self.now() + 5_000 * MS;
        self.at_node(at, number, NodeEvent::HelloExpires(stream));
    }

    /// A hello has waited long enough.
    pub fn hello_expires(&mut self, number: usize, stream: u64) {
        if self.nodes[number].hellos.remove(&stream).is_some() {
            self.go_away(stream, None);
        }
    }

    /// Somebody leads: hellos that waited for that are sent there.
    pub fn leader_known(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let leader = node.member.leader.filter(|&leader| leader != number);
        if leader.is_none() || node.hellos.is_empty() {
            return;
        }
        for stream in std::mem::take(&mut node.hellos).into_keys() {
            self.go_away(stream, leader);
        }
    }

    fn go_away(&mut self, stream: u64, leader: Option<usize>) {
        let leader = leader.map(endpoint).unwrap_or_default();
        self.send_down(stream, Message::GoAway(v1::GoAway { reason: String::new(), leader }));
    }

    /// The node's end of a stream learns that it is over.
    pub fn stream_hung_up(&mut self, stream: u64) {
        let Some(open) = self.streams.get(&stream) else { return };
        let (number, boot) = (open.node, open.node_boot);
        if self.nodes[number].boot != boot {
            return;
        }
        self.nodes[number].hellos.remove(&stream);
        if let Some(desk) = self.desk(number) {
            desk.inbox.push_back(Heard::Close(stream));
            self.turn_in(number, 0);
        }
    }
}
