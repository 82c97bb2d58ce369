//! Raft groups that share one log, one peer connection and one process, each with its rows in RocksDB.
//!
//! A [`Node`] opens a data directory and runs its [`Group`]s. A group agrees on entries of opaque bytes and gives them, in order, to a
//! [`StateMachine`] that answers each and says what to write. Nothing here knows what the bytes mean.

pub mod error;
pub mod group;
pub mod machine;
pub mod node;
pub mod store;
mod types;

pub use error::{CallError, ChangeError, Error, ProposeError, ReadError, StoreError};
pub use group::{Group, GroupStatus, Health, Leader, Leadership, Pending, Proposed, ReplicaStatus};
pub use machine::{Committed, CompactionFilter, Halt, StateMachine};
pub use node::{CallHandler, Checkpoints, Config, Node, Timing};
pub use store::{Batch, Snapshot, Store, StoreConfig};
pub use types::Member;
