//! What `./dev demo` shows: three processes, two executors, a stream of triggers, 100,000 due at one millisecond, a
//! leader killed in the middle, and a verdict.

use std::sync::Arc;
use std::time::Duration;

use super::burst::{PATIENCE, report_missing, store};
use super::failover::{kill_leader, new_leaders};
use super::{Run, drained, take, until_ms};
use crate::executors::{Executors, lock};
use crate::generate;
use crate::histogram::Times;
use crate::meter::Meter;
use crate::report::{Report, grouped};
use crate::target::Target;

/// The leader is killed this long after the burst has begun.
const KILL_AFTER_MS: i64 = 150;
/// The stream goes on for this long after the kill.
const STREAM_AFTER_KILL_S: u64 = 6;

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let count = run.arguments.count.unwrap_or(100_000);
    let rate = run.arguments.rate.unwrap_or(300);
    run.progress.say(&format!("starting {} nodes", run.arguments.nodes()));
    let mut target = Target::start(&run.arguments).await?;
    let mut report = target.report("demo");
    report.faults = true;
    let load = run.load("demo", target.router.partitions());
    let logs = tempfile::tempdir()?;
    let processes = run.arguments.executors.unwrap_or(2);
    let mut executors = Executors::start(processes, &load.topic, &target.endpoints, logs.path(), &load.oracle).await?;
    run.progress.say(&format!("{processes} executors connected; a stream of {rate} triggers per second begins"));
    let live = run.progress.live(&load.oracle);
    let lead_s = run.arguments.lead.unwrap_or(4 + count / 10_000);
    let meter = Arc::new(Meter::new(Duration::ZERO, lead_s + STREAM_AFTER_KILL_S));
    let stream = tokio::spawn({
        let (router, load, meter) = (target.router.clone(), load.clone(), meter.clone());
        async move {
            let due_ms = |number: u64| {
                let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                harness::clock::now_ms() + 500 + i64::try_from(spread % 2_000).unwrap_or(0)
            };
            generate::open_loop(&router, &load, &meter, rate, due_ms).await;
        }
    });
    let due_ms = store(run, &target, &load, count).await?;
    let idle = lock(&load.oracle).lateness().0.clone();
    until_ms(due_ms).await;
    run.progress.say(&format!("{} triggers are due now", grouped(count)));
    until_ms(due_ms + KILL_AFTER_MS).await;
    let oracle = load.oracle.clone();
    let killed = kill_leader(target.own()?, &oracle).await?;
    run.progress.say(&format!("node {killed} was killed (SIGKILL)"));
    let mut failover = Times::default();
    for took_us in new_leaders(&oracle).await? {
        failover.add_us(took_us);
    }
    run.progress.say(&format!("new leaders are at work after {:.2} s", failover.percentiles().max / 1_000.0));
    let cluster = target.own()?;
    cluster.spawn(killed)?;
    stream.await?;
    let complete = drained(&load.oracle, PATIENCE).await;
    drop(live);
    executors.none_exited()?;
    target.own()?.ready().await?;
    if !complete {
        report_missing(run, &target, &load).await;
    }
    take(&mut report, &load);
    {
        let oracle = lock(&load.oracle);
        let last_us = oracle.last_burst_completion_us();
        #[expect(clippy::cast_precision_loss, reason = "some seconds in microseconds")]
        {
            report.drain_s = (last_us - due_ms * 1_000) as f64 / 1e6;
        }
        report.add("lateness_ms_of_the_burst", serde_json::to_value(oracle.lateness().1.percentiles())?);
    }
    report.add("lateness_ms_before_the_burst", serde_json::to_value(idle.percentiles())?);
    report.add("failover_s", failover.percentiles().max / 1_000.0);
    report.latency_ms = meter.latency().percentiles();
    target.account(&mut report);
    Ok(report)
}
