//! ClusterService: how the cluster is, and steering it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proto::admin::v1;
use proto::admin::v1::cluster_service_client::ClusterServiceClient;
use proto::admin::v1::cluster_service_server::ClusterService;
use scheduler::dispatcher::Cause;
use scheduler::machine::FEATURE_LEVEL;
use scheduler::read;
use scheduler::time::{Delay, Timestamp};
use tonic::{Request, Response, Status};

use super::{Call, Services, route};
use crate::backlog::{self, Backlog};
use crate::canary;
use crate::convert::{self, Range};
use crate::dispatch::Standing;
use crate::error::Error;
use crate::feed::NextEntry;
use crate::lateness;
use crate::node::Node;
use crate::partition::Partition;
use crate::validate::Violations;

/// How long a change of members may take.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(600);
/// How far a virtual clock may be moved at once: past everything that can be scheduled, which is ten years ahead.
const ADVANCE_MS_MAX: u64 = 20 * 366 * 86_400_000;
/// How long a silent replica still counts as reachable.
const REACHABLE_WITHIN: Duration = Duration::from_secs(3);

/// Late triggers in an answer that does not say how many.
const LATE_DEFAULT: u32 = 100;
/// Most late triggers in an answer.
const LATE_MAX: u32 = 10_000;
/// How long another node may take to say what was late.
const LATE_WITHIN: Duration = Duration::from_secs(2);

#[tonic::async_trait]
impl ClusterService for Services {
    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        self.answer("Status", request, async |_, _| self.cluster_status().await).await
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        self.answer("TransferLeader", request, async |message: v1::TransferLeaderRequest, call| {
            let partition = self.node.partition(message.partition)?;
            route!(self, call, partition, message, ClusterServiceClient::transfer_leader, {
                let status = partition.group().status();
                let me = self.node.raft().id();
                let target = match message.to {
                    // The most caught-up other voter.
                    0 => status
                        .replicas
                        .iter()
                        .filter(|replica| replica.voter && replica.node != me)
                        .max_by_key(|replica| replica.matched)
                        .map(|replica| replica.node)
                        .ok_or_else(|| Error::MembershipBusy { reason: "there is no other voter".into() })?,
                    to if status.replicas.iter().any(|replica| replica.node == to) => to,
                    to => return Err(Error::UnknownNode { node: to }),
                };
                if target != me {
                    partition
                        .group()
                        .transfer(target)
                        .await
                        .map_err(|error| change_error(partition.number(), error))?;
                }
                let leadership = partition.group().leadership().borrow().clone();
                let leader = leadership.leader.map_or(0, |leader| leader.node);
                Ok(v1::TransferLeaderResponse { leader, term: leadership.term })
            })
        })
        .await
    }

    async fn add_node(&self, request: Request<v1::AddNodeRequest>) -> Result<Response<v1::AddNodeResponse>, Status> {
        let message = request.into_inner();
        let mut v = Violations::new();
        v.require((1..=u64::from(u32::MAX >> 1)).contains(&message.node), "node", || {
            format!("expected a number from 1 to 2147483647, got {}", message.node)
        });
        for (field, address) in [("endpoint", &message.endpoint), ("peer_endpoint", &message.peer_endpoint)] {
            let valid = address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port != 0)
            });
            v.require(valid, field, || format!("expected HOST:PORT, got {address:?}"));
        }
        v.finish(())?;
        let member =
            raft::Member { node: message.node, endpoint: message.endpoint, peer_endpoint: message.peer_endpoint };
        self.members_changed(move |node| async move { node.raft().add_node(member).await }).await?;
        Ok(Response::new(v1::AddNodeResponse { partitions: self.partitions().await? }))
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::RemoveNodeResponse>, Status> {
        let node = request.into_inner().node;
        self.known(node)?;
        self.members_changed(move |this| async move { this.raft().remove_node(node).await }).await?;
        Ok(Response::new(v1::RemoveNodeResponse { partitions: self.partitions().await? }))
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::DrainNodeResponse>, Status> {
        let call = Call::of_item(request.metadata(), CHANGE_TIMEOUT);
        let message = request.into_inner();
        let member = self.known(message.node)?;
        if message.node != self.node.raft().id() {
            let error = Error::NotLeader { partition: 0, leader: Some(member.endpoint.clone()) };
            let Some(endpoint) = call.pass_on_to(&error) else {
                return Err(Error::UnknownNode { node: message.node }.into());
            };
            let mut client = ClusterServiceClient::new(self.node.forwarder().channel(&endpoint)?);
            return client.drain_node(call.passed_on(message)).await;
        }
        self.node.set_draining(!message.undo);
        if message.undo {
            self.node.raft().undrain();
        } else {
            self.members_changed(|node| async move { node.raft().drain().await }).await?;
        }
        Ok(Response::new(v1::DrainNodeResponse { partitions: self.partitions().await? }))
    }

    async fn accept_clock(
        &self,
        request: Request<v1::AcceptClockRequest>,
    ) -> Result<Response<v1::AcceptClockResponse>, Status> {
        self.answer("AcceptClock", request, async |message: v1::AcceptClockRequest, call| {
            let partition = self.node.partition(message.partition)?;
            route!(self, call, partition, message, ClusterServiceClient::accept_clock, {
                let accepted = partition.accept_clock()?;
                tracing::warn!(partition = partition.number(), %accepted, "an operator accepted this node's clock");
                Ok(v1::AcceptClockResponse { accepted: Some(convert::moment(accepted)) })
            })
        })
        .await
    }

    async fn list_late(&self, request: Request<v1::ListLateRequest>) -> Result<Response<v1::ListLateResponse>, Status> {
        self.answer("ListLate", request, async |message, call| self.list_late_of(message, call).await).await
    }

    async fn advance_clock(
        &self,
        request: Request<v1::AdvanceClockRequest>,
    ) -> Result<Response<v1::AdvanceClockResponse>, Status> {
        let answer = self.advance(request.into_inner()).await.map_err(Status::from)?;
        Ok(Response::new(answer))
    }
}

