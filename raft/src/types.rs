//! The openraft type configuration. openraft's names end in this crate; nothing outside sees them.

use std::any::Any;
use std::fmt;

use bytes::Bytes;

/// What an entry carries: opaque bytes, never re-encoded between the proposer, the log, the wire and apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// The state machine's reply on its way to whoever proposed; its type is known at both ends.
#[derive(Default)]
pub struct AnyReply(pub Option<Box<dyn Any + Send + Sync>>);

impl fmt::Debug for AnyReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "reply" } else { "no reply" })
    }
}

impl fmt::Display for AnyReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a replica lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The node it lives on.
    pub node: u64,
    /// Where clients reach that node, as `host:port`.
    pub endpoint: String,
    /// Where peers reach that node, as `host:port`.
    pub peer_endpoint: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} at {}", self.node, self.peer_endpoint)
    }
}

openraft::declare_raft_types!(
    /// Replica ids are never reused: `node << 32 | sequence`.
    pub TypeConfig:
        D = Payload,
        R = AnyReply,
        NodeId = u64,
        Node = Member,
        // One leader per term: the term alone fences, on the wire and in tokens handed to the outside.
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = crate::rhythm::Rhythmic,
);

pub(crate) type CommittedLeaderId = openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// The node a replica lives on.
pub(crate) fn node_of(replica: u64) -> u64 {
    replica >> 32
}

/// The replica of a node with a sequence number; the pair must never have been used before in its group.
pub(crate) fn replica_id(node: u64, sequence: u32) -> u64 {
    node << 32 | u64::from(sequence)
}

/// A log id from its parts.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: openraft::vote::leader_id_std::CommittedLeaderId::new(term), index }
}
