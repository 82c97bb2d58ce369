//! Never fired early: in replicated time by not one millisecond, on the wall clock by no more than was granted.

use std::collections::BTreeMap;

use crate::history::{Answer, Facts, History, Key, Outcome, Request};
use crate::verdict::{Options, Violation};

pub(crate) const PROMISE: &str = "never fired early";

/// Compares deliveries and receipts with the due times that were acknowledged, and those with what was asked for.
#[must_use]
pub fn check(history: &History, options: &Options) -> Vec<Violation> {
    let acknowledged = acknowledged(history);
    let mut violations = Vec::new();
    let mut report = |trigger: &Key, detail: String| {
        violations.push(Violation { promise: PROMISE, trigger: trigger.clone(), detail });
    };
    for operation in &history.operations {
        let (Request::Schedule { due_ms: Some(asked) } | Request::Reschedule { due_ms: Some(asked), .. }) =
            operation.request
        else {
            continue;
        };
        // A moment in the past becomes the present, never the other way round. A repeated request is answered as the
        // first of its kind, which may have been moved since.
        if let Outcome::Ok(Answer::Scheduled { due_ms, replayed: false, .. } | Answer::Rescheduled { due_ms, .. }) =
            operation.outcome
            && due_ms < asked
        {
            report(&operation.trigger, format!("due {asked} was asked for, {due_ms} was promised"));
        }
    }
    for delivery in &history.deliveries {
        let trigger = &delivery.trigger;
        // What the client was told binds, not what the delivery says about itself.
        let due_ms =
            acknowledged.get(&(trigger, delivery.generation)).copied().unwrap_or(delivery.due_ms).max(delivery.due_ms);
        if delivery.fired_ms < due_ms {
            report(trigger, format!("due {due_ms}, fired {} in replicated time", delivery.fired_ms));
        }
        let early_us = due_ms * 1_000 - delivery.received_us;
        if early_us > options.clock_error_us {
            report(trigger, format!("due {due_ms}, delivered {early_us} µs before that"));
        }
    }
    let receipts = history
        .completions
        .iter()
        .filter_map(|completion| Some((&completion.trigger, completion.receipt.as_ref()?)))
        .chain(history.final_reads.values().filter_map(|read| Some((&read.trigger, read.receipt.as_ref()?))));
    for (trigger, Facts { fired, due_ms, generation, .. }) in receipts {
        let due_ms = acknowledged.get(&(trigger, *generation)).copied().unwrap_or(*due_ms).max(*due_ms);
        if let Some((fired_ms, index)) = fired
            && *fired_ms < due_ms
        {
            report(trigger, format!("due {due_ms}, receipt says fired {fired_ms} by entry {index}"));
        }
    }
    violations
}

/// Due times by version, as clients were told.
fn acknowledged(history: &History) -> BTreeMap<(&Key, u64), i64> {
    history
        .operations
        .iter()
        .filter_map(|operation| match &operation.outcome {
            Outcome::Ok(
                Answer::Scheduled { generation, due_ms, .. } | Answer::Rescheduled { generation, due_ms, .. },
            ) => Some(((&operation.trigger, *generation), *due_ms)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, ID, key};

    fn found(history: &History) -> usize {
        check(history, &Options::default()).len()
    }

    #[test]
    fn accepts_a_good_life() {
        assert_eq!(found(&fixture::life()), 0);
    }

    /// Red when the arrival is not compared with the due time.
    #[test]
    fn rejects_a_delivery_before_its_due_time() {
        let mut history = fixture::life();
        history.deliveries[0].received_us -= 701;
        assert_eq!(found(&history), 1);
        let granted = Options { clock_error_us: 1, ..Options::default() };
        assert!(check(&history, &granted).is_empty());
    }

    /// Red when replicated time is given the tolerance of the wall clock.
    #[test]
    fn rejects_an_early_watermark_whatever_is_granted() {
        let mut history = fixture::life();
        history.deliveries[0].fired_ms -= 1;
        let granted = Options { clock_error_us: 1_000_000, ..Options::default() };
        assert_eq!(check(&history, &granted).len(), 1);
    }

    /// Red when the delivery's own due time is believed.
    #[test]
    fn rejects_a_delivery_that_carries_an_earlier_due_time() {
        let mut history = fixture::life();
        let delivery = &mut history.deliveries[0];
        delivery.due_ms -= 500;
        delivery.fired_ms -= 500;
        delivery.received_us -= 500_000;
        assert!(found(&history) > 0);
    }

    /// Red when what was asked for is not compared.
    #[test]
    fn rejects_a_promise_before_what_was_asked_for() {
        let mut history = fixture::life();
        if let Request::Schedule { due_ms } = &mut history.operations[0].request {
            *due_ms = Some(fixture::DUE_MS + 1);
        }
        assert_eq!(found(&history), 1);
    }

    /// Red when receipts are not looked at.
    #[test]
    fn rejects_an_early_receipt() {
        let mut history = fixture::life();
        let receipt = &mut history.final_reads.get_mut(&key(ID)).unwrap().receipt;
        receipt.as_mut().unwrap().fired = Some((999_999, 20));
        assert_eq!(found(&history), 1);
    }
}
