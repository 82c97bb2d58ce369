//! One Raft group as seen from one node.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::RaftMetrics;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use openraft::vote::leader_id_std::CommittedLeaderId;
use openraft_rt::{Instant as _, WatchReceiver};
use tokio::sync::{oneshot, watch};

use crate::error::{ChangeError, ProposeError, ReadError};
use crate::machine::StateMachine;
use crate::metrics;
use crate::node::Timing;
use crate::replica::Replica;
use crate::store::{Store, Strain};
use crate::types::{Member, Payload, TypeConfig, node_of};

/// Who leads a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The node.
    pub node: u64,
    /// Where clients reach it, as `host:port`.
    pub endpoint: String,
    /// Where peers reach it, as `host:port`.
    pub peer_endpoint: String,
}

/// What this node knows about a group's leadership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The newest term seen.
    pub term: u64,
    /// Who leads in that term, once known.
    pub leader: Option<Leader>,
    /// Whether it is this node.
    pub we_lead: bool,
}

/// What a proposal came to.
#[derive(Debug)]
pub struct Proposed<R> {
    /// The entry's place in the log.
    pub index: u64,
    /// What the state machine answered, after its rows were written.
    pub reply: R,
}

/// One replica as its leader or itself sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// The node it lives on.
    pub node: u64,
    /// Where clients reach that node.
    pub endpoint: String,
    /// Where peers reach that node.
    pub peer_endpoint: String,
    /// Whether it votes; otherwise it is a learner, catching up.
    pub voter: bool,
    /// The last entry it is known to have on disk; only the leader knows of others.
    pub matched: Option<u64>,
    /// How long ago it last answered the leader; `None` when this node does not lead, or never heard from it in its term.
    pub silent: Option<Duration>,
}

/// Whether a group serves on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// No replica of the group lives here.
    Vacant,
    /// It runs.
    Running,
    /// Its core died and it is being opened again from disk.
    Rebuilding,
    /// It stopped for good and says why; other groups go on.
    Halted(String),
    /// It was shut down.
    Stopped,
}

/// A group's figures on this node.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// Partition number.
    pub partition: u32,
    /// Whether it serves.
    pub health: Health,
    /// Who leads.
    pub leadership: Leadership,
    /// The last entry in this node's log.
    pub last_index: u64,
    /// The last entry known to be committed.
    pub committed_index: u64,
    /// The last entry applied here.
    pub applied_index: u64,
    /// The last entry in the newest durable checkpoint.
    pub checkpoint_index: u64,
    /// How long ago that was made, or the replica was opened if that is later; `None` when there is no replica here.
    pub checkpoint_age: Option<Duration>,
    /// The last entry no longer in the log.
    pub purged_index: u64,
    /// The replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// How often the group was rebuilt since the node started.
    pub rebuilds: u64,
}

/// A handle to one group; cheap to clone, valid until the node is shut down, across rebuilds.
pub struct Group<M: StateMachine> {
    pub(crate) inner: Arc<GroupInner>,
    machine: PhantomData<fn() -> M>,
}

impl<M: StateMachine> Clone for Group<M> {
    fn clone(&self) -> Self {
        Group::new(self.inner.clone())
    }
}

/// A proposal that is in the leader's queue; await its outcome.
#[must_use = "the outcome is told nowhere else"]
pub struct Pending<R> {
    partition: u32,
    outcome: oneshot::Receiver<ClientWriteResult<TypeConfig>>,
    reply: PhantomData<fn() -> R>,
}

impl<R: Any> Pending<R> {
    /// Waits until the entry is applied here, or its outcome cannot be known. There is no deadline: a leader without a majority waits for
    /// one until it learns of another leader.
    pub async fn outcome(self) -> Result<Proposed<R>, ProposeError> {
        let outcome = match self.outcome.await {
            Ok(Ok(mut response)) => {
                let index = response.log_id.index;
                let reply = response.data.0.take().and_then(|reply| reply.downcast().ok());
                // An entry that was applied without a reply for this proposer: another type of machine, which is a bug, or none at all.
                reply.map(|reply| Proposed { index, reply: *reply }).ok_or(ProposeError::OutcomeUnknown)
            }
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => Err(forwarded(forward).into()),
            Ok(Err(_)) | Err(_) => Err(ProposeError::OutcomeUnknown),
        };
        metrics::proposed(
            self.partition,
            match &outcome {
                Ok(_) => "applied",
                Err(e) if e.is_definite() => "refused",
                Err(_) => "unknown",
            },
        );
        outcome
    }
}

