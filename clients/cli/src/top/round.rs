//! What the nodes answered at one moment, put together: of each partition what its leader says, and what changed since
//! the round before. A calculation; asking is in [`super::poll`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::admin::v1::{LatenessCounts, PartitionStatus, ReplicaHealth, StatusResponse};
use proto::v1::ForecastResponse;

use crate::duration;

/// The answers of one round.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// When it was asked, since the view began.
    pub at: Duration,
    /// When it was asked, in seconds since the Unix epoch, by this machine's clock.
    pub now_s: i64,
    /// Every endpoint that was asked, and its status or why there is none.
    pub answers: Vec<(String, Result<StatusResponse, String>)>,
    /// What is due per minute of the next hour, when somebody said.
    pub hour: Option<ForecastResponse>,
    /// What is due per quarter of an hour of the next day, when somebody said.
    pub day: Option<ForecastResponse>,
}

/// The cluster at the moment of a round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// Its name.
    pub cluster: String,
    /// Version of the nodes; several when they differ.
    pub version: String,
    /// By number.
    pub nodes: Vec<Node>,
    /// Endpoints that did not answer and belong to no known node.
    pub unknown: Vec<(String, String)>,
    /// By number.
    pub partitions: Vec<Partition>,
    /// By name.
    pub executors: Vec<Executor>,
    /// What the nodes that answered call alarming.
    pub alarms: Vec<String>,
    /// What is due in each minute of the next hour; empty when nobody says.
    pub hour: Vec<u64>,
    /// What is due in each quarter of an hour of the next day; empty when nobody says.
    pub day: Vec<u64>,
    /// Time since the round before; `None` for the first.
    pub interval: Option<Duration>,
    /// Of what was handed out since then for the first time.
    pub lateness: Lateness,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its number.
    pub node: u64,
    /// Where it was asked.
    pub endpoint: String,
    /// Why it did not answer; empty when it did.
    pub silent: String,
    /// Its leadership is being moved off.
    pub draining: bool,
    /// How many partitions it leads.
    pub leads: usize,
}

/// One partition, as its leader says where it answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partition {
    /// Its number.
    pub partition: u32,
    /// 0 when nobody knows of one.
    pub leader: u64,
    /// Of that leader.
    pub term: u64,
    /// Index of the last entry applied.
    pub applied: u64,
    /// Entries the follower furthest behind has to catch up.
    pub lag: u64,
    /// Not due yet, or held back.
    pub pending: u64,
    /// Fired and not ended.
    pub overdue: u64,
    /// How long the oldest of them is due.
    pub oldest: Option<Duration>,
    /// Handed out and not ended.
    pub in_flight: u64,
    /// Given up.
    pub dead: u64,
    /// Fired per second since the round before.
    pub fired_per_s: Option<f64>,
    /// Completed per second since the round before.
    pub completed_per_s: Option<f64>,
    /// How it is.
    pub health: Health,
    /// Completed since the partition began.
    completed_total: u64,
    /// Of the leader, in its term.
    lateness: LatenessCounts,
}

/// How a partition is, the worst last.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Led, and served by the leader.
    #[default]
    Good,
    /// A follower has entries to catch up.
    Lagging,
    /// The leader did not answer: what is shown is what another node knows.
    Hearsay,
    /// Replicated time stands still; why.
    Held(String),
    /// The replica of the node asked is being opened again, or is shut down.
    Down,
    /// A replica stopped for good.
    Halted,
    /// Nobody leads it.
    Leaderless,
}

/// One executor, all its streams together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executor {
    /// Its name.
    pub executor: String,
    /// Partitions at whose leader it has a stream.
    pub partitions: usize,
    /// What it works on.
    pub topics: BTreeSet<String>,
    /// Handed to it and not ended.
    pub in_flight: u64,
    /// What it would still take.
    pub credit: u64,
}

/// How late triggers were handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    /// How many.
    pub count: u64,
    /// Half were at most this late; `None` when there were none, or they were later than can be said.
    pub p50: Option<Duration>,
    /// 99 of 100 were at most this late.
    pub p99: Option<Duration>,
}

