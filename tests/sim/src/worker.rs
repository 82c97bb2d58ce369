//! An executor: the runtime's own engine, handlers that work, fail, hang or die with the process, and what they did to
//! the outside world.

use std::collections::BTreeMap;
use std::time::Duration;

use checkers::convert;
use checkers::effects::Effect;
use checkers::history::{Completion, Event as Recorded, Key, Report};
use executor::Outcome;
use executor::engine::{Action, Engine, Event, Settings, Settled};
use proto::v1;
use proto::v1::delivery_outcome;
use scheduler::planted::{self, Bug};

use crate::events::{MS, Micros};
use crate::gifts;
use crate::gifts::executors::{Happened, Job};
use crate::rng::Rng;
use crate::swarm::{NODES, Swarm};
use crate::world::{Event as Happens, NodeEvent, WorkerEvent, World, duration, endpoint, micros, node_at};

/// Topics that executors ask for.
pub const TOPICS: [&str; 5] = ["mail", "push", "bulk", "limited", "brief"];
/// An executor that asks who leads waits so long for one node.
const ASK: Micros = 700 * MS;

/// A handler at work.
#[derive(Debug)]
struct Working {
    key: Key,
    generation: u64,
    outcome: Outcome,
    /// It reported before it did anything.
    reported: bool,
}

/// One executor.
#[derive(Debug)]
pub struct Worker {
    /// Counts its lives.
    pub boot: u32,
    /// Its process runs.
    pub up: bool,
    number: usize,
    seed: u64,
    gifts: bool,
    began: Micros,
    engine: Engine,
    /// Streams by the engine's names.
    streams: BTreeMap<u64, u64>,
    works: BTreeMap<u64, Working>,
    /// Those of the gift business.
    pub jobs: BTreeMap<u64, Job>,
    /// The only alarm that counts, and when it rings.
    alarm: (u64, Micros),
}

impl Worker {
    /// An executor that has just begun; with `gifts` it does the work of the gift business too.
    pub fn new(number: usize, swarm: &Swarm, gifts: bool, rng: &mut Rng) -> Self {
        let (seed, concurrency) = (rng.draw(), swarm.concurrency);
        Worker {
            boot: 0,
            up: true,
            number,
            seed,
            began: 0,
            gifts,
            engine: engine(number, concurrency, gifts, seed),
            streams: BTreeMap::new(),
            works: BTreeMap::new(),
            jobs: BTreeMap::new(),
            alarm: (0, Micros::MAX),
        }
    }

    /// Name it goes by.
    #[must_use]
    pub fn name(&self) -> String {
        format!("e{}", self.number)
    }
}

fn engine(number: usize, concurrency: usize, gifts: bool, seed: u64) -> Engine {
    // The last one does not ask for everything, so that shards have different owners by topic.
    let topics = TOPICS.iter().filter(|topic| number != 3 || **topic != "bulk");
    let topics = topics.chain(gifts::TOPICS.iter().filter(|_| gifts));
    Engine::new(Settings {
        name: format!("e{number}"),
        namespace: "default".into(),
        topics: topics.map(|topic| (*topic).to_owned()).collect(),
        concurrency,
        max_in_flight: 2 * concurrency as u32,
        lease_margin: Duration::from_millis(200),
        extend_up_to: number.is_multiple_of(2).then_some(Duration::from_secs(4)),
        seed,
    })
}

impl World {
    /// Calls the engine, now.
    pub fn wake_worker(&mut self, number: usize) {
        self.tell_worker(number, None);
    }

    /// Tells the engine something, and does what it says.
    pub fn tell_worker(&mut self, number: usize, event: Option<Event>) {
        let now = self.now();
        let worker = &mut self.workers[number];
        if !worker.up {
            return;
        }
        let at = duration(now - worker.began);
        let mut actions = Vec::new();
        if let Some(event) = event {
            worker.engine.handle(at, event, &mut actions);
        }
        worker.engine.advance(at, &mut actions);
        for action in actions {
            self.act(number, action);
        }
        let worker = &mut self.workers[number];
        if let Some(wake) = worker.engine.wake_at().map(|wake| (worker.began + micros(wake)).max(now + 1))
            && wake < worker.alarm.1
        {
            worker.alarm = (worker.alarm.0 + 1, wake);
            let (alarm, boot) = (worker.alarm.0, worker.boot);
            self.queue.at(wake, Happens::Worker(number, boot, WorkerEvent::Wake(alarm)));
        }
    }

