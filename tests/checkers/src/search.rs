//! Linearizability as a black box: is there any order of the calls, within their times, that explains the answers?
//!
//! Wing and Gong's search with Lowe's memo of (done, state), per id (ids are independent, and the property is local).
//! Log indices are ignored, so that a wrong index cannot vouch for itself; reads and refusals take part.

use std::collections::HashSet;

use crate::history::{History, Key, Operation, Outcome};
use crate::model::{self, State};
use crate::verdict::{Options, Violation};

pub(crate) const PROMISE: &str = "linearizable by search";

/// More operations than this on one id are not searched.
const OPERATIONS_MAX: usize = 200;

/// What the search found.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Ids whose answers no order explains.
    pub violations: Vec<Violation>,
    /// Ids decided.
    pub decided: usize,
    /// Ids given up: too many states or operations.
    pub undecided: usize,
}

/// Searches the ids with the most operations, at most [`Options::search_keys`] of them.
#[must_use]
pub fn check(history: &History, options: &Options) -> Search {
    let mut keys: Vec<(&Key, Vec<&Operation>)> = history.by_trigger().into_iter().collect();
    keys.sort_by_key(|(_, operations)| std::cmp::Reverse(operations.len()));
    let mut search = Search::default();
    for (trigger, operations) in keys.into_iter().take(options.search_keys) {
        match explain(&operations, options.search_steps) {
            Explained::Yes => search.decided += 1,
            Explained::Unknown => search.undecided += 1,
            Explained::No => {
                search.decided += 1;
                search.violations.push(Violation {
                    promise: PROMISE,
                    trigger: trigger.clone(),
                    detail: describe(&operations),
                });
            }
        }
    }
    search
}

fn describe(operations: &[&Operation]) -> String {
    let mut in_order = operations.to_vec();
    in_order.sort_by_key(|operation| operation.invoked_us);
    let start_us = in_order.first().map_or(0, |operation| operation.invoked_us);
    let calls: Vec<String> = in_order
        .iter()
        .map(|operation| {
            let returned = operation.returned_us.map_or_else(|| "never".to_owned(), |at| (at - start_us).to_string());
            format!(
                "[{}..{returned} µs] {:?} -> {:?}",
                operation.invoked_us - start_us,
                operation.request,
                operation.outcome
            )
        })
        .collect();
    format!("no order explains: {}", calls.join("; "))
}

/// Whether some order explains the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explained {
    /// There is one.
    Yes,
    /// There is none.
    No,
    /// Given up.
    Unknown,
}

/// Looks for an order of `operations`, all on one id, visiting at most `steps` states.
#[must_use]
pub fn explain(operations: &[&Operation], steps: usize) -> Explained {
    let calls: Vec<&Operation> =
        operations.iter().copied().filter(|operation| !matches!(operation.outcome, Outcome::Fail { .. })).collect();
    if calls.len() > OPERATIONS_MAX {
        return Explained::Unknown;
    }
    let mut frame = Frame { calls: &calls, done: Done::default(), seen: HashSet::new(), steps };
    frame.search(State::Absent)
}

/// Which calls are placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Done([u64; OPERATIONS_MAX.div_ceil(64)]);

impl Done {
    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn flip(&mut self, at: usize) {
        self.0[at / 64] ^= 1 << (at % 64);
    }
}

struct Frame<'a> {
    calls: &'a [&'a Operation],
    done: Done,
    seen: HashSet<(Done, State)>,
    steps: usize,
}

