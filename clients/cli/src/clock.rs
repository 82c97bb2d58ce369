//! `bosingak clock`: the virtual clock of a development server.

use std::time::Duration;

use clap::Subcommand;
use proto::admin::v1::{AdvanceClockRequest, advance_clock_request};

use crate::context::Context;
use crate::failure::Failure;
use crate::{duration, moment, when};

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
            let moment = when::moment("--to", to)?
                .ok_or_else(|| Failure::usage("--to", format!("{to:?} is no moment"), "2027-02-13T15:00:00Z"))?;
            Some(advance_clock_request::Target::To(moment))
        }
        (None, None) => None,
    };
    let answer = context.patient().advance_clock(AdvanceClockRequest { target }).await?;
    if context.out.is_json() {
        context.out.message(&answer)?;
    } else {
        context.out.line(&format!("it is {}; {} fired", moment::show(answer.now), answer.fired))?;
    }
    Ok(0)
}
