//! How errors look on the wire: the only file that names gRPC codes, and what each is in HTTP.
//!
//! Every error carries `google.rpc.ErrorInfo` with the domain `bosingak` and a reason of [`REASONS`], which is closed:
//! a client may branch on it. Wrong fields come with `BadRequest`, errors worth repeating with `RetryInfo`, refusals
//! that are about a trigger with its `bosingak.v1.Receipt`.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use scheduler::reply::{Receipt, Refusal};
use tonic::{Code, Status};
use tonic_types::pb;

use crate::convert;
use crate::error::{Error, Violation};

/// The domain of every reason.
pub const DOMAIN: &str = "bosingak";

/// Metadata key of the leader's client address, beside [`Reason::NotLeader`].
pub const LEADER_ENDPOINT: &str = "leader_endpoint";

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $code:ident;)+) => {
        /// Why a call failed, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        /// Every reason there is, with its gRPC code and its meaning.
        pub const REASONS: &[(Reason, &str, Code, &str)] =
            &[$((Reason::$name, $text, Code::$code, concat!($($doc),+)),)+];
    };
}

reasons! {
    /// A field of the request is wrong; the details say which and what was expected.
    InvalidField = "INVALID_FIELD", InvalidArgument;
    /// No visible trigger has this id, or no topic this name.
    NotFound = "NOT_FOUND", NotFound;
    /// The id is taken by a trigger with another content.
    AlreadyExists = "ALREADY_EXISTS", AlreadyExists;
    /// Too late: the trigger has fired.
    AlreadyFired = "ALREADY_FIRED", FailedPrecondition;
    /// Too late: the trigger has ended.
    AlreadyEnded = "ALREADY_ENDED", FailedPrecondition;
    /// Only dead letters can be requeued or dropped.
    NotDeadLettered = "NOT_DEAD_LETTERED", FailedPrecondition;
    /// The trigger or topic has another version than expected.
    VersionMismatch = "VERSION_MISMATCH", Aborted;
    /// The request id is older than the window in which repeats are known: the outcome is unknown, read it.
    RequestTooOld = "REQUEST_TOO_OLD", FailedPrecondition;
    /// Due more than ten years ahead.
    BeyondHorizon = "BEYOND_HORIZON", InvalidArgument;
    /// Another node leads; leader_endpoint says which, when it is known.
    NotLeader = "NOT_LEADER", Unavailable;
    /// The partition has no quorum or is not up here.
    NoQuorum = "NO_QUORUM", Unavailable;
    /// A queue is full; come back after RetryInfo.
    Overloaded = "OVERLOADED", ResourceExhausted;
    /// The disk is nearly full; writes are refused until there is room.
    DiskLow = "DISK_LOW", ResourceExhausted;
    /// The command may or may not have been applied: repeat it with the same ids.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unavailable;
    /// The watch cannot be resumed from this cursor: begin anew.
    StaleCursor = "STALE_CURSOR", OutOfRange;
    /// Newer settings of the topic were stored meanwhile.
    TopicVersionStale = "TOPIC_VERSION_STALE", Aborted;
    /// Only a virtual clock can be moved.
    ClockNotVirtual = "CLOCK_NOT_VIRTUAL", FailedPrecondition;
    /// Replicated time is held, so a moment counted from now is refused.
    ClockHeld = "CLOCK_HELD", Unavailable;
    /// No member has this number.
    UnknownNode = "UNKNOWN_NODE", NotFound;
    /// Another change of members is under way, or leadership could not move now.
    MembershipBusy = "MEMBERSHIP_BUSY", Aborted;
    /// The node is about to stop.
    ShuttingDown = "SHUTTING_DOWN", Unavailable;
    /// A bug or a failing disk; the log of the node says more.
    Internal = "INTERNAL", Internal;
    /// A business domain refused.
    DomainRefused = "DOMAIN_REFUSED", FailedPrecondition;
    /// The partition has no room for another topic.
    TooManyTopics = "TOO_MANY_TOPICS", FailedPrecondition;
    /// The record is in a state from which there is no way to the one wanted; state and wanted say which.
    WrongState = "WRONG_STATE", FailedPrecondition;
    /// It was possible, until a moment that has passed.
    TooLate = "TOO_LATE", FailedPrecondition;
    /// The link or page is that of an earlier holder.
    StaleLink = "STALE_LINK", FailedPrecondition;
    /// The payment provider could not be reached; nothing is left of the reservation.
    PaymentNotReached = "PAYMENT_NOT_REACHED", Unavailable;
    /// The node lacks an option that the call needs.
    NotConfigured = "NOT_CONFIGURED", FailedPrecondition;
    /// No key was shown, or one that is not known.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated;
    /// The key is not for this.
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied;
    /// Codes of digits are taken from terminals of shops only: there is none, it is not known, or its secret is wrong.
    TerminalNotAuthenticated = "TERMINAL_NOT_AUTHENTICATED", Unauthenticated;
    /// The terminal was wrong ten times within an hour; RetryInfo says when it may try again.
    TerminalLocked = "TERMINAL_LOCKED", ResourceExhausted;
    /// There is no such method, path or page, or it does not take this verb.
    NoSuchCall = "NO_SUCH_CALL", Unimplemented;
}