impl Frame<'_> {
    /// Depth is bounded by [`OPERATIONS_MAX`].
    fn search(&mut self, state: State) -> Explained {
        // Whoever began after somebody else had returned comes after them. What nobody knows never returned.
        let mut answered_left = false;
        let mut first_return_us = i64::MAX;
        for (at, call) in self.calls.iter().enumerate() {
            if !self.done.has(at) && matches!(call.outcome, Outcome::Ok(_)) {
                answered_left = true;
                first_return_us = first_return_us.min(call.returned_us.unwrap_or(i64::MAX));
            }
        }
        if !answered_left {
            return Explained::Yes;
        }
        if !self.seen.insert((self.done, state)) {
            return Explained::No;
        }
        if self.steps == 0 {
            return Explained::Unknown;
        }
        self.steps -= 1;
        for at in 0..self.calls.len() {
            let call = self.calls[at];
            if self.done.has(at) || call.invoked_us > first_return_us {
                continue;
            }
            let Some(next) = model::step(state, call) else {
                continue;
            };
            self.done.flip(at);
            match self.search(next) {
                Explained::No => self.done.flip(at),
                found => return found,
            }
        }
        Explained::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, DUE_MS, GENERATION, ID, cancel, get, operation, reschedule, schedule};
    use crate::history::{Answer, Refusal, Request, State as Seen};

    fn explained(operations: &[Operation]) -> Explained {
        explain(&operations.iter().collect::<Vec<_>>(), 10_000)
    }

    #[test]
    fn accepts_good_lives() {
        let options = Options::default();
        for history in [fixture::life(), fixture::cancelled()] {
            let search = check(&history, &options);
            assert_eq!((search.violations.len(), search.decided, search.undecided), (0, 1, 0));
        }
    }

    /// Red when calls may be placed outside their times.
    #[test]
    fn rejects_a_stale_read() {
        let calls = [
            schedule(ID, 100, 105, DUE_MS, 10),
            cancel(ID, 110, 115, GENERATION, 11),
            get(ID, 120, 125, Seen::Scheduled, GENERATION, DUE_MS),
        ];
        assert_eq!(explained(&calls), Explained::No);
    }

    #[test]
    fn accepts_a_read_beside_the_write() {
        let calls = [
            schedule(ID, 100, 105, DUE_MS, 10),
            cancel(ID, 110, 130, GENERATION, 11),
            get(ID, 120, 125, Seen::Scheduled, GENERATION, DUE_MS),
        ];
        assert_eq!(explained(&calls), Explained::Yes);
    }

    /// Red when a read may go back in the life of a trigger.
    #[test]
    fn rejects_scheduled_after_fired() {
        let after = DUE_MS + 10;
        let calls = [
            schedule(ID, 100, 105, DUE_MS, 10),
            get(ID, after, after + 1, Seen::Fired, GENERATION, DUE_MS),
            get(ID, after + 2, after + 3, Seen::Scheduled, GENERATION, DUE_MS),
        ];
        assert_eq!(explained(&calls), Explained::No);
    }

    /// Red when a trigger may be seen fired before it is due.
    #[test]
    fn rejects_too_late_before_it_was_due() {
        let refused =
            operation(ID, 110, 115, Request::Cancel { expected_generation: 0 }, Answer::Refused(Refusal::AlreadyFired));
        assert_eq!(explained(&[schedule(ID, 100, 105, DUE_MS, 10), refused]), Explained::No);
    }

    /// Red when two cancellations racing with one reschedule may both win against it.
    #[test]
    fn rejects_a_reschedule_after_the_cancellation() {
        let calls = [
            schedule(ID, 100, 105, DUE_MS, 10),
            cancel(ID, 110, 115, GENERATION, 11),
            reschedule(ID, 116, 120, 2 * DUE_MS, 12),
        ];
        assert_eq!(explained(&calls), Explained::No);
    }

    /// Red when an unknown outcome is taken for a failure, or for a success.
    #[test]
    fn an_unknown_outcome_may_be_either() {
        let mut unknown = cancel(ID, 110, 115, GENERATION, 11);
        unknown.outcome = Outcome::Info { reason: "timeout".into() };
        unknown.returned_us = None;
        let scheduled = schedule(ID, 100, 105, DUE_MS, 10);
        for seen in [Seen::Scheduled, Seen::Cancelled] {
            let read = get(ID, 200, 205, seen, GENERATION, DUE_MS);
            assert_eq!(explained(&[scheduled.clone(), unknown.clone(), read]), Explained::Yes);
        }
        // But not both in the wrong order.
        let calls = [
            scheduled,
            unknown,
            get(ID, 200, 205, Seen::Cancelled, GENERATION, DUE_MS),
            get(ID, 210, 215, Seen::Scheduled, GENERATION, DUE_MS),
        ];
        assert_eq!(explained(&calls), Explained::No);
    }

    /// Red when giving up is called a success.
    #[test]
    fn gives_up_honestly() {
        let calls = [schedule(ID, 100, 105, DUE_MS, 10), cancel(ID, 110, 115, GENERATION, 11)];
        assert_eq!(explain(&calls.iter().collect::<Vec<_>>(), 1), Explained::Unknown);
        let mut many = vec![schedule(ID, 100, 105, DUE_MS, 10)];
        many.extend((0..200).map(|at| get(ID, 110 + at, 111 + at, Seen::Scheduled, GENERATION, DUE_MS)));
        assert_eq!(explained(&many), Explained::Unknown);
    }
}
