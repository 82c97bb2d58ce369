//! `bosingak top`: the cluster as it goes, on a terminal or as data. Asks by the public protocol, every node for itself.

mod draw;
#[cfg(test)]
mod fixture;
mod poll;
mod report;
mod round;
mod screen;
mod view;

use std::io::IsTerminal;
use std::time::Duration;

use crate::context::Context;
use crate::duration;
use crate::failure::Failure;
use crate::output::Format;

use poll::Poll;
use round::Picture;

/// Bounds of the time between two rounds.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// How often, and how many.
///
/// Keys: q quit, p pause, s sort, r reverse, f forecast of the hour or the day, arrows scroll, ? help. Where standard
/// output is no terminal, or with -o, one snapshot is printed, which takes one interval; -o jsonl prints one for every
/// interval until interrupted.
#[derive(clap::Args)]
pub struct Options {
    /// Time between two rounds, 100ms to 1h; rates and lateness are of this time.
    #[arg(long, value_name = "LENGTH", value_parser = duration::parse, default_value = "2s")]
    interval: Duration,
    /// End after this many snapshots of -o jsonl; 0 goes on until interrupted.
    #[arg(long, default_value_t = 0, value_name = "N")]
    count: u64,
}

/// Whether the view takes over the terminal: logs have no place there.
pub fn is_live(format: Format) -> bool {
    format == Format::Table && std::io::stdout().is_terminal()
}

/// Runs until it is left, or prints what was asked for.
pub async fn run(context: Context, options: Options) -> Result<u8, Failure> {
    let interval = options.interval;
    if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        let message = format!("expected 100ms to 1h, got {}", duration::show(interval));
        return Err(Failure::usage("--interval", message, "--interval 2s"));
    }
    let poll = Poll::new(&context.client, &context.addresses, interval);
    if is_live(context.out.format) {
        // The screen writes to the terminal itself; nobody else may hold standard output meanwhile.
        drop(context.out);
        return screen::run(poll, interval).await;
    }
    print(context, poll, &options).await
}

/// One snapshot, or one for every interval.
async fn print(mut context: Context, mut poll: Poll, options: &Options) -> Result<u8, Failure> {
    let mut before = first(&mut poll).await?;
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + options.interval, options.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut printed = 0;
    loop {
        let round = tokio::select! {
            round = async {
                ticks.tick().await;
                poll.round().await
            } => round,
            // Whoever interrupts a stream of snapshots has seen enough of them.
            _ = tokio::signal::ctrl_c() => return Ok(if printed > 0 { 0 } else { INTERRUPTED }),
        };
        if !round.is_answered() {
            return Err(poll.why_silent(&round));
        }
        let picture = round.picture(Some((before.0, &before.1)));
        match context.out.format {
            Format::Table => report::text(&picture, &mut context.out)?,
            Format::Json => context.out.json(&report::json(&picture, round.now_s))?,
            Format::Jsonl => context.out.event(&report::json(&picture, round.now_s))?,
        }
        context.out.flush()?;
        before = (round.at, picture);
        printed += 1;
        if context.out.format != Format::Jsonl || printed == options.count {
            return Ok(0);
        }
    }
}

/// Exit code of a process that was interrupted, as shells say it.
const INTERRUPTED: u8 = 130;

/// The round that rates are counted from.
async fn first(poll: &mut Poll) -> Result<(Duration, Picture), Failure> {
    let round = poll.round().await;
    if !round.is_answered() {
        return Err(poll.why_silent(&round));
    }
    Ok((round.at, round.picture(None)))
}
