//! SOLAPI: KakaoTalk notifications (AlimTalk) and text messages of one Korean account.
//!
//! What the contract says ([send](https://docs.solapi.com/api-reference/messages/sendSimpleMessage),
//! [list](https://docs.solapi.com/api-reference/messages/getMessageList),
//! [status codes](https://docs.solapi.com/api-reference/message-status-codes),
//! [API keys](https://docs.solapi.com/authentication/api-key)), and what follows here:
//!
//! - There is no idempotency key. `allowDuplicates` is about one recipient twice within one group of messages, and every call
//!   of `/messages/v4/send` makes a group of its own. So a message carries [`tag`] in `customFields`, and after a
//!   time-out `/messages/v4/list` is searched for it. Messages are listed for six months.
//! - Each request is signed with HMAC-SHA256 over date and salt; a signature is good once and for ±15 minutes, so a
//!   request is never sent again as it is, and a clock that is wrong makes every request fail (403 `RequestTimeTooSkewed`).
//! - 200 means the message was taken; `statusCode` says how: 2000 and 3000 on the way, 4000 done, others of 1xxx to 3xxx failed.
//!   Other answers carry `errorCode` and `errorMessage`.
//! - The fall-back from AlimTalk to text messages that SOLAPI offers is off (`disableSms`): the order of channels is
//!   decided where it is recorded.

mod text;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use super::address::Address;
use super::endpoint::{Answer, Endpoint, EndpointConfig, NoAnswer};
use super::message::{
    Channel, FindOutcome, Idempotency, InvalidMessage, Message, MessageProvider, SendOutcome, hex, tag,
};
use super::{Error, Secret};
use crate::handlers::rfc3339;

pub use wire::{Report, parse_reports};

/// The name of [`tag`] in `customFields`, of which names may have 30 characters and values 100.
const TAG_FIELD: &str = "bosingakTag";
/// Messages to one recipient that are looked through for one.
const LISTED_MAX: usize = 1_000;
/// Messages per page of the list.
const PAGE: usize = 100;
/// The provider's clock may be behind ours.
const CLOCK_MARGIN: Duration = Duration::from_secs(600);

/// Settings of an account.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API is, and how long one call may take; a search makes up to ten.
    pub endpoint: EndpointConfig,
    /// The API key, as the console shows it.
    pub api_key: String,
    /// A file with the API secret and nothing else.
    pub api_secret_file: PathBuf,
    /// The registered number messages come from, Korean, as it is dialled: `0212345678`.
    pub sender: String,
}

impl Config {
    /// With the public address and 10 s per call.
    pub fn new(api_key: impl Into<String>, api_secret_file: impl Into<PathBuf>, sender: impl Into<String>) -> Self {
        Config {
            endpoint: EndpointConfig::new("https://api.solapi.com"),
            api_key: api_key.into(),
            api_secret_file: api_secret_file.into(),
            sender: sender.into(),
        }
    }
}

/// An account, of which channels are made. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Solapi(Arc<Account>);

#[derive(Debug)]
struct Account {
    endpoint: Endpoint,
    api_key: String,
    api_secret: Secret,
    sender: String,
}

