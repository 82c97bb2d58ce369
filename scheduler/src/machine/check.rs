//! Bounds of what a command may say. The edge checks them first; apply does not rely on that.

use crate::command::{Label, LocalTime, Report, RetryPolicy, Schedule, TopicSettings, When};
use crate::lane::Class;
use crate::reply::Refusal;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Characters of an error that are kept.
const ERROR_CHARS_MAX: usize = 1_024;

fn require(holds: bool, field: &'static str, expected: &'static str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::Invalid { field, expected }) }
}

fn chars_within(text: &str, max: usize) -> bool {
    text.len() <= max || text.chars().count() <= max
}

/// A schedule command, with its class and moment.
pub(super) fn schedule(command: &Schedule) -> Result<(Class, When), Refusal> {
    namespace(&command.namespace)?;
    let printable = command.id.bytes().all(|byte| byte.is_ascii_graphic());
    require(
        (1..=128).contains(&command.id.len()) && printable,
        "id",
        "1..128 printable ASCII characters without spaces",
    )?;
    topic_name(&command.topic)?;
    require(command.shard_key.len() <= 128, "shard_key", "at most 128 bytes")?;
    require(command.payload.len() <= 64 << 10, "payload", "at most 64 KiB")?;
    labels(&command.labels)?;
    let class = Class::first_attempt(command.priority)
        .ok_or(Refusal::Invalid { field: "priority", expected: "high, normal or low" })?;
    if let Some(policy) = &command.retry {
        retry(policy, true)?;
    }
    let skip = command.skip_when_later_ms;
    require(skip == 0 || (1_000..=30 * DAY_MS).contains(&skip), "late.skip_when_later_than", "1 s..30 d")?;
    local(command.local.as_ref())?;
    Ok((class, when(command.when)?))
}

pub(super) fn when(when: Option<When>) -> Result<When, Refusal> {
    when.ok_or(Refusal::Invalid { field: "when", expected: "a moment or a delay" })
}

pub(super) fn local(local: Option<&LocalTime>) -> Result<(), Refusal> {
    let short = |local: &LocalTime| local.date_time.len() <= 64 && local.zone.len() <= 64 && local.tzdb.len() <= 64;
    require(local.is_none_or(short), "when.local", "at most 64 characters in each field")
}

pub(super) fn namespace(namespace: &str) -> Result<(), Refusal> {
    let allowed = namespace.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    require((1..=64).contains(&namespace.len()) && allowed, "namespace", "1..64 characters of [a-z0-9-]")
}

pub(super) fn topic_name(topic: &str) -> Result<(), Refusal> {
    let allowed = topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    require((1..=64).contains(&topic.len()) && allowed, "topic", "1..64 characters of [A-Za-z0-9._-]")
}

fn labels(labels: &[Label]) -> Result<(), Refusal> {
    require(labels.len() <= 16, "labels", "at most 16")?;
    let whole =
        |label: &Label| !label.key.is_empty() && chars_within(&label.key, 63) && chars_within(&label.value, 255);
    require(labels.iter().all(whole), "labels", "keys of 1..63 and values of 0..255 characters")?;
    require(labels.is_sorted_by(|one, next| one.key < next.key), "labels", "each key once, in order")
}

/// A retry policy; zero is allowed for what a trigger leaves to its topic.
fn retry(policy: &RetryPolicy, partial: bool) -> Result<(), Refusal> {
    let open = |value: u64| partial && value == 0;
    let attempts = policy.max_attempts;
    require(open(attempts.into()) || (1..=100).contains(&attempts), "retry.max_attempts", "1..100")?;
    let initial = policy.initial_backoff_ms;
    require(open(initial) || (1..=HOUR_MS).contains(&initial), "retry.initial_backoff", "1 ms..1 h")?;
    let max = policy.max_backoff_ms;
    require(open(max) || (1..=DAY_MS).contains(&max), "retry.max_backoff", "1 ms..24 h")?;
    let multiplier = policy.multiplier_percent;
    require(open(multiplier.into()) || (100..=1_000).contains(&multiplier), "retry.multiplier_percent", "100..1000")?;
    let jitter = policy.jitter_percent_plus_one;
    require(open(jitter.into()) || (1..=101).contains(&jitter), "retry.jitter_percent", "0..100")
}

pub(super) fn settings(settings: &TopicSettings) -> Result<(), Refusal> {
    require((1_000..=12 * HOUR_MS).contains(&settings.lease_ms), "limits.lease", "1 s..12 h")?;
    let policy =
        settings.retry.as_ref().ok_or(Refusal::Invalid { field: "limits.retry", expected: "every field set" })?;
    retry(policy, false)?;
    require(settings.rate_milli_per_second <= 1_000_000_000, "limits.rate_per_second", "at most 1,000,000")?;
    require((1_000..=400 * DAY_MS).contains(&settings.retention_ms), "limits.retention", "1 s..400 d")
}

pub(super) fn report(report: Option<Report>) -> Result<Report, Refusal> {
    let report = report.ok_or(Refusal::Invalid { field: "report", expected: "present" })?;
    require(report.attempt >= 1, "attempt", "counted from 1")?;
    executor(&report.executor)?;
    Ok(report)
}

pub(super) fn executor(name: &str) -> Result<(), Refusal> {
    require(chars_within(name, 128), "executor", "at most 128 characters")
}

pub(super) fn retry_after(retry_after_ms: u64) -> Result<(), Refusal> {
    require(retry_after_ms <= DAY_MS, "retry_after", "at most 24 h")
}

/// The part of an error that is kept.
pub(super) fn kept_error(mut error: String) -> String {
    if let Some((end, _)) = error.char_indices().nth(ERROR_CHARS_MAX) {
        error.truncate(end);
    }
    error
}
