//! Requests become commands here, checked field by field.

use prost::Message;
use proto::v1;
use scheduler::command::{self, TopicSettings, When};
use scheduler::lane::Class;
use sha2::{Digest, Sha256};

use super::scalars::{Range, delay_of, moment_of};
use crate::error::Error;
use crate::local_time::Zones;
use crate::validate::Violations;

/// Longest delay from now, in milliseconds: the horizon of ten years and some leap days.
const AFTER_MS_MAX: u64 = 3_653 * 86_400_000;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;

/// A checked Schedule request.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// The command.
    pub command: command::Schedule,
}

/// The hash of a request as it was sent: what makes a repeat the same request. The id is part of it only when the
/// caller gave one.
pub fn fingerprint(request: &v1::ScheduleRequest) -> u64 {
    // Encoding is canonical: fields in order of number, labels in order of key.
    let digest = Sha256::digest(request.encode_to_vec());
    u64::from_le_bytes(digest[..8].try_into().expect("8 of 32 bytes"))
}

/// Checks a Schedule request. `prefix` begins the paths of fields, such as `items[3].`.
///
/// # Errors
///
/// [`Error::Invalid`] with everything that is wrong.
pub fn schedule(request: v1::ScheduleRequest, zones: &Zones, prefix: &str) -> Result<Scheduled, Error> {
    let mut v = Violations::under(prefix);
    let fingerprint = fingerprint(&request);
    let namespace = v.namespace("namespace", request.namespace);
    v.not_reserved_namespace("namespace", &namespace);
    let id = if request.id.is_empty() { uuid::Uuid::now_v7().to_string() } else { request.id };
    v.id("id", &id);
    v.not_reserved("id", &id);
    v.topic("topic", &request.topic);
    v.not_reserved("topic", &request.topic);
    v.shard_key("shard_key", &request.shard_key);
    v.payload("payload", &request.payload);
    v.labels("labels", &request.labels);
    let (when, local) = when_of(&mut v, request.when, zones);
    let priority = class_of(&mut v, request.priority);
    let retry = request.retry.map(|retry| retry_of(&mut v, "retry", &retry));
    let skip_when_later_ms = match request.late.and_then(|late| late.skip_when_later_than) {
        Some(given) => delay_of(&mut v, "late.skip_when_later_than", &given, Range(1_000, 30 * DAY_MS)).as_millis(),
        None => 0,
    };
    let command = command::Schedule {
        namespace,
        id,
        topic: request.topic,
        when,
        shard_key: request.shard_key,
        payload: request.payload,
        labels: request.labels.into_iter().map(|(key, value)| command::Label { key, value }).collect(),
        priority: priority as u32,
        retry,
        skip_when_later_ms,
        fingerprint,
        local,
    };
    v.finish(Scheduled { command })
}

/// Checks a Cancel request.
///
/// # Errors
///
/// [`Error::Invalid`] with everything that is wrong.
pub fn cancel(request: v1::CancelRequest, prefix: &str) -> Result<command::Cancel, Error> {
    let mut v = Violations::under(prefix);
    let namespace = v.namespace("namespace", request.namespace);
    v.id("id", &request.id);
    v.not_reserved("id", &request.id);
    v.not_reserved("id", &request.id);
    let request_id = v.request_id("request_id", &request.request_id);
    v.finish(command::Cancel {
        namespace,
        id: request.id,
        expected_generation: request.expected_generation,
        request: request_id,
    })
}

/// Checks a Reschedule request.
///
/// # Errors
///
/// [`Error::Invalid`] with everything that is wrong.
pub fn reschedule(request: v1::RescheduleRequest, zones: &Zones) -> Result<command::Reschedule, Error> {
    let mut v = Violations::new();
    let namespace = v.namespace("namespace", request.namespace);
    v.id("id", &request.id);
    v.not_reserved("id", &request.id);
    v.not_reserved("id", &request.id);
    let request_id = v.request_id("request_id", &request.request_id);
    let (when, local) = when_of(&mut v, request.when, zones);
    v.finish(command::Reschedule {
        namespace,
        id: request.id,
        expected_generation: request.expected_generation,
        request: request_id,
        when,
        local,
    })
}

