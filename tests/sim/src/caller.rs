//! A caller: sequential calls, tried again by the client's own rules, and recorded with what came of them.

use bytes::Bytes;
use checkers::gifts::history as gifts;
use checkers::history::{Answer, Decided, Event as Recorded, Key, Operation, Outcome, Refusal, Request, State};
use client::leaders::Leaders;
use client::retry::{Attempts, Next, Policy, Target};
use client::{Error, Repeat, route};
use scheduler::command::{
    Cancel, Kind, Label, Reschedule, RetryPolicy, RunNow, Schedule, SetTopic, TopicSettings, When,
};
use scheduler::planted::{self, Bug};
use scheduler::reply::{Outcome as Standing, Receipt, Reply};

use crate::digest;
use crate::events::{MS, Micros, SECOND};
use crate::rng::Rng;
use crate::swarm::NODES;
use crate::world::{About, Ask, Call, CallerEvent, Event, Said, World, duration, endpoint, micros, node_at};

/// Tenant of everything.
const NAMESPACE: &str = "default";
/// Topic whose triggers are forgotten soon, and so not part of the history.
const FORGOTTEN: &str = "brief";

/// A call under way.
#[derive(Debug)]
struct Current {
    number: u64,
    attempt: u32,
    attempts: Attempts,
    ask: Ask,
    /// What a record calls it, or whose work it is.
    about: About,
    invoked_us: i64,
    endpoint: String,
    /// Where the next try must go.
    named: Option<String>,
    /// How the last try failed.
    last: Option<Error>,
}

/// One caller.
#[derive(Debug)]
pub struct Caller {
    number: usize,
    rng: Rng,
    leaders: Leaders,
    policy: Policy,
    calls: u64,
    current: Option<Current>,
    /// Ids it scheduled, with the version it knows.
    ids: Vec<(String, u64)>,
    last: Option<Schedule>,
    /// To be cancelled just when it is due.
    racing: Option<String>,
    topics_set: u64,
}

impl Caller {
    /// A caller that has made no call.
    pub fn new(number: usize, rng: &mut Rng) -> Self {
        let mut rng = rng.fork();
        // Not everybody asks the same node first.
        let seeds = (0..NODES).map(|node| endpoint((node + number) % NODES)).collect();
        let attempt = duration(rng.between(500, 3_000) * MS);
        Caller {
            number,
            leaders: Leaders::new(seeds),
            policy: Policy { attempt, ..Policy::default() },
            rng,
            calls: 0,
            current: None,
            ids: Vec::new(),
            last: None,
            racing: None,
            topics_set: 0,
        }
    }

    /// Whether it waits for an answer.
    #[must_use]
    pub fn is_calling(&self) -> bool {
        self.current.is_some()
    }

    /// A UUIDv7 in 16 bytes.
    fn request_id(&mut self, true_ms: u64) -> Bytes {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&true_ms.to_be_bytes()[2..]);
        id[6] = 0x70;
        id[7] = self.number as u8;
        id[8..].copy_from_slice(&self.rng.draw().to_be_bytes());
        Bytes::copy_from_slice(&id)
    }
}

impl World {
    /// Something happens to a caller.
    pub fn caller_event(&mut self, number: usize, event: CallerEvent) {
        match event {
            CallerEvent::Next => self.next_call(number),
            CallerEvent::Answer(call, attempt, answer) => {
                if self.waits_for(number, call, Some(attempt)) {
                    self.answered(number, answer);
                }
            }
            CallerEvent::TimeOut(call, attempt) => {
                if self.waits_for(number, call, Some(attempt)) {
                    let after = self.callers[number].policy.attempt;
                    self.answered(number, Err(Error::TimedOut { after }));
                }
            }
            CallerEvent::Again(call) => {
                if self.waits_for(number, call, None) {
                    self.try_call(number);
                }
            }
            CallerEvent::Leaders(leader, term) => {
                let now = duration(self.now());
                self.callers[number].leaders.learned(now, [(0, leader, term)]);
            }
        }
    }

