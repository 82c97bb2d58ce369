//! What a node makes of its replica's leadership: terms, proposals and reads, after the product's group and partition.

use bytes::Bytes;
use openraft_rt::{AsyncRuntime, WatchReceiver};
use scheduler::planted::{self, Bug};

use super::cluster::{Cluster, Happening, leads};
use super::port::{Barrier, Leadership, Outcome};
use super::replica::confirm;
use super::runtime::{self, Runtime};
use super::types::{Answers, node_of};
use crate::digest::Trace;
use crate::events::MS;
use crate::log::Leading;
use crate::proposer::{ReplyTo, Submitted};
use crate::wire;
use crate::world::{Call, NodeEvent, World};

impl Cluster {
    /// Whether a node leads and nobody else can, as its replica knows.
    #[must_use]
    pub fn is_trusted(&self, node: usize) -> bool {
        let Some(raft) = &self.seats[node].raft else { return false };
        let metrics = raft.metrics();
        let figures = metrics.borrow_watched();
        // Whom leadership is handed to is elected whatever promises the others have given this leader.
        let over = self.seats[node].handing_over == figures.vote.leader_id.term;
        if over && !planted::is(Bug::TrustsAfterHandOver) {
            return false;
        }
        let acked = if planted::is(Bug::LeaseByOpenraft) {
            figures.last_quorum_acked.as_ref().map(|at| at.into_inner()).filter(|_| leads(&figures))
        } else {
            let now = runtime::within(node, <runtime::Instant as openraft_rt::Instant>::now);
            self.seats[node].port.quorum_of(&figures, now)
        };
        acked.is_some_and(|at| runtime::since(node, at) < self.setting.timing.trust())
    }
}

impl World {
    /// The replica of a node knows somebody else to lead.
    pub fn led_by(&mut self, number: usize, now: Leadership) {
        let member = &mut self.nodes[number].member;
        member.term = now.term;
        member.leader = now.leader.map(node_of);
        let over = member.leads.as_ref().is_some_and(|leading| !now.we_lead || leading.term != now.term);
        if over {
            member.leads = None;
            self.end_term(number);
        }
        if now.we_lead && self.nodes[number].member.leads.is_none() {
            let others = (0..self.nodes.len()).filter(|&other| other != number);
            let two = others.into_iter().any(|other| self.nodes[other].up && self.nodes[other].member.leads.is_some());
            self.coverage.two_leaders += u64::from(two);
            self.coverage.terms += 1;
            self.nodes[number].member.leads = Some(Leading::observed(now.term));
            self.wait_to_lead(number, now.term);
        }
        self.leader_known(number);
    }

    /// What earlier terms left must be applied first.
    pub fn wait_to_lead(&mut self, number: usize, term: u64) {
        if self.nodes[number].member.leads.as_ref().is_none_or(|leading| leading.term != term) {
            return;
        }
        let barrier = self.ask_majority(number);
        if let Some(seat) = self.seat(number) {
            seat.entering = Some((barrier, term));
        }
    }

    /// The number of the confirmation that serves whoever asks now: one that begins after this.
    fn ask_majority(&mut self, number: usize) -> u64 {
        let Some(cluster) = &mut self.cluster else { return 0 };
        let deadline = cluster.setting.timing.election_max * 2;
        let seat = &mut cluster.seats[number];
        if std::mem::replace(&mut seat.confirming, true) {
            return seat.barriers + 1;
        }
        seat.barriers += 1;
        let barrier = seat.barriers;
        match seat.raft.clone() {
            Some(raft) => {
                let port = seat.port.clone();
                runtime::within(number, || Runtime::spawn(confirm(raft, port, barrier, deadline)));
            }
            None => seat.port.ask(super::port::Ask::Barrier(barrier, Barrier::NotLeader(None))),
        }
        barrier
    }

