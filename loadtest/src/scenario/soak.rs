//! A steady rate of schedules, cancels, reschedules and completions for a long time: does anything grow, or slow down?

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::caller::{self, Caller};
use harness::{clock, proc_stat};
use proto::v1;

use super::burst::{PATIENCE, report_missing};
use super::{Run, drained, take};
use crate::executors::{Executors, lock};
use crate::generate;
use crate::histogram::Times;
use crate::load::Load;
use crate::plan::{self, Then, Turn};
use crate::report::Report;
use crate::target::Target;
use crate::trend::{Sample, Trend};

/// What has ended is kept so long: short, so that a run reaches the state in which as much is forgotten as comes in; longer
/// than a cancel without an answer is tried.
const RETENTION: Duration = Duration::from_secs(45);

/// Between two looks at memory and disk, unless that would be more than [`SAMPLES_MAX`] of them.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
const SAMPLES_MAX: u32 = 3_600;

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let target = Target::start(&run.arguments).await?;
    let mut report = target.report("soak");
    let load = run.load("soak", target.router.partitions());
    forget_soon(&target, &load).await?;
    let logs = tempfile::tempdir()?;
    let processes = run.arguments.executors.unwrap_or(2);
    let mut executors = Executors::start(processes, &load.topic, &target.endpoints, logs.path(), &load.oracle).await?;
    let (rate, seconds) = (run.arguments.rate.unwrap_or(200), run.arguments.seconds);
    run.progress.say(&format!("{rate} triggers per second for {seconds} s, a fifth cancelled, a fifth moved"));
    let live = run.progress.live(&load.oracle);
    let (start, start_ms) = (Instant::now(), clock::now_ms());
    let length = Duration::from_secs(seconds);
    let latency: Arc<Mutex<Times>> = Arc::default();
    let caller = Arc::new(Caller::new(&target.endpoints)?);
    let work = generate::at_their_moments(start, plan::steady(rate, seconds), |asked, number| {
        let asked_ms = start_ms + i64::try_from((asked - start).as_millis()).unwrap_or(i64::MAX);
        one(target.router.clone(), caller.clone(), load.clone(), latency.clone(), number, asked, asked_ms)
    });
    let ((), trend) = tokio::join!(work, watch(&target, &load, start, length));
    generate::settle_cancels(&caller, &load).await?;
    let complete = drained(&load.oracle, PATIENCE).await;
    drop(live);
    executors.none_exited()?;
    take(&mut report, &load);
    if !complete {
        report_missing(run, &target, &load).await;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_second = report.ok as f64 / length.as_secs_f64();
    report.throughput_per_s = per_second;
    report.latency_ms = latency.lock().unwrap_or_else(PoisonError::into_inner).percentiles();
    let (cancelled, too_late) = lock(&load.oracle).cancels();
    report.add("cancelled", cancelled);
    report.add("cancels_too_late", too_late);
    report.add("rate_per_s", rate);
    report.add("seconds", seconds);
    report.add("retention_s", RETENTION.as_secs());
    for (name, value) in trend.figures(target.cluster.is_some()) {
        report.add(name, value);
    }
    target.account(&mut report);
    Ok(report)
}

/// Shortens the retention of the topic.
async fn forget_soon(target: &Target, load: &Load) -> anyhow::Result<()> {
    let request = v1::UpdateTopicRequest {
        namespace: "default".into(),
        name: load.topic.clone(),
        limits: Some(v1::TopicLimits { retention: Some(clock::duration(RETENTION)), ..Default::default() }),
        expected_version: 0,
    };
    Caller::new(&target.endpoints)?
        .call(|channel| {
            let request = request.clone();
            async move { caller::topics(channel).update_topic(request).await }
        })
        .await
        .context("settings of the topic")?;
    Ok(())
}

/// One trigger, and what is done with it half-way.
async fn one(
    router: Arc<crate::router::Router>,
    caller: Arc<Caller>,
    load: Arc<Load>,
    latency: Arc<Mutex<Times>>,
    number: u64,
    asked: Instant,
    asked_ms: i64,
) {
    let Turn { length_ms, then } = plan::turn(number);
    let scheduled = generate::one(&router, &load, number, asked_ms + length_ms, false).await;
    let us = i64::try_from(asked.elapsed().as_micros()).unwrap_or(i64::MAX);
    latency.lock().unwrap_or_else(PoisonError::into_inner).add_us(us);
    if !scheduled || then == Then::Wait {
        return;
    }
    let half_way = asked + Duration::from_millis(u64::try_from(length_ms / 2).unwrap_or(0));
    tokio::time::sleep_until(half_way.into()).await;
    match then {
        Then::Cancel => {
            generate::cancel(&router, &load, number).await;
            // Now, while it can still be read: what has ended is soon forgotten here.
            if let Err(problem) = generate::settle_cancel(&caller, &load, number).await {
                lock(&load.oracle).retry(&format!("read after a cancel: {problem}"));
            }
        }
        Then::Later(by_ms) => {
            generate::reschedule(&router, &load, number, asked_ms + length_ms + by_ms).await;
        }
        Then::Wait => {}
    }
}

/// Looks at memory, disk and lateness now and then, until `length` after `start`.
async fn watch(target: &Target, load: &Load, start: Instant, length: Duration) -> Trend {
    let every = SAMPLE_EVERY.max(length / SAMPLES_MAX);
    let mut trend = Trend::new(length);
    let mut next = start;
    while next < start + length {
        next += every.min(start + length - next);
        tokio::time::sleep_until(next.into()).await;
        let (rss_bytes, disk_bytes) = target.cluster.as_ref().map_or((0, 0), |cluster| {
            (cluster.usage().rss_bytes, proc_stat::used_bytes(cluster.root()) / cluster.nodes().len() as u64)
        });
        let lateness = lock(&load.oracle).lateness().0.clone();
        trend.add(Sample { after: next - start, rss_bytes, disk_bytes, lateness });
    }
    trend
}
