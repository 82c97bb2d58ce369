//! What it means that a session broke, and where.

use std::error::Error as _;

use lettre::transport::smtp::Error;

use crate::providers::address::Address;
use crate::providers::message::{SendOutcome, said};

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connect,
    LogIn,
    Sender,
    Recipient,
    Data,
    Content,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Connect => "connecting",
            Stage::LogIn => "logging in",
            Stage::Sender => "naming the sender",
            Stage::Recipient => "naming the recipient",
            Stage::Data => "announcing the content",
            Stage::Content => "sending the content",
        }
    }
}

/// A session that broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    stage: Stage,
    /// Three digits, when the relay said something.
    code: Option<u16>,
    text: String,
}

impl Broken {
    pub(super) fn of(stage: Stage, error: &Error) -> Self {
        let code = error.status().map(u16::from);
        let text = match (code, error.source()) {
            // Then the source is what the relay said.
            (Some(_), Some(said)) => said.to_string(),
            (_, source) => {
                let mut cause = source;
                while let Some(inner) = cause.and_then(|error| error.source()) {
                    cause = Some(inner);
                }
                cause.map_or_else(|| error.to_string(), |cause| cause.to_string())
            }
        };
        Broken { stage, code, text }
    }

    pub(super) fn out_of_time(stage: Stage) -> Self {
        Broken { stage, code: None, text: "no answer in time".to_owned() }
    }
}

pub(super) fn judge(broken: Broken, to: &Address) -> SendOutcome {
    let Broken { stage, code, text } = broken;
    let text = said(&text, to);
    match code {
        Some(500..=599) if stage == Stage::Recipient && nobody_there(&text) => SendOutcome::Unregistered,
        Some(code @ 500..=599) => {
            SendOutcome::Rejected { code: code.to_string(), message: format!("{}: {text}", stage.name()) }
        }
        Some(code) => SendOutcome::Later { after: None, error: format!("{}: {code} {text}", stage.name()) },
        None if stage == Stage::Content => SendOutcome::Unknown { error: format!("{}: {text}", stage.name()) },
        None => SendOutcome::Later { after: None, error: format!("{}: {text}", stage.name()) },
    }
}

/// By the code with dots that begins the text: no such box, moved away, shut.
fn nobody_there(text: &str) -> bool {
    let code = text.split_whitespace().next().unwrap_or_default();
    matches!(code, "5.1.1" | "5.1.6" | "5.1.10" | "5.2.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_codes_are_told_apart() {
        let to = Address::email("kim@example.com").expect("an address");
        let rejected = |code: &str| SendOutcome::Rejected { code: code.into(), message: String::new() };
        let later = || SendOutcome::Later { after: None, error: String::new() };
        let unknown = || SendOutcome::Unknown { error: String::new() };
        for (stage, code, text, expected) in [
            (Stage::Connect, None, "refused", later()),
            (Stage::Connect, Some(554), "no service", rejected("554")),
            (Stage::Connect, Some(421), "busy", later()),
            (Stage::LogIn, Some(535), "5.7.8 wrong password", rejected("535")),
            (Stage::Sender, Some(452), "4.3.1 full", later()),
            (Stage::Recipient, Some(450), "4.2.1 greylisted", later()),
            (Stage::Recipient, Some(550), "5.1.1 <kim@example.com> unknown", SendOutcome::Unregistered),
            (Stage::Recipient, Some(550), "5.7.1 relaying denied", rejected("550")),
            (Stage::Recipient, None, "reset", later()),
            (Stage::Data, None, "reset", later()),
            (Stage::Content, Some(552), "5.3.4 too big", rejected("552")),
            (Stage::Content, Some(550), "5.1.1 odd place", rejected("550")),
            (Stage::Content, Some(451), "4.3.0 try again", later()),
            (Stage::Content, None, "reset", unknown()),
            (Stage::Content, None, "no answer in time", unknown()),
        ] {
            let broken = Broken { stage, code, text: text.to_owned() };
            let outcome = match judge(broken, &to) {
                SendOutcome::Rejected { code, message } => {
                    assert!(!message.contains("kim@"), "{message}");
                    rejected(&code)
                }
                SendOutcome::Later { .. } => later(),
                SendOutcome::Unknown { .. } => unknown(),
                other => other,
            };
            assert_eq!(outcome, expected, "{stage:?} {code:?} {text}");
        }
    }
}