impl<M: StateMachine> Group<M> {
    pub(crate) fn new(inner: Arc<GroupInner>) -> Self {
        Group { inner, machine: PhantomData }
    }

    /// The partition number.
    pub fn partition(&self) -> u32 {
        self.inner.partition
    }

    /// Proposes an entry and waits until it is applied here.
    ///
    /// Fenced: it goes into the log only while this node leads in `term`. The reply arrives after the entry is durable on a majority
    /// and its rows are readable here. Dropping the future does not take the proposal back.
    pub async fn propose(&self, term: u64, payload: Bytes) -> Result<Proposed<M::Reply>, ProposeError> {
        self.submit(term, payload).await?.outcome().await
    }

    /// Hands an entry to the leader's queue; entries enter the log in the order in which calls of this function return.
    ///
    /// Waits only for room in the queue. Fenced as [`propose`](Self::propose); losing the term is reported by the [`Pending`].
    pub async fn submit(&self, term: u64, payload: Bytes) -> Result<Pending<M::Reply>, ProposeError> {
        let outcome = self.inner.submit(term, payload).await;
        if outcome.is_err() {
            metrics::proposed(self.inner.partition, "refused");
        }
        Ok(Pending { partition: self.inner.partition, outcome: outcome?, reply: PhantomData })
    }

    /// Waits until everything committed anywhere before the call is applied and readable in [`store`](Self::store) here.
    ///
    /// Costs one round to a majority, shared by all callers that wait at the same time. Returns the index up to which the store is
    /// certain to be read. Only the leader can answer; gives up after two election time-outs.
    pub async fn read_barrier(&self) -> Result<u64, ReadError> {
        self.inner.read_barrier().await
    }

    /// The rows as applied here; `None` while the group has no replica here. After a snapshot from the leader it is another store, so
    /// ask again for every read and keep none.
    pub fn store(&self) -> Option<Store> {
        self.inner.replica().ok().map(|replica| replica.rows.slot.get())
    }

    /// Follows who leads. The first value is current.
    ///
    /// `we_lead` says that a majority elected this node, not that it has applied what its predecessors committed: pass a
    /// [`read_barrier`](Self::read_barrier) before acting on the state.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    /// Follows the last index applied here.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.subscribe()
    }

    /// Whether this node leads and a majority acknowledged that so recently that no other node can lead yet.
    ///
    /// Followers are loyal for half of the longest election time-out; this trusts them for two thirds of that, so clocks may differ in
    /// speed by half.
    pub fn lease_valid(&self) -> bool {
        // Whoever it is handed to is elected whatever the others have promised this leader, which may not hear of it.
        let handing_over = self.inner.handing_over.load(Ordering::SeqCst) >= self.inner.leadership.borrow().term;
        !handing_over && self.since_quorum().is_some_and(|age| age < self.inner.timing.trust())
    }

    /// How long ago a majority still acknowledged this node as the leader, counted from when it was asked; `None` when it does not lead
    /// or was never acknowledged.
    pub fn since_quorum(&self) -> Option<Duration> {
        self.inner.since_quorum()
    }

    /// Figures for operators.
    pub fn status(&self) -> GroupStatus {
        self.inner.status()
    }

    /// Hands leadership to the replica on `node` and waits until it leads.
    ///
    /// Refused unless this node leads and the target votes and has all but a few of the entries. Proposals meanwhile fail with
    /// [`ProposeError::NoQuorum`].
    pub async fn transfer(&self, node: u64) -> Result<(), ChangeError> {
        self.inner.transfer(node).await
    }

    /// Ends `term` by opening the replica here again, after which this node stands for election like any other and may well win: for a
    /// leader that must not go on in its term and has nobody to hand over to. Does nothing when this node does not lead in `term`. Counts as
    /// a rebuild: too many in a short time end the process.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Unavailable`]: the group has no replica here that serves.
    pub async fn end_term(&self, term: u64) -> Result<(), ChangeError> {
        self.inner.end_term(term).await
    }

    /// Stops the replica here for good: its rows cannot be read or understood, so it may neither answer from them nor lead. The other
    /// replicas go on. Returns when its core has ended; does nothing where there is none.
    pub async fn halt(&self, reason: &str) {
        self.inner.halt(reason).await;
    }
}

/// What is behind every handle to a group.
pub(crate) struct GroupInner {
    pub(crate) partition: u32,
    pub(crate) timing: Timing,
    /// Largest entry, in bytes.
    pub(crate) entry_bytes_max: usize,
    slot: RwLock<Slot>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) applied: watch::Sender<u64>,
    pub(crate) rebuilds: AtomicU64,
    /// The newest term in which this node was told to hand leadership over, which it cannot take back.
    pub(crate) handing_over: AtomicU64,
    /// Held by whoever changes the members.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

