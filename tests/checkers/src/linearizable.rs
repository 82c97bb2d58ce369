//! Linearizability by witness: the log index in every receipt is the order, and the order has to fit.
//!
//! For all operations, in O(n log n): an entry that was acknowledged before a call began lies before the entry that
//! decided the call; and, per id, carrying out the answered writes in index order gives the answers that were given.
//! Reads and refusals carry no index; [`crate::search`] decides about them.

use std::collections::BTreeMap;

use crate::history::{Answer, Decided, History, Key, Operation, Outcome};
use crate::model::{self, State};
use crate::verdict::Violation;

pub(crate) const PROMISE: &str = "linearizable by log index";

/// Checks real-time order per partition and the replay per id.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = real_time(history);
    for (trigger, operations) in history.by_trigger() {
        violations.extend(replay(trigger, &operations));
    }
    violations
}

/// A write, its deciding entry, and whether the answer is that of an earlier request.
fn writes<'a>(operations: impl Iterator<Item = &'a Operation>) -> impl Iterator<Item = (&'a Operation, Decided, bool)> {
    operations.filter_map(|operation| {
        let Outcome::Ok(answer) = &operation.outcome else {
            return None;
        };
        let replayed = matches!(answer, Answer::Scheduled { replayed: true, .. });
        Some((operation, answer.decided()?, replayed))
    })
}

fn real_time(history: &History) -> Vec<Violation> {
    let mut partitions: BTreeMap<u32, Vec<(&Operation, u64, bool)>> = BTreeMap::new();
    for (operation, decided, replayed) in writes(history.operations.iter()) {
        partitions.entry(decided.partition).or_default().push((operation, decided.index, replayed));
    }
    let mut violations = Vec::new();
    for operations in partitions.values() {
        let mut returned: Vec<(i64, u64)> =
            operations.iter().filter_map(|(operation, index, _)| Some((operation.returned_us?, *index))).collect();
        returned.sort_unstable();
        let mut invoked: Vec<&(&Operation, u64, bool)> = operations.iter().collect();
        invoked.sort_by_key(|(operation, ..)| operation.invoked_us);
        let (mut passed, mut newest) = (0, 0);
        for (operation, index, replayed) in invoked {
            while passed < returned.len() && returned[passed].0 < operation.invoked_us {
                newest = newest.max(returned[passed].1);
                passed += 1;
            }
            // A repeated request is decided by the entry of the first, which may be as old as it likes.
            if *index <= newest && !replayed {
                violations.push(Violation {
                    promise: PROMISE,
                    trigger: operation.trigger.clone(),
                    detail: format!(
                        "decided by entry {index}, but entry {newest} was acknowledged before the call began"
                    ),
                });
            }
        }
    }
    violations
}

fn replay(trigger: &Key, operations: &[&Operation]) -> Option<Violation> {
    // What nobody knows may have happened anywhere in between; the search decides about such ids.
    if operations.iter().any(|operation| matches!(operation.outcome, Outcome::Info { .. })) {
        return None;
    }
    let mut in_order: Vec<_> = writes(operations.iter().copied()).collect();
    // Two changes of one id in one entry are told apart by their generation, which holds the place in the entry. An
    // answer to a repeated request counts when nobody got the first, and else comes behind it.
    in_order.sort_by_key(|(operation, decided, replayed)| (decided.index, made(operation), *replayed));
    let mut state = State::Absent;
    for (operation, decided, _) in in_order {
        match model::step(state, operation) {
            Some(next) => state = next,
            None => {
                return Some(Violation {
                    promise: PROMISE,
                    trigger: trigger.clone(),
                    detail: format!(
                        "entry {} answered {:?} to {:?}, which cannot follow {state:?}",
                        decided.index, operation.outcome, operation.request
                    ),
                });
            }
        }
    }
    None
}

/// The version an operation made; the highest for one that makes none, so that it comes last in its entry.
fn made(operation: &Operation) -> u64 {
    match &operation.outcome {
        Outcome::Ok(
            Answer::Scheduled { generation, .. }
            | Answer::Rescheduled { generation, .. }
            | Answer::Started { generation, .. },
        ) => *generation,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, DUE_MS, ID, cancel, reschedule, schedule};
    use crate::history::Event;

    fn of(operations: impl IntoIterator<Item = Operation>) -> Vec<Violation> {
        let mut history = History::default();
        operations.into_iter().for_each(|operation| history.push(Event::Operation(operation)));
        check(&history)
    }

    #[test]
    fn accepts_good_lives() {
        assert!(check(&fixture::life()).is_empty());
        assert!(check(&fixture::cancelled()).is_empty());
    }

    #[test]
    fn accepts_concurrent_calls_in_either_order() {
        let calls = [
            schedule(ID, 100, 105, DUE_MS, 10),
            cancel(ID, 110, 200, 11 << 12, 12),
            reschedule(ID, 111, 150, 2 * DUE_MS, 11),
        ];
        assert!(of(calls).is_empty());
    }

    /// Red when real-time order between ids of one partition is not looked at.
    #[test]
    fn rejects_an_entry_before_one_that_was_acknowledged() {
        let calls = [schedule("a", 100, 105, DUE_MS, 10), schedule("b", 106, 110, DUE_MS, 10)];
        assert_eq!(of(calls).len(), 1);
    }

    /// Red when an answer is not replayed in index order.
    #[test]
    fn rejects_a_cancellation_of_a_version_that_was_replaced() {
        let calls = [
            schedule(ID, 100, 105, DUE_MS, 10),
            reschedule(ID, 110, 115, 2 * DUE_MS, 11),
            cancel(ID, 120, 125, 10 << 12, 12),
        ];
        assert_eq!(of(calls).len(), 1);
    }

    /// Red when a second creation of one id passes.
    #[test]
    fn rejects_an_id_scheduled_twice() {
        let calls = [schedule(ID, 100, 105, DUE_MS, 10), schedule(ID, 110, 115, DUE_MS, 11)];
        assert_eq!(of(calls).len(), 1);
    }

    /// Red when an answer that only a repeat got is taken for no answer.
    #[test]
    fn accepts_a_request_whose_first_answer_was_lost() {
        let mut repeated = schedule(ID, 100, 115, DUE_MS, 10);
        if let Outcome::Ok(Answer::Scheduled { replayed, .. }) = &mut repeated.outcome {
            *replayed = true;
        }
        assert!(of([repeated, cancel(ID, 120, 125, 10 << 12, 12)]).is_empty());
    }

    /// Red when a repeated request has to have an entry of its own.
    #[test]
    fn accepts_a_repeated_request() {
        let first = schedule(ID, 100, 105, DUE_MS, 10);
        let mut repeated = schedule(ID, 110, 115, DUE_MS, 10);
        if let Outcome::Ok(Answer::Scheduled { replayed, .. }) = &mut repeated.outcome {
            *replayed = true;
        }
        assert!(of([first, repeated]).is_empty());
    }
}
