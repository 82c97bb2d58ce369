//! Executors at the work of the gift business: one piece of work is a few steps, each a call to the cluster, a call to a provider
//! or a pause.

use std::time::Duration;

use bytes::Bytes;
use checkers::effects::Effect;
use checkers::gifts::history::Kind;
use checkers::history::Key;
use client::Error;
use domain::gift::{Gift, SendWork};
use domain::notification::{Channel, News, Notice};
use domain::payment::{PayWork, RefundWork};
use domain::triggers;
use executor::Outcome;
use executor::engine::Event as Told;
use prost::Message as _;
use prost_types::Any;
use proto::v1;
use scheduler::reply::Reply as Answer;

use super::paying::Paying;
use super::provider::{Asker, Request, Said as Provided, Sent};
use super::sending::{Finding, Sending};
use crate::events::{MS, Micros};
use crate::world::{About, Ask, Event, Said, WorkerEvent, World};

/// A piece of work of the gift business in hand.
#[derive(Debug)]
pub struct Job {
    key: Key,
    generation: u64,
    /// Which delivery of it, from 1.
    pub attempt: u32,
    /// Nobody was handed it before.
    is_first: bool,
    /// Counts its steps: what was asked in an earlier one is of no interest any more.
    step: u64,
    /// What it is about.
    pub task: Task,
}

/// What is to be done.
#[derive(Debug)]
pub enum Task {
    /// Take money, ask after it, give it back.
    Pay(Paying),
    /// Send a gift.
    Send(Sending),
    /// Find out whether one was sent.
    Find(Finding),
    /// Tell news: what, and the name of the work.
    News(Box<Notice>, String),
}

/// What came of a step.
#[derive(Debug)]
pub enum Happened {
    /// The work begins.
    Begun,
    /// The cluster answered a command.
    Decided(Result<Box<domain::Reply>, Refused>),
    /// The cluster answered a read.
    Read(Result<Option<Box<Gift>>, Refused>),
    /// A provider answered, or did not.
    Provided(Provided),
    /// The pause is over.
    Rested,
}

/// The cluster did not do what was asked.
#[derive(Clone, Debug)]
pub struct Refused(pub String);

/// What follows.
#[derive(Debug)]
pub enum Next {
    /// Ask the cluster for a command.
    Command(Box<domain::Kind>),
    /// Ask the cluster for a gift.
    Gift(String),
    /// Ask a provider.
    Provider(Request),
    /// Wait.
    Rest(Micros),
    /// It is over, with this.
    End(Outcome),
}

impl Next {
    /// Done, and a command says what came of it.
    pub fn report(kind: domain::Kind) -> Next {
        let value = super::encoded(kind).to_vec();
        Next::End(Outcome::Result(Any { type_url: "command".to_owned(), value }))
    }

    /// Again, at the trigger's own pace or after this.
    pub fn again(error: &str, after: Option<Micros>) -> Next {
        Next::End(Outcome::Retry { error: error.to_owned(), after: after.map(Duration::from_micros) })
    }
}

fn task(delivery: &v1::Delivery) -> Option<Task> {
    let payload = || delivery.payload.clone();
    Some(match delivery.topic.as_str() {
        triggers::PAYMENT_CONFIRM => Task::Pay(Paying::Confirm(PayWork::decode(payload()).ok()?)),
        triggers::PAYMENT_QUERY => Task::Pay(Paying::Query(PayWork::decode(payload()).ok()?)),
        triggers::PAYMENT_REFUND => Task::Pay(Paying::refund(RefundWork::decode(payload()).ok()?)),
        triggers::GIFT_SEND => Task::Send(Sending::new(SendWork::decode(payload()).ok()?)),
        triggers::GIFT_FIND => Task::Find(Finding::new(SendWork::decode(payload()).ok()?)),
        topic if topic.starts_with("notify.") => {
            Task::News(Box::new(Notice::decode(payload()).ok()?), format!("{}/{}", delivery.id, delivery.generation))
        }
        _ => return None,
    })
}

impl World {
    /// An executor begins with a delivery; false when it is not of the gift business.
    pub fn begin_job(&mut self, worker: usize, work: u64, delivery: &v1::Delivery) -> bool {
        if self.gifts.is_none() || !super::TOPICS.contains(&delivery.topic.as_str()) {
            return false;
        }
        let Some(task) = task(delivery) else {
            self.broke(format!("the payload of {} cannot be read", delivery.id));
            return true;
        };
        let key = Key::new(delivery.namespace.clone(), delivery.id.clone());
        let job = Job {
            key,
            generation: delivery.generation,
            attempt: delivery.attempt,
            is_first: delivery.first,
            step: 0,
            task,
        };
        self.workers[worker].jobs.insert(work, job);
        let hang = if self.quiet { 0 } else { self.swarm.hang_ppm };
        if !self.rng.chance(hang) {
            self.go_on(worker, work, Happened::Begun);
        }
        true
    }

    /// A step of a piece of work is over.
    pub fn stepped(&mut self, worker: usize, work: u64, step: u64, what: Happened) {
        if self.workers[worker].jobs.get(&work).is_some_and(|job| job.step == step) {
            self.go_on(worker, work, what);
        }
    }

