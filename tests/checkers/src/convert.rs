//! From protocol messages to recorded facts.

use proto::v1;

use crate::history::{Decided, Delivery, Facts, FinalRead, Key, ReportVerdict, State, Token};

/// Milliseconds since the Unix epoch; an unset moment is 0.
#[must_use]
pub fn millis(moment: Option<&prost_types::Timestamp>) -> i64 {
    moment.map_or(0, |at| at.seconds.saturating_mul(1_000).saturating_add(i64::from(at.nanos) / 1_000_000))
}

/// The facts of a receipt.
#[must_use]
pub fn facts(receipt: &v1::Receipt) -> Facts {
    Facts {
        decided: decided(receipt),
        generation: receipt.generation,
        due_ms: millis(receipt.due.as_ref()),
        fired: receipt.fired.as_ref().map(|at| (millis(Some(at)), receipt.fired_index)),
        outcome: match receipt.outcome() {
            v1::Outcome::Unspecified => State::Absent,
            v1::Outcome::Scheduled => State::Scheduled,
            v1::Outcome::Fired | v1::Outcome::Retrying => State::Fired,
            v1::Outcome::Completed => State::Completed,
            v1::Outcome::Cancelled => State::Cancelled,
            v1::Outcome::DeadLettered => State::DeadLettered,
        },
        executor: receipt.executor.clone(),
        attempt: receipt.attempt,
    }
}

/// Where a receipt says it was decided.
#[must_use]
pub fn decided(receipt: &v1::Receipt) -> Decided {
    Decided { partition: receipt.partition, index: receipt.log_index }
}

/// A token; one that is unset is the lowest.
#[must_use]
pub fn token(token: Option<&v1::FencingToken>) -> Token {
    token.map_or_else(Token::default, |token| Token { epoch: token.epoch, term: token.term, counter: token.counter })
}

/// A delivery as `executor` received it at `received_us`.
#[must_use]
pub fn delivery(executor: &str, delivery: &v1::Delivery, received_us: i64) -> Delivery {
    Delivery {
        executor: executor.to_owned(),
        trigger: Key::new(&delivery.namespace, &delivery.id),
        generation: delivery.generation,
        attempt: delivery.attempt,
        token: token(delivery.token.as_ref()),
        partition: delivery.partition,
        due_ms: millis(delivery.due.as_ref()),
        fired_ms: millis(delivery.fired.as_ref()),
        received_us,
    }
}

/// The server's word about a report.
#[must_use]
pub fn verdict(verdict: v1::OutcomeVerdict) -> ReportVerdict {
    match verdict {
        v1::OutcomeVerdict::Accepted => ReportVerdict::Accepted,
        v1::OutcomeVerdict::AlreadyDecided => ReportVerdict::AlreadyDecided,
        v1::OutcomeVerdict::Superseded => ReportVerdict::Superseded,
        v1::OutcomeVerdict::NotFound => ReportVerdict::NotFound,
        v1::OutcomeVerdict::Error | v1::OutcomeVerdict::Unspecified => ReportVerdict::Error,
    }
}

/// A state of the API.
#[must_use]
pub fn state(state: v1::TriggerState) -> State {
    match state {
        v1::TriggerState::Unspecified => State::Absent,
        v1::TriggerState::Scheduled => State::Scheduled,
        v1::TriggerState::Fired => State::Fired,
        v1::TriggerState::Completed => State::Completed,
        v1::TriggerState::DeadLettered => State::DeadLettered,
        v1::TriggerState::Cancelled => State::Cancelled,
    }
}

/// What a read at `read_us` said.
#[must_use]
pub fn final_read(trigger: &v1::Trigger, read_us: i64) -> FinalRead {
    FinalRead {
        trigger: Key::new(&trigger.namespace, &trigger.id),
        state: state(trigger.state()),
        topic: trigger.topic.clone(),
        generation: trigger.generation,
        due_ms: millis(trigger.due.as_ref()),
        attempt: trigger.attempt,
        leased: trigger.delivered,
        retry_at_ms: trigger.retry_at.as_ref().map(|at| millis(Some(at))),
        receipt: trigger.receipt.as_ref().map(facts),
        read_us,
    }
}

/// A read that found nothing.
#[must_use]
pub fn absent(trigger: Key, read_us: i64) -> FinalRead {
    FinalRead {
        trigger,
        state: State::Absent,
        topic: String::new(),
        generation: 0,
        due_ms: 0,
        attempt: 0,
        leased: false,
        retry_at_ms: None,
        receipt: None,
        read_us,
    }
}
