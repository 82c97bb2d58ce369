//! An e-mail out of a message: plain text, and the same as HTML with a button.

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

use super::recipient;
use crate::providers::message::{InvalidMessage, Message, tag};

/// What goes over the wire.
pub(super) struct Content {
    pub(super) to: lettre::Address,
    pub(super) message_id: String,
    pub(super) bytes: Vec<u8>,
}

impl Content {
    pub(super) fn new(sender: &Mailbox, message: &Message) -> Result<Self, InvalidMessage> {
        message.validate()?;
        let to = recipient(message)?;
        // The same for every attempt, so that one which arrives twice can be recognized.
        let message_id = format!("<{}@{}>", tag(&message.idempotency_key), sender.email.domain());
        let plain = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(plain(message));
        let html = SinglePart::builder().header(ContentType::TEXT_HTML).body(html(message));
        let email = lettre::Message::builder()
            .from(sender.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(message.title.clone())
            .message_id(Some(message_id.clone()))
            .header(Language(message.language.tag().to_owned()))
            .header(AutoSubmitted)
            .multipart(MultiPart::alternative().singlepart(plain).singlepart(html))
            .map_err(|error| InvalidMessage::new("to", format!("a message for e-mail is expected: {error}")))?;
        Ok(Content { to, message_id, bytes: email.formatted() })
    }
}

fn plain(message: &Message) -> String {
    match &message.link {
        Some(link) => format!("{}\n\n{}: {}\n", message.body, link.label, link.url),
        None => format!("{}\n", message.body),
    }
}

fn html(message: &Message) -> String {
    let body = escape(&message.body).replace('\n', "<br>\n");
    let button = message.link.as_ref().map_or_else(String::new, |link| {
        let style = "display:inline-block;padding:12px 20px;border-radius:8px;background:#1f4e5f;color:#ffffff;\
                     text-decoration:none;font-weight:bold";
        format!("<p><a href=\"{}\" style=\"{style}\">{}</a></p>\n", escape(&link.url), escape(&link.label))
    });
    format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body style=\"font-family:sans-serif;line-height:1.6;max-width:36em\">\n<h1 style=\"font-size:1.3em\">{title}</h1>\n\
         <p>{body}</p>\n{button}</body>\n</html>\n",
        message.language.tag(),
        title = escape(&message.title),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `Content-Language`, RFC 3282.
#[derive(Clone)]
struct Language(String);

impl Header for Language {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Content-Language")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Language(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

/// `Auto-Submitted`, RFC 3834: nobody's holiday answers this.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::address::Address;
    use crate::providers::message::{Language as Tongue, Link};

    fn message() -> Message {
        Message {
            to: Address::email("kim@example.com").expect("an address"),
            title: "선물이 도착했어요".into(),
            body: "<b>1 & 2</b>\n끝".into(),
            link: Some(Link { label: "선물 받기".into(), url: "https://gift.example/?a=1&b=\"2\"".into() }),
            template: None,
            idempotency_key: "gift-1".into(),
            language: Tongue::Korean,
        }
    }

    #[test]
    fn every_attempt_has_the_same_id() {
        let sender: Mailbox = "보신각 <gifts@shop.example>".parse().expect("a sender");
        let content = Content::new(&sender, &message()).expect("valid");
        assert_eq!(content.message_id, format!("<{}@shop.example>", tag("gift-1")));
        let text = String::from_utf8(content.bytes).expect("ASCII");
        assert!(text.is_ascii(), "everything is encoded, so no relay has to offer 8BITMIME");
        for line in [
            format!("Message-ID: {}", content.message_id),
            "Content-Language: ko".into(),
            "Auto-Submitted: auto-generated".into(),
            "To: kim@example.com".into(),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }
        let phone = Message { to: Address::phone("010-1234-5678").expect("a number"), ..message() };
        assert_eq!(Content::new(&sender, &phone).map(|_| ()).expect_err("a number").field, "to");
    }

    #[test]
    fn nothing_in_a_text_is_markup() {
        let html = html(&message());
        assert!(html.contains("&lt;b&gt;1 &amp; 2&lt;/b&gt;<br>"), "{html}");
        assert!(html.contains("href=\"https://gift.example/?a=1&amp;b=&quot;2&quot;\""), "{html}");
    }
}
