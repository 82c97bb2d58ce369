//! A trigger as it is read.

use proto::v1;
use scheduler::lane::Class;
use scheduler::read::TriggerView;
use scheduler::reply::Outcome;
use scheduler::time::Delay;

use super::scalars::{delay, moment};
use super::views::{local_time, receipt};

/// A trigger as it is read. Whether it is handed out is not known to the rows: `delivered` is false.
pub fn trigger(partition: u32, view: TriggerView) -> v1::Trigger {
    let content = view.content.unwrap_or_default();
    let retry = content.retry.map(|retry| v1::RetryPolicy {
        max_attempts: retry.max_attempts,
        initial_backoff: some_delay(retry.initial_backoff_ms),
        max_backoff: some_delay(retry.max_backoff_ms),
        multiplier_percent: retry.multiplier_percent,
        jitter_percent: retry.jitter_percent_plus_one.saturating_sub(1),
    });
    let late = some_delay(content.skip_when_later_ms).map(|later| v1::LatePolicy { skip_when_later_than: Some(later) });
    let fired = view.receipt.fired.is_some() || !matches!(view.state, Outcome::Scheduled);
    v1::Trigger {
        namespace: view.namespace,
        id: view.id,
        topic: view.topic,
        due: Some(moment(view.due)),
        requested_due: view.requested_due.map(moment),
        shard_key: content.shard_key,
        payload: content.payload,
        labels: content.labels.into_iter().map(|label| (label.key, label.value)).collect(),
        priority: priority(view.class) as i32,
        retry,
        late,
        state: state(view.state) as i32,
        generation: view.generation.number(),
        attempt: view.attempt,
        local_time: content.local.map(local_time),
        delivered: false,
        created: Some(moment(view.created)),
        receipt: fired.then(|| receipt(partition, &view.receipt)),
        last_error: view.last_error,
        retry_at: view.retry_at.map(moment),
    }
}

fn some_delay(ms: u64) -> Option<prost_types::Duration> {
    (ms != 0).then(|| delay(Delay::from_millis(ms)))
}

fn state(outcome: Outcome) -> v1::TriggerState {
    match outcome {
        Outcome::Scheduled => v1::TriggerState::Scheduled,
        // It has fired, and waits for its next attempt.
        Outcome::Fired | Outcome::Retrying => v1::TriggerState::Fired,
        Outcome::Completed => v1::TriggerState::Completed,
        Outcome::Cancelled => v1::TriggerState::Cancelled,
        Outcome::DeadLettered => v1::TriggerState::DeadLettered,
    }
}

fn priority(class: Class) -> v1::Priority {
    match class {
        Class::High => v1::Priority::High,
        Class::Low => v1::Priority::Low,
        Class::Normal | Class::Retry | Class::Dead => v1::Priority::Normal,
    }
}
