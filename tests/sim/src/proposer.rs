//! A term of leadership: the queue of commands, the entries made of them, the time they are stamped with, and reads. As
//! the server's partition and proposer do, without their tasks.

use std::collections::BTreeMap;

use scheduler::command::{Kind, When};
use scheduler::dispatcher::Ticket;
use scheduler::reply::Reply;
use scheduler::time::Timestamp;

use crate::dispatch::Desk;
use crate::events::{MS, Micros};
use crate::feed::NextEntry;
use crate::log::ELECTION_MAX;
use crate::node;
use crate::swarm::NODES;
use crate::time_rules::{Reading, TimeRules};
use crate::wire;
use crate::world::{Ask, Call, NodeEvent, Said, World};
use scheduler::planted::{self, Bug};

/// Entries under way at once.
const OUTSTANDING_MAX: usize = 3;
/// While entries are under way, this many commands are worth another one at once.
const GATHER_COMMANDS: usize = 128;
/// Bare entries are never closer to the entry before than this.
const BARE_PAUSE: Micros = 2 * MS;
/// A term waits so long at its start for clocks that agree.
const AGREE_WITHIN: Micros = 1_000 * MS;
/// The clock is looked at again after this, since clocks may be set and others may agree meanwhile.
pub const LOOK_AGAIN: Micros = 1_000 * MS;

/// A command in the queue.
#[derive(Debug)]
pub struct Waiting {
    /// What.
    pub kind: Kind,
    /// Who asked.
    pub to: ReplyTo,
}

/// Who is told what a command came to.
#[derive(Clone, Debug)]
pub enum ReplyTo {
    /// A try of a caller, which waits until then.
    Caller {
        /// Which caller.
        caller: usize,
        /// Its call.
        number: u64,
        /// Its try.
        attempt: u32,
        /// Nobody waits after this.
        until: Micros,
    },
    /// The dispatcher of the term; whether something may have ended by it.
    Ticket(Ticket, bool),
}

/// An entry on its way.
#[derive(Debug)]
pub struct Submitted {
    /// In which term.
    pub term: u64,
    /// Whose commands it holds, in order.
    pub to: Vec<ReplyTo>,
}

/// A read that waits for a majority to say that nobody else leads.
#[derive(Debug)]
pub struct PendingRead {
    call: Call,
    /// By the node's own clock: a majority must have been asked after this.
    asked: Micros,
    /// Everything up to here must have been applied.
    index: u64,
    expires: Micros,
}

/// What a node needs while it leads and is ready.
#[derive(Debug)]
pub struct Office {
    /// Its term.
    pub term: u64,
    rules: TimeRules,
    /// Why moments counted from now are refused, while they are.
    hold: bool,
    /// Until then it waits for clocks that agree.
    agree_until: Option<Micros>,
    /// When the newest entry was proposed.
    newest: Option<Micros>,
    /// The only alarm of the proposer that counts.
    alarm: u64,
    /// Where executors are served.
    pub desk: Option<Desk>,
}

impl World {
    /// The node was elected: commands are taken, and once it has applied what earlier terms left it begins.
    pub fn elected(&mut self, number: usize) {
        self.nodes[number].office = None;
        self.confirmed(number);
    }

    /// A majority has answered, or something was applied: what waited for that goes on.
    pub fn confirmed(&mut self, number: usize) {
        self.open_office(number);
        self.serve_reads(number);
    }

    fn open_office(&mut self, number: usize) {
        if self.nodes[number].office.is_some() || self.quorum_at(number).is_none() {
            return;
        }
        let node = &mut self.nodes[number];
        let Some(leading) = &node.member.leads else { return };
        if node.applied < leading.first_index {
            return;
        }
        let term = leading.term;
        self.begin_office(number, term);
    }

    /// The node has applied what earlier terms left, and begins.
    pub fn begin_office(&mut self, number: usize, term: u64) {
        let now = self.now();
        let node = &mut self.nodes[number];
        let rules = TimeRules::new(node.machine.watermark(), NODES, node.clock.mono_duration(now));
        let agree_until = Some(now + AGREE_WITHIN);
        node.office = Some(Office { term, rules, hold: true, agree_until, newest: None, alarm: 0, desk: None });
        self.sampled(number);
        self.stamp(number);
        self.propose_soon(number);
    }

    /// The newest readings of other clocks go to the rules.
    pub fn sampled(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if let Some(office) = &mut node.office {
            for (other, sample) in &node.samples {
                office.rules.sample(*other, *sample);
            }
        }
    }

