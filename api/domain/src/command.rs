//! The commands of all domains and their answers: the stored form, apart from the public protocol. A field, once in a log,
//! keeps its number and meaning.

use scheduler::domain::DomainError;

use crate::context::Context;
use crate::gift::{self, Gift};
use crate::notification;
use crate::payment::{self, Payment};
use crate::product::{self, Product, PutProduct};
use crate::shop::{self, Shop, Terminal};

/// One command. `None` after decoding means a kind this build does not know.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    /// Which.
    #[prost(
        oneof = "Kind",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24"
    )]
    pub kind: Option<Kind>,
}

/// The kinds of command.
#[expect(clippy::large_enum_variant, reason = "one at a time, decoded from an entry and consumed")]
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    /// Creates or replaces a product.
    #[prost(message, tag = "1")]
    PutProduct(PutProduct),
    /// Reserves a gift.
    #[prost(message, tag = "2")]
    Reserve(gift::Reserve),
    /// What a provider said about a payment.
    #[prost(message, tag = "3")]
    SettlePayment(payment::Settle),
    /// What a provider said about a refund.
    #[prost(message, tag = "4")]
    SettleRefund(payment::SettleRefund),
    /// Changes a gift that is not sent yet.
    #[prost(message, tag = "5")]
    Edit(gift::Edit),
    /// Cancels a gift that is not sent yet.
    #[prost(message, tag = "6")]
    Cancel(gift::Cancel),
    /// An executor is about to send.
    #[prost(message, tag = "7")]
    BeginSend(gift::BeginSend),
    /// It was sent.
    #[prost(message, tag = "8")]
    Sent(gift::Sent),
    /// It was not sent this time.
    #[prost(message, tag = "9")]
    SendLater(gift::SendLater),
    /// It is not known whether it was sent.
    #[prost(message, tag = "11")]
    SendUnknown(gift::SendUnknown),
    /// Now it is.
    #[prost(message, tag = "12")]
    ResolveSend(gift::ResolveSend),
    /// The recipient takes it.
    #[prost(message, tag = "13")]
    Accept(gift::Accept),
    /// The recipient passes it on.
    #[prost(message, tag = "14")]
    Transfer(gift::Transfer),
    /// A shop takes the code.
    #[prost(message, tag = "15")]
    Redeem(gift::Redeem),
    /// Time to remind the recipient.
    #[prost(message, tag = "16")]
    Remind(gift::Remind),
    /// Time is up.
    #[prost(message, tag = "17")]
    Expire(gift::Expire),
    /// What came of telling news.
    #[prost(message, tag = "18")]
    Told(notification::Told),
    /// Creates a shop or changes its name.
    #[prost(message, tag = "19")]
    PutShop(shop::PutShop),
    /// Registers a terminal.
    #[prost(message, tag = "20")]
    AddTerminal(shop::AddTerminal),
    /// Revokes one.
    #[prost(message, tag = "21")]
    RevokeTerminal(shop::RevokeTerminal),
    /// Counts an attempt against one.
    #[prost(message, tag = "22")]
    Count(shop::Count),
    /// It was no failure.
    #[prost(message, tag = "23")]
    Forget(shop::Forget),
    /// Forgets all of them.
    #[prost(message, tag = "24")]
    Unlock(shop::Unlock),
}

/// The answer to a command.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// The product as it is now.
    #[prost(message, optional, tag = "1")]
    pub product: Option<Product>,
    /// The gift as it is now; absent when it was withdrawn. Without `draw` and `requests`, but for `BeginSend`, `Accept` and
    /// `Transfer`, whose callers hold or send the link.
    #[prost(message, optional, tag = "2")]
    pub gift: Option<Gift>,
    /// The payment as it is now.
    #[prost(message, optional, tag = "3")]
    pub payment: Option<Payment>,
    /// It answers a repeated request, or one that had nothing left to do.
    #[prost(bool, tag = "4")]
    pub replayed: bool,
    /// What an executor that begins to send needs to know.
    #[prost(message, optional, tag = "5")]
    pub turn: Option<gift::Turn>,
    /// The entry that decided, for receipts.
    #[prost(uint64, tag = "6")]
    pub log_index: u64,
    /// Its time.
    #[prost(uint64, tag = "7")]
    pub time: u64,
    /// The shop as it is now.
    #[prost(message, optional, tag = "8")]
    pub shop: Option<Shop>,
    /// The terminal as it is now, without secrets.
    #[prost(message, optional, tag = "9")]
    pub terminal: Option<Terminal>,
    /// What becomes of an attempt.
    #[prost(message, optional, tag = "10")]
    pub verdict: Option<shop::Verdict>,
}

impl Reply {
    pub(crate) fn gift(gift: Gift) -> Reply {
        Reply { gift: Some(gift), ..Reply::default() }
    }

    pub(crate) fn replay(gift: Gift) -> Reply {
        Reply { replayed: true, ..Reply::gift(gift) }
    }
}

pub(crate) fn apply(cx: &mut Context<'_, '_, '_, '_>, kind: Kind) -> Result<Reply, DomainError> {
    // Who sends the link, and who holds the gift.
    let shows_secrets = matches!(kind, Kind::BeginSend(_) | Kind::Accept(_) | Kind::Transfer(_));
    let (log_index, time) = (cx.index(), cx.now().as_millis());
    let mut reply = match kind {
        Kind::PutProduct(command) => Reply { product: Some(product::put(cx, command)?), ..Reply::default() },
        Kind::Reserve(command) => gift::reserve(cx, command)?,
        Kind::SettlePayment(command) => payment::settle(cx, command)?,
        Kind::SettleRefund(command) => payment::settle_refund(cx, command)?,
        Kind::Edit(command) => gift::edit(cx, command)?,
        Kind::Cancel(command) => gift::cancel(cx, command)?,
        Kind::BeginSend(command) => gift::begin_send(cx, command)?,
        Kind::Sent(command) => gift::sent(cx, command)?,
        Kind::SendLater(command) => gift::send_later(cx, command)?,
        Kind::SendUnknown(command) => gift::send_unknown(cx, command)?,
        Kind::ResolveSend(command) => gift::resolve_send(cx, command)?,
        Kind::Accept(command) => gift::accept(cx, command)?,
        Kind::Transfer(command) => gift::transfer(cx, command)?,
        Kind::Redeem(command) => gift::redeem(cx, command)?,
        Kind::Remind(command) => gift::remind(cx, &command)?,
        Kind::Expire(command) => gift::expire(cx, &command)?,
        Kind::Told(command) => notification::told(cx, command)?,
        Kind::PutShop(command) => Reply { shop: Some(shop::put(cx, command)?), ..Reply::default() },
        Kind::AddTerminal(command) => shop::add(cx, command)?,
        Kind::RevokeTerminal(command) => shop::revoke(cx, command)?,
        Kind::Count(command) => shop::count(cx, command)?,
        Kind::Forget(command) => shop::forget(cx, command)?,
        Kind::Unlock(command) => shop::unlock(cx, command)?,
    };
    if reply.log_index == 0 {
        (reply.log_index, reply.time) = (log_index, time);
    }
    if let Some(gift) = reply.gift.as_mut().filter(|_| !shows_secrets) {
        gift.draw = None;
        gift.requests.clear();
    }
    Ok(reply)
}
