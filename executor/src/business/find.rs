//! `gift.find`: finds out whether a gift was sent.

use std::time::{Duration, SystemTime};

use client::Client;
use futures::future::BoxFuture;
use proto::gift::v1::{Channel, GetLinkRequest, SendFound, SendWork, send_found::Kind};

use crate::delivery::Delivery;
use crate::handler::Handler;
use crate::outcome::Outcome;
use crate::providers::message::FindOutcome;

use super::messengers::Messengers;
use super::person;
use super::result::{self, Report};

/// Attempts in which a provider may fail to answer before a human is asked: with the pauses of the trigger, about two hours.
const ATTEMPTS_MAX: u32 = 19;

/// Asks the provider for a message that may have been sent, and reports [`SendFound`].
///
/// Found is sent, unless the provider says that it did not reach anybody; not found is not sent. Who gives no answer is asked for some
/// hours, then a human is; at once where nobody can be asked (SMTP). A message that is not listed `settle` after it was begun is asked for again before that counts.
#[derive(Clone)]
pub struct FindGift {
    client: Client,
    messengers: Messengers,
    settle: Duration,
}

impl FindGift {
    /// At these providers. `settle` is how long one that lists what it took may take to list it.
    pub fn new(client: Client, messengers: Messengers, settle: Duration) -> Self {
        FindGift { client, messengers, settle }
    }

    async fn find(self, delivery: Delivery) -> Result<Outcome, Outcome> {
        let work: SendWork = result::work(&delivery)?;
        let request = GetLinkRequest { namespace: delivery.namespace().to_owned(), gift_id: work.gift.clone() };
        let about = self.client.get_link(request).await.map_err(|error| result::refused(&error))?;
        let found =
            |kind: Kind, provider_id| SendFound { gift: work.gift.clone(), kind: kind.into(), provider_id }.report();
        if about.channel() == Channel::Unspecified {
            // Nothing was begun, or it is settled: of a settled gift the report changes nothing.
            return Ok(found(Kind::Unspecified, String::new()));
        }
        let recipient = about.recipient.clone().unwrap_or_default();
        let provider = self.messengers.on(about.channel());
        let (Some(provider), Some(to)) = (provider, person::address(&recipient, about.channel())) else {
            let error = format!("no provider or no address for {:?} here", about.channel());
            return give_up_or(delivery.attempt(), error, || found(Kind::Unspecified, String::new()));
        };
        let begun = about.begun.and_then(|at| at.try_into().ok()).unwrap_or(SystemTime::UNIX_EPOCH);
        match provider.query(&about.idempotency_key, &to, begun).await {
            FindOutcome::Found { delivered: Some(false), provider_id } => Ok(found(Kind::NotSent, provider_id)),
            FindOutcome::Found { provider_id, .. } => Ok(found(Kind::Sent, provider_id)),
            FindOutcome::NotFound => {
                // A clock that is behind that of the cluster: it was just now.
                let age = SystemTime::now().duration_since(begun).unwrap_or_default();
                match self.settle.checked_sub(age).filter(|rest| !rest.is_zero()) {
                    Some(rest) => Err(Outcome::Retry { error: "not listed, or not yet".to_owned(), after: Some(rest) }),
                    None => Ok(found(Kind::NotSent, String::new())),
                }
            }
            FindOutcome::CannotTell { .. } if !provider.can_be_asked() => Ok(found(Kind::Unspecified, String::new())),
            FindOutcome::CannotTell { reason } => {
                give_up_or(delivery.attempt(), reason, || found(Kind::Unspecified, String::new()))
            }
        }
    }
}

impl Handler for FindGift {
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, Outcome> {
        let work = self.clone().find(delivery);
        Box::pin(async move { work.await.unwrap_or_else(|outcome| outcome) })
    }
}

/// Again, or at the last attempt what a human is told.
fn give_up_or(attempt: u32, error: String, give_up: impl FnOnce() -> Outcome) -> Result<Outcome, Outcome> {
    if attempt < ATTEMPTS_MAX { Err(Outcome::retry(error)) } else { Ok(give_up()) }
}
