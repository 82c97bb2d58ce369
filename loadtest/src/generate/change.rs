//! Calls about triggers that exist: cancel, reschedule; what they are answered is told to the oracle.

use harness::call::Problem;
use harness::{caller, clock, record};
use proto::v1;

use super::CALL_WITHIN;
use crate::executors::lock;
use crate::load::Load;
use crate::oracle::Found;
use crate::router::Router;

/// Cancels a trigger, with repeats of the same request. Being told that it has fired is an answer too.
pub async fn cancel(router: &Router, load: &Load, number: u64) {
    lock(&load.oracle).ask_to_cancel(number);
    let request = v1::CancelRequest {
        namespace: "default".into(),
        id: load.id(number),
        expected_generation: 0,
        request_id: uuid::Uuid::now_v7().to_string(),
    };
    let partition = router.partition(&request.id);
    let answer = router
        .call(
            partition,
            CALL_WITHIN,
            |reason| lock(&load.oracle).retry(reason),
            |channel| {
                let request = request.clone();
                async move { caller::scheduler(channel).cancel(request).await }
            },
        )
        .await;
    match answer {
        Ok(_) => lock(&load.oracle).cancel(number),
        Err(problem) => match fired_ms(&problem) {
            Some(fired_ms) => lock(&load.oracle).too_late(number, fired_ms, clock::now_us()),
            None => lock(&load.oracle).fail_change(&format!("cancel {}", problem.label())),
        },
    }
}

/// When a trigger fired, as the refusal of a cancel says; `None` when it says something else.
fn fired_ms(problem: &Problem) -> Option<i64> {
    if !matches!(problem.reason.as_str(), "ALREADY_FIRED" | "ALREADY_ENDED") {
        return None;
    }
    let fired = problem.receipt.as_ref()?.fired.as_ref()?;
    Some(checkers::convert::millis(Some(fired)))
}

/// Moves a trigger to another due time, with repeats of the same request; whether it did.
pub async fn reschedule(router: &Router, load: &Load, number: u64, due_ms: i64) -> bool {
    let request = v1::RescheduleRequest {
        namespace: "default".into(),
        id: load.id(number),
        when: Some(record::at(due_ms)),
        expected_generation: 0,
        request_id: uuid::Uuid::now_v7().to_string(),
    };
    let partition = router.partition(&request.id);
    let answer = router
        .call(
            partition,
            CALL_WITHIN,
            |reason| lock(&load.oracle).retry(reason),
            |channel| {
                let request = request.clone();
                async move { caller::scheduler(channel).reschedule(request).await }
            },
        )
        .await;
    match answer {
        Ok(response) => {
            let due_ms = checkers::convert::millis(response.due.as_ref());
            lock(&load.oracle).reschedule(number, response.generation, due_ms);
            true
        }
        // The call came too late, which is allowed; the trigger fires as it was.
        Err(problem) if fired_ms(&problem).is_some() => false,
        Err(problem) => {
            lock(&load.oracle).fail_change(&format!("reschedule {}", problem.label()));
            false
        }
    }
}

/// Reads the triggers whose cancel got no definite answer, so that nobody waits for those that are cancelled.
///
/// # Errors
///
/// When the cluster does not answer.
pub async fn settle_cancels(caller: &caller::Caller, load: &Load) -> anyhow::Result<()> {
    let open = lock(&load.oracle).open_cancels();
    for number in open {
        settle_cancel(caller, load, number).await?;
    }
    Ok(())
}

/// Reads one of them, unless its cancel got a definite answer.
///
/// # Errors
///
/// When the cluster does not answer.
pub async fn settle_cancel(caller: &caller::Caller, load: &Load, number: u64) -> anyhow::Result<()> {
    if lock(&load.oracle).is_open(number) {
        let found = found(record::get(caller, "default", &load.id(number)).await)?;
        lock(&load.oracle).find(number, found);
    }
    Ok(())
}

/// What a read says about how a trigger is.
///
/// # Errors
///
/// The problem, unless it is that there is no such trigger.
pub fn found(read: Result<v1::Trigger, Problem>) -> anyhow::Result<Found> {
    match read {
        Ok(trigger) => Ok(match trigger.state() {
            v1::TriggerState::Scheduled | v1::TriggerState::Unspecified => Found::Scheduled,
            v1::TriggerState::Cancelled => Found::Cancelled,
            v1::TriggerState::Fired | v1::TriggerState::Completed | v1::TriggerState::DeadLettered => Found::Fired,
        }),
        Err(problem) if problem.reason == "NOT_FOUND" => Ok(Found::Nothing),
        Err(problem) => Err(problem.into()),
    }
}