/// Entries a follower may be behind while the leader works: one on its way to it, and one it is about to apply.
const LAG_MAX: u64 = 100;
/// Cells of the hour, a minute each, and of the day, a quarter of an hour each.
const HOUR: (usize, i64) = (60, 60);
const DAY: (usize, i64) = (96, 900);

impl Health {
    /// In a word.
    pub fn word(&self) -> String {
        match self {
            Health::Good => "ok".into(),
            Health::Lagging => "LAGGING".into(),
            Health::Hearsay => "HEARSAY".into(),
            Health::Held(why) => format!("TIME HELD: {why}"),
            Health::Down => "DOWN".into(),
            Health::Halted => "HALTED".into(),
            Health::Leaderless => "NO LEADER".into(),
        }
    }
}

impl Round {
    /// Whether anybody answered.
    pub fn is_answered(&self) -> bool {
        self.answers.iter().any(|(_, answer)| answer.is_ok())
    }

    /// Where to ask the next time: where this round asked, and where its answers say that nodes are.
    pub fn endpoints(&self) -> Vec<String> {
        let mut endpoints: Vec<String> = self.answers.iter().map(|(endpoint, _)| endpoint.clone()).collect();
        for node in self.statuses().flat_map(|status| &status.nodes) {
            if !node.endpoint.is_empty() && !endpoints.iter().any(|known| same(known, &node.endpoint)) {
                endpoints.push(node.endpoint.clone());
            }
        }
        endpoints
    }

    /// Puts the answers together, beside those of the round before.
    pub fn picture(&self, before: Option<(Duration, &Picture)>) -> Picture {
        let interval = before.map(|(at, _)| self.at.saturating_sub(at)).filter(|interval| !interval.is_zero());
        let versions: BTreeSet<&str> = self.statuses().map(|status| status.version.as_str()).collect();
        let mut picture = Picture {
            cluster: self.statuses().next().map_or_else(String::new, |status| status.cluster.clone()),
            version: versions.into_iter().collect::<Vec<_>>().join(", "),
            partitions: self.partitions(),
            alarms: self.alarms(),
            hour: cells(self.hour.as_ref(), self.now_s, HOUR),
            day: cells(self.day.as_ref(), self.now_s, DAY),
            interval,
            ..Picture::default()
        };
        (picture.nodes, picture.unknown) = self.nodes(&picture.partitions);
        picture.executors = self.executors(&picture.partitions);
        if let (Some((_, before)), Some(interval)) = (before, interval) {
            picture.compare(before, interval);
        }
        picture
    }

    /// Of every node once, though it may have been asked by two names.
    fn statuses(&self) -> impl Iterator<Item = &StatusResponse> {
        let mut seen = BTreeSet::new();
        let answered = self.answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        answered.filter(move |status| seen.insert(status.node))
    }

    fn partitions(&self) -> Vec<Partition> {
        // What a leader says of itself is worth most, then who knows the newest term, then who is furthest.
        let worth = |node: u64, status: &PartitionStatus| {
            (status.leader != 0 && status.leader == node, status.term, status.applied_index)
        };
        let mut best: BTreeMap<u32, (u64, &PartitionStatus)> = BTreeMap::new();
        let mut halted = BTreeSet::new();
        for status in self.statuses() {
            for partition in &status.partitions {
                if partition.health() == ReplicaHealth::Halted {
                    halted.insert(partition.partition);
                }
                let known = best.entry(partition.partition).or_insert((status.node, partition));
                // An old leader that has not heard of the new one says that it leads, in an older term.
                let newer = match (worth(known.0, known.1), worth(status.node, partition)) {
                    ((true, known, _), (true, new, _)) => new > known,
                    ((true, known, _), (false, new, _)) => new > known && partition.leader != 0,
                    ((false, known, _), (true, new, _)) => new >= known,
                    (known, new) => new > known,
                };
                if newer {
                    *known = (status.node, partition);
                }
            }
        }
        best.into_values()
            .map(|(node, status)| {
                let halted = halted.contains(&status.partition);
                Partition {
                    partition: status.partition,
                    leader: status.leader,
                    term: status.term,
                    applied: status.applied_index,
                    lag: status.lag.values().copied().max().unwrap_or(0),
                    pending: status.scheduled,
                    overdue: status.fired,
                    oldest: duration::of_proto(status.oldest_overdue),
                    in_flight: status.in_flight,
                    dead: status.dead_lettered,
                    health: health(status, node, halted),
                    completed_total: status.completed_total,
                    lateness: status.lateness.clone().unwrap_or_default(),
                    ..Partition::default()
                }
            })
            .collect()
    }

