//! What can go wrong with a call.

use std::time::Duration;

use scheduler::reply::Refusal;

/// Why a call did not succeed. [`crate::status`] says how a client sees each.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request are wrong; nothing was tried.
    #[error("{}", describe(.0))]
    Invalid(Vec<Violation>),
    /// The state machine refused: the same on every replica, nothing changed.
    #[error("{refusal}")]
    Refused {
        /// Where.
        partition: u32,
        /// Why.
        refusal: Refusal,
    },
    /// A business domain refused: the same on every replica, nothing changed.
    #[error("{refusal}")]
    Domain {
        /// Where.
        partition: u32,
        /// Why.
        refusal: domain::Refusal,
    },
    /// The payment provider could not be reached. Nothing was asked of it, and nothing is left of the reservation.
    #[error("the payment provider cannot be reached; nothing was reserved")]
    PaymentNotReached {
        /// Where.
        partition: u32,
    },
    /// Nobody who is known calls. Nothing was tried.
    #[error("{why}")]
    Unauthenticated {
        /// What is wrong with what was shown.
        why: &'static str,
    },
    /// The key of the caller is not for this. Nothing was tried.
    #[error("a key with the role {role} may not call {method}")]
    Denied {
        /// Role of the key.
        role: &'static str,
        /// `package.Service/Method`.
        method: String,
    },
    /// This node lacks an option that the call needs.
    #[error("{what} is not set on this node")]
    NotConfigured {
        /// Which.
        what: &'static str,
    },
    /// There is no such topic.
    #[error("topic {topic:?} does not exist in namespace {namespace:?}")]
    NoSuchTopic {
        /// Tenant.
        namespace: String,
        /// Its name.
        topic: String,
    },
    /// Another node leads the partition, or none does yet. Nothing was tried.
    #[error("this node does not lead partition {partition}")]
    NotLeader {
        /// Which.
        partition: u32,
        /// Where clients reach the leader, when it is known.
        leader: Option<String>,
    },
    /// The partition has no quorum, or is not up on this node. Nothing was changed.
    #[error("partition {partition} cannot answer: {reason}")]
    NoQuorum {
        /// Which.
        partition: u32,
        /// What is missing.
        reason: String,
    },
    /// A bounded queue is full. Nothing was tried.
    #[error("{what} is full")]
    Overloaded {
        /// Which queue.
        what: &'static str,
        /// When to come back.
        retry_after: Duration,
    },
    /// The disk has too little room. Nothing was tried.
    #[error("{free_bytes} bytes are free on the disk, fewer than storage.free_space_min of {min_bytes}")]
    DiskLow {
        /// What is free.
        free_bytes: u64,
        /// The mark.
        min_bytes: u64,
    },
    /// The command may or may not have been applied: repeat it with the same ids.
    #[error("the outcome is unknown: {reason}")]
    OutcomeUnknown {
        /// Why.
        reason: String,
    },
    /// The cursor of a watch is older than what is kept, or from another leader.
    #[error("the cursor is too old to resume from; watch from the beginning")]
    StaleCursor,
    /// The clock of this node is a real one.
    #[error("the clock of this node is not virtual")]
    ClockNotVirtual,
    /// Time is held, and the command counts from now.
    #[error("replicated time is held: {reason}")]
    ClockHeld {
        /// Why.
        reason: String,
    },
    /// No member has this number.
    #[error("node {node} is no member of the cluster")]
    UnknownNode {
        /// The number.
        node: u64,
    },
    /// Membership or leadership could not be changed now.
    #[error("{reason}")]
    MembershipBusy {
        /// Why.
        reason: String,
    },
    /// There is no such method, path or page.
    #[error("there is no {what}")]
    NoSuchCall {
        /// Which.
        what: String,
    },
    /// This node is about to stop. Nothing was tried.
    #[error("this node is shutting down")]
    ShuttingDown,
    /// A bug or a failing disk; the log of the node says more.
    #[error("internal error: {0}")]
    Internal(String),
    /// Another node's answer to a call that was passed on, as it came.
    #[error("{}", .0.message())]
    Passed(Box<tonic::Status>),
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, such as `items[3].when.local.time_zone`.
    pub field: String,
    /// What was expected and what was found.
    pub description: String,
}

impl Error {
    /// One wrong field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Error {
        Error::Invalid(vec![Violation { field: field.into(), description: description.into() }])
    }

    /// Whether the same request, with the same ids, may succeed later without anybody changing it.
    pub fn may_retry(&self) -> bool {
        match self {
            Error::NotLeader { .. }
            | Error::NoQuorum { .. }
            | Error::Overloaded { .. }
            | Error::DiskLow { .. }
            | Error::OutcomeUnknown { .. }
            | Error::ClockHeld { .. }
            | Error::MembershipBusy { .. }
            | Error::PaymentNotReached { .. }
            | Error::ShuttingDown => true,
            Error::Domain { refusal, .. } => {
                matches!(refusal.reason(), domain::Reason::NoRoom | domain::Reason::Locked)
            }
            Error::Passed(status) => status.code() == tonic::Code::Unavailable,
            Error::Invalid(_)
            | Error::Refused { .. }
            | Error::Unauthenticated { .. }
            | Error::Denied { .. }
            | Error::NotConfigured { .. }
            | Error::NoSuchTopic { .. }
            | Error::StaleCursor
            | Error::ClockNotVirtual
            | Error::UnknownNode { .. }
            | Error::NoSuchCall { .. }
            | Error::Internal(_) => false,
        }
    }
}

fn describe(violations: &[Violation]) -> String {
    let texts: Vec<String> = violations.iter().map(|one| format!("{}: {}", one.field, one.description)).collect();
    texts.join("; ")
}
