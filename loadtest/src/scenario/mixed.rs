//! A day of a shop within the run: arrivals at a base rate with two peaks, much of it due at three moments.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::burst::{PATIENCE, report_missing};
use super::{Run, drained, take, until_ms};
use crate::executors::{Executors, lock};
use crate::generate;
use crate::histogram::Times;
use crate::plan::{Day, RateTimes};
use crate::report::{Report, grouped};
use crate::target::Target;

/// Before the first arrival, so that none is late because the run is only beginning.
const LEAD_IN_MS: u32 = 200;

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let target = Target::start(&run.arguments).await?;
    let mut report = target.report("mixed");
    let load = run.load("mixed", target.router.partitions());
    let logs = tempfile::tempdir()?;
    let processes = run.arguments.executors.unwrap_or(4);
    let mut executors = Executors::start(processes, &load.topic, &target.endpoints, logs.path(), &load.oracle).await?;
    let (rate, seconds) = (run.arguments.rate.unwrap_or(100), run.arguments.seconds);
    let day = Day::new(rate, seconds, run.arguments.seed);
    run.progress.say(&format!(
        "a day within {seconds} s: {} triggers, {rate} per second, ten and fifty times that at its peaks",
        grouped(day.arrivals.len() as u64)
    ));
    let live = run.progress.live(&load.oracle);
    let start = Instant::now() + Duration::from_millis(LEAD_IN_MS.into());
    let start_ms = harness::clock::now_ms() + i64::from(LEAD_IN_MS);
    let latencies: Arc<Mutex<BTreeMap<RateTimes, Times>>> = Arc::default();
    let moments = day.arrivals.iter().map(|arrival| (arrival.at, *arrival));
    generate::at_their_moments(start, moments, |asked, arrival| {
        let (router, load, latencies) = (target.router.clone(), load.clone(), latencies.clone());
        let number = load.any();
        async move {
            generate::one(&router, &load, number, start_ms + arrival.due_ms, arrival.burst).await;
            let us = i64::try_from(asked.elapsed().as_micros()).unwrap_or(i64::MAX);
            latencies.lock().unwrap_or_else(PoisonError::into_inner).entry(arrival.times).or_default().add_us(us);
        }
    })
    .await;
    until_ms(start_ms + day.midnight_ms).await;
    let complete = drained(&load.oracle, PATIENCE).await;
    let took = start.elapsed();
    drop(live);
    executors.none_exited()?;
    take(&mut report, &load);
    if !complete {
        report_missing(run, &target, &load).await;
    }
    let latencies = std::mem::take(&mut *latencies.lock().unwrap_or_else(PoisonError::into_inner));
    let mut all = Times::default();
    for (RateTimes(times), latency) in &latencies {
        all.merge(latency);
        report.add(&format!("latency_ms_at_{times}_times"), serde_json::to_value(latency.percentiles())?);
    }
    report.latency_ms = all.percentiles();
    {
        let oracle = lock(&load.oracle);
        let (spread, bursts) = oracle.lateness();
        report.add("lateness_ms_of_the_spread", serde_json::to_value(spread.percentiles())?);
        report.add("lateness_ms_of_the_bursts", serde_json::to_value(bursts.percentiles())?);
        let last_us = oracle.last_burst_completion_us();
        #[expect(clippy::cast_precision_loss, reason = "some seconds in microseconds")]
        let drain_s = (last_us - (start_ms + day.midnight_ms) * 1_000) as f64 / 1e6;
        // A day so small that nothing was due at midnight has no burst to drain.
        report.drain_s = drain_s.max(0.0);
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_second = report.ok as f64 / took.as_secs_f64();
    report.throughput_per_s = per_second;
    report.add("base_rate_per_s", rate);
    report.add("seconds", seconds);
    target.account(&mut report);
    Ok(report)
}
