//! Firebase Cloud Messaging, HTTP v1: notifications of apps on Android, iOS and in browsers.
//!
//! What the contract says ([send](https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send),
//! [error codes](https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode),
//! [service accounts](https://developers.google.com/identity/protocols/oauth2/service-account)), and what follows here:
//!
//! - A request carries an OAuth 2 token of an hour, got for an assertion that is signed (RS256) with the key of a service
//!   account. It is kept until shortly before it ends, and one call at a time fetches the next.
//! - There is no idempotency key and no way to ask for a message. A notification carries [`tag`] as Android's `tag` and
//!   as `apns-collapse-id`, so that one which is sent twice replaces itself on the device instead of appearing twice.
//! - 404 `UNREGISTERED`: the app is gone from the device. 429 `QUOTA_EXCEEDED`: wait as `Retry-After` says, else a minute.
//!   503 `UNAVAILABLE`: refused for load. Any other 5xx may hide a message that was taken.
//! - Notification and data together have 4,096 bytes.

mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Error;
use super::address::Address;
use super::endpoint::{Answer, Endpoint, EndpointConfig, NoAnswer};
use super::message::{
    Channel, FindOutcome, Idempotency, InvalidMessage, Message, MessageProvider, SendOutcome, first_of, said, tag,
};
use token::{ServiceAccount, TokenError, Tokens};

/// Bytes of notification and data.
const PAYLOAD_BYTES_MAX: usize = 4_096;
/// How long to wait after 429 without Retry-After, as the provider's documentation asks.
const QUOTA_WAIT: Duration = Duration::from_secs(60);

/// Settings of a project.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API is, and how long one call may take; a send that needs a token first makes two. Tokens are got with the same
    /// settings from where the account's file says.
    pub endpoint: EndpointConfig,
    /// The JSON file of the service account, as Google's console gives it out. Names project, key and token address.
    pub service_account_file: PathBuf,
}

impl Config {
    /// With the public address and 10 s per call.
    pub fn new(service_account_file: impl Into<PathBuf>) -> Self {
        Config {
            endpoint: EndpointConfig::new("https://fcm.googleapis.com"),
            service_account_file: service_account_file.into(),
        }
    }
}

/// Notifications to the devices of one project. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fcm(Arc<Project>);

#[derive(Debug)]
struct Project {
    endpoint: Endpoint,
    project_id: String,
    tokens: Tokens,
}

impl Fcm {
    /// Reads the key; calls nobody.
    pub fn new(config: Config) -> Result<Self, Error> {
        let endpoint = Endpoint::new(&config.endpoint)?;
        let account = ServiceAccount::from_file(&config.service_account_file)?;
        let project_id = account.project_id().to_owned();
        Ok(Fcm(Arc::new(Project { endpoint, project_id, tokens: Tokens::new(&config.endpoint, account)? })))
    }

    async fn send_once(&self, message: &Message) -> SendOutcome {
        let body = match prepare(message) {
            Ok(body) => body.to_string(),
            Err(invalid) => return invalid.into(),
        };
        let token = match self.0.tokens.get().await {
            Ok(token) => token,
            Err(TokenError::Refused { code, message }) => return SendOutcome::Rejected { code, message },
            Err(TokenError::Later { after, error }) => return SendOutcome::Later { after, error },
        };
        let endpoint = &self.0.endpoint;
        let request = endpoint.post(&["v1", "projects", &self.0.project_id, "messages:send"]);
        let request = request.bearer_auth(token.as_str()).header("content-type", "application/json");
        match endpoint.send(request.body(body)).await {
            Ok(answer) => {
                let outcome = judge(&answer, &message.to);
                if answer.status == 401 {
                    // Taken back before its time; the next attempt gets a new one.
                    self.0.tokens.forget(&token).await;
                }
                outcome
            }
            Err(NoAnswer::NotReached(error)) => SendOutcome::Later { after: None, error },
            Err(NoAnswer::Unknown(error)) => SendOutcome::Unknown { error },
        }
    }
}

