//! The executors of the gift business: what the triggers of the domains ask the outside for, and what is reported of it.
//!
//! | topic | payload | handler | reported |
//! |---|---|---|---|
//! | `payment.confirm` | `PayWork` | [`ConfirmPayment`] | `PaymentOutcome` |
//! | `payment.query` | `PayWork` | [`QueryPayment`] | `PaymentOutcome` |
//! | `payment.refund` | `RefundWork` | [`RefundPayment`] | `RefundOutcome` |
//! | `gift.send` | `SendWork` | [`SendGift`] | `Sent`, `SendLater`, `SendUnknown` |
//! | `gift.find` | `SendWork` | [`FindGift`] | `SendFound` |
//! | `notify.kakao`, `.sms`, `.email`, `.push`, `.operator` | `Notice` | [`Notify`] | `Told` |
//!
//! A report goes with the completion of its trigger and is applied in the same step, or both are refused and the trigger is delivered
//! again. Handlers keep nothing between deliveries: whatever one of them knows, the next one on another machine can find out.
//!
//! Set up by hand with [`Services`], or from a file with [`config::Config`] (`bosingak-executor --gift FILE`).

pub mod config;
mod confirm;
mod find;
mod messengers;
mod notify;
mod pace;
mod payments;
mod person;
mod query;
mod refund;
mod result;
mod send;
mod texts;

use std::time::Duration;

use client::Client;

pub use confirm::ConfirmPayment;
pub use find::FindGift;
pub use messengers::Messengers;
pub use notify::Notify;
pub use payments::Payments;
pub use query::QueryPayment;
pub use refund::RefundPayment;
pub use send::SendGift;
pub use texts::{Subject, TEMPLATE_FIELDS, TemplateConfig, Templates};

use crate::builder::Builder;
use crate::providers::message::Language;

/// Topics about money.
pub const PAYMENT_TOPICS: [&str; 3] = ["payment.confirm", "payment.query", "payment.refund"];
/// Topics about messages.
pub const MESSAGE_TOPICS: [&str; 7] =
    ["gift.send", "gift.find", "notify.kakao", "notify.sms", "notify.email", "notify.push", "notify.operator"];

/// A handler may call a provider four times, each with a time-out of its own, and wait for it in between.
const LONGEST: Duration = Duration::from_secs(180);

/// What the handlers work with.
#[derive(Clone)]
pub struct Services {
    /// Asked by `gift.send`, `gift.find` and news with a link.
    pub client: Client,
    /// By name.
    pub payments: Payments,
    /// By channel.
    pub messengers: Messengers,
    /// For Kakao.
    pub templates: Templates,
    /// What operators read. Default: Korean.
    pub operators: Language,
    /// How long a provider that lists what it took may take to list it. Default 10 s.
    pub settle: Duration,
}

impl Services {
    /// No providers, and the defaults.
    pub fn new(client: Client) -> Self {
        Services {
            client,
            payments: Payments::new(),
            messengers: Messengers::new(),
            templates: Templates::new(),
            operators: Language::default(),
            settle: Duration::from_secs(10),
        }
    }

    /// Puts the handler of each of these topics on an executor, and has leases extended up to three minutes while one runs. Topics that
    /// are not of the gift business are left out.
    pub fn register<T: AsRef<str>>(&self, builder: Builder, topics: impl IntoIterator<Item = T>) -> Builder {
        topics.into_iter().fold(builder.extend_leases(LONGEST), |builder, topic| self.handler(builder, topic.as_ref()))
    }

    fn handler(&self, builder: Builder, topic: &str) -> Builder {
        let Services { client, payments, messengers, templates, operators, settle } = self.clone();
        match topic {
            "payment.confirm" => builder.handler(topic, ConfirmPayment::new(payments)),
            "payment.query" => builder.handler(topic, QueryPayment::new(payments)),
            "payment.refund" => builder.handler(topic, RefundPayment::new(payments)),
            "gift.send" => builder.handler(topic, SendGift::new(client, messengers, templates, settle)),
            "gift.find" => builder.handler(topic, FindGift::new(client, messengers, settle)),
            topic if MESSAGE_TOPICS.contains(&topic) => {
                builder.handler(topic, Notify::new(client, messengers, templates, operators, settle))
            }
            _ => builder,
        }
    }
}