    fn waits_for(&self, number: usize, call: u64, attempt: Option<u32>) -> bool {
        let current = self.callers[number].current.as_ref();
        current
            .is_some_and(|current| current.number == call && attempt.is_none_or(|attempt| attempt == current.attempt))
    }

    fn next_call(&mut self, number: usize) {
        if self.quiet {
            return;
        }
        if let Some((ask, about)) = self.invent_gift(number) {
            return self.begin_call(number, ask, about);
        }
        let (ask, recorded) = self.invent(number);
        let about = recorded.map_or(About::Nothing, |(key, request)| About::Trigger(key, request));
        self.begin_call(number, ask, about);
    }

    /// A caller makes a call.
    pub fn begin_call(&mut self, number: usize, ask: Ask, about: About) {
        let (now, invoked_us) = (duration(self.now()), self.recorded_us());
        let caller = &mut self.callers[number];
        caller.calls += 1;
        let repeatable = true;
        caller.current = Some(Current {
            number: caller.calls,
            attempt: 0,
            attempts: Attempts::new(caller.policy, now, repeatable),
            ask,
            about,
            invoked_us,
            endpoint: String::new(),
            named: None,
            last: None,
        });
        self.refresh(number);
        self.try_call(number);
    }

    /// Keeps beliefs about leaders fresh without waiting for it.
    fn refresh(&mut self, number: usize) {
        let now = duration(self.now());
        let caller = &mut self.callers[number];
        if !caller.leaders.take_refresh(now) {
            return;
        }
        let Some(node) = node_at(caller.leaders.pick(now, None)) else { return };
        let call = Call { caller: number, number: 0, attempt: 0, ask: Ask::Leaders, until: 0, passed_on: false };
        let from = self.caller_address(number);
        self.send(from, node, || Event::Call(node, Box::new(call.clone())));
    }

    fn try_call(&mut self, number: usize) {
        let now = self.now();
        let true_ms = self.true_ms();
        let caller = &mut self.callers[number];
        let Some(current) = &mut caller.current else { return };
        let Some(timeout) = current.attempts.begin(duration(now)) else {
            let time_out = Error::TimedOut { after: caller.policy.total };
            let error = current.attempts.verdict(current.last.take().unwrap_or(time_out));
            return self.end_call(number, Err(error));
        };
        current.attempt += 1;
        let id = match &current.ask {
            Ask::Decide(kind) => id_of(kind),
            Ask::Get(_, id) => Some(id.as_str()),
            Ask::Gift(id) => Some(id.as_str()),
            Ask::Leaders => None,
        };
        let partition = id.and_then(|id| route::partition(NAMESPACE, id, caller.leaders.partitions()));
        let picked = current.named.take();
        current.endpoint = picked.unwrap_or_else(|| caller.leaders.pick(duration(now), partition).to_owned());
        let (call, attempt, until) = (current.number, current.attempt, now + micros(timeout));
        if attempt > 1 {
            self.draw_again(number);
        }
        let caller = &mut self.callers[number];
        if attempt > 1 && planted::is(Bug::RetriesWithNewRequest) {
            let request = caller.request_id(true_ms);
            if let Some(Current { ask: Ask::Decide(kind), .. }) = &mut caller.current {
                set_request(kind, request);
            }
        }
        let caller = &self.callers[number];
        let Some(current) = &caller.current else { return };
        let Some(node) = node_at(&current.endpoint) else { return };
        let ask = current.ask.clone();
        let sent = Call { caller: number, number: call, attempt, ask, until, passed_on: false };
        let from = self.caller_address(number);
        self.send(from, node, || Event::Call(node, Box::new(sent.clone())));
        self.queue.at(until, Event::Caller(number, CallerEvent::TimeOut(call, attempt)));
    }

    /// A node answers a try.
    pub fn answer_caller(&mut self, node: usize, caller: usize, call: u64, attempt: u32, answer: Result<Said, Error>) {
        // Of a process that has died only the broken connection is seen.
        let answer = if self.nodes[node].up {
            answer
        } else {
            Err(Error::Disconnected { endpoint: endpoint(node), message: "reset".into() })
        };
        let to = self.caller_address(caller);
        self.send(node, to, || Event::Caller(caller, CallerEvent::Answer(call, attempt, answer.clone())));
    }