impl Services {
    pub(crate) async fn cluster_status(&self) -> Result<v1::StatusResponse, Error> {
        let (partitions, executors) = self.partitions_and_executors().await?;
        let me = self.node.raft().id();
        let mut silent: HashMap<u64, Duration> = HashMap::new();
        for status in self.node.raft().status() {
            for replica in status.replicas {
                if let Some(since) = replica.silent {
                    let longest = silent.entry(replica.node).or_default();
                    *longest = since.max(*longest);
                }
            }
        }
        let nodes = self.node.raft().members().into_iter().map(|member| v1::NodeStatus {
            node: member.node,
            endpoint: member.endpoint,
            peer_endpoint: member.peer_endpoint,
            reachable: member.node == me || silent.get(&member.node).is_none_or(|since| *since < REACHABLE_WITHIN),
            draining: member.node == me && self.node.is_draining(),
            feature_level: match member.node == me {
                true => FEATURE_LEVEL,
                false => self.node.levels().of(member.node).unwrap_or(0),
            },
        });
        Ok(v1::StatusResponse {
            cluster: self.node.config().cluster.clone(),
            node: me,
            version: env!("CARGO_PKG_VERSION").into(),
            nodes: nodes.collect(),
            partitions,
            alarms: self.node.alarms(),
            executors,
        })
    }

    async fn partitions(&self) -> Result<Vec<v1::PartitionStatus>, Error> {
        Ok(self.partitions_and_executors().await?.0)
    }

