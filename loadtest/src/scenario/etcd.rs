//! The same load on etcd: single puts, then transactions of a batch, at its leader, of as many nodes on the same disk.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use harness::ports::Ports;
use harness::process::{Process, Program};
use harness::{caller, proc_stat};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use super::{Run, WARM_UP};
use crate::etcd::{self, PutRequest};
use crate::histogram::Times;
use crate::load::Load;
use crate::meter::Meter;
use crate::report::Report;
use crate::target;

/// Connections to the leader, as many as the router makes to a node.
const CONNECTIONS: usize = 4;

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let directory = tempfile::Builder::new().prefix("bosingak-etcd-").tempdir_in(&run.arguments.dir)?;
    let (file_system, sync_p50) = target::disk(directory.path())?;
    let (servers, endpoints) = start(run.arguments.nodes(), directory.path())?;
    let leader = harness::wait::until("leader of etcd", Duration::from_secs(20), || async {
        for endpoint in &endpoints {
            let channel = caller::channel(endpoint).map_err(|error| error.to_string())?;
            if etcd::leads(channel).await.map_err(|status| status.to_string())? {
                return Ok(endpoint.clone());
            }
        }
        Err("nobody leads".to_owned())
    })
    .await?;
    let channels = (0..CONNECTIONS).map(|_| caller::channel(&leader)).collect::<Result<Vec<_>, _>>()?;

    let mut report = Report::new("etcd", run.arguments.nodes(), 1);
    target::describe_disk(&mut report, &file_system, sync_p50);
    let load = run.load("etcd", 1);
    let numbers = Arc::new(AtomicU64::new(0));
    let take = {
        let load = load.clone();
        move |count: usize| -> Vec<PutRequest> {
            let first = numbers.fetch_add(count as u64, Ordering::Relaxed);
            (first..first + count as u64).map(|number| put(&load, number)).collect()
        }
    };
    run.progress.say(&format!("single puts for {} s", run.arguments.seconds));
    let single = {
        let take = take.clone();
        measure(run, &channels, 256, 1, move |channel| {
            let put = take(1).remove(0);
            async move { etcd::put(channel, put).await }
        })
        .await?
    };
    let size = run.arguments.batch.min(128);
    run.progress.say(&format!("transactions of {size} puts for {} s", run.arguments.seconds));
    let batches = measure(run, &channels, 32, size as u64, move |channel| {
        let puts = take(size);
        async move { etcd::put_all(channel, puts).await }
    })
    .await?;

    report.ok = single.ok + batches.ok;
    report.errors = single.errors;
    for (reason, count) in batches.errors {
        *report.errors.entry(reason).or_default() += count;
    }
    report.count = report.ok + report.errors.values().sum::<u64>();
    report.throughput_per_s = single.meter.sustained();
    report.latency_ms = single.meter.latency().percentiles();
    report.add("peak_10s_per_s", single.meter.peak());
    report.add("batch", size);
    report.add("batch_items_per_s", batches.meter.sustained());
    report.add("batch_items_peak_10s_per_s", batches.meter.peak());
    report.add("batch_latency_ms", serde_json::to_value(batches.meter.latency().percentiles())?);
    for server in &servers {
        let usage = proc_stat::usage(server.pid());
        report.cpu_s += usage.cpu_s;
        report.rss_bytes_max = report.rss_bytes_max.max(usage.rss_bytes_max);
    }
    Ok(report)
}

/// The trigger of this number as somebody would keep it in etcd: its id, and its payload.
fn put(load: &Load, number: u64) -> PutRequest {
    let request = load.request(number, 0);
    PutRequest { key: Bytes::from(request.id), value: request.payload }
}

fn start(nodes: u64, directory: &Path) -> anyhow::Result<(Vec<Process>, Vec<String>)> {
    let binary = binary().context("no etcd on this machine: apt-get install etcd-server")?;
    let mut ports = Ports::reserve()?;
    let mut addresses = Vec::new();
    for number in 1..=nodes {
        addresses.push((
            format!("n{number}"),
            format!("http://{}", ports.take()?),
            format!("http://{}", ports.take()?),
        ));
    }
    let members: Vec<String> = addresses.iter().map(|(name, _, peer)| format!("{name}={peer}")).collect();
    let members = members.join(",");
    let mut servers = Vec::new();
    for (name, client, peer) in &addresses {
        let data = directory.join(name);
        let arguments = [
            ("--name", name.as_str()),
            ("--data-dir", &data.to_string_lossy()),
            ("--listen-client-urls", client),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", &members),
            ("--log-level", "error"),
        ]
        .iter()
        .flat_map(|(flag, value)| [(*flag).into(), (*value).to_owned().into()])
        .collect();
        servers.push(Process::start(Program {
            name: format!("etcd {name}"),
            binary: binary.clone(),
            arguments,
            environment: Vec::new(),
            log: directory.join(format!("{name}.log")),
            piped: false,
        })?);
    }
    Ok((servers, addresses.into_iter().map(|(_, client, _)| client).collect()))
}

fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join("etcd")).find(|file| file.is_file())
}

struct Measured {
    meter: Arc<Meter>,
    ok: u64,
    errors: BTreeMap<String, u64>,
}

async fn measure<F>(
    run: &Run,
    channels: &[Channel],
    callers: usize,
    items: u64,
    call: impl Fn(Channel) -> F + Clone + Send + 'static,
) -> anyhow::Result<Measured>
where
    F: Future<Output = Result<(), Status>> + Send,
{
    let meter = Arc::new(Meter::new(WARM_UP, run.arguments.seconds));
    let mut tasks = JoinSet::new();
    for turn in 0..run.arguments.concurrency.unwrap_or(callers) {
        let (meter, call, channel) = (meter.clone(), call.clone(), channels[turn % channels.len()].clone());
        tasks.spawn(async move {
            let mut latency = Times::default();
            let mut errors: BTreeMap<String, u64> = BTreeMap::new();
            let mut ok = 0;
            while !meter.is_over() {
                let asked = Instant::now();
                match call(channel.clone()).await {
                    Ok(()) => {
                        ok += items;
                        meter.count(items, asked, &mut latency);
                    }
                    Err(status) => *errors.entry(format!("{:?}", status.code())).or_default() += items,
                }
            }
            meter.keep(&latency);
            (ok, errors)
        });
    }
    let mut measured = Measured { meter, ok: 0, errors: BTreeMap::new() };
    while let Some(task) = tasks.join_next().await {
        let (ok, errors) = task?;
        measured.ok += ok;
        for (reason, count) in errors {
            *measured.errors.entry(reason).or_default() += count;
        }
    }
    Ok(measured)
}