struct Slot {
    replica: Option<Arc<Replica>>,
    health: Health,
}

/// Where a request should have gone.
pub(crate) enum Forwarded {
    NotLeader(Option<Leader>),
    NoQuorum,
}

impl From<Forwarded> for ProposeError {
    fn from(forwarded: Forwarded) -> Self {
        match forwarded {
            Forwarded::NotLeader(leader) => ProposeError::NotLeader { leader },
            Forwarded::NoQuorum => ProposeError::NoQuorum,
        }
    }
}

impl From<Forwarded> for ReadError {
    fn from(forwarded: Forwarded) -> Self {
        match forwarded {
            Forwarded::NotLeader(leader) => ReadError::NotLeader { leader },
            Forwarded::NoQuorum => ReadError::NoQuorum,
        }
    }
}

/// What openraft's answer means: it was refused before anything entered the log.
pub(crate) fn forwarded(forward: ForwardToLeader<TypeConfig>) -> Forwarded {
    match forward.reason {
        ForwardReason::NotLeader => Forwarded::NotLeader(forward.leader_node.map(Leader::from)),
        ForwardReason::LeadershipTransfer | ForwardReason::LeaseExpired => Forwarded::NoQuorum,
    }
}

impl From<Member> for Leader {
    fn from(m: Member) -> Self {
        Leader { node: m.node, endpoint: m.endpoint, peer_endpoint: m.peer_endpoint }
    }
}

impl GroupInner {
    pub(crate) fn new(partition: u32, timing: Timing, entry_bytes_max: usize) -> Self {
        GroupInner {
            partition,
            timing,
            entry_bytes_max,
            slot: RwLock::new(Slot { replica: None, health: Health::Vacant }),
            leadership: watch::Sender::default(),
            applied: watch::Sender::default(),
            rebuilds: AtomicU64::new(0),
            handing_over: AtomicU64::new(0),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// The replica that serves, or why there is none.
    pub(crate) fn replica(&self) -> Result<Arc<Replica>, String> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        match &slot.replica {
            Some(replica) => Ok(replica.clone()),
            None => Err(match &slot.health {
                Health::Vacant => format!("partition {} has no replica here", self.partition),
                Health::Running | Health::Rebuilding => {
                    format!("partition {} is being opened again", self.partition)
                }
                Health::Halted(reason) => format!("partition {} {reason}", self.partition),
                Health::Stopped => "shutting down".into(),
            }),
        }
    }

    pub(crate) fn health(&self) -> Health {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        slot.health.clone()
    }

    /// Changes what serves. Without a replica nobody is known to lead.
    pub(crate) fn set(&self, replica: Option<Arc<Replica>>, health: Health) {
        let serves = replica.is_some();
        {
            let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
            *slot = Slot { replica, health };
        }
        if !serves {
            self.leadership.send_modify(|l| {
                l.leader = None;
                l.we_lead = false;
            });
        }
    }

    // Boxed, here and below, so that crates with a state machine need not compile all of it again.
    fn submit(
        &self,
        term: u64,
        payload: Bytes,
    ) -> BoxFuture<'_, Result<oneshot::Receiver<ClientWriteResult<TypeConfig>>, ProposeError>> {
        self.enqueue(term, payload).boxed()
    }

    async fn enqueue(
        &self,
        term: u64,
        payload: Bytes,
    ) -> Result<oneshot::Receiver<ClientWriteResult<TypeConfig>>, ProposeError> {
        if payload.len() > self.entry_bytes_max {
            return Err(ProposeError::TooLarge { bytes: payload.len(), limit: self.entry_bytes_max });
        }
        let replica = match self.replica() {
            Ok(replica) => replica,
            Err(_) if self.health() == Health::Stopped => return Err(ProposeError::ShuttingDown),
            Err(reason) => return Err(ProposeError::Unavailable { reason }),
        };
        {
            let leadership = self.leadership.borrow();
            if !leadership.we_lead || leadership.term != term {
                return Err(ProposeError::NotLeader { leader: leadership.leader.clone() });
            }
        }
        let (responder, outcome) = ProgressResponder::complete_only();
        replica
            .raft
            .write(Payload(payload))
            .with_leader(CommittedLeaderId::new(term))
            .responder(responder)
            .await
            .map_err(|fatal| ProposeError::Unavailable { reason: fatal.to_string() })?;
        Ok(outcome)
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.confirm().boxed()
    }