    async fn partitions_and_executors(&self) -> Result<(Vec<v1::PartitionStatus>, Vec<v1::ExecutorStatus>), Error> {
        let (mut partitions, mut executors) = (Vec::new(), Vec::new());
        for partition in self.node.partitions() {
            let dispatching = backlog::standing(partition).await;
            partitions.push(partition_status(partition, dispatching.as_ref(), self.node.clock().wall())?);
            let sessions = dispatching.into_iter().flat_map(|standing| standing.status.sessions);
            executors.extend(sessions.filter(|session| !canary::is_session(session)).map(|session| {
                v1::ExecutorStatus {
                    executor: session.executor.to_string(),
                    partition: partition.number(),
                    topics: session.topics.iter().map(|topic| topic.to_string()).collect(),
                    in_flight: session.in_flight,
                    credit: session.credit,
                }
            }));
        }
        Ok((partitions, executors))
    }

    /// Of the node that is named, or of all of them.
    pub(crate) async fn list_late_of(
        &self,
        message: v1::ListLateRequest,
        call: Call,
    ) -> Result<v1::ListLateResponse, Error> {
        let mut v = Violations::new();
        v.require(message.limit <= LATE_MAX, "limit", || {
            format!("expected 1 to {LATE_MAX}, or 0 for {LATE_DEFAULT}, got {}", message.limit)
        });
        v.finish(())?;
        let limit = if message.limit == 0 { LATE_DEFAULT } else { message.limit };
        let me = self.node.raft().id();
        let asked = match message.node {
            0 => self.node.raft().members(),
            node => vec![self.known(node)?],
        };
        let others = asked.iter().filter(|member| member.node != me).map(|member| async move {
            let request = v1::ListLateRequest { node: member.node, limit };
            (member.node, self.ask_late(&member.endpoint, request, call).await)
        });
        let mut answer = v1::ListLateResponse::default();
        for (node, found) in futures::future::join_all(others).await {
            match found {
                Ok(found) => answer.triggers.extend(found),
                Err(error) => {
                    tracing::debug!(node, %error, "a node did not say what was late");
                    answer.missing.push(node);
                }
            }
        }
        if asked.iter().any(|member| member.node == me) {
            let own = self.node.late().newest(limit as usize).into_iter();
            answer.triggers.extend(own.map(|(partition, late)| convert::late_trigger(me, partition, &late)));
        }
        let until = |trigger: &v1::LateTrigger| trigger.until.map(|at| (at.seconds, at.nanos));
        answer.triggers.sort_by_key(|trigger| std::cmp::Reverse(until(trigger)));
        answer.triggers.truncate(limit as usize);
        Ok(answer)
    }

    async fn ask_late(
        &self,
        endpoint: &str,
        request: v1::ListLateRequest,
        call: Call,
    ) -> Result<Vec<v1::LateTrigger>, Error> {
        let mut client = ClusterServiceClient::new(self.node.forwarder().channel(endpoint)?)
            .max_decoding_message_size(self.node.config().message_bytes_max);
        match tokio::time::timeout(LATE_WITHIN, client.list_late(call.passed_on(request))).await {
            Ok(answer) => answer.map(|answer| answer.into_inner().triggers).map_err(crate::forward::failed),
            Err(_) => Err(Error::OutcomeUnknown { reason: format!("no answer within {LATE_WITHIN:?}") }),
        }
    }

    fn known(&self, node: u64) -> Result<raft::Member, Error> {
        let found = self.node.raft().members().into_iter().find(|member| member.node == node);
        found.ok_or(Error::UnknownNode { node })
    }

    /// Goes on when the caller hangs up: half a change helps nobody.
    async fn members_changed<F>(&self, change: impl FnOnce(Node) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), raft::ChangeError>> + Send + 'static,
    {
        let change = tokio::spawn(change(self.node.clone()));
        match tokio::time::timeout(CHANGE_TIMEOUT, change).await {
            Ok(Ok(result)) => result.map_err(|error| change_error(0, error)),
            Ok(Err(panic)) => Err(Error::Internal(panic.to_string())),
            Err(_) => Err(Error::MembershipBusy { reason: "the change is still under way; look at the status".into() }),
        }
    }