impl Solapi {
    /// Reads the secret; calls nobody.
    pub fn new(config: Config) -> Result<Self, Error> {
        let sender = Address::phone(&config.sender).ok().and_then(|number| number.as_korean_phone());
        let sender = sender.ok_or_else(|| Error::new("sender", "a Korean phone number is expected"))?;
        if config.api_key.is_empty() || !config.api_key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::new("api_key", "letters and digits are expected"));
        }
        Ok(Solapi(Arc::new(Account {
            endpoint: Endpoint::new(&config.endpoint)?,
            api_key: config.api_key,
            api_secret: Secret::from_file("api_secret_file", &config.api_secret_file)?,
            sender,
        })))
    }

    /// KakaoTalk notifications of the channel with this `pfId` (the console's name for a Kakao channel, 1 to 100 characters).
    pub fn kakao(&self, pf_id: &str) -> Result<Kakao, Error> {
        if !(1..=100).contains(&pf_id.len()) || !pf_id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::new("pf_id", "1 to 100 bytes of printable ASCII are expected"));
        }
        Ok(Kakao { account: self.clone(), pf_id: pf_id.to_owned() })
    }

    /// Text messages.
    pub fn sms(&self) -> Sms {
        Sms { account: self.clone() }
    }

    async fn send(&self, message: &Message, mut body: Value) -> SendOutcome {
        body["customFields"] = json!({ TAG_FIELD: tag(&message.idempotency_key) });
        // The type is given; nothing is left for the provider to guess.
        body["autoTypeDetect"] = json!(false);
        let authorization = match self.authorization() {
            Ok(authorization) => authorization,
            Err(error) => return SendOutcome::Later { after: None, error },
        };
        let endpoint = &self.0.endpoint;
        let request = endpoint.post(&["messages", "v4", "send"]).header("authorization", authorization);
        let body = json!({ "message": body }).to_string();
        match endpoint.send(request.header("content-type", "application/json").body(body)).await {
            Ok(answer) => wire::judge_send(&answer, &message.to),
            Err(NoAnswer::NotReached(error)) => SendOutcome::Later { after: None, error },
            Err(NoAnswer::Unknown(error)) => SendOutcome::Unknown { error },
        }
    }

    async fn find(&self, key: &str, to: &Address, not_before: SystemTime, types: &[&str]) -> FindOutcome {
        let Some(number) = to.as_korean_phone() else { return FindOutcome::NotFound };
        let (tag, since) = (tag(key), rfc3339(not_before.checked_sub(CLOCK_MARGIN).unwrap_or(SystemTime::UNIX_EPOCH)));
        let mut start: Option<String> = None;
        let mut best = None;
        for _ in 0..LISTED_MAX / PAGE {
            let limit = PAGE.to_string();
            let mut query =
                vec![("to", number.as_str()), ("dateType", "CREATED"), ("startDate", &since), ("limit", &limit)];
            query.extend(start.as_deref().map(|key| ("startKey", key)));
            let page = match self.list(&query).await.and_then(|answer| wire::read_page(&answer, to)) {
                Ok(page) => page,
                Err(reason) => return FindOutcome::CannotTell { reason },
            };
            // Sent twice, it counts by the copy that got furthest.
            best = page.best(TAG_FIELD, &tag, types).into_iter().chain(best).max();
            start = page.next_key;
            if start.is_none() || matches!(&best, Some(found) if found.progress == wire::Progress::Delivered) {
                return match best {
                    Some(found) => {
                        FindOutcome::Found { provider_id: found.message_id, delivered: found.progress.delivered() }
                    }
                    None => FindOutcome::NotFound,
                };
            }
        }
        match best {
            Some(found) => FindOutcome::Found { provider_id: found.message_id, delivered: found.progress.delivered() },
            None => FindOutcome::CannotTell {
                reason: format!("more than {LISTED_MAX} messages to this address since then"),
            },
        }
    }

    async fn list(&self, query: &[(&str, &str)]) -> Result<Answer, String> {
        let endpoint = &self.0.endpoint;
        let request = endpoint.get(&["messages", "v4", "list"]).query(query);
        let answer = endpoint.send(request.header("authorization", self.authorization()?)).await;
        answer.map_err(|error| match error {
            NoAnswer::NotReached(reason) | NoAnswer::Unknown(reason) => reason,
        })
    }

    /// A signature, good once.
    fn authorization(&self) -> Result<String, String> {
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).map_err(|_| "the system has no random numbers".to_owned())?;
        let date = rfc3339(SystemTime::now());
        Ok(authorization(&self.0.api_key, self.0.api_secret.expose(), &date, &hex(&salt)))
    }

    fn number(message: &Message) -> Result<String, InvalidMessage> {
        message.validate()?;
        message.to.as_korean_phone().ok_or_else(|| {
            InvalidMessage::new("to", format!("a Korean phone number is expected, not {}", message.to.kind()))
        })
    }
}

/// KakaoTalk notifications (AlimTalk, type `ATA`). Needs [`Message::template`]; `body` is not sent, as Kakao takes approved
/// texts only, and a link becomes a button, which the template has to have: a label of at most 14 characters and a URL of at
/// most 100 bytes. A template whose button has gaps of its own is sent without a link.
#[derive(Clone, Debug)]
pub struct Kakao {
    account: Solapi,
    pf_id: String,
}

