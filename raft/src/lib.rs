//! Raft groups that share one log, one peer connection and one process, each with its rows in RocksDB.
//!
//! A [`Node`] opens a data directory and runs its [`Group`]s. A group agrees on entries of opaque bytes and gives them, in order, to a
//! [`StateMachine`] that answers each and says what to write. Nothing here knows what the bytes mean.
//!
//! - [`log`](mod@log): one log per node for all groups, one sync for whatever waits.
//! - [`store`]: the rows of one group, written without a log of their own; a crash returns them to the last flush, and the
//!   Raft log brings them forward again.
//! - `apply`, `adapter`: committed entries become rows on a thread per group.
//! - `net`: three lanes between any two nodes.
//! - `replica`, `supervisor`: a group's core, and who starts it again when it dies.
//! - [`crash`]: where a test can have the process die.
//! - `timing`: time-outs, and openraft's configuration.
//! - `rhythm`: when the groups of a node look at their clocks.
//! - [`verify`]: what is wrong with a data directory that no node has open.
//! - `purge`, `membership`, `balance`: what may leave the log, who belongs to a group, who leads it.

mod acks;
mod adapter;
mod apply;
mod balance;
mod barrier;
pub mod crash;
pub mod error;
mod founding;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
pub mod group;
mod host;
mod identity;
pub mod log;
pub mod machine;
mod membership;
pub mod metrics;
mod net;
pub mod node;
mod orders;
mod progress;
mod purge;
mod replica;
mod rhythm;
mod running;
mod sealed;
pub mod store;
mod supervisor;
mod timing;
pub mod types;
pub mod verify;
mod wire;

pub use error::{CallError, ChangeError, Error, ProposeError, ReadError, StoreError};
pub use group::{Group, GroupStatus, Health, Leader, Leadership, Pending, Proposed, ReplicaStatus};
pub use log::LogConfig;
pub use machine::{Committed, CompactionFilter, Halt, StateMachine};
pub use node::{CallHandler, Checkpoints, Config, Node, Timing};
pub use store::{Batch, Snapshot, Store, StoreConfig};
pub use types::Member;