impl Reason {
    /// As it stands in `ErrorInfo`.
    pub fn text(self) -> &'static str {
        self.entry().1
    }

    /// The gRPC code it comes with.
    pub fn code(self) -> Code {
        self.entry().2
    }

    fn entry(self) -> &'static (Reason, &'static str, Code, &'static str) {
        // The macro lists the table in the order of the enum.
        &REASONS[self as usize]
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        match error {
            Error::Passed(status) => *status,
            error => {
                let status = rpc_status(error);
                let code = Code::from_i32(status.code);
                let message = status.message.clone();
                Status::with_details(code, message, status.encode_to_vec().into())
            }
        }
    }
}

/// The error as the result of a single item.
pub fn rpc_status(error: Error) -> pb::Status {
    let message = error.to_string();
    let mut details = Details::default();
    let reason = match error {
        Error::Passed(status) => return passed_status(&status),
        Error::Invalid(violations) => {
            details.bad_request(violations);
            Reason::InvalidField
        }
        Error::Refused { partition, refusal } => refused(partition, refusal, &mut details),
        Error::NoSuchTopic { .. } => Reason::NotFound,
        Error::Domain { partition, refusal } => refused_by_domain(partition, refusal, &mut details),
        Error::PaymentNotReached { partition } => {
            details.metadata("partition", partition);
            details.retry_after(Duration::from_secs(1));
            Reason::PaymentNotReached
        }
        Error::Unauthenticated { .. } => Reason::Unauthenticated,
        Error::Denied { role, .. } => {
            details.metadata("role", role);
            Reason::PermissionDenied
        }
        Error::NotConfigured { .. } => Reason::NotConfigured,
        Error::NotLeader { partition, leader } => {
            details.metadata("partition", partition);
            if let Some(leader) = leader {
                details.metadata(LEADER_ENDPOINT, leader);
            }
            details.retry_after(Duration::from_millis(50));
            Reason::NotLeader
        }
        Error::NoQuorum { partition, .. } => {
            details.metadata("partition", partition);
            details.retry_after(Duration::from_millis(200));
            Reason::NoQuorum
        }
        Error::Overloaded { retry_after, .. } => {
            details.retry_after(retry_after);
            Reason::Overloaded
        }
        Error::DiskLow { free_bytes, min_bytes } => {
            details.metadata("free_bytes", free_bytes);
            details.metadata("min_bytes", min_bytes);
            details.retry_after(Duration::from_secs(5));
            Reason::DiskLow
        }
        Error::OutcomeUnknown { .. } => {
            details.retry_after(Duration::from_millis(50));
            Reason::OutcomeUnknown
        }
        Error::StaleCursor => Reason::StaleCursor,
        Error::ClockNotVirtual => Reason::ClockNotVirtual,
        Error::ClockHeld { .. } => {
            details.retry_after(Duration::from_secs(1));
            Reason::ClockHeld
        }
        Error::UnknownNode { node } => {
            details.metadata("node", node);
            Reason::UnknownNode
        }
        Error::MembershipBusy { .. } => {
            details.retry_after(Duration::from_secs(1));
            Reason::MembershipBusy
        }
        Error::ShuttingDown => {
            details.retry_after(Duration::from_millis(50));
            Reason::ShuttingDown
        }
        Error::NoSuchCall { .. } => Reason::NoSuchCall,
        Error::Internal(_) => Reason::Internal,
    };
    details.status(reason, message)
}

