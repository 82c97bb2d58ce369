//! Giving a payment back.

use prost::Message;
use scheduler::domain::DomainError;
use scheduler::lane::Class;

use super::{Payment, RefundState, RefundWork, find, save};
use crate::command::Reply;
use crate::context::Context;
use crate::gift;
use crate::ledger::{self, Account};
use crate::refusal::Refusal;
use crate::triggers::{self, Planned, Purpose};

/// What the provider said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum RefundOutcome {
    /// Never sent.
    Unspecified = 0,
    /// It is back, all of it.
    Done = 1,
    /// It will not go back.
    Refused = 2,
}

/// Says what the provider said.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettleRefund {
    /// Which payment.
    #[prost(string, tag = "1")]
    pub payment: String,
    /// What.
    #[prost(enumeration = "RefundOutcome", tag = "2")]
    pub outcome: i32,
    /// The provider's code and words, at most 256 characters.
    #[prost(string, tag = "3")]
    pub error: String,
}

/// Asks for everything that was captured back. The money has to be in transit already.
pub(crate) fn refund(cx: &mut Context<'_, '_, '_, '_>, payment: &mut Payment, reason: &str) -> Result<(), DomainError> {
    payment.refund = RefundState::Requested.into();
    let work = RefundWork {
        payment: payment.id.clone(),
        provider: payment.provider.clone(),
        payment_key: payment.payment_key.clone(),
        amount_won: payment.captured_won,
        reason: reason.to_owned(),
        idempotency_key: format!("{}/{}/{}/refund", cx.namespace(), payment.id, payment.made),
    };
    save(cx, payment)?;
    triggers::plan(
        cx,
        Planned {
            gift: &payment.id,
            purpose: Purpose::Refund,
            topic: triggers::PAYMENT_REFUND,
            due: cx.now(),
            local: None,
            payload: work.encode_to_vec(),
            class: Class::Normal,
            // With pauses that grow to an hour: three days of a provider that is down.
            retry: triggers::retry(80, 1_000, 3_600_000),
        },
    )?;
    Ok(())
}

pub(crate) fn settle_refund(cx: &mut Context<'_, '_, '_, '_>, command: SettleRefund) -> Result<Reply, DomainError> {
    let mut payment = find(cx, &command.payment)?;
    let waits = matches!(payment.refund(), RefundState::Requested | RefundState::Failed);
    let reply = match (waits, command.outcome()) {
        (_, RefundOutcome::Unspecified) => return Err(Refusal::invalid("outcome", "one of the outcomes").into()),
        (false, _) => Reply { replayed: true, ..Reply::default() },
        (true, RefundOutcome::Done) => {
            payment.refund = RefundState::Done.into();
            payment.refunded_at = cx.now().as_millis();
            ledger::post(cx, &payment.id, Account::InTransit, Account::Refunded, payment.captured_won)?;
            save(cx, &payment)?;
            gift::refunded(cx, &payment)?
        }
        (true, RefundOutcome::Refused) => {
            payment.refund = RefundState::Failed.into();
            payment.error = gift::cut(command.error, 256);
            save(cx, &payment)?;
            Reply::gift(gift::needs_attention(cx, &payment.id, "the provider refuses the refund")?)
        }
    };
    Ok(Reply { payment: Some(payment), ..reply })
}
