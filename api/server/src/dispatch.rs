//! Runs the dispatcher of a partition while this node leads it: on a thread of its own, since it reads rows.
//!
//! It delivers only inside a lease that a majority acknowledged, in the term it was made for. A leader that was stopped
//! and wakes up after another one was elected finds its lease run out and delivers nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use scheduler::command::Kind;
use scheduler::dispatcher::{
    Action, Config, Decision, Delivery, Dispatcher, Extended, HeldLease, Hello, Marks, Origin, Outcome, OutcomeResult,
    SessionId, Status, Term, Ticket, Topic, Welcome,
};
use scheduler::lane::{Class, LaneId, Position, TopicId};
use scheduler::read;
use scheduler::reply::Effect;
use scheduler::store::StoreError;
use scheduler::time::{Delay, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::canary;
use crate::error::Error;
use crate::feed::{Fed, Feed};
use crate::late::LateTriggers;
use crate::lateness::Lateness;
use crate::leader_clock::LeaderClock;
use crate::machine::{Adapter, Rows, SnapshotRows};
use crate::proposer::Proposer;
use crate::rows::Source;

/// Events of executors that may wait; more make their streams wait.
const EVENTS_MAX: usize = 1_024;
/// Events taken before rows are handed out again.
const EVENTS_AT_ONCE: usize = 256;
/// Floors are raised unasked this long after something ended, so that a partition falls silent soon after its last
/// completion,
const FLOORS_AFTER: Duration = Duration::from_millis(300);
/// but no oftener than this.
const FLOORS_EVERY: Duration = Duration::from_secs(10);
/// How long to wait for a lease that has run out to be acknowledged again.
const LEASE_PAUSE: Duration = Duration::from_millis(5);

/// What an executor's session is sent.
#[derive(Debug)]
pub enum Outbound {
    /// Work.
    Deliveries(Vec<Delivery>),
    /// Verdicts on outcomes it reported.
    Results(Vec<OutcomeResult>),
    /// Its share of a topic's shards.
    Assigned {
        /// Which topic.
        topic: Arc<str>,
        /// How many shards.
        owned: u32,
        /// Grows with every change.
        version: u64,
    },
    /// Which leases were extended.
    Extended(Extended),
    /// The session is over.
    GoAway {
        /// Why.
        reason: String,
        /// Where the leader is, when known.
        leader: Option<String>,
    },
}

/// How a dispatcher is.
pub struct Standing {
    /// Its sessions and lanes.
    pub status: Status,
    /// Of what it has handed out.
    pub lateness: Lateness,
}

/// What sessions and calls tell the dispatcher.
pub enum Event {
    /// An executor asks for work.
    Open {
        /// Its hello.
        hello: Hello,
        /// Where to send to.
        outbound: mpsc::UnboundedSender<Outbound>,
        /// The answer.
        reply: oneshot::Sender<Welcome>,
    },
    /// It can hold this many more.
    Credit(SessionId, u32),
    /// It wants no more.
    Drain(SessionId),
    /// It is gone.
    Close(SessionId),
    /// It needs longer.
    Extend(SessionId, Vec<HeldLease>),
    /// It reports outcomes on its stream.
    Report(SessionId, Arc<str>, Vec<Outcome>),
    /// Somebody reports outcomes without a stream.
    Call {
        /// Who.
        executor: Arc<str>,
        /// What.
        outcomes: Vec<Outcome>,
        /// The verdicts, in any order.
        reply: oneshot::Sender<Vec<OutcomeResult>>,
    },
    /// Somebody wants to know how it goes.
    Status(oneshot::Sender<Standing>),
    /// Somebody wants to know which rows are handed out.
    Holds {
        /// Where they are.
        rows: Vec<(LaneId, Position)>,
        /// One answer for each, in order.
        reply: oneshot::Sender<Vec<bool>>,
    },
}

/// Talks to the dispatcher of a partition and term; cheap to clone.
#[derive(Clone)]
pub struct Handle(mpsc::Sender<Event>);

impl Handle {
    /// Tells it something, waiting for room.
    ///
    /// # Errors
    ///
    /// The term is over: [`Error::NotLeader`] with `partition`.
    pub async fn tell(&self, partition: u32, event: Event) -> Result<(), Error> {
        self.0.send(event).await.map_err(|_| Error::NotLeader { partition, leader: None })
    }
}

/// What a dispatcher works with.
pub struct Context {
    /// Which partition.
    pub partition: u32,
    /// Its term and where it begins.
    pub term: Term,
    /// The group led.
    pub group: raft::Group<Adapter>,
    /// What was applied.
    pub feed: Arc<Feed>,
    /// The partition's time.
    pub clock: Arc<LeaderClock>,
    /// Takes its proposals.
    pub proposer: Proposer,
    /// From when on a trigger is late,
    pub late_bound: Duration,
    /// and who remembers it.
    pub late: LateTriggers,
}

/// A running dispatcher. Dropping it stops it.
pub struct Running {
    handle: Handle,
    stop: Option<oneshot::Sender<Option<String>>>,
    /// Closed when the thread has ended.
    ended: oneshot::Receiver<()>,
}

impl Running {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no thread to give.
    pub fn start(context: Context) -> std::io::Result<Running> {
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let (stop, stopped) = oneshot::channel();
        let (alive, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name(format!("dispatch-{}", context.partition)).spawn(move || {
            let _alive: oneshot::Sender<()> = alive;
            runtime.block_on(Runner::new(context, inbox).run(stopped));
        })?;
        Ok(Running { handle: Handle(events), stop: Some(stop), ended })
    }

    /// Talks to it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }

    /// Stops it; its sessions are told where the leader is.
    pub fn stop(mut self, leader: Option<String>) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(leader);
        }
    }
}

