//! What moves money: the words every payment provider is spoken to in.
//!
//! # Trying again
//!
//! | said | money | what to do |
//! |---|---|---|
//! | `Done`, `Declined`, `Refused`, `AlreadyDone` | known | nothing more |
//! | `Mismatch` | taken, and not what was asked | [`Mismatch::is_ours`]: refund; tell a human |
//! | `NotReached`, `Later` | nothing was moved | again, with a **new** idempotency key, not before `after` |
//! | `Unknown` | nobody knows | [`PaymentProvider::query`], until it says something else |
//!
//! A provider answers an idempotency key with its first answer again, errors included, for days. So a key belongs to one attempt: the
//! same key when an attempt is repeated because its outcome was lost, a new one when it is a new attempt.
//!
//! After `Unknown` and a query that shows nothing moved, the first request may still be on its way. A **confirm** may be tried anew
//! with a new key all the same: a payment is captured once, whatever the key. A **cancel** may not, unless it says which balance it
//! is about ([`Cancel::balance_won`]): two partial refunds of the same amount look alike.

use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;

/// Moves money. One call each, which is not tried again; a future that is dropped has done what `Unknown` says.
pub trait PaymentProvider: Send + Sync + 'static {
    /// What it is called in metrics and logs, lower case.
    fn name(&self) -> &'static str;

    /// Captures what a customer has agreed to pay.
    fn confirm(&self, request: Confirm) -> BoxFuture<'static, ConfirmOutcome>;

    /// What became of a payment. Moves nothing.
    fn query(&self, payment: PaymentRef) -> BoxFuture<'static, QueryOutcome>;

    /// Gives money back, all of it or a part.
    fn cancel(&self, request: Cancel) -> BoxFuture<'static, CancelOutcome>;
}

/// What is to be captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The provider's name of the payment, which the customer's browser brought.
    pub payment_key: String,
    /// Our name of it.
    pub order_id: String,
    /// Won, at least 1. From our own books, never from the browser.
    pub amount_won: u64,
    /// Of this attempt: see the [module](self).
    pub idempotency_key: String,
}

/// Which payment is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentRef {
    /// The provider's name of it.
    Key(String),
    /// Our name of it.
    Order(String),
}

/// What is to be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The provider's name of the payment.
    pub payment_key: String,
    /// For the customer's statement and the provider's staff, 1..=200 characters.
    pub reason: String,
    /// Won, at least 1. The rest stays captured.
    pub amount_won: u64,
    /// Won that are captured and not given back as far as we know. When the provider has another balance it gives nothing back
    /// and the outcome is `Unknown`: so the same refund is never made twice, whatever the key. `None`: whatever the balance is.
    pub balance_won: Option<u64>,
    /// Of this attempt: see the [module](self).
    pub idempotency_key: String,
}

/// Money that was taken from a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The provider's name of the payment.
    pub payment_key: String,
    /// Our name of it.
    pub order_id: String,
    /// Won, as the provider has it.
    pub amount_won: u64,
    /// Means of payment in the provider's words, such as 카드. Empty when it does not say.
    pub method: String,
    /// When.
    pub approved_at: SystemTime,
}

/// Money that was taken, and is not what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What the provider says.
    pub captured: Captured,
    /// What was asked.
    pub asked_order_id: String,
    /// What was asked, won.
    pub asked_amount_won: u64,
}

impl Mismatch {
    /// Whether it was taken for the order that was asked, so that it may be refunded. Otherwise it belongs to somebody else's.
    pub fn is_ours(&self) -> bool {
        self.captured.order_id == self.asked_order_id
    }
}

/// What became of a [`Confirm`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfirmOutcome {
    /// Captured: this payment, for this order, this amount.
    Done(Captured),
    /// Captured, and wrong.
    Mismatch(Mismatch),
    /// Not captured, and it never will be: a customer has to pay anew. Also what could not be sent for what is in the request
    /// ([`INVALID_ARGUMENT`]).
    Declined {
        /// The provider's code.
        code: String,
        /// The provider's words.
        message: String,
    },
    /// Certainly not captured: nobody was there to ask.
    NotReached {
        /// For a human.
        error: String,
    },
    /// Certainly not captured: too many ask, or not at this hour.
    Later {
        /// No earlier than this from now, where the provider says so.
        after: Option<Duration>,
        /// For a human.
        error: String,
    },
    /// Captured or not: ask with a query.
    Unknown {
        /// For a human.
        error: String,
    },
}

