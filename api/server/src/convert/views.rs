//! What the core knows becomes an answer here.

use proto::admin::v1 as admin;
use proto::v1;
use scheduler::command;
use scheduler::dispatcher::{Late, LateCause};
use scheduler::reply::{Outcome, Receipt};

use super::scalars::{delay, moment, token};

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

/// A trigger that was late in a partition this node led.
pub fn late_trigger(node: u64, partition: u32, late: &Late) -> admin::LateTrigger {
    let cause = match late.cause {
        LateCause::NoLeader => admin::LateCause::NoLeader,
        LateCause::Consensus => admin::LateCause::Consensus,
        LateCause::DispatchQueue => admin::LateCause::DispatchQueue,
        LateCause::RateLimit => admin::LateCause::RateLimit,
        LateCause::NoCredit => admin::LateCause::NoCredit,
        LateCause::Executor => admin::LateCause::Executor,
    };
    admin::LateTrigger {
        node,
        partition,
        namespace: late.topic.namespace.to_string(),
        topic: late.topic.name.to_string(),
        id: late.id.to_string(),
        due: Some(moment(late.due)),
        until: Some(moment(late.until)),
        late: Some(delay(late.until.since(late.due))),
        cause: cause as i32,
        detail: late.detail.into(),
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
