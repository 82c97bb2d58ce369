//! Seat holds: most are cancelled before they run out, the others fire and complete. Every answer to a cancel is compared
//! with what happened: cancelled or fired, never both.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use harness::caller::Caller;
use harness::record;

use super::burst::{PATIENCE, report_missing};
use super::{Run, drained, take};
use crate::executors::{Executors, lock};
use crate::generate;
use crate::histogram::Times;
use crate::load::Load;
use crate::plan::{self, HoldEnd};
use crate::report::Report;
use crate::target::Target;

/// Triggers read at the end; of more, as many are read at equal distances.
const READ_MAX: usize = 50_000;

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let target = Target::start(&run.arguments).await?;
    let mut report = target.report("churn");
    let load = run.load("churn", target.router.partitions());
    let logs = tempfile::tempdir()?;
    let processes = run.arguments.executors.unwrap_or(2);
    let mut executors = Executors::start(processes, &load.topic, &target.endpoints, logs.path(), &load.oracle).await?;
    let (rate, seconds) = (run.arguments.rate.unwrap_or(500), run.arguments.seconds);
    run.progress.say(&format!("{rate} holds per second for {seconds} s, 95 of 100 cancelled before they run out"));
    let live = run.progress.live(&load.oracle);
    let (start, start_ms) = (Instant::now(), harness::clock::now_ms());
    let latency: Arc<Latency> = Arc::default();
    generate::at_their_moments(start, plan::steady(rate, seconds), |asked, number| {
        let asked_ms = start_ms + ms(asked - start);
        hold(target.router.clone(), load.clone(), latency.clone(), number, asked, asked_ms)
    })
    .await;
    let caller = Caller::new(&target.endpoints)?;
    generate::settle_cancels(&caller, &load).await?;
    let complete = drained(&load.oracle, PATIENCE).await;
    let took = start.elapsed();
    drop(live);
    executors.none_exited()?;
    let read = read_all(run, &caller, &load).await?;
    take(&mut report, &load);
    if !complete {
        report_missing(run, &target, &load).await;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_second = report.ok as f64 / took.as_secs_f64();
    report.throughput_per_s = per_second;
    report.latency_ms = latency.schedule.lock().unwrap_or_else(PoisonError::into_inner).percentiles();
    let cancels = latency.cancel.lock().unwrap_or_else(PoisonError::into_inner).percentiles();
    report.add("latency_ms_of_cancels", serde_json::to_value(cancels)?);
    let (cancelled, too_late) = lock(&load.oracle).cancels();
    report.add("cancelled", cancelled);
    report.add("cancels_too_late", too_late);
    report.add("fired", lock(&load.oracle).progress().1);
    report.add("read_at_the_end", read);
    report.add("rate_per_s", rate);
    report.add("seconds", seconds);
    target.account(&mut report);
    Ok(report)
}

#[derive(Debug, Default)]
struct Latency {
    schedule: Mutex<Times>,
    cancel: Mutex<Times>,
}

/// One hold: scheduled when it arrives, cancelled when its owner thinks better of it.
async fn hold(
    router: Arc<crate::router::Router>,
    load: Arc<Load>,
    latency: Arc<Latency>,
    number: u64,
    asked: Instant,
    asked_ms: i64,
) {
    let hold = plan::hold(number);
    let scheduled = generate::one(&router, &load, number, asked_ms + hold.length_ms, false).await;
    let answered = Instant::now();
    add(&latency.schedule, asked);
    let (HoldEnd::Cancel(after_ms) | HoldEnd::Race(after_ms)) = hold.end else { return };
    if !scheduled {
        return;
    }
    let thinks_better = asked + Duration::from_millis(u64::try_from(after_ms).unwrap_or(0));
    tokio::time::sleep_until(thinks_better.into()).await;
    // When the answer to the schedule came later than that, nobody could cancel before.
    let meant = thinks_better.max(answered);
    generate::cancel(&router, &load, number).await;
    add(&latency.cancel, meant);
}

fn add(times: &Mutex<Times>, asked: Instant) {
    let us = i64::try_from(asked.elapsed().as_micros()).unwrap_or(i64::MAX);
    times.lock().unwrap_or_else(PoisonError::into_inner).add_us(us);
}

fn ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Reads what there is at the end, so that the oracle can compare it with what owners were told; how many it read.
async fn read_all(run: &Run, caller: &Caller, load: &Load) -> anyhow::Result<u64> {
    let acknowledged: Vec<u64> = lock(&load.oracle).acknowledged().collect();
    let step = acknowledged.len().div_ceil(READ_MAX).max(1);
    run.progress.say("reading how every hold has ended");
    let mut reads = stream::iter(acknowledged.into_iter().step_by(step))
        .map(|number| async move { (number, record::get(caller, "default", &load.id(number)).await) })
        .buffer_unordered(64);
    let mut count = 0;
    while let Some((number, read)) = reads.next().await {
        let found = generate::found(read)?;
        lock(&load.oracle).find(number, found);
        count += 1;
    }
    Ok(count)
}
