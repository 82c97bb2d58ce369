//! The types openraft is given here: as the product's, but for the runtime and the reply.

use std::fmt;

use bytes::Bytes;
use openraft::EmptyNode;
use openraft::vote::leader_id_std;
use scheduler::reply::Reply;
use scheduler::time::Timestamp;

/// What an entry carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What applying an entry came to: its time, and a reply for every command. `None` for entries without any.
#[derive(Debug, Default)]
pub struct Answers(pub Option<(Timestamp, Vec<Reply>)>);

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} replies", self.0.as_ref().map_or(0, |(_, replies)| replies.len()))
    }
}

openraft::declare_raft_types!(
    /// Replicas have ids of their own, as in the product: see [`replica_id`].
    pub TypeConfig:
        D = Payload,
        R = Answers,
        NodeId = u64,
        Node = EmptyNode,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = crate::openraft::runtime::Runtime,
);

/// Names the leader of a committed term.
pub type CommittedLeaderId = openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>;
/// An entry's place and term.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// A promise.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// An entry.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// Who belongs to the group, and by which entry.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// How far a snapshot reaches.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// The replica of a node with a sequence number.
#[must_use]
pub fn replica_id(node: usize, sequence: u32) -> u64 {
    (node as u64 + 1) << 32 | u64::from(sequence)
}

/// The node a replica lives on.
#[must_use]
pub fn node_of(replica: u64) -> usize {
    ((replica >> 32) as usize).saturating_sub(1)
}

/// How far rows are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The last entry applied to them.
    pub applied: Option<LogId>,
    /// The members as of that entry.
    pub membership: StoredMembership,
}

impl Mark {
    /// Index of the last entry applied; 0 before the first.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.applied.map_or(0, |id| id.index)
    }
}
