//! One node: the shared log, the groups, the connections to peers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::{CallError, ChangeError, Error};
use crate::group::{Group, GroupStatus};
use crate::machine::StateMachine;
use crate::store::StoreConfig;
use crate::types::Member;

/// Everything a node needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the cluster; peers and data directories of another name are refused. 1 to 64 bytes.
    pub cluster: String,
    /// This node's id and addresses. Ids count from 1 and fit 31 bits.
    pub member: Member,
    /// The data directory; created if absent. One process at a time.
    pub dir: PathBuf,
    /// How many groups; fixed when the directory is first used. 1 to 1,024.
    pub partitions: u32,
    /// Time-outs.
    pub timing: Timing,
    /// Checkpoints and what may be dropped from the log.
    pub checkpoints: Checkpoints,
    /// The rows' store.
    pub store: StoreConfig,
    /// Whether leaders are spread over the nodes: partition p prefers the (p mod n)-th voter.
    pub balance: bool,
}

/// Time-outs of the protocol; all nodes should have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader lets itself be heard. Default 150 ms.
    pub heartbeat: Duration,
    /// The shortest silence after which a follower stands for election. Default 600 ms; at least three heartbeats.
    pub election_min: Duration,
    /// The longest such silence. Default 900 ms.
    pub election_max: Duration,
}

/// When groups write checkpoints, and how much log may wait for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// A checkpoint follows this many bytes of log of one group. Default 64 MiB.
    pub log_bytes: u64,
    /// A checkpoint follows this long after the last one, if anything was applied. Default 5 min.
    pub age: Duration,
    /// Over this many bytes the log of a group is cut at the checkpoint even if a follower still needs it. Default 1 GiB.
    pub log_bytes_max: u64,
    /// How long after it was last heard a follower still holds the log. Default 10 min.
    pub follower_patience: Duration,
}

/// Answers what the layer above of other nodes sends with [`Node::call`].
pub trait CallHandler: Send + Sync + 'static {
    /// Answers a request of node `from`; an error is told to it as text. Must be quick: it runs on the peer server.
    fn call(&self, from: u64, request: Bytes) -> Result<Bytes, String>;
}

/// A running node; cheap to clone.
pub struct Node<M: StateMachine> {
    shared: Arc<std::marker::PhantomData<M>>,
}

impl<M: StateMachine> Clone for Node<M> {
    fn clone(&self) -> Self {
        Node {
            shared: self.shared.clone(),
        }
    }
}

impl<M: StateMachine> Node<M> {
    /// Opens the data directory, the log and the groups found there, and serves peers on `listener`.
    ///
    /// `machine` makes the state machine of a partition: once at start, again after each rebuild. Returns when every group here has its
    /// rows open and takes part; an empty directory waits for [`init`](Self::init), or for a leader that adds this node.
    pub async fn open(
        _config: Config,
        _listener: TcpListener,
        _machine: impl Fn(u32) -> M + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        todo!()
    }

    /// Founds the cluster with these members, this node among them; to be called on each of them with the same list.
    ///
    /// Does nothing when this node's directory was founded before. Waits until every other member was reached once, to learn that none of
    /// them has heard from this replica before.
    pub async fn init(&self, _members: &[Member]) -> Result<(), Error> {
        todo!()
    }

    /// This node's id.
    pub fn id(&self) -> u64 {
        todo!()
    }

    /// The group of a partition; `None` when there is no such partition.
    pub fn group(&self, _partition: u32) -> Option<&Group<M>> {
        todo!()
    }

    /// All groups, by partition.
    pub fn groups(&self) -> &[Group<M>] {
        todo!()
    }

    /// Every node that is a member of a group, by id.
    pub fn members(&self) -> Vec<Member> {
        todo!()
    }

    /// Who answers other nodes' [`call`](Self::call)s here. Before it is set they are refused.
    pub fn set_call_handler(&self, _handler: Arc<dyn CallHandler>) {
        todo!()
    }

    /// Asks the layer above on another node, over the control lane; at most 1 MiB either way.
    pub async fn call(&self, _node: u64, _request: Bytes, _deadline: Duration) -> Result<Bytes, CallError> {
        todo!()
    }

    /// Figures of all groups.
    pub fn status(&self) -> Vec<GroupStatus> {
        todo!()
    }

    /// Says why the process must end: the log failed, or a group cannot be kept running. `None` while all is well.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        todo!()
    }

    /// Moves leadership of every group away from this node and keeps it away until [`undrain`](Self::undrain); waits until this node leads
    /// nothing. The mark is not durable.
    pub async fn drain(&self) -> Result<(), ChangeError> {
        todo!()
    }

    /// Ends a [`drain`](Self::drain).
    pub fn undrain(&self) {
        todo!()
    }

    /// Makes a node a voter of every group: as a learner first, a voter once it has caught up. May be called on any node; repeat it after
    /// an error, what is done stays done.
    pub async fn add_node(&self, _member: Member) -> Result<(), ChangeError> {
        todo!()
    }

    /// Takes a node out of every group. May be called on any node; repeat it after an error.
    pub async fn remove_node(&self, _node: u64) -> Result<(), ChangeError> {
        todo!()
    }

    /// Stops all groups, then the server and the log. Proposals under way end with an unknown outcome.
    pub async fn shutdown(&self) {
        todo!()
    }
}
