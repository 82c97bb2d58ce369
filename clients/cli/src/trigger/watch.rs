//! `bosingak trigger watch`.

use proto::v1::{WatchEventKind, WatchRequest, WatchResponse};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Format, remark};
use crate::table::{clean, cut};
use crate::trigger::list::Filter;
use crate::trigger::{payload, state};
use crate::{json, moment};

/// What to follow, from where, for how long.
#[derive(clap::Args)]
pub struct Options {
    /// Only this trigger; all that match otherwise.
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Continue after this event, with the cursor it gave.
    #[arg(long, default_value = "", hide_default_value = true)]
    cursor: String,
    /// End after this many events; 0 goes on until interrupted.
    #[arg(long, default_value_t = 0, value_name = "N")]
    count: u64,
    /// End once everything that matched at the start has been shown.
    #[arg(long)]
    until_synced: bool,
}

pub async fn run(context: &mut Context, options: Options) -> Result<u8, Failure> {
    let mut watch = context.client.watch(WatchRequest {
        id: options.id.unwrap_or_default(),
        filter: Some(options.filter.to_proto()?),
        cursor: options.cursor,
        ..WatchRequest::default()
    });
    let mut seen = 0;
    loop {
        let event = tokio::select! {
            event = watch.next() => event?,
            // A watch that is interrupted has done what it was asked.
            _ = tokio::signal::ctrl_c() => break,
        };
        show(context, &event)?;
        seen += 1;
        let synced = options.until_synced && event.kind() == WatchEventKind::Synced;
        if synced || (options.count > 0 && seen >= options.count) {
            break;
        }
    }
    if !watch.cursor().is_empty() {
        remark(context.out.format, &format!("continue with --cursor {}", watch.cursor()));
    }
    Ok(0)
}

fn show(context: &mut Context, event: &WatchResponse) -> Result<(), Failure> {
    if context.out.format != Format::Table {
        // One document cannot be closed while it goes on: a line for each event in both forms of JSON.
        return context.out.event(&json::value(event)?);
    }
    let kind = event.kind().as_str_name().trim_start_matches("WATCH_EVENT_KIND_").to_lowercase();
    let line = match &event.trigger {
        None => kind,
        Some(trigger) => format!(
            "{kind:<8} {:<13} {} {} due {} {}",
            state(trigger),
            clean(&trigger.topic),
            clean(&trigger.id),
            moment::show(trigger.due),
            cut(&payload(&trigger.payload), 40),
        ),
    };
    context.out.line(line.trim_end())?;
    context.out.flush()
}
