//! Schedule rate: single calls, streams, batches.

use std::sync::Arc;

use super::{Run, WARM_UP, verify};
use crate::arguments::Scenario;
use crate::generate;
use crate::load::{Load, far};
use crate::meter::Meter;
use crate::report::Report;
use crate::router::Router;
use crate::target::Target;

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let target = Target::start(&run.arguments).await?;
    let mut report = target.report(run.arguments.scenario.name());
    let load = run.load("load", target.router.partitions());
    run.progress.say(&format!("{} for {} s", run.arguments.scenario.name(), run.arguments.seconds));
    let meter = measure(run, &target.router, &load, run.arguments.scenario).await;
    report.throughput_per_s = meter.sustained();
    report.add("peak_10s_per_s", meter.peak());
    report.add("seconds", run.arguments.seconds);
    report.latency_ms = meter.latency().percentiles();
    verify::all_there(&target.endpoints, &load, &mut report).await?;
    target.account(&mut report);
    Ok(report)
}

/// Schedules triggers of the far future for as long as the arguments say.
pub async fn measure(run: &Run, router: &Arc<Router>, load: &Arc<Load>, way: Scenario) -> Arc<Meter> {
    let meter = Arc::new(Meter::new(WARM_UP, run.arguments.seconds));
    let from_ms = harness::clock::now_ms();
    let due_ms = move |number| far(from_ms, number);
    let bar = run.progress.bar("seconds", run.arguments.seconds);
    let moving = {
        let (bar, meter) = (bar.clone(), meter.clone());
        tokio::spawn(async move {
            while !meter.is_over() {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                bar.inc(1);
            }
        })
    };
    let concurrency = run.arguments.concurrency;
    match way {
        Scenario::ScheduleStream => {
            generate::streams(router, load, &meter, concurrency.unwrap_or(2_048), due_ms).await;
        }
        Scenario::ScheduleBatch => {
            let size = run.arguments.batch;
            generate::batches(router, load, &meter, concurrency.unwrap_or(32), size, due_ms).await;
        }
        _ => generate::singles(router, load, &meter, concurrency.unwrap_or(256), due_ms).await,
    }
    moving.abort();
    bar.finish_and_clear();
    meter
}
