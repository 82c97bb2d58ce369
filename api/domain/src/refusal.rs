//! Why a domain refused a command: the same on every replica, and nothing of the command remains.

use prost::Message;
use scheduler::domain::DomainError;
use scheduler::time::Timestamp;

use crate::gift::State;

/// Why, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Reason {
    /// Never stored.
    Unspecified = 0,
    /// A field of the command is wrong; `field` and `expected` say which and how.
    Invalid = 1,
    /// There is no such record.
    NotFound = 2,
    /// The id is taken by a record with another content.
    AlreadyExists = 3,
    /// The record is in a state from which there is no way to the one wanted; `state` and `wanted` name both.
    WrongState = 4,
    /// It was possible, until a moment that has passed; `expected` says which.
    TooLate = 5,
    /// The record has another version than expected.
    VersionMismatch = 6,
    /// What was drawn is taken already: draw again.
    Collision = 7,
    /// The link or nonce belongs to an earlier holder.
    Stale = 8,
    /// Nothing is wrong with the command: the entry, or the partition, had no room for its triggers. Ask again.
    NoRoom = 9,
    /// The terminal is not known, or revoked, or its secret is wrong, or there has to be one.
    NotAuthenticated = 10,
    /// The terminal is locked; `until` says until when.
    Locked = 11,
}

/// Why a command was refused.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Refusal {
    /// Why.
    #[prost(enumeration = "Reason", tag = "1")]
    pub reason: i32,
    /// Which record or field.
    #[prost(string, tag = "2")]
    pub field: String,
    /// What was expected.
    #[prost(string, tag = "3")]
    pub expected: String,
    /// Of the gift, where it is about one.
    #[prost(enumeration = "State", tag = "4")]
    pub state: i32,
    /// The state that was wanted.
    #[prost(enumeration = "State", tag = "5")]
    pub wanted: i32,
    /// The version found, where another was expected.
    #[prost(uint64, tag = "6")]
    pub version: u64,
    /// Of a terminal that is locked, in replicated time.
    #[prost(uint64, tag = "7")]
    pub until: u64,
    /// How long that is from when it was refused, in milliseconds.
    #[prost(uint64, tag = "8")]
    pub left_ms: u64,
}

impl Refusal {
    fn of(reason: Reason) -> Refusal {
        Refusal { reason: reason.into(), ..Refusal::default() }
    }

    /// A field is wrong.
    pub fn invalid(field: impl Into<String>, expected: impl Into<String>) -> Refusal {
        Refusal { field: field.into(), expected: expected.into(), ..Refusal::of(Reason::Invalid) }
    }

    /// There is no such record.
    pub fn not_found(what: &str) -> Refusal {
        Refusal { field: what.to_owned(), ..Refusal::of(Reason::NotFound) }
    }

    /// The id is taken.
    pub fn already_exists(what: &str) -> Refusal {
        Refusal { field: what.to_owned(), ..Refusal::of(Reason::AlreadyExists) }
    }

    /// No way from one state to the other.
    pub fn wrong_state(state: State, wanted: State) -> Refusal {
        Refusal { state: state.into(), wanted: wanted.into(), ..Refusal::of(Reason::WrongState) }
    }

    /// Possible until a moment that has passed.
    pub fn too_late(state: State, wanted: State, expected: &str) -> Refusal {
        Refusal { expected: expected.to_owned(), reason: Reason::TooLate.into(), ..Refusal::wrong_state(state, wanted) }
    }

    /// Another version than expected.
    pub fn version(found: u64) -> Refusal {
        Refusal { version: found, ..Refusal::of(Reason::VersionMismatch) }
    }

    /// What was drawn is taken.
    pub fn collision(what: &str) -> Refusal {
        Refusal { field: what.to_owned(), ..Refusal::of(Reason::Collision) }
    }

    /// No room for the triggers of the command.
    pub fn no_room(why: impl Into<String>) -> Refusal {
        Refusal { field: "trigger".to_owned(), expected: why.into(), ..Refusal::of(Reason::NoRoom) }
    }

    /// No terminal, or none that is known by what it showed.
    pub fn not_authenticated() -> Refusal {
        Refusal { field: "terminal".to_owned(), ..Refusal::of(Reason::NotAuthenticated) }
    }

    /// Too much is counted against a terminal.
    pub fn locked(until: Timestamp, now: Timestamp) -> Refusal {
        let (until, left_ms) = (until.as_millis(), until.since(now).as_millis());
        Refusal { field: "terminal".to_owned(), until, left_ms, ..Refusal::of(Reason::Locked) }
    }

    /// Of an earlier holder.
    pub fn stale(what: &str) -> Refusal {
        Refusal { field: what.to_owned(), ..Refusal::of(Reason::Stale) }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = |number| State::try_from(number).map_or("UNKNOWN", |state| state.name());
        match self.reason() {
            Reason::Invalid => write!(f, "{}: expected {}", self.field, self.expected),
            Reason::NotFound => write!(f, "{} not found", self.field),
            Reason::AlreadyExists => write!(f, "{} already exists with another content", self.field),
            Reason::WrongState => {
                write!(f, "the gift is {}, it cannot become {}", state(self.state), state(self.wanted))
            }
            Reason::TooLate => write!(
                f,
                "too late: the gift is {}, it could become {} {}",
                state(self.state),
                state(self.wanted),
                self.expected
            ),
            Reason::VersionMismatch => write!(f, "the version is {}, another was expected", self.version),
            Reason::Collision => write!(f, "{} is taken, draw again", self.field),
            Reason::Stale => write!(f, "{} is of an earlier holder", self.field),
            Reason::NoRoom => write!(f, "no room for its triggers now, ask again: {}", self.expected),
            Reason::NotAuthenticated => {
                write!(f, "expected a terminal of the shop that is registered, with its secret")
            }
            Reason::Locked => {
                let until = Timestamp::from_millis(self.until);
                write!(f, "the terminal was wrong ten times within an hour: it is locked until {until}")
            }
            Reason::Unspecified => write!(f, "refused"),
        }
    }
}

impl From<Refusal> for DomainError {
    fn from(refusal: Refusal) -> Self {
        DomainError::Refused(refusal.encode_to_vec().into())
    }
}
