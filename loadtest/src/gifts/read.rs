//! What the cluster says at the end: about every gift, about the money, and behind the links.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::caller::Caller;
use proto::gift::v1::gift_service_client::GiftServiceClient;
use proto::gift::v1::{AcceptGiftRequest, Gift, GiftState, ListGiftsRequest, OpenGiftRequest};
use proto::payment::v1::ReconcileRequest;
use proto::payment::v1::payment_service_client::PaymentServiceClient;

use super::lines::Ledger;
use super::oracle::{Balance, Found};
use super::world::World;
use super::{lock, wish};

/// Nothing moved for so long means that nothing will.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is not settled yet.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Reads every gift, again and again those that are on their way, until none is or nothing moves any more.
///
/// # Errors
///
/// When the cluster does not answer.
pub async fn settle(world: &World) -> anyhow::Result<()> {
    let caller = world.caller()?;
    let count = lock(&world.gifts).tally().count;
    let senders = (0..count).step_by(usize::try_from(wish::PER_SENDER)?).map(wish::sender);
    read(world, &caller, senders.collect()).await?;
    let (mut least, mut moved) = (u64::MAX, Instant::now());
    loop {
        let unsettled = lock(&world.gifts).unsettled();
        if (unsettled.len() as u64) < least {
            (least, moved) = (unsettled.len() as u64, Instant::now());
        }
        if unsettled.is_empty() || moved.elapsed() > PATIENCE {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
        read(world, &caller, unsettled.into_iter().map(wish::sender).collect()).await?;
    }
}

async fn read(world: &World, caller: &Caller, senders: BTreeSet<String>) -> anyhow::Result<()> {
    let midnight_ms = world.clock.midnight_ms();
    for sender_id in senders {
        let mut page_token = String::new();
        loop {
            let request = ListGiftsRequest {
                namespace: "default".into(),
                sender_id: sender_id.clone(),
                page_size: 1_000,
                page_token: page_token.clone(),
            };
            let page = caller
                .call(|channel| {
                    let request = request.clone();
                    async move {
                        GiftServiceClient::new(channel).max_decoding_message_size(64 << 20).list_gifts(request).await
                    }
                })
                .await
                .with_context(|| format!("gifts of {sender_id}"))?;
            let mut gifts = lock(&world.gifts);
            for gift in &page.gifts {
                match world.number(&gift.id) {
                    Some(number) => gifts.find(number, found(gift, midnight_ms)),
                    None => gifts.note(format!("a gift that nobody asked for: {:?}", gift.id)),
                }
            }
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
    }
    Ok(())
}

fn found(gift: &Gift, midnight_ms: i64) -> Found {
    let sent = gift.events.iter().find(|event| event.state() == GiftState::Sent);
    let sent_after_ms = sent.map(|event| checkers::convert::millis(event.at.as_ref()) - midnight_ms);
    Found { state: gift.state(), sent_after_ms }
}

/// What the cluster's books say, as of a time after everything that has happened.
///
/// # Errors
///
/// When it does not answer, or a partition's time does not go on.
pub async fn books(world: &World) -> anyhow::Result<Balance> {
    let caller = world.caller()?;
    let from_ms = world.clock.cluster_ms();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer =
            caller
                .call(|channel| async move {
                    PaymentServiceClient::new(channel).reconcile(ReconcileRequest::default()).await
                })
                .await?;
        let as_of_ms = checkers::convert::millis(answer.as_of.as_ref());
        // A partition where nothing happens comes to know the time with its next canary.
        if as_of_ms >= from_ms {
            let total = answer.total.unwrap_or_default();
            return Ok(Balance {
                captured: total.captured_won,
                held: total.held_won,
                in_transit: total.in_transit_won,
                delivered: total.delivered_won,
                refunded: total.refunded_won,
                difference: answer.difference_won,
            });
        }
        anyhow::ensure!(Instant::now() < deadline, "a partition's time stands still at {as_of_ms} ms");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the payment provider's books say of gifts: without what was captured to see how fast it is.
///
/// # Errors
///
/// When it does not answer.
pub async fn ledger(world: &World) -> anyhow::Result<Ledger> {
    let ledger = world.providers().ledger().await?;
    let captured_won = ledger.captured_won.saturating_sub(super::calibrate::WON_IN_ALL);
    Ok(Ledger { captured_won, ..ledger })
}

/// Opens some of the links as their recipients would, accepts the gifts, and tells what codes they saw. Returns how many.
///
/// # Errors
///
/// When the cluster does not answer.
pub async fn accept_some(world: &World) -> anyhow::Result<u64> {
    let caller = world.caller()?;
    let links = lock(&world.gifts).links();
    let mut accepted = 0;
    for (number, link) in links {
        let token = link.rsplit('/').next().unwrap_or_default().to_owned();
        let id = world.id(number);
        let open = OpenGiftRequest { namespace: "default".into(), token: token.clone() };
        let opened = caller
            .call(|channel| {
                let open = open.clone();
                async move { GiftServiceClient::new(channel).open_gift(open).await }
            })
            .await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(problem) => {
                lock(&world.gifts).note(format!("the link of {id} leads nowhere: {problem}"));
                continue;
            }
        };
        if opened.gift.as_ref().is_none_or(|gift| gift.id != id) {
            lock(&world.gifts).note(format!("the link of {id} leads to another gift"));
            continue;
        }
        let accept = AcceptGiftRequest { namespace: "default".into(), token, nonce: opened.nonce };
        let answer = caller
            .call(|channel| {
                let accept = accept.clone();
                async move { GiftServiceClient::new(channel).accept_gift(accept).await }
            })
            .await;
        let mut gifts = lock(&world.gifts);
        match answer {
            Ok(answer) if !answer.code.is_empty() => {
                gifts.see_code(number, &answer.code);
                accepted += 1;
            }
            Ok(_) => gifts.note(format!("{id} was accepted, and there is no code")),
            Err(problem) => gifts.note(format!("{id} cannot be accepted: {problem}")),
        }
    }
    Ok(accepted)
}
