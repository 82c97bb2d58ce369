//! Schedule rate, burst, memory and restart with many pending, beside an empty twin.

use std::time::{Duration, Instant};

use anyhow::Context;
use harness::caller::Caller;

use super::{Run, burst, schedule};
use crate::arguments::Scenario;
use crate::executors::lock;
use crate::generate;
use crate::load::far;
use crate::report::{Report, grouped};
use crate::target::Target;

/// How often it is looked whether the nodes are at rest,
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// how much of a core all of them together may use then,
const RESTING_CORES: f64 = 0.15;
/// and how long that may take.
const SETTLED_WITHIN: Duration = Duration::from_secs(600);

/// What one cluster, empty or full, can do.
struct Twin {
    schedule_per_s: f64,
    drain_s: f64,
    rss_bytes: u64,
    /// Triggers it was given.
    stored: u64,
}

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let count = run.arguments.count.unwrap_or(100_000);
    run.progress.say("the empty twin");
    let empty = {
        let target = Target::start(&run.arguments).await?;
        let mut report = target.report("growth");
        twin(run, &target, &mut report, count).await?
    };
    let mut target = Target::start(&run.arguments).await?;
    let mut report = target.report("growth");
    let rss_before = target.own()?.usage().rss_bytes;
    fill(run, &target, &mut report).await?;
    let rss_after = target.own()?.usage().rss_bytes;
    report.add("memory_bytes_empty", rss_before);
    report.add("memory_bytes_full", rss_after);
    report.add("memory_bytes_per_pending", slope(rss_before, rss_after, run.arguments.pending));
    report.add("pending", run.arguments.pending);
    report.add("settle_s", settle(run, &mut target).await?);
    let full = twin(run, &target, &mut report, count).await?;
    report.add("schedule_per_s_empty", empty.schedule_per_s);
    report.add("schedule_per_s_full", full.schedule_per_s);
    report.add("schedule_ratio", full.schedule_per_s / empty.schedule_per_s);
    report.add("burst_s_empty", empty.drain_s);
    report.add("burst_s_full", full.drain_s);
    // A ratio of rates, so that less than one is slower here too.
    report.add("burst_ratio", empty.drain_s / full.drain_s);
    report.add("memory_bytes_under_load_empty", empty.rss_bytes);
    report.add("memory_bytes_under_load_full", full.rss_bytes);
    // Per trigger stored, not per trigger of the burst alone.
    let burst = std::mem::replace(&mut report.count, run.arguments.pending + full.stored);
    target.account(&mut report);
    report.count = burst;
    let restart_s = restart(run, &mut target).await?;
    report.add("restart_s", restart_s);
    report.drain_s = full.drain_s;
    report.throughput_per_s = full.schedule_per_s;
    Ok(report)
}

async fn twin(run: &Run, target: &Target, report: &mut Report, count: u64) -> anyhow::Result<Twin> {
    let load = run.load("rate", target.router.partitions());
    run.progress.say(&format!("schedule-batch for {} s", run.arguments.seconds));
    let meter = schedule::measure(run, &target.router, &load, Scenario::ScheduleBatch).await;
    let errors: u64 = lock(&load.oracle).errors().values().sum();
    anyhow::ensure!(errors == 0, "{errors} schedules failed: {:?}", lock(&load.oracle).errors());
    let (scheduled, ..) = lock(&load.oracle).progress();
    let drain_s = burst::measure(run, target, report, count).await?;
    let cluster = target.cluster.as_ref().context("a cluster of our own")?;
    Ok(Twin {
        schedule_per_s: meter.sustained(),
        drain_s,
        rss_bytes: cluster.usage().rss_bytes,
        stored: scheduled + count,
    })
}

/// Stores the pending triggers.
async fn fill(run: &Run, target: &Target, report: &mut Report) -> anyhow::Result<()> {
    let pending = run.arguments.pending;
    run.progress.say(&format!("storing {} pending", grouped(pending)));
    let load = run.load("pending", target.router.partitions());
    let bar = run.progress.bar("pending", pending);
    let began = Instant::now();
    let from_ms = harness::clock::now_ms() + 24 * 3_600_000;
    generate::preload(&target.router, &load, pending, false, move |number| far(from_ms, number), {
        let bar = bar.clone();
        move |stored| bar.inc(stored)
    })
    .await;
    bar.finish_and_clear();
    report.add("fill_s", began.elapsed().as_secs_f64());
    let (acknowledged, ..) = lock(&load.oracle).progress();
    anyhow::ensure!(acknowledged == pending, "{acknowledged} of {pending} stored: {:?}", lock(&load.oracle).errors());
    Ok(())
}

/// Waits until the nodes have put away what was stored: the question is what many pending triggers cost, not what storing them did.
/// Returns how long that took, in seconds.
async fn settle(run: &Run, target: &mut Target) -> anyhow::Result<f64> {
    run.progress.say("waiting until the nodes are at rest");
    let cluster = target.own()?;
    let began = Instant::now();
    let mut before = cluster.usage().cpu_s;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = cluster.usage().cpu_s;
        if now - before < RESTING_CORES * LOOK_EVERY.as_secs_f64() {
            return Ok(began.elapsed().as_secs_f64());
        }
        anyhow::ensure!(
            began.elapsed() < SETTLED_WITHIN,
            "the nodes are still at work {SETTLED_WITHIN:?} after the last call"
        );
        before = now;
    }
}

/// Kills one node and starts it again: seconds until it has applied what was committed and answers a linearizable read.
async fn restart(run: &Run, target: &mut Target) -> anyhow::Result<f64> {
    run.progress.say("restarting a node");
    let endpoints = target.endpoints.clone();
    let cluster = target.own()?;
    let id = *cluster.ids().last().context("a node")?;
    let committed: Vec<(u32, u64)> = cluster
        .partitions()
        .await?
        .into_iter()
        .map(|partition| (partition.partition, partition.committed_index))
        .collect();
    cluster.kill(id)?;
    let began = Instant::now();
    cluster.spawn(id)?;
    let cluster = &*cluster;
    let committed = &committed;
    harness::wait::until("node that has caught up", Duration::from_secs(120), || async move {
        let status = cluster.status(id).await.map_err(|status| status.to_string())?;
        for (partition, index) in committed {
            let applied = status
                .partitions
                .iter()
                .find(|one| one.partition == *partition && one.leader != 0)
                .map_or(0, |one| one.applied_index);
            if applied < *index {
                return Err(format!("partition {partition} at {applied} of {index}"));
            }
        }
        Ok(())
    })
    .await?;
    let own: Vec<String> = endpoints.into_iter().filter(|endpoint| *endpoint == cluster.node(id).endpoint()).collect();
    let caller = Caller::new(&own)?;
    match harness::record::get(&caller, "default", "nobody").await {
        Err(problem) if problem.reason == "NOT_FOUND" => Ok(began.elapsed().as_secs_f64()),
        Err(problem) => Err(problem.into()),
        Ok(_) => anyhow::bail!("a trigger nobody made"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn slope(before: u64, after: u64, pending: u64) -> f64 {
    (after as f64 - before as f64) / pending as f64
}
