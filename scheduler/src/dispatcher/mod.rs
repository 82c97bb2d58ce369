//! The dispatcher: decides who gets which fired trigger, and what the log is asked to decide about outcomes.
//!
//! One per partition and term of leadership; dropped with the term. It is a calculation: events go in by methods,
//! [`Dispatcher::poll`] gives actions out, rows are read through a [`RowSource`]. It has no clock: `now` is the
//! leader's reading, in milliseconds of replicated time, and never steps back within the term.
//!
//! What it promises, whatever happens: in flight never exceeds an executor's credit · a row is handed out again only
//! when its lease has run out and the log has counted that as an attempt, or under a new leader · in one lane the rows
//! of a shard are first handed out in order of position · every row that has fired and not ended is handed out once
//! there is an executor with credit for it · memory is bounded by credit, look-ahead and `undecided_max`.
//!
//! What is lost with a term is memory alone. The next leader reads what has not ended; executors' hellos say what they
//! work on, and that is adopted.

mod assign;
mod deliver;
mod lanes;
mod late;
mod leases;
mod limits;
mod outcomes;
mod sessions;
mod status;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use assign::{SHARDS, shard_of};
pub use late::{FirstDelivery, Late, LateCause, Noted, cause_of_late_completion, cause_of_late_delivery};
pub use status::{LaneStatus, SessionStatus, Status};
pub use types::{
    Action, Cause, Config, Decision, Delivery, Done, Extended, HeldLease, Hello, Located, Marks, Origin, Outcome,
    OutcomeResult, Row, RowSource, Scanned, SessionId, Term, Ticket, Topic, Verdict, Welcome,
};

use crate::command::{Kind, RaiseFloor};
use crate::lane::{Class, LaneId, TopicId};
use crate::reply::Effect;
use crate::store::StoreError;
use crate::time::{Delay, Timestamp};
use deliver::{Namespace, Turn, earlier};
use lanes::Lane;
use leases::Leases;
use outcomes::Proposal;
use sessions::Session;

/// Of a topic whose settings say none.
const LEASE_DEFAULT: Delay = Delay::from_secs(30);

type Sessions = BTreeMap<SessionId, Session>;

/// See the [module](self).
#[derive(Debug)]
pub struct Dispatcher {
    config: Config,
    term: Term,
    grace_end: Timestamp,
    watermark: Timestamp,
    topics: BTreeMap<TopicId, TopicState>,
    /// By namespace and name.
    names: BTreeMap<(Arc<str>, Arc<str>), TopicId>,
    namespaces: Vec<Namespace>,
    turn: Turn,
    sessions: Sessions,
    last_session: u64,
    leases: Leases,
    /// Of the last token.
    counter: u64,
    expired_count: u64,
    proposals: BTreeMap<Ticket, Proposal>,
    last_ticket: u64,
    /// Proposals to be handed out.
    proposed: Vec<Action>,
    /// What could not be proposed, by the moment to try again.
    repeats: VecDeque<(Timestamp, Proposal)>,
    undecided: usize,
    results: BTreeMap<Origin, Vec<OutcomeResult>>,
    /// Topics whose executors are to be told their share.
    untold: BTreeSet<TopicId>,
    /// Sessions with deliveries in their outbox.
    touched: BTreeSet<SessionId>,
    /// Lanes with successes to be merged.
    run_lanes: BTreeSet<LaneId>,
    /// Lanes in which rows ended.
    ended_lanes: BTreeSet<LaneId>,
    raise_all: bool,
    /// Topics with a rate.
    limited: BTreeSet<TopicId>,
    /// The last poll left rows for the end of the grace.
    graced: bool,
    /// When an executor without credit will have blocked others for too long.
    stall_at: Option<Timestamp>,
    ready_bytes: usize,
    lateness: late::Lateness,
    /// Grows with every poll.
    round: u64,
}

#[derive(Debug)]
struct TopicState {
    info: Arc<Topic>,
    /// Place in `namespaces`.
    namespace: usize,
    shards: assign::Shards,
    /// By class: high, normal, low, retry.
    lanes: [Lane; 4],
    /// Deliveries under way.
    working: u32,
    bucket: limits::Bucket,
    /// The poll in which each priority was found to have no more to hand out.
    drained: [u64; 3],
}

impl TopicState {
    fn lease(&self) -> Delay {
        match self.info.settings.lease_ms {
            0 => LEASE_DEFAULT,
            ms => Delay::from_millis(ms),
        }
    }

    fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.get_mut(id.class() as usize)
    }

    /// Notes why a lane was left with rows that wait, or that it was not.
    fn note(&mut self, place: usize, cause: Cause) {
        let paused = self.info.settings.paused;
        let lane = &mut self.lanes[place];
        lane.cause = lane.backlog().then_some(cause);
        let waits_to_fire = paused || lane.marks.released.is_some() && lane.unreleased;
        if lane.cause.is_none() && !waits_to_fire {
            lane.behind = None;
        }
    }
}

impl Dispatcher {
    /// A dispatcher for the term that begins `now`. It delivers nothing before it was told topics, lanes and sessions.
    pub fn new(config: Config, term: Term, now: Timestamp) -> Self {
        Dispatcher {
            grace_end: now.after(config.grace),
            lateness: late::Lateness::new(&config, term, now),
            config,
            watermark: term.watermark,
            term,
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            namespaces: Vec::new(),
            turn: Turn::default(),
            sessions: Sessions::new(),
            last_session: 0,
            leases: Leases::default(),
            counter: 0,
            expired_count: 0,
            proposals: BTreeMap::new(),
            last_ticket: 0,
            proposed: Vec::new(),
            repeats: VecDeque::new(),
            undecided: 0,
            results: BTreeMap::new(),
            untold: BTreeSet::new(),
            touched: BTreeSet::new(),
            run_lanes: BTreeSet::new(),
            ended_lanes: BTreeSet::new(),
            raise_all: false,
            limited: BTreeSet::new(),
            graced: false,
            stall_at: None,
            ready_bytes: 0,
            round: 0,
        }
    }

    /// A topic exists, or has other settings now. Its name and namespace stay as first given.
    pub fn set_topic(&mut self, now: Timestamp, topic: Topic) {
        let id = topic.id;
        if limits::rate(&topic.settings).is_some() {
            self.limited.insert(id);
        } else {
            self.limited.remove(&id);
        }
        if let Some(known) = self.topics.get_mut(&id) {
            let (namespace, name) = (known.info.namespace.clone(), known.info.name.clone());
            let settings = topic.settings;
            for lane in &mut known.lanes {
                // What is delivered first after a pause has waited for it, however long ago it ended.
                if settings.paused {
                    lane.behind = Some(Cause::Paused);
                }
                lane.unreleased = true;
            }
            known.info = Arc::new(Topic { id, namespace, name, settings });
            return;
        }
        let first = (topic.namespace.clone(), Arc::from(""));
        let neighbour = self.names.range(first..).next().filter(|((namespace, _), _)| *namespace == topic.namespace);
        let namespace = match neighbour.and_then(|(_, id)| self.topics.get(id)) {
            Some(known) => known.namespace,
            None => {
                self.namespaces.push(Namespace::default());
                self.namespaces.len() - 1
            }
        };
        self.names.insert((topic.namespace.clone(), topic.name.clone()), id);
        for session in self.sessions.values_mut() {
            if session.namespace == topic.namespace && session.names.contains(&topic.name) {
                session.topics.push(id);
            }
        }
        let lane = |class| Lane::new(LaneId::new(id, class));
        let state = TopicState {
            info: Arc::new(topic),
            namespace,
            shards: assign::Shards::default(),
            lanes: [lane(Class::High), lane(Class::Normal), lane(Class::Low), lane(Class::Retry)],
            working: 0,
            bucket: limits::Bucket::new(now),
            drained: [0; 3],
        };
        self.topics.insert(id, state);
        self.regroup(id);
    }

    /// The marks of a lane, as stored: at the start, and whenever they changed. Lanes of unknown topics are ignored.
    pub fn set_lane(&mut self, lane: LaneId, marks: Marks) {
        if let Some(lane) = self.lane_mut(lane) {
            lane.set_marks(marks);
        }
    }

    /// Time has come to `watermark`, and something became due in these lanes; more lanes than that do no harm.
    ///
    /// # Panics
    ///
    /// If the watermark steps back.
    pub fn advance(&mut self, watermark: Timestamp, lanes: impl IntoIterator<Item = LaneId>) {
        assert!(watermark >= self.watermark, "watermark {watermark} after {}", self.watermark);
        self.watermark = watermark;
        for lane in lanes {
            self.newly_due(lane);
        }
    }

