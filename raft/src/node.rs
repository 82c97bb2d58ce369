//! One node: the shared log, the groups, the connections to peers.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::apply::{Machine, Typed};
use crate::error::{CallError, ChangeError, Error};
use crate::group::{Group, GroupStatus};
use crate::host::NodeInner;
use crate::log::LogConfig;
use crate::machine::StateMachine;
use crate::replica::PARTITIONS_MAX;
use crate::store::StoreConfig;
pub use crate::timing::Timing;
use crate::types::Member;
use crate::wire::order::Order;

/// Everything a node needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the cluster; peers and data directories of another name are refused. 1 to 64 bytes without line breaks.
    pub cluster: String,
    /// This node's id and addresses. Ids count from 1 and fit 31 bits.
    pub member: Member,
    /// The data directory; created if absent. One process at a time.
    pub dir: PathBuf,
    /// How many groups; fixed when the directory is first used. Default 4; 1 to 1,024.
    pub partitions: u32,
    /// Time-outs.
    pub timing: Timing,
    /// Checkpoints and what may be dropped from the log.
    pub checkpoints: Checkpoints,
    /// The log.
    pub log: LogConfig,
    /// Added to every sync of the log, to measure as if on a slower disk. Default 0.
    pub sync_delay: Duration,
    /// The rows' store.
    pub store: StoreConfig,
    /// Whether leaders are spread over the nodes: partition p prefers the (p mod n)-th voter. Default yes.
    pub balance: bool,
}

impl Config {
    /// The defaults for a node of a cluster.
    pub fn new(cluster: impl Into<String>, member: Member, dir: impl Into<PathBuf>) -> Self {
        Config {
            cluster: cluster.into(),
            member,
            dir: dir.into(),
            partitions: 4,
            timing: Timing::default(),
            checkpoints: Checkpoints::default(),
            log: LogConfig::default(),
            sync_delay: Duration::ZERO,
            store: StoreConfig::default(),
            balance: true,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |field, reason| Err(Error::Config { field, reason });
        if !(1..=64).contains(&self.cluster.len()) || self.cluster.contains(['\n', '\r']) {
            let reason = format!("{:?} is not 1 to 64 bytes without line breaks", self.cluster);
            return refuse("cluster", reason);
        }
        if !(1..=u64::from(i32::MAX as u32)).contains(&self.member.node) {
            let reason = format!("{} is not between 1 and {}", self.member.node, i32::MAX);
            return refuse("member.node", reason);
        }
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            let reason = format!("{} is not between 1 and {PARTITIONS_MAX}", self.partitions);
            return refuse("partitions", reason);
        }
        self.store.check()?;
        self.checkpoints.check()?;
        self.timing.check()
    }
}

impl Timing {
    fn check(&self) -> Result<(), Error> {
        let refuse = |field, reason| Err(Error::Config { field, reason });
        let (least, most) = (Duration::from_millis(10), Duration::from_secs(10));
        if !(least..=most).contains(&self.heartbeat) {
            let reason = format!("{:?} is not between {least:?} and {most:?}", self.heartbeat);
            return refuse("timing.heartbeat", reason);
        }
        let least_election = self.lease() + self.heartbeat * 5 / 2;
        if self.election_min < least_election {
            let reason = format!(
                "{:?} is below half of timing.election_max and two and a half heartbeats, {least_election:?}",
                self.election_min
            );
            return refuse("timing.election_min", reason);
        }
        let most = Duration::from_secs(60);
        if self.election_max <= self.election_min || self.election_max > most {
            let reason = format!(
                "{:?} is not between timing.election_min, {:?}, and {most:?}",
                self.election_max, self.election_min
            );
            return refuse("timing.election_max", reason);
        }
        Ok(())
    }
}

/// When groups write checkpoints, and how much log may wait for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// A checkpoint follows this many bytes of log of one group. Default 64 MiB; at least 1.
    pub log_bytes: u64,
    /// A checkpoint follows this long after the last one, if anything was applied. Default 5 min.
    pub age: Duration,
    /// Over this many bytes the log of a group is cut at the checkpoint even if a follower still needs it. Default 1 GiB.
    pub log_bytes_max: u64,
    /// How long after it was last heard a follower still holds the log. Default 10 min.
    pub follower_patience: Duration,
    /// How often this is looked at. Default 5 s; 10 ms to 60 s.
    pub interval: Duration,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Checkpoints {
            log_bytes: 64 << 20,
            age: Duration::from_secs(300),
            log_bytes_max: 1 << 30,
            follower_patience: Duration::from_secs(600),
            interval: Duration::from_secs(5),
        }
    }
}

impl Checkpoints {
    fn check(&self) -> Result<(), Error> {
        let refuse = |field, reason| Err(Error::Config { field, reason });
        if self.log_bytes == 0 {
            return refuse("checkpoints.log_bytes", "0 is below the least of 1".into());
        }
        if self.log_bytes_max < self.log_bytes {
            let reason = format!("{} is below checkpoints.log_bytes, {}", self.log_bytes_max, self.log_bytes);
            return refuse("checkpoints.log_bytes_max", reason);
        }
        let (least, most) = (Duration::from_millis(10), Duration::from_secs(60));
        if !(least..=most).contains(&self.interval) {
            let reason = format!("{:?} is not between {least:?} and {most:?}", self.interval);
            return refuse("checkpoints.interval", reason);
        }
        Ok(())
    }
}

