//! Between the core and the public protocol: what the server's `convert` and `status` do for the calls made here.

use std::time::Duration;

use client::{Error, Reason, Refusal as Refused};
use prost::Message as _;

use proto::v1;
use scheduler::command::Token;
use scheduler::dispatcher::{Delivery, Done, Extended, HeldLease, Hello, Outcome, OutcomeResult, Verdict};
use scheduler::lane::Generation;
use scheduler::record::Trigger;
use scheduler::reply::{Outcome as State, Receipt, Refusal, Reply};
use scheduler::time::{Delay, Timestamp};
use tonic::Code;

use crate::world::{Said, endpoint};

/// A moment as the protocol writes it.
#[must_use]
pub fn moment(at: Timestamp) -> prost_types::Timestamp {
    let ms = at.as_millis();
    prost_types::Timestamp { seconds: (ms / 1_000) as i64, nanos: (ms % 1_000) as i32 * 1_000_000 }
}

fn token(token: Token) -> v1::FencingToken {
    v1::FencingToken { epoch: token.epoch, term: token.term, counter: token.counter }
}

fn token_of(token: Option<v1::FencingToken>) -> Token {
    token.map_or_else(Token::default, |token| Token { epoch: token.epoch, term: token.term, counter: token.counter })
}

/// Work, as an executor gets it.
#[must_use]
pub fn delivery(delivery: Delivery) -> v1::Delivery {
    let Delivery { topic, row, token: fencing, lease, first, .. } = delivery;
    let record = Trigger::decode(row.value).unwrap_or_default();
    let due = record.progress.as_ref().map_or(row.position.due, |progress| Timestamp::from_millis(progress.due));
    let shard_key = if record.shard_key.is_empty() { row.id.to_string() } else { record.shard_key };
    let ms = lease.as_millis();
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
        lease: Some(prost_types::Duration { seconds: (ms / 1_000) as i64, nanos: (ms % 1_000) as i32 * 1_000_000 }),
        partition: 0,
        first,
    }
}

/// What the node itself makes of a trigger whose payload is the command that completes it.
#[must_use]
pub fn run_internal(delivery: Delivery) -> Outcome {
    let record = Trigger::decode(delivery.row.value.clone()).unwrap_or_default();
    Outcome {
        sequence: delivery.row.position.generation.number(),
        result: Done::Success { business: record.payload },
        lease: HeldLease {
            namespace: delivery.topic.namespace.clone(),
            id: delivery.row.id,
            generation: delivery.row.position.generation,
            token: delivery.token,
            attempt: delivery.row.attempt,
        },
    }
}

/// A hello, as the dispatcher takes it.
#[must_use]
pub fn hello(hello: v1::Hello) -> Hello {
    Hello {
        executor: hello.executor.into(),
        namespace: hello.namespace.into(),
        topics: hello.topics.into_iter().map(Into::into).collect(),
        in_flight_max: hello.max_in_flight,
        held: hello.held.into_iter().map(held).collect(),
        poll: false,
    }
}

/// A lease an executor names.
#[must_use]
pub fn held(lease: v1::HeldLease) -> HeldLease {
    HeldLease {
        namespace: lease.namespace.into(),
        id: lease.id.into(),
        generation: Generation::from_number(lease.generation),
        token: token_of(lease.token),
        attempt: lease.attempt,
    }
}

/// A lease, as an executor names it.
#[must_use]
pub fn lease(lease: HeldLease) -> v1::HeldLease {
    v1::HeldLease {
        namespace: lease.namespace.to_string(),
        id: lease.id.to_string(),
        generation: lease.generation.number(),
        token: Some(token(lease.token)),
        attempt: lease.attempt,
    }
}

/// The answer to an extension.
#[must_use]
pub fn extended(extended: Extended) -> v1::ExtendResults {
    v1::ExtendResults {
        extended: extended.extended.into_iter().map(lease).collect(),
        lost: extended.lost.into_iter().map(lease).collect(),
    }
}

/// What became of a delivery, as an executor reports it.
#[must_use]
pub fn outcome(outcome: v1::DeliveryOutcome) -> Outcome {
    use v1::delivery_outcome::Outcome as Given;
    let result = match outcome.outcome {
        // What came of it is the command itself here.
        Some(Given::Success(success)) => {
            Done::Success { business: success.result.map(|result| result.value.into()).unwrap_or_default() }
        }
        Some(Given::Retry(failure)) => {
            let after = failure.retry_after.and_then(|after| Duration::try_from(after).ok()).unwrap_or_default();
            Done::Retry { error: failure.error, after: Delay::from_millis(after.as_millis() as u64) }
        }
        Some(Given::Fail(failure)) => Done::Fail { error: failure.error },
        None => Done::Fail { error: String::new() },
    };
    Outcome {
        sequence: outcome.sequence,
        lease: held(v1::HeldLease {
            namespace: outcome.namespace,
            id: outcome.id,
            generation: outcome.generation,
            token: outcome.token,
            attempt: outcome.attempt,
        }),
        result,
    }
}

