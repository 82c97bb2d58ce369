//! What can go wrong with a call, in answers to the questions a caller asks: may I repeat it, whose fault is it, which
//! field, and what did the log decide.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prost::Message;
use proto::v1::Receipt;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, RpcStatusExt, StatusExt, pb};

/// Why a call did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The server answered, and the answer is no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The connection could not be made or broke. The outcome of a call that was under way is unknown.
    #[error("no connection to {endpoint}: {message}")]
    Disconnected {
        /// Whom it was about.
        endpoint: String,
        /// What the transport said.
        message: String,
    },
    /// No answer in time; the outcome is unknown. Repeat it with the same ids, or read.
    #[error("no answer within {} ms", after.as_millis())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The call was not sent: what it was given cannot be right.
    #[error("{field}: {message}")]
    Invalid {
        /// Name of the argument.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The stream this call was to go out on has been closed.
    #[error("closed")]
    Closed,
}

/// A refusal by the server, with everything it said about it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// gRPC status code.
    pub code: Code,
    /// Which of the documented reasons.
    pub reason: Reason,
    /// For a human, in English.
    pub message: String,
    /// Facts of the reason, such as `leader_endpoint`, `found` or `window_ms`.
    pub metadata: BTreeMap<String, String>,
    /// Which fields of the request are wrong, and how.
    pub fields: Vec<FieldViolation>,
    /// Ask again no earlier than this after the answer.
    pub retry_after: Option<Duration>,
    /// What the log had decided, when that is why the answer is no (for example ALREADY_FIRED).
    pub receipt: Option<Receipt>,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path in the request, as in `items[3].topic`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// Whether a call that failed may be made again as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The answer would be the same, or only a human can change it.
    Never,
    /// It had no effect: any call may be repeated.
    NotExecuted,
    /// It may have had its effect: only calls that carry an id that makes a repeat the same call.
    MaybeExecuted,
}

macro_rules! reasons {
    ($($name:ident $text:literal $doc:literal)*) => {
        /// Why a server refused: the closed list of the protocol.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $doc] $name,)*
            /// None was given (a proxy answered), or one this client does not know.
            Other(String),
        }

        impl Reason {
            /// Every reason of the protocol.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),*];

            /// As it is on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Reason::$name => $text,)*
                    Reason::Other(text) => text,
                }
            }

            /// From the wire; never fails.
            pub fn from_wire(text: &str) -> Reason {
                match text {
                    $($text => Reason::$name,)*
                    other => Reason::Other(other.to_owned()),
                }
            }
        }
    };
}

reasons! {
    InvalidField "INVALID_FIELD" "A field of the request is wrong."
    NotFound "NOT_FOUND" "No visible trigger, topic or node has this name."
    AlreadyExists "ALREADY_EXISTS" "The id is taken by another content."
    AlreadyFired "ALREADY_FIRED" "Too late to cancel or move: it has fired."
    AlreadyEnded "ALREADY_ENDED" "It has ended."
    NotDeadLettered "NOT_DEAD_LETTERED" "It is not a dead letter."
    VersionMismatch "VERSION_MISMATCH" "It is not of the expected generation or version."
    RequestTooOld "REQUEST_TOO_OLD" "The request id is older than the window in which repeats are known."
    BeyondHorizon "BEYOND_HORIZON" "Due later than ten years from now."
    NotLeader "NOT_LEADER" "The node does not lead the partition; nothing was done."
    NoQuorum "NO_QUORUM" "No majority of the partition's replicas answers."
    Overloaded "OVERLOADED" "A queue is full; nothing was done."
    DiskLow "DISK_LOW" "Too little free space to take writes; nothing was done."
    OutcomeUnknown "OUTCOME_UNKNOWN" "The write may or may not have become durable."
    StaleCursor "STALE_CURSOR" "The cursor is too old to continue from: begin anew."
    TopicVersionStale "TOPIC_VERSION_STALE" "The topic changed at the same time."
    ClockNotVirtual "CLOCK_NOT_VIRTUAL" "The clock of this server cannot be moved."
    ClockHeld "CLOCK_HELD" "Time is held until a majority of clocks agrees or an operator accepts."
    UnknownNode "UNKNOWN_NODE" "No member has this number."
    MembershipBusy "MEMBERSHIP_BUSY" "Another change of members is under way; nothing was done."
    ShuttingDown "SHUTTING_DOWN" "The node is stopping; nothing was done."
    Internal "INTERNAL" "A bug in the server."
    DomainRefused "DOMAIN_REFUSED" "A business domain said no."
    TooManyTopics "TOO_MANY_TOPICS" "The namespace has no room for another topic."
    WrongState "WRONG_STATE" "There is no way from the state it is in to the one wanted."
    TooLate "TOO_LATE" "It was possible, until a moment that has passed."
    StaleLink "STALE_LINK" "The link or page is that of an earlier holder."
    PaymentNotReached "PAYMENT_NOT_REACHED" "The payment provider cannot be reached; nothing is left."
    NotConfigured "NOT_CONFIGURED" "The node lacks an option that the call needs."
    Unauthenticated "UNAUTHENTICATED" "No API key was shown, or one that is not known."
    PermissionDenied "PERMISSION_DENIED" "The API key is not for this."
    NoSuchCall "NO_SUCH_CALL" "The server has no such method: it is of another version."
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for violation in &self.fields {
            write!(f, "; {}: {}", violation.field, violation.description)?;
        }
        match self.reason.as_str() {
            "" => write!(f, " ({:?})", self.code),
            reason => write!(f, " ({reason})"),
        }
    }
}

