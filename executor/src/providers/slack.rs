//! Slack, incoming webhooks: lines for those who operate the service.
//!
//! What the contract says ([webhooks](https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks),
//! [rate limits](https://docs.slack.dev/apis/web-api/rate-limits)), and what follows here: the address is a secret that says
//! which channel of which workspace; 200 with the text `ok` is the only success, and names no message; errors are a
//! word in the body (400 `invalid_payload`, 403 `action_prohibited`, 404 `no_service`, `channel_not_found`, 410
//! `channel_is_archived`); about one message a second is taken, then 429 with `Retry-After`. There is neither an
//! idempotency key nor a way to ask, so after a time-out a line may appear twice; that is what one does with alerts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::address::Address;
use super::endpoint::{Answer, Endpoint, EndpointConfig, NoAnswer};
use super::message::{
    Channel, FindOutcome, Idempotency, InvalidMessage, Message, MessageProvider, SendOutcome, said, tag,
};
use super::{Error, Secret};

/// Settings of a channel.
#[derive(Clone, Debug)]
pub struct Config {
    /// A file with the address of the webhook and nothing else. `http://` to a loopback host only.
    pub webhook_file: PathBuf,
    /// For one call, 100 ms to 120 s.
    pub timeout: Duration,
    /// A PEM file with the only certificates to be trusted. Default: those the system trusts.
    pub ca_file: Option<PathBuf>,
}

impl Config {
    /// With 10 s per call.
    pub fn new(webhook_file: impl Into<PathBuf>) -> Self {
        Config { webhook_file: webhook_file.into(), timeout: Duration::from_secs(10), ca_file: None }
    }
}

/// Lines to one channel of Slack. Takes messages to [`Address::operators`] only. Cheap to clone.
#[derive(Clone)]
pub struct Slack(Arc<Webhook>);

struct Webhook {
    endpoint: Endpoint,
    address: Secret,
}

impl Slack {
    /// Reads the address; calls nobody.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { webhook_file, timeout, ca_file } = config;
        let address = Secret::from_file("webhook_file", &webhook_file)?;
        let endpoint = Endpoint::new(&EndpointConfig { base_url: address.expose().to_owned(), timeout, ca_file });
        // What is wrong with an address is told with the address, which is the secret here.
        let endpoint = endpoint.map_err(|error| match error.field {
            "base_url" => {
                let expected = "the address of a webhook is expected: https://, or http:// and a loopback address";
                Error::new("webhook_file", format!("{}: {expected}", webhook_file.display()))
            }
            _ => error,
        })?;
        Ok(Slack(Arc::new(Webhook { endpoint, address })))
    }

    async fn send_once(&self, message: &Message) -> SendOutcome {
        let body = match prepare(message) {
            Ok(body) => body.to_string(),
            Err(invalid) => return invalid.into(),
        };
        let Webhook { endpoint, address } = &*self.0;
        let hidden = |error: String| error.replace(address.expose(), "(webhook)");
        let request = endpoint.post(&[]).header("content-type", "application/json");
        match endpoint.send(request.body(body)).await {
            Ok(answer) => judge(&answer, message),
            Err(NoAnswer::NotReached(error)) => SendOutcome::Later { after: None, error: hidden(error) },
            Err(NoAnswer::Unknown(error)) => SendOutcome::Unknown { error: hidden(error) },
        }
    }
}

impl std::fmt::Debug for Slack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slack").finish_non_exhaustive()
    }
}

impl MessageProvider for Slack {
    fn name(&self) -> &'static str {
        "slack"
    }

    fn channel(&self) -> Channel {
        Channel::Operator
    }

    fn idempotency(&self) -> Idempotency {
        Idempotency::None
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, SendOutcome> {
        Box::pin(self.send_once(message))
    }

    fn query<'a>(&'a self, _: &'a str, _: &'a Address, _: SystemTime) -> BoxFuture<'a, FindOutcome> {
        Box::pin(async { FindOutcome::CannotTell { reason: "a webhook of Slack cannot be asked".to_owned() } })
    }
}

