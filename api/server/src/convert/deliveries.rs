//! Deliveries and outcomes: between executors and the dispatcher.

use prost::Message;
use proto::v1;
use scheduler::dispatcher::{Delivery, Done, HeldLease, Outcome, OutcomeResult, Verdict};
use scheduler::lane::Generation;
use scheduler::record::Trigger;
use scheduler::time::{Delay, Timestamp};

use super::scalars::{Range, delay, delay_of, moment, token, token_of};
use super::views::receipt;
use crate::error::Error;
use crate::status;
use crate::validate::{self, Violations};

const DAY_MS: u64 = 86_400_000;

/// Work, as an executor gets it.
pub fn deliveries(partition: u32, deliveries: Vec<Delivery>) -> Vec<v1::Delivery> {
    deliveries.into_iter().map(|one| delivery(partition, one)).collect()
}

fn delivery(partition: u32, delivery: Delivery) -> v1::Delivery {
    let Delivery { topic, row, token: fencing, lease, first, .. } = delivery;
    // The row was read and decoded before; one that is no record any more has no content to give.
    let record = Trigger::decode(row.value).unwrap_or_default();
    let due = record.progress.as_ref().map_or(row.position.due, |progress| Timestamp::from_millis(progress.due));
    let shard_key = if record.shard_key.is_empty() { row.id.to_string() } else { record.shard_key };
    v1::Delivery {
        namespace: topic.namespace.to_string(),
        id: row.id.to_string(),
        topic: topic.name.to_string(),
        shard_key,
        shard: u32::from(row.shard),
        payload: record.payload,
        labels: record.labels.into_iter().map(|label| (label.key, label.value)).collect(),
        due: Some(moment(due)),
        fired: Some(moment(row.fired.time)),
        generation: row.position.generation.number(),
        attempt: row.attempt,
        token: Some(token(fencing)),
        lease: Some(delay(lease)),
        partition,
        first,
    }
}

/// A lease an executor names.
///
/// # Errors
///
/// [`Error::Invalid`] with everything that is wrong.
pub fn held_of(lease: v1::HeldLease, field: &str) -> Result<HeldLease, Error> {
    let mut v = Violations::under(format!("{field}."));
    let namespace = v.namespace("namespace", lease.namespace);
    v.id("id", &lease.id);
    v.require(lease.token.is_some(), "token", || "expected the token of the delivery, got none".into());
    v.require(lease.attempt > 0, "attempt", || "expected the attempt of the delivery, from 1".into());
    v.finish(HeldLease {
        namespace: namespace.into(),
        id: lease.id.into(),
        generation: Generation::from_number(lease.generation),
        token: lease.token.map(token_of).unwrap_or_default(),
        attempt: lease.attempt,
    })
}

/// A lease, as an executor names it.
pub fn lease(lease: HeldLease) -> v1::HeldLease {
    v1::HeldLease {
        namespace: lease.namespace.to_string(),
        id: lease.id.to_string(),
        generation: lease.generation.number(),
        token: Some(token(lease.token)),
        attempt: lease.attempt,
    }
}

/// What became of a delivery, as an executor reports it. `sequence` replaces the executor's own.
///
/// # Errors
///
/// [`Error::Invalid`] with everything that is wrong.
pub fn outcome_of(outcome: v1::DeliveryOutcome, sequence: u64) -> Result<Outcome, Error> {
    let field = format!("outcomes[{}]", outcome.sequence);
    let lease = held_of(
        v1::HeldLease {
            namespace: outcome.namespace,
            id: outcome.id,
            generation: outcome.generation,
            token: outcome.token,
            attempt: outcome.attempt,
        },
        &field,
    )?;
    use v1::delivery_outcome::Outcome as Given;
    let mut v = Violations::under(format!("{field}."));
    let result = match outcome.outcome {
        Some(Given::Success(success)) => {
            v.require(success.result.is_some() || !crate::gift::needs_result(&lease.id), "success.result", || {
                "expected what came of it: a gift waits for it".into()
            });
            let business = success.result.map(|result| crate::gift::business_of(&lease.id, &result)).transpose();
            let business = business.unwrap_or_else(|expected| {
                v.push("success.result", expected);
                None
            });
            Done::Success { business: business.unwrap_or_default() }
        }
        Some(Given::Retry(failure)) => {
            let after =
                failure.retry_after.map(|given| delay_of(&mut v, "retry.retry_after", &given, Range(0, DAY_MS)));
            Done::Retry { error: validate::kept(failure.error), after: after.unwrap_or(Delay::ZERO) }
        }
        Some(Given::Fail(failure)) => Done::Fail { error: validate::kept(failure.error) },
        None => {
            v.push("outcome", "expected one of success, retry, fail, got none");
            Done::Fail { error: String::new() }
        }
    };
    v.finish(Outcome { sequence, lease, result })
}

/// What outcomes came to, as an executor gets it.
pub fn outcome_results(partition: u32, results: Vec<OutcomeResult>) -> Vec<v1::OutcomeResult> {
    results.into_iter().map(|result| outcome_result(partition, result)).collect()
}

fn outcome_result(partition: u32, result: OutcomeResult) -> v1::OutcomeResult {
    let (verdict, error) = match result.verdict {
        Verdict::Accepted => (v1::OutcomeVerdict::Accepted, None),
        Verdict::AlreadyDecided => (v1::OutcomeVerdict::AlreadyDecided, None),
        Verdict::Superseded => (v1::OutcomeVerdict::Superseded, None),
        Verdict::NotFound => (v1::OutcomeVerdict::NotFound, None),
        Verdict::Refused(refusal) => {
            (v1::OutcomeVerdict::Error, Some(crate::business::refused(Error::Refused { partition, refusal })))
        }
    };
    v1::OutcomeResult {
        sequence: result.sequence,
        verdict: verdict as i32,
        receipt: result.receipt.map(|found| receipt(partition, &found)),
        error: error.map(status::rpc_status),
    }
}

/// An outcome that could not be brought to anybody who decides.
pub fn outcome_failed(sequence: u64, error: Error) -> v1::OutcomeResult {
    v1::OutcomeResult {
        sequence,
        verdict: v1::OutcomeVerdict::Error as i32,
        receipt: None,
        error: Some(status::rpc_status(error)),
    }
}
