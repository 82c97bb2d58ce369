//! The world of a run: everything there is, and everything that can happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checkers::history::{Event as Recorded, History, Key, Request};
use checkers::{attempts, effects, replicas};
use proto::v1;
use scheduler::command::Kind;
use scheduler::lane::LaneId;
use scheduler::read::TriggerView;
use scheduler::reply::Reply;
use scheduler::time::Timestamp;
use scheduler::wheel::Split;

use crate::caller::Caller;
use crate::coverage::Coverage;
use crate::digest::Trace;
use crate::events::{Micros, Queue};
use crate::gifts;
use crate::gifts::Gifts;
use crate::gifts::provider::{Asker, Said as Provided};
use crate::log::Message;
use crate::nemesis::Relief;
use crate::net::{Address, Net};
use crate::node::Node;
use crate::openraft::cluster::{Cluster, Happening};
use crate::openraft::frame::{Frame, Lane};
use crate::openraft::lines;
use crate::openraft::setting::Setting;
use crate::openraft::trouble::Trouble;
use crate::openraft::types::node_of;
use crate::rng::Rng;
use crate::swarm::{NODES, Swarm};
use crate::worker::Worker;

/// A run of more events than this goes round in circles: most have some tens of thousands.
const EVENTS_MAX: u64 = 3_000_000;

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// To a node, in the life it had when this was set off.
    Node(usize, u32, NodeEvent),
    /// A datagram from another node reaches a node, whichever life it lives.
    Peer(usize, usize, Message),
    /// What a replica sends reaches its node, over the connection with this number.
    Frame(Lane, u64, Box<Frame>),
    /// What a connection holds up is sent again: forth, or back.
    Stuck(lines::Name, bool, u64),
    /// A call reaches a node.
    Call(usize, Box<Call>),
    /// A segment of a stream reaches its node.
    Up(u64, v1::WorkRequest),
    /// A segment of a stream reaches its executor.
    Down(u64, v1::WorkResponse),
    /// The node's end of a stream learns that it is over.
    HungUp(u64),
    /// The executor's end of a stream learns that it is over.
    Broken(u64),
    /// To a caller.
    Caller(usize, CallerEvent),
    /// To an executor, in the life it had.
    Worker(usize, u32, WorkerEvent),
    /// A request reaches a provider outside.
    Provider(u64),
    /// Something breaks.
    Fault,
    /// Something breaks for replicas.
    Trouble(Trouble),
    /// Something is mended.
    Relief(Relief),
}

/// What happens to a node by itself.
#[derive(Debug)]
pub enum NodeEvent {
    /// It may be time to stand for election.
    Election,
    /// The leader of this term says that it is there.
    Heartbeat(u64),
    /// A sync is through.
    Synced((u64, u64)),
    /// Other clocks are read.
    Sample,
    /// The proposer looks again; the number says which of its alarms this is.
    Propose(u64),
    /// The dispatcher works; as above.
    Turn(u64),
    /// Its dispatcher begins to listen.
    Dispatch(u64),
    /// A slot of the wheel with this number has been counted.
    Counted(u64, Split, Vec<(LaneId, Timestamp, i64)>),
    /// Reads that wait too long are refused.
    ReadsExpire,
    /// A hello has waited long enough for somebody to lead.
    HelloExpires(u64),
    /// It comes back after a crash.
    Start,
    /// To its replica.
    Raft(Happening),
}

/// What happens to a caller.
#[derive(Debug)]
pub enum CallerEvent {
    /// It makes its next call.
    Next,
    /// A try is answered.
    Answer(u64, u32, Result<Said, client::Error>),
    /// A try takes too long.
    TimeOut(u64, u32),
    /// The next try.
    Again(u64),
    /// A node told who leads: endpoint, or empty, and term.
    Leaders(String, u64),
}

/// What happens to an executor.
#[derive(Debug)]
pub enum WorkerEvent {
    /// The engine is to be called.
    Wake(u64),
    /// A handler is through.
    Done(u64),
    /// Who leads, as a node knows it; `None` when no node told in time.
    Leaders(Option<(String, u64)>),
    /// A provider answered a step of a piece of work, or did not.
    Provider(u64, u64, Provided),
    /// A pause in a piece of work is over.
    Rested(u64, u64),
    /// It comes back after a crash.
    Start,
}

