//! Answers of a cluster of three, for tests.

use std::time::Duration;

use proto::admin::v1::{ExecutorStatus, LatenessCounts, NodeStatus, PartitionStatus, ReplicaHealth, StatusResponse};
use proto::v1::{ForecastCell, ForecastResponse};

use super::round::Round;

/// Sunday, 14 February 2027, 00:00:30 in Seoul.
pub const NOW_S: i64 = 1_802_530_830;

/// What one node says: node 1 leads partitions 0 and 1, node 2 leads partition 2.
pub fn status(node: u64) -> StatusResponse {
    let leaders = [1, 1, 2];
    StatusResponse {
        cluster: "demo".into(),
        node,
        version: "0.1.0".into(),
        nodes: (1..=3)
            .map(|node| NodeStatus {
                node,
                endpoint: format!("10.0.0.{node}:7300"),
                peer_endpoint: format!("10.0.0.{node}:7301"),
                reachable: true,
                draining: false,
                feature_level: 1,
            })
            .collect(),
        partitions: (0..).zip(leaders).map(|(number, leader)| partition(number, leader, node)).collect(),
        alarms: Vec::new(),
        executors: (0..)
            .zip(leaders)
            .filter(|(_, leader)| *leader == node)
            .flat_map(|(partition, _)| [("gift-worker", 40, 960), ("seat-worker", 0, 512)].map(|one| (partition, one)))
            .map(|(partition, (executor, in_flight, credit))| ExecutorStatus {
                executor: executor.into(),
                partition,
                topics: vec![executor.replace("-worker", "")],
                in_flight,
                credit,
            })
            .collect(),
    }
}

/// What `node` says of a partition.
pub fn partition(number: u32, leader: u64, node: u64) -> PartitionStatus {
    let leads = leader == node;
    PartitionStatus {
        partition: number,
        leader,
        term: 4,
        committed_index: 1_000,
        // Followers hear of it a little later.
        applied_index: if leads { 1_000 } else { 998 },
        scheduled: 400_000,
        fired: 25,
        dead_lettered: u64::from(number),
        in_flight: if leads { 40 } else { 0 },
        lag: if leads { [(1, 0), (2, 2), (3, 1)].into() } else { [].into() },
        completed_total: 10_000,
        oldest_overdue: leads.then_some(prost_types::Duration { seconds: i64::from(number), nanos: 250_000_000 }),
        lateness: leads.then(|| lateness([5, 5, 0, 0])),
        health: ReplicaHealth::Running.into(),
        ..PartitionStatus::default()
    }
}

/// Counts up to 1, 5 and 100 ms, and beyond.
pub fn lateness(counts: [u64; 4]) -> LatenessCounts {
    LatenessCounts { bounds_ms: vec![1, 5, 100], counts: counts.into() }
}

/// All three answer.
pub fn round() -> Round {
    Round {
        at: Duration::from_secs(10),
        now_s: NOW_S,
        answers: (1..=3).map(|node| (format!("http://10.0.0.{node}:7300"), Ok(status(node)))).collect(),
        hour: Some(forecast(60, [(0, 100), (1, 100_000), (30, 20_000), (59, 500), (60, 7)])),
        day: Some(forecast(900, [(0, 120_600), (4, 40_000), (36, 90_000), (80, 60_000), (95, 1)])),
    }
}

/// Two seconds later: node 1 has delivered and completed.
pub fn next_round() -> Round {
    let mut round = round();
    round.at = Duration::from_secs(12);
    for (_, answer) in &mut round.answers {
        for partition in answer.iter_mut().flat_map(|status| &mut status.partitions) {
            partition.completed_total += 1_000;
            partition.fired += 200;
            partition.scheduled -= 1_200;
            if let Some(lateness) = &mut partition.lateness {
                // 100 more: 40 at once, 58 within 5 ms, 2 within 100.
                *lateness = self::lateness([45, 63, 2, 0]);
            }
        }
    }
    round
}

fn forecast<const N: usize>(width_s: i64, counts: [(i64, u64); N]) -> ForecastResponse {
    let first_s = NOW_S - NOW_S.rem_euclid(width_s);
    let cells = counts.map(|(at, count)| ForecastCell {
        start: Some(prost_types::Timestamp { seconds: first_s + at * width_s, nanos: 0 }),
        width: Some(prost_types::Duration { seconds: width_s, nanos: 0 }),
        count,
        topics: Vec::new(),
    });
    ForecastResponse { cells: cells.into(), ..ForecastResponse::default() }
}
