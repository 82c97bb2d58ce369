//! Errors of calls, taken apart: reason, fields, when to retry, the receipt, and whether anything can have happened.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use proto::v1;
use tonic::Code;
use tonic_types::pb;

/// A call or an item of a batch that did not succeed.
#[derive(Clone, Debug)]
pub struct Problem {
    /// gRPC code.
    pub code: Code,
    /// `ErrorInfo.reason`; empty when the error came from the transport.
    pub reason: String,
    /// For people.
    pub message: String,
    /// `ErrorInfo.domain`.
    pub domain: String,
    /// `ErrorInfo.metadata`.
    pub metadata: BTreeMap<String, String>,
    /// `BadRequest`: paths of wrong fields.
    pub fields: Vec<String>,
    /// `RetryInfo`.
    pub retry_after: Option<Duration>,
    /// The receipt of the trigger it is about.
    pub receipt: Option<v1::Receipt>,
    /// Certainly nothing has happened. False when nobody knows.
    pub certain: bool,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {} {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for Problem {}

impl From<tonic::Status> for Problem {
    fn from(status: tonic::Status) -> Self {
        let rich = pb::Status::decode(status.details()).unwrap_or_default();
        Self::new(status.code(), status.message(), &rich.details)
    }
}

impl From<&pb::Status> for Problem {
    fn from(status: &pb::Status) -> Self {
        Self::new(Code::from_i32(status.code), &status.message, &status.details)
    }
}

impl Problem {
    fn new(code: Code, message: &str, details: &[prost_types::Any]) -> Self {
        let info: Option<pb::ErrorInfo> = unpack(details, "google.rpc.ErrorInfo");
        let bad: Option<pb::BadRequest> = unpack(details, "google.rpc.BadRequest");
        let retry: Option<pb::RetryInfo> = unpack(details, "google.rpc.RetryInfo");
        let info = info.unwrap_or_default();
        let certain = !matches!(info.reason.as_str(), "" | "OUTCOME_UNKNOWN" | "INTERNAL");
        Self {
            code,
            reason: info.reason,
            message: message.to_owned(),
            domain: info.domain,
            metadata: info.metadata.into_iter().collect(),
            fields: bad.map(|bad| bad.field_violations.into_iter().map(|one| one.field).collect()).unwrap_or_default(),
            retry_after: retry.and_then(|retry| retry.retry_delay?.try_into().ok()),
            receipt: unpack(details, "bosingak.v1.Receipt"),
            certain,
        }
    }

    /// The same request, with the same ids, may succeed later.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        match self.reason.as_str() {
            "" => matches!(
                self.code,
                Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown | Code::Aborted
            ),
            "NOT_LEADER" | "NO_QUORUM" | "OVERLOADED" | "DISK_LOW" | "OUTCOME_UNKNOWN" | "CLOCK_HELD"
            | "MEMBERSHIP_BUSY" | "SHUTTING_DOWN" => true,
            _ => false,
        }
    }

    /// What a report counts it under.
    #[must_use]
    pub fn label(&self) -> String {
        if self.reason.is_empty() { format!("{:?}", self.code) } else { self.reason.clone() }
    }
}

fn unpack<T: Message + Default>(details: &[prost_types::Any], name: &str) -> Option<T> {
    details
        .iter()
        .find(|any| any.type_url.rsplit('/').next() == Some(name))
        .and_then(|any| T::decode(any.value.as_slice()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(name: &str, message: &impl Message) -> prost_types::Any {
        prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
    }

    /// Red when an unknown outcome is taken for a refusal.
    #[test]
    fn errors_are_taken_apart() {
        let info = |reason: &str| pb::ErrorInfo {
            reason: reason.into(),
            domain: "bosingak".into(),
            metadata: Default::default(),
        };
        let status = pb::Status {
            code: Code::ResourceExhausted.into(),
            message: "full".into(),
            details: vec![
                any("google.rpc.ErrorInfo", &info("OVERLOADED")),
                any(
                    "google.rpc.RetryInfo",
                    &pb::RetryInfo { retry_delay: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }) },
                ),
                any("bosingak.v1.Receipt", &v1::Receipt { log_index: 7, ..Default::default() }),
            ],
        };
        let problem = Problem::from(&status);
        assert_eq!(problem.reason, "OVERLOADED");
        assert_eq!(problem.retry_after, Some(Duration::from_millis(50)));
        assert_eq!(problem.receipt.as_ref().map(|receipt| receipt.log_index), Some(7));
        assert!(problem.certain && problem.may_retry());

        let unknown = Problem::new(Code::Unavailable, "", &[any("google.rpc.ErrorInfo", &info("OUTCOME_UNKNOWN"))]);
        assert!(!unknown.certain && unknown.may_retry());
        let transport = Problem::from(tonic::Status::unavailable("connection refused"));
        assert!(!transport.certain && transport.may_retry());
        let late = Problem::new(Code::FailedPrecondition, "", &[any("google.rpc.ErrorInfo", &info("ALREADY_FIRED"))]);
        assert!(late.certain && !late.may_retry());
    }
}
