//! `payment.confirm`: takes the money.

use futures::future::BoxFuture;
use proto::payment::v1::{PayWork, PaymentOutcome, payment_outcome::Kind};

use crate::delivery::Delivery;
use crate::handler::Handler;
use crate::outcome::Outcome;
use crate::providers::payment::{Captured, Confirm, ConfirmOutcome};

use super::payments::{self, Payments};
use super::result::{self, Report};

/// Asks the provider to capture a payment, and reports what it says as a [`PaymentOutcome`].
///
/// | the provider says | reported |
/// |---|---|
/// | captured, all or another amount, for this order | `CAPTURED` with what was captured: the domain gives back what is wrong |
/// | captured for another order | `UNKNOWN`: money moved that nobody asked for, which queries do not mend and a human has to see |
/// | declined | `DECLINED` |
/// | nobody was there | `NOT_REACHED` when nobody was handed the trigger before, else `UNKNOWN` |
/// | busy | nothing: the trigger is retried when the provider wants to be asked again |
/// | no answer, or one without sense | `UNKNOWN`: `payment.query` asks from then on |
#[derive(Clone)]
pub struct ConfirmPayment {
    payments: Payments,
}

impl ConfirmPayment {
    /// Of these providers.
    pub fn new(payments: Payments) -> Self {
        ConfirmPayment { payments }
    }

    async fn confirm(self, delivery: Delivery) -> Result<Outcome, Outcome> {
        let work: PayWork = result::work(&delivery)?;
        let provider = self.payments.named(&work.provider).await?;
        let request = Confirm {
            payment_key: work.payment_key,
            order_id: work.order_id,
            amount_won: work.amount_won,
            // One of this attempt's own: a provider answers a key with its first answer again, "too busy" included. A payment is
            // captured once whatever the key, so an attempt whose outcome was lost is safe to be made again under another one.
            idempotency_key: format!("{}/{}", work.idempotency_key, delivery.attempt()),
        };
        let said = provider.confirm(request).await;
        Ok(judge(work.payment, delivery.is_first(), said))
    }
}

impl Handler for ConfirmPayment {
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, Outcome> {
        let work = self.clone().confirm(delivery);
        Box::pin(async move { work.await.unwrap_or_else(|outcome| outcome) })
    }
}

fn judge(payment: String, is_first: bool, said: ConfirmOutcome) -> Outcome {
    let (kind, error) = match said {
        ConfirmOutcome::Done(captured) => return self::captured(payment, captured),
        ConfirmOutcome::Mismatch(mismatch) if mismatch.is_ours() => return self::captured(payment, mismatch.captured),
        ConfirmOutcome::Mismatch(mismatch) => {
            tracing::error!(payment, "the provider captured for another order than was asked");
            let order = mismatch.captured.order_id;
            (Kind::Unknown, format!("{} won were captured for the order {order:?}", mismatch.captured.amount_won))
        }
        ConfirmOutcome::Declined { code, message } => (Kind::Declined, payments::words(&code, &message)),
        ConfirmOutcome::Later { after, error } => return payments::later(after, error),
        // Nobody was there this time. An executor that had it before, in an earlier attempt or from an earlier leader, may have found
        // somebody, and the money may be taken: what is reported as not reached leaves nothing behind that would ever ask.
        ConfirmOutcome::NotReached { error } if !is_first => (Kind::Unknown, error),
        ConfirmOutcome::NotReached { error } => (Kind::NotReached, error),
        ConfirmOutcome::Unknown { error } => (Kind::Unknown, error),
    };
    PaymentOutcome { payment, kind: kind.into(), error: payments::cut(error), ..Default::default() }.report()
}

/// The money was taken: so much of it.
pub(super) fn captured(payment: String, captured: Captured) -> Outcome {
    let Captured { amount_won: captured_won, method, .. } = captured;
    PaymentOutcome { payment, kind: Kind::Captured.into(), captured_won, method, ..Default::default() }.report()
}