    fn answered(&mut self, number: usize, answer: Result<Said, Error>) {
        let error = match answer {
            Ok(said) => return self.end_call(number, Ok(said)),
            Err(error) => error,
        };
        let now = self.now();
        let caller = &mut self.callers[number];
        let random = (caller.rng.draw() >> 32) as u32;
        let Some(current) = &mut caller.current else { return };
        match current.attempts.failed(duration(now), &error, random) {
            Next::GiveUp => {
                let error = current.attempts.verdict(error);
                self.end_call(number, Err(error));
            }
            Next::Again { after, target } => {
                self.coverage.tried_again += 1;
                current.attempt += 1;
                current.named = match target {
                    Target::Same => Some(current.endpoint.clone()),
                    Target::Other => {
                        caller.leaders.failed(duration(now), &current.endpoint);
                        None
                    }
                    Target::Leader(leader) => {
                        caller.leaders.hinted(0, &leader);
                        Some(leader)
                    }
                };
                current.last = Some(error);
                let call = current.number;
                self.queue.at(now + micros(after), Event::Caller(number, CallerEvent::Again(call)));
            }
        }
    }

    fn end_call(&mut self, number: usize, answer: Result<Said, Error>) {
        let returned_us = self.recorded_us();
        let Some(current) = self.callers[number].current.take() else { return };
        let outcome = outcome(&answer);
        self.coverage.operations += 1;
        match &outcome {
            Outcome::Ok(_) => self.coverage.answered += 1,
            Outcome::Fail { .. } => self.coverage.refused += 1,
            Outcome::Info { .. } => self.coverage.unanswered += 1,
        }
        self.trace.add(match &outcome {
            Outcome::Ok(answer) => answer.decided().map_or(1, |decided| decided.index << 8),
            Outcome::Fail { .. } => 2,
            Outcome::Info { .. } => 3,
        });
        let mut next = self.now() + self.callers[number].rng.below(2 * self.swarm.pause);
        if let About::Work(asker) = current.about {
            return self.cluster_answered(asker, answer);
        }
        let info = matches!(outcome, Outcome::Info { .. });
        if let About::Gift(gift, request) = current.about {
            let otherwise = match outcome {
                Outcome::Fail { reason } => gifts::Outcome::Failed { reason },
                Outcome::Info { reason } => gifts::Outcome::Unknown { reason },
                Outcome::Ok(answer) => gifts::Outcome::Refused { reason: format!("{answer:?}"), state: None },
            };
            let (outcome, shown) = crate::gifts::callers::outcome(&request, &answer, otherwise);
            let (client, invoked_us) = (number as u64, current.invoked_us);
            let returned_us = (!info).then_some(returned_us);
            let call = gifts::Call { client, gift, request, invoked_us, returned_us, outcome };
            self.gift_answered(call, shown);
        } else if let About::Trigger(trigger, request) = current.about {
            self.remember(number, &trigger, &outcome);
            self.record(Recorded::Operation(Operation {
                client: number as u64,
                trigger,
                request,
                invoked_us: current.invoked_us,
                returned_us: (!info).then_some(returned_us),
                outcome,
            }));
            if let Some(at) = self.race(number, &current.ask) {
                next = at;
            }
        }
        self.queue.at(next, Event::Caller(number, CallerEvent::Next));
    }

    /// A client of an executor calls again: the server that gets it draws anew.
    fn draw_again(&mut self, number: usize) {
        let Some(gifts) = &mut self.gifts else { return };
        let Some(current) = &mut self.callers[number].current else { return };
        let (About::Work(_), Ask::Decide(Kind::Business(business))) = (&current.about, &mut current.ask) else {
            return;
        };
        if let Ok(domain::Command { kind: Some(domain::Kind::BeginSend(begin)) }) =
            prost::Message::decode(business.body.clone())
        {
            let begin = domain::gift::BeginSend { draw: Some(gifts.draw()), ..begin };
            business.body = crate::gifts::encoded(domain::Kind::BeginSend(begin));
        }
    }