    /// The moment for an entry proposed now; the term must have begun.
    pub fn stamp(&mut self, number: usize) -> Timestamp {
        let now = self.now();
        let node = &mut self.nodes[number];
        let reading = Reading { wall: node.clock.wall(self.epoch, now), mono: node.clock.mono_duration(now) };
        let Some(office) = &mut node.office else { return reading.wall };
        let stamp = office.rules.stamp(reading);
        office.hold = stamp.alarm.as_ref().is_some_and(|alarm| alarm.is_hold());
        self.coverage.clock_alarms += u64::from(stamp.alarm.is_some());
        if planted::is(Bug::TimeStepsBack) { reading.wall } else { stamp.time }
    }

    /// How long until entries may be stamped with this moment; zero when they may.
    pub fn until(&mut self, number: usize, at: Timestamp) -> Micros {
        let left = at.since(self.stamp(number)).as_millis() * MS;
        self.nodes[number].clock.lasts(left.min(LOOK_AGAIN))
    }

    /// The proposer looks at once.
    pub fn propose_soon(&mut self, number: usize) {
        self.propose_in(number, 0);
    }

    fn propose_in(&mut self, number: usize, wait: Micros) {
        let at = self.now() + wait;
        if let Some(office) = &mut self.nodes[number].office {
            office.alarm += 1;
            let alarm = office.alarm;
            self.at_node(at, number, NodeEvent::Propose(alarm));
        }
    }

    /// The proposer looks: at what waits, and at the time.
    pub fn propose_alarm(&mut self, number: usize, alarm: u64) {
        if self.nodes[number].office.as_ref().is_none_or(|office| office.alarm != alarm) {
            return;
        }
        if !self.agreed(number) {
            return self.propose_in(number, 10 * MS);
        }
        while let Some(batch) = self.take(number) {
            if !self.submit(number, batch) {
                return self.propose_in(number, 5 * MS);
            }
        }
        let now = self.now();
        let node = &self.nodes[number];
        let next = node.feed.next_entry();
        // One is on its way, whose application wakes the proposer.
        if node.under_way() > 0 || next == NextEntry::Never {
            return;
        }
        let newest = node.office.as_ref().and_then(|office| office.newest);
        let pause = newest.map_or(0, |newest| (newest + BARE_PAUSE).saturating_sub(now));
        let left = match next {
            NextEntry::At(at) => self.until(number, at),
            NextEntry::Owed | NextEntry::Never => 0,
        };
        match left.max(pause) {
            0 => {
                self.coverage.bare_entries += 1;
                if !self.submit(number, Vec::new()) {
                    self.propose_in(number, 5 * MS);
                }
            }
            // A microsecond more, so that a clock that is read in milliseconds has come there.
            wait => self.propose_in(number, wait + 1),
        }
    }

    /// Whether the clocks agree, or have been waited for long enough; then the term has begun.
    fn agreed(&mut self, number: usize) -> bool {
        let Some(until) = self.nodes[number].office.as_ref().and_then(|office| office.agree_until) else { return true };
        self.stamp(number);
        let (now, term) = (self.now(), self.nodes[number].member.term);
        let node = &mut self.nodes[number];
        let wall = node.clock.wall(self.epoch, now);
        let mono = node.clock.mono_duration(now);
        let fresh = node.machine.watermark() == Timestamp::MIN;
        let Some(office) = &mut node.office else { return false };
        if office.hold && now < until {
            return false;
        }
        if office.hold && fresh {
            // Nothing is pending that a wrong clock could fire, and a time near 1970 is of no use to anybody.
            office.rules.accept(Reading { wall, mono });
            office.hold = false;
        }
        office.agree_until = None;
        // The dispatcher is a thread of its own, which takes its time to begin.
        let at = now + self.rng.below(10 * MS);
        self.at_node(at, number, NodeEvent::Dispatch(term));
        true
    }

    /// Takes what makes the next entry; while others are under way only if it is worth one.
    fn take(&mut self, number: usize) -> Option<Vec<Waiting>> {
        let now = self.now();
        let node = &mut self.nodes[number];
        let under_way = node.under_way();
        let given_up = |waiting: &Waiting| matches!(waiting.to, ReplyTo::Caller { until, .. } if until < now);
        while node.queue.front().is_some_and(given_up) {
            node.queue.pop_front();
        }
        let few = under_way > 0 && node.queue.len() < GATHER_COMMANDS;
        if under_way >= OUTSTANDING_MAX || node.queue.is_empty() || few {
            return None;
        }
        Some(node.queue.drain(..).collect())
    }

