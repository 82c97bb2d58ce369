//! `bosingak clock`: the virtual clock of a development server.

use std::time::Duration;

use clap::Subcommand;
use client::retry::Policy;
use proto::admin::v1::{AdvanceClockRequest, advance_clock_request};

use crate::context::Context;
use crate::failure::Failure;
use crate::{duration, moment, when};

/// Stops at every due time, so it takes as long as the work does: an hour unless the caller wants less.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// What can be done with a virtual clock.
#[derive(Subcommand)]
pub enum Verb {
    /// Moves it, stopping at each due time until nothing is in flight.
    Advance {
        /// How far, as in 30d.
        #[arg(value_parser = duration::parse, required_unless_present = "to", value_name = "LENGTH")]
        by: Option<Duration>,
        /// To this moment (RFC 3339) instead.
        #[arg(long, value_name = "TIME", conflicts_with = "by")]
        to: Option<String>,
    },
}

pub async fn run(context: &mut Context, verb: Verb) -> Result<u8, Failure> {
    let Verb::Advance { by, to } = verb;
    let target = match (by, &to) {
        (Some(by), _) => Some(advance_clock_request::Target::By(duration::proto(by))),
        (None, Some(to)) => {
            let moment = when::rfc3339(to)?
                .ok_or_else(|| Failure::usage("--to", format!("{to:?} is no moment"), "2027-02-13T15:00:00Z"))?;
            Some(advance_clock_request::Target::To(moment))
        }
        (None, None) => None,
    };
    // The default time-out is for calls that answer at once.
    let total = context.client.policy().total;
    let total = if total == Duration::from_secs(10) { PATIENCE } else { total };
    let client = context.client.with_policy(Policy { total, attempt: total, ..context.client.policy() });
    let answer = client.advance_clock(AdvanceClockRequest { target }).await?;
    if context.out.is_json() {
        context.out.message(&answer)?;
    } else {
        context.out.line(&format!("it is {}; {} fired", moment::show(answer.now), answer.fired))?;
    }
    Ok(0)
}
