//! Messages to people, and what a provider that carries them has to tell.
//!
//! An adapter ([`solapi`](super::solapi), [`fcm`](super::fcm), [`smtp`](super::smtp), [`slack`](super::slack)) sends one
//! message once and says what became of it as exactly as the provider's contract allows: the difference between
//! [`SendOutcome::Later`] and [`SendOutcome::Unknown`] is whether sending again may deliver twice. What follows from an
//! outcome (another attempt, the next channel, a refund) is for the caller, who keeps the record.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use ring::digest;

use super::address::Address;

/// A provider of messages on one channel.
pub trait MessageProvider: Send + Sync + 'static {
    /// The provider and its channel, for logs, metrics and records: `solapi-kakao`. Never changes once used.
    fn name(&self) -> &'static str;

    /// What the message appears as to the one who gets it.
    fn channel(&self) -> Channel;

    /// Whether the same key sent again is recognized by the provider.
    fn idempotency(&self) -> Idempotency;

    /// Sends a message once. Never retries by itself; ends within the adapter's time-out.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, SendOutcome>;

    /// Looks for a message that may have been accepted: what to do after [`SendOutcome::Unknown`].
    ///
    /// `idempotency_key` and `to` are those of the message; `not_before` is a moment before it was first sent. Providers
    /// show what they accepted with a delay, so one [`FindOutcome::NotFound`] right after sending proves little.
    fn query<'a>(
        &'a self,
        idempotency_key: &'a str,
        to: &'a Address,
        not_before: SystemTime,
    ) -> BoxFuture<'a, FindOutcome>;
}

/// What a message appears as to the one who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A notification in KakaoTalk (AlimTalk), from a template that Kakao has approved.
    Kakao,
    /// A text message, short (SMS) or long (LMS).
    Sms,
    /// An e-mail.
    Email,
    /// A notification of an app.
    Push,
    /// A line for those who operate the service.
    Operator,
}

impl Channel {
    /// The name in records, labels and settings: `kakao`, `sms`, `email`, `push`, `operator`.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Kakao => "kakao",
            Channel::Sms => "sms",
            Channel::Email => "email",
            Channel::Push => "push",
            Channel::Operator => "operator",
        }
    }
}

/// What a provider does with a key it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// The same key sent again within this time is not delivered again.
    Honoured {
        /// How long the provider remembers a key.
        within: Duration,
    },
    /// Sending again may deliver again.
    None,
}

/// A language a person reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// Korean, `ko`.
    #[default]
    Korean,
    /// English, `en`.
    English,
}

impl Language {
    /// The tag of BCP 47: `ko` or `en`.
    pub fn tag(self) -> &'static str {
        match self {
            Language::Korean => "ko",
            Language::English => "en",
        }
    }
}

/// Something to tell one person.
///
/// Whoever makes one fills `body` even for a channel that sends a template, so that the same message can go to the next
/// channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who gets it. A provider refuses an address of another kind than its channel needs.
    pub to: Address,
    /// A few words: subject of an e-mail or long text, first line of a notification. 1 to 200 characters, one line.
    pub title: String,
    /// The text, 1 to 2,000 characters.
    pub body: String,
    /// Where to go on.
    pub link: Option<Link>,
    /// What to fill in where texts have to be approved beforehand (Kakao).
    pub template: Option<Template>,
    /// The same for every attempt at the same message, and for no other. 1 to 512 bytes of printable ASCII. Providers get
    /// [`tag`] of it, which says nothing about what it was made of.
    pub idempotency_key: String,
    /// What it is written in.
    pub language: Language,
}

/// A button or link below a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The text of the button, 1 to 40 characters. Kakao allows 14.
    pub label: String,
    /// Begins with `https://` or `http://`; at most 1,000 bytes of ASCII.
    pub url: String,
}

/// An approved text with gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The provider's name for it, 1 to 100 characters.
    pub id: String,
    /// What goes into each gap, by its name without decoration: `name` for `#{name}`. At most 50.
    pub variables: BTreeMap<String, String>,
}