    /// Proposes an entry; false when the log does not take it, and its commands are refused.
    fn submit(&mut self, number: usize, batch: Vec<Waiting>) -> bool {
        let time = self.stamp(number);
        let now = self.now();
        let (mut kinds, to): (Vec<Kind>, Vec<ReplyTo>) =
            batch.into_iter().map(|waiting| (waiting.kind, waiting.to)).unzip();
        let level = self.write_at_level(number, &mut kinds);
        if let Some(office) = &mut self.nodes[number].office {
            office.newest = Some(now);
        }
        if self.cluster.is_some() {
            self.coverage.commands += kinds.len() as u64;
            self.submit_to_replica(number, node::entry(time, kinds, level), to);
            return true;
        }
        if !self.takes_proposals(number) {
            self.coverage.refused_without_lease += to.len() as u64;
            for to in to {
                self.refuse(number, to, wire::no_quorum());
            }
            return false;
        }
        self.coverage.commands += kinds.len() as u64;
        let term = self.nodes[number].member.term;
        let index = self.append(number, node::entry(time, kinds, level));
        self.nodes[number].submitted.insert(index, Submitted { term, to });
        true
    }

    /// An entry was applied: whoever waited for it is answered.
    pub fn answer_submitted(&mut self, number: usize, index: u64, time: Timestamp, replies: Vec<Reply>) {
        // An entry made elsewhere may have the place of one made here: then that one is gone, and so is this term.
        let Some(submitted) = self.nodes[number].submitted.remove(&index) else { return };
        self.answer_all(number, index, time, submitted.to, replies);
    }

    /// Tells everybody what the commands of an entry came to.
    pub fn answer_all(&mut self, number: usize, index: u64, time: Timestamp, to: Vec<ReplyTo>, replies: Vec<Reply>) {
        for (to, reply) in to.into_iter().zip(replies) {
            match to {
                ReplyTo::Caller { caller, number: call, attempt, .. } => {
                    let answer = wire::said(reply);
                    self.answer_caller(number, caller, call, attempt, answer);
                }
                ReplyTo::Ticket(ticket, may_end) => self.decided(number, ticket, may_end, Some((index, time, reply))),
            }
        }
    }

    /// Tells whoever waits that nothing came of it, as far as this node knows.
    pub fn refuse(&mut self, number: usize, to: ReplyTo, error: client::Error) {
        match to {
            ReplyTo::Caller { caller, number: call, attempt, .. } => {
                self.answer_caller(number, caller, call, attempt, Err(error));
            }
            ReplyTo::Ticket(ticket, may_end) => self.decided(number, ticket, may_end, None),
        }
    }

    /// The node leads no more: nothing waits any longer.
    pub fn end_term(&mut self, number: usize) {
        let leader = self.nodes[number].member.leader.filter(|&leader| leader != number);
        let node = &mut self.nodes[number];
        let office = node.office.take();
        // A replica tells what became of each proposal, sooner or later, unless its process is gone.
        let told = self.cluster.is_some() && node.up;
        let submitted = if told { BTreeMap::new() } else { std::mem::take(&mut node.submitted) };
        let queue = std::mem::take(&mut node.queue);
        let reads = std::mem::take(&mut node.reads);
        for (index, submitted) in submitted {
            if self.cluster.is_none() {
                self.coverage.unknown(index, submitted.term);
            }
            for to in submitted.to {
                self.refuse(number, to, wire::outcome_unknown());
            }
        }
        for waiting in queue {
            self.refuse(number, waiting.to, wire::not_leader(leader));
        }
        for read in reads {
            self.answer_caller(
                number,
                read.call.caller,
                read.call.number,
                read.call.attempt,
                Err(wire::not_leader(leader)),
            );
        }
        if let Some(desk) = office.and_then(|office| office.desk) {
            self.close_desk(number, desk, leader);
        }
    }

    /// A command of the dispatcher.
    pub fn propose_internal(&mut self, number: usize, kind: Kind, ticket: Ticket, may_end: bool) {
        self.nodes[number].queue.push_back(Waiting { kind, to: ReplyTo::Ticket(ticket, may_end) });
    }

