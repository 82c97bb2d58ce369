//! `bosingak dead-letter`: triggers that were given up.

use clap::Subcommand;
use futures::TryStreamExt;
use proto::v1::{DropDeadLetterRequest, ListDeadLettersRequest, RequeueDeadLetterRequest, Trigger};

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Format, remark};
use crate::table::{Table, clean, cut};
use crate::trigger::Results;
use crate::{json, moment};

/// What can be done with dead letters.
#[derive(Subcommand)]
pub enum Verb {
    /// Lists them in the order they died, per partition.
    List {
        /// Only of this topic.
        #[arg(long)]
        topic: Option<String>,
        /// At most this many; 0 is all.
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        limit: usize,
    },
    /// Sends them back to delivery, attempts counted afresh.
    Requeue {
        /// Which.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Only if this is still the generation; for a single id.
        #[arg(long, default_value_t = 0, value_name = "GENERATION")]
        expected: u64,
    },
    /// Gives up for good.
    Drop {
        /// Which.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Only if this is still the generation; for a single id.
        #[arg(long, default_value_t = 0, value_name = "GENERATION")]
        expected: u64,
        #[command(flatten)]
        confirm: Confirm,
    },
}

pub async fn run(context: &mut Context, verb: Verb) -> Result<u8, Failure> {
    let mut results = Results::new();
    match verb {
        Verb::List { topic, limit } => return list(context, topic, limit).await,
        Verb::Requeue { ids, expected } => {
            single(&ids, expected)?;
            for id in ids {
                let request = RequeueDeadLetterRequest {
                    id: id.clone(),
                    expected_generation: expected,
                    ..RequeueDeadLetterRequest::default()
                };
                match context.client.requeue_dead_letter(request).await {
                    Ok(answer) => {
                        let sentence = format!("{} is requeued, generation {}", clean(&id), answer.generation);
                        results.done(&id, json::value(&answer)?, sentence);
                    }
                    Err(error) => results.failed(&id, error),
                }
            }
        }
        Verb::Drop { ids, expected, confirm } => {
            single(&ids, expected)?;
            confirm.ask(&format!("dropping {} dead letters", ids.len()))?;
            for id in ids {
                let request = DropDeadLetterRequest {
                    id: id.clone(),
                    expected_generation: expected,
                    ..DropDeadLetterRequest::default()
                };
                match context.client.drop_dead_letter(request).await {
                    Ok(answer) => {
                        results.done(&id, json::value(&answer)?, format!("{} is dropped", clean(&id)));
                    }
                    Err(error) => results.failed(&id, error),
                }
            }
        }
    }
    results.print(&mut context.out)
}

fn single(ids: &[String], expected: u64) -> Result<(), Failure> {
    match (expected, ids.len()) {
        (0, _) | (_, 1) => Ok(()),
        _ => Err(Failure::usage("--expected", "is about a single trigger", "one id")),
    }
}

async fn list(context: &mut Context, topic: Option<String>, limit: usize) -> Result<u8, Failure> {
    let page_size = if limit == 0 { 1_000 } else { u32::try_from(limit).unwrap_or(1_000).min(1_000) };
    let request =
        ListDeadLettersRequest { topic: topic.unwrap_or_default(), page_size, ..ListDeadLettersRequest::default() };
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut found = Box::pin(context.client.list_all_dead_letters(request));
    let mut triggers: Vec<Trigger> = Vec::new();
    let mut cut_off = false;
    while let Some(trigger) = found.try_next().await? {
        if triggers.len() == limit {
            cut_off = true;
            break;
        }
        triggers.push(trigger);
    }
    if context.out.format == Format::Table {
        context.out.table(&table(&triggers))?;
    } else {
        let values: Result<Vec<_>, _> = triggers.iter().map(json::value).collect();
        context.out.list("triggers", values?, None)?;
    }
    if cut_off {
        remark(context.out.format, "there are more: --limit 0 for all");
    }
    Ok(0)
}

fn table(triggers: &[Trigger]) -> Table {
    let mut table = Table::new(&["ID", "TOPIC", "DUE", "DIED", "FAILED", "LAST ERROR"]);
    for trigger in triggers {
        table.row([
            trigger.id.clone(),
            trigger.topic.clone(),
            moment::show(trigger.due),
            moment::relative(trigger.receipt.as_ref().and_then(|receipt| receipt.decided)),
            trigger.attempt.to_string(),
            cut(&clean(&trigger.last_error), 60),
        ]);
    }
    table
}