/// Checks a RunNow request.
///
/// # Errors
///
/// [`Error::Invalid`] with everything that is wrong.
pub fn run_now(request: v1::RunNowRequest) -> Result<command::RunNow, Error> {
    let mut v = Violations::new();
    let namespace = v.namespace("namespace", request.namespace);
    v.id("id", &request.id);
    v.not_reserved("id", &request.id);
    v.not_reserved("id", &request.id);
    let request_id = v.request_id("request_id", &request.request_id);
    v.finish(command::RunNow {
        namespace,
        id: request.id,
        expected_generation: request.expected_generation,
        request: request_id,
    })
}

/// Checks a RequeueDeadLetter request.
///
/// # Errors
///
/// [`Error::Invalid`] with everything that is wrong.
pub fn requeue(request: v1::RequeueDeadLetterRequest) -> Result<command::Requeue, Error> {
    let mut v = Violations::new();
    let namespace = v.namespace("namespace", request.namespace);
    v.id("id", &request.id);
    v.not_reserved("id", &request.id);
    let request_id = v.request_id("request_id", &request.request_id);
    v.finish(command::Requeue {
        namespace,
        id: request.id,
        expected_generation: request.expected_generation,
        request: request_id,
    })
}

/// Checks a DropDeadLetter request.
///
/// # Errors
///
/// [`Error::Invalid`] with everything that is wrong.
pub fn drop_letter(request: v1::DropDeadLetterRequest) -> Result<command::Drop, Error> {
    let mut v = Violations::new();
    let namespace = v.namespace("namespace", request.namespace);
    v.id("id", &request.id);
    v.not_reserved("id", &request.id);
    let request_id = v.request_id("request_id", &request.request_id);
    v.finish(command::Drop {
        namespace,
        id: request.id,
        expected_generation: request.expected_generation,
        request: request_id,
    })
}

/// The settings a topic has after a change of some of them. Limits over all partitions stand in their totals; what
/// partitions get of them is decided by [`share_of`].
///
/// # Errors
///
/// [`Error::Invalid`] with everything that is wrong.
pub fn topic_settings(before: &TopicSettings, limits: &v1::TopicLimits) -> Result<TopicSettings, Error> {
    let mut v = Violations::under("limits.");
    let mut after = before.clone();
    if let Some(lease) = &limits.lease {
        after.lease_ms = delay_of(&mut v, "lease", lease, Range(1_000, 12 * HOUR_MS)).as_millis();
    }
    if let Some(given) = &limits.retry {
        let given = retry_of(&mut v, "retry", given);
        let policy = after.retry.get_or_insert_default();
        let take = |new: u32, old: &mut u32| {
            if new != 0 {
                *old = new
            }
        };
        take(given.max_attempts, &mut policy.max_attempts);
        take(given.multiplier_percent, &mut policy.multiplier_percent);
        take(given.jitter_percent_plus_one, &mut policy.jitter_percent_plus_one);
        if given.initial_backoff_ms != 0 {
            policy.initial_backoff_ms = given.initial_backoff_ms;
        }
        if given.max_backoff_ms != 0 {
            policy.max_backoff_ms = given.max_backoff_ms;
        }
        let (initial, max) = (policy.initial_backoff_ms, policy.max_backoff_ms);
        v.require(initial <= max, "retry.initial_backoff", || {
            format!("expected at most max_backoff, {max} ms, got {initial} ms")
        });
    }
    if let Some(rate) = limits.rate_per_second {
        v.require(rate <= 1_000_000, "rate_per_second", || format!("expected at most 1000000, got {rate}"));
        after.rate_per_second_total = rate;
    }
    if let Some(concurrency) = limits.max_concurrency {
        after.concurrency_total = concurrency;
    }
    if let Some(retention) = &limits.retention {
        after.retention_ms = delay_of(&mut v, "retention", retention, Range(1_000, 400 * DAY_MS)).as_millis();
    }
    v.finish(after)
}

