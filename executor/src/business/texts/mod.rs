//! What people are told: the words of the gift message and of every news, in their language, for their channel.
//!
//! A text contains names, product, price and moments, as the facts say, and the link beside it; no code, no address, nothing of the
//! inside. Names come from people: they are put on one line and cut, and never decide about anything.

mod en;
mod facts;
mod ko;
mod templates;

pub use templates::{TEMPLATE_FIELDS, TemplateConfig, Templates};

pub(super) use facts::Facts;

use proto::gift::v1::Channel;
use proto::notification::v1::News;

use crate::providers::message::Language;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The gift itself, to the recipient.
    Gift,
    /// To the sender: it is reserved.
    Reserved,
    /// To the sender: it was sent.
    Sent,
    /// To the sender: the recipient took it.
    Received,
    /// To the sender: it could not be sent.
    Failed,
    /// To the sender: here is the link to pass on.
    PassOn,
    /// To the sender: the money is back.
    Refunded,
    /// To somebody to whom a gift was passed on.
    Arrived,
    /// To the recipient: it expires soon.
    ExpiresSoon,
    /// To the operators: a gift waits for them.
    Attention,
    /// To the sender: the payment was declined after all.
    Declined,
    /// To the operators: a terminal of a shop is locked.
    TerminalLocked,
}

impl Subject {
    /// All of them.
    pub const ALL: [Subject; 12] = [
        Subject::Gift,
        Subject::Reserved,
        Subject::Sent,
        Subject::Received,
        Subject::Failed,
        Subject::PassOn,
        Subject::Refunded,
        Subject::Arrived,
        Subject::ExpiresSoon,
        Subject::Attention,
        Subject::Declined,
        Subject::TerminalLocked,
    ];

    /// As settings name it: `gift`, `reserved`, `expires_soon`, …
    pub fn name(self) -> &'static str {
        match self {
            Subject::Gift => "gift",
            Subject::Reserved => "reserved",
            Subject::Sent => "sent",
            Subject::Received => "received",
            Subject::Failed => "failed",
            Subject::PassOn => "pass_on",
            Subject::Refunded => "refunded",
            Subject::Arrived => "arrived",
            Subject::ExpiresSoon => "expires_soon",
            Subject::Attention => "attention",
            Subject::Declined => "declined",
            Subject::TerminalLocked => "terminal_locked",
        }
    }

    /// Of a news; `None` of one that is not known here.
    pub(super) fn of(news: News) -> Option<Self> {
        Some(match news {
            News::Unspecified => return None,
            News::Reserved => Subject::Reserved,
            News::Sent => Subject::Sent,
            News::Received => Subject::Received,
            News::Failed => Subject::Failed,
            News::PassOn => Subject::PassOn,
            News::Refunded => Subject::Refunded,
            News::Arrived => Subject::Arrived,
            News::ExpiresSoon => Subject::ExpiresSoon,
            News::Attention => Subject::Attention,
            News::Declined => Subject::Declined,
            News::TerminalLocked => Subject::TerminalLocked,
        })
    }

    /// Whether it makes no sense without the link to the gift.
    pub(super) fn has_link(self) -> bool {
        matches!(self, Subject::Gift | Subject::PassOn | Subject::Arrived | Subject::ExpiresSoon)
    }
}

/// A text, without the link that goes below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// One line, at most 200 characters.
    pub title: String,
    /// At most 2,000 characters; by SMS at most 90 bytes of EUC-KR.
    pub body: String,
    /// Of the button, at most 14 characters. Empty where there is no link.
    pub label: &'static str,
}

/// The words about a subject. Text messages are short.
pub(super) fn words(subject: Subject, facts: &Facts, language: Language, channel: Channel) -> Words {
    let mut words = match (language, channel) {
        (Language::Korean, Channel::Sms) => ko::short(subject, &facts.shortened()),
        (Language::Korean, _) => ko::long(subject, facts),
        (Language::English, Channel::Sms) => en::short(subject, &facts.shortened()),
        (Language::English, _) => en::long(subject, facts),
    };
    if !subject.has_link() {
        words.label = "";
    }
    words
}

#[cfg(test)]
mod tests;