/// What became of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryOutcome {
    /// Captured, and nothing given back. [`Captured::judge`] compares it with what was asked.
    Done(Captured),
    /// Captured, and given back in part or in whole.
    Cancelled {
        /// What was taken.
        captured: Captured,
        /// Won that were given back, in all.
        refunded_won: u64,
        /// Won that are still taken; 0 when all was given back.
        remaining_won: u64,
    },
    /// Not captured, and it may still be.
    Open {
        /// In the provider's words.
        status: String,
    },
    /// Not captured, and it never will be.
    Ended {
        /// In the provider's words.
        status: String,
    },
    /// The provider knows no such payment. Within minutes of a confirm whose outcome is unknown, that may mean: not yet.
    NotFound,
    /// It could not be found out.
    Unknown {
        /// For a human.
        error: String,
    },
}

/// What became of a [`Cancel`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Given back.
    Done {
        /// Won, what was asked.
        refunded_won: u64,
        /// When.
        at: SystemTime,
    },
    /// Nothing is left to be given back: by an earlier call, or by hand. A query says how much was.
    AlreadyDone,
    /// Not given back, and it never will be this way: for a human.
    Refused {
        /// The provider's code.
        code: String,
        /// The provider's words.
        message: String,
    },
    /// Certainly not given back: nobody was there to ask, too many ask, not at this hour, or a setting of ours is wrong.
    Later {
        /// No earlier than this from now, where the provider says so.
        after: Option<Duration>,
        /// For a human.
        error: String,
    },
    /// Given back or not: ask with a query.
    Unknown {
        /// For a human.
        error: String,
    },
}

/// The code of what was never sent, because a field of the request is none the provider takes. The message names it.
pub const INVALID_ARGUMENT: &str = "INVALID_ARGUMENT";

impl Captured {
    /// Compares what was captured with what was asked. Never [`ConfirmOutcome::Done`] unless payment, order and amount are the same.
    ///
    /// A capture of another payment says nothing about the one that was asked: that is [`ConfirmOutcome::Unknown`].
    pub fn judge(self, asked: &Confirm) -> ConfirmOutcome {
        if self.payment_key != asked.payment_key {
            return ConfirmOutcome::Unknown { error: "the answer is about another payment".to_owned() };
        }
        if self.order_id == asked.order_id && self.amount_won == asked.amount_won {
            return ConfirmOutcome::Done(self);
        }
        ConfirmOutcome::Mismatch(Mismatch {
            captured: self,
            asked_order_id: asked.order_id.clone(),
            asked_amount_won: asked.amount_won,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_payment_order_and_amount_is_done() {
        let asked = Confirm {
            payment_key: "key".into(),
            order_id: "order-1".into(),
            amount_won: 10_000,
            idempotency_key: "1".into(),
        };
        let captured = |key: &str, order: &str, amount_won| Captured {
            payment_key: key.into(),
            order_id: order.into(),
            amount_won,
            method: "카드".into(),
            approved_at: SystemTime::UNIX_EPOCH,
        };
        let same = captured("key", "order-1", 10_000);
        assert_eq!(same.clone().judge(&asked), ConfirmOutcome::Done(same));
        let ConfirmOutcome::Mismatch(less) = captured("key", "order-1", 9_999).judge(&asked) else { panic!("less") };
        assert!(less.is_ours());
        let ConfirmOutcome::Mismatch(other) = captured("key", "order-2", 10_000).judge(&asked) else { panic!("other") };
        assert!(!other.is_ours());
        assert!(matches!(captured("yek", "order-1", 10_000).judge(&asked), ConfirmOutcome::Unknown { .. }));
    }
}
