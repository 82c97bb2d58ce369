//! What answers of SOLAPI mean. No input makes any of this panic.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::providers::address::Address;
use crate::providers::endpoint::Answer;
use crate::providers::message::{SendOutcome, first_of, said};

/// The answer to a send, or an error; which fields are there tells them apart.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SendAnswer {
    message_id: Option<String>,
    status_code: Option<String>,
    status_message: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
}

pub(super) fn judge_send(answer: &Answer, to: &Address) -> SendOutcome {
    let (status, after, body) = (answer.status, answer.retry_after, String::from_utf8_lossy(&answer.body));
    // What cannot be read has no fields; the status alone decides then.
    let answer: SendAnswer = serde_json::from_str(&body).unwrap_or_default();
    let text = first_of(&[answer.error_message.as_deref(), answer.status_message.as_deref(), Some(&body)], "no text");
    let text = said(&text, to);
    let error = format!("HTTP {status}: {text}");
    let code = || answer.error_code.clone().unwrap_or_else(|| format!("HTTP {status}"));
    match status {
        200..=299 => match (&answer.message_id, answer.status_code.as_deref()) {
            (Some(id), Some(code)) if !id.is_empty() => match progress_of(code) {
                Progress::Failed if server_error(code) => {
                    SendOutcome::Later { after, error: format!("{code}: {text}") }
                }
                Progress::Failed => SendOutcome::Rejected { code: code.to_owned(), message: text },
                Progress::Open | Progress::Delivered => SendOutcome::Accepted { provider_id: id.clone() },
            },
            _ => SendOutcome::Unknown { error: format!("an answer that is none: {error}") },
        },
        // Not even read, or not this time: a request is signed anew.
        408 | 425 | 429 => SendOutcome::Later { after, error },
        403 if matches!(answer.error_code.as_deref(), Some("RequestTimeTooSkewed" | "DuplicatedSignature")) => {
            SendOutcome::Later { after, error }
        }
        400..=499 => SendOutcome::Rejected { code: code(), message: text },
        // Somebody on the way, or a server that broke while it worked on it.
        _ => SendOutcome::Unknown { error },
    }
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    Failed,
    Open,
    Delivered,
}

impl Progress {
    pub(super) fn delivered(self) -> Option<bool> {
        match self {
            Progress::Failed => Some(false),
            Progress::Open => None,
            Progress::Delivered => Some(true),
        }
    }
}

/// 2000 and 3000 are on the way and 4000 is done; everything else in 1xxx to 3xxx failed. A code of another kind is not
/// final.
fn progress_of(status_code: &str) -> Progress {
    match status_code {
        "2000" | "3000" => Progress::Open,
        "4000" => Progress::Delivered,
        code if code.len() == 4 && code.starts_with(['1', '2', '3']) => Progress::Failed,
        _ => Progress::Open,
    }
}

/// Failures on the provider's side, which say nothing about the message.
fn server_error(status_code: &str) -> bool {
    matches!(status_code, "1024" | "2024")
}

/// A message as the list and the reports show it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StoredMessage {
    message_id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    status_code: Option<String>,
    custom_fields: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    message_list: BTreeMap<String, StoredMessage>,
    #[serde(default)]
    pub(super) next_key: Option<String>,
}

/// One that was looked for. Ordered by how far it has come.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) progress: Progress,
    pub(super) message_id: String,
}

impl Page {
    /// The message with this tag, and of one of these types, that has come furthest.
    pub(super) fn best(&self, tag_field: &str, tag: &str, types: &[&str]) -> Option<Found> {
        let ours = |message: &&StoredMessage| {
            let fields = message.custom_fields.as_ref();
            let value = fields.and_then(|fields| fields.get(tag_field)).and_then(|value| value.as_str());
            // A message that was just taken may be listed without a type.
            value == Some(tag) && message.kind.as_deref().is_none_or(|kind| types.contains(&kind))
        };
        let found = self.message_list.iter().filter(|(_, message)| ours(message)).map(|(id, message)| Found {
            progress: message.status_code.as_deref().map_or(Progress::Open, progress_of),
            message_id: message.message_id.clone().unwrap_or_else(|| id.clone()),
        });
        found.max()
    }
}