/// Answers what the layer above of other nodes sends with [`Node::call`].
pub trait CallHandler: Send + Sync + 'static {
    /// Answers a request of node `from`; an error is told to it as text. Must be quick: it runs on the peer server.
    fn call(&self, from: u64, request: Bytes) -> Result<Bytes, String>;
}

/// A running node; cheap to clone. It runs until [`shutdown`](Self::shutdown), whatever is dropped.
pub struct Node<M: StateMachine> {
    pub(crate) inner: Arc<NodeInner>,
    groups: Arc<[Group<M>]>,
    machine: PhantomData<fn() -> M>,
}

impl<M: StateMachine> Clone for Node<M> {
    fn clone(&self) -> Self {
        Node { inner: self.inner.clone(), groups: self.groups.clone(), machine: PhantomData }
    }
}

// What the methods do is in functions that know nothing of `M` (`running`, `host`): the crates that use a node need not compile it again.
impl<M: StateMachine> Node<M> {
    /// Opens the data directory, the log and the groups found there, and serves peers on `listener`.
    ///
    /// `machine` makes the state machine of a partition: once at start, again after each rebuild. Returns when every group here has its
    /// rows open and takes part; an empty directory waits for [`init`](Self::init), or for a leader that adds this node. A group whose
    /// machine halts on its state is left halted, see [`status`](Self::status).
    pub async fn open(
        config: Config,
        listener: TcpListener,
        machine: impl Fn(u32) -> M + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let machines = Box::new(move |partition| Box::new(Typed(machine(partition))) as Box<dyn Machine>);
        let inner = NodeInner::open(config, listener, machines).await?;
        Ok(Node { groups: inner.groups.iter().cloned().map(Group::new).collect(), inner, machine: PhantomData })
    }

    /// Founds the cluster with these members, this node among them; to be called on each of them with the same list.
    ///
    /// Does nothing when this node's directory was founded before. Waits until every other member was reached once, to learn that none of
    /// them has heard from this replica before.
    pub async fn init(&self, members: &[Member]) -> Result<(), Error> {
        self.inner.clone().found(members.to_vec()).await
    }

    /// This node's id.
    pub fn id(&self) -> u64 {
        self.inner.me()
    }

    /// The group of a partition; `None` when there is no such partition.
    pub fn group(&self, partition: u32) -> Option<&Group<M>> {
        self.groups.get(partition as usize)
    }

    /// All groups, by partition.
    pub fn groups(&self) -> &[Group<M>] {
        &self.groups
    }

    /// Every node that is a member of a group, by id.
    pub fn members(&self) -> Vec<Member> {
        self.inner.members()
    }

    /// Who answers other nodes' [`call`](Self::call)s here. Before it is set they are refused.
    pub fn set_call_handler(&self, handler: Arc<dyn CallHandler>) {
        let mut slot = self.inner.handler.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(handler);
    }

    /// Asks the layer above on another node, over the control lane. Keep it small: heartbeats share the connection.
    pub async fn call(&self, node: u64, request: Bytes, deadline: Duration) -> Result<Bytes, CallError> {
        self.inner.send_call(node, request, deadline).await
    }

    /// Figures of all groups.
    pub fn status(&self) -> Vec<GroupStatus> {
        self.inner.groups.iter().map(|group| group.status()).collect()
    }

    /// What the log holds; `None` after [`shutdown`](Self::shutdown).
    pub fn log_stats(&self) -> Option<crate::log::Stats> {
        self.inner.log().ok().map(|log| log.stats())
    }

    /// Says why the process must end: the log failed, or a group cannot be kept running. `None` while all is well.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.inner.fatal.subscribe()
    }

    /// Moves leadership of every group away from this node and keeps it away until [`undrain`](Self::undrain); waits until this node leads
    /// nothing, at most 30 s. The mark is not durable.
    pub async fn drain(&self) -> Result<(), ChangeError> {
        self.inner.drain().await
    }

    /// Ends a [`drain`](Self::drain).
    pub fn undrain(&self) {
        self.inner.set_draining(false);
    }

    /// Makes a node a voter of every group: as a learner first, a voter once it has caught up. May be called on any node; repeat it after
    /// an error, what is done stays done.
    pub async fn add_node(&self, member: Member) -> Result<(), ChangeError> {
        self.inner.everywhere(Order::Add(member.into())).await
    }

    /// Takes a node out of every group. May be called on any node; repeat it after an error.
    pub async fn remove_node(&self, node: u64) -> Result<(), ChangeError> {
        if !self.members().iter().any(|m| m.node == node) {
            return Err(ChangeError::UnknownNode(node));
        }
        self.inner.everywhere(Order::Remove(node)).await
    }

    /// Hands leadership of a partition to a node, whoever leads it now.
    pub async fn transfer(&self, partition: u32, node: u64) -> Result<(), ChangeError> {
        self.inner.at_leader(partition, Order::Transfer(node)).await
    }

    /// Stops all groups, then the server and the log. Proposals under way end with an unknown outcome.
    pub async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}
