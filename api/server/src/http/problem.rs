//! What went wrong, as RFC 9457 has it: `application/problem+json`.
//!
//! It is made from the same status that gRPC answers with, so both say the same reason for the same mistake. `exchange`
//! writes it, because only there the request is known.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use prost::Message;
use serde::Serialize;
use tonic::Status;
use tonic_types::pb;
use utoipa::ToSchema;

use super::scalars::Length;
use super::views::Receipt;
use crate::error::Error;
use crate::status::{self, REASONS, Reason};

/// What an answer that is no success says.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where this kind of problem is described, relative to this server.
    #[serde(rename = "type")]
    #[schema(example = "/problems/ALREADY_FIRED")]
    kind: String,
    /// The kind in words; the same for every problem of the kind.
    #[schema(example = "Too late: the trigger has fired.")]
    title: &'static str,
    /// The status of the answer.
    #[schema(example = 409)]
    status: u16,
    /// What happened this time.
    detail: String,
    /// The path of the request.
    instance: String,
    /// Why, for programs: one of a closed list, the same as in gRPC's ErrorInfo. `/problems` lists them.
    #[schema(example = "ALREADY_FIRED")]
    reason: &'static str,
    /// What is wrong with which field; empty unless fields are the reason.
    errors: Vec<FieldError>,
    /// What else is known, by names that belong to the reason.
    metadata: BTreeMap<String, String>,
    /// The same request may succeed after this long. Retry-After says it in whole seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<Length>,
    /// What the log had decided, when that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Box<Receipt>>,
    /// Of the request, as in x-request-id.
    request_id: String,
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Its path in the body, or the name of the header, of the part of the path or of the query.
    #[schema(example = "when.local.timeZone")]
    pub field: String,
    /// What was expected, and what was found.
    #[schema(example = "no time zone is called \"KST\"; did you mean Asia/Seoul?")]
    pub expected: String,
}

impl Problem {
    /// One wrong field.
    pub fn field(field: impl Into<String>, expected: impl Into<String>) -> Problem {
        Error::invalid(field, expected).into()
    }

    /// Something wrong with the request that HTTP has a status of its own for.
    pub fn transport(status: StatusCode, field: &str, expected: impl Into<String>) -> Problem {
        Problem { status: status.as_u16(), ..Problem::field(field, expected) }
    }

