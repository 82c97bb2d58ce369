//! What the machine should do, said the plain way: every trigger is one value in a map, and time moves by visiting all of
//! them. Slow and obviously right. Request ids and business commands are left to the scripts.

use std::collections::BTreeMap;

use scheduler::command::*;
use scheduler::lane::{Class, Generation, Position};
use scheduler::reply::{Fired, Outcome, Receipt, Refusal, Reply};
use scheduler::retry;
use scheduler::time::Timestamp;

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Scheduled,
    Fired(Fired),
    /// Failed; `ready` when it may be delivered again.
    Retrying {
        failure: Receipt,
        ready: bool,
    },
    Dead {
        failure: Receipt,
    },
    Ended {
        receipt: Receipt,
        visible_until: u64,
    },
}

#[derive(Clone, Debug)]
pub struct Trigger {
    pub topic: usize,
    pub class: Class,
    pub due: u64,
    pub generation: Generation,
    pub version_at: u64,
    pub first: Receipt,
    pub fingerprint: u64,
    pub skip: u64,
    pub state: State,
    /// Where its row is: lane class and position.
    pub place: (Class, Position),
}

#[derive(Clone, Debug)]
pub struct Topic {
    pub settings: TopicSettings,
    pub version: u64,
    pub floors: [Position; 5],
    /// What the lanes have released while they are held back.
    pub released: [Position; 5],
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub now: u64,
    pub index: u64,
    pub ids: BTreeMap<String, Trigger>,
    /// Names in order of first use.
    pub topics: Vec<(String, Topic)>,
    pub completed: BTreeMap<usize, u64>,
}

type Answer = Result<Reply, Refusal>;

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn invalid() -> Refusal {
    Refusal::Invalid { field: "", expected: "" }
}

/// Refusals for a wrong value are compared without their words.
pub fn plain(reply: Reply) -> Reply {
    match reply {
        Reply::Refused(Refusal::Invalid { .. }) => Reply::Refused(invalid()),
        reply => reply,
    }
}

impl Topic {
    fn held(&self) -> bool {
        self.settings.paused || self.settings.rate_milli_per_second > 0
    }
}

impl Trigger {
    pub fn receipt(&self) -> Receipt {
        let scheduled = Receipt {
            log_index: self.generation.index(),
            generation: self.generation,
            due: ms(self.due),
            fired: None,
            outcome: Outcome::Scheduled,
            decided: ms(self.version_at),
            executor: String::new(),
            attempt: 0,
            token: None,
        };
        match &self.state {
            State::Scheduled => scheduled,
            State::Fired(fired) => Receipt {
                log_index: fired.index,
                fired: Some(*fired),
                outcome: Outcome::Fired,
                decided: fired.time,
                ..scheduled
            },
            State::Retrying { failure, .. } | State::Dead { failure } => failure.clone(),
            State::Ended { receipt, .. } => receipt.clone(),
        }
    }

    fn fired(&self) -> Option<Fired> {
        match &self.state {
            State::Fired(fired) => Some(*fired),
            State::Retrying { failure, .. } | State::Dead { failure } => failure.fired,
            _ => None,
        }
    }

    pub fn failed(&self) -> u32 {
        match &self.state {
            State::Retrying { failure, .. } | State::Dead { failure } => failure.attempt,
            _ => 0,
        }
    }
}

impl Model {
    /// Applies an entry.
    pub fn entry(&mut self, time: u64, commands: &[Kind]) -> Vec<Reply> {
        self.now = time;
        self.index += 1;
        self.settle();
        let mut replies = Vec::new();
        for (place, command) in commands.iter().enumerate() {
            let generation = Generation::new(self.index, place);
            let reply = self.command(command, generation).unwrap_or_else(Reply::Refused);
            replies.push(plain(reply));
            self.settle();
        }
        replies
    }