/// Another node's error as the result of a single item.
fn passed_status(status: &Status) -> pb::Status {
    match pb::Status::decode(status.details()) {
        Ok(decoded) if !decoded.details.is_empty() => decoded,
        _ => pb::Status { code: status.code() as i32, message: status.message().into(), details: Vec::new() },
    }
}

/// The status of an answer over HTTP that stands for a gRPC code.
pub fn http_status(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        // What HTTP calls not implemented is about verbs no resource has; here it is a path that is none.
        Code::NotFound | Code::Unimplemented => 404,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => 409,
        // Only a cursor has a range: where it points is gone.
        Code::OutOfRange => 410,
        Code::ResourceExhausted => 429,
        Code::Cancelled => 499,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}

/// The reason in the details of a status, if there is one.
pub fn reason_of(status: &Status) -> Option<String> {
    reason_in(&pb::Status::decode(status.details()).ok()?)
}

/// The reason in the details of an item's status, if there is one.
pub fn reason_in(status: &pb::Status) -> Option<String> {
    let info = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"))?;
    Some(pb::ErrorInfo::decode(info.value.as_slice()).ok()?.reason)
}

fn refused_by_domain(partition: u32, refusal: domain::Refusal, details: &mut Details) -> Reason {
    use domain::Reason as Of;
    details.metadata("partition", partition);
    let states = |details: &mut Details| {
        let name = |number| domain::gift::State::try_from(number).map_or("UNKNOWN", domain::gift::State::name);
        details.metadata("state", name(refusal.state));
        details.metadata("wanted", name(refusal.wanted));
    };
    match refusal.reason() {
        Of::Invalid => {
            let description = format!("expected {}", refusal.expected);
            details.bad_request(vec![Violation { field: refusal.field, description }]);
            Reason::InvalidField
        }
        Of::NotFound => {
            details.metadata("what", refusal.field);
            Reason::NotFound
        }
        Of::AlreadyExists => Reason::AlreadyExists,
        Of::WrongState => {
            states(details);
            Reason::WrongState
        }
        Of::TooLate => {
            states(details);
            Reason::TooLate
        }
        Of::VersionMismatch => {
            details.metadata("found", refusal.version);
            Reason::VersionMismatch
        }
        Of::Stale => {
            details.metadata("what", refusal.field);
            Reason::StaleLink
        }
        Of::NoRoom => {
            details.retry_after(Duration::from_millis(50));
            Reason::Overloaded
        }
        Of::NotAuthenticated => Reason::TerminalNotAuthenticated,
        Of::Locked => {
            details.metadata("locked_until_ms", refusal.until);
            details.retry_after(Duration::from_millis(refusal.left_ms));
            Reason::TerminalLocked
        }
        Of::Collision | Of::Unspecified => Reason::DomainRefused,
    }
}

