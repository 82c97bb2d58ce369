//! `/v1/cluster`: how the cluster is. Steering it is gRPC's and the command line's.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use proto::admin::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::Deadline;
use super::json::Query;
use super::scalars::{Length, Moment, Number, names};
use super::{Api, Problem};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(status)).routes(routes!(late))
}

names! {
    /// Whether a replica of a partition serves on its node.
    ReplicaHealth = v1::ReplicaHealth {
        /// Not known.
        Unspecified = "REPLICA_HEALTH_UNSPECIFIED",
        /// The node has none.
        Vacant = "REPLICA_HEALTH_VACANT",
        /// It serves.
        Running = "REPLICA_HEALTH_RUNNING",
        /// It failed and is being opened again from disk.
        Rebuilding = "REPLICA_HEALTH_REBUILDING",
        /// It met something it does not understand and stopped for good; the alarms say what.
        Halted = "REPLICA_HEALTH_HALTED",
        /// It was shut down.
        Stopped = "REPLICA_HEALTH_STOPPED",
    }
}

names! {
    /// What most of the lost time was lost to.
    LateCause = v1::LateCause {
        /// Not known.
        Unspecified = "LATE_CAUSE_UNSPECIFIED",
        /// Due while the partition had no leader that served.
        NoLeader = "LATE_CAUSE_NO_LEADER",
        /// The entry that fired it was decided late, though there was a leader.
        Consensus = "LATE_CAUSE_CONSENSUS",
        /// Fired, and waited in the dispatcher for its turn.
        DispatchQueue = "LATE_CAUSE_DISPATCH_QUEUE",
        /// Held back by its topic: paused, or at its rate or concurrency.
        RateLimit = "LATE_CAUSE_RATE_LIMIT",
        /// No executor asked for the topic, or those that did took no more.
        NoCredit = "LATE_CAUSE_NO_CREDIT",
        /// Handed out in time: the attempt took long, failed and was made again, or its lease ran out.
        Executor = "LATE_CAUSE_EXECUTOR",
    }
}

/// A node as the answering one sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NodeStatus {
    /// Its number.
    node: Number,
    /// Where clients reach it.
    endpoint: String,
    /// Where peers reach it.
    peer_endpoint: String,
    /// It was heard lately.
    reachable: bool,
    /// Leadership was taken off it; known of the answering node alone.
    draining: bool,
    /// The highest feature level its build knows; 0 while that is not known.
    feature_level: u32,
}

/// Triggers handed out for the first time, by how long they had been due then, since the leader began to lead.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LatenessCounts {
    /// Upper bounds in milliseconds, inclusive, growing.
    bounds_ms: Vec<u32>,
    /// One for each bound, of what is above the bound before it; and one more for what is above them all.
    counts: Vec<Number>,
}

/// A partition.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PartitionStatus {
    /// Its number.
    partition: u32,
    /// The node that leads it; 0 while none is known.
    leader: Number,
    /// Of the leader.
    term: Number,
    /// Of the log on the answering node.
    last_log_index: Number,
    /// Of the log on the answering node.
    committed_index: Number,
    /// What the answering node has applied.
    applied_index: Number,
    /// Of the newest checkpoint.
    snapshot_index: Number,
    /// Up to which the log is gone.
    purged_index: Number,
    /// The newest entry time that was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<Moment>,
    /// Nodes that vote.
    voters: Vec<Number>,
    /// Nodes that catch up.
    learners: Vec<Number>,
    /// Triggers that wait for their due time.
    scheduled: Number,
    /// Triggers that fired and have not ended.
    fired: Number,
    /// Triggers that were given up.
    dead_lettered: Number,
    /// Deliveries with executors.
    in_flight: Number,
    /// Entries a follower is behind, by node; from the leader only.
    lag: BTreeMap<String, Number>,
    /// Why time is held, when it is.
    clock_hold: String,
    /// How long ago the newest canary that came through was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary_age: Option<Length>,
    /// That is too long: triggers may not be firing.
    canary_overdue: bool,
    /// Triggers that have completed since the partition began.
    completed_total: Number,
    /// How long the oldest trigger is due that waits for an executor or is with one. From the leader only.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_overdue: Option<Length>,
    /// From the leader only.
    #[serde(skip_serializing_if = "Option::is_none")]
    lateness: Option<LatenessCounts>,
    /// How the replica on the answering node is.
    health: ReplicaHealth,
    /// The feature level in force.
    feature_level: u32,
}

impl From<v1::PartitionStatus> for PartitionStatus {
    fn from(status: v1::PartitionStatus) -> Self {
        let numbers = |numbers: Vec<u64>| numbers.into_iter().map(Number).collect();
        PartitionStatus {
            partition: status.partition,
            leader: Number(status.leader),
            term: Number(status.term),
            last_log_index: Number(status.last_log_index),
            committed_index: Number(status.committed_index),
            applied_index: Number(status.applied_index),
            snapshot_index: Number(status.snapshot_index),
            purged_index: Number(status.purged_index),
            watermark: status.watermark.map(Moment),
            voters: numbers(status.voters),
            learners: numbers(status.learners),
            scheduled: Number(status.scheduled),
            fired: Number(status.fired),
            dead_lettered: Number(status.dead_lettered),
            in_flight: Number(status.in_flight),
            lag: status.lag.into_iter().map(|(node, behind)| (node.to_string(), Number(behind))).collect(),
            clock_hold: status.clock_hold,
            canary_age: status.canary_age.map(Length),
            canary_overdue: status.canary_overdue,
            completed_total: Number(status.completed_total),
            oldest_overdue: status.oldest_overdue.map(Length),
            lateness: status
                .lateness
                .map(|lateness| LatenessCounts { bounds_ms: lateness.bounds_ms, counts: numbers(lateness.counts) }),
            health: ReplicaHealth::of(status.health),
            feature_level: status.feature_level,
        }
    }
}