    /// Something happens to an executor.
    pub fn worker_event(&mut self, number: usize, event: WorkerEvent) {
        match event {
            WorkerEvent::Wake(alarm) => {
                if self.workers[number].alarm.0 == alarm {
                    self.workers[number].alarm.1 = Micros::MAX;
                    self.wake_worker(number);
                }
            }
            WorkerEvent::Done(work) => self.work_done(number, work),
            WorkerEvent::Provider(work, step, said) => self.stepped(number, work, step, Happened::Provided(said)),
            WorkerEvent::Rested(work, step) => self.stepped(number, work, step, Happened::Rested),
            WorkerEvent::Leaders(Some((leader, term))) => {
                self.tell_worker(number, Some(Event::Leaders(vec![(0, leader, term)])));
            }
            WorkerEvent::Leaders(None) => self.tell_worker(number, Some(Event::LeadersFailed)),
            WorkerEvent::Start => {
                let now = self.now();
                let worker = &mut self.workers[number];
                worker.up = true;
                worker.began = now;
                worker.engine =
                    engine(number, self.swarm.concurrency, worker.gifts, worker.seed ^ u64::from(worker.boot));
                self.wake_worker(number);
            }
        }
    }

    /// Its process dies. What it did is done; what it knew of that is gone.
    pub fn crash_worker(&mut self, number: usize) {
        let worker = &mut self.workers[number];
        if !worker.up {
            return;
        }
        worker.up = false;
        worker.boot += 1;
        worker.streams.clear();
        worker.works.clear();
        worker.jobs.clear();
        worker.alarm = (0, Micros::MAX);
        self.coverage.workers_killed += 1;
        self.cut_streams_of_worker(number);
    }

    fn act(&mut self, number: usize, action: Action) {
        match action {
            Action::AskLeaders => self.ask_leaders(number),
            Action::Dial { stream, endpoint, hello } => {
                let Some(node) = node_at(&endpoint) else { return };
                let open = self.open_stream(number, stream, node);
                self.workers[number].streams.insert(stream, open);
                self.send_up(open, hello);
            }
            Action::HangUp { stream } => {
                if let Some(open) = self.workers[number].streams.remove(&stream) {
                    self.hang_up(open);
                }
            }
            Action::Send { stream, request } => {
                if let Some(open) = self.workers[number].streams.get(&stream).copied() {
                    self.send_up(open, request);
                }
            }
            Action::Start { work, delivery, .. } => self.begin_work(number, work, &delivery),
            Action::Abort { work } => {
                let worker = &mut self.workers[number];
                let dropped = worker.works.remove(&work).is_some() || worker.jobs.remove(&work).is_some();
                self.coverage.aborted += u64::from(dropped);
            }
            Action::Settled(settled) => self.settled(number, &settled),
            Action::Drained => {}
        }
    }

    /// Any node is asked, and another if that one does not say.
    fn ask_leaders(&mut self, number: usize) {
        let now = self.now();
        let address = self.worker_address(number);
        let first = self.rng.below(NODES as u64) as usize;
        let boot = self.workers[number].boot;
        for (tries, node) in (0..NODES).map(|place| (first + place) % NODES).enumerate() {
            let asked = now + tries as Micros * ASK;
            let there = self.net.send(asked, address, node).first;
            let back = there.and_then(|there| self.net.send(there, node, address).first);
            if let Some(at) = back.filter(|at| *at < asked + ASK)
                && self.nodes[node].up
                && self.nodes[node].paused_until <= now
            {
                let member = &self.nodes[node].member;
                let leader = member.leader.map(endpoint).unwrap_or_default();
                let answer = Some((leader, member.term));
                return self.queue.at(at, Happens::Worker(number, boot, WorkerEvent::Leaders(answer)));
            }
        }
        let at = now + NODES as Micros * ASK;
        self.queue.at(at, Happens::Worker(number, boot, WorkerEvent::Leaders(None)));
    }

