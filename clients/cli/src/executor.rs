//! `bosingak executor`: processes that do the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::executor::options::{RunOptions, shutdown_signal};
use ::executor::{Delivery, Outcome, Summary};
use clap::Subcommand;
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use crate::context::Context;
use crate::failure::{Failure, PARTIAL};
use crate::output::{Format, remark};
use crate::table::{clean, cut};
use crate::trigger::payload;
use crate::{cluster, json, moment};

/// What can be done with executors.
#[derive(Subcommand)]
pub enum Verb {
    /// Lists those that are connected to partitions the asked node leads.
    List,
    /// Works on the triggers of a topic until interrupted.
    Run {
        #[command(flatten)]
        run: RunOptions,
        /// Print each delivery on standard output, and succeed.
        #[arg(long, group = "work")]
        print: bool,
        /// End after this many reports are durable; 0 goes on until interrupted.
        #[arg(long, default_value_t = 0, value_name = "N")]
        count: u64,
    },
}

pub async fn run(context: &mut Context, verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::List => {
            let status = context.client.cluster_status().await?;
            if context.out.format == Format::Table {
                context.out.table(&cluster::executors(&status))?;
            } else {
                let values: Result<Vec<_>, _> = status.executors.iter().map(json::value).collect();
                context.out.list("executors", values?, None)?;
            }
            Ok(0)
        }
        Verb::Run { run, print, count } => work(context, run, print, count).await,
    }
}

async fn work(context: &mut Context, run: RunOptions, print: bool, count: u64) -> Result<u8, Failure> {
    let settled = Arc::new(AtomicU64::new(0));
    let enough = Arc::new(Notify::new());
    let (seen, reached) = (settled, enough.clone());
    let mut builder = run.builder(context.client.clone(), &context.namespace).observe(move |_| {
        if count > 0 && seen.fetch_add(1, Ordering::Relaxed) + 1 >= count {
            reached.notify_one();
        }
    });
    let (deliveries, mut printed) = mpsc::channel(64);
    if print {
        for topic in &run.topics {
            let deliveries = deliveries.clone();
            builder = builder.handler(topic, move |delivery: Delivery| {
                let deliveries = deliveries.clone();
                async move {
                    // Done when it is printed: what nobody could read is not lost.
                    let (told, heard) = tokio::sync::oneshot::channel();
                    let _ = deliveries.send((delivery, told)).await;
                    heard.await.map_or_else(|_| Outcome::retry("not printed"), |()| Outcome::Success)
                }
            });
        }
    } else {
        let refused = |error: ::executor::Error| match error.field {
            "gift" => Failure::usage("--gift", error.message, "a TOML file with providers"),
            _ => Failure::usage("--http", error.message, "http://host:port/path"),
        };
        builder = run.with_handlers(builder).map_err(refused)?.ok_or_else(|| {
            Failure::usage("executor run", "say what to do", "--exec COMMAND, --http URL, --gift FILE or --print")
        })?;
    }
    drop(deliveries);
    let executor = builder
        .build()
        .map_err(|error| Failure::usage(&format!("--{}", error.field), error.message, "another value"))?;
    remark(context.out.format, &format!("{} works on {}", executor.name(), executor.topics().join(", ")));
    let shutdown = async {
        tokio::select! {
            () = shutdown_signal() => {}
            () = enough.notified() => {}
        }
    };
    let working = executor.run(shutdown);
    tokio::pin!(working);
    let mut open = true;
    let summary = loop {
        tokio::select! {
            summary = &mut working => break summary,
            delivery = printed.recv(), if open => match delivery {
                // A reader that has gone ends it: the delivery is not acknowledged, and comes again elsewhere.
                Some((delivery, told)) => {
                    show(context, &delivery)?;
                    let _ = told.send(());
                }
                None => open = false,
            },
        }
    };
    finish(context, summary, print)
}

fn show(context: &mut Context, delivery: &Delivery) -> Result<(), Failure> {
    if context.out.is_json() {
        return context.out.event(&json::value(delivery.as_proto())?);
    }
    let facts = delivery.as_proto();
    let line = format!(
        "{} {} {} attempt {} {}",
        moment::show(facts.fired),
        clean(delivery.topic()),
        clean(delivery.id()),
        delivery.attempt(),
        cut(&payload(delivery.payload()), 60)
    );
    context.out.line(line.trim_end())?;
    context.out.flush()
}

fn finish(context: &mut Context, summary: Summary, print: bool) -> Result<u8, Failure> {
    let Summary { started, accepted, already_decided, superseded, refused, aborted, streams, left } = summary;
    if context.out.is_json() && !print {
        context.out.json(&json!({
            "started": started, "accepted": accepted, "alreadyDecided": already_decided, "superseded": superseded,
            "refused": refused, "aborted": aborted, "streams": streams, "left": left,
        }))?;
    } else {
        let text = format!("{started} started, {accepted} accepted, {aborted} aborted, {left} left to others");
        remark(context.out.format, &text);
    }
    Ok(if left == 0 { 0 } else { PARTIAL })
}