fn refused(partition: u32, refusal: Refusal, details: &mut Details) -> Reason {
    details.metadata("partition", partition);
    match refusal {
        Refusal::NotFound => Reason::NotFound,
        Refusal::AlreadyExists(receipt) => {
            details.receipt(partition, &receipt);
            Reason::AlreadyExists
        }
        Refusal::AlreadyFired(receipt) => {
            details.receipt(partition, &receipt);
            Reason::AlreadyFired
        }
        Refusal::AlreadyEnded(receipt) => {
            details.receipt(partition, &receipt);
            Reason::AlreadyEnded
        }
        Refusal::NotDeadLettered(receipt) => {
            details.receipt(partition, &receipt);
            Reason::NotDeadLettered
        }
        Refusal::VersionMismatch { expected, found } => {
            details.metadata("expected", expected);
            details.metadata("found", found);
            Reason::VersionMismatch
        }
        Refusal::RequestTooOld { window_ms } => {
            details.metadata("window_ms", window_ms);
            Reason::RequestTooOld
        }
        Refusal::BeyondHorizon { due, horizon } => {
            details.metadata("due_ms", due.as_millis());
            details.metadata("horizon_ms", horizon.as_millis());
            details.bad_request(vec![Violation {
                field: "when".into(),
                description: format!("due {due} is later than the horizon, {horizon}"),
            }]);
            Reason::BeyondHorizon
        }
        Refusal::StaleTopicVersion { given, found } => {
            details.metadata("given", given);
            details.metadata("found", found);
            Reason::TopicVersionStale
        }
        Refusal::TooManyTopics { max } => {
            details.metadata("max", max);
            Reason::TooManyTopics
        }
        Refusal::Invalid { field, expected } => {
            details.bad_request(vec![Violation { field: field.into(), description: expected.into() }]);
            Reason::InvalidField
        }
        Refusal::Business(_) => Reason::DomainRefused,
    }
}

#[derive(Default)]
struct Details {
    metadata: HashMap<String, String>,
    others: Vec<prost_types::Any>,
}

impl Details {
    fn metadata(&mut self, key: &str, value: impl ToString) {
        self.metadata.insert(key.into(), value.to_string());
    }

    fn retry_after(&mut self, delay: Duration) {
        let retry_delay = prost_types::Duration::try_from(delay).ok();
        self.push("google.rpc.RetryInfo", &pb::RetryInfo { retry_delay });
    }

    fn bad_request(&mut self, violations: Vec<Violation>) {
        let field_violations = violations
            .into_iter()
            .map(|one| pb::bad_request::FieldViolation {
                field: one.field,
                description: one.description,
                ..Default::default()
            })
            .collect();
        self.push("google.rpc.BadRequest", &pb::BadRequest { field_violations });
    }

    fn receipt(&mut self, partition: u32, receipt: &Receipt) {
        self.push("bosingak.v1.Receipt", &convert::receipt(partition, receipt));
    }

    fn push(&mut self, name: &str, message: &impl Message) {
        self.others
            .push(prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() });
    }

    fn status(mut self, reason: Reason, message: String) -> pb::Status {
        let info =
            pb::ErrorInfo { reason: reason.text().into(), domain: DOMAIN.into(), metadata: self.metadata.clone() };
        self.push("google.rpc.ErrorInfo", &info);
        self.others.rotate_right(1);
        pb::Status { code: reason.code() as i32, message, details: self.others }
    }
}

