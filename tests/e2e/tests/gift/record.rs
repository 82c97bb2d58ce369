//! A run with gifts, as the checkers of gifts take it: what callers were answered, what the providers saw, and what is there at the end.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use ::gifts::{World, links};
use checkers::Violation;
use checkers::gifts::history::{
    Answer, Books, Call, Capture, FinalGift, Gifts, Kind, Message, Outcome, Refund, Request, State,
};
use checkers::gifts::{Options, check};
use checkers::history::Key;
use client::Error;
use proto::gift::v1 as gift;
use proto::gift::v1::GiftState;
use proto::payment::v1::GetPaymentRequest;

/// What callers were answered so far.
#[derive(Default)]
pub struct Record {
    calls: Mutex<Vec<Call>>,
}

impl Record {
    /// A call was answered, or was not.
    pub fn add(&self, id: &str, request: Request, answer: Result<(Option<gift::Gift>, u64, bool), Error>) {
        let outcome = match answer {
            Ok((gift, log_index, replayed)) => {
                let state = state(gift.unwrap_or_default().state());
                Outcome::Done(Answer { state, log_index, replayed, code: None })
            }
            Err(error) => refused(&error),
        };
        let returned_us = (!matches!(outcome, Outcome::Unknown { .. })).then_some(0);
        let call = Call { client: 0, gift: key(id), request, invoked_us: 0, returned_us, outcome };
        self.calls.lock().expect("not poisoned").push(call);
    }

    /// What is broken, with gifts whose recipients have the given addresses. Every gift of the run has to be among them.
    pub async fn judge(&self, world: &World, recipients: &[(String, String)]) -> Vec<Violation> {
        let end_ms = world.clock().now().await.expect("a time").as_millisecond();
        let (mut at_end, mut messages) = (Vec::new(), Vec::new());
        let waiting = waiting(world).await;
        for (id, address) in recipients {
            at_end.push(last(world, id, waiting.contains(id)).await);
            messages.extend(world.fakes().inbox().at(address).into_iter().map(|message| Message {
                gift: key(id),
                // Nobody accepts, passes on or is reminded in these runs: what a recipient gets is the gift.
                kind: Kind::Gift,
                channel: message.channel.to_owned(),
                link: links(&message).first().map(digest),
                key: message.tag.clone().unwrap_or_default(),
                delivered: true,
                at_us: message.at.as_microsecond(),
            }));
        }
        let total = world.books().await.expect("books").ours.total.unwrap_or_default();
        let ledger = world.fakes().toss().ledger(recipients.len());
        let taken = ledger.payments.iter().filter(|entry| entry.captured_won > 0);
        let back = ledger.payments.iter().filter(|entry| entry.refunded_won > 0);
        let record = Gifts {
            calls: self.calls.lock().expect("not poisoned").clone(),
            captures: taken.map(|entry| Capture { gift: key(&entry.order_id), won: entry.captured_won }).collect(),
            refunds: back.map(|entry| Refund { gift: key(&entry.order_id), won: entry.refunded_won }).collect(),
            messages,
            at_end,
            books: Books {
                captured: total.captured_won,
                held: total.held_won,
                in_transit: total.in_transit_won,
                delivered: total.delivered_won,
                refunded: total.refunded_won,
            },
        };
        check(&record, &Options { end_ms, clock_error_us: 0 })
    }
}

/// Gifts that wait for a human.
async fn waiting(world: &World) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut page_token = String::new();
    loop {
        let request = gift::ListAttentionRequest { page_size: 100, page_token, ..Default::default() };
        let page = world.client().list_attention(request).await.expect("a page");
        found.extend(page.gifts.into_iter().map(|gift| gift.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

async fn last(world: &World, id: &str, attention: bool) -> FinalGift {
    let gift = world.gift(id).await.expect("it is there");
    let request = GetPaymentRequest { id: id.to_owned(), ..Default::default() };
    let payment = world.client().get_payment(request).await.expect("it is there");
    let send_at = gift.send_at.unwrap_or_default();
    FinalGift {
        gift: key(id),
        state: state(gift.state()),
        captured_won: payment.captured_won,
        send_at_ms: send_at.seconds * 1_000 + i64::from(send_at.nanos) / 1_000_000,
        transferred: gift.transferred,
        expired: gift.events.iter().any(|event| event.state() == GiftState::Expired),
        attention,
        by_sender: false,
        shop: gift.shop,
    }
}

/// The name of a gift in records.
fn key(id: &str) -> Key {
    Key::new("default", id)
}

/// Links are secrets: the record has what tells them apart.
fn digest(link: &String) -> u64 {
    let mut hasher = DefaultHasher::new();
    link.hash(&mut hasher);
    hasher.finish()
}

fn state(state: GiftState) -> State {
    State::from_name(state.as_str_name()).unwrap_or(State::Absent)
}

fn refused(error: &Error) -> Outcome {
    let reason = error.to_string();
    match error.repeat() {
        client::Repeat::NotExecuted => Outcome::Failed { reason },
        client::Repeat::MaybeExecuted => Outcome::Unknown { reason },
        client::Repeat::Never => match error.reason() {
            Some(name) => Outcome::Refused { reason: name.as_str().to_owned(), state: None },
            None => Outcome::Unknown { reason },
        },
    }
}
