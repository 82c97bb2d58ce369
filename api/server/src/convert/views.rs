//! What the core knows becomes an answer here.

use proto::v1;
use scheduler::command;
use scheduler::reply::{Outcome, Receipt, Refusal, Reply};

use super::scalars::{moment, token};
use crate::error::Error;
use crate::status;

/// A receipt.
pub fn receipt(partition: u32, receipt: &Receipt) -> v1::Receipt {
    v1::Receipt {
        partition,
        log_index: receipt.log_index,
        generation: receipt.generation.number(),
        due: Some(moment(receipt.due)),
        fired: receipt.fired.map(|fired| moment(fired.time)),
        fired_index: receipt.fired.map_or(0, |fired| fired.index),
        outcome: outcome(receipt.outcome) as i32,
        decided: Some(moment(receipt.decided)),
        executor: receipt.executor.clone(),
        attempt: receipt.attempt,
        token: receipt.token.map(token),
    }
}

/// How a local time was resolved.
pub fn local_time(local: command::LocalTime) -> v1::LocalTime {
    v1::LocalTime {
        date_time: local.date_time,
        time_zone: local.zone,
        policy: i32::try_from(local.policy).unwrap_or_default(),
        tzdb_version: local.tzdb,
    }
}

/// The answer to a Schedule that was not refused.
pub fn schedule_response(
    partition: u32,
    namespace: String,
    id: String,
    found: &Receipt,
    replayed: bool,
    local: Option<command::LocalTime>,
) -> v1::ScheduleResponse {
    v1::ScheduleResponse {
        namespace,
        id,
        due: Some(moment(found.due)),
        generation: found.generation.number(),
        receipt: Some(receipt(partition, found)),
        replayed,
        local_time: local.map(local_time),
    }
}

/// The answer to one reported outcome. A refusal is an answer too: the trigger is not there any more.
pub fn outcome_result(partition: u32, sequence: u64, reply: Result<Reply, Error>) -> v1::OutcomeResult {
    let result = |verdict: v1::OutcomeVerdict, found: Option<Receipt>| v1::OutcomeResult {
        sequence,
        verdict: verdict as i32,
        receipt: found.map(|found| receipt(partition, &found)),
        error: None,
    };
    let failed = |error: Error| v1::OutcomeResult {
        sequence,
        verdict: v1::OutcomeVerdict::Error as i32,
        receipt: None,
        error: Some(status::rpc_status(error)),
    };
    match reply {
        Ok(Reply::Decided(found) | Reply::Ended(found)) => result(v1::OutcomeVerdict::Accepted, Some(found)),
        Ok(Reply::AlreadyDecided(found)) => result(v1::OutcomeVerdict::AlreadyDecided, Some(found)),
        Ok(Reply::Superseded) => result(v1::OutcomeVerdict::Superseded, None),
        Ok(Reply::Refused(Refusal::NotFound)) => result(v1::OutcomeVerdict::NotFound, None),
        Ok(Reply::Refused(Refusal::AlreadyEnded(found))) => {
            result(v1::OutcomeVerdict::AlreadyDecided, Some(found))
        }
        Ok(Reply::Refused(refusal)) => failed(Error::Refused { partition, refusal }),
        Ok(other) => failed(Error::Internal(format!("an outcome was answered with {other:?}"))),
        Err(error) => failed(error),
    }
}

fn outcome(outcome: Outcome) -> v1::Outcome {
    match outcome {
        Outcome::Scheduled => v1::Outcome::Scheduled,
        Outcome::Fired => v1::Outcome::Fired,
        Outcome::Completed => v1::Outcome::Completed,
        Outcome::Cancelled => v1::Outcome::Cancelled,
        Outcome::DeadLettered => v1::Outcome::DeadLettered,
        Outcome::Retrying => v1::Outcome::Retrying,
    }
}
