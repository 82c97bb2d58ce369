//! Deliveries of one (id, generation) carry growing tokens: whoever led before has nothing to say any more. And what was
//! counted as an attempt is not counted again: one leader hands out one attempt once.

use std::collections::BTreeMap;

use crate::history::{Delivery, History, Key, ReportVerdict, Token};
use crate::verdict::{Options, Violation};

pub(crate) const PROMISE: &str = "fencing";

/// Looks for deliveries that arrived with a token lower than one seen before, for tokens used twice, and for attempts that
/// one leader made twice.
#[must_use]
pub fn check(history: &History, options: &Options) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut report = |trigger: &Key, detail: String| {
        violations.push(Violation { promise: PROMISE, trigger: trigger.clone(), detail });
    };
    let mut in_order: Vec<&Delivery> = history.deliveries.iter().collect();
    in_order.sort_by_key(|delivery| delivery.received_us);
    let mut newest: BTreeMap<(&Key, u64), &Delivery> = BTreeMap::new();
    let mut used: BTreeMap<(u32, Token), &Delivery> = BTreeMap::new();
    let mut made: BTreeMap<(&Key, u64, u32, u64, u64), Token> = BTreeMap::new();
    for delivery in in_order {
        let trigger = &delivery.trigger;
        let newest = newest.entry((trigger, delivery.generation)).or_insert(delivery);
        let before = std::mem::replace(newest, if newest.token > delivery.token { newest } else { delivery });
        if !std::ptr::eq(before, delivery)
            && before.token >= delivery.token
            && !held_back(before, delivery, options.held_back_us)
        {
            report(
                trigger,
                format!(
                    "generation {}: {:?} to {} came after {:?} to {}",
                    delivery.generation, delivery.token, delivery.executor, before.token, before.executor
                ),
            );
        }
        let Token { epoch, term, .. } = delivery.token;
        let attempt = (trigger, delivery.generation, delivery.attempt, epoch, term);
        if let Some(before) = made.insert(attempt, delivery.token)
            && before != delivery.token
        {
            let (generation, attempt) = (delivery.generation, delivery.attempt);
            report(
                trigger,
                format!(
                    "generation {generation}: attempt {attempt} was made twice, with {before:?} and {:?}",
                    delivery.token
                ),
            );
        }
        if let Some(other) = used.insert((delivery.partition, delivery.token), delivery)
            && (&other.trigger, other.generation) != (trigger, delivery.generation)
        {
            report(
                trigger,
                format!("{:?} of partition {} was used for {} too", delivery.token, delivery.partition, other.trigger),
            );
        }
    }
    // A report for a retry or failure counts with the newest token only; a completion from any. A superseded report
    // whose token was never overtaken was refused for no reason, and its trigger would hang until the lease runs out.
    for completion in &history.completions {
        if completion.verdict != ReportVerdict::Superseded {
            continue;
        }
        let overtaken = history.deliveries.iter().any(|delivery| {
            delivery.trigger == completion.trigger
                && (delivery.generation, delivery.token) > (completion.generation, completion.token)
        });
        let moved = history
            .final_reads
            .get(&completion.trigger)
            .is_none_or(|read| read.generation > completion.generation || read.attempt >= completion.attempt);
        if !overtaken && !moved {
            report(&completion.trigger, format!("report with {:?} was superseded by nothing", completion.token));
        }
    }
    violations
}

/// Whether a delivery is of an older leader than one before it, and not later than what stood between its sending and its
/// arrival explains. A process can be stopped after it has looked whether it leads; whoever has seen the higher token knows.
fn held_back(before: &Delivery, delivery: &Delivery, within_us: i64) -> bool {
    let leader = |delivery: &Delivery| (delivery.token.epoch, delivery.token.term);
    leader(delivery) < leader(before) && delivery.received_us - before.received_us <= within_us
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, DUE_MS, GENERATION, ID};
    use crate::history::{Event, Report};

    fn redelivered(term: u64, counter: u64, later_us: i64) -> Delivery {
        let mut delivery = fixture::delivery(ID, GENERATION, DUE_MS);
        delivery.token = Token { epoch: 1, term, counter };
        delivery.received_us += later_us;
        delivery
    }

    #[test]
    fn accepts_growing_tokens() {
        let mut history = fixture::life();
        history.push(Event::Delivery(Delivery { attempt: 2, ..redelivered(1, 2, 10) }));
        history.push(Event::Delivery(Delivery { attempt: 2, ..redelivered(2, 1, 20) }));
        assert!(check(&history, &Options::default()).is_empty());
    }

    /// Red when attempts are not told apart by their number, or leaders by their term.
    #[test]
    fn rejects_one_attempt_made_twice_by_one_leader() {
        let mut history = fixture::life();
        history.push(Event::Delivery(redelivered(1, 2, 10)));
        assert_eq!(check(&history, &Options::default()).len(), 1);
    }

    /// Red when what is granted to a stopped process is granted to the leader itself, or for ever.
    #[test]
    fn an_older_leader_may_be_heard_late_where_that_is_granted() {
        let mut history = fixture::life();
        history.push(Event::Delivery(redelivered(2, 1, 10)));
        history.push(Event::Delivery(Delivery { attempt: 2, ..redelivered(1, 9, 500) }));
        let granted = |held_back_us| check(&history, &Options { held_back_us, ..Options::default() }).len();
        assert_eq!((granted(0), granted(489), granted(490)), (1, 1, 0));
        let mut history = fixture::life();
        history.push(Event::Delivery(Delivery { attempt: 2, ..redelivered(2, 9, 10) }));
        history.push(Event::Delivery(Delivery { attempt: 3, ..redelivered(2, 8, 20) }));
        assert_eq!(check(&history, &Options { held_back_us: 1_000, ..Options::default() }).len(), 1);
    }

    /// Red when terms are not compared before counters.
    #[test]
    fn rejects_a_delivery_of_an_old_leader() {
        let mut history = fixture::life();
        history.push(Event::Delivery(redelivered(2, 1, 10)));
        history.push(Event::Delivery(Delivery { attempt: 2, ..redelivered(1, 9, 20) }));
        assert_eq!(check(&history, &Options::default()).len(), 1);
    }

    /// Red when a counter that starts again is not noticed.
    #[test]
    fn rejects_a_token_used_for_two_triggers() {
        let mut history = fixture::life();
        history.push(Event::Delivery(fixture::delivery("gift-2", 11 << 12, DUE_MS)));
        assert_eq!(check(&history, &Options::default()).len(), 1);
    }

    /// Red when a refusal needs no cause.
    #[test]
    fn rejects_superseded_by_nothing() {
        let mut history = fixture::life();
        let mut refused = fixture::completion(ID, GENERATION, DUE_MS);
        refused.report = Report::Retry;
        refused.verdict = ReportVerdict::Superseded;
        history.push(Event::Completion(refused));
        assert_eq!(check(&history, &Options::default()).len(), 1);
    }
}
