//! Payments: confirmed (which captures), asked about while their fate is unknown, and given back.
//!
//! A payment belongs to a gift, is in the gift's partition and has its id. The provider is called by executors; what it
//! said arrives here as a command with the completion of the trigger that made them ask.

mod record;
mod refund;
mod settle;

pub use record::{Ask, PayWork, Payment, PaymentState, RefundState, RefundWork};
pub use refund::{RefundOutcome, SettleRefund};
pub(crate) use refund::{refund, settle_refund};
pub use settle::{Outcome, Settle};
pub(crate) use settle::{fate_unknown, settle};

use prost::Message;
use scheduler::domain::DomainError;
use scheduler::lane::Class;
use scheduler::store::{Read, StoreError};

use crate::context::Context;
use crate::refusal::Refusal;
use crate::triggers::{self, Planned, Purpose};
use crate::{keys, stored};

/// The largest amount of one payment, in won.
pub const WON_MAX: u64 = 100_000_000;

/// Begins to take money for a gift: the provider is asked to confirm, which captures it.
pub(crate) fn begin(cx: &mut Context<'_, '_, '_, '_>, gift: &str, ask: Ask, price_won: u64) -> Result<(), DomainError> {
    let short = |text: &str, max: usize| (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !short(&ask.payment_key, 200) {
        return Err(Refusal::invalid("payment.payment_key", "1..200 printable ASCII characters").into());
    }
    // A provider takes an order once: so one payment cannot pay for two gifts, whichever partitions they are in.
    if ask.order_id != gift {
        return Err(Refusal::invalid("payment.order_id", "the id of the gift").into());
    }
    if !short(&ask.provider, 32) {
        return Err(Refusal::invalid("payment.provider", "1..32 printable ASCII characters").into());
    }
    if ask.amount_won != price_won {
        return Err(Refusal::invalid("payment.amount_won", format!("the price of the product, {price_won}")).into());
    }
    let mut payment = Payment {
        id: gift.to_owned(),
        provider: ask.provider,
        payment_key: ask.payment_key,
        order_id: ask.order_id,
        amount_won: ask.amount_won,
        state: PaymentState::InProgress.into(),
        made: cx.generation().number(),
        ..Payment::default()
    };
    let payload = work(cx.namespace(), &payment).encode_to_vec();
    payment.trigger = triggers::plan(
        cx,
        Planned {
            gift,
            purpose: Purpose::Pay,
            topic: triggers::PAYMENT_CONFIRM,
            due: cx.now(),
            local: None,
            payload,
            class: Class::High,
            // A time-out is an outcome; what is left are executors that died. The provider knows the key again.
            retry: triggers::retry(5, 500, 10_000),
        },
    )?;
    save(cx, &payment)
}

fn work(namespace: &str, payment: &Payment) -> PayWork {
    PayWork {
        payment: payment.id.clone(),
        provider: payment.provider.clone(),
        payment_key: payment.payment_key.clone(),
        order_id: payment.order_id.clone(),
        amount_won: payment.amount_won,
        idempotency_key: format!("{namespace}/{}/{}/confirm", payment.id, payment.made),
    }
}

pub(crate) fn find(cx: &Context<'_, '_, '_, '_>, id: &str) -> Result<Payment, DomainError> {
    let found = cx.get("payment", &keys::payment(cx.namespace(), id))?;
    Ok(found.ok_or_else(|| Refusal::not_found("payment"))?)
}

pub(crate) fn save(cx: &mut Context<'_, '_, '_, '_>, payment: &Payment) -> Result<(), DomainError> {
    let key = keys::payment(cx.namespace(), &payment.id);
    cx.put(&key, payment)
}

/// The payment of a gift.
///
/// # Errors
///
/// The rows cannot be read.
pub fn get(rows: &dyn Read, namespace: &str, id: &str) -> Result<Option<Payment>, StoreError> {
    stored::read(rows, "payment", &keys::payment(namespace, id))
}