struct Runner {
    context: Context,
    dispatcher: Dispatcher,
    inbox: mpsc::Receiver<Event>,
    sessions: HashMap<SessionId, mpsc::UnboundedSender<Outbound>>,
    /// The session that completes canaries: they are no part of what is measured of others.
    canary: Option<SessionId>,
    calls: HashMap<u64, Call>,
    calls_made: u64,
    known: std::collections::HashSet<TopicId>,
    lateness: Lateness,
    actions: Vec<Action>,
}

struct Call {
    missing: usize,
    results: Vec<OutcomeResult>,
    reply: oneshot::Sender<Vec<OutcomeResult>>,
}

impl Runner {
    fn new(context: Context, inbox: mpsc::Receiver<Event>) -> Runner {
        let config = Config {
            late_bound: Delay::from_millis(u64::try_from(context.late_bound.as_millis()).unwrap_or(u64::MAX)),
            late_except: Some(canary::NAMESPACE.into()),
            ..Config::default()
        };
        let dispatcher = Dispatcher::new(config, context.term, context.clock.now());
        Runner {
            context,
            dispatcher,
            inbox,
            sessions: HashMap::new(),
            canary: None,
            calls: HashMap::new(),
            calls_made: 0,
            known: Default::default(),
            lateness: Lateness::default(),
            actions: Vec::new(),
        }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<Option<String>>) {
        let (reason, leader) = tokio::select! {
            leader = &mut stopped => ("another node leads the partition".to_string(), leader.ok().flatten()),
            error = self.work() => {
                tracing::error!(partition = self.context.partition, %error, "the dispatcher stopped");
                (error, None)
            }
        };
        for session in self.sessions.into_values() {
            let _ = session.send(Outbound::GoAway { reason: reason.clone(), leader: leader.clone() });
        }
    }