    fn go_on(&mut self, worker: usize, work: u64, what: Happened) {
        let boot = self.workers[worker].boot;
        let Some(mut job) = self.workers[worker].jobs.remove(&work) else { return };
        job.step += 1;
        let (step, attempt) = (job.step, job.attempt);
        let Some(gifts) = &mut self.gifts else { return };
        let next = match &mut job.task {
            Task::Pay(paying) => paying.next(attempt, job.is_first, what),
            Task::Send(sending) => {
                sending.next(gifts, &mut self.coverage, what, (self.epoch + self.queue.now()) / 1_000)
            }
            Task::Find(finding) => finding.next(gifts, attempt, what),
            Task::News(notice, name) => news(notice, name, what),
        };
        let asker = Asker { worker, boot, work, step };
        let end = match next {
            Next::End(outcome) => outcome,
            next => {
                self.workers[worker].jobs.insert(work, job);
                return self.ask(asker, next);
            }
        };
        if matches!(end, Outcome::Success | Outcome::Result(_)) {
            let (executor, at_us) = (self.workers[worker].name(), self.recorded_us());
            self.ledger.push(Effect { trigger: job.key, generation: job.generation, executor, at_us });
        }
        self.tell_worker(worker, Some(Told::Finished { work, outcome: end }));
    }

    fn ask(&mut self, asker: Asker, next: Next) {
        let about = About::Work(asker);
        match next {
            Next::Command(kind) => {
                let business = scheduler::command::Business {
                    namespace: super::NAMESPACE.to_owned(),
                    body: super::encoded(*kind),
                };
                self.ask_cluster(about, Ask::Decide(scheduler::command::Kind::Business(business)));
            }
            Next::Gift(id) => self.ask_cluster(about, Ask::Gift(id)),
            Next::Provider(request) => self.ask_provider(asker, request),
            Next::Rest(pause) => {
                let at = self.now() + pause;
                let Asker { worker, boot, work, step } = asker;
                self.queue.at(at, Event::Worker(worker, boot, WorkerEvent::Rested(work, step)));
            }
            Next::End(_) => {}
        }
    }

    /// An executor has a client of its own: a caller nobody sees, of which there are as many as are needed.
    fn ask_cluster(&mut self, about: About, ask: Ask) {
        let About::Work(asker) = about else { return };
        let first = self.swarm.callers + asker.worker * self.swarm.concurrency;
        let own = first..first + self.swarm.concurrency;
        let free = own.into_iter().find(|&clerk| !self.callers[clerk].is_calling());
        match free {
            Some(clerk) => self.begin_call(clerk, ask, about),
            // Those of an earlier life of the process have not been given up yet.
            None => {
                let refused = Refused("no connection".to_owned());
                let answer = if matches!(ask, Ask::Gift(_)) {
                    Happened::Read(Err(refused))
                } else {
                    Happened::Decided(Err(refused))
                };
                self.stepped(asker.worker, asker.work, asker.step, answer);
            }
        }
    }

    /// The cluster answered an executor.
    pub fn cluster_answered(&mut self, asker: Asker, answer: Result<Said, Error>) {
        if self.workers[asker.worker].boot != asker.boot {
            return;
        }
        let what = match answer {
            Ok(Said::Gift(gift)) => Happened::Read(Ok(gift)),
            Ok(Said::Decided(Answer::Business(body))) => {
                Happened::Decided(domain::Reply::decode(body).map(Box::new).map_err(|error| Refused(error.to_string())))
            }
            Ok(other) => Happened::Decided(Err(Refused(format!("{other:?}")))),
            Err(error) => Happened::Decided(Err(Refused(error.to_string()))),
        };
        self.stepped(asker.worker, asker.work, asker.step, what);
    }
}

/// News: to the first channel that takes it. A provider that gave no answer may have it; then it counts as told, unless it replaces itself.
fn news(notice: &Notice, name: &str, what: Happened) -> Next {
    let channel = notice.channels().next().unwrap_or(Channel::Operator);
    let has_link = matches!(notice.news(), News::Arrived | News::ExpiresSoon | News::PassOn);
    let send = |link: Option<Bytes>| {
        let key = format!("{name}/{}", channel.name());
        Next::Provider(Request::Send(Sent { gift: notice.gift.clone(), kind: Kind::News, channel, link, key }))
    };
    match what {
        Happened::Begun if has_link => Next::Gift(notice.gift.clone()),
        Happened::Begun => send(None),
        Happened::Read(Ok(gift)) => {
            let link = gift.filter(|gift| gift.state().is_held()).and_then(|gift| gift.draw?.link);
            // The gift is over: there is nothing left to tell.
            link.map_or(Next::End(Outcome::Success), |link| send(Some(link.hash)))
        }
        Happened::Read(Err(Refused(why))) | Happened::Decided(Err(Refused(why))) => Next::again(&why, None),
        Happened::Provided(Provided::Accepted | Provided::Nothing) => Next::End(Outcome::Success),
        Happened::Provided(Provided::Rejected) => Next::End(Outcome::Fail { error: "no channel takes it".to_owned() }),
        Happened::Provided(_) | Happened::Decided(Ok(_)) | Happened::Rested => Next::again("later", Some(200 * MS)),
    }
}