fn prepare(message: &Message) -> Result<Value, InvalidMessage> {
    message.validate()?;
    if !message.to.is_operators() {
        let expected = format!("the operators are expected, not {}", message.to.kind());
        return Err(InvalidMessage::new("to", expected));
    }
    let mut text = format!("*{}*\n{}", escape(&message.title), escape(&message.body));
    if let Some(link) = &message.link {
        text.push_str(&format!("\n<{}|{}>", escape(&link.url).replace('|', "%7C"), escape(&link.label)));
    }
    Ok(json!({ "text": text }))
}

/// The three letters with a meaning of their own, as Slack wants them.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn judge(answer: &Answer, message: &Message) -> SendOutcome {
    let (status, after) = (answer.status, answer.retry_after);
    let text = said(&String::from_utf8_lossy(&answer.body), &message.to);
    let error = format!("HTTP {status}: {text}");
    let is_word = (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    match status {
        // Slack names no message; it goes by its tag.
        200 if text == "ok" => SendOutcome::Accepted { provider_id: tag(&message.idempotency_key) },
        408 | 425 | 429 => SendOutcome::Later { after, error },
        400..=499 => {
            let code = if is_word { text.clone() } else { format!("HTTP {status}") };
            SendOutcome::Rejected { code, message: text }
        }
        _ => SendOutcome::Unknown { error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::message::{Language, Link};

    fn message() -> Message {
        Message {
            to: Address::operators(),
            title: "gifts <late>".into(),
            body: "a & b".into(),
            link: Some(Link { label: "runbook".into(), url: "https://ops.example/?a=1&b=2|3".into() }),
            template: None,
            idempotency_key: "alert-1".into(),
            language: Language::English,
        }
    }

    #[test]
    fn nothing_in_a_text_is_a_command() {
        let text = "*gifts &lt;late&gt;*\na &amp; b\n<https://ops.example/?a=1&amp;b=2%7C3|runbook>";
        assert_eq!(prepare(&message()), Ok(json!({ "text": text })));
        let person = Message { to: Address::email("kim@example.com").expect("an address"), ..message() };
        assert_eq!(prepare(&person).expect_err("a person").field, "to");
    }

    #[test]
    fn answers_are_told_apart() {
        let seven = Some(Duration::from_secs(7));
        let later = |after| SendOutcome::Later { after, error: String::new() };
        let rejected = |code: &str| SendOutcome::Rejected { code: code.into(), message: String::new() };
        let unknown = || SendOutcome::Unknown { error: String::new() };
        for (status, after, body, expected) in [
            (200, None, "ok", SendOutcome::Accepted { provider_id: tag("alert-1") }),
            (200, None, "ok\n", SendOutcome::Accepted { provider_id: tag("alert-1") }),
            (200, None, "<html>", unknown()),
            (200, None, "", unknown()),
            (400, None, "invalid_payload", rejected("invalid_payload")),
            (403, None, "action_prohibited", rejected("action_prohibited")),
            (404, None, "no_service", rejected("no_service")),
            (404, None, "<html>", rejected("HTTP 404")),
            (410, None, "channel_is_archived", rejected("channel_is_archived")),
            (429, seven, "rate_limited", later(seven)),
            (429, None, "", later(None)),
            (302, None, "", unknown()),
            (500, None, "rollup_error", unknown()),
        ] {
            let outcome = match judge(&Answer { status, retry_after: after, body: body.into() }, &message()) {
                SendOutcome::Rejected { code, .. } => rejected(&code),
                SendOutcome::Later { after, .. } => later(after),
                SendOutcome::Unknown { .. } => unknown(),
                other => other,
            };
            assert_eq!(outcome, expected, "{status} {body}");
        }
    }

    #[test]
    fn the_address_is_not_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("webhook");
        std::fs::write(&path, "https://hooks.slack.com/services/T0/B0/S3CR3T\n").expect("written");
        let slack = Slack::new(Config::new(&path)).expect("a channel");
        assert!(!format!("{slack:?}").contains("S3CR3T"));
        std::fs::write(&path, "http://hooks.slack.com/services/T0/B0/S3CR3T").expect("written");
        let error = Slack::new(Config::new(&path)).expect_err("not encrypted");
        assert!(error.field == "webhook_file" && !error.to_string().contains("S3CR3T"), "{error}");
    }
}