/// One partition's share of the limits. The shares of all partitions add up to the whole, except that none is left
/// without: a limit below the number of partitions counts as one each.
pub fn share_of(settings: &TopicSettings, partition: u32, partitions: u32) -> TopicSettings {
    let share = |total: u64| match total {
        0 => 0,
        total => {
            let (parts, number) = (u64::from(partitions), u64::from(partition));
            (total / parts + u64::from(number < total % parts)).max(1)
        }
    };
    TopicSettings {
        rate_milli_per_second: share(u64::from(settings.rate_per_second_total) * 1_000),
        concurrency_max: u32::try_from(share(u64::from(settings.concurrency_total))).unwrap_or(u32::MAX),
        ..settings.clone()
    }
}

/// Checks when something is due.
pub fn when_of(
    v: &mut Violations,
    given: Option<v1::When>,
    zones: &Zones,
) -> (Option<When>, Option<command::LocalTime>) {
    use v1::when::When as Given;
    match given.and_then(|when| when.when) {
        None => {
            v.push("when", "expected one of at, after, local, got none");
            (None, None)
        }
        Some(Given::At(at)) => (Some(When::At(moment_of(v, "when.at", &at).as_millis())), None),
        Some(Given::After(after)) => {
            let after = delay_of(v, "when.after", &after, Range(0, AFTER_MS_MAX));
            (Some(When::After(after.as_millis())), None)
        }
        Some(Given::Local(local)) => match zones.resolve(&local.date_time, &local.time_zone, local.policy) {
            Ok(found) => {
                let local = command::LocalTime {
                    date_time: found.date_time,
                    zone: found.zone,
                    policy: found.policy as u32,
                    tzdb: found.tzdb,
                };
                (Some(When::At(found.moment.as_millis())), Some(local))
            }
            Err(error) => {
                v.push(&format!("when.local.{}", error.field()), error.to_string());
                (None, None)
            }
        },
    }
}

fn class_of(v: &mut Violations, priority: i32) -> Class {
    match v1::Priority::try_from(priority) {
        Ok(v1::Priority::High) => Class::High,
        Ok(v1::Priority::Normal | v1::Priority::Unspecified) => Class::Normal,
        Ok(v1::Priority::Low) => Class::Low,
        Err(_) => {
            v.push("priority", format!("expected a number of Priority, got {priority}"));
            Class::Normal
        }
    }
}