    /// Works until something breaks; says what.
    async fn work(&mut self) -> String {
        // Entries of this term may have been applied before: they are told to nobody, their rows are there to be read.
        let (progress, mut fed) = self.context.feed.follow();
        self.dispatcher.advance(progress.watermark.max(self.context.term.watermark), []);
        if let Err(error) = self.load_topics() {
            return self.unreadable(error).await;
        }
        let mut decisions = FuturesUnordered::new();
        // What an earlier leader left behind counts as something that ended.
        let mut floors = Some(Instant::now() + FLOORS_AFTER);
        let mut raised: Option<Instant> = None;
        loop {
            let may_send = self.may_send();
            let mut again = false;
            if may_send {
                match self.poll() {
                    Ok(more) => again = more,
                    Err(error) => return self.unreadable(error).await,
                }
                for action in std::mem::take(&mut self.actions) {
                    self.perform(action, &mut decisions);
                }
                if let Some(noted) = self.dispatcher.take_noted() {
                    crate::metrics::noted(&noted);
                    self.context.late.remember(self.context.partition, noted.late);
                }
            }
            let wake = self.dispatcher.next_wake();
            let clock = self.context.clock.clone();
            let wait = async {
                match wake {
                    _ if !may_send => tokio::time::sleep(LEASE_PAUSE).await,
                    _ if again => {}
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // In this order: a decision must be told after what its entry changed.
            tokio::select! {
                biased;
                more = fed.recv() => match more {
                    Some(more) => {
                        if let Err(error) = self.take_in(more) {
                            return self.unreadable(error).await;
                        }
                    }
                    None => return "the partition's rows were replaced".into(),
                },
                Some(decision) = decisions.next(), if !decisions.is_empty() => {
                    let mut decided = vec![decision];
                    while let Some(Some(next)) = futures::FutureExt::now_or_never(decisions.next()) {
                        decided.push(next);
                    }
                    while let Ok(more) = fed.try_recv() {
                        if let Err(error) = self.take_in(more) {
                            return self.unreadable(error).await;
                        }
                    }
                    let now = self.context.clock.now();
                    for Decided { ticket, decision, may_end } in decided {
                        if may_end && floors.is_none() {
                            let soon = Instant::now() + FLOORS_AFTER;
                            floors = Some(raised.map_or(soon, |raised| soon.max(raised + FLOORS_EVERY)));
                        }
                        self.dispatcher.decided(now, ticket, decision);
                    }
                }
                event = self.inbox.recv() => {
                    let Some(event) = event else { return "nobody listens any more".into() };
                    if let Err(error) = self.hear(event) {
                        return self.unreadable(error).await;
                    }
                    for _ in 1..EVENTS_AT_ONCE {
                        let Ok(event) = self.inbox.try_recv() else { break };
                        if let Err(error) = self.hear(event) {
                            return self.unreadable(error).await;
                        }
                    }
                }
                () = sleep_until(floors) => {
                    floors = None;
                    raised = Some(Instant::now());
                    self.dispatcher.raise_floors();
                }
                () = wait => {}
            }
        }
    }

    /// What these rows hold is for another replica to deliver: this one halts, or it would lead and deliver nothing.
    async fn unreadable(&self, error: StoreError) -> String {
        let reason = error.to_string();
        // A replica that is being opened again may be there by now, and nothing is wrong with it.
        if error.0 != NOT_OPEN {
            self.context.group.halt(&reason).await;
        }
        reason
    }

    /// Whether this node is certain to lead, in the term this dispatcher was made for.
    fn may_send(&self) -> bool {
        let leadership = self.context.group.leadership();
        let in_term = leadership.borrow().we_lead && leadership.borrow().term == self.context.term.term;
        in_term && self.context.group.lease_valid()
    }

    fn poll(&mut self) -> Result<bool, StoreError> {
        let store = self.store()?;
        let now = self.context.clock.now();
        self.dispatcher.poll(now, &Source(&Rows(&store)), &mut self.actions)
    }

    fn perform(&mut self, action: Action, decisions: &mut FuturesUnordered<Deciding>) {
        match action {
            Action::Deliver { session, deliveries } => {
                let now = self.context.clock.now();
                if self.canary == Some(session) {
                    crate::metrics::canaries_delivered(now, &deliveries);
                } else {
                    crate::metrics::delivered(now, &deliveries);
                    self.lateness.add(now, &deliveries);
                }
                if let Some(outbound) = self.sessions.get(&session)
                    && outbound.send(Outbound::Deliveries(deliveries)).is_err()
                {
                    // Its end is on the way as an event; until then it shall get no more. Its leases run out.
                    self.dispatcher.drain(session);
                }
            }
            Action::Propose { ticket, command } => {
                // Raising a floor ends nothing, and must not be a reason to raise it again.
                let may_end = !matches!(command, Kind::RaiseFloor(_) | Kind::Release(_));
                let proposed = self.context.proposer.propose_internal(command);
                decisions
                    .push(Box::pin(async move { Decided { ticket, decision: decision(proposed).await, may_end } }));
            }
            Action::Results { to: Origin::Session(session), results } => {
                if self.canary == Some(session) {
                    crate::metrics::canaries_completed(&results);
                } else {
                    crate::metrics::outcomes(&results);
                }
                if let Some(outbound) = self.sessions.get(&session) {
                    let _ = outbound.send(Outbound::Results(results));
                }
            }
            Action::Results { to: Origin::Call(number), results } => {
                crate::metrics::outcomes(&results);
                let Some(mut call) = self.calls.remove(&number) else { return };
                call.missing = call.missing.saturating_sub(results.len());
                call.results.extend(results);
                if call.missing == 0 {
                    let _ = call.reply.send(call.results);
                } else {
                    self.calls.insert(number, call);
                }
            }
            Action::Assigned { session, topic, owned, version } => {
                if let Some(outbound) = self.sessions.get(&session) {
                    let _ = outbound.send(Outbound::Assigned { topic, owned, version });
                }
            }
        }
    }

    fn hear(&mut self, event: Event) -> Result<(), StoreError> {
        let now = self.context.clock.now();
        match event {
            Event::Open { hello, outbound, reply } => {
                let is_canary = *hello.executor == *canary::EXECUTOR;
                let rows = self.store()?.snapshot();
                let welcome = self.dispatcher.open(now, hello, &Source(&SnapshotRows(&rows)))?;
                if let Some(old) = welcome.replaced.and_then(|old| self.sessions.remove(&old)) {
                    let reason = "a newer stream of this executor took over".to_string();
                    let _ = old.send(Outbound::GoAway { reason, leader: None });
                }
                let session = welcome.session;
                self.sessions.insert(session, outbound);
                if is_canary {
                    self.canary = Some(session);
                }
                if reply.send(welcome).is_err() {
                    self.sessions.remove(&session);
                    self.dispatcher.close(session);
                }
            }
            Event::Credit(session, credit) => self.dispatcher.credit(now, session, credit),
            Event::Drain(session) => self.dispatcher.drain(session),
            Event::Close(session) => {
                self.sessions.remove(&session);
                self.dispatcher.close(session);
            }
            Event::Extend(session, leases) => {
                let extended = self.dispatcher.extend(now, leases);
                if let Some(outbound) = self.sessions.get(&session) {
                    let _ = outbound.send(Outbound::Extended(extended));
                }
            }
            Event::Report(session, executor, outcomes) => {
                self.dispatcher.report(now, Origin::Session(session), &executor, outcomes);
            }
            Event::Call { executor, outcomes, reply } => {
                self.calls_made += 1;
                self.calls.retain(|_, call| !call.reply.is_closed());
                let call = Call { missing: outcomes.len(), results: Vec::new(), reply };
                self.calls.insert(self.calls_made, call);
                self.dispatcher.report(now, Origin::Call(self.calls_made), &executor, outcomes);
            }
            Event::Status(reply) => {
                let _ = reply.send(Standing { status: self.dispatcher.status(), lateness: self.lateness.clone() });
            }
            Event::Holds { rows, reply } => {
                let held = rows.into_iter().map(|(lane, position)| self.dispatcher.holds(lane, position));
                let _ = reply.send(held.collect());
            }
        }
        Ok(())
    }

    fn take_in(&mut self, entries: Vec<Fed>) -> Result<(), StoreError> {
        let now = self.context.clock.now();
        let mut changed: Vec<TopicId> = Vec::new();
        for Fed { index, watermark, lanes, effects } in entries {
            self.dispatcher.entry_decided(now, index, watermark);
            for effect in &effects {
                match effect {
                    Effect::LaneChanged { lane } => changed.push(lane.topic()),
                    Effect::Inserted { lane, .. } if !self.known.contains(&lane.topic()) => {
                        changed.push(lane.topic());
                    }
                    _ => {}
                }
            }
            // Known before anything of it can be due.
            changed.sort_unstable();
            changed.dedup();
            for topic in changed.drain(..) {
                self.load_topic(topic)?;
            }
            self.dispatcher.advance(watermark, lanes);
            self.dispatcher.effects(now, &effects);
        }
        Ok(())
    }

    fn load_topics(&mut self) -> Result<(), StoreError> {
        let rows = self.store()?.snapshot();
        for topic in read::topics(&SnapshotRows(&rows))? {
            self.load_topic(topic.id)?;
        }
        Ok(())
    }

    fn load_topic(&mut self, id: TopicId) -> Result<(), StoreError> {
        let rows = self.store()?.snapshot();
        let rows = SnapshotRows(&rows);
        let Some(topic) = read::topic(&rows, id)? else { return Ok(()) };
        let now = self.context.clock.now();
        self.known.insert(id);
        self.dispatcher.set_topic(
            now,
            Topic { id, namespace: topic.namespace.into(), name: topic.name.into(), settings: topic.settings },
        );
        for class in [Class::High, Class::Normal, Class::Low, Class::Retry] {
            let lane = LaneId::new(id, class);
            let marks = read::lane(&rows, lane)?;
            self.dispatcher.set_lane(lane, Marks { floor: marks.floor, released: marks.released });
        }
        Ok(())
    }

    fn store(&self) -> Result<raft::Store, StoreError> {
        self.context.group.store().ok_or_else(|| StoreError(NOT_OPEN.into()))
    }
}

/// What is said of rows that are nowhere to be read at the moment.
const NOT_OPEN: &str = "the partition is not open on this node";

type Deciding = std::pin::Pin<Box<dyn Future<Output = Decided> + Send>>;

/// What became of a proposal.
struct Decided {
    ticket: Ticket,
    decision: Decision,
    /// Something may have ended by it.
    may_end: bool,
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn decision(proposed: Result<crate::proposer::Awaited, Error>) -> Decision {
    let answer = match proposed {
        Ok(awaited) => awaited.answer().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => Decision::Applied { index: answer.index, time: answer.time, reply: answer.reply },
        // When the term is over, so is this dispatcher.
        Err(_) => Decision::Again,
    }
}

/// The lateness that is measured at a moment: how long after its due time.
pub fn lateness(now: Timestamp, due: Timestamp) -> Duration {
    Duration::from_millis(now.since(due).as_millis())
}
