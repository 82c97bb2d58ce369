//! What is known about a gift.

use bytes::Bytes;
use scheduler::command::LocalTime;

use crate::notification::Channel;
use crate::product::Product;

use super::State;

/// Events that are kept of one gift; the oldest but the first is dropped for one more.
pub(crate) const EVENTS_MAX: usize = 48;
/// Requests whose repetition is known; the oldest is forgotten for one more.
pub(crate) const REQUESTS_MAX: usize = 8;

/// A person, as far as a gift knows.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Party {
    /// Of the caller's; empty for recipients the caller does not know.
    #[prost(string, tag = "1")]
    pub id: String,
    /// To be shown, at most 60 characters.
    #[prost(string, tag = "2")]
    pub name: String,
    /// E.164: `+` and 8..15 digits; or empty.
    #[prost(string, tag = "3")]
    pub phone: String,
    /// As the directory resolved it, at most 64 bytes; or empty.
    #[prost(string, tag = "4")]
    pub kakao: String,
    /// At most 254 bytes; or empty.
    #[prost(string, tag = "5")]
    pub email: String,
    /// Of the app on a phone, at most 512 bytes; or empty.
    #[prost(string, tag = "6")]
    pub push_token: String,
    /// IANA name.
    #[prost(string, tag = "7")]
    pub zone: String,
    /// `ko` or `en`.
    #[prost(string, tag = "8")]
    pub language: String,
}

impl Party {
    /// The channels that reach this person with a gift, in the order in which they are tried.
    pub fn gift_channels(&self) -> Vec<Channel> {
        self.channels(&[Channel::Kakao, Channel::Sms, Channel::Email])
    }

    /// The channels that reach this person with news, in the order in which they are tried.
    pub fn news_channels(&self) -> Vec<Channel> {
        self.channels(&[Channel::Push, Channel::Kakao, Channel::Sms, Channel::Email])
    }

    fn channels(&self, order: &[Channel]) -> Vec<Channel> {
        let reaches = |channel: &Channel| match channel {
            // A message to a phone number reaches the Kakao account with that number.
            Channel::Kakao => !self.kakao.is_empty() || !self.phone.is_empty(),
            Channel::Sms => !self.phone.is_empty(),
            Channel::Email => !self.email.is_empty(),
            Channel::Push => !self.push_token.is_empty(),
            Channel::Unspecified | Channel::Operator => false,
        };
        order.iter().copied().filter(reaches).collect()
    }
}

/// A secret text: a hash to find it by, and itself, sealed. What is in here cannot be read without the cluster's key.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Secret {
    /// Keyed hash of the text.
    #[prost(bytes = "bytes", tag = "1")]
    pub hash: Bytes,
    /// The text, encrypted.
    #[prost(bytes = "bytes", tag = "2")]
    pub sealed: Bytes,
}

/// What was drawn for a gift that is about to be sent.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Draw {
    /// Token of the link.
    #[prost(message, optional, tag = "1")]
    pub link: Option<Secret>,
    /// The gifticon's code.
    #[prost(message, optional, tag = "2")]
    pub code: Option<Secret>,
}

/// An attempt to send on a channel.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Attempt {
    /// On which.
    #[prost(enumeration = "Channel", tag = "1")]
    pub channel: i32,
    /// When it began, in replicated time.
    #[prost(uint64, tag = "2")]
    pub at: u64,
    /// The provider's name for the message, once it is known.
    #[prost(string, tag = "3")]
    pub provider_id: String,
    /// The code a channel was refused with.
    #[prost(string, tag = "4")]
    pub error: String,
}

/// How sending goes.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Sending {
    /// Counted from 1; grows when everything is tried again after a pause.
    #[prost(uint32, tag = "1")]
    pub round: u32,
    /// The channel that is being tried: a message may be on its way there.
    #[prost(message, optional, tag = "2")]
    pub begun: Option<Attempt>,
    /// Channels that do not take it for this recipient.
    #[prost(message, repeated, tag = "3")]
    pub rejected: Vec<Attempt>,
    /// The one that took it.
    #[prost(message, optional, tag = "4")]
    pub sent: Option<Attempt>,
    /// Rounds that count: those of an outage of the provider's do not.
    #[prost(uint32, tag = "5")]
    pub failures: u32,
    /// When the outage began that it waits out; 0: there is none.
    #[prost(uint64, tag = "6")]
    pub waiting_since: u64,
}