    /// A call reaches a node.
    pub fn called(&mut self, number: usize, call: Call) {
        if !self.nodes[number].up || self.nodes[number].halted.is_some() {
            // A process that is gone refuses connections, where it can be reached.
            let error =
                client::Error::Disconnected { endpoint: crate::world::endpoint(number), message: "refused".into() };
            return self.answer_caller(number, call.caller, call.number, call.attempt, Err(error));
        }
        if matches!(call.ask, Ask::Leaders) {
            let leader = self.nodes[number].member.leader.map(crate::world::endpoint).unwrap_or_default();
            let (term, caller) = (self.nodes[number].member.term, call.caller);
            let to = self.caller_address(caller);
            return self.send(number, to, || {
                crate::world::Event::Caller(caller, crate::world::CallerEvent::Leaders(leader.clone(), term))
            });
        }
        if self.nodes[number].member.leads.is_none() {
            return self.pass_on(number, call);
        }
        match call.ask.clone() {
            Ask::Decide(kind) => {
                let held = self.nodes[number].office.as_ref().is_some_and(|office| office.hold);
                if held && is_relative(&kind) {
                    let error = wire::clock_held();
                    return self.answer_caller(number, call.caller, call.number, call.attempt, Err(error));
                }
                let Call { caller, number: of, attempt, until, .. } = call;
                let to = ReplyTo::Caller { caller, number: of, attempt, until };
                self.nodes[number].queue.push_back(Waiting { kind, to });
                self.propose_soon(number);
            }
            Ask::Get(..) | Ask::Gift(_) => self.read(number, call),
            Ask::Leaders => {}
        }
    }

    fn pass_on(&mut self, number: usize, call: Call) {
        let leader = self.nodes[number].member.leader.filter(|&leader| leader != number);
        match leader.filter(|_| self.swarm.forwarding && !call.passed_on) {
            Some(leader) => {
                let call = Call { passed_on: true, ..call };
                self.send(number, leader, || crate::world::Event::Call(leader, Box::new(call.clone())));
            }
            None => {
                self.answer_caller(number, call.caller, call.number, call.attempt, Err(wire::not_leader(leader)));
            }
        }
    }

    fn read(&mut self, number: usize, call: Call) {
        let now = self.now();
        if planted::is(Bug::ReadsWithoutBarrier) {
            let said = self.look(number, &call.ask);
            return self.answer_caller(number, call.caller, call.number, call.attempt, said);
        }
        if self.cluster.is_some() {
            return self.read_after_barrier(number, call);
        }
        let node = &mut self.nodes[number];
        let Some(leading) = &node.member.leads else { return };
        let asked = node.clock.mono(now);
        // What earlier terms committed is known to be so once an entry of this one is.
        let index = node.member.commit.max(leading.first_index);
        let expires = now + node.clock.lasts(2 * ELECTION_MAX);
        node.reads.push(PendingRead { call, asked, index, expires });
        self.at_node(expires, number, NodeEvent::ReadsExpire);
        self.broadcast(number);
    }

    fn serve_reads(&mut self, number: usize) {
        let Some(quorum) = self.quorum_at(number) else { return };
        let node = &mut self.nodes[number];
        let applied = node.applied;
        let (ready, waiting): (Vec<_>, Vec<_>) =
            node.reads.drain(..).partition(|read| read.asked <= quorum && read.index <= applied);
        node.reads = waiting;
        for PendingRead { call, .. } in ready {
            let said = self.look(number, &call.ask);
            self.answer_caller(number, call.caller, call.number, call.attempt, said);
        }
    }

    /// What a call that reads finds.
    pub fn look(&mut self, number: usize, ask: &Ask) -> Result<Said, client::Error> {
        if let Ask::Gift(id) = ask {
            return self.look_at_gift(number, id);
        }
        let Ask::Get(namespace, id) = ask else { return Ok(Said::View(None)) };
        match scheduler::read::get(&self.nodes[number].store, namespace, id) {
            Ok(view) => Ok(Said::View(view.map(Box::new))),
            Err(error) => {
                self.broke(format!("node {number} cannot read {namespace}/{id}: {error}"));
                Err(wire::no_quorum())
            }
        }
    }

    fn look_at_gift(&mut self, number: usize, id: &str) -> Result<Said, client::Error> {
        match domain::gift::get(&self.nodes[number].store, crate::gifts::NAMESPACE, id) {
            Ok(gift) => Ok(Said::Gift(gift.map(Box::new))),
            Err(error) => {
                self.broke(format!("node {number} cannot read gift {id}: {error}"));
                Err(wire::no_quorum())
            }
        }
    }

    /// Reads that have waited too long for a majority are refused.
    pub fn expire_reads(&mut self, number: usize) {
        let now = self.now();
        let node = &mut self.nodes[number];
        let (expired, waiting): (Vec<_>, Vec<_>) = node.reads.drain(..).partition(|read| read.expires <= now);
        node.reads = waiting;
        for PendingRead { call, .. } in expired {
            self.answer_caller(number, call.caller, call.number, call.attempt, Err(wire::no_quorum()));
        }
    }
}

/// Whether the command counts from the time of its entry.
fn is_relative(kind: &Kind) -> bool {
    match kind {
        Kind::Schedule(command) => matches!(command.when, Some(When::After(_))),
        Kind::Reschedule(command) => matches!(command.when, Some(When::After(_))),
        _ => false,
    }
}
