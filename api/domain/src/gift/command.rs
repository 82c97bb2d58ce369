//! The commands about gifts.

use bytes::Bytes;
use scheduler::command::LocalTime;

use crate::notification::Channel;
use crate::payment::Ask;
use crate::product::Product;

use super::{Attempt, Draw, Gift, Party, Secret};

/// Reserves a gift; its payment begins at once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reserve {
    /// 1..64 characters of `[A-Za-z0-9_-]`. Also what tells a repeated request.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// Who gives.
    #[prost(message, optional, tag = "2")]
    pub sender: Option<Party>,
    /// Who gets it.
    #[prost(message, optional, tag = "3")]
    pub recipient: Option<Party>,
    /// At most 500 characters.
    #[prost(string, tag = "4")]
    pub message: String,
    /// As it is now.
    #[prost(message, optional, tag = "5")]
    pub product: Option<Product>,
    /// When it is to be sent: 10 minutes to 366 days ahead.
    #[prost(uint64, tag = "6")]
    pub send_at: u64,
    /// The local time that was asked for.
    #[prost(message, optional, tag = "7")]
    pub local: Option<LocalTime>,
    /// Hash of the request as it was sent.
    #[prost(fixed64, tag = "8")]
    pub fingerprint: u64,
    /// What the payer's side was given.
    #[prost(message, optional, tag = "9")]
    pub payment: Option<Ask>,
}

/// Changes what is given; until an hour before it is sent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Edit {
    /// Which.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// Tells a repeated request; 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub request: Bytes,
    /// 0: any.
    #[prost(uint64, tag = "3")]
    pub expected_version: u64,
    /// Instead of the one there is.
    #[prost(message, optional, tag = "4")]
    pub recipient: Option<Party>,
    /// Instead of the one there is.
    #[prost(string, optional, tag = "5")]
    pub message: Option<String>,
    /// Instead of the one there is; 0: it stays.
    #[prost(uint64, tag = "6")]
    pub send_at: u64,
    /// Of the new moment.
    #[prost(message, optional, tag = "7")]
    pub local: Option<LocalTime>,
    /// The sender it must be of; empty: any.
    #[prost(string, tag = "8")]
    pub sender: String,
}

/// Takes a gift back; until the moment it is sent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cancel {
    /// Which.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// Tells a repeated request; 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub request: Bytes,
    /// 0: any.
    #[prost(uint64, tag = "3")]
    pub expected_version: u64,
    /// The sender it must be of; empty: any.
    #[prost(string, tag = "4")]
    pub sender: String,
}

/// An executor is about to send a gift on the next channel that has not refused it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BeginSend {
    /// Which.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// The round it was told to send in.
    #[prost(uint32, tag = "2")]
    pub round: u32,
    /// Channels that refused it in this turn.
    #[prost(message, repeated, tag = "3")]
    pub rejected: Vec<Attempt>,
    /// What the gift gets if nothing has been drawn for it yet.
    #[prost(message, optional, tag = "4")]
    pub draw: Option<Draw>,
    /// When it expires if it is sent now.
    #[prost(uint64, tag = "5")]
    pub expires_at: u64,
    /// When the recipient is to be reminded then, in order.
    #[prost(uint64, repeated, tag = "6")]
    pub remind_at: Vec<u64>,
}

/// What an executor that begins to send needs to know.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Turn {
    /// The channel to send on.
    #[prost(enumeration = "Channel", tag = "1")]
    pub channel: i32,
    /// An attempt on it began before, and it is not known what came of it.
    #[prost(bool, tag = "2")]
    pub resumed: bool,
    /// When the attempt began, in replicated time.
    #[prost(uint64, tag = "3")]
    pub begun_at: u64,
    /// Nothing is to be sent: it was, or never will be.
    #[prost(bool, tag = "4")]
    pub over: bool,
    /// The recipient's side of the gift.
    #[prost(message, optional, tag = "5")]
    pub gift: Option<Gift>,
}

