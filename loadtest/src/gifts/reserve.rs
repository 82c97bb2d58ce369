//! Reserving: what an app does when somebody has paid.

use std::time::{Duration, Instant};

use proto::gift::v1::GiftState;
use proto::gift::v1::gift_service_client::GiftServiceClient;

use super::world::World;
use super::{lock, wish};

/// How long a reservation is tried.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// A caller that stays until it is done.
    Patient,
    /// Somebody with a phone in the hand.
    Person,
}

impl Patience {
    fn within(self) -> Duration {
        match self {
            Self::Patient => Duration::from_secs(60),
            Self::Person => Duration::from_secs(10),
        }
    }
}

/// Before a reservation whose payment was not reached, or whose fate is not known yet, is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Pays and reserves one gift, and tells what came of it. `asked`: when it was to be done, where arrival is open loop; then
/// paying, which is the customer's and the provider's, counts as part of it. `measured`: it counts in the latency.
///
/// # Errors
///
/// When the providers are gone, so that nothing can be measured.
pub async fn reserve(world: &World, date: &str, due: bool, patience: Patience, measured: bool) -> anyhow::Result<bool> {
    let number = lock(&world.gifts).ask(due);
    let id = world.id(number);
    let key = world.providers().pay(&id, wish::price(number)).await?;
    let request = wish::request(&id, number, date, &key);
    let partition = world.target.router.partition(&id);
    let asked = Instant::now();
    loop {
        let left = patience.within().saturating_sub(asked.elapsed());
        let answer = world
            .target
            .router
            .call(
                partition,
                left,
                |reason| lock(&world.gifts).retry(reason),
                |channel| {
                    let request = request.clone();
                    async move { GiftServiceClient::new(channel).reserve(request).await }
                },
            )
            .await;
        let trouble = match answer {
            Ok(answer) => match answer.gift.map(|gift| gift.state()) {
                Some(GiftState::PendingPayment) => "PENDING_PAYMENT".to_owned(),
                // Sent already, when this is the repetition of a call that was made long before midnight.
                Some(GiftState::Reserved | GiftState::Sending | GiftState::Sent) => {
                    let us = i64::try_from(asked.elapsed().as_micros()).unwrap_or(i64::MAX);
                    lock(&world.gifts).reserve(number, measured.then_some(us));
                    return Ok(true);
                }
                state => {
                    lock(&world.gifts).fail(&format!("{state:?}"));
                    return Ok(false);
                }
            },
            Err(problem) if problem.reason == "PAYMENT_NOT_REACHED" => problem.label(),
            Err(problem) => {
                lock(&world.gifts).fail(&problem.label());
                return Ok(false);
            }
        };
        if asked.elapsed() > patience.within() {
            lock(&world.gifts).fail(&trouble);
            return Ok(false);
        }
        lock(&world.gifts).retry(&trouble);
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
