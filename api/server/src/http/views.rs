//! What several services say: a trigger and what belongs to it, in the protocol's own JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::scalars::{Length, Moment, Number, names};

names! {
    /// Where a trigger is in its life.
    TriggerState = v1::TriggerState {
        /// Not known to this node.
        Unspecified = "TRIGGER_STATE_UNSPECIFIED",
        /// Waits for its due time. Can be cancelled and rescheduled.
        Scheduled = "TRIGGER_STATE_SCHEDULED",
        /// Released for delivery by the log. Can no longer be cancelled.
        Fired = "TRIGGER_STATE_FIRED",
        /// Done.
        Completed = "TRIGGER_STATE_COMPLETED",
        /// Given up. Can be requeued or dropped.
        DeadLettered = "TRIGGER_STATE_DEAD_LETTERED",
        /// Never to be done.
        Cancelled = "TRIGGER_STATE_CANCELLED",
    }
}

names! {
    /// Order in which due triggers of one topic are handed out; due time decides within a class.
    Priority = v1::Priority {
        /// As normal.
        Unspecified = "PRIORITY_UNSPECIFIED",
        /// First.
        High = "PRIORITY_HIGH",
        /// The default.
        Normal = "PRIORITY_NORMAL",
        /// Last.
        Low = "PRIORITY_LOW",
    }
}

names! {
    /// What a local time means that a clock change skipped or doubled.
    LocalTimePolicy = v1::LocalTimePolicy {
        /// As compatible.
        Unspecified = "LOCAL_TIME_POLICY_UNSPECIFIED",
        /// A skipped time moves later by the gap, a doubled one means the earlier. The default.
        Compatible = "LOCAL_TIME_POLICY_COMPATIBLE",
        /// The earlier.
        Earlier = "LOCAL_TIME_POLICY_EARLIER",
        /// The later.
        Later = "LOCAL_TIME_POLICY_LATER",
        /// Refuse it.
        Reject = "LOCAL_TIME_POLICY_REJECT",
    }
}

names! {
    /// What became of a trigger, or of a command about it.
    Outcome = v1::Outcome {
        /// Not known to this node.
        Unspecified = "OUTCOME_UNSPECIFIED",
        /// It waits for its due time.
        Scheduled = "OUTCOME_SCHEDULED",
        /// It was released for delivery.
        Fired = "OUTCOME_FIRED",
        /// It is done.
        Completed = "OUTCOME_COMPLETED",
        /// It was cancelled.
        Cancelled = "OUTCOME_CANCELLED",
        /// It was given up.
        DeadLettered = "OUTCOME_DEAD_LETTERED",
        /// An attempt failed, and another one will be made.
        Retrying = "OUTCOME_RETRYING",
    }
}

/// A wall-clock time in a zone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalTime {
    /// With minutes, seconds or milliseconds.
    #[schema(example = "2027-02-14T00:00")]
    pub date_time: String,
    /// IANA name.
    #[schema(example = "Asia/Seoul")]
    pub time_zone: String,
    /// For a time that a clock change skipped or doubled.
    #[serde(default = "unspecified_policy")]
    #[schema(default = "LOCAL_TIME_POLICY_COMPATIBLE")]
    pub policy: LocalTimePolicy,
    /// In answers: version of the zone database that resolved it. Not looked at in requests.
    #[serde(default)]
    pub tzdb_version: String,
}

fn unspecified_policy() -> LocalTimePolicy {
    LocalTimePolicy::Unspecified
}

impl From<v1::LocalTime> for LocalTime {
    fn from(local: v1::LocalTime) -> Self {
        LocalTime {
            date_time: local.date_time,
            time_zone: local.time_zone,
            policy: LocalTimePolicy::of(local.policy),
            tzdb_version: local.tzdb_version,
        }
    }
}

impl From<LocalTime> for v1::LocalTime {
    fn from(local: LocalTime) -> Self {
        v1::LocalTime {
            date_time: local.date_time,
            time_zone: local.time_zone,
            policy: local.policy.number(),
            tzdb_version: String::new(),
        }
    }
}

/// What happens after a retryable failure or a lease that ran out. What is left out, or 0, comes from the topic.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// 1 to 100; 1 means no retry. Default 5.
    #[schema(maximum = 100)]
    pub max_attempts: u32,
    /// Delay before the second attempt, 1 ms to 1 h. Default 1 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_backoff: Option<Length>,
    /// Upper bound of the delay, at most 24 h. Default 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<Length>,
    /// Growth of the delay in percent, 100 to 1000: 200 doubles it. Default 200.
    #[schema(maximum = 1000)]
    pub multiplier_percent: u32,
    /// Jitter in percent of the delay, taken off it, up to 100. Default 20.
    #[schema(maximum = 100)]
    pub jitter_percent: u32,
}

impl From<v1::RetryPolicy> for RetryPolicy {
    fn from(retry: v1::RetryPolicy) -> Self {
        RetryPolicy {
            max_attempts: retry.max_attempts,
            initial_backoff: retry.initial_backoff.map(Length),
            max_backoff: retry.max_backoff.map(Length),
            multiplier_percent: retry.multiplier_percent,
            jitter_percent: retry.jitter_percent,
        }
    }
}

impl From<RetryPolicy> for v1::RetryPolicy {
    fn from(retry: RetryPolicy) -> Self {
        v1::RetryPolicy {
            max_attempts: retry.max_attempts,
            initial_backoff: retry.initial_backoff.map(|Length(length)| length),
            max_backoff: retry.max_backoff.map(|Length(length)| length),
            multiplier_percent: retry.multiplier_percent,
            jitter_percent: retry.jitter_percent,
        }
    }
}

