//! `bosingak trigger`: the pieces of work themselves.

mod batch;
mod list;
mod schedule;
mod watch;

use clap::Subcommand;
use proto::v1::{GetRequest, Priority, RescheduleRequest, RunNowRequest, Trigger};

use crate::context::Context;
use crate::duration;
use crate::failure::Failure;
use crate::moment;
use crate::table::clean;
use crate::when::WhenOptions;

pub use batch::Results;

/// What can be done with triggers.
#[derive(Subcommand)]
pub enum Verb {
    /// Schedules one trigger, or many from a file.
    Schedule(Box<schedule::Options>),
    /// Shows one trigger.
    #[command(visible_alias = "describe")]
    Get {
        /// Which.
        id: String,
    },
    /// Lists triggers in order of partition, topic, priority, due.
    List(list::Options),
    /// Cancels triggers that have not fired.
    Cancel(batch::CancelOptions),
    /// Moves a trigger that has not fired.
    Reschedule {
        /// Which.
        id: String,
        #[command(flatten)]
        when: WhenOptions,
        /// Only if this is still its generation.
        #[arg(long, default_value_t = 0, value_name = "GENERATION")]
        expected: u64,
    },
    /// Follows one trigger, or all that match.
    Watch(watch::Options),
    /// Fires a scheduled trigger now.
    RunNow {
        /// Which.
        id: String,
        /// Only if this is still its generation.
        #[arg(long, default_value_t = 0, value_name = "GENERATION")]
        expected: u64,
    },
}

pub async fn run(context: &mut Context, verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Schedule(options) => schedule::run(context, *options).await,
        Verb::Get { id } => get(context, id).await,
        Verb::List(options) => list::run(context, options).await,
        Verb::Cancel(options) => batch::cancel(context, options).await,
        Verb::Reschedule { id, when, expected } => {
            let request = RescheduleRequest {
                id: id.clone(),
                when: Some(when.required()?),
                expected_generation: expected,
                ..RescheduleRequest::default()
            };
            let answer = context.client.reschedule(request).await?;
            if context.out.is_json() {
                context.out.message(&answer)?;
            } else {
                let (due, generation) = (moment::both(answer.due), answer.generation);
                context.out.line(&format!("{} is due {due}, generation {generation}", clean(&id)))?;
            }
            Ok(0)
        }
        Verb::Watch(options) => watch::run(context, options).await,
        Verb::RunNow { id, expected } => {
            let request = RunNowRequest { id: id.clone(), expected_generation: expected, ..RunNowRequest::default() };
            let answer = context.client.run_now(request).await?;
            if context.out.is_json() {
                context.out.message(&answer)?;
            } else {
                context.out.line(&format!("{} fires now, generation {}", clean(&id), answer.generation))?;
            }
            Ok(0)
        }
    }
}

async fn get(context: &mut Context, id: String) -> Result<u8, Failure> {
    let trigger = context.client.get(GetRequest { id, ..GetRequest::default() }).await?;
    if context.out.is_json() {
        context.out.message(&trigger)?;
    } else {
        for (name, text) in detail(&trigger) {
            if !text.is_empty() {
                context.out.line(&format!("{name:<12} {text}"))?;
            }
        }
    }
    Ok(0)
}

/// Name of a state as people say it.
pub fn state(trigger: &Trigger) -> String {
    trigger.state().as_str_name().trim_start_matches("TRIGGER_STATE_").to_owned()
}

/// A payload on one line: its text when it is text, else how long it is.
pub fn payload(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => clean(text),
        Err(_) => format!("{} bytes", bytes.len()),
    }
}

fn detail(trigger: &Trigger) -> Vec<(&'static str, String)> {
    let labels: Vec<String> = trigger.labels.iter().map(|(k, v)| clean(&format!("{k}={v}"))).collect();
    let local = trigger
        .local_time
        .as_ref()
        .map(|local| format!("{} {} (tzdb {})", local.date_time, local.time_zone, local.tzdb_version));
    let priority = match trigger.priority() {
        Priority::High => "high",
        Priority::Low => "low",
        Priority::Normal | Priority::Unspecified => "",
    };
    let late = trigger.late.and_then(|late| duration::of_proto(late.skip_when_later_than));
    let attempt = if trigger.attempt == 0 { String::new() } else { trigger.attempt.to_string() };
    let mut rows = vec![
        ("ID", clean(&trigger.id)),
        ("NAMESPACE", clean(&trigger.namespace)),
        ("TOPIC", clean(&trigger.topic)),
        ("STATE", if trigger.delivered { format!("{} (delivered)", state(trigger)) } else { state(trigger) }),
        ("DUE", moment::both(trigger.due)),
        ("REQUESTED", moment::show(trigger.requested_due)),
        ("LOCAL TIME", clean(&local.unwrap_or_default())),
        ("GENERATION", trigger.generation.to_string()),
        ("PRIORITY", priority.to_owned()),
        ("SHARD KEY", clean(&trigger.shard_key)),
        ("LABELS", labels.join(" ")),
        ("SKIP LATE", late.map(duration::show).unwrap_or_default()),
        ("FAILED", attempt),
        ("LAST ERROR", clean(&trigger.last_error)),
        ("RETRY AT", moment::both(trigger.retry_at)),
        ("CREATED", moment::show(trigger.created)),
        ("PAYLOAD", payload(&trigger.payload)),
    ];
    if let Some(receipt) = &trigger.receipt {
        let outcome = receipt.outcome().as_str_name().trim_start_matches("OUTCOME_").to_owned();
        rows.push(("FIRED", moment::both(receipt.fired)));
        rows.push(("OUTCOME", outcome));
        rows.push(("DECIDED", moment::show(receipt.decided)));
        rows.push(("EXECUTOR", clean(&receipt.executor)));
        rows.push(("RECEIPT", format!("partition {}, log index {}", receipt.partition, receipt.log_index)));
    }
    rows
}
