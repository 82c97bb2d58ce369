//! News: what senders, recipients and operators are told. Each is a trigger of its own, which is retried and dead-lettered on
//! its own and never changes a gift. What was told and what became of it is kept beside the gift ([`list`]).

mod mask;
mod record;

pub use record::{Fate, KEPT_MAX, Notification, Told, Way, list};
pub(crate) use record::{given_up, told};

use prost::Message;
use scheduler::domain::DomainError;
use scheduler::lane::Class;
use scheduler::time::Timestamp;

use crate::context::Context;
use crate::gift::{Gift, Party};
use crate::triggers::{self, Planned, Purpose};

/// A way to reach somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Channel {
    /// None: whoever reserved it passes the link on.
    Unspecified = 0,
    /// KakaoTalk.
    Kakao = 1,
    /// A text message to a phone.
    Sms = 2,
    /// E-mail.
    Email = 3,
    /// Push to the app.
    Push = 4,
    /// The operators' room.
    Operator = 5,
}

impl Channel {
    /// Topic of news whose first channel this is: what limits the provider of a channel limits its topic.
    pub fn topic(self) -> &'static str {
        match self {
            Channel::Kakao => "notify.kakao",
            Channel::Sms => "notify.sms",
            Channel::Email => "notify.email",
            Channel::Push => "notify.push",
            Channel::Operator | Channel::Unspecified => "notify.operator",
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Unspecified => "SENDER",
            Channel::Kakao => "KAKAO",
            Channel::Sms => "SMS",
            Channel::Email => "EMAIL",
            Channel::Push => "PUSH",
            Channel::Operator => "OPERATOR",
        }
    }
}

/// What somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum News {
    /// Never sent.
    Unspecified = 0,
    /// To the sender: it is reserved.
    Reserved = 1,
    /// To the sender: it was sent.
    Sent = 2,
    /// To the sender: the recipient took it.
    Received = 3,
    /// To the sender: it could not be sent, the money comes back.
    Failed = 4,
    /// To the sender: nobody can be reached, here is the link to pass on.
    PassOn = 5,
    /// To the sender: the money is back.
    Refunded = 6,
    /// To a recipient: somebody passed a gift on to you.
    Arrived = 7,
    /// To the recipient: it expires soon.
    ExpiresSoon = 8,
    /// To the operators: a gift waits for you.
    Attention = 9,
    /// To the sender, who was answered that the payment was not decided: it is declined.
    Declined = 10,
    /// To the operators: a terminal of a shop is locked, somebody may be guessing codes.
    TerminalLocked = 11,
}

impl News {
    /// Whether it contains the link to the gift, which executors ask for when they send it.
    pub fn has_link(self) -> bool {
        matches!(self, News::PassOn | News::Arrived | News::ExpiresSoon)
    }
}

/// Payload of the triggers. The same bytes as `bosingak.notification.v1.Notice`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Notice {
    /// What about.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// What.
    #[prost(enumeration = "News", tag = "2")]
    pub news: i32,
    /// To whom; absent for operators.
    #[prost(message, optional, tag = "3")]
    pub to: Option<Party>,
    /// The channels in the order in which they are tried.
    #[prost(enumeration = "Channel", repeated, tag = "4")]
    pub channels: Vec<i32>,
    /// Name of the product.
    #[prost(string, tag = "5")]
    pub product: String,
    /// Its brand.
    #[prost(string, tag = "6")]
    pub brand: String,
    /// Its price.
    #[prost(uint64, tag = "7")]
    pub price_won: u64,
    /// Who gives.
    #[prost(string, tag = "8")]
    pub sender_name: String,
    /// Who gets it.
    #[prost(string, tag = "9")]
    pub recipient_name: String,
    /// When it is sent.
    #[prost(uint64, tag = "10")]
    pub send_at: u64,
    /// When it expires; 0: not known yet.
    #[prost(uint64, tag = "11")]
    pub expires_at: u64,
    /// Why, of what went wrong.
    #[prost(string, tag = "12")]
    pub reason: String,
    /// Of a terminal that is locked: its shop.
    #[prost(string, tag = "13")]
    pub shop: String,
    /// Which terminal of the shop.
    #[prost(string, tag = "14")]
    pub terminal: String,
    /// Until when.
    #[prost(uint64, tag = "15")]
    pub until: u64,
}

/// Tells somebody something about a gift, at once. Nothing when nobody can be reached.
pub(crate) fn tell(cx: &mut Context<'_, '_, '_, '_>, gift: &Gift, news: News) -> Result<(), DomainError> {
    let to = match news {
        News::Arrived | News::ExpiresSoon => Some(gift.recipient()),
        News::Attention | News::TerminalLocked | News::Unspecified => None,
        _ => Some(gift.sender()),
    };
    let channels = to.as_ref().map_or(vec![Channel::Operator], Party::news_channels);
    let Some(first) = channels.first().copied() else { return Ok(()) };
    let reader = to.clone().unwrap_or_default();
    let way = |channel: &Channel| Way { channel: (*channel).into(), address: mask::address(&reader, *channel) };
    let ways = channels.iter().map(way).collect();
    let product = gift.product();
    let notice = Notice {
        gift: gift.id.clone(),
        news: news.into(),
        to,
        channels: channels.into_iter().map(i32::from).collect(),
        product: product.name,
        brand: product.brand,
        price_won: product.price_won,
        sender_name: gift.sender().name,
        recipient_name: gift.recipient().name,
        send_at: gift.send_at,
        expires_at: gift.expires_at,
        reason: gift.trouble.clone(),
        ..Notice::default()
    };
    let now: Timestamp = cx.now();
    let (number, left_out) = (cx.generation().number(), cx.left_out());
    triggers::plan(
        cx,
        Planned {
            gift: &gift.id,
            purpose: Purpose::Notify,
            topic: first.topic(),
            due: now,
            local: None,
            payload: notice.encode_to_vec(),
            class: Class::Low,
            retry: triggers::retry(8, 1_000, 600_000),
        },
    )?;
    if cx.left_out() > left_out {
        // There was no room for its trigger: nobody will be told.
        return Ok(());
    }
    let to = mask::name(&reader.name);
    let (news, at) = (news.into(), now.as_millis());
    record::keep(cx, &gift.id, Notification { number, news, at, to, ways, ..Notification::default() })
}
