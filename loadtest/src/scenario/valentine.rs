//! The first seconds of 14 February: a share of the gifts that are due at 00:00 is sent while people go on reserving, at ten or fifty
//! times the rate of a day.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;

use super::{Run, gifts, until_ms};
use crate::generate;
use crate::gifts::{Patience, lock, reserve};
use crate::plan;
use crate::report::{Report, grouped};

/// Of 100 gifts of a day so many are due at midnight.
const AT_MIDNIGHT_PERCENT: u64 = 30;
/// Gifts that are due in the run, unless told.
const DUE: u64 = 20_000;

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let (factor, seconds) = (run.arguments.factor, run.arguments.seconds);
    let whole_midnight = plan::GIFTS_PER_DAY * factor * AT_MIDNIGHT_PERCENT / 100;
    let due = run.arguments.count.unwrap_or(DUE).min(whole_midnight);
    let (mut world, mut report) = gifts::start(run, due, "valentine").await?;
    let eve = gifts::reserve(run, &world, due).await?;
    lock(&world.gifts).forget_latency();
    // Those are for the next midnight, and wait.
    let date = world.clock.date_after()?;
    let midnight_ms = gifts::to_midnight(&mut world).await?;
    let arrivals = plan::gifts_within(factor, seconds);
    run.progress.say(&format!(
        "it is midnight: {} of {} gifts are due; {} more are reserved within {seconds} s",
        grouped(due),
        grouped(whole_midnight),
        grouped(arrivals)
    ));
    let before = world.spent().await?;
    let start = Instant::now();
    let broken: Arc<std::sync::Mutex<Option<anyhow::Error>>> = Arc::default();
    generate::at_their_moments(start, plan::gifts(factor, seconds), |_, _| {
        let (world, date, broken) = (world.clone(), date.clone(), broken.clone());
        async move {
            if let Err(error) = reserve(&world, &date, false, Patience::Person, true).await {
                *broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
            }
        }
    })
    .await;
    if let Some(error) = broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
        return Err(error.context("the providers"));
    }
    let end_ms = midnight_ms + i64::try_from(seconds).context("seconds")? * 1_000;
    until_ms(end_ms).await;
    let at_the_end = world.spent().await?;
    let sent_within = lock(&world.gifts).progress()[1];
    if !gifts::arrived(&world).await || !gifts::all_told(&world).await {
        run.progress.say("not everything arrived; nothing has moved for a minute");
    }
    gifts::judge(run, &mut world, &mut report).await?;
    report.throughput_per_s = eve.per_s;
    let within = at_the_end.seconds_since(&before).min(report.drain_s).max(0.001);
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    {
        let per_s = sent_within as f64 / within;
        report.add("gifts_sent_per_s", per_s);
        report.add("whole_midnight_would_take_s", whole_midnight as f64 / per_s.max(0.001));
        report.add("reservations_per_s_meant", arrivals as f64 / seconds as f64);
    }
    report.add("factor", factor);
    report.add("seconds", seconds);
    report.add("gifts_due", due);
    report.add("gifts_due_of_the_whole_midnight", whole_midnight);
    report.add("gifts_sent_within_the_seconds", sent_within);
    report.add("processors", at_the_end.processors_since(&before));
    report.add("limit", at_the_end.limit_since(&before, world.target.sync_p50()));
    Ok(report)
}