impl Kakao {
    fn prepare(&self, message: &Message) -> Result<Value, InvalidMessage> {
        let to = Solapi::number(message)?;
        let missing = || InvalidMessage::new("template", "an approved template is expected for KakaoTalk");
        let template = message.template.as_ref().ok_or_else(missing)?;
        let mut variables = serde_json::Map::new();
        for (name, value) in &template.variables {
            if name.is_empty() || name.contains(['.', '#', '{', '}']) {
                let expected = "names without `.`, `#`, `{` and `}` are expected";
                return Err(InvalidMessage::new("template.variables", expected));
            }
            variables.insert(format!("#{{{name}}}"), json!(value));
        }
        let mut options = json!({
            "pfId": self.pf_id,
            "templateId": template.id,
            "variables": variables,
            "disableSms": true,
        });
        if let Some(link) = &message.link {
            if link.label.chars().count() > 14 {
                return Err(InvalidMessage::new("link.label", "at most 14 characters are expected for KakaoTalk"));
            }
            if link.url.len() > 100 {
                return Err(InvalidMessage::new("link.url", "at most 100 bytes are expected for KakaoTalk"));
            }
            options["buttons"] = json!([
                { "buttonType": "WL", "buttonName": link.label, "linkMo": link.url, "linkPc": link.url }
            ]);
        }
        Ok(json!({ "to": to, "from": self.account.0.sender, "type": "ATA", "kakaoOptions": options }))
    }
}

impl MessageProvider for Kakao {
    fn name(&self) -> &'static str {
        "solapi-kakao"
    }

    fn channel(&self) -> Channel {
        Channel::Kakao
    }

    fn idempotency(&self) -> Idempotency {
        Idempotency::None
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, SendOutcome> {
        Box::pin(async move {
            match self.prepare(message) {
                Ok(body) => self.account.send(message, body).await,
                Err(invalid) => invalid.into(),
            }
        })
    }

    fn query<'a>(&'a self, key: &'a str, to: &'a Address, not_before: SystemTime) -> BoxFuture<'a, FindOutcome> {
        Box::pin(self.account.find(key, to, not_before, &["ATA"]))
    }
}

/// Text messages: `body` and below it the link. Up to 90 bytes of EUC-KR it is a short one (SMS), which has no title; up to
/// 2,000 bytes a long one (LMS) with the title's first 40 bytes.
#[derive(Clone, Debug)]
pub struct Sms {
    account: Solapi,
}

impl Sms {
    fn prepare(&self, message: &Message) -> Result<Value, InvalidMessage> {
        let to = Solapi::number(message)?;
        let text = match &message.link {
            Some(link) => format!("{}\n{}", message.body, link.url),
            None => message.body.clone(),
        };
        let from = &self.account.0.sender;
        let bytes = text::euc_kr_length(&text);
        if bytes <= text::SMS_BYTES_MAX {
            return Ok(json!({ "to": to, "from": from, "type": "SMS", "text": text }));
        }
        if bytes <= text::LMS_BYTES_MAX {
            let subject = text::beginning(&message.title, text::SUBJECT_BYTES_MAX);
            return Ok(json!({ "to": to, "from": from, "type": "LMS", "subject": subject, "text": text }));
        }
        let max = text::LMS_BYTES_MAX;
        let expected = format!("at most {max} bytes of EUC-KR with the link are expected, not {bytes}");
        Err(InvalidMessage::new("body", expected))
    }
}

impl MessageProvider for Sms {
    fn name(&self) -> &'static str {
        "solapi-sms"
    }

    fn channel(&self) -> Channel {
        Channel::Sms
    }

    fn idempotency(&self) -> Idempotency {
        Idempotency::None
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, SendOutcome> {
        Box::pin(async move {
            match self.prepare(message) {
                Ok(body) => self.account.send(message, body).await,
                Err(invalid) => invalid.into(),
            }
        })
    }

    fn query<'a>(&'a self, key: &'a str, to: &'a Address, not_before: SystemTime) -> BoxFuture<'a, FindOutcome> {
        Box::pin(self.account.find(key, to, not_before, &["SMS", "LMS"]))
    }
}

