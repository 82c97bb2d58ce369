//! `payment.refund`: gives the money back.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use proto::payment::v1::{RefundOutcome, RefundWork, refund_outcome::Kind};

use crate::delivery::Delivery;
use crate::handler::Handler;
use crate::outcome::Outcome;
use crate::providers::payment::{Cancel, CancelOutcome, PaymentProvider, PaymentRef, QueryOutcome};

use super::payments::{self, Payments};
use super::result::{self, Report};

/// Characters of a reason that providers take.
const REASON_CHARS_MAX: usize = 200;
/// Before a refund of which nobody knows whether it was made is looked at again.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(2);

/// Gives back all that is left of a payment, and reports it as a [`RefundOutcome`].
///
/// Nothing is given back twice: each request names the balance it is about, and a provider with another one gives nothing. So a
/// request that is still under way from an attempt whose answer was lost, and the one made now, cannot both take effect. Every
/// attempt but the first begins with a look at the balance.
///
/// What somebody gave back by hand counts. Nothing left is `DONE`; more than the books say is `REFUSED`, as is what the provider will
/// not give back: both are for a human. Everything else is retried, for the money is owed.
#[derive(Clone)]
pub struct RefundPayment {
    payments: Payments,
}

impl RefundPayment {
    /// Of these providers.
    pub fn new(payments: Payments) -> Self {
        RefundPayment { payments }
    }

    async fn refund(self, delivery: Delivery) -> Result<Outcome, Outcome> {
        let work: RefundWork = result::work(&delivery)?;
        let provider = self.payments.named(&work.provider).await?;
        let balance_won = match delivery.attempt() {
            0 | 1 => work.amount_won,
            _ => balance(&work, provider.query(PaymentRef::Key(work.payment_key.clone())).await)?,
        };
        let request = Cancel {
            payment_key: work.payment_key.clone(),
            reason: reason(&work.reason),
            amount_won: balance_won,
            balance_won: Some(balance_won),
            // Of this attempt alone: the answer to another one, "too busy" included, is not this one's.
            idempotency_key: format!("{}/{}", work.idempotency_key, delivery.attempt()),
        };
        match provider.cancel(request).await {
            CancelOutcome::Done { .. } | CancelOutcome::AlreadyDone => Err(done(&work)),
            CancelOutcome::Refused { code, message } => Err(refuse(&work, payments::words(&code, &message))),
            CancelOutcome::Later { after, error } => Err(payments::later(after, error)),
            CancelOutcome::Unknown { error } => Ok(look(&work, provider, error).await),
        }
    }
}

impl Handler for RefundPayment {
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, Outcome> {
        let work = self.clone().refund(delivery);
        Box::pin(async move { work.await.unwrap_or_else(|outcome| outcome) })
    }
}

/// After an answer that was lost: it may be there already.
async fn look(work: &RefundWork, provider: Arc<dyn PaymentProvider>, error: String) -> Outcome {
    match balance(work, provider.query(PaymentRef::Key(work.payment_key.clone())).await) {
        Ok(_) => payments::later(Some(UNKNOWN_PAUSE), error),
        Err(outcome) => outcome,
    }
}

/// Won that are still to be given back, or why nothing is to be done now.
fn balance(work: &RefundWork, said: QueryOutcome) -> Result<u64, Outcome> {
    let (captured, left) = match said {
        QueryOutcome::Done(captured) => (captured.amount_won, captured.amount_won),
        QueryOutcome::Cancelled { captured, remaining_won, .. } => (captured.amount_won, remaining_won),
        // The books say that it was captured, and the provider that it was not.
        QueryOutcome::Open { status } | QueryOutcome::Ended { status } => {
            return Err(refuse(work, format!("the provider says {status}: nothing was captured")));
        }
        QueryOutcome::NotFound => {
            return Err(payments::later(None, "the provider does not find the payment".to_owned()));
        }
        QueryOutcome::Unknown { error } => return Err(payments::later(None, error)),
    };
    match left {
        0 => Err(done(work)),
        left if left > work.amount_won => {
            let books = work.amount_won;
            Err(refuse(work, format!("{left} of {captured} won are left at the provider, {books} in the books")))
        }
        left => {
            if left < work.amount_won {
                tracing::warn!(
                    payment = work.payment,
                    left,
                    "a part was given back by somebody else; the rest follows"
                );
            }
            Ok(left)
        }
    }
}

fn done(work: &RefundWork) -> Outcome {
    RefundOutcome { payment: work.payment.clone(), kind: Kind::Done.into(), ..Default::default() }.report()
}

fn refuse(work: &RefundWork, error: String) -> Outcome {
    let error = payments::cut(error);
    RefundOutcome { payment: work.payment.clone(), kind: Kind::Refused.into(), error }.report()
}

/// As providers take it: not empty, on one line, not too long.
fn reason(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS_MAX);
    let line = line.collect::<String>();
    if line.trim().is_empty() { "refund".to_owned() } else { line }
}
