//! What one trigger may answer, written from the protocol and not from the product.
//!
//! A trigger fires, ends and dies by itself, at a time the caller does not choose; an answer may therefore show it
//! further along its life than the last one did, never further back. Requeueing a dead letter is outside the model.

use crate::history::{Answer, Operation, Outcome, Refusal, Request, State as Seen};

/// Everything one trigger can be, as far as its callers can tell.
///
/// A version is unknown (`None`) while the operation that made it has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Never scheduled.
    Absent,
    /// Waits, or has fired and nobody has seen it yet.
    Waiting {
        /// Version.
        generation: Option<u64>,
        /// Due time.
        due_ms: Option<i64>,
    },
    /// Seen fired.
    Fired {
        /// Version.
        generation: Option<u64>,
    },
    /// Seen completed or dead.
    Ended {
        /// Version.
        generation: Option<u64>,
    },
    /// Cancelled.
    Cancelled {
        /// Version.
        generation: Option<u64>,
    },
}

impl State {
    fn generation(self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Waiting { generation, .. }
            | Self::Fired { generation }
            | Self::Ended { generation }
            | Self::Cancelled { generation } => generation,
        }
    }
}

/// The state after `operation` took effect in `state`; `None` when its answer cannot come from there.
///
/// An operation without an answer is taken to have been carried out if it could be.
#[must_use]
pub fn step(state: State, operation: &Operation) -> Option<State> {
    match &operation.outcome {
        Outcome::Ok(answer) => answered(state, operation, answer),
        Outcome::Fail { .. } => None,
        Outcome::Info { .. } => unanswered(state, &operation.request),
    }
}

fn answered(state: State, operation: &Operation, answer: &Answer) -> Option<State> {
    let request = &operation.request;
    match answer {
        Answer::Scheduled { generation, due_ms, replayed, .. } => match state {
            State::Absent => Some(State::Waiting { generation: Some(*generation), due_ms: Some(*due_ms) }),
            // The answer of the first request, whatever has become of it.
            _ if *replayed => state.generation().is_none_or(|now| *generation <= now).then_some(state),
            _ => None,
        },
        Answer::Cancelled { generation, .. } => match state {
            State::Waiting { generation: now, .. } | State::Cancelled { generation: now }
                if same(now, *generation) && expected(request, *generation) =>
            {
                Some(State::Cancelled { generation: Some(*generation) })
            }
            _ => None,
        },
        Answer::Rescheduled { generation, due_ms, .. } => {
            let due_ms = Some(*due_ms);
            moved(state, request, *generation, due_ms)
        }
        Answer::Started { generation, .. } => moved(state, request, *generation, None),
        Answer::Read { state: seen, generation, due_ms } => read(state, operation, *seen, *generation, *due_ms),
        Answer::Refused(refusal) => refused(state, operation, *refusal),
    }
}

fn moved(state: State, request: &Request, generation: u64, due_ms: Option<i64>) -> Option<State> {
    match state {
        State::Waiting { generation: now, .. } if now.is_none_or(|now| now < generation && expected(request, now)) => {
            Some(State::Waiting { generation: Some(generation), due_ms })
        }
        _ => None,
    }
}

fn read(state: State, operation: &Operation, seen: Seen, generation: u64, due_ms: i64) -> Option<State> {
    let version = Some(generation);
    match seen {
        Seen::Absent => (state == State::Absent).then_some(state),
        Seen::Scheduled => match state {
            State::Waiting { generation: now, due_ms: due }
                if same(now, generation) && due.is_none_or(|due| due == due_ms) =>
            {
                Some(State::Waiting { generation: version, due_ms: Some(due_ms) })
            }
            _ => None,
        },
        Seen::Fired => match state {
            State::Waiting { generation: now, .. } if same(now, generation) && can_be_due(state, operation) => {
                Some(State::Fired { generation: version })
            }
            State::Fired { generation: now } if same(now, generation) => Some(State::Fired { generation: version }),
            _ => None,
        },
        Seen::Completed | Seen::DeadLettered => match state {
            State::Waiting { generation: now, .. } if same(now, generation) && can_be_due(state, operation) => {
                Some(State::Ended { generation: version })
            }
            State::Fired { generation: now } | State::Ended { generation: now } if same(now, generation) => {
                Some(State::Ended { generation: version })
            }
            _ => None,
        },
        Seen::Cancelled => match state {
            State::Cancelled { generation: now } if same(now, generation) => {
                Some(State::Cancelled { generation: version })
            }
            _ => None,
        },
    }
}

fn refused(state: State, operation: &Operation, refusal: Refusal) -> Option<State> {
    let generation = state.generation();
    match refusal {
        Refusal::NotFound => (state == State::Absent).then_some(state),
        Refusal::AlreadyExists => (state != State::Absent).then_some(state),
        Refusal::AlreadyFired => match state {
            State::Waiting { .. } if can_be_due(state, operation) => Some(State::Fired { generation }),
            State::Fired { .. } | State::Ended { .. } => Some(state),
            _ => None,
        },
        Refusal::AlreadyEnded => match state {
            State::Waiting { .. } if can_be_due(state, operation) => Some(State::Ended { generation }),
            State::Fired { .. } => Some(State::Ended { generation }),
            State::Ended { .. } | State::Cancelled { .. } => Some(state),
            _ => None,
        },
        Refusal::VersionMismatch => {
            let differs = generation.is_none_or(|now| !expected(&operation.request, now));
            (state != State::Absent && differs).then_some(state)
        }
    }
}

fn unanswered(state: State, request: &Request) -> Option<State> {
    match (request, state) {
        (Request::Schedule { due_ms }, State::Absent) => Some(State::Waiting { generation: None, due_ms: *due_ms }),
        (Request::Cancel { .. }, State::Waiting { generation, .. }) => Some(State::Cancelled { generation }),
        (Request::Reschedule { due_ms, .. }, State::Waiting { .. }) => {
            Some(State::Waiting { generation: None, due_ms: *due_ms })
        }
        (Request::RunNow { .. }, State::Waiting { .. }) => Some(State::Waiting { generation: None, due_ms: None }),
        _ => None,
    }
}

/// An unknown version may be any.
fn same(now: Option<u64>, generation: u64) -> bool {
    now.is_none_or(|now| now == generation)
}

/// Whether a request that names a version allows `generation`.
fn expected(request: &Request, generation: u64) -> bool {
    match request {
        Request::Cancel { expected_generation }
        | Request::Reschedule { expected_generation, .. }
        | Request::RunNow { expected_generation } => *expected_generation == 0 || *expected_generation == generation,
        Request::Schedule { .. } | Request::Get => true,
    }
}

/// Whether the due time had come before the operation was answered.
fn can_be_due(state: State, operation: &Operation) -> bool {
    match (state, operation.returned_us) {
        (State::Waiting { due_ms: Some(due_ms), .. }, Some(returned_us)) => due_ms <= returned_us / 1_000,
        _ => true,
    }
}
