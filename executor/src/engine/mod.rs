//! The decisions of an executor: events in, actions out. No clock, no I/O, no task, no dice: moments are arguments,
//! counted from any fixed start, and randomness comes from a seed, so that a simulation runs this very code.

mod link;
mod outbox;
mod types;
mod works;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::retry::Backoff;
use proto::v1::{
    Credit, Deliveries, Delivery, DeliveryOutcome, Drain, Extend, ExtendResults, GoAway, HeldLease, Hello,
    OutcomeReport, OutcomeResult, OutcomeResults, OutcomeVerdict, Welcome, WorkRequest, WorkResponse, delivery_outcome,
    work_request, work_response,
};

use crate::outcome::Outcome;
use link::Link;
use outbox::Outbox;
pub use types::{Action, Event, Settings, Settled, StreamId, WorkId};
use works::{Due, Works};

/// While a partition has no stream, leaders are asked for this often.
const ASK_WHEN_DOWN: Duration = Duration::from_millis(100);
/// While all is well, leaders are asked for this often: a leader that is stopped, not dead, keeps its streams open.
const ASK_WHEN_UP: Duration = Duration::from_secs(2);
/// Between repeats of a report that was answered with a passing error.
const REPORT_BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(2), multiplier_percent: 200 };

/// The decisions of one executor over all partitions.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    partitions: BTreeMap<u32, Partition>,
    works: Works,
    next_stream: StreamId,
    /// Which partition a stream in use belongs to.
    streams: BTreeMap<StreamId, u32>,
    asking: bool,
    asked_at: Option<Duration>,
    /// Some partition waits for a leader to be named.
    wants_leader: bool,
    draining: bool,
    drained: bool,
    random: u64,
}

/// What is known and owed at one partition.
#[derive(Debug, Default)]
struct Partition {
    link: Link,
    outbox: Outbox,
    /// Credit to be given back with the next flush.
    credit: u32,
    extend: Vec<HeldLease>,
}

impl Engine {
    /// Knows nothing yet; the first [`Engine::advance`] asks for leaders.
    pub fn new(settings: Settings) -> Self {
        Engine {
            random: settings.seed ^ 0x9e37_79b9_7f4a_7c15,
            settings,
            partitions: BTreeMap::new(),
            works: Works::default(),
            next_stream: 0,
            streams: BTreeMap::new(),
            asking: false,
            asked_at: None,
            wants_leader: true,
            draining: false,
            drained: false,
        }
    }