/// What an outcome came to, as an executor gets it.
#[must_use]
pub fn result(result: OutcomeResult) -> v1::OutcomeResult {
    let (verdict, error) = match result.verdict {
        Verdict::Accepted => (v1::OutcomeVerdict::Accepted, None),
        Verdict::AlreadyDecided => (v1::OutcomeVerdict::AlreadyDecided, None),
        Verdict::Superseded => (v1::OutcomeVerdict::Superseded, None),
        Verdict::NotFound => (v1::OutcomeVerdict::NotFound, None),
        Verdict::Refused(refusal) => {
            let code = Code::FailedPrecondition as i32;
            (v1::OutcomeVerdict::Error, Some(proto::RpcStatus { code, message: refusal.to_string(), details: vec![] }))
        }
    };
    v1::OutcomeResult {
        sequence: result.sequence,
        verdict: verdict as i32,
        receipt: result.receipt.as_ref().map(receipt),
        error,
    }
}

/// A receipt.
#[must_use]
pub fn receipt(receipt: &Receipt) -> v1::Receipt {
    v1::Receipt {
        partition: 0,
        log_index: receipt.log_index,
        generation: receipt.generation.number(),
        due: Some(moment(receipt.due)),
        fired: receipt.fired.map(|fired| moment(fired.time)),
        fired_index: receipt.fired.map_or(0, |fired| fired.index),
        outcome: match receipt.outcome {
            State::Scheduled => v1::Outcome::Scheduled,
            State::Fired => v1::Outcome::Fired,
            State::Completed => v1::Outcome::Completed,
            State::Cancelled => v1::Outcome::Cancelled,
            State::DeadLettered => v1::Outcome::DeadLettered,
            State::Retrying => v1::Outcome::Retrying,
        } as i32,
        decided: Some(moment(receipt.decided)),
        executor: receipt.executor.clone(),
        attempt: receipt.attempt,
        token: receipt.token.map(token),
    }
}

/// The reply to a command, as its caller sees it.
///
/// # Errors
///
/// The refusal.
pub fn said(reply: Reply) -> Result<Said, Error> {
    match reply {
        // A rule of a domain, which its callers read in the domain's own words.
        Reply::Refused(Refusal::Business(_)) => Ok(Said::Decided(reply)),
        Reply::Refused(refusal) => Err(refused(&refusal)),
        reply => Ok(Said::Decided(reply)),
    }
}

fn refused(refusal: &Refusal) -> Error {
    let (code, reason) = match refusal {
        Refusal::NotFound => (Code::NotFound, Reason::NotFound),
        Refusal::AlreadyExists(_) => (Code::AlreadyExists, Reason::AlreadyExists),
        Refusal::AlreadyFired(_) => (Code::FailedPrecondition, Reason::AlreadyFired),
        Refusal::AlreadyEnded(_) => (Code::FailedPrecondition, Reason::AlreadyEnded),
        Refusal::NotDeadLettered(_) => (Code::FailedPrecondition, Reason::NotDeadLettered),
        Refusal::VersionMismatch { .. } => (Code::Aborted, Reason::VersionMismatch),
        Refusal::RequestTooOld { .. } => (Code::FailedPrecondition, Reason::RequestTooOld),
        Refusal::BeyondHorizon { .. } => (Code::InvalidArgument, Reason::BeyondHorizon),
        Refusal::StaleTopicVersion { .. } => (Code::Aborted, Reason::TopicVersionStale),
        Refusal::TooManyTopics { .. } => (Code::FailedPrecondition, Reason::TooManyTopics),
        Refusal::Invalid { .. } => (Code::InvalidArgument, Reason::InvalidField),
        Refusal::Business(_) => (Code::FailedPrecondition, Reason::DomainRefused),
    };
    error(code, reason, refusal.to_string(), None, None)
}

fn error(code: Code, reason: Reason, message: String, leader: Option<usize>, retry_after_ms: Option<u64>) -> Error {
    let metadata = leader.map(|leader| ("leader_endpoint".to_owned(), endpoint(leader))).into_iter().collect();
    let retry_after = retry_after_ms.map(Duration::from_millis);
    Error::Refused(Box::new(Refused { code, reason, message, metadata, fields: vec![], retry_after, receipt: None }))
}

/// Another node leads.
#[must_use]
pub fn not_leader(leader: Option<usize>) -> Error {
    error(Code::Unavailable, Reason::NotLeader, "another node leads".into(), leader, Some(50))
}

/// No majority answers.
#[must_use]
pub fn no_quorum() -> Error {
    error(Code::Unavailable, Reason::NoQuorum, "no majority of replicas can be reached".into(), None, Some(200))
}

/// Leadership was lost on the way.
#[must_use]
pub fn outcome_unknown() -> Error {
    error(Code::Unavailable, Reason::OutcomeUnknown, "leadership was lost".into(), None, Some(50))
}

/// Time is held.
#[must_use]
pub fn clock_held() -> Error {
    error(Code::Unavailable, Reason::ClockHeld, "no majority of clocks agrees".into(), None, Some(1_000))
}
