//! One Raft group as seen from one node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::error::{ChangeError, ProposeError, ReadError};
use crate::machine::StateMachine;
use crate::store::Store;

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
    /// Since when it has not answered the leader; `None` when this node does not lead or does not know.
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
    /// The last entry no longer in the log.
    pub purged_index: u64,
    /// The replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// How often the group was rebuilt since the node started.
    pub rebuilds: u64,
}

/// A handle to one group; cheap to clone, valid until the node is shut down, across rebuilds.
pub struct Group<M: StateMachine> {
    shared: Arc<std::marker::PhantomData<M>>,
}

impl<M: StateMachine> Clone for Group<M> {
    fn clone(&self) -> Self {
        Group {
            shared: self.shared.clone(),
        }
    }
}

/// A proposal that is in the leader's queue; await it for the outcome.
#[must_use = "the outcome is told nowhere else"]
pub struct Pending<R> {
    _reply: std::marker::PhantomData<R>,
}

impl<R> Pending<R> {
    /// Waits until the entry is applied here, or its outcome cannot be known.
    pub async fn outcome(self) -> Result<Proposed<R>, ProposeError> {
        todo!()
    }
}

impl<M: StateMachine> Group<M> {
    /// The partition number.
    pub fn partition(&self) -> u32 {
        todo!()
    }

    /// Proposes an entry and waits until it is applied here.
    ///
    /// Fenced: it goes into the log only while this node leads in `term`. The reply arrives after the entry is durable on a majority
    /// and its rows are readable here. Dropping the future does not take the proposal back.
    pub async fn propose(&self, _term: u64, _payload: Bytes) -> Result<Proposed<M::Reply>, ProposeError> {
        todo!()
    }

    /// Hands an entry to the leader's queue; entries enter the log in the order in which calls of this function return.
    ///
    /// Waits only for room in the queue. Fenced as [`propose`](Self::propose); losing the term is reported by the [`Pending`].
    pub async fn submit(&self, _term: u64, _payload: Bytes) -> Result<Pending<M::Reply>, ProposeError> {
        todo!()
    }

    /// Waits until everything committed anywhere before the call is applied and readable in [`store`](Self::store) here.
    ///
    /// Costs one round to a majority, shared by all callers that wait at the same time. Returns the index up to which the store is
    /// certain to be read. Only the leader can answer.
    pub async fn read_barrier(&self) -> Result<u64, ReadError> {
        todo!()
    }

    /// The rows as applied here; `None` while the group has no replica here. After a snapshot from the leader it is another store, so
    /// ask again for every read and keep none.
    pub fn store(&self) -> Option<Store> {
        todo!()
    }

    /// Follows who leads. The first value is current.
    ///
    /// `we_lead` says that a majority elected this node, not that it has applied what its predecessors committed: pass a
    /// [`read_barrier`](Self::read_barrier) before acting on the state.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        todo!()
    }

    /// Follows the last index applied here.
    pub fn applied(&self) -> watch::Receiver<u64> {
        todo!()
    }

    /// Whether this node leads and a majority acknowledged that so recently that no other node can lead yet.
    pub fn lease_valid(&self) -> bool {
        todo!()
    }

    /// How long ago the oldest moment was at which a majority had still acknowledged this node as leader; `None` when it does not lead.
    pub fn since_quorum(&self) -> Option<Duration> {
        todo!()
    }

    /// Figures for operators.
    pub fn status(&self) -> GroupStatus {
        todo!()
    }

    /// Hands leadership to the replica on `node` and waits until it leads.
    ///
    /// Refused unless this node leads and the target votes and has all but a few of the entries. Proposals meanwhile fail with
    /// [`ProposeError::NoQuorum`].
    pub async fn transfer(&self, _node: u64) -> Result<(), ChangeError> {
        todo!()
    }
}