    /// Fires everything that is due and not held.
    fn settle(&mut self) {
        let fired = Fired { time: ms(self.now), index: self.index };
        for trigger in self.ids.values_mut() {
            let topic = &self.topics[trigger.topic].1;
            let (class, position) = trigger.place;
            let released = !topic.held() || position <= topic.released[class as usize];
            if position.due.as_millis() <= self.now && released {
                match &mut trigger.state {
                    State::Scheduled => trigger.state = State::Fired(fired),
                    State::Retrying { ready, .. } => *ready = true,
                    _ => {}
                }
            }
        }
    }

    /// The trigger, unless its retention has passed.
    pub fn get(&self, id: &str) -> Option<&Trigger> {
        let trigger = self.ids.get(id)?;
        match trigger.state {
            State::Ended { visible_until, .. } if visible_until <= self.now => None,
            _ => Some(trigger),
        }
    }

    fn topic(&mut self, name: &str) -> usize {
        if let Some(number) = self.topics.iter().position(|(own, _)| own == name) {
            return number;
        }
        let retry = RetryPolicy {
            max_attempts: 5,
            initial_backoff_ms: 1_000,
            max_backoff_ms: 60_000,
            multiplier_percent: 200,
            jitter_percent_plus_one: 21,
        };
        let settings = TopicSettings {
            lease_ms: 30_000,
            retry: Some(retry),
            retention_ms: 7 * 86_400_000,
            ..TopicSettings::default()
        };
        let topic = Topic { settings, version: 0, floors: [Position::MIN; 5], released: [Position::MIN; 5] };
        self.topics.push((name.to_owned(), topic));
        self.topics.len() - 1
    }

    fn due(&self, when: Option<When>) -> Result<u64, Refusal> {
        let due = match when.ok_or(invalid())? {
            When::At(due) => due,
            When::After(delay) => self.now.saturating_add(delay),
        };
        let horizon = self.now + 3_653 * 86_400_000;
        if due > horizon {
            return Err(Refusal::BeyondHorizon { due: ms(due), horizon: ms(horizon) });
        }
        Ok(due.max(self.now))
    }

    fn command(&mut self, command: &Kind, generation: Generation) -> Answer {
        match command {
            Kind::Schedule(command) => self.schedule(command, generation),
            Kind::Cancel(command) => {
                let trigger = self.unfired(&command.id, command.expected_generation)?;
                self.end(&command.id, trigger, Outcome::Cancelled, None).map(Reply::Ended)
            }
            Kind::Reschedule(command) => {
                let trigger = self.unfired(&command.id, command.expected_generation)?;
                let due = self.due(command.when)?;
                self.version(&command.id, trigger, due, generation)
            }
            Kind::RunNow(command) => {
                let trigger = self.unfired(&command.id, command.expected_generation)?;
                self.version(&command.id, trigger, self.now, generation)
            }
            Kind::Complete(command) => self.complete(command.report.as_ref().unwrap()),
            Kind::Retry(command) => {
                let report = command.report.as_ref().unwrap();
                let Some(trigger) = self.awaiting(report)? else { return self.not_awaited(report) };
                let policy = self.topics[trigger.topic].1.settings.retry.unwrap();
                if report.attempt >= policy.max_attempts {
                    return self.fail(report, trigger, Class::Dead, self.now).map(Reply::Decided);
                }
                let delay = retry::backoff(&policy, trigger.generation, report.attempt).as_millis();
                self.fail(report, trigger, Class::Retry, self.now + delay).map(Reply::Decided)
            }
            Kind::Fail(command) => {
                let report = command.report.as_ref().unwrap();
                let Some(trigger) = self.awaiting(report)? else { return self.not_awaited(report) };
                self.fail(report, trigger, Class::Dead, self.now).map(Reply::Decided)
            }
            Kind::SkipLate(command) => {
                let trigger = self.get(&command.id).cloned().ok_or(Refusal::NotFound)?;
                expect(&trigger, command.generation)?;
                match trigger.state {
                    State::Scheduled => return Err(invalid()),
                    State::Fired(_) => {}
                    State::Retrying { .. } => return Err(Refusal::AlreadyFired(trigger.receipt())),
                    _ => return Err(Refusal::AlreadyEnded(trigger.receipt())),
                }
                if trigger.skip == 0 || self.now - trigger.due <= trigger.skip {
                    return Err(invalid());
                }
                let report = Report { id: command.id.clone(), ..Report::default() };
                self.fail(&report, trigger, Class::Dead, self.now).map(Reply::Ended)
            }
            Kind::CompleteRun(command) => self.complete_run(command),
            Kind::RaiseFloor(command) => self.raise_floor(command, generation),
            Kind::Release(command) => self.release(command, generation),
            Kind::SetTopic(command) => self.set_topic(command, generation),
            Kind::Requeue(command) => {
                let trigger = self.dead(&command.id, command.expected_generation)?;
                self.version(&command.id, trigger, self.now, generation)
            }
            Kind::Drop(command) => {
                let trigger = self.dead(&command.id, command.expected_generation)?;
                self.end(&command.id, trigger, Outcome::DeadLettered, None).map(Reply::Ended)
            }
            Kind::Business(_) => unreachable!("left to the scripts"),
        }
    }