    fn remember(&mut self, number: usize, trigger: &Key, outcome: &Outcome) {
        let Outcome::Ok(Answer::Scheduled { generation, .. } | Answer::Rescheduled { generation, .. }) = outcome else {
            return;
        };
        for caller in &mut self.callers {
            if let Some(known) = caller.ids.iter_mut().find(|(id, _)| *id == trigger.id) {
                known.1 = *generation;
                return;
            }
        }
        self.callers[number].ids.push((trigger.id.clone(), *generation));
    }

    /// Now and then what was just scheduled is cancelled at the very moment it is due; says when to call.
    fn race(&mut self, number: usize, ask: &Ask) -> Option<Micros> {
        let Ask::Decide(Kind::Schedule(Schedule { when: Some(When::At(due)), id, .. })) = ask else { return None };
        let left = (due * MS).checked_sub(self.epoch + self.now()).filter(|left| *left < 3 * SECOND)?;
        let caller = &mut self.callers[number];
        if !caller.rng.chance(300_000) {
            return None;
        }
        caller.racing = Some(id.clone());
        // A call takes a millisecond or so to be stamped.
        let early = caller.rng.below(4 * MS);
        Some(self.now() + left.saturating_sub(early))
    }

    /// What a caller does next, and what the history calls it.
    fn invent(&mut self, number: usize) -> (Ask, Option<(Key, Request)>) {
        let true_ms = self.true_ms();
        let changes = self.swarm.topics_change;
        let caller = &mut self.callers[number];
        if number == 0 && caller.topics_set < SETTINGS || changes && number == 0 && caller.rng.chance(40_000) {
            return (Ask::Decide(caller.settings()), None);
        }
        if let Some(id) = caller.racing.take() {
            return self.cancel(number, id, 0);
        }
        let known = {
            let callers = self.swarm.callers as u64;
            let whose = caller.rng.below(callers) as usize;
            let ids = &self.callers[whose].ids;
            // Those of late are more likely to be still there.
            let recent = ids.len().saturating_sub(5);
            let ids = ids[recent..].to_vec();
            self.callers[number].rng.pick(&ids).cloned()
        };
        let what = self.callers[number].rng.below(100);
        let Some((id, generation)) = known.filter(|_| what >= 46) else { return self.schedule(number) };
        let expected = if self.callers[number].rng.chance(250_000) { generation } else { 0 };
        let caller = &mut self.callers[number];
        let key = Key::new(NAMESPACE, id.clone());
        match what {
            46..60 => self.cancel(number, id, expected),
            60..74 => {
                let due = true_ms + caller.rng.below(8_000);
                let request = caller.request_id(true_ms);
                let command = Reschedule {
                    namespace: NAMESPACE.into(),
                    id,
                    expected_generation: expected,
                    request,
                    when: Some(When::At(due)),
                    local: None,
                };
                let asked = Request::Reschedule { due_ms: Some(due as i64), expected_generation: expected };
                (Ask::Decide(Kind::Reschedule(command)), Some((key, asked)))
            }
            74..77 => {
                let request = caller.request_id(true_ms);
                let command = RunNow { namespace: NAMESPACE.into(), id, expected_generation: expected, request };
                let asked = Request::RunNow { expected_generation: expected };
                (Ask::Decide(Kind::RunNow(command)), Some((key, asked)))
            }
            _ => (Ask::Get(NAMESPACE.into(), id), Some((key, Request::Get))),
        }
    }

    fn cancel(&mut self, number: usize, id: String, expected: u64) -> (Ask, Option<(Key, Request)>) {
        let request = {
            let true_ms = self.true_ms();
            self.callers[number].request_id(true_ms)
        };
        let key = Key::new(NAMESPACE, id.clone());
        let command = Cancel { namespace: NAMESPACE.into(), id, expected_generation: expected, request };
        (Ask::Decide(Kind::Cancel(command)), Some((key, Request::Cancel { expected_generation: expected })))
    }