/// What a call is about.
#[derive(Clone, Debug)]
pub enum About {
    /// Nothing that is recorded.
    Nothing,
    /// A trigger, and what the history calls it.
    Trigger(Key, Request),
    /// A gift, and what its record calls it.
    Gift(Key, checkers::gifts::history::Request),
    /// A step of an executor's work.
    Work(Asker),
}

/// A unary call on its way.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who called, its call and its try.
    pub caller: usize,
    /// Which of its calls.
    pub number: u64,
    /// Which try of it.
    pub attempt: u32,
    /// What is asked.
    pub ask: Ask,
    /// Nobody waits any more after this.
    pub until: Micros,
    /// It was passed on by another node already.
    pub passed_on: bool,
}

/// What can be asked.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "most are the large one")]
pub enum Ask {
    /// That the log decides something.
    Decide(Kind),
    /// What a trigger is like: namespace and id.
    Get(String, String),
    /// What a gift is like.
    Gift(String),
    /// Who leads.
    Leaders,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Said {
    /// By the log.
    Decided(Reply),
    /// A trigger, if there is one.
    View(Option<Box<TriggerView>>),
    /// A gift, if there is one.
    Gift(Option<Box<domain::gift::Gift>>),
}

/// A stream between an executor and a node: what is sent arrives in order, or it and all after it do not.
#[derive(Debug)]
pub struct Stream {
    /// Whose.
    pub worker: usize,
    /// In which of its lives.
    pub worker_boot: u32,
    /// As its engine calls it.
    pub id: u64,
    /// With whom.
    pub node: usize,
    /// In which of its lives.
    pub node_boot: u32,
    /// When the last segment to the node arrives,
    pub up_at: Micros,
    /// and the last to the executor.
    pub down_at: Micros,
    /// Nothing arrives any more.
    pub broken: bool,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    /// Where its dice came from.
    pub seed: u64,
    /// What it is made of.
    pub swarm: Swarm,
    /// What is to happen.
    pub queue: Queue<Event>,
    /// Dice of the parts; the load and the nemesis have their own.
    pub rng: Rng,
    /// Dice of the nemesis.
    pub fate: Rng,
    /// Links.
    pub net: Net,
    /// True time of day at the beginning, in microseconds, and what was slept since.
    pub epoch: Micros,
    /// Replicas.
    pub nodes: Vec<Node>,
    /// What agrees, when it is openraft; `None`: the log of [`crate::log`] does.
    pub cluster: Option<Box<Cluster>>,
    /// Nodes are exchanged on the way.
    pub upgrades: bool,
    /// What there is of gifts, in a run that has them.
    pub gifts: Option<Box<Gifts>>,
    /// Executors.
    pub workers: Vec<Worker>,
    /// Callers.
    pub callers: Vec<Caller>,
    /// Streams by number.
    pub streams: BTreeMap<u64, Stream>,
    /// Number of the newest stream.
    pub streams_made: u64,
    /// Disks are this much slower.
    pub slow: [Micros; NODES],
    /// Faults and load are over.
    pub quiet: bool,
    /// Events so far.
    pub happened: u64,
    /// What clients and executors saw.
    pub history: History,
    /// What replicas wrote.
    pub applied: Vec<replicas::Applied>,
    /// Failed attempts that entries counted, as each replica tells it.
    pub counted: Vec<attempts::Counted>,
    /// Terms of committed entries by index.
    pub committed: BTreeMap<u64, u64>,
    /// What handlers did.
    pub ledger: Vec<effects::Effect>,
    /// What was broken that no history shows.
    pub broken: Vec<String>,
    /// What was met.
    pub coverage: Coverage,
    /// Hash of everything that happened.
    pub trace: Trace,
}

impl World {
    /// The world of a seed with a setting, at its beginning.
    #[must_use]
    pub fn new(seed: u64, swarm: Swarm, setting: Option<Setting>, mut rng: Rng) -> Self {
        let mut swarm = swarm;
        gifts::adapt(seed, &mut swarm);
        let weather = swarm.weather;
        // Executors that work for gifts call the cluster too: theirs are the callers after the others.
        let clerks = if gifts::has_gifts(seed) { swarm.workers * swarm.concurrency } else { 0 };
        let net = Net::new(weather, NODES + swarm.callers + clerks + swarm.workers, rng.fork());
        // A while before an hour ends, so that slots of every size are entered.
        let hour = 3_600_000_000;
        let epoch = 500_000 * hour - rng.below(90_000_000);
        let mut fate = rng.fork();
        let nodes = (0..NODES).map(|number| Node::new(number, &swarm, &mut fate)).collect();
        let workers =
            (0..swarm.workers).map(|number| Worker::new(number, &swarm, gifts::has_gifts(seed), &mut rng)).collect();
        let callers = (0..swarm.callers + clerks).map(|number| Caller::new(number, &mut rng)).collect();
        let mut world = World {
            seed,
            swarm,
            queue: Queue::default(),
            rng,
            fate,
            net,
            epoch,
            nodes,
            upgrades: false,
            gifts: Gifts::of(seed, epoch / 1_000),
            cluster: setting.map(|setting| Box::new(Cluster::new(setting))),
            workers,
            callers,
            streams: BTreeMap::new(),
            streams_made: 0,
            slow: [0; NODES],
            quiet: false,
            happened: 0,
            history: History::default(),
            applied: Vec::new(),
            counted: Vec::new(),
            committed: BTreeMap::new(),
            ledger: Vec::new(),
            broken: Vec::new(),
            coverage: Coverage::default(),
            trace: Trace::default(),
        };
        if world.cluster.is_some() {
            let mut dice = world.rng.fork();
            world.begin_processes(&mut dice);
        }
        for node in 0..NODES {
            world.boot(node);
        }
        world.plan_upgrade(seed);
        for worker in 0..world.workers.len() {
            world.wake_worker(worker);
        }
        for caller in 0..world.swarm.callers {
            let at = world.rng.below(world.swarm.pause);
            world.queue.at(at, Event::Caller(caller, CallerEvent::Next));
        }
        world.plan_gifts();
        world.plan_fault();
        world.plan_trouble();
        world
    }