    /// Takes in an event. What follows from it comes out of [`Engine::advance`], together for many events: outcomes,
    /// credit and extensions share messages.
    pub fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Leaders(leaders) => self.leaders(now, leaders, actions),
            Event::LeadersFailed => self.asking = false,
            Event::Message { stream, message } => self.message(now, stream, message, actions),
            Event::Closed { stream, leader } => {
                if let Some(partition) = self.partition_of(stream) {
                    self.streams.remove(&stream);
                    self.lost(now, partition, leader.as_deref());
                }
            }
            Event::Finished { work, outcome } => self.finished(work, outcome),
            Event::Drain => self.drain(actions),
        }
    }

    /// Moves to `now` and says everything that is to be done. Call it after events and at [`Engine::wake_at`].
    pub fn advance(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.leases(now, actions);
        while let Some((work, delivery, deadline)) = self.works.start(self.settings.concurrency) {
            actions.push(Action::Start { work, delivery, deadline });
        }
        self.connect(now, actions);
        self.flush(now, actions);
        if self.draining && !self.drained && self.is_idle() {
            self.drained = true;
            actions.push(Action::Drained);
        }
    }

    /// When to call [`Engine::advance`] if nothing happens.
    pub fn wake_at(&self) -> Option<Duration> {
        let partitions = self.partitions.iter().flat_map(|(number, p)| {
            // A report that rests matters only where it could be sent.
            let resting = p.link.up().and_then(|_| p.outbox.wake_at());
            let link = self.wants_stream(*number).then(|| p.link.wake_at()).flatten();
            [link, resting]
        });
        partitions.chain([self.ask_at(), self.works.wake_at()]).flatten().min()
    }

    /// Handlers at work, deliveries that wait for one, and reports without an answer.
    pub fn counts(&self) -> (usize, usize, usize) {
        let (running, queued) = self.works.counts();
        (running, queued, self.partitions.values().map(|p| p.outbox.len()).sum())
    }

    fn leaders(&mut self, now: Duration, leaders: Vec<(u32, String, u64)>, actions: &mut Vec<Action>) {
        self.asking = false;
        for (number, endpoint, term) in leaders {
            let random = self.dice();
            let partition = self.partitions.entry(number).or_default();
            if partition.link.learned(&endpoint, term)
                && let Some(stream) = partition.link.stream()
            {
                self.streams.remove(&stream);
                actions.push(Action::HangUp { stream });
                partition.lost(now, Some(&endpoint), random);
                // It was not the stream that failed: the next is opened at once.
                partition.link.learned(&endpoint, term);
            }
        }
    }

    fn message(&mut self, now: Duration, stream: StreamId, message: WorkResponse, actions: &mut Vec<Action>) {
        // What a stream that was left still says does not count: its successor may have said otherwise.
        let Some(partition) = self.partition_of(stream) else {
            return;
        };
        use work_response::Message;
        match message.message {
            Some(Message::Welcome(welcome)) => self.welcome(partition, stream, welcome, actions),
            Some(Message::Deliveries(Deliveries { deliveries })) => {
                for delivery in deliveries {
                    self.delivered(now, partition, delivery, actions);
                }
            }
            Some(Message::Results(OutcomeResults { results })) => {
                for result in results {
                    self.result(now, partition, result, actions);
                }
            }
            Some(Message::Extended(results)) => self.extended(partition, results, actions),
            Some(Message::GoAway(GoAway { leader, .. })) => {
                self.streams.remove(&stream);
                actions.push(Action::HangUp { stream });
                let hint = (!leader.is_empty()).then_some(leader.as_str());
                self.lost(now, partition, hint);
            }
            // For people; whoever runs the engine may log it. Messages of a later protocol are none of ours.
            Some(Message::Assignment(_)) | None => {}
        }
    }

    fn welcome(&mut self, number: u32, stream: StreamId, welcome: Welcome, actions: &mut Vec<Action>) {
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        if partition.link.up().is_some() {
            return;
        }
        partition.link.welcomed();
        let adopted: HashSet<(&str, u64)> =
            welcome.adopted.iter().map(|lease| (lease.id.as_str(), lease.generation)).collect();
        for work in self.works.of_partition(number) {
            let Some(delivery) = self.works.get(work).map(|work| work.delivery.clone()) else {
                continue;
            };
            if adopted.contains(&(delivery.id.as_str(), delivery.generation)) {
                self.works.adopted(work, true);
            } else {
                // Somebody else may have it by now.
                let running = self.works.remove(work).is_some_and(|work| work.running);
                if running {
                    actions.push(Action::Abort { work });
                }
            }
        }
        // What is done already took credit when it was adopted, and needs it no longer.
        let reported = partition.outbox.held();
        partition.credit = reported
            .filter(|lease| adopted.contains(&(lease.id.as_str(), lease.generation)))
            .count()
            .try_into()
            .unwrap_or(u32::MAX);
        if self.draining {
            actions.push(Action::Send { stream, request: request(work_request::Message::Drain(Drain {})) });
        }
    }

    fn delivered(&mut self, now: Duration, number: u32, mut delivery: Delivery, actions: &mut Vec<Action>) {
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        delivery.partition = number;
        let delivery = Arc::new(delivery);
        if let Some((sequence, report)) = partition.outbox.find(&delivery.id, delivery.generation) {
            if matches!(report.outcome, delivery_outcome::Outcome::Success(_)) {
                // It was done, and the report was lost with a leader: said again, not done again.
                partition.outbox.report_again(sequence, delivery);
                partition.credit += 1;
                return;
            }
            // The failed attempt has been counted otherwise; this is the next one.
            partition.outbox.settled(sequence);
        }
        if let Some(older) = self.works.find((&delivery.id, delivery.generation)) {
            // The lease of the older delivery is gone. Two handlers on one piece of work would be worse than a late one.
            if let Some(work) = self.works.remove(older) {
                partition.credit += u32::from(work.owes_credit);
                if work.running {
                    actions.push(Action::Abort { work: older });
                }
            }
        }
        self.works.received(now, delivery, &self.settings);
    }

    fn result(&mut self, now: Duration, number: u32, result: OutcomeResult, actions: &mut Vec<Action>) {
        let random = self.dice();
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        let verdict = result.verdict();
        let passing = match verdict {
            OutcomeVerdict::Accepted
            | OutcomeVerdict::AlreadyDecided
            | OutcomeVerdict::Superseded
            | OutcomeVerdict::NotFound => false,
            // An answer that says nothing leaves the outcome as unknown as an error does.
            OutcomeVerdict::Unspecified => true,
            OutcomeVerdict::Error => {
                let error = result.error.as_ref().map(client::Error::from_item);
                error.is_none_or(|error| error.is_retryable())
            }
        };
        if passing {
            partition.outbox.unsettled(now, result.sequence, &REPORT_BACKOFF, random);
        } else if let Some(report) = partition.outbox.settled(result.sequence) {
            let (delivery, outcome) = (report.delivery, report.outcome);
            actions.push(Action::Settled(Settled { delivery, outcome, verdict, result }));
        }
    }

    fn extended(&mut self, number: u32, results: ExtendResults, actions: &mut Vec<Action>) {
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        for lease in &results.extended {
            self.works.extended((&lease.id, lease.generation));
        }
        for lease in &results.lost {
            let Some(id) = self.works.find((&lease.id, lease.generation)) else {
                continue;
            };
            // A lease of an older delivery may be lost while a newer one is held.
            let same = self.works.get(id).is_some_and(|work| work.delivery.token == lease.token);
            if same && let Some(work) = self.works.remove(id) {
                partition.credit += u32::from(work.owes_credit);
                if work.running {
                    actions.push(Action::Abort { work: id });
                }
            }
        }
    }

    fn finished(&mut self, id: WorkId, outcome: Outcome) {
        // Handlers that lost their lease still end; their word came too late.
        let Some(work) = self.works.remove(id) else {
            return;
        };
        self.report(work, outcome);
    }

    fn report(&mut self, work: works::Work, outcome: Outcome) {
        let Some(partition) = self.partitions.get_mut(&work.delivery.partition) else {
            return;
        };
        partition.credit += u32::from(work.owes_credit);
        partition.outbox.report(work.delivery, outcome.into_proto());
    }

    fn leases(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while let Some(due) = self.works.due(now) {
            match due {
                Due::Extend(id) => {
                    let Some(work) = self.works.get(id) else {
                        continue;
                    };
                    if let Some(partition) = self.partitions.get_mut(&work.delivery.partition) {
                        partition.extend.push(held_lease(&work.delivery));
                    }
                }
                Due::Expired(id) => {
                    let Some(work) = self.works.remove(id) else {
                        continue;
                    };
                    let lease = work.lease().as_secs_f64();
                    let outcome = if work.running {
                        actions.push(Action::Abort { work: id });
                        Outcome::retry(format!("not done within its lease of {lease} s"))
                    } else {
                        Outcome::retry(format!("no handler was free within its lease of {lease} s"))
                    };
                    self.report(work, outcome);
                }
            }
        }
    }

    fn connect(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let numbers: Vec<u32> = self.partitions.keys().copied().collect();
        self.wants_leader = self.partitions.is_empty();
        for number in numbers {
            let random = self.dice();
            let wanted = self.wants_stream(number);
            let Some(partition) = self.partitions.get_mut(&number) else {
                continue;
            };
            if partition.link.is_overdue(now)
                && let Some(stream) = partition.link.stream()
            {
                self.streams.remove(&stream);
                actions.push(Action::HangUp { stream });
                partition.lost(now, None, random);
            }
            if !wanted {
                continue;
            }
            let stream = self.next_stream + 1;
            if let Some(endpoint) = partition.link.dial(now, stream) {
                self.next_stream = stream;
                self.streams.insert(stream, number);
                let hello = request(work_request::Message::Hello(self.hello(number)));
                actions.push(Action::Dial { stream, endpoint, hello });
            } else {
                self.wants_leader |= partition.link.wants_leader();
            }
        }
        if self.ask_at().is_some_and(|at| at <= now) {
            self.asking = true;
            self.asked_at = Some(now);
            actions.push(Action::AskLeaders);
        }
    }

    /// When leaders should be asked for.
    fn ask_at(&self) -> Option<Duration> {
        if self.asking || self.drained {
            return None;
        }
        let pause = if self.wants_leader { ASK_WHEN_DOWN } else { ASK_WHEN_UP };
        Some(self.asked_at.map_or(Duration::ZERO, |asked| asked.saturating_add(pause)))
    }

    /// Everything that goes out on open streams.
    fn flush(&mut self, now: Duration, actions: &mut Vec<Action>) {
        use work_request::Message;
        for partition in self.partitions.values_mut() {
            let Some(stream) = partition.link.up() else {
                continue;
            };
            let mut send = |message| actions.push(Action::Send { stream, request: request(message) });
            loop {
                let outcomes: Vec<DeliveryOutcome> = partition.outbox.take_unsent(now);
                if outcomes.is_empty() {
                    break;
                }
                send(Message::Outcomes(OutcomeReport { outcomes }));
            }
            let credit = std::mem::take(&mut partition.credit);
            if credit > 0 && !self.draining {
                send(Message::Credit(Credit { deliveries: credit }));
            }
            let leases = std::mem::take(&mut partition.extend);
            if !leases.is_empty() {
                send(Message::Extend(Extend { leases }));
            }
        }
    }

    fn drain(&mut self, actions: &mut Vec<Action>) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        for stream in self.partitions.values().filter_map(|p| p.link.up()) {
            let request = request(work_request::Message::Drain(Drain {}));
            actions.push(Action::Send { stream, request });
        }
    }

    fn hello(&self, number: u32) -> Hello {
        let in_hand = self.works.of_partition(number).into_iter();
        let in_hand = in_hand.filter_map(|id| self.works.get(id)).map(|work| held_lease(&work.delivery));
        let reported = self.partitions.get(&number).into_iter().flat_map(|p| p.outbox.held());
        Hello {
            executor: self.settings.name.clone(),
            namespace: self.settings.namespace.clone(),
            topics: self.settings.topics.clone(),
            partition: number,
            held: in_hand.chain(reported).collect(),
            client: concat!("bosingak-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_in_flight: self.share(),
        }
    }

    /// Deliveries one partition may have here.
    fn share(&self) -> u32 {
        let partitions = u32::try_from(self.partitions.len()).unwrap_or(1).max(1);
        self.settings.max_in_flight.div_ceil(partitions).max(1)
    }

    fn lost(&mut self, now: Duration, number: u32, hint: Option<&str>) {
        let random = self.dice();
        if let Some(partition) = self.partitions.get_mut(&number) {
            partition.lost(now, hint, random);
        }
    }

    fn partition_of(&self, stream: StreamId) -> Option<u32> {
        let number = *self.streams.get(&stream)?;
        let partition = self.partitions.get(&number)?;
        (partition.link.stream() == Some(stream)).then_some(number)
    }

    /// A drained executor only goes where it still owes something.
    fn wants_stream(&self, number: u32) -> bool {
        let owes = |p: &Partition| !p.outbox.is_empty();
        !self.draining || self.partitions.get(&number).is_some_and(owes) || self.works.has_partition(number)
    }

    fn is_idle(&self) -> bool {
        self.works.is_empty() && self.partitions.values().all(|p| p.outbox.is_empty())
    }

    /// SplitMix64: enough for jitter, and the same in every run of a seed.
    fn dice(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 32) as u32
    }
}

impl Partition {
    fn lost(&mut self, now: Duration, hint: Option<&str>, random: u32) {
        self.link.lost(now, hint, random);
        self.outbox.disconnected();
        // Both belong to the stream that is gone: the hello of the next says what is held.
        self.credit = 0;
        self.extend.clear();
    }
}

fn request(message: work_request::Message) -> WorkRequest {
    WorkRequest { message: Some(message) }
}

fn held_lease(delivery: &Delivery) -> HeldLease {
    HeldLease {
        namespace: delivery.namespace.clone(),
        id: delivery.id.clone(),
        generation: delivery.generation,
        token: delivery.token,
        attempt: delivery.attempt,
    }
}

#[cfg(test)]
mod tests;