    fn schedule(&mut self, number: usize) -> (Ask, Option<(Key, Request)>) {
        let true_ms = self.true_ms();
        let caller = &mut self.callers[number];
        let again = caller.rng.below(100);
        let command = match caller.last.clone() {
            // The same request again, or another about the same id.
            Some(last) if again < 5 => last,
            Some(last) if again < 7 => Schedule { payload: Bytes::from_static(b"other"), ..last },
            _ => caller.trigger(true_ms, self.swarm.herd_ppm),
        };
        let command = Schedule { fingerprint: digest::of_schedule(&command), ..command };
        caller.last = Some(command.clone());
        let due_ms = match command.when {
            Some(When::At(ms)) => Some(ms as i64),
            _ => None,
        };
        let recorded = (command.topic != FORGOTTEN)
            .then(|| (Key::new(NAMESPACE, command.id.clone()), Request::Schedule { due_ms }));
        (Ask::Decide(Kind::Schedule(command)), recorded)
    }
}

/// Settings made before anything else is.
const SETTINGS: u64 = 5;

impl Caller {
    /// A trigger nobody has asked for before.
    fn trigger(&mut self, true_ms: u64, herd_ppm: u32) -> Schedule {
        let poison = if self.rng.chance(12_000) { "-poison" } else { "" };
        let id = format!("c{}-{}{poison}", self.number, self.calls);
        let topic = match self.rng.below(100) {
            0..45 => "mail",
            45..70 => "push",
            70..82 => "bulk",
            82..92 => "limited",
            _ => FORGOTTEN,
        };
        let when = match self.rng.below(100) {
            0..10 => When::At(true_ms.saturating_sub(self.rng.below(1_000))),
            10..70 => When::At(true_ms + self.rng.below(5_000)),
            70..88 => When::At(true_ms + self.rng.below(20_000)),
            88..95 => When::After(self.rng.below(5_000)),
            _ => When::At(true_ms + self.rng.between(60_000, 3 * 3_600_000)),
        };
        let when = match when {
            When::At(ms) if ms > true_ms && self.rng.chance(herd_ppm) => When::At(ms.next_multiple_of(1_000)),
            when => when,
        };
        let label = |key: &str, rng: &mut Rng| Label { key: key.into(), value: rng.below(10).to_string() };
        Schedule {
            namespace: NAMESPACE.into(),
            id,
            topic: topic.into(),
            when: Some(when),
            shard_key: if self.rng.coin() { format!("k{}", self.rng.below(6)) } else { String::new() },
            payload: Bytes::from(vec![b'x'; self.rng.below(60) as usize]),
            labels: vec![label("a", &mut self.rng), label("b", &mut self.rng), label("c", &mut self.rng)],
            priority: self.rng.below(3) as u32,
            retry: None,
            skip_when_later_ms: if self.rng.chance(30_000) { self.rng.between(1_000, 3_000) } else { 0 },
            fingerprint: 0,
            local: None,
        }
    }

    /// The next change of a topic: first all are set up, then some are paused, resumed and limited.
    fn settings(&mut self) -> Kind {
        let (place, version) = (self.topics_set, self.topics_set + 1);
        self.topics_set += 1;
        let topic = match place {
            0..SETTINGS => crate::worker::TOPICS[place as usize],
            _ if self.rng.coin() => "push",
            _ => "limited",
        };
        let retention_ms = if topic == FORGOTTEN { 2_000 } else { 86_400_000 };
        let settings = TopicSettings {
            paused: place >= SETTINGS && topic == "push" && self.rng.coin(),
            lease_ms: 1_000 + 500 * self.rng.below(3),
            retry: Some(RetryPolicy {
                max_attempts: 4,
                initial_backoff_ms: 100,
                max_backoff_ms: 1_000,
                multiplier_percent: 200,
                jitter_percent_plus_one: 21,
            }),
            rate_milli_per_second: if topic == "limited" { 5_000 + self.rng.below(20_000) } else { 0 },
            concurrency_max: if topic == "bulk" { 3 } else { 0 },
            retention_ms,
            rate_per_second_total: 0,
            concurrency_total: 0,
        };
        let (namespace, topic) = (NAMESPACE.to_owned(), topic.to_owned());
        Kind::SetTopic(SetTopic { namespace, topic, version, settings: Some(settings) })
    }