    /// The present.
    pub fn now(&self) -> Micros {
        self.queue.now()
    }

    /// The present as the recorder's clock shows it, in microseconds. It is ahead of true time by the error that is
    /// granted, so that what is early by more than that is early here.
    pub fn recorded_us(&self) -> i64 {
        (self.epoch + self.now() + self.swarm.clock_error) as i64
    }

    /// True time of day in milliseconds.
    pub fn true_ms(&self) -> u64 {
        (self.epoch + self.now()) / 1_000
    }

    /// Writes an event into the history.
    pub fn record(&mut self, event: Recorded) {
        self.history.push(event);
    }

    /// Lets everything happen that is to happen by `end`.
    pub fn run_until(&mut self, end: Micros) {
        while let Some(event) = self.queue.next(end) {
            self.happened += 1;
            assert!(self.happened < EVENTS_MAX, "a run of {} events does not end", self.happened);
            self.trace.add(self.queue.now());
            self.happen(event);
            self.settle();
        }
        self.queue.advance(end);
        self.settle();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Node(node, boot, what) => {
                self.trace.add(1 | (node as u64) << 8);
                if self.nodes[node].boot != boot {
                    return;
                }
                if let Some(later) = self.asleep(node) {
                    return self.queue.at(later, Event::Node(node, boot, what));
                }
                self.node_event(node, what);
            }
            Event::Peer(from, to, message) => {
                self.trace.add(2 | (from as u64) << 8 | (to as u64) << 16);
                if !self.nodes[to].up {
                    return;
                }
                if let Some(later) = self.asleep(to) {
                    return self.queue.at(later, Event::Peer(from, to, message));
                }
                self.heard(to, from, message);
            }
            Event::Frame(lane, number, frame) => {
                let (from, to) = (node_of(frame.from), node_of(frame.to));
                self.trace.add(13 | (from as u64) << 8 | (to as u64) << 16 | number << 24);
                if let Some(later) = self.asleep(to) {
                    return self.queue.at(later, Event::Frame(lane, number, frame));
                }
                self.frame_arrives(lane, number, *frame);
            }
            Event::Stuck(name, back, number) => {
                self.trace.add(14);
                self.push_line(name, back, number);
            }
            Event::Call(node, call) => {
                self.trace.add(3 | (node as u64) << 8 | call.number << 16);
                if let Some(later) = self.asleep(node) {
                    return self.queue.at(later, Event::Call(node, call));
                }
                self.called(node, *call);
            }
            Event::Up(stream, request) => {
                self.trace.add(4 | stream << 8);
                if let Some(later) = self.streams.get(&stream).and_then(|stream| self.asleep(stream.node)) {
                    return self.queue.at(later, Event::Up(stream, request));
                }
                self.stream_up(stream, request);
            }
            Event::Down(stream, response) => {
                self.trace.add(5 | stream << 8);
                self.stream_down(stream, response);
            }
            Event::HungUp(stream) => {
                self.trace.add(6 | stream << 8);
                if let Some(later) = self.streams.get(&stream).and_then(|stream| self.asleep(stream.node)) {
                    return self.queue.at(later, Event::HungUp(stream));
                }
                self.stream_hung_up(stream);
            }
            Event::Broken(stream) => {
                self.trace.add(7 | stream << 8);
                self.stream_broken(stream);
            }
            Event::Caller(caller, what) => {
                self.trace.add(8 | (caller as u64) << 8);
                self.caller_event(caller, what);
            }
            Event::Worker(worker, boot, what) => {
                self.trace.add(9 | (worker as u64) << 8);
                if self.workers[worker].boot == boot {
                    self.worker_event(worker, what);
                }
            }
            Event::Provider(number) => {
                self.trace.add(15 | number << 8);
                self.reach_provider(number);
            }
            Event::Fault => self.fault(),
            Event::Trouble(trouble) => self.trouble(trouble),
            Event::Relief(relief) => {
                self.trace.add(10);
                self.relieve(relief);
            }
        }
    }

