//! Between nodes: three lanes, each a connection of its own, shared by all groups.

pub(crate) mod client;
pub(crate) mod link;
pub(crate) mod server;
pub(crate) mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::replica::Replica;
use crate::wire;

/// Largest message either way. Appends are cut to a few MiB by the log; one entry may be larger than that, but not than this.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// How long an answer on the log lane may take. A disk that stalls is slow, not gone; a connection that hangs is noticed by keep-alive.
pub(crate) const APPEND_DEADLINE: Duration = Duration::from_secs(5);

/// A connection's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Appends in bulk.
    Log,
    /// Heartbeats, votes, and whatever else is small and urgent.
    Control,
}

/// What the peer server asks of the node it serves.
pub(crate) trait Host: Send + Sync + 'static {
    /// The cluster.
    fn cluster(&self) -> &str;

    /// The replica `to` of a partition, if it is the one that lives here; or why not.
    fn replica(&self, partition: u32, to: u64) -> Result<Arc<Replica>, String>;

    /// Remembers for good that a replica spoke; nothing it said may be used before this returns `Ok`.
    fn heard(&self, replica: u64) -> Result<(), String>;

    /// Passes a request to the layer above.
    fn call(&self, from: u64, request: Bytes) -> Result<Bytes, String>;

    /// Carries out an order of another node.
    fn order(self: Arc<Self>, partition: u32, order: wire::order::Order) -> BoxFuture<'static, wire::OrderReply>;
}
