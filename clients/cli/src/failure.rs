//! What went wrong, for people and for scripts: message, field, hint, exit code.

use std::io::Write;

use client::{Error, FieldViolation, Reason};
use proto::v1::Receipt;
use serde_json::{Value, json};
use tonic::Code;

use crate::json;
use crate::output::Format;

/// Anything not told apart below.
pub const ERROR: u8 = 1;
/// Wrong usage, or a field the server refused.
pub const USAGE: u8 = 2;
/// No such thing.
pub const NOT_FOUND: u8 = 3;
/// It is in another state than the command needs.
pub const CONFLICT: u8 = 4;
/// Some of it was done, or the cluster is not healthy.
pub const PARTIAL: u8 = 5;
/// Nobody answered in time.
pub const UNAVAILABLE: u8 = 6;
/// Not allowed.
pub const DENIED: u8 = 7;

/// Why a command ends with another code than 0.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
    reason: Option<Reason>,
    fields: Vec<FieldViolation>,
    receipt: Option<Box<Receipt>>,
    hint: Option<String>,
}

impl Failure {
    /// An error that has no code of its own.
    pub fn error(message: impl Into<String>) -> Self {
        let message = message.into();
        Failure { code: ERROR, message, reason: None, fields: vec![], receipt: None, hint: None }
    }

    /// An argument is wrong.
    pub fn usage(argument: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let message = format!("{argument}: {}", message.into());
        Failure { code: USAGE, hint: Some(hint.into()), ..Failure::error(message) }
    }

    /// The reader of our output has gone: not an error, but the end.
    fn closed_pipe() -> Self {
        Failure { code: 0, ..Failure::error(String::new()) }
    }

    /// With a hint, unless there is a better one already.
    pub fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Says what it is about.
    pub fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Exit code of the process.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// For scripts.
    pub fn to_json(&self) -> Value {
        let fields = self.fields.iter();
        let mut error = json!({ "message": self.message, "exitCode": self.code });
        if let Some(reason) = self.reason.as_ref().filter(|reason| !reason.as_str().is_empty()) {
            error["reason"] = json!(reason.as_str());
        }
        if !self.fields.is_empty() {
            error["fields"] = fields.map(|v| json!({ "field": v.field, "description": v.description })).collect();
        }
        if let Some(receipt) = self.receipt.as_deref().and_then(|r| json::value(r).ok()) {
            error["receipt"] = receipt;
        }
        if let Some(hint) = &self.hint {
            error["try"] = json!(hint);
        }
        error
    }

    /// To stderr, in the form of the output.
    pub fn print(&self, format: Format, stderr: &mut impl Write) {
        if self.code == 0 {
            return;
        }
        // There is nobody left to tell when this fails.
        let _ = match format {
            Format::Json | Format::Jsonl => {
                writeln!(stderr, "{}", json!({ "error": self.to_json() }))
            }
            Format::Table => {
                let receipt = self.receipt.as_deref().map(|receipt| {
                    let outcome = receipt.outcome().as_str_name();
                    let outcome = outcome.trim_start_matches("OUTCOME_");
                    format!("\n  {outcome} at log index {} of partition {}", receipt.log_index, receipt.partition)
                });
                let hint = self.hint.as_deref().map(|hint| format!("\n  try: {hint}"));
                let (receipt, hint) = (receipt.unwrap_or_default(), hint.unwrap_or_default());
                writeln!(stderr, "error: {}{receipt}{hint}", self.message)
            }
        };
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::closed_pipe(),
            _ => Failure::error(error.to_string()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Refused(refusal) => code_of(refusal.code),
            Error::Disconnected { .. } | Error::TimedOut { .. } => UNAVAILABLE,
            Error::Invalid { .. } => USAGE,
            Error::Closed => ERROR,
        };
        Failure {
            code,
            message: error.to_string(),
            reason: error.reason().cloned(),
            fields: error.field_violations().to_vec(),
            receipt: error.receipt().cloned().map(Box::new),
            hint: hint(&error).map(str::to_owned),
        }
    }
}

fn code_of(code: Code) -> u8 {
    match code {
        Code::InvalidArgument => USAGE,
        Code::NotFound => NOT_FOUND,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted | Code::OutOfRange => CONFLICT,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => UNAVAILABLE,
        Code::PermissionDenied | Code::Unauthenticated => DENIED,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss | Code::Unimplemented => ERROR,
    }
}

/// The next thing a person would do.
fn hint(error: &Error) -> Option<&'static str> {
    let reason = match error {
        Error::Disconnected { .. } => {
            return Some("is a server there? `bosingakd dev` starts one; --address or BOSINGAK_ADDRESS names it");
        }
        Error::TimedOut { .. } => return Some("a longer --timeout, or `bosingak cluster status`"),
        Error::Invalid { .. } | Error::Closed => return None,
        Error::Refused(refusal) => &refusal.reason,
    };
    match reason {
        Reason::NotFound => Some("`bosingak trigger list` or `bosingak topic list`, with the right -n NAMESPACE"),
        Reason::AlreadyExists => Some("another id, or `bosingak trigger get ID` to see what has this one"),
        Reason::AlreadyFired | Reason::AlreadyEnded => Some("`bosingak trigger get ID` to see what became of it"),
        Reason::NotDeadLettered => Some("`bosingak dead-letter list`"),
        Reason::VersionMismatch => Some("`get` it again, and repeat with the version found"),
        Reason::NoQuorum | Reason::NotLeader | Reason::OutcomeUnknown => Some("`bosingak cluster status`"),
        Reason::Overloaded | Reason::PaymentNotReached => Some("again in a moment"),
        Reason::DiskLow => Some("`bosingak cluster status`, then make room on the data disk"),
        Reason::StaleCursor => Some("without --cursor, from the beginning"),
        Reason::ClockNotVirtual => Some("start the server with `bosingakd dev --clock virtual`"),
        Reason::ClockHeld => Some("`bosingak cluster accept-clock PARTITION` if its clock is right"),
        Reason::UnknownNode => Some("`bosingak cluster status` lists the nodes"),
        Reason::MembershipBusy => Some("again when the change under way is done"),
        Reason::BeyondHorizon => Some("a due time within ten years"),
        Reason::RequestTooOld => Some("`bosingak trigger get ID`: the outcome is known there"),
        Reason::Unauthenticated => Some("--api-key-file FILE, or BOSINGAK_API_KEY_FILE"),
        Reason::PermissionDenied => Some("a key with another role"),
        Reason::InvalidField
        | Reason::TopicVersionStale
        | Reason::ShuttingDown
        | Reason::Internal
        | Reason::DomainRefused
        | Reason::NoSuchCall
        | Reason::TooManyTopics
        | Reason::WrongState
        | Reason::TooLate
        | Reason::StaleLink
        | Reason::NotConfigured
        | Reason::Other(_) => None,
    }
}