/// A provider took it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sent {
    /// Which.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// The round it was told to send in.
    #[prost(uint32, tag = "2")]
    pub round: u32,
    /// On which channel.
    #[prost(enumeration = "Channel", tag = "3")]
    pub channel: i32,
    /// The provider's name for the message.
    #[prost(string, tag = "4")]
    pub provider_id: String,
}

/// It was certainly not sent, and is to be tried again.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SendLater {
    /// Which.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// The round it was told to send in.
    #[prost(uint32, tag = "2")]
    pub round: u32,
    /// Why, at most 256 characters.
    #[prost(string, tag = "3")]
    pub error: String,
    /// The provider is down for everybody: it does not count.
    #[prost(bool, tag = "4")]
    pub outage: bool,
    /// No earlier than this many milliseconds from now.
    #[prost(uint64, tag = "5")]
    pub after_ms: u64,
}

/// It may have been sent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SendUnknown {
    /// Which.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// The round it was told to send in.
    #[prost(uint32, tag = "2")]
    pub round: u32,
    /// Why, at most 256 characters.
    #[prost(string, tag = "3")]
    pub error: String,
}

/// Whether a gift was sent is known now.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResolveSend {
    /// Which.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// What is known.
    #[prost(enumeration = "Found", tag = "2")]
    pub found: i32,
    /// The provider's name for the message.
    #[prost(string, tag = "3")]
    pub provider_id: String,
    /// Who says so: `provider`, or an operator's name.
    #[prost(string, tag = "4")]
    pub by: String,
}

/// What is known about a message that may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Found {
    /// Still nothing: a human has to find out.
    Nothing = 0,
    /// It was sent.
    Sent = 1,
    /// It was not.
    NotSent = 2,
}

/// The recipient takes the gift.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Accept {
    /// Hash of the link's token.
    #[prost(bytes = "bytes", tag = "1")]
    pub link: Bytes,
    /// Tells a repeated request; 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub request: Bytes,
}

/// The recipient passes the gift on, once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Transfer {
    /// Hash of the link's token.
    #[prost(bytes = "bytes", tag = "1")]
    pub link: Bytes,
    /// Tells a repeated request; 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub request: Bytes,
    /// Who gets it now.
    #[prost(message, optional, tag = "3")]
    pub to: Option<Party>,
    /// The new link, and the code for a gift whose code has been seen.
    #[prost(message, optional, tag = "4")]
    pub draw: Option<Draw>,
}

/// A shop takes the code.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Redeem {
    /// Hash of the code.
    #[prost(bytes = "bytes", tag = "1")]
    pub code: Bytes,
    /// Tells a repeated request; 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub request: Bytes,
    /// Which shop, at most 64 characters.
    #[prost(string, tag = "3")]
    pub shop: String,
    /// The terminal of that shop which proved who it is; or empty.
    #[prost(string, tag = "4")]
    pub terminal: String,
}

/// Time to remind the recipient.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Remind {
    /// Which.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// Which of the moments, counted from 0.
    #[prost(uint32, tag = "2")]
    pub number: u32,
}

/// Time is up.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Expire {
    /// Which.
    #[prost(string, tag = "1")]
    pub gift: String,
}

/// Payload of triggers that send a gift, or find out whether it was. The same bytes as `bosingak.gift.v1.SendWork`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SendWork {
    /// Which.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// Counted from 1.
    #[prost(uint32, tag = "2")]
    pub round: u32,
}

impl Draw {
    /// The link and the code, when both are whole.
    pub(crate) fn whole(&self) -> Option<(&Secret, &Secret)> {
        let whole =
            |secret: &&Secret| (8..=64).contains(&secret.hash.len()) && (1..=512).contains(&secret.sealed.len());
        Some((self.link.as_ref().filter(whole)?, self.code.as_ref().filter(whole)?))
    }
}