    /// Whatever is held back goes on.
    pub fn resume(&mut self) -> Ask {
        self.topics_set += 1;
        loop {
            if let Kind::SetTopic(SetTopic { namespace, version, settings: Some(settings), .. }) = self.settings() {
                let settings = Some(TopicSettings { paused: false, rate_milli_per_second: 0, ..settings });
                return Ask::Decide(Kind::SetTopic(SetTopic { namespace, topic: "push".into(), version, settings }));
            }
        }
    }
}

fn id_of(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Schedule(command) => Some(&command.id),
        Kind::Cancel(command) => Some(&command.id),
        Kind::Reschedule(command) => Some(&command.id),
        Kind::RunNow(command) => Some(&command.id),
        _ => None,
    }
}

fn set_request(kind: &mut Kind, request: Bytes) {
    match kind {
        Kind::Cancel(command) => command.request = request,
        Kind::Reschedule(command) => command.request = request,
        Kind::RunNow(command) => command.request = request,
        _ => {}
    }
}

/// What the caller concludes: from the answer, or from what the client's error says of the effect.
fn outcome(answer: &Result<Said, Error>) -> Outcome {
    let error = match answer {
        Ok(Said::Decided(reply)) => return Outcome::Ok(answer_of(reply)),
        // No part of the history of triggers.
        Ok(Said::Gift(_)) => return Outcome::Ok(Answer::Refused(Refusal::NotFound)),
        Ok(Said::View(view)) => {
            return Outcome::Ok(match view {
                None => Answer::Refused(Refusal::NotFound),
                Some(view) => Answer::Read {
                    state: state(view.state),
                    generation: view.generation.number(),
                    due_ms: view.due.as_millis() as i64,
                },
            });
        }
        Err(error) => error,
    };
    let reason = error.to_string();
    if let Some(refusal) = error.reason().and_then(|reason| Refusal::from_reason(reason.as_str())) {
        return Outcome::Ok(Answer::Refused(refusal));
    }
    let refused_for_good = matches!(error.reason(), Some(client::Reason::InvalidField | client::Reason::BeyondHorizon));
    match error.repeat() {
        Repeat::NotExecuted => Outcome::Fail { reason },
        Repeat::Never if refused_for_good => Outcome::Fail { reason },
        Repeat::Never | Repeat::MaybeExecuted => Outcome::Info { reason },
    }
}

fn answer_of(reply: &Reply) -> Answer {
    let decided = |receipt: &Receipt| Decided { partition: 0, index: receipt.log_index };
    match reply {
        Reply::Scheduled { receipt, replayed, .. } => Answer::Scheduled {
            generation: receipt.generation.number(),
            due_ms: receipt.due.as_millis() as i64,
            decided: decided(receipt),
            replayed: *replayed,
        },
        Reply::Moved(receipt) => Answer::Rescheduled {
            generation: receipt.generation.number(),
            due_ms: receipt.due.as_millis() as i64,
            decided: decided(receipt),
        },
        Reply::Ended(receipt) => {
            Answer::Cancelled { generation: receipt.generation.number(), decided: decided(receipt) }
        }
        // To settings of topics, which are no part of the history.
        _ => Answer::Refused(Refusal::NotFound),
    }
}

/// A state of the core as the history has it.
#[must_use]
pub fn state(state: Standing) -> State {
    match state {
        Standing::Scheduled => State::Scheduled,
        Standing::Fired | Standing::Retrying => State::Fired,
        Standing::Completed => State::Completed,
        Standing::Cancelled => State::Cancelled,
        Standing::DeadLettered => State::DeadLettered,
    }
}