#[cfg(test)]
mod tests {
    use domain::gift::State;
    use scheduler::lane::Generation;
    use scheduler::reply::{Fired, Outcome};
    use scheduler::time::Timestamp;
    use tonic_types::StatusExt;

    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            log_index: 7,
            generation: Generation::new(5, 0),
            due: Timestamp::from_millis(1_000),
            fired: Some(Fired { time: Timestamp::from_millis(1_001), index: 6 }),
            outcome: Outcome::Fired,
            decided: Timestamp::from_millis(1_001),
            executor: String::new(),
            attempt: 0,
            token: None,
        }
    }

    /// The list clients rely on. A change here is a change of the protocol.
    #[test]
    fn reasons_are_a_closed_list() {
        let texts: Vec<&str> = REASONS.iter().map(|(_, text, _, _)| *text).collect();
        assert_eq!(
            texts,
            [
                "INVALID_FIELD",
                "NOT_FOUND",
                "ALREADY_EXISTS",
                "ALREADY_FIRED",
                "ALREADY_ENDED",
                "NOT_DEAD_LETTERED",
                "VERSION_MISMATCH",
                "REQUEST_TOO_OLD",
                "BEYOND_HORIZON",
                "NOT_LEADER",
                "NO_QUORUM",
                "OVERLOADED",
                "DISK_LOW",
                "OUTCOME_UNKNOWN",
                "STALE_CURSOR",
                "TOPIC_VERSION_STALE",
                "CLOCK_NOT_VIRTUAL",
                "CLOCK_HELD",
                "UNKNOWN_NODE",
                "MEMBERSHIP_BUSY",
                "SHUTTING_DOWN",
                "INTERNAL",
                "DOMAIN_REFUSED",
                "TOO_MANY_TOPICS",
                "WRONG_STATE",
                "TOO_LATE",
                "STALE_LINK",
                "PAYMENT_NOT_REACHED",
                "NOT_CONFIGURED",
                "UNAUTHENTICATED",
                "PERMISSION_DENIED",
                "TERMINAL_NOT_AUTHENTICATED",
                "TERMINAL_LOCKED",
                "NO_SUCH_CALL",
            ]
        );
        for (reason, text, code, meaning) in REASONS {
            assert_eq!((reason.text(), reason.code()), (*text, *code));
            assert!(!meaning.trim().is_empty(), "{text}");
        }
    }

    /// Red when the order of the macro's table and of the enum differ, or a variant maps to another reason.
    #[test]
    fn each_error_has_its_code_reason_and_details() {
        let refused = |refusal| Error::Refused { partition: 2, refusal };
        let of_domain = |refusal| Error::Domain { partition: 2, refusal };
        let cases = [
            (Error::invalid("when", "set"), Code::InvalidArgument, "INVALID_FIELD"),
            (refused(Refusal::NotFound), Code::NotFound, "NOT_FOUND"),
            (refused(Refusal::AlreadyExists(receipt())), Code::AlreadyExists, "ALREADY_EXISTS"),
            (refused(Refusal::AlreadyFired(receipt())), Code::FailedPrecondition, "ALREADY_FIRED"),
            (refused(Refusal::AlreadyEnded(receipt())), Code::FailedPrecondition, "ALREADY_ENDED"),
            (refused(Refusal::NotDeadLettered(receipt())), Code::FailedPrecondition, "NOT_DEAD_LETTERED"),
            (refused(Refusal::VersionMismatch { expected: 1, found: 2 }), Code::Aborted, "VERSION_MISMATCH"),
            (refused(Refusal::RequestTooOld { window_ms: 9 }), Code::FailedPrecondition, "REQUEST_TOO_OLD"),
            (
                refused(Refusal::BeyondHorizon { due: Timestamp::MAX, horizon: Timestamp::MIN }),
                Code::InvalidArgument,
                "BEYOND_HORIZON",
            ),
            (refused(Refusal::StaleTopicVersion { given: 1, found: 2 }), Code::Aborted, "TOPIC_VERSION_STALE"),
            (refused(Refusal::TooManyTopics { max: 3 }), Code::FailedPrecondition, "TOO_MANY_TOPICS"),
            (refused(Refusal::Business(Default::default())), Code::FailedPrecondition, "DOMAIN_REFUSED"),
            (of_domain(domain::Refusal::invalid("message", "less")), Code::InvalidArgument, "INVALID_FIELD"),
            (of_domain(domain::Refusal::not_found("gift")), Code::NotFound, "NOT_FOUND"),
            (of_domain(domain::Refusal::already_exists("gift")), Code::AlreadyExists, "ALREADY_EXISTS"),
            (
                of_domain(domain::Refusal::wrong_state(State::Used, State::Cancelled)),
                Code::FailedPrecondition,
                "WRONG_STATE",
            ),
            (
                of_domain(domain::Refusal::too_late(State::Sent, State::Used, "once")),
                Code::FailedPrecondition,
                "TOO_LATE",
            ),
            (of_domain(domain::Refusal::version(7)), Code::Aborted, "VERSION_MISMATCH"),
            (of_domain(domain::Refusal::stale("link")), Code::FailedPrecondition, "STALE_LINK"),
            (of_domain(domain::Refusal::collision("code")), Code::FailedPrecondition, "DOMAIN_REFUSED"),
            (of_domain(domain::Refusal::not_authenticated()), Code::Unauthenticated, "TERMINAL_NOT_AUTHENTICATED"),
            (
                of_domain(domain::Refusal::locked(Timestamp::MAX, Timestamp::MIN)),
                Code::ResourceExhausted,
                "TERMINAL_LOCKED",
            ),
            (Error::PaymentNotReached { partition: 1 }, Code::Unavailable, "PAYMENT_NOT_REACHED"),
            (Error::NotConfigured { what: "gift.key_file" }, Code::FailedPrecondition, "NOT_CONFIGURED"),
            (Error::Unauthenticated { why: "x" }, Code::Unauthenticated, "UNAUTHENTICATED"),
            (Error::Denied { role: "shop", method: "x".into() }, Code::PermissionDenied, "PERMISSION_DENIED"),
            (Error::NotLeader { partition: 0, leader: None }, Code::Unavailable, "NOT_LEADER"),
            (Error::NoQuorum { partition: 0, reason: "x".into() }, Code::Unavailable, "NO_QUORUM"),
            (
                Error::Overloaded { what: "the queue", retry_after: Duration::from_millis(5) },
                Code::ResourceExhausted,
                "OVERLOADED",
            ),
            (Error::DiskLow { free_bytes: 1, min_bytes: 2 }, Code::ResourceExhausted, "DISK_LOW"),
            (Error::OutcomeUnknown { reason: "x".into() }, Code::Unavailable, "OUTCOME_UNKNOWN"),
            (Error::StaleCursor, Code::OutOfRange, "STALE_CURSOR"),
            (Error::ClockNotVirtual, Code::FailedPrecondition, "CLOCK_NOT_VIRTUAL"),
            (Error::ClockHeld { reason: "x".into() }, Code::Unavailable, "CLOCK_HELD"),
            (Error::UnknownNode { node: 4 }, Code::NotFound, "UNKNOWN_NODE"),
            (Error::MembershipBusy { reason: "x".into() }, Code::Aborted, "MEMBERSHIP_BUSY"),
            (Error::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN"),
            (Error::NoSuchCall { what: "x".into() }, Code::Unimplemented, "NO_SUCH_CALL"),
            (Error::Internal("x".into()), Code::Internal, "INTERNAL"),
        ];
        for (error, code, reason) in cases {
            let retry = error.may_retry();
            let status = Status::from(error);
            assert_eq!(status.code(), code, "{reason}");
            let info = status.get_details_error_info().expect(reason);
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, DOMAIN));
            assert_eq!(reason_of(&status).as_deref(), Some(reason));
            assert_eq!(status.get_details_retry_info().is_some(), retry, "{reason}");
        }
    }

    #[test]
    fn not_leader_says_where_the_leader_is() {
        let status = Status::from(Error::NotLeader { partition: 3, leader: Some("10.0.0.1:7300".into()) });
        let info = status.get_details_error_info().expect("info");
        assert_eq!(info.metadata.get(LEADER_ENDPOINT).map(String::as_str), Some("10.0.0.1:7300"));
    }

    #[test]
    fn refusals_about_a_trigger_carry_its_receipt() {
        let status = rpc_status(Error::Refused { partition: 2, refusal: Refusal::AlreadyFired(receipt()) });
        let any = status.details.iter().find(|any| any.type_url.ends_with("/bosingak.v1.Receipt")).expect("receipt");
        let found = proto::v1::Receipt::decode(any.value.as_slice()).expect("decodes");
        assert_eq!((found.partition, found.fired_index), (2, 6));
    }

    #[test]
    fn an_error_passed_on_keeps_its_details() {
        let original = Status::from(Error::Refused { partition: 1, refusal: Refusal::NotFound });
        let status = rpc_status(Error::Passed(Box::new(original)));
        assert_eq!(reason_in(&status).as_deref(), Some("NOT_FOUND"));
    }
}