    /// A confirmation is over: whoever waited for it goes on, and whoever came too late for it gets the next.
    pub fn confirmed_by_majority(&mut self, number: usize, barrier: u64, outcome: Barrier) {
        let applied = self.nodes[number].applied;
        if let Barrier::Passed(index) = outcome
            && applied < index
        {
            self.broke(format!("node {number}: a read barrier passed at {index}, and {applied} is applied"));
        }
        let Some(seat) = self.seat(number) else { return };
        seat.confirming = false;
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut seat.reads).into_iter().partition(|(at, _)| *at <= barrier);
        seat.reads = waiting;
        let more = !seat.reads.is_empty();
        let entering = seat.entering.take_if(|(at, _)| *at <= barrier);
        let more = more || seat.entering.is_some();
        for (_, call) in ready {
            let said = match outcome {
                Barrier::Passed(_) => self.look(number, &call.ask),
                Barrier::NotLeader(leader) => Err(wire::not_leader(leader.map(node_of))),
                Barrier::NoQuorum => Err(wire::no_quorum()),
            };
            self.answer_caller(number, call.caller, call.number, call.attempt, said);
        }
        if let Some((_, term)) = entering {
            self.enter_office(number, term, outcome);
        }
        if more {
            self.ask_majority(number);
        }
    }

    fn enter_office(&mut self, number: usize, term: u64, outcome: Barrier) {
        let leading = self.nodes[number].member.leads.as_mut().filter(|leading| leading.term == term);
        let Some(leading) = leading else { return };
        match outcome {
            Barrier::Passed(index) => {
                leading.first_index = index;
                self.begin_office(number, term);
            }
            _ => self.at_node(self.now() + 10 * MS, number, NodeEvent::Raft(Happening::WaitToLead(term))),
        }
    }

    /// A read waits for a majority.
    pub fn read_after_barrier(&mut self, number: usize, call: Call) {
        let barrier = self.ask_majority(number);
        if let Some(seat) = self.seat(number) {
            seat.reads.push((barrier, call));
        }
    }

    /// Hands an entry to the replica, which refuses it unless it leads in this very term.
    pub fn submit_to_replica(&mut self, number: usize, payload: Bytes, to: Vec<ReplyTo>) {
        let term = self.nodes[number].member.term;
        let Some(seat) = self.seat(number) else { return };
        seat.proposals_made += 1;
        let proposal = seat.proposals_made;
        let mut contents = Trace::default();
        contents.add_bytes(&payload);
        seat.contents.insert(proposal, contents.value());
        // A replica that is being opened again has dropped the other end, and with the term what was proposed in it.
        let _ = seat.proposals.send((proposal, term, payload));
        self.nodes[number].submitted.insert(proposal, Submitted { term, to });
    }

    /// What became of a proposal.
    pub fn proposal_decided(&mut self, number: usize, proposal: u64, outcome: Outcome) {
        let contents = self.seat(number).and_then(|seat| seat.contents.remove(&proposal));
        let Some(Submitted { term, to }) = self.nodes[number].submitted.remove(&proposal) else { return };
        let current = self.nodes[number].office.as_ref().is_some_and(|office| office.term == term);
        // The dispatcher of an earlier term is gone, and with it whoever it asked for.
        let counts = |to: &ReplyTo| current || matches!(to, ReplyTo::Caller { .. });
        let error = match outcome {
            Outcome::Applied(index, Answers(Some((time, replies)))) => {
                let (to, replies) = to.into_iter().zip(replies).filter(|(to, _)| counts(to)).unzip();
                self.answer_all(number, index, time, to, replies);
                return self.propose_soon(number);
            }
            Outcome::Applied(_, Answers(None)) | Outcome::Unknown => {
                self.coverage.outcomes_unknown += 1;
                self.unknown(contents);
                wire::outcome_unknown()
            }
            Outcome::NotLeader(leader) => wire::not_leader(leader.map(node_of)),
            Outcome::NoQuorum => {
                self.coverage.refused_without_lease += to.len() as u64;
                wire::no_quorum()
            }
        };
        for to in to.into_iter().filter(counts) {
            self.refuse(number, to, error.clone());
        }
        self.propose_soon(number);
    }

    /// The process died with proposals under way.
    pub fn forget_proposals(&mut self, number: usize) {
        let contents = self.seat(number).map(|seat| std::mem::take(&mut seat.contents)).unwrap_or_default();
        for contents in contents.into_values() {
            self.unknown(Some(contents));
        }
        let reads = self.seat(number).map(|seat| std::mem::take(&mut seat.reads)).unwrap_or_default();
        for (_, call) in reads {
            self.answer_caller(number, call.caller, call.number, call.attempt, Err(wire::no_quorum()));
        }
    }

    fn unknown(&mut self, contents: Option<u64>) {
        if let Some(cluster) = &mut self.cluster {
            cluster.unknown.extend(contents);
        }
    }
}
