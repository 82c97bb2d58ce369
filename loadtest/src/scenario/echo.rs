//! The ceiling: what the transport alone does in the same process layout.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::ports::Ports;
use harness::process::{Process, Program};
use harness::{caller, proc_stat};
use tokio::task::JoinSet;

use super::{Run, WARM_UP};
use crate::echo::ROLE;
use crate::histogram::Times;
use crate::meter::Meter;
use crate::report::Report;
use crate::target;

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let directory = tempfile::Builder::new().prefix("bosingak-echo-").tempdir_in(&run.arguments.dir)?;
    let (file_system, sync_p50) = target::disk(directory.path())?;
    let mut ports = Ports::reserve()?;
    let mut servers = Vec::new();
    let mut channels = Vec::new();
    for number in 1..=run.arguments.nodes() {
        let address = ports.take()?;
        servers.push(Process::start(Program {
            name: format!("echo {number}"),
            binary: std::env::current_exe()?,
            arguments: vec![ROLE.into(), address.to_string().into()],
            environment: Vec::new(),
            log: directory.path().join(format!("echo-{number}.log")),
            piped: false,
        })?);
        // One connection each, as the router makes them.
        channels.push(caller::channel(&address.to_string())?);
    }
    let load = run.load("echo", run.arguments.partitions);
    harness::wait::until("echo of every server", Duration::from_secs(10), || async {
        for channel in &channels {
            caller::scheduler(channel.clone()).schedule(load.request(0, 0)).await?;
        }
        Ok::<_, tonic::Status>(())
    })
    .await?;
    run.progress.say(&format!("echo for {} s", run.arguments.seconds));
    let meter = Arc::new(Meter::new(WARM_UP, run.arguments.seconds));
    let mut callers = JoinSet::new();
    for turn in 0..run.arguments.concurrency.unwrap_or(256) {
        let (load, meter) = (load.clone(), meter.clone());
        let channel = channels[turn % channels.len()].clone();
        callers.spawn(async move {
            let mut latency = Times::default();
            let mut errors: BTreeMap<String, u64> = BTreeMap::new();
            let mut done = 0;
            while !meter.is_over() {
                let number = load.any();
                let asked = Instant::now();
                match caller::scheduler(channel.clone()).schedule(load.request(number, 0)).await {
                    Ok(_) => {
                        done += 1;
                        meter.count(1, asked, &mut latency);
                    }
                    Err(status) => *errors.entry(format!("{:?}", status.code())).or_default() += 1,
                }
            }
            meter.keep(&latency);
            (done, errors)
        });
    }
    let mut report = Report::new("echo", run.arguments.nodes(), run.arguments.partitions);
    while let Some(caller) = callers.join_next().await {
        let (done, errors) = caller?;
        report.ok += done;
        report.count += done + errors.values().sum::<u64>();
        for (reason, count) in errors {
            *report.errors.entry(reason).or_default() += count;
        }
    }
    report.throughput_per_s = meter.sustained();
    report.add("peak_10s_per_s", meter.peak());
    report.latency_ms = meter.latency().percentiles();
    target::describe_disk(&mut report, &file_system, sync_p50);
    for server in &servers {
        let usage = proc_stat::usage(server.pid());
        report.cpu_s += usage.cpu_s;
        report.rss_bytes_max = report.rss_bytes_max.max(usage.rss_bytes_max);
    }
    Ok(report)
}