    fn schedule(&mut self, command: &Schedule, generation: Generation) -> Answer {
        if let Some(trigger) = self.get(&command.id) {
            if trigger.fingerprint != command.fingerprint {
                return Err(Refusal::AlreadyExists(trigger.receipt()));
            }
            return Ok(Reply::Scheduled { receipt: trigger.first.clone(), replayed: true, local: None });
        }
        let due = self.due(command.when)?;
        let class = Class::first_attempt(command.priority).unwrap();
        let mut trigger = Trigger {
            topic: self.topic(&command.topic),
            class,
            due,
            generation,
            version_at: self.now,
            first: Receipt {
                log_index: 0,
                generation,
                due: ms(due),
                fired: None,
                outcome: Outcome::Scheduled,
                decided: ms(0),
                executor: String::new(),
                attempt: 0,
                token: None,
            },
            fingerprint: command.fingerprint,
            skip: command.skip_when_later_ms,
            state: State::Scheduled,
            place: (class, Position { due: ms(due), generation }),
        };
        trigger.first = trigger.receipt();
        let receipt = trigger.first.clone();
        self.ids.insert(command.id.clone(), trigger);
        Ok(Reply::Scheduled { receipt, replayed: false, local: None })
    }

    fn unfired(&self, id: &str, expected: u64) -> Result<Trigger, Refusal> {
        let trigger = self.get(id).cloned().ok_or(Refusal::NotFound)?;
        expect(&trigger, expected)?;
        match trigger.state {
            State::Scheduled => Ok(trigger),
            State::Fired(_) | State::Retrying { .. } => Err(Refusal::AlreadyFired(trigger.receipt())),
            _ => Err(Refusal::AlreadyEnded(trigger.receipt())),
        }
    }

    fn dead(&self, id: &str, expected: u64) -> Result<Trigger, Refusal> {
        let trigger = self.get(id).cloned().ok_or(Refusal::NotFound)?;
        expect(&trigger, expected)?;
        match trigger.state {
            State::Dead { .. } => Ok(trigger),
            _ => Err(Refusal::NotDeadLettered(trigger.receipt())),
        }
    }

    fn version(&mut self, id: &str, mut trigger: Trigger, due: u64, generation: Generation) -> Answer {
        trigger.due = due;
        trigger.generation = generation;
        trigger.version_at = self.now;
        trigger.state = State::Scheduled;
        trigger.place = (trigger.class, Position { due: ms(due), generation });
        let receipt = trigger.receipt();
        self.ids.insert(id.to_owned(), trigger);
        Ok(Reply::Moved(receipt))
    }