    fn transfer(&self, node: u64) -> BoxFuture<'_, Result<(), ChangeError>> {
        crate::balance::transfer(self, node).boxed()
    }

    fn end_term(&self, term: u64) -> BoxFuture<'_, Result<(), ChangeError>> {
        crate::balance::end_term(self, term).boxed()
    }

    fn halt<'a>(&'a self, reason: &'a str) -> BoxFuture<'a, ()> {
        crate::supervisor::halt(self, reason).boxed()
    }

    async fn confirm(&self) -> Result<u64, ReadError> {
        let replica = match self.replica() {
            Ok(replica) => replica,
            Err(_) if self.health() == Health::Stopped => return Err(ReadError::ShuttingDown),
            Err(reason) => return Err(ReadError::Unavailable { reason }),
        };
        {
            let leadership = self.leadership.borrow();
            if !leadership.we_lead {
                return Err(ReadError::NotLeader { leader: leadership.leader.clone() });
            }
        }
        let deadline = self.timing.election_max * 2;
        replica.barrier.pass(self.partition, &replica.raft, &replica.acks, deadline).await
    }

    /// openraft's figures; `None` while no replica serves.
    pub(crate) fn metrics(&self) -> Option<RaftMetrics<TypeConfig>> {
        Some(self.replica().ok()?.figures())
    }

    fn since_quorum(&self) -> Option<Duration> {
        let replica = self.replica().ok()?;
        let metrics = replica.raft.metrics();
        let now = Instant::now();
        let at = replica.acks.quorum_of(&metrics.borrow_watched(), now)?;
        Some(now.saturating_duration_since(at))
    }

    /// How far compaction is behind in the store here, if there is one.
    pub(crate) fn strain(&self) -> Strain {
        self.replica().map(|replica| replica.rows.slot.get().strain()).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let mut status = GroupStatus {
            partition: self.partition,
            health: self.health(),
            leadership: self.leadership.borrow().clone(),
            last_index: 0,
            committed_index: 0,
            applied_index: *self.applied.borrow(),
            checkpoint_index: 0,
            checkpoint_age: None,
            purged_index: 0,
            replicas: Vec::new(),
            rebuilds: self.rebuilds.load(Ordering::Relaxed),
        };
        let Ok(replica) = self.replica() else {
            return status;
        };
        let m = replica.figures();
        status.last_index = m.last_log_index.unwrap_or(0);
        status.committed_index = m.cluster_committed.map_or(0, |id| id.index);
        status.purged_index = m.purged.map_or(0, |id| id.index);
        let durable = replica.rows.progress.durable_mark();
        status.checkpoint_index = durable.applied.map_or(0, |id| id.index);
        status.checkpoint_age = Some(replica.rows.progress.since_checkpoint().1);
        let membership = m.membership_config.membership();
        let lead = leads(&m);
        for (id, member) in membership.nodes() {
            let own = *id == m.id;
            let followed = m.replication.as_ref().and_then(|all| all.get(id));
            let heard = m.heartbeat.as_ref().and_then(|all| all.get(id));
            let heard = heard.and_then(|at| at.as_ref().map(since));
            status.replicas.push(ReplicaStatus {
                node: member.node,
                endpoint: member.endpoint.clone(),
                peer_endpoint: member.peer_endpoint.clone(),
                voter: membership.voter_ids().any(|v| v == *id),
                matched: if own {
                    m.last_log_index
                } else {
                    followed.and_then(|matched| matched.map(|matched| matched.index))
                },
                silent: if own { Some(Duration::ZERO) } else { heard.filter(|_| lead) },
            });
        }
        status.replicas.sort_by_key(|r| r.node);
        status
    }
}

/// How long ago a moment of openraft's is.
pub(crate) fn since(at: &openraft::type_config::alias::SerdeInstantOf<TypeConfig>) -> Duration {
    at.into_inner().elapsed()
}

/// Whether these are the figures of a leader that a majority elected.
pub(crate) fn leads(metrics: &RaftMetrics<TypeConfig>) -> bool {
    metrics.state.is_leader() && metrics.current_leader == Some(metrics.id) && metrics.vote.committed
}

/// Who leads, by openraft's figures.
pub(crate) fn leadership(metrics: &openraft::metrics::RaftServerMetrics<TypeConfig>) -> Leadership {
    let leader = metrics.current_leader.and_then(|id| {
        let member = metrics.membership_config.membership().get_node(&id)?;
        Some(Leader::from(member.clone()))
    });
    Leadership {
        term: metrics.vote.leader_id.term,
        we_lead: metrics.state.is_leader()
            && metrics.vote.committed
            && metrics.current_leader == Some(metrics.id)
            && node_of(metrics.id) != 0,
        leader,
    }
}
