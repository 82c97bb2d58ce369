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
);
