//! `bosingak cluster`: nodes, partitions, leaders.

use clap::Subcommand;
use proto::admin::v1::{
    AcceptClockRequest, AddNodeRequest, DrainNodeRequest, ListLateRequest, PartitionStatus, RemoveNodeRequest,
    StatusResponse, TransferLeaderRequest,
};

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::{Failure, PARTIAL};
use crate::json::{self, Named};
use crate::moment;
use crate::output::remark;
use crate::table::{Table, clean};

/// What can be done with a cluster.
#[derive(Subcommand)]
pub enum Verb {
    /// One screen: alarms, nodes, partitions, executors. Exit code 5 when there are alarms.
    Status,
    /// The triggers that were late most recently, newest first, and why. Exit code 5 when a node did not answer.
    Late {
        /// Ask this node only; all of them otherwise.
        #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "NODE")]
        node: u64,
        /// At most this many, up to 10,000.
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Moves the leadership of a partition.
    TransferLeader {
        /// Which.
        partition: u32,
        /// To which node; the most caught-up one otherwise.
        #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "NODE")]
        to: u64,
    },
    /// Adds a running, empty node to every partition.
    AddNode {
        /// Its number.
        node: u64,
        /// Where clients reach it.
        #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
        endpoint: String,
        /// Where the other nodes reach it.
        #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
        peer_endpoint: String,
    },
    /// Takes a node out of every partition.
    RemoveNode {
        /// Which.
        node: u64,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Moves leadership off a node so that it can be stopped.
    Drain {
        /// Which.
        node: u64,
    },
    /// Takes a drained node back.
    Undrain {
        /// Which.
        node: u64,
    },
    /// Accepts the clock of a partition's leader after a jump that no majority confirmed.
    AcceptClock {
        /// Which.
        partition: u32,
        #[command(flatten)]
        confirm: Confirm,
    },
}

pub async fn run(context: &mut Context, verb: Verb) -> Result<u8, Failure> {
    let client = context.client.clone();
    match verb {
        Verb::Status => return status(context).await,
        Verb::Late { node, limit } => return late(context, node, limit).await,
        Verb::TransferLeader { partition, to } => {
            let answer = client.transfer_leader(TransferLeaderRequest { partition, to }).await?;
            let text = format!("partition {partition} is led by node {} in term {}", answer.leader, answer.term);
            said(context, &answer, &text)?;
        }
        Verb::AddNode { node, endpoint, peer_endpoint } => {
            let answer = context.patient().add_node(AddNodeRequest { node, endpoint, peer_endpoint }).await?;
            said(context, &answer, &format!("node {node} votes in {} partitions", answer.partitions.len()))?;
        }
        Verb::RemoveNode { node, confirm } => {
            confirm.ask(&format!("removing node {node}"))?;
            let answer = context.patient().remove_node(RemoveNodeRequest { node }).await?;
            said(context, &answer, &format!("node {node} is removed from {} partitions", answer.partitions.len()))?;
        }
        Verb::Drain { node } => {
            let answer = context.patient().drain_node(DrainNodeRequest { node, undo: false }).await?;
            said(context, &answer, &format!("node {node} leads {} partitions", led(&answer.partitions, node)))?;
        }
        Verb::Undrain { node } => {
            let answer = context.patient().drain_node(DrainNodeRequest { node, undo: true }).await?;
            said(context, &answer, &format!("node {node} may lead again"))?;
        }
        Verb::AcceptClock { partition, confirm } => {
            confirm.ask(&format!("accepting the clock of partition {partition} fires what is due by it, which"))?;
            let answer = client.accept_clock(AcceptClockRequest { partition }).await?;
            said(context, &answer, &format!("accepted {}", moment::both(answer.accepted)))?;
        }
    }
    Ok(0)
}

/// An address as the server takes it; a URL of one is understood.
fn host_and_port(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let valid = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if valid { Ok(address.to_string()) } else { Err("expected HOST:PORT, as in 10.0.0.4:7300".into()) }
}

fn said(context: &mut Context, answer: &impl Named, text: &str) -> Result<(), Failure> {
    if context.out.is_json() { context.out.message(answer) } else { context.out.line(text) }
}

fn led(partitions: &[PartitionStatus], node: u64) -> usize {
    partitions.iter().filter(|partition| partition.leader == node).count()
}

async fn status(context: &mut Context) -> Result<u8, Failure> {
    let status = context.client.cluster_status().await?;
    let code = if status.alarms.is_empty() { 0 } else { PARTIAL };
    if context.out.is_json() {
        context.out.message(&status)?;
        return Ok(code);
    }
    let out = &mut context.out;
    let leaderless = status.partitions.iter().filter(|partition| partition.leader == 0).count();
    let health = match (status.alarms.len(), leaderless) {
        (0, 0) => "all is well".to_owned(),
        (alarms, 0) => out.alarming(&format!("{alarms} alarms")),
        (alarms, without) => out.alarming(&format!("{alarms} alarms, {without} partitions without leader")),
    };
    let (cluster, node, version) = (clean(&status.cluster), status.node, clean(&status.version));
    out.line(&format!("cluster {cluster}: {health} (as node {node} sees it, version {version})"))?;
    for alarm in &status.alarms {
        let line = out.alarming(&format!("! {}", clean(alarm)));
        out.line(&line)?;
    }
    out.line("")?;
    out.table(&nodes(&status))?;
    out.line("")?;
    out.table(&partitions(&status))?;
    if !status.executors.is_empty() {
        out.line("")?;
        out.table(&executors(&status))?;
    }
    Ok(code)
}

fn nodes(status: &StatusResponse) -> Table {
    let mut table = Table::new(&["NODE", "ENDPOINT", "PEERS", "STATE", "LEADS", "LEVEL"]);
    for node in &status.nodes {
        let state = match (node.reachable, node.draining) {
            (false, _) => "UNREACHABLE",
            (true, true) => "DRAINING",
            (true, false) => "UP",
        };
        table.row([
            node.node.to_string(),
            node.endpoint.clone(),
            node.peer_endpoint.clone(),
            state.to_owned(),
            led(&status.partitions, node.node).to_string(),
            level(status, node.feature_level),
        ]);
    }
    table
}

/// What a build knows, and what is in force where that is less: the cluster waits for an older node.
fn level(status: &StatusResponse, build: u32) -> String {
    // A partition that is not open on the node that answers says 0.
    let known = status.partitions.iter().map(|partition| partition.feature_level).filter(|level| *level != 0);
    let in_force = known.min().unwrap_or(0);
    match build {
        0 => "?".to_owned(),
        _ if in_force != 0 && in_force < build => format!("{build} (at {in_force})"),
        _ => build.to_string(),
    }
}

fn partitions(status: &StatusResponse) -> Table {
    let mut table = Table::new(&[
        "PARTITION",
        "LEADER",
        "TERM",
        "VOTERS",
        "APPLIED",
        "LAG",
        "WATERMARK",
        "SCHEDULED",
        "FIRED",
        "IN FLIGHT",
        "DEAD",
        "CANARY",
        "CLOCK",
    ]);
    for partition in &status.partitions {
        let numbers = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let voters = match partition.learners.as_slice() {
            [] => numbers(&partition.voters),
            learners => format!("{}+{}", numbers(&partition.voters), numbers(learners)),
        };
        let behind: Vec<String> =
            partition.lag.iter().filter(|(_, lag)| **lag > 0).map(|(node, lag)| format!("{node}:{lag}")).collect();
        let leader = if partition.leader == 0 { "NONE".to_owned() } else { partition.leader.to_string() };
        let clock = if partition.clock_hold.is_empty() { "ok".to_owned() } else { partition.clock_hold.clone() };
        table.row([
            partition.partition.to_string(),
            leader,
            partition.term.to_string(),
            voters,
            format!("{}/{}", partition.applied_index, partition.committed_index),
            behind.join(" "),
            moment::show(partition.watermark),
            partition.scheduled.to_string(),
            partition.fired.to_string(),
            partition.in_flight.to_string(),
            partition.dead_lettered.to_string(),
            canary(partition),
            clock,
        ]);
    }
    table
}

async fn late(context: &mut Context, node: u64, limit: u32) -> Result<u8, Failure> {
    let answer = context.client.list_late(ListLateRequest { node, limit }).await?;
    if context.out.is_json() {
        let values: Result<Vec<_>, _> = answer.triggers.iter().map(json::value).collect();
        context.out.list("triggers", values?, None)?;
    } else {
        let mut table =
            Table::new(&["DUE", "LATE MS", "CAUSE", "DETAIL", "NAMESPACE", "TOPIC", "ID", "PARTITION", "NODE"]);
        for trigger in &answer.triggers {
            let late = trigger.late.as_ref().map_or(0, |late| late.seconds * 1_000 + i64::from(late.nanos / 1_000_000));
            table.row([
                moment::show(trigger.due),
                late.to_string(),
                trigger.cause().as_str_name().trim_start_matches("LATE_CAUSE_").to_owned(),
                trigger.detail.clone(),
                trigger.namespace.clone(),
                trigger.topic.clone(),
                trigger.id.clone(),
                trigger.partition.to_string(),
                trigger.node.to_string(),
            ]);
        }
        context.out.table(&table)?;
    }
    for node in &answer.missing {
        remark(context.out.format, &format!("node {node} did not answer: what it remembers is missing"));
    }
    Ok(if answer.missing.is_empty() { 0 } else { PARTIAL })
}

/// How old the canary of a partition is.
fn canary(partition: &PartitionStatus) -> String {
    let age = partition.canary_age.as_ref().map(|age| format!("{}s", age.seconds));
    match (age, partition.canary_overdue) {
        (Some(age), true) => format!("OVERDUE:{age}"),
        (age, _) => age.unwrap_or_default(),
    }
}

/// Executors for people; also of `bosingak executor list`.
pub fn executors(status: &StatusResponse) -> Table {
    let mut table = Table::new(&["EXECUTOR", "PARTITION", "TOPICS", "IN FLIGHT", "CREDIT"]);
    for executor in &status.executors {
        table.row([
            executor.executor.clone(),
            executor.partition.to_string(),
            executor.topics.join(","),
            executor.in_flight.to_string(),
            executor.credit.to_string(),
        ]);
    }
    table
}