    /// Moves a virtual clock, stopping at each due time until what is due there has fired and nothing is in flight; or one that runs
    /// behind the machine's, at once.
    async fn advance(&self, message: v1::AdvanceClockRequest) -> Result<v1::AdvanceClockResponse, Error> {
        let clock = self.node.clock();
        let behind = clock.behind_machine();
        if !clock.is_virtual() && behind.is_none() {
            return Err(Error::ClockNotVirtual);
        }
        let mut v = Violations::new();
        use v1::advance_clock_request::Target;
        let target = match message.target {
            Some(Target::By(by)) => clock.wall().after(convert::delay_of(&mut v, "by", &by, Range(0, ADVANCE_MS_MAX))),
            Some(Target::To(to)) => {
                let to = convert::moment_of(&mut v, "to", &to);
                v.require(to.since(clock.wall()).as_millis() <= ADVANCE_MS_MAX, "to", || {
                    format!("expected a moment at most {ADVANCE_MS_MAX} ms from now, got {to}")
                });
                to
            }
            None => {
                v.push("target", "expected one of by, to, got none");
                clock.wall()
            }
        };
        v.finish(())?;
        if let Some(behind) = behind {
            let by = match message.target {
                // Not by way of a moment: the clock runs, and nodes that are moved by the same length stay together.
                Some(Target::By(by)) => convert::delay_of(&mut Violations::new(), "by", &by, Range(0, ADVANCE_MS_MAX)),
                _ => target.since(clock.wall()),
            };
            if !clock.catch_up(by) {
                let expected = format!("expected at most {behind}, for it runs so far behind the machine's, got {by}");
                return Err(Error::invalid("target", expected));
            }
            return Ok(v1::AdvanceClockResponse { now: Some(convert::moment(clock.wall())), fired: 0 });
        }
        let before = self.pending();
        loop {
            self.settle().await;
            // Leaders know first; a partition without one is as far as its furthest replica.
            let next = self.leading().into_iter().filter_map(|partition| match partition.feed().next_entry() {
                NextEntry::At(at) => Some(at),
                NextEntry::Owed | NextEntry::Never => None,
            });
            match next.min().filter(|next| *next <= target) {
                Some(next) if next > clock.wall() => {
                    clock.advance_to(next);
                }
                // Time has come and the entry is on its way.
                Some(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                None => break,
            }
        }
        clock.advance_to(target);
        self.settle().await;
        let fired = before.saturating_sub(self.pending());
        Ok(v1::AdvanceClockResponse { now: Some(convert::moment(clock.wall())), fired })
    }

    fn pending(&self) -> u64 {
        self.leading().iter().map(|partition| partition.feed().pending()).sum()
    }

    /// The partitions where they are led, among the nodes that share the clock.
    fn leading(&self) -> Vec<Partition> {
        let nodes = self.node.companions();
        let all = nodes.iter().flat_map(|node| node.partitions());
        all.filter(|partition| partition.proposer().is_leading()).cloned().collect()
    }

    /// Waits until everything due has fired and nothing that executors could take or have taken is left.
    async fn settle(&self) {
        loop {
            let leading = self.leading();
            // While a partition has no leader, nobody knows.
            let mut settled = leading.len() == self.node.partitions().len();
            for partition in &leading {
                let due = matches!(partition.feed().next_entry(), NextEntry::At(at) if at <= self.node.clock().wall());
                let owed = partition.feed().next_entry() == NextEntry::Owed;
                settled &= !due && !owed;
                let Some(Standing { status, .. }) = backlog::standing(partition).await else {
                    settled = false;
                    continue;
                };
                settled &= status.held == 0 && status.undecided == 0;
                // What only time or an operator can set going again does not keep time from moving.
                settled &= status.lanes.iter().all(|lane| match lane.cause {
                    Some(Cause::NoExecutor | Cause::Paused | Cause::RateLimit | Cause::Grace) => true,
                    _ => lane.ready == 0 && !lane.unread,
                });
            }
            if settled {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn partition_status(
    partition: &Partition,
    dispatching: Option<&Standing>,
    now: Timestamp,
) -> Result<v1::PartitionStatus, Error> {
    let status = partition.group().status();
    let backlog =
        dispatching.map(|standing| Backlog::of_partition(partition, &standing.status, now)).unwrap_or_default();
    let mut counts = read::TopicCounts::default();
    let mut watermark = Timestamp::MIN;
    if status.health == raft::Health::Running {
        let found = partition.read_local(|rows| {
            let mut sum = read::TopicCounts::default();
            for topic in read::topics(rows)?.iter().filter(|topic| !canary::is_own(topic)) {
                let own = read::topic_counts(rows, topic.id)?;
                sum.scheduled += own.scheduled;
                sum.fired += own.fired + own.retrying;
                sum.dead_lettered += own.dead_lettered;
                sum.completed_total += own.completed_total;
            }
            Ok(sum)
        });
        // A partition that is not open has no counts to show, and a status shows what it can.
        counts = found.unwrap_or_default();
        watermark = partition.feed().progress().borrow().watermark;
    }
    let of = |voter: bool| status.replicas.iter().filter(move |it| it.voter == voter).map(|it| it.node).collect();
    let lag: BTreeMap<u64, u64> = match status.leadership.we_lead {
        true => status
            .replicas
            .iter()
            .map(|replica| (replica.node, status.last_index.saturating_sub(replica.matched.unwrap_or(0))))
            .collect(),
        false => BTreeMap::new(),
    };
    Ok(v1::PartitionStatus {
        partition: status.partition,
        leader: status.leadership.leader.as_ref().map_or(0, |leader| leader.node),
        term: status.leadership.term,
        last_log_index: status.last_index,
        committed_index: status.committed_index,
        applied_index: status.applied_index,
        snapshot_index: status.checkpoint_index,
        purged_index: status.purged_index,
        watermark: Some(convert::moment(watermark)),
        voters: of(true),
        learners: of(false),
        scheduled: counts.scheduled,
        fired: counts.fired,
        dead_lettered: counts.dead_lettered,
        in_flight: backlog.held as u64,
        lag,
        clock_hold: partition.clock_hold().unwrap_or_default(),
        canary_age: partition.canary_age().map(|age| convert::delay(Delay::from_millis(age.as_millis() as u64))),
        canary_overdue: partition.canary_overdue().is_some(),
        completed_total: counts.completed_total,
        oldest_overdue: backlog.oldest.map(convert::delay),
        lateness: dispatching.map(|standing| v1::LatenessCounts {
            bounds_ms: lateness::BOUNDS_MS.into(),
            counts: standing.lateness.counts().into(),
        }),
        health: health(&status.health).into(),
        feature_level: partition.feed().progress().borrow().level,
    })
}

fn health(health: &raft::Health) -> v1::ReplicaHealth {
    match health {
        raft::Health::Vacant => v1::ReplicaHealth::Vacant,
        raft::Health::Running => v1::ReplicaHealth::Running,
        raft::Health::Rebuilding => v1::ReplicaHealth::Rebuilding,
        raft::Health::Halted(_) => v1::ReplicaHealth::Halted,
        raft::Health::Stopped => v1::ReplicaHealth::Stopped,
    }
}

fn change_error(partition: u32, error: raft::ChangeError) -> Error {
    use raft::ChangeError;
    match error {
        ChangeError::NotLeader { leader } => {
            Error::NotLeader { partition, leader: leader.map(|leader| leader.endpoint) }
        }
        ChangeError::Busy => Error::MembershipBusy { reason: "another change of members is under way".into() },
        ChangeError::UnknownNode(node) => Error::UnknownNode { node },
        ChangeError::Refused(reason) | ChangeError::TimedOut(reason) => Error::MembershipBusy { reason },
        ChangeError::Unavailable(reason) => Error::NoQuorum { partition, reason },
    }
}
