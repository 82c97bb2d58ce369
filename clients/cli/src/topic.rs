//! `bosingak topic`: handlers that triggers are for, and their limits.

use std::time::Duration;

use clap::Subcommand;
use proto::v1::{
    GetTopicRequest, ListTopicsRequest, PauseTopicRequest, ResumeTopicRequest, RetryPolicy, Topic, TopicLimits,
    UpdateTopicRequest,
};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Format;
use crate::table::{Table, clean};
use crate::{duration, json};

/// What can be done with topics.
#[derive(Subcommand)]
pub enum Verb {
    /// Lists the topics of the namespace.
    List,
    /// Shows one topic.
    #[command(visible_alias = "describe")]
    Get {
        /// Which.
        name: String,
    },
    /// Creates or changes a topic; what is left out keeps its value.
    Update(Box<Update>),
    /// Stops firing. What falls due waits and can still be cancelled.
    Pause {
        /// Which.
        name: String,
    },
    /// Fires again, what fell due meanwhile first.
    Resume {
        /// Which.
        name: String,
    },
}

/// New limits of a topic.
#[derive(clap::Args)]
pub struct Update {
    /// Which.
    name: String,
    /// How long an executor may work on a delivery: 1s to 12h.
    #[arg(long, value_name = "LENGTH", value_parser = duration::parse)]
    lease: Option<Duration>,
    /// Attempts before a trigger is a dead letter; 1 means no retry.
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// Delay before the second attempt.
    #[arg(long, value_name = "LENGTH", value_parser = duration::parse)]
    initial_backoff: Option<Duration>,
    /// Upper bound of the delay.
    #[arg(long, value_name = "LENGTH", value_parser = duration::parse)]
    max_backoff: Option<Duration>,
    /// Growth of the delay in percent: 200 doubles it.
    #[arg(long, value_name = "PERCENT")]
    multiplier: Option<u32>,
    /// How much of the delay is left to chance, in percent.
    #[arg(long, value_name = "PERCENT")]
    jitter: Option<u32>,
    /// Triggers released per second; 0 is unlimited.
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Deliveries in flight; 0 is unlimited.
    #[arg(long, value_name = "N")]
    max_concurrency: Option<u32>,
    /// How long an ended trigger can be read: 1s to 400d.
    #[arg(long, value_name = "LENGTH", value_parser = duration::parse)]
    retention: Option<Duration>,
    /// Only if this is still its version.
    #[arg(long, default_value_t = 0, value_name = "VERSION")]
    expected: u64,
}

pub async fn run(context: &mut Context, verb: Verb) -> Result<u8, Failure> {
    let client = &context.client;
    let topic = match verb {
        Verb::List => return list(context).await,
        Verb::Get { name } => client.get_topic(GetTopicRequest { name, ..Default::default() }).await?,
        Verb::Update(update) => client.update_topic(update.request()).await?,
        Verb::Pause { name } => client.pause_topic(PauseTopicRequest { name, ..Default::default() }).await?,
        Verb::Resume { name } => client.resume_topic(ResumeTopicRequest { name, ..Default::default() }).await?,
    };
    if context.out.is_json() {
        context.out.message(&topic)?;
    } else {
        for (name, text) in detail(&topic) {
            if !text.is_empty() {
                context.out.line(&format!("{name:<16} {text}"))?;
            }
        }
    }
    Ok(0)
}

impl Update {
    fn request(self) -> UpdateTopicRequest {
        let any_retry = self.max_attempts.is_some()
            || self.initial_backoff.is_some()
            || self.max_backoff.is_some()
            || self.multiplier.is_some()
            || self.jitter.is_some();
        let retry = any_retry.then(|| RetryPolicy {
            max_attempts: self.max_attempts.unwrap_or(0),
            initial_backoff: self.initial_backoff.map(duration::proto),
            max_backoff: self.max_backoff.map(duration::proto),
            multiplier_percent: self.multiplier.unwrap_or(0),
            jitter_percent: self.jitter.unwrap_or(0),
        });
        UpdateTopicRequest {
            name: self.name,
            limits: Some(TopicLimits {
                lease: self.lease.map(duration::proto),
                retry,
                rate_per_second: self.rate,
                max_concurrency: self.max_concurrency,
                retention: self.retention.map(duration::proto),
            }),
            expected_version: self.expected,
            ..UpdateTopicRequest::default()
        }
    }
}

async fn list(context: &mut Context) -> Result<u8, Failure> {
    let topics = context.client.list_topics(ListTopicsRequest::default()).await?;
    if context.out.format != Format::Table {
        let values: Result<Vec<_>, _> = topics.iter().map(json::value).collect();
        context.out.list("topics", values?, None)?;
        return Ok(0);
    }
    let mut table =
        Table::new(&["NAME", "STATE", "SCHEDULED", "FIRED", "RETRYING", "DEAD", "COMPLETED", "RATE", "LEASE"]);
    for topic in topics {
        let counts = topic.counts.unwrap_or_default();
        let limits = topic.limits.unwrap_or_default();
        table.row([
            topic.name,
            if topic.paused { "PAUSED".to_owned() } else { "RUNNING".to_owned() },
            counts.scheduled.to_string(),
            counts.fired.to_string(),
            counts.retrying.to_string(),
            counts.dead_lettered.to_string(),
            counts.completed_total.to_string(),
            per_second(limits.rate_per_second),
            length(limits.lease),
        ]);
    }
    context.out.table(&table)?;
    Ok(0)
}

fn length(length: Option<prost_types::Duration>) -> String {
    duration::of_proto(length).map(duration::show).unwrap_or_default()
}

fn per_second(rate: Option<u32>) -> String {
    rate.filter(|rate| *rate > 0).map(|rate| format!("{rate}/s")).unwrap_or_default()
}

fn detail(topic: &Topic) -> Vec<(&'static str, String)> {
    let limits = topic.limits.unwrap_or_default();
    let mut rows = vec![
        ("NAME", clean(&topic.name)),
        ("NAMESPACE", clean(&topic.namespace)),
        ("STATE", if topic.paused { "PAUSED".to_owned() } else { "RUNNING".to_owned() }),
        ("VERSION", topic.version.to_string()),
        ("LEASE", length(limits.lease)),
        ("RETENTION", length(limits.retention)),
        ("RATE", per_second(limits.rate_per_second)),
        ("MAX CONCURRENCY", limits.max_concurrency.filter(|n| *n > 0).map(|n| n.to_string()).unwrap_or_default()),
    ];
    if let Some(retry) = limits.retry {
        rows.push(("MAX ATTEMPTS", retry.max_attempts.to_string()));
        let growth = format!(
            "{} growing to {} by {} %, {} % jitter",
            length(retry.initial_backoff),
            length(retry.max_backoff),
            retry.multiplier_percent,
            retry.jitter_percent
        );
        rows.push(("BACKOFF", growth));
    }
    if let Some(counts) = &topic.counts {
        rows.push(("SCHEDULED", counts.scheduled.to_string()));
        rows.push(("FIRED", counts.fired.to_string()));
        rows.push(("RETRYING", counts.retrying.to_string()));
        rows.push(("DEAD LETTERS", counts.dead_lettered.to_string()));
        rows.push(("COMPLETED", counts.completed_total.to_string()));
    }
    rows
}