    /// When a node that is stopped goes on.
    fn asleep(&self, node: usize) -> Option<Micros> {
        let until = self.nodes[node].paused_until;
        (until > self.now()).then_some(until)
    }

    fn node_event(&mut self, node: usize, event: NodeEvent) {
        match event {
            NodeEvent::Start => self.start(node),
            _ if !self.nodes[node].up => {}
            NodeEvent::Election => self.election_due(node),
            NodeEvent::Heartbeat(term) => self.heartbeat(node, term),
            NodeEvent::Synced(name) => self.synced(node, name),
            NodeEvent::Sample => self.sample_clocks(node),
            NodeEvent::Propose(alarm) => self.propose_alarm(node, alarm),
            NodeEvent::Turn(alarm) => self.turn_alarm(node, alarm),
            NodeEvent::Dispatch(term) => self.begin_dispatch(node, term),
            NodeEvent::Counted(wheel, split, counts) => self.counted(node, wheel, split, counts),
            NodeEvent::ReadsExpire => self.expire_reads(node),
            NodeEvent::HelloExpires(stream) => self.hello_expires(node, stream),
            NodeEvent::Raft(what) => self.happens(node, what),
        }
    }

    /// Lets something happen to a node in the life it has.
    pub fn at_node(&mut self, at: Micros, node: usize, event: NodeEvent) {
        let boot = self.nodes[node].boot;
        self.queue.at(at, Event::Node(node, boot, event));
    }

    /// Sends a datagram, or two.
    pub fn send(&mut self, from: Address, to: Address, event: impl Fn() -> Event) {
        let arrivals = self.net.send(self.now(), from, to);
        for at in [arrivals.first, arrivals.second].into_iter().flatten() {
            self.queue.at(at, event());
        }
    }

    /// Sends a message between nodes.
    pub fn send_peer(&mut self, from: usize, to: usize, message: Message) {
        let arrivals = self.net.send(self.now(), from, to);
        if let Some(at) = arrivals.second {
            self.queue.at(at, Event::Peer(from, to, message.clone()));
        }
        if let Some(at) = arrivals.first {
            self.queue.at(at, Event::Peer(from, to, message));
        }
    }

    /// Address of a caller.
    pub fn caller_address(&self, caller: usize) -> Address {
        NODES + caller
    }

    /// Address of an executor.
    pub fn worker_address(&self, worker: usize) -> Address {
        NODES + self.callers.len() + worker
    }

    /// Something is wrong that no history shows.
    pub fn broke(&mut self, what: String) {
        if self.broken.len() < 20 {
            self.broken.push(what);
        }
    }
}

/// Name under which a node is reached.
#[must_use]
pub fn endpoint(node: usize) -> String {
    format!("http://n{node}")
}

/// The node that is reached under a name.
#[must_use]
pub fn node_at(endpoint: &str) -> Option<usize> {
    endpoint.strip_prefix("http://n")?.parse().ok().filter(|node| *node < NODES)
}

/// A length of time as the pure parts of client and executor take it.
#[must_use]
pub fn duration(micros: Micros) -> Duration {
    Duration::from_micros(micros)
}

/// The other way round.
#[must_use]
pub fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Rows of a replica at a moment.
pub type Rows = Arc<scheduler::memory::MemoryStore>;
