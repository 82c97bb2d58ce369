//! Bursts whose leader is killed with SIGKILL, again and again: how long until a new leader completes something.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::cluster::Cluster;

use super::burst::{PATIENCE, report_missing, store};
use super::{Run, drained, take, until_ms};
use crate::executors::{Executors, SharedOracle, lock};
use crate::generate;
use crate::histogram::Times;
use crate::load::Load;
use crate::report::Report;
use crate::target::Target;

/// Triggers that fall due one after the other behind each burst, so that there is something to complete whenever the
/// new leader is ready: one per partition in each of these.
const TRICKLE_EVERY_MS: i64 = 10;
/// How long they go on.
const TRICKLE_FOR_MS: i64 = 8_000;

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let mut target = Target::start(&run.arguments).await?;
    let mut report = target.report("failover");
    report.faults = true;
    let load = run.load("failover", target.router.partitions());
    let logs = tempfile::tempdir()?;
    let processes = run.arguments.executors.unwrap_or(2);
    let mut executors = Executors::start(processes, &load.topic, &target.endpoints, logs.path(), &load.oracle).await?;
    let count = run.arguments.count.unwrap_or(30_000);
    let live = run.progress.live(&load.oracle);
    let mut times = Times::default();
    for kill in 1..=run.arguments.kills {
        run.progress.say(&format!("kill {kill} of {}", run.arguments.kills));
        let due_ms = store(run, &target, &load, count).await?;
        trickle(&target, &load, due_ms).await;
        until_ms(due_ms).await;
        let oracle = load.oracle.clone();
        let killed = kill_leader(target.own()?, &oracle).await?;
        for took_us in new_leaders(&oracle).await? {
            times.add_us(took_us);
        }
        let complete = drained(&load.oracle, PATIENCE).await;
        if !complete {
            report_missing(run, &target, &load).await;
            break;
        }
        let cluster = target.own()?;
        cluster.spawn(killed)?;
        cluster.ready().await?;
        executors.none_exited()?;
    }
    drop(live);
    take(&mut report, &load);
    report.add("failover_ms", serde_json::to_value(times.percentiles())?);
    report.add("failovers", times.len());
    report.add("kills", run.arguments.kills);
    target.account(&mut report);
    Ok(report)
}

/// Stores the triggers that follow a burst.
async fn trickle(target: &Target, load: &Arc<Load>, due_ms: i64) {
    let steps = TRICKLE_FOR_MS / TRICKLE_EVERY_MS;
    for partition in 0..target.router.partitions() {
        let numbers = load.of(partition, usize::try_from(steps).unwrap_or(0));
        let items: Vec<(u64, i64)> =
            numbers.into_iter().zip(0..).map(|(number, step)| (number, due_ms + step * TRICKLE_EVERY_MS)).collect();
        generate::batch(&target.router, load, partition, items, false).await;
    }
}

/// Kills the node that leads most, and has the oracle look for completions by its successors.
pub async fn kill_leader(cluster: &mut Cluster, oracle: &SharedOracle) -> anyhow::Result<u64> {
    let leader = cluster.busiest_leader().await?;
    let status = cluster.status(leader).await.context("status of the leader")?;
    let terms: BTreeMap<u32, u64> = status
        .partitions
        .iter()
        .filter(|partition| partition.leader == leader)
        .map(|partition| (partition.partition, partition.term))
        .collect();
    ensure!(!terms.is_empty(), "node {leader} leads nothing");
    let since_us = harness::clock::now_us();
    lock(oracle).probe(since_us, terms);
    cluster.kill(leader)?;
    Ok(leader)
}

/// Waits for a completion of every partition that lost its leader; microseconds since the kill.
pub async fn new_leaders(oracle: &SharedOracle) -> anyhow::Result<Vec<i64>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(took_us) = lock(oracle).probed_us() {
            return Ok(took_us);
        }
        if Instant::now() > deadline {
            let missing = lock(oracle).unprobed();
            anyhow::bail!("nothing completed in partitions {missing:?} within 20 s after their leader was killed");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