/// The stream of an executor at a partition that the answering node leads.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ExecutorStatus {
    /// Its name.
    executor: String,
    /// Which.
    partition: u32,
    /// What it asks for.
    topics: Vec<String>,
    /// Deliveries it has.
    in_flight: u32,
    /// Deliveries it would take beyond those.
    credit: u32,
}

/// What the answering node knows. It blocks on no other node, so it answers without a quorum too.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ClusterStatus {
    /// Name of the cluster.
    cluster: String,
    /// The answering node.
    node: Number,
    /// Its version.
    version: String,
    /// All members.
    nodes: Vec<NodeStatus>,
    /// All partitions.
    partitions: Vec<PartitionStatus>,
    /// Problems in plain words, worst first; empty when all is well.
    alarms: Vec<String>,
    /// Those connected to the answering node.
    executors: Vec<ExecutorStatus>,
}

impl From<v1::StatusResponse> for ClusterStatus {
    fn from(status: v1::StatusResponse) -> Self {
        let node = |node: v1::NodeStatus| NodeStatus {
            node: Number(node.node),
            endpoint: node.endpoint,
            peer_endpoint: node.peer_endpoint,
            reachable: node.reachable,
            draining: node.draining,
            feature_level: node.feature_level,
        };
        let executor = |executor: v1::ExecutorStatus| ExecutorStatus {
            executor: executor.executor,
            partition: executor.partition,
            topics: executor.topics,
            in_flight: executor.in_flight,
            credit: executor.credit,
        };
        ClusterStatus {
            cluster: status.cluster,
            node: Number(status.node),
            version: status.version,
            nodes: status.nodes.into_iter().map(node).collect(),
            partitions: status.partitions.into_iter().map(PartitionStatus::from).collect(),
            alarms: status.alarms,
            executors: status.executors.into_iter().map(executor).collect(),
        }
    }
}

/// Says how the cluster is, as far as this node knows.
#[utoipa::path(
    get,
    path = "/v1/cluster",
    tag = "cluster",
    operation_id = "cluster_status",
    responses(
        (status = 200, description = "The status.", body = ClusterStatus),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn status(State(api): State<Api>, deadline: Deadline) -> Result<Answer<ClusterStatus>, Problem> {
    let answer = api.call("Status", deadline, (), async |(), _| api.services.cluster_status().await).await?;
    Ok(Answer(ClusterStatus::from(answer)))
}

/// Whose, and how many.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Which {
    /// The node to ask; all of them when left out, each for at most 2 s.
    #[param(value_type = Option<u64>)]
    node: Option<u64>,
    /// 1 to 10,000; 100 when left out.
    limit: Option<u32>,
}

/// A trigger that was first handed out, or completed, later than `late.bound` after its due time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LateTrigger {
    /// That led the partition.
    node: Number,
    /// Which.
    partition: u32,
    /// Tenant.
    namespace: String,
    /// Of the trigger.
    topic: String,
    /// Of the trigger.
    id: String,
    /// When it was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<Moment>,
    /// When it was handed out, or, where the executor was the cause, completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Moment>,
    /// The time between.
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<Length>,
    /// What most of it was lost to.
    cause: LateCause,
    /// What about the cause, in a word or two.
    detail: String,
}

/// The triggers that were late most recently.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LateTriggers {
    /// Newest first.
    triggers: Vec<LateTrigger>,
    /// Nodes that did not answer: what they know is missing.
    missing: Vec<Number>,
}

/// Lists the triggers that were late most recently, and why. Every node remembers the newest 1,000 of the partitions it led.
#[utoipa::path(
    get,
    path = "/v1/cluster/late",
    tag = "cluster",
    operation_id = "list_late",
    params(Which),
    responses(
        (status = 200, description = "The triggers.", body = LateTriggers),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn late(
    State(api): State<Api>,
    deadline: Deadline,
    Query(query): Query<Which>,
) -> Result<Answer<LateTriggers>, Problem> {
    let message = v1::ListLateRequest { node: query.node.unwrap_or_default(), limit: query.limit.unwrap_or_default() };
    let call = async |message, call| api.services.list_late_of(message, call).await;
    let answer = api.call("ListLate", deadline, message, call).await?;
    let trigger = |late: v1::LateTrigger| LateTrigger {
        node: Number(late.node),
        partition: late.partition,
        namespace: late.namespace,
        topic: late.topic,
        id: late.id,
        due: late.due.map(Moment),
        until: late.until.map(Moment),
        late: late.late.map(Length),
        cause: LateCause::of(late.cause),
        detail: late.detail,
    };
    Ok(Answer(LateTriggers {
        triggers: answer.triggers.into_iter().map(trigger).collect(),
        missing: answer.missing.into_iter().map(Number).collect(),
    }))
}
