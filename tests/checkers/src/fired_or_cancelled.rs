//! Exactly one of fired and cancelled, per version of a trigger.

use std::collections::BTreeSet;

use crate::history::{Answer, History, Key, Outcome, Refusal, State};
use crate::verdict::Violation;

pub(crate) const PROMISE: &str = "exactly one of fired and cancelled";

/// Looks for versions that were both.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut cancelled: BTreeSet<(&Key, u64)> = BTreeSet::new();
    for operation in &history.operations {
        if let Outcome::Ok(Answer::Cancelled { generation, .. }) = &operation.outcome {
            cancelled.insert((&operation.trigger, *generation));
        }
    }
    for read in history.final_reads.values() {
        if read.state == State::Cancelled {
            cancelled.insert((&read.trigger, read.generation));
        }
    }
    let mut violations = Vec::new();
    let mut report = |trigger: &Key, detail: String| {
        violations.push(Violation { promise: PROMISE, trigger: trigger.clone(), detail });
    };
    for delivery in &history.deliveries {
        if cancelled.contains(&(&delivery.trigger, delivery.generation)) {
            report(
                &delivery.trigger,
                format!("generation {} was cancelled, and delivered to {}", delivery.generation, delivery.executor),
            );
        }
    }
    for completion in &history.completions {
        if let Some(receipt) = &completion.receipt
            && receipt.outcome != State::Cancelled
            && cancelled.contains(&(&completion.trigger, receipt.generation))
        {
            report(
                &completion.trigger,
                format!("generation {} was cancelled, and its receipt says {:?}", receipt.generation, receipt.outcome),
            );
        }
    }
    // The other half of "the caller learns which": told that it had fired, it must not end as cancelled.
    for operation in &history.operations {
        let Outcome::Ok(Answer::Refused(Refusal::AlreadyFired)) = &operation.outcome else {
            continue;
        };
        let Some(read) = history.final_reads.get(&operation.trigger) else {
            continue;
        };
        let versions = cancelled.iter().filter(|(trigger, _)| *trigger == &operation.trigger).count();
        if read.state == State::Cancelled && versions == 1 && moved(history, &operation.trigger) == 0 {
            report(&operation.trigger, "a caller was told that it had fired, it ended cancelled".into());
        }
    }
    violations
}

/// How often a trigger was given a new version after it was first scheduled.
fn moved(history: &History, trigger: &Key) -> usize {
    history
        .operations
        .iter()
        .filter(|operation| &operation.trigger == trigger)
        .filter(|operation| {
            matches!(operation.outcome, Outcome::Ok(Answer::Rescheduled { .. } | Answer::Started { .. }))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, DUE_MS, GENERATION, ID, key};
    use crate::history::{Event, Request};

    #[test]
    fn accepts_good_lives() {
        assert!(check(&fixture::life()).is_empty());
        assert!(check(&fixture::cancelled()).is_empty());
    }

    /// Red when deliveries are not compared with cancellations.
    #[test]
    fn rejects_a_delivery_of_a_cancelled_version() {
        let mut history = fixture::cancelled();
        history.push(Event::Delivery(fixture::delivery(ID, 11 << 12, 2 * DUE_MS)));
        assert_eq!(check(&history).len(), 1);
    }

    /// Red when generations are ignored: an older version may have fired before a new one was cancelled.
    #[test]
    fn accepts_a_cancelled_version_after_another_fired() {
        let mut history = fixture::cancelled();
        history.push(Event::Delivery(fixture::delivery(ID, GENERATION, DUE_MS)));
        assert!(check(&history).is_empty());
    }

    /// Red when receipts of reports are not looked at.
    #[test]
    fn rejects_a_completed_receipt_of_a_cancelled_version() {
        let mut history = fixture::cancelled();
        history.push(Event::Completion(fixture::completion(ID, 11 << 12, 2 * DUE_MS)));
        assert_eq!(check(&history).len(), 1);
    }

    /// Red when a refusal is not held against the end.
    #[test]
    fn rejects_fired_for_the_caller_and_cancelled_at_the_end() {
        let mut history = fixture::life();
        history.deliveries.clear();
        history.completions.clear();
        history.push(Event::Operation(fixture::operation(
            ID,
            900,
            910,
            Request::Cancel { expected_generation: 0 },
            Answer::Refused(Refusal::AlreadyFired),
        )));
        history.final_reads.get_mut(&key(ID)).unwrap().state = State::Cancelled;
        assert_eq!(check(&history).len(), 1);
    }
}