/// Something that happened to a gift.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Event {
    /// Replicated time.
    #[prost(uint64, tag = "1")]
    pub at: u64,
    /// The state from then on.
    #[prost(enumeration = "State", tag = "2")]
    pub state: i32,
    /// What happened, in a few words without personal data.
    #[prost(string, tag = "3")]
    pub what: String,
    /// The entry.
    #[prost(uint64, tag = "4")]
    pub log_index: u64,
}

/// A gift.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Gift {
    /// 1..64 characters of `[A-Za-z0-9_-]`.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Who gives; with an id.
    #[prost(message, optional, tag = "2")]
    pub sender: Option<Party>,
    /// Who gets it.
    #[prost(message, optional, tag = "3")]
    pub recipient: Option<Party>,
    /// At most 500 characters.
    #[prost(string, tag = "4")]
    pub message: String,
    /// As it was when the gift was reserved.
    #[prost(message, optional, tag = "5")]
    pub product: Option<Product>,
    /// When it is to be sent.
    #[prost(uint64, tag = "6")]
    pub send_at: u64,
    /// The local time that was asked for.
    #[prost(message, optional, tag = "7")]
    pub local: Option<LocalTime>,
    /// Where it is in its life.
    #[prost(enumeration = "State", tag = "8")]
    pub state: i32,
    /// The link and the code, once they are drawn.
    #[prost(message, optional, tag = "9")]
    pub draw: Option<Draw>,
    /// How sending goes.
    #[prost(message, optional, tag = "10")]
    pub sending: Option<Sending>,
    /// It can be used before this moment; 0: not sent yet.
    #[prost(uint64, tag = "11")]
    pub expires_at: u64,
    /// When the recipient is reminded.
    #[prost(uint64, repeated, tag = "12")]
    pub remind_at: Vec<u64>,
    /// Whether it has been passed on.
    #[prost(bool, tag = "13")]
    pub transferred: bool,
    /// What happened, in order.
    #[prost(message, repeated, tag = "14")]
    pub events: Vec<Event>,
    /// The newest requests that changed it: the number of the command's kind, then the 16 bytes of the request.
    #[prost(bytes = "bytes", repeated, tag = "15")]
    pub requests: Vec<Bytes>,
    /// Number of the command that changed it last.
    #[prost(uint64, tag = "16")]
    pub version: u64,
    /// Number of the command that made it.
    #[prost(uint64, tag = "17")]
    pub made: u64,
    /// When it was reserved.
    #[prost(uint64, tag = "18")]
    pub created: u64,
    /// Of the request that reserved it, as it was sent.
    #[prost(fixed64, tag = "19")]
    pub fingerprint: u64,
    /// The trigger that sends it.
    #[prost(string, tag = "20")]
    pub send_trigger: String,
    /// The trigger that reminds the recipient next, or lets it expire.
    #[prost(string, tag = "21")]
    pub clock_trigger: String,
    /// Why it failed or waits for a human.
    #[prost(string, tag = "22")]
    pub trouble: String,
    /// Grows with every link: nonces of pages are made from it.
    #[prost(uint32, tag = "23")]
    pub holder: u32,
    /// Where it was redeemed.
    #[prost(string, tag = "24")]
    pub shop: String,
    /// Whether it waits for a human.
    #[prost(bool, tag = "25")]
    pub attention: bool,
    /// Reminders that are over: the next one has this number.
    #[prost(uint32, tag = "26")]
    pub reminded: u32,
}

impl Gift {
    /// Who gives.
    pub fn sender(&self) -> Party {
        self.sender.clone().unwrap_or_default()
    }

    /// Who gets it.
    pub fn recipient(&self) -> Party {
        self.recipient.clone().unwrap_or_default()
    }

    /// The product as it was.
    pub fn product(&self) -> Product {
        self.product.clone().unwrap_or_default()
    }

    /// Whether it can be used, accepted and passed on at this moment, as far as time goes.
    pub fn is_valid_at(&self, now: scheduler::time::Timestamp) -> bool {
        now.as_millis() < self.expires_at
    }

    pub(crate) fn price(&self) -> u64 {
        self.product.as_ref().map_or(0, |product| product.price_won)
    }
}