fn authorization(key: &str, secret: &str, date: &str, salt: &str) -> String {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hex(hmac::sign(&secret, format!("{date}{salt}").as_bytes()).as_ref());
    format!("HMAC-SHA256 apiKey={key}, date={date}, salt={salt}, signature={signature}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::message::{Language, Link, Template};

    fn account() -> Solapi {
        let directory = tempfile::tempdir().expect("a directory");
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "SECRET").expect("written");
        Solapi::new(Config::new("KEY", secret, "02-123-4567")).expect("an account")
    }

    fn message() -> Message {
        Message {
            to: Address::phone("010-1234-5678").expect("a number"),
            title: "선물이 도착했어요".into(),
            body: "보신각님의 선물".into(),
            link: Some(Link { label: "선물 받기".into(), url: "https://gift.example/g/abc".into() }),
            template: Some(Template { id: "GIFT01".into(), variables: [("name".into(), "보신각".into())].into() }),
            idempotency_key: "gift-1".into(),
            language: Language::Korean,
        }
    }

    #[test]
    fn requests_are_signed_as_documented() {
        // printf %s 2019-07-01T00:41:48Zjqsba2jxjnrjor | openssl dgst -sha256 -hmac SECRET
        let expected = "HMAC-SHA256 apiKey=KEY, date=2019-07-01T00:41:48Z, salt=jqsba2jxjnrjor, signature=669c9fb6acda414922dec17b603459be1dfb7dcb12f81c68e78cbd2f06ca9028";
        assert_eq!(authorization("KEY", "SECRET", "2019-07-01T00:41:48Z", "jqsba2jxjnrjor"), expected);
    }

    #[test]
    fn a_notification_is_a_template_and_nothing_falls_back() {
        let kakao = account().kakao("KA01PF").expect("a channel");
        let body = kakao.prepare(&message()).expect("valid");
        assert_eq!(body["to"], "01012345678");
        assert_eq!(body["from"], "021234567");
        assert_eq!(body["type"], "ATA");
        assert_eq!(body["text"], Value::Null);
        assert_eq!(body["kakaoOptions"]["disableSms"], true);
        assert_eq!(body["kakaoOptions"]["variables"]["#{name}"], "보신각");
        assert_eq!(body["kakaoOptions"]["buttons"][0]["linkMo"], "https://gift.example/g/abc");

        type Spoil = fn(&mut Message);
        let cases: [(&str, Spoil); 5] = [
            ("to", |m| m.to = Address::phone("+1 415 555 0100").expect("a number")),
            ("template", |m| m.template = None),
            ("template.variables", |m| {
                m.template.as_mut().expect("there").variables = [("a.b".into(), "".into())].into()
            }),
            ("link.label", |m| m.link.as_mut().expect("there").label = "가".repeat(15)),
            ("link.url", |m| m.link.as_mut().expect("there").url = format!("https://{}", "a".repeat(93))),
        ];
        for (field, spoil) in cases {
            let mut message = message();
            spoil(&mut message);
            assert_eq!(kakao.prepare(&message).expect_err(field).field, field);
        }
    }

    #[test]
    fn texts_are_short_or_long_by_their_bytes() {
        let sms = account().sms();
        let of = |body: &str| {
            let message = Message { body: body.into(), link: None, ..message() };
            sms.prepare(&message)
        };
        let short = of(&"가".repeat(45)).expect("fits");
        assert_eq!((&short["type"], &short["subject"]), (&json!("SMS"), &Value::Null));
        let long = of(&"가".repeat(46)).expect("fits");
        assert_eq!((&long["type"], &long["subject"]), (&json!("LMS"), &json!("선물이 도착했어요")));
        assert!(of(&"가".repeat(1_000)).is_ok());
        assert_eq!(of(&"가".repeat(1_001)).expect_err("too long").field, "body");
        let linked = sms.prepare(&message()).expect("fits");
        assert_eq!(linked["text"], "보신각님의 선물\nhttps://gift.example/g/abc");
    }

    #[test]
    fn wrong_settings_are_named() {
        let field = |change: fn(&mut Config)| {
            let directory = tempfile::tempdir().expect("a directory");
            let secret = directory.path().join("secret");
            std::fs::write(&secret, "SECRET").expect("written");
            let mut config = Config::new("KEY", secret, "02-123-4567");
            change(&mut config);
            Solapi::new(config).expect_err("refused").field
        };
        assert_eq!(field(|c| c.sender = "+1 415 555 0100".into()), "sender");
        assert_eq!(field(|c| c.api_key = "a b".into()), "api_key");
        assert_eq!(field(|c| c.endpoint.base_url = "http://api.solapi.com".into()), "base_url");
        assert_eq!(field(|c| c.api_secret_file = "/nowhere".into()), "api_secret_file");
        assert_eq!(account().kakao("").expect_err("refused").field, "pf_id");
        assert!(!format!("{:?}", account()).contains("SECRET"));
    }
}
