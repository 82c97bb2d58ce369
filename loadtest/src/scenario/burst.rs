//! Many triggers due at one millisecond: how long until the last completion is durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{Run, drained, take, until_ms};
use crate::executors::{Executors, lock};
use crate::generate;
use crate::load::Load;
use crate::report::{Report, grouped};
use crate::target::Target;

/// Nothing completed for so long means that nothing will.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let target = Target::start(&run.arguments).await?;
    let mut report = target.report("burst");
    let drain_s = measure(run, &target, &mut report, run.arguments.count.unwrap_or(100_000)).await?;
    report.drain_s = drain_s;
    target.account(&mut report);
    Ok(report)
}

/// Preloads, waits for the moment, and returns the seconds from due to the last completion.
pub async fn measure(run: &Run, target: &Target, report: &mut Report, count: u64) -> anyhow::Result<f64> {
    let load = run.load("burst", target.router.partitions());
    let logs = tempfile::tempdir()?;
    let processes = run.arguments.executors.unwrap_or(4);
    let mut executors = Executors::start(processes, &load.topic, &target.endpoints, logs.path(), &load.oracle).await?;
    let due_ms = store(run, target, &load, count).await?;
    let live = run.progress.live(&load.oracle);
    until_ms(due_ms).await;
    let complete = drained(&load.oracle, PATIENCE).await;
    drop(live);
    executors.none_exited()?;
    take(report, &load);
    if !complete {
        report_missing(run, target, &load).await;
    }
    let last_us = lock(&load.oracle).last_burst_completion_us();
    #[expect(clippy::cast_precision_loss, reason = "some seconds in microseconds")]
    let drain_s = (last_us - due_ms * 1_000) as f64 / 1e6;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    if drain_s > 0.0 {
        report.throughput_per_s = report.ok as f64 / drain_s;
    }
    report.add("executors", processes as u64);
    Ok(drain_s)
}

/// Stores `count` triggers due at one millisecond, and returns it.
///
/// # Errors
///
/// When storing takes longer than the time left until they are due.
pub async fn store(run: &Run, target: &Target, load: &Arc<Load>, count: u64) -> anyhow::Result<i64> {
    // A guess at a slow machine; --lead for a slower one.
    let lead_s = run.arguments.lead.unwrap_or(4 + count / 10_000);
    let due_ms = harness::clock::now_ms() + i64::try_from(lead_s).unwrap_or(0) * 1_000;
    run.progress.say(&format!("storing {} triggers due at one millisecond", grouped(count)));
    let bar = run.progress.bar("stored", count);
    let began = Instant::now();
    generate::preload(&target.router, load, count, true, move |_| due_ms, {
        let bar = bar.clone();
        move |stored| bar.inc(stored)
    })
    .await;
    bar.finish_and_clear();
    let stored_ms = harness::clock::now_ms();
    run.progress.say(&format!("stored in {:.1} s", began.elapsed().as_secs_f64()));
    ensure!(
        stored_ms < due_ms,
        "storing took {:.1} s, longer than the {lead_s} s until they are due: give a larger --lead",
        began.elapsed().as_secs_f64()
    );
    Ok(due_ms)
}

/// Says what has become of a few of those that did not complete.
pub async fn report_missing(run: &Run, target: &Target, load: &Load) {
    let missing = lock(&load.oracle).missing(harness::clock::now_ms());
    run.progress.say(&format!("{} triggers did not complete; the first of them:", grouped(missing.len() as u64)));
    let Ok(caller) = harness::caller::Caller::new(&target.endpoints) else {
        return;
    };
    for number in missing.into_iter().take(5) {
        let id = load.id(number);
        match harness::record::get(&caller, "default", &id).await {
            Ok(trigger) => run.progress.say(&format!("  {id}: {:?}, {trigger:?}", trigger.state())),
            Err(problem) => run.progress.say(&format!("  {id}: {problem}")),
        }
    }
}
