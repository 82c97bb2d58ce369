//! `payment.query`: asks what became of a payment.

use std::time::Duration;

use futures::future::BoxFuture;
use proto::payment::v1::{PayWork, PaymentOutcome, payment_outcome::Kind};

use crate::delivery::Delivery;
use crate::handler::Handler;
use crate::outcome::Outcome;
use crate::providers::payment::{Captured, PaymentRef, QueryOutcome};

use super::confirm::captured;
use super::payments::{self, Payments};
use super::result::{self, Report};

/// Attempts in which a provider has to say that it knows no such payment before it is believed.
const NOT_FOUND_ATTEMPTS: u32 = 4;
/// Between them.
const NOT_FOUND_PAUSE: Duration = Duration::from_secs(60);

/// Asks the provider what became of a payment, and reports what it says as a [`PaymentOutcome`]. Moves nothing.
///
/// | the provider says | reported |
/// |---|---|
/// | captured for this order | `CAPTURED` with what was captured |
/// | captured, and given back by somebody | `DECLINED` when all of it was, else `CAPTURED` with the rest, which is not the price, so that the domain gives it back too |
/// | ended without a capture | `DECLINED` |
/// | still open | `UNKNOWN`: a confirmation may be under way |
/// | not known | `DECLINED`, but not at once: see below |
/// | no answer, or captured for another order | `UNKNOWN` |
///
/// The key of a payment is the provider's own: it made it when the customer's browser began to pay, before anybody asked for a
/// capture. So a provider that does not know the key never had this payment, and a capture of it cannot appear later. It is asked
/// four times, a minute apart, all the same, for its reads may lag behind its writes.
#[derive(Clone)]
pub struct QueryPayment {
    payments: Payments,
}

impl QueryPayment {
    /// Of these providers.
    pub fn new(payments: Payments) -> Self {
        QueryPayment { payments }
    }

    async fn query(self, delivery: Delivery) -> Result<Outcome, Outcome> {
        let work: PayWork = result::work(&delivery)?;
        let provider = self.payments.named(&work.provider).await?;
        let said = provider.query(PaymentRef::Key(work.payment_key.clone())).await;
        Ok(judge(&work, delivery.attempt(), said))
    }
}

impl Handler for QueryPayment {
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, Outcome> {
        let work = self.clone().query(delivery);
        Box::pin(async move { work.await.unwrap_or_else(|outcome| outcome) })
    }
}

fn judge(work: &PayWork, attempt: u32, said: QueryOutcome) -> Outcome {
    let payment = work.payment.clone();
    let (kind, error) = match said {
        QueryOutcome::Done(found) if found.order_id == work.order_id => return captured(payment, found),
        QueryOutcome::Cancelled { captured: found, remaining_won, .. } if found.order_id == work.order_id => {
            if remaining_won > 0 {
                return captured(payment, Captured { amount_won: remaining_won, ..found });
            }
            (Kind::Declined, format!("{} won were captured and given back already", found.amount_won))
        }
        QueryOutcome::Done(found) | QueryOutcome::Cancelled { captured: found, .. } => {
            (Kind::Unknown, format!("the payment is that of the order {:?}", found.order_id))
        }
        QueryOutcome::Open { status } => (Kind::Unknown, status),
        QueryOutcome::Ended { status } => (Kind::Declined, status),
        QueryOutcome::NotFound if attempt < NOT_FOUND_ATTEMPTS => {
            return payments::later(Some(NOT_FOUND_PAUSE), "the provider knows no such payment yet".to_owned());
        }
        QueryOutcome::NotFound => (Kind::Declined, "the provider knows no such payment".to_owned()),
        QueryOutcome::Unknown { error } => (Kind::Unknown, error),
    };
    PaymentOutcome { payment, kind: kind.into(), error: payments::cut(error), ..Default::default() }.report()
}
