//! A gift and what belongs to it, in the protocol's own JSON.

use proto::gift::v1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::products::Product;
use super::super::scalars::{Moment, Number, names};
use super::super::views::LocalTime;

names! {
    /// Where a gift is in its life.
    GiftState = v1::GiftState {
        /// Not known to this node.
        Unspecified = "GIFT_STATE_UNSPECIFIED",
        /// The payment is not captured yet.
        PendingPayment = "GIFT_STATE_PENDING_PAYMENT",
        /// Paid; it waits for its moment.
        Reserved = "GIFT_STATE_RESERVED",
        /// An executor is sending it.
        Sending = "GIFT_STATE_SENDING",
        /// The recipient has the link.
        Sent = "GIFT_STATE_SENT",
        /// The recipient took it and sees the code.
        Accepted = "GIFT_STATE_ACCEPTED",
        /// A shop took the code.
        Used = "GIFT_STATE_USED",
        /// Nobody used it in time; the money is on its way back.
        Expired = "GIFT_STATE_EXPIRED",
        /// The money is back.
        Refunded = "GIFT_STATE_REFUNDED",
        /// The sender took it back; the money is on its way back.
        Cancelled = "GIFT_STATE_CANCELLED",
        /// It was not paid, or could not be sent; what was paid is on its way back.
        Failed = "GIFT_STATE_FAILED",
        /// It may have been sent, or not; somebody finds out.
        SendUnknown = "GIFT_STATE_SEND_UNKNOWN",
    }
}

names! {
    /// A way to reach somebody.
    Channel = v1::Channel {
        /// None: the sender passes the link on.
        Unspecified = "CHANNEL_UNSPECIFIED",
        /// KakaoTalk.
        Kakao = "CHANNEL_KAKAO",
        /// Text messages.
        Sms = "CHANNEL_SMS",
        /// E-mail.
        Email = "CHANNEL_EMAIL",
        /// The app.
        Push = "CHANNEL_PUSH",
        /// The operators' room.
        Operator = "CHANNEL_OPERATOR",
    }
}

/// A person.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Party {
    /// The caller's name for this person: 1 to 64 printable ASCII characters for senders, may be left out for recipients.
    #[schema(example = "kim")]
    id: String,
    /// Shown to the other one; at most 60 characters.
    #[schema(example = "김보신")]
    name: String,
    /// E.164, or in the national form of Korea. Answers have E.164.
    #[schema(example = "010-1234-5678")]
    phone: String,
    /// Kakao id; resolved by the directory that the cluster is configured with.
    kakao: String,
    /// An address to write to.
    email: String,
    /// Of the app on a phone.
    push_token: String,
    /// IANA name; Asia/Seoul when left out.
    time_zone: String,
    /// ko or en; ko when left out.
    language: String,
}

impl From<v1::Party> for Party {
    fn from(party: v1::Party) -> Self {
        Party {
            id: party.id,
            name: party.name,
            phone: party.phone,
            kakao: party.kakao,
            email: party.email,
            push_token: party.push_token,
            time_zone: party.time_zone,
            language: party.language,
        }
    }
}

impl From<Party> for v1::Party {
    fn from(party: Party) -> Self {
        v1::Party {
            id: party.id,
            name: party.name,
            phone: party.phone,
            kakao: party.kakao,
            email: party.email,
            push_token: party.push_token,
            time_zone: party.time_zone,
            language: party.language,
        }
    }
}

/// Something that happened to a gift.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GiftEvent {
    /// Replicated time.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Moment>,
    /// From then on.
    state: GiftState,
    /// In a few words.
    what: String,
    /// The entry of the log.
    log_index: Number,
}

/// A gift.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gift {
    /// Unique within the namespace.
    pub id: String,
    /// Who gives. Recipients see the name alone, shops nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<Party>,
    /// Who gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient: Option<Party>,
    /// The sender's words.
    message: String,
    /// As it was when the gift was reserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<Product>,
    /// When it is to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    send_at: Option<Moment>,
    /// What that was resolved from, when it was a local time.
    #[serde(skip_serializing_if = "Option::is_none")]
    send_at_local: Option<LocalTime>,
    /// Where it is in its life.
    pub state: GiftState,
    /// It can be accepted, passed on and used before this moment. Left out until it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Moment>,
    /// Whether the recipient passed it on.
    transferred: bool,
    /// When it was reserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Moment>,
    /// Changes with every change of the gift; what expectedVersion means.
    pub version: Number,
    /// What happened, in order.
    events: Vec<GiftEvent>,
    /// Why it failed or waits for a human.
    trouble: String,
    /// The channel that took it.
    channel: Channel,
    /// Where it was used.
    shop: String,
}

impl From<v1::Gift> for Gift {
    fn from(gift: v1::Gift) -> Self {
        let event = |event: v1::GiftEvent| GiftEvent {
            at: event.at.map(Moment),
            state: GiftState::of(event.state),
            what: event.what,
            log_index: Number(event.log_index),
        };
        Gift {
            id: gift.id,
            sender: gift.sender.map(Party::from),
            recipient: gift.recipient.map(Party::from),
            message: gift.message,
            product: gift.product.map(Product::from),
            send_at: gift.send_at.map(Moment),
            send_at_local: gift.send_at_local.map(LocalTime::from),
            state: GiftState::of(gift.state),
            expires_at: gift.expires_at.map(Moment),
            transferred: gift.transferred,
            created: gift.created.map(Moment),
            version: Number(gift.version),
            events: gift.events.into_iter().map(event).collect(),
            trouble: gift.trouble,
            channel: Channel::of(gift.channel),
            shop: gift.shop,
        }
    }
}

impl Gift {
    /// Of an answer; the protocol always has one.
    pub fn of(gift: Option<v1::Gift>) -> Gift {
        Gift::from(gift.unwrap_or_default())
    }
}

/// A page of gifts.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GiftPage {
    /// Of one partition after the other.
    gifts: Vec<Gift>,
    /// For the next page; empty on the last one.
    next_page_token: String,
}

impl GiftPage {
    /// A page of the protocol.
    pub fn of(gifts: Vec<v1::Gift>, next_page_token: String) -> GiftPage {
        GiftPage { gifts: gifts.into_iter().map(Gift::from).collect(), next_page_token }
    }
}

/// Proof of what the log decided about a gift.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GiftReceipt {
    /// The partition.
    partition: u32,
    /// The entry that decided.
    log_index: Number,
    /// Its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided: Option<Moment>,
}

impl From<v1::GiftReceipt> for GiftReceipt {
    fn from(receipt: v1::GiftReceipt) -> Self {
        GiftReceipt {
            partition: receipt.partition,
            log_index: Number(receipt.log_index),
            decided: receipt.decided.map(Moment),
        }
    }
}
