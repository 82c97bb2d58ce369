//! A picture of the cluster as data, and as text where nothing can be drawn.

use std::time::Duration;

use prost_types::Timestamp;
use serde_json::{Value, json};

use super::draw::grouped;
use super::round::{Executor, Node, Partition, Picture};
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Table, clean};
use crate::{duration, moment};

/// One document. Counts are numbers, times are in milliseconds, `null` is what nobody knows.
pub fn json(picture: &Picture, now_s: i64) -> Value {
    json!({
        "at": moment::show(Some(Timestamp { seconds: now_s, nanos: 0 })),
        "cluster": picture.cluster,
        "version": picture.version,
        "intervalMs": ms(picture.interval),
        "pending": picture.sum(|one| one.pending),
        "overdue": picture.sum(|one| one.overdue),
        "oldestOverdueMs": ms(picture.oldest()),
        "inFlight": picture.sum(|one| one.in_flight),
        "deadLettered": picture.sum(|one| one.dead),
        "firedPerS": picture.rate(|one| one.fired_per_s),
        "completedPerS": picture.rate(|one| one.completed_per_s),
        "latenessMs": {
            "count": picture.lateness.count,
            "p50": ms(picture.lateness.p50),
            "p99": ms(picture.lateness.p99),
        },
        "nodes": picture.nodes.iter().map(node).collect::<Vec<_>>(),
        "partitions": picture.partitions.iter().map(partition).collect::<Vec<_>>(),
        "executors": picture.executors.iter().map(executor).collect::<Vec<_>>(),
        "forecast": {
            "hour": { "cellMs": 60_000, "counts": picture.hour },
            "day": { "cellMs": 900_000, "counts": picture.day },
        },
        "notes": picture.notes(),
    })
}

fn node(node: &Node) -> Value {
    json!({
        "node": node.node,
        "endpoint": node.endpoint,
        "answers": node.silent.is_empty(),
        "silent": if node.silent.is_empty() { Value::Null } else { node.silent.clone().into() },
        "draining": node.draining,
        "leads": node.leads,
    })
}

fn partition(one: &Partition) -> Value {
    json!({
        "partition": one.partition,
        "leader": one.leader,
        "term": one.term,
        "appliedIndex": one.applied,
        "lag": one.lag,
        "pending": one.pending,
        "overdue": one.overdue,
        "oldestOverdueMs": ms(one.oldest),
        "inFlight": one.in_flight,
        "deadLettered": one.dead,
        "firedPerS": one.fired_per_s,
        "completedPerS": one.completed_per_s,
        "health": one.health.word(),
    })
}

fn executor(one: &Executor) -> Value {
    json!({
        "executor": one.executor,
        "partitions": one.partitions,
        "topics": one.topics,
        "inFlight": one.in_flight,
        "credit": one.credit,
    })
}

fn ms(length: Option<Duration>) -> Option<u64> {
    length.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
}

/// For people whose output is no terminal.
pub fn text(picture: &Picture, out: &mut Output) -> Result<(), Failure> {
    let answering = format!("{} of {} nodes answer", picture.answering(), picture.nodes.len());
    out.line(&format!("cluster {}, version {}: {answering}", clean(&picture.cluster), clean(&picture.version)))?;
    for note in picture.notes() {
        let line = out.alarming(&format!("! {}", clean(&note)));
        out.line(&line)?;
    }
    let length = |length: Option<Duration>| length.map_or_else(|| "-".to_owned(), duration::show);
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    let mut sums = Table::new(&["PENDING", "OVERDUE", "OLDEST", "DEAD", "FIRED/S", "DONE/S", "LATE P50", "LATE P99"]);
    sums.row([
        grouped(picture.sum(|one| one.pending)),
        grouped(picture.sum(|one| one.overdue)),
        length(picture.oldest()),
        grouped(picture.sum(|one| one.dead)),
        rate(picture.rate(|one| one.fired_per_s)),
        rate(picture.rate(|one| one.completed_per_s)),
        length(picture.lateness.p50),
        length(picture.lateness.p99),
    ]);
    let mut partitions = Table::new(&["PARTITION", "LEADER", "TERM", "APPLIED", "LAG", "PENDING", "OVERDUE", "HEALTH"]);
    for one in &picture.partitions {
        partitions.row([
            one.partition.to_string(),
            one.leader.to_string(),
            one.term.to_string(),
            one.applied.to_string(),
            one.lag.to_string(),
            grouped(one.pending),
            grouped(one.overdue),
            one.health.word(),
        ]);
    }
    let mut executors = Table::new(&["EXECUTOR", "PARTITIONS", "IN FLIGHT", "CREDIT", "TOPICS"]);
    for one in &picture.executors {
        executors.row([
            one.executor.clone(),
            one.partitions.to_string(),
            grouped(one.in_flight),
            grouped(one.credit),
            one.topics.iter().cloned().collect::<Vec<_>>().join(","),
        ]);
    }
    for table in [&sums, &partitions, &executors] {
        out.line("")?;
        out.table(table)?;
    }
    Ok(())
}
