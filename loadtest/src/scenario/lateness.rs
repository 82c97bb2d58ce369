//! How late single triggers are delivered when little else goes on.

use std::sync::Arc;

use super::burst::{PATIENCE, report_missing};
use super::{Run, WARM_UP, drained, take};
use crate::executors::Executors;
use crate::generate;
use crate::meter::Meter;
use crate::report::Report;
use crate::target::Target;

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let target = Target::start(&run.arguments).await?;
    let mut report = target.report("lateness");
    let load = run.load("late", target.router.partitions());
    let logs = tempfile::tempdir()?;
    let processes = run.arguments.executors.unwrap_or(2);
    let mut executors = Executors::start(processes, &load.topic, &target.endpoints, logs.path(), &load.oracle).await?;
    let rate = run.arguments.rate.unwrap_or(50);
    run.progress.say(&format!("{rate} triggers per second for {} s", run.arguments.seconds));
    let meter = Arc::new(Meter::new(WARM_UP, run.arguments.seconds));
    let live = run.progress.live(&load.oracle);
    // One to two seconds ahead, at milliseconds of their own.
    let due_ms = |number: u64| {
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        harness::clock::now_ms() + 1_000 + i64::try_from(spread % 1_000).unwrap_or(0)
    };
    generate::open_loop(&target.router, &load, &meter, rate, due_ms).await;
    let complete = drained(&load.oracle, PATIENCE).await;
    drop(live);
    executors.none_exited()?;
    take(&mut report, &load);
    if !complete {
        report_missing(run, &target, &load).await;
    }
    report.throughput_per_s = meter.sustained();
    report.latency_ms = meter.latency().percentiles();
    report.add("rate_per_s", rate);
    target.account(&mut report);
    Ok(report)
}