/// What happens when a trigger becomes deliverable long after its due time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LatePolicy {
    /// Left out: fire however late. Else a trigger that would first be delivered later than this after its due time is
    /// dead-lettered. 1 s to 30 d.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_when_later_than: Option<Length>,
}

/// Grows with every delivery of the partition: downstream systems refuse anything older. Compare epoch, then term, then counter.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FencingToken {
    /// Of the cluster.
    pub epoch: Number,
    /// Of the leader.
    pub term: Number,
    /// Within the term.
    pub counter: Number,
}

/// Proof of what the log decided. The same whoever asks and whenever.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The partition.
    pub partition: u32,
    /// Log index of the entry that decided the outcome.
    pub log_index: Number,
    /// Of the trigger.
    pub generation: Number,
    /// When it was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Moment>,
    /// Replicated time of the entry that fired it; left out while it has not fired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fired: Option<Moment>,
    /// Log index of the entry that fired it; 0 while it has not fired.
    pub fired_index: Number,
    /// What was decided.
    pub outcome: Outcome,
    /// Replicated time of the entry that decided it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<Moment>,
    /// Executor whose completion or failure was accepted.
    pub executor: String,
    /// Attempt that ended it, counted from 1.
    pub attempt: u32,
    /// Of the delivery that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<FencingToken>,
}

impl From<v1::Receipt> for Receipt {
    fn from(receipt: v1::Receipt) -> Self {
        let token = |token: v1::FencingToken| FencingToken {
            epoch: Number(token.epoch),
            term: Number(token.term),
            counter: Number(token.counter),
        };
        Receipt {
            partition: receipt.partition,
            log_index: Number(receipt.log_index),
            generation: Number(receipt.generation),
            due: receipt.due.map(Moment),
            fired: receipt.fired.map(Moment),
            fired_index: Number(receipt.fired_index),
            outcome: Outcome::of(receipt.outcome),
            decided: receipt.decided.map(Moment),
            executor: receipt.executor,
            attempt: receipt.attempt,
            token: receipt.token.map(token),
        }
    }
}

/// A piece of work with a due time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Tenant boundary.
    pub namespace: String,
    /// Unique within the namespace.
    pub id: String,
    /// Name of the handler it is for.
    pub topic: String,
    /// The millisecond it is meant to fire. Never fired before, in replicated time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Moment>,
    /// The due time as it was asked for, when that was behind the replicated time and the trigger fires at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_due: Option<Moment>,
    /// Decides which executor gets it; the id when empty.
    pub shard_key: String,
    /// What the executor gets, in base64.
    #[schema(example = "67O07Iug6rCB")]
    pub payload: String,
    /// The same as text, when it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "보신각")]
    pub payload_text: Option<String>,
    /// The caller's own.
    pub labels: BTreeMap<String, String>,
    /// Class within the topic.
    pub priority: Priority,
    /// As asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// As asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<LatePolicy>,
    /// Where it is in its life.
    pub state: TriggerState,
    /// This version of it. Changes with reschedule, run-now and requeue; what those and cancel may expect.
    pub generation: Number,
    /// How often it was handed to an executor and did not end well.
    pub attempt: u32,
    /// Where the due time came from, when it was a local time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_time: Option<LocalTime>,
    /// Advice from the leader's memory: it is handed out under a lease right now. A watch does not know.
    pub delivered: bool,
    /// When it was scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Moment>,
    /// There once it has fired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// Why the last attempt failed, if one did.
    pub last_error: String,
    /// When a failed attempt is due to be made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Moment>,
}

impl From<v1::Trigger> for Trigger {
    fn from(trigger: v1::Trigger) -> Self {
        Trigger {
            namespace: trigger.namespace,
            id: trigger.id,
            topic: trigger.topic,
            due: trigger.due.map(Moment),
            requested_due: trigger.requested_due.map(Moment),
            shard_key: trigger.shard_key,
            payload: BASE64_STANDARD.encode(&trigger.payload),
            payload_text: String::from_utf8(trigger.payload.into()).ok(),
            labels: trigger.labels,
            priority: Priority::of(trigger.priority),
            retry: trigger.retry.map(RetryPolicy::from),
            late: trigger.late.map(|late| LatePolicy { skip_when_later_than: late.skip_when_later_than.map(Length) }),
            state: TriggerState::of(trigger.state),
            generation: Number(trigger.generation),
            attempt: trigger.attempt,
            local_time: trigger.local_time.map(LocalTime::from),
            delivered: trigger.delivered,
            created: trigger.created.map(Moment),
            receipt: trigger.receipt.map(Receipt::from),
            last_error: trigger.last_error,
            retry_at: trigger.retry_at.map(Moment),
        }
    }
}

/// A page of triggers.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriggerPage {
    /// In order.
    pub triggers: Vec<Trigger>,
    /// For the next page; empty on the last one. A page may be short, even empty, and still have a next one.
    pub next_page_token: String,
}

impl TriggerPage {
    /// A page of the protocol.
    pub fn of(triggers: Vec<v1::Trigger>, next_page_token: String) -> TriggerPage {
        TriggerPage { triggers: triggers.into_iter().map(Trigger::from).collect(), next_page_token }
    }
}

/// A trigger has a new generation.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// The new one.
    pub generation: Number,
    /// What the log decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// A trigger has ended.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// What the log decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

impl Ended {
    /// Of the protocol's receipt.
    pub fn of(receipt: Option<v1::Receipt>) -> Ended {
        Ended { receipt: receipt.map(Receipt::from) }
    }
}

/// Which version of something a change is about.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expected {
    /// Only if this is still the generation: VERSION_MISMATCH otherwise. Left out, or 0: whichever.
    pub expected_generation: Number,
}
