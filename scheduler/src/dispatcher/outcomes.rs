//! Outcomes: plain successes are merged into runs, everything else is a command of its own; verdicts go back when the
//! log has decided.

use std::sync::Arc;

use super::Dispatcher;
use super::late::About;
use super::leases::Phase;
use super::types::{Action, Decision, Done, Origin, Outcome, OutcomeResult, Ticket, Verdict};
use crate::command::{Complete, Fail, Kind, Report, Retry, Token};
use crate::lane::{Class, Generation, LaneId, Position};
use crate::reply::{self, Fired, Receipt, Refusal, Reply};
use crate::run_codec::{self, Success};
use crate::time::Timestamp;

/// Characters kept of an error.
const ERROR_CHARS_MAX: usize = 1_024;

/// A plain success of a first attempt, to be merged.
#[derive(Debug)]
pub(super) struct Reported {
    success: Success,
    fired: Fired,
    to: Origin,
    sequence: u64,
}

/// What a ticket stands for.
#[derive(Debug)]
pub(super) enum Proposal {
    /// Merged successes of a lane, in order.
    Run { lane: LaneId, successes: Vec<Reported> },
    /// One command, maybe about a row that is held, maybe with somebody waiting.
    Single { command: Box<Kind>, held: Option<Generation>, about: Option<About>, to: Option<(Origin, u64)> },
    /// Rows of a limited lane that may fire.
    Release { lane: LaneId, count: u64 },
    /// A lane's floor.
    Floor { lane: LaneId, to: Position },
}