fn retry_of(v: &mut Violations, field: &str, given: &v1::RetryPolicy) -> command::RetryPolicy {
    let path = |name: &str| format!("{field}.{name}");
    v.require(given.max_attempts <= 100, &path("max_attempts"), || {
        format!("expected 1 to 100, or 0 for the topic's, got {}", given.max_attempts)
    });
    let multiplier = given.multiplier_percent;
    v.require(multiplier == 0 || (100..=1_000).contains(&multiplier), &path("multiplier_percent"), || {
        format!("expected 100 to 1000, or 0 for the topic's, got {multiplier}")
    });
    v.require(given.jitter_percent <= 100, &path("jitter_percent"), || {
        format!("expected 1 to 100, or 0 for the topic's, got {}", given.jitter_percent)
    });
    let initial = given.initial_backoff.as_ref().map(|d| delay_of(v, &path("initial_backoff"), d, Range(1, HOUR_MS)));
    let max = given.max_backoff.as_ref().map(|d| delay_of(v, &path("max_backoff"), d, Range(1, DAY_MS)));
    command::RetryPolicy {
        max_attempts: given.max_attempts,
        initial_backoff_ms: initial.map_or(0, |delay| delay.as_millis()),
        max_backoff_ms: max.map_or(0, |delay| delay.as_millis()),
        multiplier_percent: multiplier,
        // The public field cannot say "none" apart from "unset": 0 leaves it to the topic.
        jitter_percent_plus_one: if given.jitter_percent == 0 { 0 } else { given.jitter_percent.min(100) + 1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::ScheduleRequest {
        v1::ScheduleRequest {
            id: "order-1".into(),
            topic: "send".into(),
            when: Some(v1::When {
                when: Some(v1::when::When::At(prost_types::Timestamp { seconds: 1_000, nanos: 0 })),
            }),
            ..Default::default()
        }
    }

    fn fields(request: v1::ScheduleRequest) -> Vec<String> {
        match schedule(request, &Zones::bundled(), "items[2].") {
            Err(Error::Invalid(found)) => found.into_iter().map(|one| one.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_becomes_a_command() {
        let found = schedule(request(), &Zones::bundled(), "").expect("allowed").command;
        assert_eq!((found.namespace.as_str(), found.when), ("default", Some(When::At(1_000_000))));
        assert_eq!(found.priority, Class::Normal as u32);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let mut wrong = request();
        wrong.topic = "a/b".into();
        wrong.priority = 77;
        wrong.when = Some(v1::When {
            when: Some(v1::when::When::Local(v1::LocalTime {
                date_time: "2027-02-14T00:00".into(),
                time_zone: "KST".into(),
                ..Default::default()
            })),
        });
        wrong.retry = Some(v1::RetryPolicy { max_attempts: 101, ..Default::default() });
        assert_eq!(
            fields(wrong),
            ["items[2].topic", "items[2].when.local.time_zone", "items[2].priority", "items[2].retry.max_attempts"]
        );
        assert_eq!(fields(v1::ScheduleRequest { when: None, ..request() }), ["items[2].when"]);
    }

    #[test]
    fn the_fingerprint_is_of_the_request_as_sent() {
        let delayed = |seconds| v1::ScheduleRequest {
            when: Some(v1::When { when: Some(v1::when::When::After(prost_types::Duration { seconds, nanos: 0 })) }),
            ..request()
        };
        assert_eq!(fingerprint(&delayed(5)), fingerprint(&delayed(5)));
        assert_ne!(fingerprint(&delayed(5)), fingerprint(&delayed(6)));
    }

    #[test]
    fn limits_left_unset_keep_their_value() {
        let before = TopicSettings { lease_ms: 30_000, retention_ms: 5, concurrency_total: 9, ..Default::default() };
        let limits = v1::TopicLimits { rate_per_second: Some(10), ..Default::default() };
        let after = topic_settings(&before, &limits).expect("allowed");
        assert_eq!((after.lease_ms, after.retention_ms, after.concurrency_total), (30_000, 5, 9));
        assert_eq!(after.rate_per_second_total, 10);
        let limits =
            v1::TopicLimits { lease: Some(prost_types::Duration { seconds: 0, nanos: 1 }), ..Default::default() };
        assert!(
            matches!(topic_settings(&before, &limits), Err(Error::Invalid(found)) if found[0].field == "limits.lease")
        );
    }

    #[test]
    fn shares_add_up_to_the_whole_and_none_is_without() {
        let settings = TopicSettings { rate_per_second_total: 10, concurrency_total: 9, ..Default::default() };
        let shares: Vec<TopicSettings> = (0..4).map(|partition| share_of(&settings, partition, 4)).collect();
        assert_eq!(shares.iter().map(|share| share.rate_milli_per_second).sum::<u64>(), 10_000);
        assert_eq!(shares.iter().map(|share| share.concurrency_max).sum::<u32>(), 9);
        let few = TopicSettings { concurrency_total: 1, ..Default::default() };
        assert!((0..4).all(|partition| share_of(&few, partition, 4).concurrency_max == 1));
        assert_eq!(share_of(&TopicSettings::default(), 0, 4).concurrency_max, 0, "unlimited stays unlimited");
    }
}