impl MessageProvider for Fcm {
    fn name(&self) -> &'static str {
        "fcm"
    }

    fn channel(&self) -> Channel {
        Channel::Push
    }

    fn idempotency(&self) -> Idempotency {
        Idempotency::None
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, SendOutcome> {
        Box::pin(self.send_once(message))
    }

    fn query<'a>(&'a self, _: &'a str, _: &'a Address, _: SystemTime) -> BoxFuture<'a, FindOutcome> {
        let reason = "FCM cannot be asked for a message; one that is sent again replaces itself on the device";
        Box::pin(async move { FindOutcome::CannotTell { reason: reason.to_owned() } })
    }
}

fn prepare(message: &Message) -> Result<Value, InvalidMessage> {
    message.validate()?;
    let token = message.to.as_device().ok_or_else(|| {
        InvalidMessage::new("to", format!("a registration token is expected, not {}", message.to.kind()))
    })?;
    let tag = tag(&message.idempotency_key);
    let notification = json!({ "title": message.title, "body": message.body });
    let mut data = json!({ "tag": tag, "language": message.language.tag() });
    if let Some(link) = &message.link {
        data["link"] = json!(link.url);
        data["link_label"] = json!(link.label);
    }
    let bytes = notification.to_string().len() + data.to_string().len();
    if bytes > PAYLOAD_BYTES_MAX {
        let expected = format!("title, body and link of at most {PAYLOAD_BYTES_MAX} bytes are expected, not {bytes}");
        return Err(InvalidMessage::new("body", expected));
    }
    let mut body = json!({ "message": {
        "token": token,
        "notification": notification,
        "data": data,
        "android": { "priority": "HIGH", "notification": { "tag": tag } },
        "apns": { "headers": { "apns-priority": "10", "apns-collapse-id": tag } },
    }});
    // Browsers open secure addresses only, and FCM refuses others.
    if let Some(link) = message.link.as_ref().filter(|link| link.url.starts_with("https://")) {
        body["message"]["webpush"] = json!({ "fcm_options": { "link": link.url } });
    }
    Ok(body)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: ErrorFacts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorFacts {
    message: Option<String>,
    status: Option<String>,
    details: Vec<Value>,
}

impl ErrorFacts {
    /// The code of FCM's own, which says more than the status of the call.
    fn code(&self) -> Option<&str> {
        let of_fcm = |detail: &&Value| {
            detail["@type"].as_str().is_some_and(|kind| kind.ends_with("google.firebase.fcm.v1.FcmError"))
        };
        let code = self.details.iter().find(of_fcm).and_then(|detail| detail["errorCode"].as_str());
        code.or(self.status.as_deref())
    }
}

fn judge(answer: &Answer, to: &Address) -> SendOutcome {
    let (status, after) = (answer.status, answer.retry_after);
    if (200..300).contains(&status) {
        let taken: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let name = taken.as_ref().and_then(|taken| taken["name"].as_str()).filter(|name| !name.is_empty());
        return match name {
            Some(name) => SendOutcome::Accepted { provider_id: name.to_owned() },
            None => SendOutcome::Unknown { error: format!("HTTP {status} without the name of a message") },
        };
    }
    // What cannot be read has no fields; the status alone decides then.
    let facts = serde_json::from_slice::<ErrorBody>(&answer.body).unwrap_or_default().error;
    let text =
        said(&first_of(&[facts.message.as_deref(), Some(&String::from_utf8_lossy(&answer.body))], "no text"), to);
    let error = format!("HTTP {status}: {text}");
    let rejected = |code: &str| SendOutcome::Rejected { code: code.to_owned(), message: text.clone() };
    match (status, facts.code()) {
        (404, Some("UNREGISTERED")) => SendOutcome::Unregistered,
        (429, _) => SendOutcome::Later { after: after.or(Some(QUOTA_WAIT)), error },
        (408 | 425, _) => SendOutcome::Later { after, error },
        (503, Some("UNAVAILABLE")) => SendOutcome::Later { after, error },
        // Of the certificate for Apple or the browser's key: no new token mends that.
        (401, Some("THIRD_PARTY_AUTH_ERROR")) => rejected("THIRD_PARTY_AUTH_ERROR"),
        (401, _) => SendOutcome::Later { after, error },
        (400..=499, code) => rejected(code.unwrap_or(&format!("HTTP {status}"))),
        _ => SendOutcome::Unknown { error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::message::{Language, Link};
    use proptest::prelude::*;

    fn message() -> Message {
        Message {
            to: Address::device("token-1").expect("a token"),
            title: "선물이 도착했어요".into(),
            body: "보신각님의 선물".into(),
            link: Some(Link { label: "선물 받기".into(), url: "https://gift.example/g/abc".into() }),
            template: None,
            idempotency_key: "gift-1".into(),
            language: Language::Korean,
        }
    }

    #[test]
    fn a_notification_replaces_itself() {
        let body = prepare(&message()).expect("valid");
        let message_ = &body["message"];
        assert_eq!(message_["token"], "token-1");
        assert_eq!(message_["android"]["notification"]["tag"], tag("gift-1"));
        assert_eq!(message_["apns"]["headers"]["apns-collapse-id"], tag("gift-1"));
        assert_eq!(message_["webpush"]["fcm_options"]["link"], "https://gift.example/g/abc");
        assert!(message_["data"].as_object().expect("data").values().all(Value::is_string), "data takes texts only");

        let long = Message { body: "가".repeat(1_400), ..message() };
        assert_eq!(prepare(&long).expect_err("too long").field, "body");
        let phone = Message { to: Address::phone("010-1234-5678").expect("a number"), ..message() };
        assert_eq!(prepare(&phone).expect_err("a number").field, "to");
    }

    #[test]
    fn answers_are_told_apart() {
        let error = |status: &str, code: &str| {
            format!(
                r#"{{"error":{{"code":1,"message":"text","status":"{status}","details":[
                    {{"@type":"type.googleapis.com/google.rpc.BadRequest"}},
                    {{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"{code}"}}]}}}}"#
            )
        };
        let seven = Some(Duration::from_secs(7));
        let later = |after| SendOutcome::Later { after, error: String::new() };
        let rejected = |code: &str| SendOutcome::Rejected { code: code.into(), message: String::new() };
        let unknown = || SendOutcome::Unknown { error: String::new() };
        let accepted = SendOutcome::Accepted { provider_id: "projects/p/messages/1".into() };
        for (status, after, body, expected) in [
            (200, None, r#"{"name":"projects/p/messages/1"}"#.to_owned(), accepted),
            (200, None, "{}".into(), unknown()),
            (200, None, String::new(), unknown()),
            (404, None, error("NOT_FOUND", "UNREGISTERED"), SendOutcome::Unregistered),
            (404, None, r#"{"error":{"status":"NOT_FOUND"}}"#.into(), rejected("NOT_FOUND")),
            (404, None, "<html>".into(), rejected("HTTP 404")),
            (400, None, error("INVALID_ARGUMENT", "INVALID_ARGUMENT"), rejected("INVALID_ARGUMENT")),
            (403, None, error("PERMISSION_DENIED", "SENDER_ID_MISMATCH"), rejected("SENDER_ID_MISMATCH")),
            (401, None, error("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), rejected("THIRD_PARTY_AUTH_ERROR")),
            (401, None, r#"{"error":{"status":"UNAUTHENTICATED"}}"#.into(), later(None)),
            (429, seven, error("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), later(seven)),
            (429, None, error("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), later(Some(QUOTA_WAIT))),
            (503, seven, error("UNAVAILABLE", "UNAVAILABLE"), later(seven)),
            (503, seven, "<html>".into(), unknown()),
            (500, None, error("INTERNAL", "INTERNAL"), unknown()),
            (302, None, String::new(), unknown()),
        ] {
            let answer = Answer { status, retry_after: after, body: body.into_bytes() };
            let outcome = match judge(&answer, &message().to) {
                SendOutcome::Rejected { code, .. } => rejected(&code),
                SendOutcome::Later { after, .. } => later(after),
                SendOutcome::Unknown { .. } => unknown(),
                other => other,
            };
            assert_eq!(outcome, expected, "{answer:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics_or_is_taken_without_a_name(status in 0u16..1_000, body in "\\PC{0,80}") {
            let outcome = judge(&Answer { status, retry_after: None, body: body.into_bytes() }, &message().to);
            prop_assert!(!matches!(outcome, SendOutcome::Accepted { .. }), "{:?}", outcome);
        }
    }
}