    fn nodes(&self, partitions: &[Partition]) -> (Vec<Node>, Vec<(String, String)>) {
        let mut nodes: BTreeMap<u64, Node> = BTreeMap::new();
        for known in self.statuses().flat_map(|status| &status.nodes) {
            let leads = partitions.iter().filter(|partition| partition.leader == known.node).count();
            let node = nodes.entry(known.node).or_insert_with(|| Node {
                node: known.node,
                endpoint: known.endpoint.clone(),
                leads,
                ..Node::default()
            });
            // Only the node itself knows.
            node.draining |= known.draining;
        }
        let answered: BTreeSet<u64> = self.statuses().map(|status| status.node).collect();
        let mut unknown = Vec::new();
        for (endpoint, answer) in &self.answers {
            let Err(why) = answer else { continue };
            match nodes.values_mut().find(|node| same(&node.endpoint, endpoint)) {
                Some(node) if answered.contains(&node.node) => {}
                Some(node) => node.silent.clone_from(why),
                None => unknown.push((endpoint.clone(), why.clone())),
            }
        }
        for node in nodes.values_mut() {
            if node.silent.is_empty() && !answered.contains(&node.node) {
                node.silent = "not asked yet".into();
            }
        }
        (nodes.into_values().collect(), unknown)
    }

    /// Executors as the leaders know them: whoever has lost a leadership may still hold streams that are being closed.
    fn executors(&self, partitions: &[Partition]) -> Vec<Executor> {
        let mut executors: BTreeMap<&str, Executor> = BTreeMap::new();
        for status in self.statuses() {
            let leads = |number: u32| {
                partitions.iter().any(|partition| partition.partition == number && partition.leader == status.node)
            };
            for stream in status.executors.iter().filter(|stream| leads(stream.partition)) {
                let executor = executors
                    .entry(&stream.executor)
                    .or_insert_with(|| Executor { executor: stream.executor.clone(), ..Executor::default() });
                executor.partitions += 1;
                executor.topics.extend(stream.topics.iter().cloned());
                executor.in_flight += u64::from(stream.in_flight);
                executor.credit += u64::from(stream.credit);
            }
        }
        executors.into_values().collect()
    }

    fn alarms(&self) -> Vec<String> {
        let mut alarms: Vec<String> = Vec::new();
        for alarm in self.statuses().flat_map(|status| &status.alarms) {
            if !alarms.contains(alarm) {
                alarms.push(alarm.clone());
            }
        }
        alarms
    }
}

fn health(status: &PartitionStatus, node: u64, halted: bool) -> Health {
    match status.health() {
        _ if status.leader == 0 => Health::Leaderless,
        _ if halted => Health::Halted,
        ReplicaHealth::Rebuilding | ReplicaHealth::Stopped => Health::Down,
        _ if !status.clock_hold.is_empty() => Health::Held(status.clock_hold.clone()),
        _ if status.leader != node => Health::Hearsay,
        _ if status.lag.values().any(|lag| *lag > LAG_MAX) => Health::Lagging,
        _ => Health::Good,
    }
}

