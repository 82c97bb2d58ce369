//! What a group replicates: the seam between this crate and whoever has something to agree on.

use bytes::Bytes;

use crate::store::{Batch, Snapshot, Store};

/// One committed entry.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its place in the log, counted from 1. Membership and leadership entries take places too and are not shown.
    pub index: u64,
    /// Term of the leader that proposed it.
    pub term: u64,
    /// What was proposed.
    pub payload: Bytes,
}

/// A replica that must stop: it met an entry or a row that it cannot interpret, and may not skip it.
///
/// The group stops serving on this node and says why; the process stays up for the others and for the operator.
#[derive(Clone, Debug, thiserror::Error)]
#[error("halted at index {index}: {reason}")]
pub struct Halt {
    /// The entry.
    pub index: u64,
    /// Why, for a human.
    pub reason: String,
}

/// Decides whether RocksDB may drop a row when it compacts: `true` drops it.
///
/// It must only drop rows that are invisible to every reader of every state at or after the last completed flush,
/// because a crash returns the replica there.
pub type CompactionFilter = std::sync::Arc<dyn Fn(&[u8], &[u8]) -> bool + Send + Sync>;

/// A deterministic state machine over rows.
///
/// Calls come from one thread at a time. No call may read a clock, draw a random number or depend on anything but its
/// arguments and what earlier calls left.
pub trait StateMachine: Send + Sync + 'static {
    /// What the proposer of an entry is answered. Never stored or sent.
    type Reply: Send + Sync + 'static;

    /// Applies entries in order and answers each.
    ///
    /// Reads see `store` as it was before the call, so an entry that depends on the ones before it in the same call
    /// looks at `batch` first. Everything goes down in one write together with the applied mark, after this returns;
    /// replies leave after that.
    fn apply(&mut self, store: &Store, entries: &[Committed], batch: &mut Batch) -> Result<Vec<Self::Reply>, Halt>;

    /// The batch of the last [`apply`](Self::apply) is in `store` and readable.
    fn applied(&mut self, store: &Store);

    /// `store` is another than before: opened at start, or replaced by a snapshot.
    fn restored(&mut self, store: &Store) -> Result<(), Halt>;

    /// Everything in `durable` is in files that survive a crash. Called now and then, between applies, so `durable` may be older than what
    /// was applied last.
    fn flushed(&mut self, durable: &Snapshot);

    /// The filter to compact with; asked once when a store is opened.
    fn compaction_filter(&self) -> Option<CompactionFilter> {
        None
    }
}