    /// Ends a trigger, by a report or by a command.
    fn end(
        &mut self,
        id: &str,
        mut trigger: Trigger,
        outcome: Outcome,
        report: Option<&Report>,
    ) -> Result<Receipt, Refusal> {
        let receipt = Receipt {
            log_index: self.index,
            fired: trigger.fired(),
            outcome,
            decided: ms(self.now),
            executor: report.map_or_else(|| trigger.receipt().executor, |report| report.executor.clone()),
            attempt: report.map_or(trigger.failed(), |report| report.attempt),
            token: report.map_or(trigger.receipt().token, |report| report.token),
            ..trigger.receipt()
        };
        let retention = self.topics[trigger.topic].1.settings.retention_ms;
        trigger.state = State::Ended { receipt: receipt.clone(), visible_until: self.now + retention };
        trigger.place = (trigger.class, Position { due: ms(trigger.due), generation: trigger.generation });
        if outcome == Outcome::Completed {
            *self.completed.entry(trigger.topic).or_default() += 1;
        }
        self.ids.insert(id.to_owned(), trigger);
        Ok(receipt)
    }

    fn complete(&mut self, report: &Report) -> Answer {
        let trigger = self.get(&report.id).cloned().ok_or(Refusal::NotFound)?;
        if trigger.generation.number() != report.generation {
            return Ok(Reply::Superseded);
        }
        match trigger.state {
            State::Scheduled => Err(invalid()),
            State::Fired(_) | State::Retrying { .. } => {
                self.end(&report.id, trigger, Outcome::Completed, Some(report)).map(Reply::Decided)
            }
            _ => Ok(Reply::AlreadyDecided(trigger.receipt())),
        }
    }

    /// The trigger, when it waits for this attempt.
    fn awaiting(&self, report: &Report) -> Result<Option<Trigger>, Refusal> {
        let trigger = self.get(&report.id).cloned().ok_or(Refusal::NotFound)?;
        let waits = match trigger.state {
            State::Fired(_) => report.attempt == 1,
            State::Retrying { ready, .. } => ready && report.attempt == trigger.failed() + 1,
            _ => false,
        };
        Ok(Some(trigger).filter(|trigger| waits && trigger.generation.number() == report.generation))
    }

    fn not_awaited(&self, report: &Report) -> Answer {
        let trigger = self.get(&report.id).ok_or(Refusal::NotFound)?;
        if trigger.generation.number() != report.generation {
            return Ok(Reply::Superseded);
        }
        match &trigger.state {
            State::Scheduled => Err(invalid()),
            State::Fired(_) => Ok(Reply::Superseded),
            State::Retrying { failure, .. } if failure.attempt == report.attempt && failure.token == report.token => {
                Ok(Reply::AlreadyDecided(failure.clone()))
            }
            State::Retrying { .. } => Ok(Reply::Superseded),
            _ => Ok(Reply::AlreadyDecided(trigger.receipt())),
        }
    }

    fn fail(&mut self, report: &Report, mut trigger: Trigger, class: Class, due: u64) -> Result<Receipt, Refusal> {
        let outcome = if class == Class::Dead { Outcome::DeadLettered } else { Outcome::Retrying };
        let failure = Receipt {
            log_index: self.index,
            generation: trigger.generation,
            due: ms(trigger.due),
            fired: trigger.fired(),
            outcome,
            decided: ms(self.now),
            executor: report.executor.clone(),
            attempt: report.attempt,
            token: report.token,
        };
        trigger.place = (class, Position { due: ms(due), generation: trigger.generation });
        trigger.state = match class {
            Class::Dead => State::Dead { failure: failure.clone() },
            _ => State::Retrying { failure: failure.clone(), ready: false },
        };
        self.ids.insert(report.id.clone(), trigger);
        Ok(failure)
    }