/// What became of one attempt to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The provider took it and will try to deliver it.
    Accepted {
        /// The provider's name for the message.
        provider_id: String,
    },
    /// It will never be taken as it is: the next channel is what remains. Also when credentials or the balance are at
    /// fault, for the message should not wait until somebody mends them.
    Rejected {
        /// The provider's code, or one of our own in lower case when the message did not get that far.
        code: String,
        /// For people.
        message: String,
    },
    /// Nothing is behind this address any more; it should not be used again.
    Unregistered,
    /// Certainly not accepted: sending again cannot deliver twice.
    Later {
        /// How long the provider asks to wait.
        after: Option<Duration>,
        /// For people.
        error: String,
    },
    /// It may have been accepted. [`MessageProvider::query`] before sending again.
    Unknown {
        /// For people.
        error: String,
    },
}

/// What a provider knows of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindOutcome {
    /// It was accepted.
    Found {
        /// The provider's name for the message.
        provider_id: String,
        /// Whether it reached the person; `None` while that is open.
        delivered: Option<bool>,
    },
    /// The provider lists what it accepted, and this is not among it.
    NotFound,
    /// The provider cannot be asked, or did not answer.
    CannotTell {
        /// For people.
        reason: String,
    },
}

/// What a message may not look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {expected}")]
pub struct InvalidMessage {
    /// The field at fault.
    pub field: &'static str,
    /// What it has to be.
    pub expected: String,
}

impl InvalidMessage {
    pub(crate) fn new(field: &'static str, expected: impl Into<String>) -> Self {
        InvalidMessage { field, expected: expected.into() }
    }
}

impl From<InvalidMessage> for SendOutcome {
    /// The code is `invalid_message`: nothing was sent, and nothing would be another time.
    fn from(invalid: InvalidMessage) -> Self {
        SendOutcome::Rejected { code: "invalid_message".into(), message: invalid.to_string() }
    }
}

impl Message {
    /// Checks what holds on every channel. Adapters do so before they send, and add the limits of their own.
    pub fn validate(&self) -> Result<(), InvalidMessage> {
        let of_length = |field, text: &str, max: usize| {
            let length = text.chars().count();
            let fits = (1..=max).contains(&length) && !text.trim().is_empty();
            let expected = || InvalidMessage::new(field, format!("1 to {max} characters are expected, not {length}"));
            if fits { Ok(()) } else { Err(expected()) }
        };
        let one_line = |field, text: &str| {
            let error = || InvalidMessage::new(field, "one line without control characters is expected");
            if text.chars().any(char::is_control) { Err(error()) } else { Ok(()) }
        };
        of_length("title", &self.title, 200)?;
        one_line("title", &self.title)?;
        of_length("body", &self.body, 2_000)?;
        if self.body.chars().any(|c| c.is_control() && c != '\n') {
            return Err(InvalidMessage::new("body", "no control characters but line feeds are expected"));
        }
        if let Some(link) = &self.link {
            of_length("link.label", &link.label, 40)?;
            one_line("link.label", &link.label)?;
            let web = link.url.starts_with("https://") || link.url.starts_with("http://");
            if !web || link.url.len() > 1_000 || !link.url.bytes().all(|b| b.is_ascii_graphic()) {
                let expected =
                    "at most 1,000 bytes of printable ASCII that begin with https:// or http:// are expected";
                return Err(InvalidMessage::new("link.url", expected));
            }
        }
        if let Some(template) = &self.template {
            of_length("template.id", &template.id, 100)?;
            if template.variables.len() > 50 {
                return Err(InvalidMessage::new("template.variables", "at most 50 are expected"));
            }
        }
        let key = &self.idempotency_key;
        if !(1..=512).contains(&key.len()) || !key.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(InvalidMessage::new("idempotency_key", "1 to 512 bytes of printable ASCII are expected"));
        }
        Ok(())
    }
}