    fn begin_work(&mut self, number: usize, work: u64, delivery: &v1::Delivery) {
        if self.begin_job(number, work, delivery) {
            return;
        }
        let quiet = self.quiet;
        let (retry, fail, hang) =
            if quiet { (0, 0, 0) } else { (self.swarm.retry_ppm, self.swarm.fail_ppm, self.swarm.hang_ppm) };
        // What kills every handler ends as a dead letter.
        let poison = delivery.id.ends_with("-poison");
        let outcome = match () {
            () if poison || self.rng.chance(retry) => {
                let after = self.rng.coin().then(|| Duration::from_millis(self.rng.between(1, 400)));
                Outcome::Retry { error: "not now".into(), after }
            }
            () if self.rng.chance(fail) => Outcome::Fail { error: "never".into() },
            () => Outcome::Success,
        };
        let key = Key::new(delivery.namespace.clone(), delivery.id.clone());
        let early = planted::is(Bug::ReportsBeforeEffect) && outcome == Outcome::Success;
        let working = Working { key, generation: delivery.generation, outcome, reported: early };
        let boot = self.workers[number].boot;
        self.workers[number].works.insert(work, working);
        if early {
            let at = self.now();
            self.queue.at(at, Happens::Worker(number, boot, WorkerEvent::Done(u64::MAX - work)));
        }
        if !self.rng.chance(hang) {
            let takes = if self.rng.chance(20_000) { 3_000 * MS } else { self.swarm.work };
            let at = self.now() + MS + self.rng.below(takes);
            self.queue.at(at, Happens::Worker(number, boot, WorkerEvent::Done(work)));
        }
    }

    fn work_done(&mut self, number: usize, work: u64) {
        if work > u64::MAX / 2 {
            let event = Event::Finished { work: u64::MAX - work, outcome: Outcome::Success };
            return self.tell_worker(number, Some(event));
        }
        let at_us = self.recorded_us();
        let worker = &mut self.workers[number];
        let Some(working) = worker.works.remove(&work) else { return };
        if working.outcome == Outcome::Success {
            let executor = worker.name();
            self.ledger.push(Effect { trigger: working.key, generation: working.generation, executor, at_us });
        }
        if !working.reported {
            self.tell_worker(number, Some(Event::Finished { work, outcome: working.outcome }));
        }
    }

    fn settled(&mut self, number: usize, settled: &Settled) {
        let delivery = &settled.delivery;
        let completion = Completion {
            executor: self.workers[number].name(),
            trigger: Key::new(delivery.namespace.clone(), delivery.id.clone()),
            generation: delivery.generation,
            attempt: delivery.attempt,
            token: convert::token(delivery.token.as_ref()),
            report: match settled.outcome {
                delivery_outcome::Outcome::Success(_) => Report::Success,
                delivery_outcome::Outcome::Retry(_) => Report::Retry,
                delivery_outcome::Outcome::Fail(_) => Report::Fail,
            },
            verdict: convert::verdict(settled.verdict),
            receipt: settled.result.receipt.as_ref().map(convert::facts),
            answered_us: self.recorded_us(),
        };
        self.record(Recorded::Completion(completion));
    }

    /// A segment of a stream reaches its executor.
    pub fn stream_down(&mut self, number: u64, message: v1::WorkResponse) {
        let Some(stream) = self.streams.get(&number) else { return };
        let (worker, boot, id) = (stream.worker, stream.worker_boot, stream.id);
        if self.workers[worker].boot == boot {
            self.tell_worker(worker, Some(Event::Message { stream: id, message }));
        }
    }

    /// The executor's end of a stream learns that it is over.
    pub fn stream_broken(&mut self, number: u64) {
        let Some(stream) = self.streams.get(&number) else { return };
        let (worker, boot, id) = (stream.worker, stream.worker_boot, stream.id);
        if self.workers[worker].boot == boot && self.workers[worker].streams.remove(&id).is_some() {
            self.tell_worker(worker, Some(Event::Closed { stream: id, leader: None }));
        }
    }

    /// A node is told that it may begin to live again.
    pub fn restart_node(&mut self, number: usize, at: Micros) {
        self.at_node(at, number, NodeEvent::Start);
    }
}