pub(super) fn read_page(answer: &Answer, to: &Address) -> Result<Page, String> {
    if answer.status != 200 {
        return Err(format!("HTTP {}: {}", answer.status, said(&String::from_utf8_lossy(&answer.body), to)));
    }
    let mut page: Page =
        serde_json::from_slice(&answer.body).map_err(|error| format!("a list that is none: {error}"))?;
    page.next_key = page.next_key.filter(|key| !key.is_empty());
    Ok(page)
}

/// What became of a message, as SOLAPI posts it to the address set for message reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The provider's name for the message.
    pub provider_id: String,
    /// [`tag`](crate::providers::message::tag) of the message; `None` for one that was not sent from here.
    pub tag: Option<String>,
    /// Whether it reached the person; `None` while that is open.
    pub delivered: Option<bool>,
    /// The four digits of the status, for people.
    pub status_code: String,
}

/// Reads the body of a message report: an array of messages. The same report may come more than once, and before the
/// answer to the send; nothing in it proves who sent it, so it is a reason to
/// [`query`](crate::providers::message::MessageProvider::query) rather than a fact.
///
/// # Errors
///
/// A text that says what is not as documented.
pub fn parse_reports(body: &[u8]) -> Result<Vec<Report>, String> {
    let messages: Vec<StoredMessage> =
        serde_json::from_slice(body).map_err(|error| format!("an array of messages is expected: {error}"))?;
    let report = |message: StoredMessage| {
        let tag = message.custom_fields.as_ref().and_then(|fields| fields.get(super::TAG_FIELD));
        let tag = tag.and_then(|tag| tag.as_str()).map(str::to_owned);
        let status_code = message.status_code.ok_or("statusCode: four digits are expected")?;
        Ok(Report {
            provider_id: message.message_id.filter(|id| !id.is_empty()).ok_or("messageId: a text is expected")?,
            tag,
            delivered: progress_of(&status_code).delivered(),
            status_code,
        })
    };
    messages.into_iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn answer(status: u16, retry_after: Option<Duration>, body: &str) -> Answer {
        Answer { status, retry_after, body: body.as_bytes().to_vec() }
    }

    fn to() -> Address {
        Address::phone("010-1234-5678").expect("a number")
    }

    fn word(outcome: &SendOutcome) -> String {
        match outcome {
            SendOutcome::Accepted { provider_id } => format!("accepted {provider_id}"),
            SendOutcome::Rejected { code, .. } => format!("rejected {code}"),
            SendOutcome::Unregistered => "unregistered".into(),
            SendOutcome::Later { after, .. } => format!("later {}", after.map_or(0, |after| after.as_secs())),
            SendOutcome::Unknown { .. } => "unknown".into(),
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let taken =
            |code: &str| format!(r#"{{"messageId":"M1","groupId":"G1","statusCode":"{code}","statusMessage":"말"}}"#);
        let error = |code: &str| format!(r#"{{"errorCode":"{code}","errorMessage":"말"}}"#);
        let seven = Some(Duration::from_secs(7));
        for (status, after, body, expected) in [
            (200, None, taken("2000"), "accepted M1"),
            (200, None, taken("3000"), "accepted M1"),
            (200, None, taken("4000"), "accepted M1"),
            (200, None, taken("1062"), "rejected 1062"),
            (200, None, taken("2230"), "rejected 2230"),
            (200, None, taken("3104"), "rejected 3104"),
            (200, None, taken("1024"), "later 0"),
            (200, None, r#"{"messageId":"M1"}"#.into(), "unknown"),
            (200, None, r#"{"statusCode":"2000"}"#.into(), "unknown"),
            (200, None, "<html>".into(), "unknown"),
            (200, None, String::new(), "unknown"),
            (302, None, String::new(), "unknown"),
            (400, None, error("ValidationError"), "rejected ValidationError"),
            (400, None, "<html>".into(), "rejected HTTP 400"),
            (402, None, error("NotEnoughBalance"), "rejected NotEnoughBalance"),
            (403, None, error("SignatureDoesNotMatch"), "rejected SignatureDoesNotMatch"),
            (403, None, error("RequestTimeTooSkewed"), "later 0"),
            (403, None, error("DuplicatedSignature"), "later 0"),
            (404, None, error("ResourceNotFound"), "rejected ResourceNotFound"),
            (429, seven, error("TooManyRequests"), "later 7"),
            (408, None, String::new(), "later 0"),
            (500, None, error("InternalServerError"), "unknown"),
            (502, None, "<html>".into(), "unknown"),
            (503, seven, String::new(), "unknown"),
        ] {
            assert_eq!(word(&judge_send(&answer(status, after, &body), &to())), expected, "{status} {body}");
        }
    }

    #[test]
    fn what_is_found_is_ours_and_the_one_that_got_furthest() {
        let message = |kind: &str, code: &str, tag: &str| {
            format!(
                r#"{{"messageId":"{kind}{code}","type":{kind:?},"statusCode":"{code}","customFields":{{"t":"{tag}"}}}}"#
            )
        };
        let list = |messages: &[String]| {
            let entries: Vec<_> =
                messages.iter().enumerate().map(|(i, message)| format!("\"M{i}\":{message}")).collect();
            let body = format!(r#"{{"startKey":null,"limit":20,"messageList":{{{}}}}}"#, entries.join(","));
            read_page(&answer(200, None, &body), &to()).expect("a page")
        };
        let page = list(&[message("SMS", "3104", "a"), message("SMS", "4000", "a"), message("SMS", "2000", "a")]);
        let best = page.best("t", "a", &["SMS"]).expect("found");
        assert_eq!((best.message_id.as_str(), best.progress.delivered()), ("SMS4000", Some(true)));
        assert_eq!(page.best("t", "b", &["SMS"]), None);
        assert_eq!(page.best("t", "a", &["ATA"]), None);
        assert_eq!(list(&[]).best("t", "a", &["SMS"]), None);
        let untyped = r#"{"type":null,"statusCode":null,"customFields":{"t":"a"}}"#.to_owned();
        let best =
            list(&[untyped]).best("t", "a", &["SMS"]).map(|found| (found.message_id, found.progress.delivered()));
        assert_eq!(best, Some(("M0".into(), None)));
        assert!(
            read_page(&answer(500, None, "to 010-1234-5678"), &to())
                .is_err_and(|error| error == "HTTP 500: to (address)")
        );
        assert!(read_page(&answer(200, None, "[]"), &to()).is_err());
    }

    #[test]
    fn reports_are_read() {
        let body = r#"[{"messageId":"M1","statusCode":"4000","customFields":{"bosingakTag":"ab"},"to":"01012345678"},
                       {"messageId":"M2","statusCode":"3104"}]"#;
        let reports = parse_reports(body.as_bytes()).expect("reports");
        let facts: Vec<_> = reports.iter().map(|r| (r.provider_id.as_str(), r.tag.as_deref(), r.delivered)).collect();
        assert_eq!(facts, [("M1", Some("ab"), Some(true)), ("M2", None, Some(false))]);
        assert!(parse_reports(b"{}").is_err_and(|error| error.contains("array")));
        assert!(parse_reports(br#"[{"messageId":"M1"}]"#).is_err_and(|error| error.contains("statusCode")));
    }

    proptest! {
        #[test]
        fn no_answer_panics_or_is_taken_without_an_id(status in 0u16..1_000, body in "\\PC{0,80}") {
            let outcome = judge_send(&answer(status, None, &body), &to());
            prop_assert!(!matches!(outcome, SendOutcome::Accepted { .. }), "{:?}", outcome);
            let _ = parse_reports(body.as_bytes());
            let _ = read_page(&answer(status, None, &body), &to());
        }
    }
}
