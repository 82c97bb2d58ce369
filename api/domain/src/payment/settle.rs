//! What a provider said about a payment, whether it was asked to confirm it or only what became of it.

use prost::Message;
use scheduler::domain::DomainError;
use scheduler::lane::Class;
use scheduler::time::Delay;

use super::{Payment, PaymentState, find, refund, save, work};
use crate::command::Reply;
use crate::context::Context;
use crate::gift;
use crate::ledger::{self, Account};
use crate::refusal::Refusal;
use crate::triggers::{self, Planned, Purpose};

/// How often a provider is asked about one payment before a human is: with pauses that grow to an hour, for about a day.
const QUERIES_MAX: u32 = 32;

/// What the provider said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Outcome {
    /// Never sent.
    Unspecified = 0,
    /// Captured; `captured_won` says how much.
    Captured = 1,
    /// Not captured, and it never will be.
    Declined = 2,
    /// The provider was not reached: nothing was asked, by nobody. An executor that cannot exclude that the trigger was delivered
    /// before says `Unknown`.
    NotReached = 3,
    /// Nothing is known.
    Unknown = 4,
}

/// Says what the provider said.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Settle {
    /// Which payment.
    #[prost(string, tag = "1")]
    pub payment: String,
    /// What.
    #[prost(enumeration = "Outcome", tag = "2")]
    pub outcome: i32,
    /// With `Captured`.
    #[prost(uint64, tag = "3")]
    pub captured_won: u64,
    /// How it was paid.
    #[prost(string, tag = "4")]
    pub method: String,
    /// The provider's code and words, at most 256 characters.
    #[prost(string, tag = "5")]
    pub error: String,
}

pub(crate) fn settle(cx: &mut Context<'_, '_, '_, '_>, command: Settle) -> Result<Reply, DomainError> {
    let mut payment = match find(cx, &command.payment) {
        // It was withdrawn: a report that was repeated. Money that was taken is not passed over in silence, though.
        Err(DomainError::Refused(_)) if command.outcome() != Outcome::Captured => {
            return Ok(Reply { replayed: true, ..Reply::default() });
        }
        found => found?,
    };
    let outcome = command.outcome();
    let open = payment.is_open();
    if outcome == Outcome::Captured && !(1..=super::WON_MAX).contains(&command.captured_won) {
        return Err(Refusal::invalid("captured_won", "1..100,000,000").into());
    }
    if open {
        payment.error = gift::cut(command.error, 256);
    }
    if open && matches!(outcome, Outcome::Captured | Outcome::Declined) {
        // Nothing is left to be asked.
        let trigger = std::mem::take(&mut payment.trigger);
        triggers::drop_quietly(cx, &trigger)?;
    }
    let reply = match (open, outcome) {
        (true, Outcome::Captured) if command.captured_won == payment.amount_won => {
            capture(cx, &mut payment, command.captured_won, command.method, Account::Held)?;
            payment.state = PaymentState::Done.into();
            save(cx, &payment)?;
            gift::paid(cx, &mut payment)?
        }
        // More or less than was asked for, or after it was given up: back it goes.
        (true, Outcome::Captured) => {
            capture(cx, &mut payment, command.captured_won, command.method, Account::InTransit)?;
            let (captured, asked) = (payment.captured_won, payment.amount_won);
            payment.error = format!("{captured} won were captured, {asked} were asked for");
            payment.state = PaymentState::Fail.into();
            refund(cx, &mut payment, "the amount was not the price")?;
            gift::unpaid(cx, &payment, true)?
        }
        (false, Outcome::Captured) if payment.state() == PaymentState::Fail && payment.captured_won == 0 => {
            capture(cx, &mut payment, command.captured_won, command.method, Account::InTransit)?;
            refund(cx, &mut payment, "captured after it had failed")?;
            gift::unpaid(cx, &payment, true)?
        }
        (true, Outcome::Declined) => {
            payment.state = PaymentState::Fail.into();
            save(cx, &payment)?;
            gift::unpaid(cx, &payment, false)?
        }
        // Nothing was asked of the provider before: as if the gift had never been reserved.
        (true, Outcome::NotReached) if payment.state() == PaymentState::InProgress => {
            let reply = gift::withdraw(cx, &payment.id)?;
            return Ok(Reply { payment: Some(payment), ..reply });
        }
        (true, Outcome::NotReached | Outcome::Unknown) => {
            let gift = ask_again(cx, &mut payment)?;
            Reply { gift, ..Reply::default() }
        }
        (_, Outcome::Unspecified) => return Err(Refusal::invalid("outcome", "one of the outcomes").into()),
        (false, _) => Reply { replayed: true, ..Reply::default() },
    };
    Ok(Reply { payment: Some(payment), ..reply })
}

/// An executor that was to ask the provider, or did, is not heard of again.
pub(crate) fn fate_unknown(
    cx: &mut Context<'_, '_, '_, '_>,
    mut payment: Payment,
    error: &str,
) -> Result<(), DomainError> {
    payment.error = error.to_owned();
    ask_again(cx, &mut payment).map(drop)
}

fn capture(
    cx: &mut Context<'_, '_, '_, '_>,
    payment: &mut Payment,
    won: u64,
    method: String,
    to: Account,
) -> Result<(), DomainError> {
    payment.captured_won = won;
    payment.captured_at = cx.now().as_millis();
    payment.method = gift::cut(method, 64);
    ledger::post(cx, &payment.id, Account::Payer, to, won)
}

/// Asks what became of it, later; when that was done often enough, a human.
fn ask_again(cx: &mut Context<'_, '_, '_, '_>, payment: &mut Payment) -> Result<Option<gift::Gift>, DomainError> {
    payment.state = PaymentState::Unknown.into();
    let pause = Delay::from_secs(5_u64.saturating_mul(1 << payment.queries.min(10)).min(3_600));
    payment.queries = payment.queries.saturating_add(1);
    // Reports that were repeated make no second chain of questions.
    let before = std::mem::take(&mut payment.trigger);
    triggers::drop_quietly(cx, &before)?;
    save(cx, payment)?;
    if payment.queries > QUERIES_MAX {
        return gift::needs_attention(cx, &payment.id, "the payment's fate is unknown").map(Some);
    }
    let payload = work(cx.namespace(), payment).encode_to_vec();
    let due = cx.now().after(pause);
    payment.trigger = triggers::plan(
        cx,
        Planned {
            gift: &payment.id,
            purpose: Purpose::Query,
            topic: triggers::PAYMENT_QUERY,
            due,
            local: None,
            payload,
            class: Class::Normal,
            retry: triggers::retry(20, 1_000, 600_000),
        },
    )?;
    save(cx, payment)?;
    Ok(None)
}