    /// Where no handler said more than a status.
    pub(super) fn of_status(status: StatusCode, what: &str) -> Problem {
        let error = match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Error::NoSuchCall { what: what.into() },
            status if status.is_client_error() => Error::invalid("request", status.to_string()),
            status => Error::Internal(status.to_string()),
        };
        Problem { status: status.as_u16(), ..Problem::from(error) }
    }

    /// Changes the paths of fields, where a field is called otherwise here than in the protocol.
    #[must_use]
    pub fn with_fields(mut self, mut rename: impl FnMut(&str) -> String) -> Problem {
        self.errors.iter_mut().for_each(|error| error.field = rename(&error.field));
        self
    }

    /// Tells a field once, by what was found first, where two of the protocol's are called the same here.
    #[must_use]
    pub fn told_once(mut self) -> Problem {
        self.errors.dedup_by(|next, before| next.field == before.field);
        self
    }

    /// Adds what is known of the request.
    #[must_use]
    pub(super) fn about(mut self, instance: &str, request_id: &str) -> Problem {
        if self.reason == Reason::InvalidField.text() && !self.errors.is_empty() {
            // In words the fields are called as they are here, too.
            let texts = self.errors.iter().map(|error| format!("{}: {}", error.field, error.expected));
            self.detail = texts.collect::<Vec<_>>().join("; ");
        }
        Problem { instance: instance.into(), request_id: request_id.into(), ..self }
    }

    pub(super) fn is_internal(&self) -> bool {
        self.reason == Reason::Internal.text()
    }

    /// Why, of the closed list.
    pub(super) fn reason(&self) -> &'static str {
        self.reason
    }

    /// The fields that are wrong.
    pub(super) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Something else that is known, by its name.
    pub(super) fn about_what(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }

    /// Whole seconds after which the same request may succeed, one at least; `None` when it will not.
    pub(super) fn retry_after_s(&self) -> Option<u32> {
        let Length(after) = &self.retry_after?;
        let seconds = after.seconds.max(0) + i64::from(after.nanos > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The answer itself.
    pub(super) fn write(&self) -> Response {
        // Strings, numbers and maps of strings; it cannot fail, and if it did an empty body would be the least of it.
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut response = (self.status(), [("content-type", "application/problem+json")], body).into_response();
        if let Some(seconds) = self.retry_after_s() {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        response
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem::from(Status::from(error))
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Problem {
        let details = pb::Status::decode(status.details()).unwrap_or_default().details;
        let mut problem = Problem {
            kind: "about:blank".into(),
            title: "",
            status: status::http_status(status.code()),
            detail: status.message().into(),
            instance: String::new(),
            reason: "",
            errors: Vec::new(),
            metadata: BTreeMap::new(),
            retry_after: None,
            receipt: None,
            request_id: String::new(),
        };
        // One without a reason comes from a proxy between nodes, or from a node of another version.
        let mut found = Reason::Internal;
        for any in &details {
            let value = any.value.as_slice();
            match any.type_url.rsplit('/').next().unwrap_or_default() {
                "google.rpc.ErrorInfo" => {
                    let info = pb::ErrorInfo::decode(value).unwrap_or_default();
                    if let Some((reason, ..)) = REASONS.iter().find(|(_, text, ..)| *text == info.reason) {
                        found = *reason;
                    }
                    problem.metadata = info.metadata.into_iter().collect();
                }
                "google.rpc.BadRequest" => {
                    let fields = pb::BadRequest::decode(value).unwrap_or_default().field_violations;
                    let error = |one: pb::bad_request::FieldViolation| FieldError {
                        field: camel_case(&one.field),
                        expected: one.description,
                    };
                    problem.errors = fields.into_iter().map(error).collect();
                }
                "google.rpc.RetryInfo" => {
                    problem.retry_after = pb::RetryInfo::decode(value).unwrap_or_default().retry_delay.map(Length);
                }
                "bosingak.v1.Receipt" => {
                    problem.receipt = proto::v1::Receipt::decode(value).ok().map(Receipt::from).map(Box::new);
                }
                _ => {}
            }
        }
        let (_, text, _, meaning) = REASONS[found as usize];
        Problem { kind: format!("/problems/{text}"), title: meaning.trim(), reason: text, ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A path of the protocol as it is in JSON: `when.local.time_zone` is `when.local.timeZone`. What stands in brackets is a key or
/// a number and stays.
fn camel_case(path: &str) -> String {
    // A header is called as it is called.
    if path.starts_with(|c: char| c.is_ascii_uppercase()) {
        return path.into();
    }
    let (mut out, mut depth, mut raise) = (String::with_capacity(path.len()), 0usize, false);
    for c in path.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == '_' && depth == 0 {
            raise = true;
            continue;
        }
        out.push(if raise { c.to_ascii_uppercase() } else { c });
        raise = false;
    }
    out
}

/// A kind of problem.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProblemKind {
    /// The reason.
    #[schema(example = "ALREADY_FIRED")]
    reason: &'static str,
    /// The status it mostly comes with.
    #[schema(example = 409)]
    status: u16,
    /// What it means.
    meaning: &'static str,
}

/// All kinds of problems.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProblemKinds {
    /// The closed list.
    problems: Vec<ProblemKind>,
}

/// Every kind there is.
pub(super) fn kinds() -> ProblemKinds {
    let kind = |(_, reason, code, meaning): &(Reason, &'static str, tonic::Code, &'static str)| ProblemKind {
        reason,
        status: status::http_status(*code),
        meaning: meaning.trim(),
    };
    ProblemKinds { problems: REASONS.iter().map(kind).collect() }
}

/// The kind of a reason.
pub(super) fn kind_of(reason: &str) -> Option<ProblemKind> {
    kinds().problems.into_iter().find(|kind| kind.reason == reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_called_as_in_json() {
        for (given, expected) in [
            ("when.local.time_zone", "when.local.timeZone"),
            ("items[3].shard_key", "items[3].shardKey"),
            ("labels[\"a_b\" (3 bytes)]", "labels[\"a_b\" (3 bytes)]"),
            ("Idempotency-Key", "Idempotency-Key"),
            ("id", "id"),
        ] {
            assert_eq!(camel_case(given), expected);
        }
    }

    #[test]
    fn every_reason_has_a_status_and_a_page() {
        for (reason, text, code, _) in REASONS {
            let kind = kind_of(text).expect(text);
            assert_eq!(kind.status, status::http_status(*code));
            assert!(kind.status >= 400, "{reason:?}");
        }
        assert!(kind_of("NOBODY").is_none());
    }

    #[test]
    fn a_problem_says_when_to_come_back() {
        let error = Error::Overloaded { what: "the queue", retry_after: std::time::Duration::from_millis(50) };
        let problem = Problem::from(error).about("/v1/x", "r-1");
        let response = problem.write();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (429, &"1".parse().expect("a value"))
        );
        let json = serde_json::to_value(&problem).expect("JSON");
        assert_eq!((json["retryAfter"].as_str(), json["requestId"].as_str()), (Some("0.050s"), Some("r-1")));
    }
}