impl Picture {
    /// Rates and lateness of the time between two pictures.
    fn compare(&mut self, before: &Picture, interval: Duration) {
        let mut lateness: BTreeMap<u32, u64> = BTreeMap::new();
        let mut beyond = 0;
        for partition in &mut self.partitions {
            let Some(was) = before.partitions.iter().find(|was| was.partition == partition.partition) else { continue };
            // A replica that is behind the one asked before, or a dead letter that was dropped: nothing, not less.
            let rate = |now: u64, then: u64| Some(now.saturating_sub(then) as f64 / interval.as_secs_f64());
            partition.completed_per_s = rate(partition.completed_total, was.completed_total);
            partition.fired_per_s = rate(partition.ever_fired(), was.ever_fired());
            if partition.term == was.term && partition.lateness.counts.is_empty() {
                // The leader did not answer this time: what it said before is what the next answer is compared with.
                partition.lateness = was.lateness.clone();
            }
            let same_count = partition.term == was.term && partition.lateness.bounds_ms == was.lateness.bounds_ms;
            let mut counts = partition.lateness.counts.clone();
            if partition.term == was.term && !same_count {
                // Nothing to compare with: not the whole term instead of what happened since.
                counts.clear();
            }
            if same_count {
                counts.iter_mut().zip(&was.lateness.counts).for_each(|(now, then)| *now = now.saturating_sub(*then));
            }
            for (at, count) in counts.into_iter().enumerate() {
                match partition.lateness.bounds_ms.get(at) {
                    Some(bound_ms) => *lateness.entry(*bound_ms).or_default() += count,
                    None => beyond += count,
                }
            }
        }
        let count = lateness.values().sum::<u64>() + beyond;
        self.lateness =
            Lateness { count, p50: percentile(&lateness, count, 50), p99: percentile(&lateness, count, 99) };
    }

    /// Over all partitions.
    pub fn sum(&self, of: impl Fn(&Partition) -> u64) -> u64 {
        self.partitions.iter().map(of).sum()
    }

    /// Over all partitions; `None` before there are two rounds.
    pub fn rate(&self, of: impl Fn(&Partition) -> Option<f64>) -> Option<f64> {
        self.partitions.iter().filter_map(of).reduce(|sum, one| sum + one)
    }

    /// How long the oldest trigger that has not ended is due.
    pub fn oldest(&self) -> Option<Duration> {
        self.partitions.iter().filter_map(|partition| partition.oldest).max()
    }

    /// How many nodes answered.
    pub fn answering(&self) -> usize {
        self.nodes.iter().filter(|node| node.silent.is_empty()).count()
    }

    /// What a person should know first: nodes that do not answer, then what the others call alarming.
    pub fn notes(&self) -> Vec<String> {
        let asked = if self.answering() > 0 { "; the others were asked" } else { "" };
        let silent = self.nodes.iter().filter(|node| !node.silent.is_empty());
        let mut notes: Vec<String> = silent
            .map(|node| format!("node {} at {} does not answer: {}{asked}", node.node, node.endpoint, node.silent))
            .collect();
        notes.extend(self.unknown.iter().map(|(endpoint, why)| format!("{endpoint} does not answer: {why}{asked}")));
        notes.extend(self.alarms.iter().cloned());
        notes
    }
}

impl Partition {
    /// Triggers that ever fired, but for dead letters that were dropped.
    fn ever_fired(&self) -> u64 {
        self.completed_total + self.overdue + self.dead
    }
}

/// The bound below which `percent` of 100 lie.
fn percentile(counts: &BTreeMap<u32, u64>, count: u64, percent: u64) -> Option<Duration> {
    let mut left = (count * percent).div_ceil(100);
    if left == 0 {
        return None;
    }
    for (bound_ms, count) in counts {
        left = left.saturating_sub(*count);
        if left == 0 {
            return Some(Duration::from_millis((*bound_ms).into()));
        }
    }
    None
}

/// Counts of as many cells of `width_s` from the one that now is in; the answer leaves out those that are empty.
fn cells(forecast: Option<&ForecastResponse>, now_s: i64, (count, width_s): (usize, i64)) -> Vec<u64> {
    let Some(forecast) = forecast else { return Vec::new() };
    let mut cells = vec![0; count];
    let first_s = now_s - now_s.rem_euclid(width_s);
    for cell in &forecast.cells {
        let start_s = cell.start.map_or(0, |start| start.seconds);
        // What should have fired already is due now.
        let at = usize::try_from((start_s - first_s).max(0) / width_s).unwrap_or(usize::MAX);
        if let Some(cell_) = cells.get_mut(at) {
            *cell_ += cell.count;
        }
    }
    cells
}

/// Whether two endpoints are one, with or without `http://`.
fn same(one: &str, other: &str) -> bool {
    let bare = |endpoint: &str| endpoint.rsplit("://").next().unwrap_or("").trim_end_matches('/').to_owned();
    bare(one) == bare(other)
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