/// The name a message goes by at providers: the first 128 bits of the SHA-256 of its idempotency key, in hex.
///
/// Keys name triggers and tenants, which are nobody else's business, and every provider has its own idea of length and
/// letters. To search a provider's console for a key: `printf %s KEY | sha256sum | cut -c 1-32`.
pub fn tag(idempotency_key: &str) -> String {
    let digest = digest::digest(&digest::SHA256, idempotency_key.as_bytes());
    hex(&digest.as_ref()[..16])
}

/// Bytes as digits in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// Characters of what a provider said that are passed on.
const SAID_CHARS_MAX: usize = 300;

/// What a provider said, fit for logs and records: on one line, of bounded length, without the address it was about.
pub(crate) fn said(text: &str, to: &Address) -> String {
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = to.redact(&line);
    match line.char_indices().nth(SAID_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The first of these that says anything.
pub(crate) fn first_of<'a>(texts: &[Option<&'a str>], otherwise: &'static str) -> Cow<'a, str> {
    let text = texts.iter().flatten().find(|text| !text.trim().is_empty());
    text.map_or(Cow::Borrowed(otherwise), |text| Cow::Borrowed(*text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn message() -> Message {
        Message {
            to: Address::phone("010-1234-5678").expect("a number"),
            title: "선물이 도착했어요".into(),
            body: "보신각님이 선물을 보냈어요".into(),
            link: Some(Link { label: "선물 받기".into(), url: "https://gift.example/g/abc".into() }),
            template: None,
            idempotency_key: "shop/gift-1/8192/kakao".into(),
            language: Language::Korean,
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(message().validate(), Ok(()));
        type Spoil = fn(&mut Message);
        let cases: [(&str, Spoil); 12] = [
            ("title", |m| m.title.clear()),
            ("title", |m| m.title = "줄\n바꿈".into()),
            ("title", |m| m.title = "가".repeat(201)),
            ("body", |m| m.body = "  \n".into()),
            ("body", |m| m.body = "가".repeat(2_001)),
            ("body", |m| m.body = "a\0b".into()),
            ("link.label", |m| m.link.as_mut().expect("there").label.clear()),
            ("link.url", |m| m.link.as_mut().expect("there").url = "javascript:alert(1)".into()),
            ("link.url", |m| m.link.as_mut().expect("there").url = "https://a/ b".into()),
            ("template.id", |m| m.template = Some(Template { id: String::new(), variables: BTreeMap::new() })),
            ("idempotency_key", |m| m.idempotency_key.clear()),
            ("idempotency_key", |m| m.idempotency_key = "열쇠".into()),
        ];
        for (field, spoil) in cases {
            let mut message = message();
            spoil(&mut message);
            assert_eq!(message.validate().expect_err(field).field, field);
        }
        let mut message = message();
        message.body = "가".repeat(2_000);
        assert_eq!(message.validate(), Ok(()));
    }

    #[test]
    fn tags_are_what_the_documented_command_prints() {
        // printf %s shop/gift-1/8192 | sha256sum | cut -c 1-32
        assert_eq!(tag("shop/gift-1/8192"), "a7db50045e6ab59c717acfd9a79049a0");
        assert_ne!(tag("a"), tag("b"));
    }

    #[test]
    fn what_was_said_is_short_and_without_the_address() {
        let to = Address::email("kim@example.com").expect("an address");
        assert_eq!(said(" 550 <Kim@Example.com>:\r\nno such user ", &to), "550 <(address)>:  no such user");
        assert_eq!(said(&"가".repeat(1_000), &to).chars().count(), SAID_CHARS_MAX + 1);
    }

    proptest! {
        #[test]
        fn debug_shows_no_address(digits in "[1-9][0-9]{7}") {
            let mut message = message();
            message.to = Address::phone(&format!("010{digits}")).expect("a number");
            let shown = format!("{message:?}");
            prop_assert!(!shown.contains(&digits));
        }
    }
}
