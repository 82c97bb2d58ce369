//! What can go wrong, sorted by what the caller may do about it.

use std::path::PathBuf;

use crate::group::Leader;

/// The rows could not be read or written: the disk, or damage. The replica halts; it may not guess.
#[derive(Clone, Debug, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(pub String);

impl From<rocksdb::Error> for StoreError {
    fn from(e: rocksdb::Error) -> Self {
        StoreError(e.into_string())
    }
}

/// Why a proposal has no reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead the group, or no longer in the term named. Not proposed.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<Leader>,
    },
    /// This node leads but has not heard from a majority for longer than its lease, or is handing leadership over. Not proposed.
    #[error("no majority")]
    NoQuorum,
    /// The group has no replica here that serves: not created yet, being rebuilt, or halted. Not proposed.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// For a human.
        reason: String,
    },
    /// The node is shutting down. Not proposed.
    #[error("shutting down")]
    ShuttingDown,
    /// The entry is larger than the log takes. Not proposed.
    #[error("entry of {bytes} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It was proposed, and leadership or the replica was lost before its fate was known here: it may be applied, now or later, or never.
    #[error("outcome unknown")]
    OutcomeUnknown,
}

impl ProposeError {
    /// Whether the entry is certain never to be applied, so that proposing it again cannot apply it twice.
    pub fn is_definite(&self) -> bool {
        match self {
            ProposeError::NotLeader { .. }
            | ProposeError::NoQuorum
            | ProposeError::Unavailable { .. }
            | ProposeError::ShuttingDown
            | ProposeError::TooLarge { .. } => true,
            ProposeError::OutcomeUnknown => false,
        }
    }
}

/// Why a read barrier could not be passed. A read has no effects, so trying again is always safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// This node does not lead the group.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<Leader>,
    },
    /// No majority confirmed the leadership in time.
    #[error("no majority")]
    NoQuorum,
    /// The group has no replica here that serves.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// For a human.
        reason: String,
    },
    /// The node is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}

/// Why a change of members or of leader was refused or did not finish.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChangeError {
    /// This node does not lead the group.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<Leader>,
    },
    /// Another change of this group is under way.
    #[error("another membership change is under way")]
    Busy,
    /// No such node among the members.
    #[error("node {0} is not a member")]
    UnknownNode(u64),
    /// The change makes no sense in the present state; the text says why.
    #[error("{0}")]
    Refused(String),
    /// It did not finish in time; it may still take effect. Look at the status and repeat.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// The group has no replica here that serves.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// Why a peer did not answer a [`Node::call`](crate::Node::call).
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// No member has that node id.
    #[error("node {0} is not a member")]
    UnknownNode(u64),
    /// The peer cannot be reached, or answered too late.
    #[error("peer: {0}")]
    Unreachable(String),
    /// The peer answered that it refuses.
    #[error("refused by the peer: {0}")]
    Refused(String),
}

/// Why a node cannot be opened or bootstrapped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting makes no sense; the text names it, its value and its bounds.
    #[error("setting {field}: {reason}")]
    Config {
        /// Name of the setting.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The data directory belongs to something else, or to a newer version of this program.
    #[error("data directory {}: {reason}", dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// What differs, with both values.
        reason: String,
    },
    /// This node's disk is empty although its replica was part of the cluster before: it forgot what it promised.
    #[error(
        "this node's data directory is empty, but node {peer} has heard from its replica before; remove node {node} from the cluster and add it again"
    )]
    Amnesia {
        /// This node.
        node: u64,
        /// Who remembers.
        peer: u64,
    },
    /// Reading or writing the data directory failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] crate::log::Error),
    /// The rows could not be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A state machine refused the state it was given.
    #[error(transparent)]
    Halt(#[from] crate::machine::Halt),
    /// openraft refused to start; a bug or damage.
    #[error("raft: {0}")]
    Raft(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io {
            what: what.into(),
            source,
        }
    }
}
