//! A topic as it is read.

use proto::v1;
use scheduler::command::TopicSettings;
use scheduler::time::Delay;

use super::scalars::delay;

/// A topic, without its counts.
pub fn topic(namespace: String, name: String, settings: &TopicSettings, version: u64) -> v1::Topic {
    let ms = |ms: u64| Some(delay(Delay::from_millis(ms)));
    v1::Topic {
        namespace,
        name,
        limits: Some(v1::TopicLimits {
            lease: ms(settings.lease_ms),
            retry: settings.retry.map(|retry| v1::RetryPolicy {
                max_attempts: retry.max_attempts,
                initial_backoff: ms(retry.initial_backoff_ms),
                max_backoff: ms(retry.max_backoff_ms),
                multiplier_percent: retry.multiplier_percent,
                jitter_percent: retry.jitter_percent_plus_one.saturating_sub(1),
            }),
            rate_per_second: Some(settings.rate_per_second_total),
            max_concurrency: Some(settings.concurrency_total),
            retention: ms(settings.retention_ms),
        }),
        paused: settings.paused,
        version,
        counts: None,
    }
}
