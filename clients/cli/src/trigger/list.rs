//! `bosingak trigger list`.

use proto::v1::{ListRequest, Trigger, TriggerFilter, TriggerState};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Format, remark};
use crate::table::{Table, cut};
use crate::trigger::{payload, state};
use crate::{json, moment, when};

/// Triggers of one call.
const PAGE: u32 = 1_000;

/// Which triggers.
#[derive(clap::Args, Debug, Default)]
pub struct Filter {
    /// Only of this topic.
    #[arg(long)]
    pub topic: Option<String>,
    /// Only in this state; may be given more than once.
    #[arg(long = "state", value_enum, ignore_case = true)]
    pub states: Vec<State>,
    /// Only with this label, as in customer=42; may be given more than once.
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Only due at or after this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub due_from: Option<String>,
    /// Only due before this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub due_to: Option<String>,
}

/// Options of `list`.
#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(flatten)]
    filter: Filter,
    /// At most this many; 0 is all.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    limit: u32,
    /// Continue after an earlier list, with the token it gave.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TOKEN")]
    page_token: String,
    /// Ids only.
    #[arg(short, long)]
    quiet: bool,
}

/// States by their names.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum State {
    /// Waits for its due time.
    Scheduled,
    /// Released for delivery.
    Fired,
    /// Done.
    Completed,
    /// Given up.
    #[value(name = "dead-lettered", alias = "dead_lettered", alias = "dead")]
    DeadLettered,
    /// Never to be done.
    Cancelled,
}

impl From<State> for TriggerState {
    fn from(state: State) -> Self {
        match state {
            State::Scheduled => TriggerState::Scheduled,
            State::Fired => TriggerState::Fired,
            State::Completed => TriggerState::Completed,
            State::DeadLettered => TriggerState::DeadLettered,
            State::Cancelled => TriggerState::Cancelled,
        }
    }
}

/// `KEY=VALUE`.
pub fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

impl Filter {
    /// As the protocol says it.
    pub fn to_proto(&self) -> Result<TriggerFilter, Failure> {
        let moment = |flag: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => when::moment(flag, text)?
                .map(Some)
                .ok_or_else(|| Failure::usage(flag, format!("{text:?} is no moment"), "2027-02-13T15:00:00Z")),
        };
        Ok(TriggerFilter {
            topic: self.topic.clone().unwrap_or_default(),
            states: self.states.iter().map(|state| TriggerState::from(*state).into()).collect(),
            due_from: moment("--due-from", &self.due_from)?,
            due_to: moment("--due-to", &self.due_to)?,
            labels: self.labels.iter().cloned().collect(),
        })
    }
}

pub async fn run(context: &mut Context, options: Options) -> Result<u8, Failure> {
    let mut request = ListRequest {
        filter: Some(options.filter.to_proto()?),
        page_token: options.page_token,
        ..ListRequest::default()
    };
    let mut triggers: Vec<Trigger> = Vec::new();
    let mut have = 0u32;
    // Pages end where the limit does, so that the token continues right after what was printed.
    loop {
        request.page_size = match options.limit {
            0 => PAGE,
            limit => limit.saturating_sub(have).clamp(1, PAGE),
        };
        let page = context.client.list(request.clone()).await?;
        have = have.saturating_add(u32::try_from(page.triggers.len()).unwrap_or(u32::MAX));
        triggers.extend(page.triggers);
        request.page_token = page.next_page_token;
        let full = options.limit > 0 && have >= options.limit;
        // Lines of a long list need not wait for its end.
        if context.out.format == Format::Jsonl && !options.quiet {
            for trigger in triggers.drain(..) {
                context.out.event(&json::value(&trigger)?)?;
            }
        }
        if full || request.page_token.is_empty() {
            break;
        }
    }
    let more = Some(request.page_token.as_str()).filter(|token| !token.is_empty());
    if options.quiet {
        for trigger in &triggers {
            context.out.line(&trigger.id)?;
        }
    } else if context.out.format == Format::Json {
        let values: Result<Vec<_>, _> = triggers.iter().map(json::value).collect();
        context.out.list("triggers", values?, more)?;
    } else if context.out.format == Format::Table {
        context.out.table(&table(&triggers))?;
    }
    if let Some(token) = more {
        let text = format!("there are more: --limit 0 for all, or --page-token {token}");
        remark(context.out.format, &text);
    }
    Ok(0)
}

/// Triggers for people.
fn table(triggers: &[Trigger]) -> Table {
    let mut table = Table::new(&["ID", "TOPIC", "STATE", "DUE", "IN", "FAILED", "PAYLOAD"]);
    for trigger in triggers {
        table.row([
            trigger.id.clone(),
            trigger.topic.clone(),
            state(trigger),
            moment::show(trigger.due),
            moment::relative(trigger.due),
            trigger.attempt.to_string(),
            cut(&payload(&trigger.payload), 40),
        ]);
    }
    table
}