    /// What an entry changed. After [`Self::advance`] to its time, before [`Self::decided`] for its commands.
    ///
    /// [`Effect::LaneChanged`] is the caller's to turn into [`Self::set_topic`] and [`Self::set_lane`]. Positions of a
    /// run need not be listed as ended.
    pub fn effects(&mut self, now: Timestamp, effects: &[Effect]) {
        for effect in effects {
            match *effect {
                Effect::Inserted { lane, position } if position.due <= self.watermark => {
                    self.newly_due(lane);
                    if let Some(lane) = self.lane_mut(lane) {
                        lane.set_back(position);
                    }
                }
                Effect::Ended { lane: id, position } => {
                    if self.leases.at(id, position).is_some() {
                        self.forget(now, position.generation);
                    }
                    let mut freed = 0;
                    if let Some(lane) = self.lane_mut(id) {
                        let before = lane.ready_bytes;
                        lane.remove_ready(position);
                        freed = before - lane.ready_bytes;
                        lane.ended += 1;
                    }
                    self.ready_bytes -= freed;
                    self.ended_lanes.insert(id);
                }
                Effect::Inserted { .. }
                | Effect::Removed { .. }
                | Effect::LaneChanged { .. }
                | Effect::Changed { .. } => {}
            }
        }
    }

    fn newly_due(&mut self, id: LaneId) {
        let Some(topic) = self.topics.get_mut(&id.topic()) else {
            return;
        };
        let nobody = topic.shards.members().is_empty();
        if let Some(lane) = topic.lane_mut(id) {
            lane.unread = true;
            lane.unreleased = true;
            if nobody {
                lane.cause = Some(Cause::NoExecutor);
            }
        }
    }

    /// Does what can be done now and says what is to be done outside. Call it after events, and at [`Self::next_wake`].
    ///
    /// Returns true when it stopped for the bound of one poll: call it again when what it gave is under way.
    ///
    /// # Errors
    ///
    /// When the source could not be read. The actions given so far are valid; no row was lost.
    pub fn poll(
        &mut self,
        now: Timestamp,
        source: &dyn RowSource,
        actions: &mut Vec<Action>,
    ) -> Result<bool, StoreError> {
        self.expire(now);
        self.tell(actions);
        let limited = self.release(now, source);
        let delivered = limited.and_then(|()| self.deliver(now, source, actions));
        self.send(actions);
        self.merge(now);
        self.raise();
        actions.append(&mut self.proposed);
        for (to, results) in std::mem::take(&mut self.results) {
            actions.push(Action::Results { to, results });
        }
        delivered
    }

    /// When to poll though nothing happens; `None` when only an event can give it something to do.
    pub fn next_wake(&mut self) -> Option<Timestamp> {
        let grace = self.graced.then_some(self.grace_end);
        let moments = [self.leases.next_deadline(), grace, self.stall_at, self.next_repeat(), self.next_release()];
        moments.into_iter().fold(None, earlier)
    }

    /// Proposes at the next poll to raise every floor that can move. For a slow period, so that a quiet lane does not
    /// keep its last rows for ever.
    pub fn raise_floors(&mut self) {
        self.raise_all = true;
    }

    fn raise(&mut self) {
        let all = std::mem::take(&mut self.raise_all);
        let lanes: Vec<LaneId> = if all {
            self.topics.values().flat_map(|topic| topic.lanes.iter().map(|lane| lane.id)).collect()
        } else {
            self.ended_lanes.iter().copied().collect()
        };
        let (watermark, rows) = (self.watermark, self.config.floor_rows);
        for id in lanes {
            let Some(lane) = self.lane_mut(id) else {
                continue;
            };
            if lane.raising || !all && lane.ended < rows {
                continue;
            }
            lane.ended = 0;
            let to = lane.ended_before(watermark);
            let raise = to > lane.marks.floor;
            lane.raising = raise;
            self.ended_lanes.remove(&id);
            if raise {
                let command =
                    RaiseFloor { lane: id.number(), due: to.due.as_millis(), generation: to.generation.number() };
                self.propose(Kind::RaiseFloor(command), Proposal::Floor { lane: id, to });
            }
        }
    }

    /// Tells executors whose share of a topic has changed.
    fn tell(&mut self, actions: &mut Vec<Action>) {
        for id in std::mem::take(&mut self.untold) {
            let Some(topic) = self.topics.get_mut(&id) else {
                continue;
            };
            let version = topic.shards.version;
            for member in topic.shards.members_mut() {
                if member.told != Some(member.owned) {
                    member.told = Some(member.owned);
                    let (session, owned, topic) = (member.session, member.owned, topic.info.name.clone());
                    actions.push(Action::Assigned { session, topic, owned, version });
                }
            }
        }
    }

    fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.topics.get(&id.topic())?.lanes.get(id.class() as usize)
    }

    fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.topics.get_mut(&id.topic())?.lane_mut(id)
    }

    fn namespace_of(&self, lane: LaneId) -> Option<&Arc<str>> {
        self.topics.get(&lane.topic()).map(|topic| &topic.info.namespace)
    }
}