    /// Ids of the rows in a lane that have not ended, by position.
    pub fn rows(&self, topic: usize, class: Class) -> BTreeMap<Position, String> {
        let here = |trigger: &Trigger| {
            trigger.topic == topic && trigger.place.0 == class && !matches!(trigger.state, State::Ended { .. })
        };
        self.ids
            .iter()
            .filter(|(_, trigger)| here(trigger))
            .map(|(id, trigger)| (trigger.place.1, id.clone()))
            .collect()
    }

    fn lane(&self, number: u32) -> Result<(usize, Class), Refusal> {
        let class = *Class::ALL.get((number & 7) as usize).ok_or(invalid())?;
        let topic = (number >> 3) as usize;
        if topic < self.topics.len() { Ok((topic, class)) } else { Err(invalid()) }
    }

    fn complete_run(&mut self, command: &CompleteRun) -> Answer {
        let (topic, class) = self.lane(command.lane)?;
        if !class.is_first_attempt() || command.due_deltas.is_empty() {
            return Err(invalid());
        }
        let (mut due, mut generation, mut rejected) = (0, 0i64, Vec::new());
        for (item, (due_delta, generation_delta)) in
            command.due_deltas.iter().zip(&command.generation_deltas).enumerate()
        {
            due += due_delta;
            generation += generation_delta;
            let position = Position { due: ms(due), generation: Generation::from_number(generation as u64) };
            let rows = self.rows(topic, class);
            let trigger = rows.get(&position).map(|id| (id.clone(), self.ids[id].clone()));
            match trigger {
                Some((id, trigger)) if matches!(trigger.state, State::Fired(_)) => {
                    let first = command.token.unwrap();
                    let token = Some(Token { counter: first.counter + item as u64, ..first });
                    let report =
                        Report { token, attempt: 1, executor: command.executors[0].clone(), ..Report::default() };
                    self.end(&id, trigger, Outcome::Completed, Some(&report))?;
                }
                _ => rejected.push(position),
            }
        }
        Ok(Reply::RunDecided { rejected })
    }

    fn raise_floor(&mut self, command: &RaiseFloor, generation: Generation) -> Answer {
        let (topic, class) = self.lane(command.lane)?;
        let floor = Position { due: ms(command.due), generation: Generation::from_number(command.generation) };
        let here = Position { due: ms(self.now), generation };
        if class == Class::Dead {
            return Err(invalid());
        }
        if floor > self.topics[topic].1.floors[class as usize] {
            if floor > here || self.rows(topic, class).range(..floor).next().is_some() {
                return Err(invalid());
            }
            self.topics[topic].1.floors[class as usize] = floor;
        }
        Ok(Reply::Done)
    }

    fn release(&mut self, command: &Release, generation: Generation) -> Answer {
        let (number, class) = self.lane(command.lane)?;
        let topic = &mut self.topics[number].1;
        if class == Class::Dead
            || topic.settings.rate_milli_per_second == 0
            || topic.settings.paused
            || command.due > self.now
        {
            return Err(invalid());
        }
        let asked = Position { due: ms(command.due), generation: Generation::from_number(command.generation) };
        let released = &mut topic.released[class as usize];
        *released = asked.min(Position { due: ms(self.now), generation }).max(*released);
        Ok(Reply::Done)
    }

    fn set_topic(&mut self, command: &SetTopic, generation: Generation) -> Answer {
        let here = Position { due: ms(self.now), generation };
        let number = self.topic(&command.topic);
        let topic = &mut self.topics[number].1;
        if command.version < topic.version {
            return Err(Refusal::StaleTopicVersion { given: command.version, found: topic.version });
        }
        if command.version > topic.version {
            let held = topic.held();
            topic.settings = command.settings.clone().unwrap();
            topic.version = command.version;
            if !held {
                topic.released = [here; 5];
            }
        }
        Ok(Reply::Done)
    }
}

fn expect(trigger: &Trigger, expected: u64) -> Result<(), Refusal> {
    let found = trigger.generation.number();
    if expected == 0 || expected == found { Ok(()) } else { Err(Refusal::VersionMismatch { expected, found }) }
}