impl Error {
    /// Whether making the call again as it is could help. Calls of this crate have already been repeated as far as
    /// their deadline allowed.
    pub fn is_retryable(&self) -> bool {
        self.repeat() != Repeat::Never
    }

    /// Whether the call may be made again, and what is known of its effect.
    pub fn repeat(&self) -> Repeat {
        match self {
            Error::Refused(refusal) => refusal.repeat(),
            Error::Disconnected { .. } | Error::TimedOut { .. } => Repeat::MaybeExecuted,
            Error::Invalid { .. } | Error::Closed => Repeat::Never,
        }
    }

    /// The server's reason, when it was the server that refused.
    pub fn reason(&self) -> Option<&Reason> {
        self.refusal().map(|refusal| &refusal.reason)
    }

    /// The server's answer, when there was one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Which fields are wrong; empty when it is not about fields.
    pub fn field_violations(&self) -> &[FieldViolation] {
        self.refusal().map_or(&[], |refusal| &refusal.fields)
    }

    /// What the log had decided, when that is why the call was refused.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.refusal().and_then(|refusal| refusal.receipt.as_ref())
    }

    /// Where the leader is, when the answer said so.
    pub fn leader_endpoint(&self) -> Option<&str> {
        let refusal = self.refusal()?;
        refusal.metadata.get("leader_endpoint").map(String::as_str).filter(|text| !text.is_empty())
    }

    /// How long the server asks to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(|refusal| refusal.retry_after)
    }

    /// From the outcome of a call to `endpoint` that was given `timeout`.
    pub fn from_status(status: &Status, endpoint: &str, timeout: Duration) -> Error {
        // A status made by the transport has a cause and no details; one sent by a server is the other way round.
        if status.details().is_empty() && std::error::Error::source(status).is_some() {
            return match status.code() {
                Code::Cancelled | Code::DeadlineExceeded if is_timeout(status) => Error::TimedOut { after: timeout },
                _ => Error::Disconnected { endpoint: endpoint.to_owned(), message: causes(status) },
            };
        }
        let raw = pb::Status::decode(status.details()).unwrap_or_default();
        Error::refused(status.code(), status.message(), &raw, status.get_error_details())
    }

    /// From the result of a single item in a batch or on a stream.
    pub fn from_item(status: &pb::Status) -> Error {
        Error::refused(Code::from_i32(status.code), &status.message, status, status.get_error_details())
    }

    /// Refused locally: `field` cannot be right.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Error {
        Error::Invalid { field: field.into(), message: message.into() }
    }

    fn refused(code: Code, message: &str, raw: &pb::Status, details: ErrorDetails) -> Error {
        let (reason, metadata) = match details.error_info() {
            Some(info) => {
                (Reason::from_wire(&info.reason), info.metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            None => (Reason::Other(String::new()), BTreeMap::new()),
        };
        let fields = details.bad_request().map_or_else(Vec::new, |bad| {
            let violations = bad.field_violations.iter();
            violations.map(|v| FieldViolation { field: v.field.clone(), description: v.description.clone() }).collect()
        });
        let receipt = raw
            .details
            .iter()
            .find(|any| any.type_url.ends_with("/bosingak.v1.Receipt"))
            .and_then(|any| Receipt::decode(any.value.as_slice()).ok());
        Error::Refused(Box::new(Refusal {
            code,
            reason,
            message: message.to_owned(),
            fields,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            receipt,
            metadata,
        }))
    }
}

impl Refusal {
    /// Whether the call may be made again, and what is known of its effect.
    pub fn repeat(&self) -> Repeat {
        match &self.reason {
            Reason::NotLeader
            | Reason::Overloaded
            | Reason::ShuttingDown
            | Reason::MembershipBusy
            | Reason::PaymentNotReached
            | Reason::TopicVersionStale => Repeat::NotExecuted,
            Reason::NoQuorum | Reason::OutcomeUnknown => Repeat::MaybeExecuted,
            // Both last until somebody acts, unless the server knows better and names a time.
            Reason::DiskLow | Reason::ClockHeld => match self.retry_after {
                Some(_) => Repeat::NotExecuted,
                None => Repeat::Never,
            },
            Reason::InvalidField
            | Reason::NotFound
            | Reason::AlreadyExists
            | Reason::AlreadyFired
            | Reason::AlreadyEnded
            | Reason::NotDeadLettered
            | Reason::VersionMismatch
            | Reason::RequestTooOld
            | Reason::BeyondHorizon
            | Reason::StaleCursor
            | Reason::ClockNotVirtual
            | Reason::UnknownNode
            | Reason::Internal
            | Reason::DomainRefused
            | Reason::NoSuchCall
            | Reason::TooManyTopics
            | Reason::WrongState
            | Reason::TooLate
            | Reason::StaleLink
            | Reason::Unauthenticated
            | Reason::PermissionDenied
            | Reason::NotConfigured => Repeat::Never,
            Reason::Other(_) => match self.code {
                Code::Unavailable | Code::DeadlineExceeded => Repeat::MaybeExecuted,
                Code::ResourceExhausted => Repeat::NotExecuted,
                _ => Repeat::Never,
            },
        }
    }
}

/// Whether the transport's own timer is the cause.
fn is_timeout(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The innermost cause says what happened ("connection refused"); what wraps it says "transport error".
fn causes(status: &Status) -> String {
    let mut last = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        last = error.to_string();
        cause = error.source();
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn status(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Status {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "bosingak", metadata);
        details.add_bad_request_violation("due", "beyond the horizon");
        details.set_retry_info(Some(Duration::from_millis(70)));
        Status::with_error_details(code, "no", details)
    }

    fn error(status: &Status) -> Error {
        Error::from_status(status, "http://node", Duration::from_secs(1))
    }

    #[test]
    fn everything_the_server_said_is_kept() {
        let error = error(&status(Code::Aborted, "VERSION_MISMATCH", &[("found", "81921")]));
        assert_eq!(error.reason(), Some(&Reason::VersionMismatch));
        assert_eq!(error.field_violations()[0].field, "due");
        assert_eq!(error.retry_after(), Some(Duration::from_millis(70)));
        let refusal = error.refusal().expect("the server answered");
        assert_eq!(refusal.metadata["found"], "81921");
        assert!(!error.is_retryable());
        assert_eq!(error.to_string(), "no; due: beyond the horizon (VERSION_MISMATCH)");
    }

    #[test]
    fn a_receipt_comes_whole() {
        let receipt = Receipt { generation: 9, executor: "e-1".into(), ..Receipt::default() };
        let raw = pb::Status {
            code: Code::FailedPrecondition as i32,
            message: "already ended".into(),
            details: vec![prost_types::Any {
                type_url: "type.googleapis.com/bosingak.v1.Receipt".into(),
                value: receipt.encode_to_vec(),
            }],
        };
        assert_eq!(Error::from_item(&raw).receipt(), Some(&receipt));
    }

    #[test]
    fn every_reason_keeps_its_name() {
        for reason in Reason::ALL {
            assert_eq!(&Reason::from_wire(reason.as_str()), reason);
        }
        assert_eq!(Reason::from_wire("NEW"), Reason::Other("NEW".into()));
    }

    #[test]
    fn who_may_repeat() {
        let cases = [
            (Code::Unavailable, "NOT_LEADER", Repeat::NotExecuted),
            (Code::ResourceExhausted, "OVERLOADED", Repeat::NotExecuted),
            (Code::Unavailable, "OUTCOME_UNKNOWN", Repeat::MaybeExecuted),
            (Code::Unavailable, "NO_QUORUM", Repeat::MaybeExecuted),
            (Code::Aborted, "VERSION_MISMATCH", Repeat::Never),
            (Code::InvalidArgument, "INVALID_FIELD", Repeat::Never),
            (Code::Unavailable, "", Repeat::MaybeExecuted),
            (Code::Internal, "", Repeat::Never),
        ];
        for (code, reason, expected) in cases {
            assert_eq!(error(&status(code, reason, &[])).repeat(), expected, "{code:?} {reason}");
        }
    }

    #[test]
    fn bytes_that_are_no_details_are_survived() {
        let status = Status::with_details(Code::Unavailable, "busy", vec![0xff, 0xff, 0xff].into());
        assert_eq!(error(&status).repeat(), Repeat::MaybeExecuted);
    }
}