impl Dispatcher {
    /// Takes what an executor reports. Every outcome is answered once by [`Action::Results`], when it is durable, or
    /// at once when it is about an older delivery than the newest and not a success.
    pub fn report(&mut self, now: Timestamp, from: Origin, executor: &Arc<str>, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            self.report_one(now, from, executor, outcome);
        }
    }

    fn report_one(&mut self, now: Timestamp, from: Origin, executor: &Arc<str>, outcome: Outcome) {
        let Outcome { sequence, lease, result } = outcome;
        let generation = lease.generation;
        let known = self.leases.get(generation).filter(|held| {
            held.id == lease.id && self.namespace_of(held.lane).is_some_and(|namespace| *namespace == lease.namespace)
        });
        let mut attempt = lease.attempt;
        let mut held = None;
        if let Some(known) = known {
            if lease.token < known.token && !matches!(result, Done::Success { .. }) {
                self.answer(from, sequence, Verdict::Superseded, None);
                return;
            }
            if lease.token == known.token && known.phase == Phase::Working {
                attempt = known.attempt;
                held = Some(generation);
                let plain = matches!(&result, Done::Success { business } if business.is_empty());
                let first = known.attempt == 1 && known.lane.class() != Class::Retry;
                if plain && first && known.token.term == self.term.term && known.token.epoch == self.term.epoch {
                    let (lane, position, fired) = (known.lane, known.position, known.fired);
                    let success = Success { position, executor: executor.clone(), counter: known.token.counter };
                    self.stop_working(now, generation);
                    self.undecided += 1;
                    self.run_lanes.insert(lane);
                    if let Some(lane) = self.lane_mut(lane) {
                        lane.successes.push(Reported { success, fired, to: from, sequence });
                    }
                    return;
                }
                self.stop_working(now, generation);
            }
        }
        let report = Some(Report {
            namespace: lease.namespace.to_string(),
            id: lease.id.to_string(),
            generation: generation.number(),
            token: Some(lease.token),
            attempt,
            executor: executor.to_string(),
        });
        let command = match result {
            Done::Success { business } => Kind::Complete(Complete { report, business }),
            Done::Retry { error, after } => {
                let retry_after_ms = after.as_millis();
                Kind::Retry(Retry { report, error: shortened(error), retry_after_ms, lease_expired: false })
            }
            Done::Fail { error } => Kind::Fail(Fail { report, error: shortened(error) }),
        };
        self.propose_single(command, held, Some((from, sequence)));
    }

    /// Tells what became of a proposal. After the effects of its entry; unknown tickets are ignored.
    pub fn decided(&mut self, now: Timestamp, ticket: Ticket, decision: Decision) {
        let Some(proposal) = self.proposals.remove(&ticket) else {
            return;
        };
        let (index, time, reply) = match decision {
            Decision::Applied { index, time, reply } => (index, time, reply),
            Decision::Again => return self.again(now, proposal),
        };
        match proposal {
            Proposal::Run { lane, successes } => self.decided_run(now, lane, successes, index, time, &reply),
            Proposal::Single { command, held, about, to } => {
                self.undecided -= 1;
                if let (Some(about), Reply::Decided(receipt)) = (about, &reply) {
                    self.decided_alone(about, &command, receipt);
                }
                let ended = matches!(reply, Reply::Decided(_) | Reply::Ended(_));
                // A success whose business command was refused: nothing happened, and what now is the executor's to say.
                let refused = matches!(&reply, Reply::Refused(refusal) if *refusal != Refusal::NotFound);
                let open = refused && matches!(*command, Kind::Complete(_));
                if let Some(generation) = held
                    && self.leases.get(generation).is_some_and(|held| held.phase == Phase::Deciding)
                {
                    if open {
                        self.resume(now, generation);
                    } else if ended {
                        self.forget(now, generation);
                    } else {
                        self.look_again(now, generation);
                    }
                }
                if let Some((to, sequence)) = to {
                    let (verdict, receipt) = verdict(reply);
                    self.answer(to, sequence, verdict, receipt);
                }
            }
            Proposal::Release { lane, count } => self.decided_release(lane, count, &reply),
            Proposal::Floor { lane, to } => {
                if let Some(lane) = self.lane_mut(lane) {
                    lane.raising = false;
                    if reply == Reply::Done {
                        lane.marks.floor = lane.marks.floor.max(to);
                    }
                }
            }
        }
    }

    /// Notes what the end of an attempt says about lateness.
    fn decided_alone(&mut self, about: About, command: &Kind, receipt: &Receipt) {
        let generation = receipt.generation;
        match (receipt.outcome, command) {
            (reply::Outcome::Completed, Kind::Complete(Complete { report: Some(report), .. })) => {
                self.completed_alone(about, &report.id, generation, receipt.due, receipt.decided);
            }
            (reply::Outcome::Retrying, Kind::Retry(retry)) => {
                self.attempt_failed(about, generation, retry.lease_expired);
            }
            _ => self.gave_up(generation),
        }
    }

    fn decided_run(
        &mut self,
        now: Timestamp,
        id: LaneId,
        successes: Vec<Reported>,
        index: u64,
        time: Timestamp,
        reply: &Reply,
    ) {
        self.undecided -= successes.len();
        self.ended_lanes.insert(id);
        let Reply::RunDecided { rejected } = reply else {
            return self.refused_run(now, id, successes, reply);
        };
        if let Some(topic) = self.topics.get_mut(&id.topic()) {
            let info = topic.info.clone();
            if let Some(lane) = topic.lane_mut(id) {
                lane.runs -= 1;
                lane.ended += successes.len() as u64;
                for Reported { success: Success { position, .. }, .. } in &successes {
                    if let Some(held) = self.leases.remove_at(id, *position) {
                        lane.held.remove(position);
                        let is_late = self.lateness.is_late(time.since(position.due)) && !held.late;
                        if is_late && rejected.binary_search(position).is_err() {
                            self.lateness.late_completion(&info, held.id, position.due, time, "slow");
                        }
                    }
                }
            }
        }
        let (epoch, term) = (self.term.epoch, self.term.term);
        for Reported { success, fired, to, sequence } in successes {
            let Success { position, executor, counter } = success;
            if rejected.binary_search(&position).is_ok() {
                self.answer(to, sequence, Verdict::AlreadyDecided, None);
                continue;
            }
            let receipt = Receipt {
                log_index: index,
                generation: position.generation,
                due: position.due,
                fired: Some(fired),
                outcome: reply::Outcome::Completed,
                decided: time,
                executor: executor.to_string(),
                attempt: 1,
                token: Some(Token { epoch, term, counter }),
            };
            self.answer(to, sequence, Verdict::Accepted, Some(receipt));
        }
    }

    /// Refused as a whole, which no run of ours should be: whatever is live is delivered again.
    fn refused_run(&mut self, now: Timestamp, id: LaneId, successes: Vec<Reported>, reply: &Reply) {
        if let Some(lane) = self.lane_mut(id) {
            lane.runs -= 1;
        }
        let refusal = match reply {
            Reply::Refused(refusal) => refusal.clone(),
            _ => Refusal::Invalid { field: "run", expected: "an answer to a run" },
        };
        for Reported { success, to, sequence, .. } in successes {
            if self.leases.at(id, success.position).is_some() {
                self.look_again(now, success.position.generation);
            }
            self.answer(to, sequence, Verdict::Refused(refusal.clone()), None);
        }
    }

    /// A command could not be proposed: it is kept for a while.
    fn again(&mut self, now: Timestamp, proposal: Proposal) {
        let after = now.after(self.config.propose_again);
        match proposal {
            Proposal::Run { lane: id, successes } => {
                self.run_lanes.insert(id);
                if let Some(lane) = self.lane_mut(id) {
                    lane.runs -= 1;
                    lane.runs_after = after;
                    lane.successes.extend(successes);
                }
            }
            Proposal::Release { lane, .. } => {
                if let Some(lane) = self.lane_mut(lane) {
                    lane.releasing = false;
                }
            }
            Proposal::Floor { lane, .. } => {
                if let Some(lane) = self.lane_mut(lane) {
                    lane.raising = false;
                }
            }
            single @ Proposal::Single { .. } => self.repeats.push_back((after, single)),
        }
    }

    /// Proposes merged successes of lanes that have no run undecided, or enough for another.
    pub(super) fn merge(&mut self, now: Timestamp) {
        let max = self.config.run_rows_max.max(1);
        for id in std::mem::take(&mut self.run_lanes) {
            while let Some(lane) = self.lane_mut(id) {
                let enough = lane.runs == 0 || lane.successes.len() >= max;
                if lane.successes.is_empty() {
                    break;
                }
                if !enough || now < lane.runs_after {
                    self.run_lanes.insert(id);
                    break;
                }
                let rest = lane.successes.split_off(lane.successes.len().min(max));
                let mut successes = std::mem::replace(&mut lane.successes, rest);
                lane.runs += 1;
                successes.sort_unstable_by_key(|reported| reported.success.position);
                let sorted = successes.iter().map(|reported| &reported.success);
                let run = run_codec::encode(id, self.term.epoch, self.term.term, sorted);
                self.propose(Kind::CompleteRun(run), Proposal::Run { lane: id, successes });
            }
        }
        while self.repeats.front().is_some_and(|&(at, _)| at <= now) {
            if let Some((_, proposal)) = self.repeats.pop_front()
                && let Proposal::Single { command, .. } = &proposal
            {
                self.propose((**command).clone(), proposal);
            }
        }
    }

    /// When something that could not be proposed is due again.
    pub(super) fn next_repeat(&self) -> Option<Timestamp> {
        let runs = self.run_lanes.iter().filter_map(|&id| self.lane(id));
        let runs = runs.filter(|lane| lane.runs == 0).map(|lane| lane.runs_after);
        runs.chain(self.repeats.front().map(|&(at, _)| at)).min()
    }

    pub(super) fn propose_single(&mut self, command: Kind, held: Option<Generation>, to: Option<(Origin, u64)>) {
        self.undecided += 1;
        let about = held.and_then(|generation| self.leases.get(generation)).map(About::of);
        self.propose(command.clone(), Proposal::Single { command: Box::new(command), held, about, to });
    }

    pub(super) fn propose(&mut self, command: Kind, proposal: Proposal) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.proposals.insert(ticket, proposal);
        self.proposed.push(Action::Propose { ticket, command });
    }

    pub(super) fn answer(&mut self, to: Origin, sequence: u64, verdict: Verdict, receipt: Option<Receipt>) {
        if let Origin::Session(session) = to
            && !self.sessions.contains_key(&session)
        {
            return;
        }
        self.results.entry(to).or_default().push(OutcomeResult { sequence, verdict, receipt });
    }
}

fn verdict(reply: Reply) -> (Verdict, Option<Receipt>) {
    match reply {
        Reply::Decided(receipt) => (Verdict::Accepted, Some(receipt)),
        Reply::AlreadyDecided(receipt) => (Verdict::AlreadyDecided, Some(receipt)),
        Reply::Superseded => (Verdict::Superseded, None),
        Reply::Refused(Refusal::NotFound) => (Verdict::NotFound, None),
        Reply::Refused(refusal) => (Verdict::Refused(refusal), None),
        // Business success is answered by `Decided`; these answer other commands than the ones proposed here.
        Reply::Scheduled { .. }
        | Reply::Moved(_)
        | Reply::Ended(_)
        | Reply::RunDecided { .. }
        | Reply::Done
        | Reply::Business(_) => {
            let expected = "an answer to an outcome";
            (Verdict::Refused(Refusal::Invalid { field: "reply", expected }), None)
        }
    }
}

fn shortened(mut error: String) -> String {
    if let Some((end, _)) = error.char_indices().nth(ERROR_CHARS_MAX) {
        error.truncate(end);
    }
    error
}
