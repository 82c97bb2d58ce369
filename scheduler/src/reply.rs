//! What apply answers: the same on every replica, so it holds replicated facts only.

use crate::command::{LocalTime, Token};
use crate::lane::{Generation, LaneId, Position};
use crate::time::Timestamp;

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To Schedule.
    Scheduled {
        /// What was decided.
        receipt: Receipt,
        /// It answers a repeated request.
        replayed: bool,
        /// How the due time had been resolved, by the first request.
        local: Option<LocalTime>,
    },
    /// To Reschedule, RunNow, Requeue.
    Moved(Receipt),
    /// To Cancel, Drop, SkipLate.
    Ended(Receipt),
    /// To Complete, Retry, Fail: this report decided.
    Decided(Receipt),
    /// To Complete, Retry, Fail: it had been decided before.
    AlreadyDecided(Receipt),
    /// To Complete: the id has another generation now. To Retry, Fail: a newer attempt or generation exists.
    Superseded,
    /// To CompleteRun: positions that did not count, because they had ended otherwise.
    RunDecided {
        /// In order.
        rejected: Vec<Position>,
    },
    /// To Release, RaiseFloor, SetTopic.
    Done,
    /// To Business, in the domain's own schema.
    Business(bytes::Bytes),
    /// Refused; nothing changed.
    Refused(Refusal),
}

/// Proof of what the log decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Entry that decided the outcome.
    pub log_index: u64,
    /// Version it is about.
    pub generation: Generation,
    /// Due time of that version.
    pub due: Timestamp,
    /// When it fired, if it did.
    pub fired: Option<Fired>,
    /// What became of it.
    pub outcome: Outcome,
    /// Time of the entry at `log_index`.
    pub decided: Timestamp,
    /// Whose report was accepted; empty when none was needed.
    pub executor: String,
    /// Attempt that ended it, counted from 1; 0 when it never fired.
    pub attempt: u32,
    /// Token of the delivery that ended it.
    pub token: Option<Token>,
}

/// The entry that fired a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired {
    /// Its time.
    pub time: Timestamp,
    /// Its index.
    pub index: u64,
}

/// What became of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Waits.
    Scheduled,
    /// Released for delivery.
    Fired,
    /// Done.
    Completed,
    /// Never to be done.
    Cancelled,
    /// Given up, kept for a human.
    DeadLettered,
    /// Failed, to be tried again.
    Retrying,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No visible trigger has this id.
    #[error("not found")]
    NotFound,
    /// The id is taken by another content.
    #[error("already exists with another content")]
    AlreadyExists(Receipt),
    /// Too late to cancel or move: it has fired.
    #[error("already fired")]
    AlreadyFired(Receipt),
    /// It has ended.
    #[error("already ended")]
    AlreadyEnded(Receipt),
    /// Not a dead letter.
    #[error("not a dead letter")]
    NotDeadLettered(Receipt),
    /// The generation is another.
    #[error("generation is {found}, expected {expected}")]
    VersionMismatch {
        /// As asked.
        expected: u64,
        /// As stored.
        found: u64,
    },
    /// The request id is older than the window in which repeats are known: the outcome is unknown, read it.
    #[error("request id is older than the window of {window_ms} ms")]
    RequestTooOld {
        /// The window.
        window_ms: u64,
    },
    /// Due beyond the horizon.
    #[error("due {due} is beyond the horizon {horizon}")]
    BeyondHorizon {
        /// As asked.
        due: Timestamp,
        /// The last moment allowed.
        horizon: Timestamp,
    },
    /// Topic settings older than those stored.
    #[error("topic settings have version {found}, newer than {given}")]
    StaleTopicVersion {
        /// As given.
        given: u64,
        /// As stored.
        found: u64,
    },
    /// No room for another topic.
    #[error("more than {max} topics")]
    TooManyTopics {
        /// The bound.
        max: u32,
    },
    /// A value out of its range; the edge checks it first, apply does not rely on that.
    #[error("{field}: {expected}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// A domain refused, in its own schema.
    #[error("refused by the domain")]
    Business(bytes::Bytes),
}

/// What changed, for the leader's wheel, dispatcher and watchers. Not part of the reply, not replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A row now waits at this position.
    Inserted {
        /// Lane.
        lane: LaneId,
        /// Position.
        position: Position,
    },
    /// A row that waited there is gone, without having fired.
    Removed {
        /// Lane.
        lane: LaneId,
        /// Position.
        position: Position,
    },
    /// A fired row ended or moved to another lane.
    Ended {
        /// Lane it left.
        lane: LaneId,
        /// Position it left.
        position: Position,
    },
    /// Floor, released mark or settings of this lane's topic changed.
    LaneChanged {
        /// Lane.
        lane: LaneId,
    },
    /// The visible state of a trigger changed by command (not by the watermark alone).
    Changed {
        /// Tenant.
        namespace: String,
        /// Which.
        id: String,
    },
}
