//! Gifts: reserved and paid, sent at their moment, accepted, used; or given back.
//!
//! A gift, its payment and its triggers are in one partition, that of the gift's id. Every command says what it needs to be
//! true; when it is not, it is refused and nothing changes ([`State::next`] is the whole table).

mod check;
mod command;
mod lifetime;
mod manage;
mod read;
mod receive;
mod record;
mod reserve;
mod send;
mod state;

pub use check::{EDIT_BEFORE, MESSAGE_CHARS_MAX, SEND_AHEAD_MAX, SEND_AHEAD_MIN, check_party};
pub use command::{
    Accept, BeginSend, Cancel, Edit, Expire, Found, Redeem, Remind, Reserve, ResolveSend, SendLater, SendUnknown,
    SendWork, Sent, Transfer, Turn,
};
pub(crate) use lifetime::{expire, remind};
pub(crate) use manage::{cancel, edit};
pub use read::{by_code, by_link, get, list_attention, list_of_sender};
pub(crate) use receive::{accept, redeem, transfer};
pub use record::{Attempt, Draw, Event, Gift, Party, Secret, Sending};
pub(crate) use reserve::{paid, refunded, reserve, unpaid, withdraw};
pub(crate) use send::{begin_send, resolve_send, send_later, send_unknown, sent};
pub use state::State;

use bytes::Bytes;
use scheduler::domain::DomainError;

use crate::context::Context;
use crate::ledger::{self, Account};
use crate::notification::{self, News};
use crate::payment::Payment;
use crate::refusal::Refusal;
use crate::triggers::{Named, Purpose};
use crate::{keys, payment};

/// The first characters of a text, at most so many.
pub(crate) fn cut(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
    }
    text
}

/// The gift, or a refusal.
fn find(cx: &Context<'_, '_, '_, '_>, id: &str) -> Result<Gift, DomainError> {
    let found = cx.get("gift", &keys::gift(cx.namespace(), id))?;
    Ok(found.ok_or_else(|| Refusal::not_found("gift"))?)
}

/// The gift a row of another table leads to, or a refusal that names what was looked for.
fn find_by(cx: &Context<'_, '_, '_, '_>, key: &[u8], what: &str) -> Result<Gift, DomainError> {
    let id = cx.raw(key)?.ok_or_else(|| Refusal::not_found(what))?;
    let id = std::str::from_utf8(&id).map_err(|_| DomainError::Halt(format!("the {what} of a gift cannot be read")))?;
    find(cx, id)
}

/// Writes the gift as this command leaves it, and tells watchers.
fn save(cx: &mut Context<'_, '_, '_, '_>, gift: &mut Gift) -> Result<(), DomainError> {
    gift.version = cx.generation().number();
    let key = keys::gift(cx.namespace(), &gift.id);
    cx.put(&key, gift)?;
    cx.changed(&watched(&gift.id));
    Ok(())
}

/// What watchers are told about a change of a gift: no trigger has such an id.
pub fn watched(gift: &str) -> String {
    format!("gift {gift}")
}

/// The gift goes into another state, or is refused to.
fn go(cx: &Context<'_, '_, '_, '_>, gift: &mut Gift, to: State, what: &str) -> Result<(), Refusal> {
    if !gift.state().leads_to(to) {
        return Err(Refusal::wrong_state(gift.state(), to));
    }
    gift.state = to.into();
    note(cx, gift, what);
    Ok(())
}

/// Keeps what happened.
fn note(cx: &Context<'_, '_, '_, '_>, gift: &mut Gift, what: &str) {
    let event = Event { at: cx.now().as_millis(), state: gift.state, what: what.to_owned(), log_index: cx.index() };
    if gift.events.len() >= record::EVENTS_MAX {
        gift.events.remove(1);
    }
    gift.events.push(event);
}

/// Whether this request has changed the gift already.
fn is_repeated(gift: &Gift, asked: Asked, request: &Bytes) -> Result<bool, Refusal> {
    match gift.requests.iter().filter_map(|known| known.split_first()).find(|(_, known)| known == request) {
        Some((kind, _)) if *kind == asked as u8 => Ok(true),
        // The answer to another command would be taken for that to this one.
        Some(_) => Err(Refusal::invalid("request_id", "one that no other command has used")),
        None => Ok(false),
    }
}

/// Commands that can be repeated, by their number in [`Kind`](crate::Kind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Edit = 5,
    Cancel = 6,
    Accept = 13,
    Transfer = 14,
    Redeem = 15,
}

/// So that a repetition is known.
fn remember(gift: &mut Gift, asked: Asked, request: &Bytes) -> Result<(), Refusal> {
    if request.is_empty() {
        return Ok(());
    }
    if request.len() != 16 {
        return Err(Refusal::invalid("request_id", "16 bytes"));
    }
    if gift.requests.len() >= record::REQUESTS_MAX {
        gift.requests.remove(0);
    }
    gift.requests.push([&[asked as u8], &request[..]].concat().into());
    Ok(())
}

fn expect_version(gift: &Gift, expected: u64) -> Result<(), Refusal> {
    if expected == 0 || expected == gift.version { Ok(()) } else { Err(Refusal::version(gift.version)) }
}

/// Gives the money back, from where it is.
fn give_back(
    cx: &mut Context<'_, '_, '_, '_>,
    gift: &Gift,
    from: Account,
    reason: &str,
) -> Result<Payment, DomainError> {
    let mut payment = payment::find(cx, &gift.id)?;
    if from != Account::InTransit {
        ledger::post(cx, &gift.id, from, Account::InTransit, payment.captured_won)?;
    }
    payment::refund(cx, &mut payment, reason)?;
    Ok(payment)
}

/// Puts a gift onto the list of those that wait for a human, and tells the operators, once.
pub(crate) fn needs_attention(cx: &mut Context<'_, '_, '_, '_>, id: &str, why: &str) -> Result<Gift, DomainError> {
    let mut gift = find(cx, id)?;
    if !gift.attention {
        let key = keys::attention(cx.namespace(), id);
        cx.put_raw(&key, &[])?;
        gift.attention = true;
        gift.trouble = why.to_owned();
        notification::tell(cx, &gift, News::Attention)?;
    }
    gift.trouble = why.to_owned();
    note(cx, &mut gift, why);
    save(cx, &mut gift)?;
    Ok(gift)
}

/// Takes a gift from the list of those that wait for a human.
fn settle_attention(cx: &mut Context<'_, '_, '_, '_>, gift: &mut Gift) -> Result<(), DomainError> {
    if gift.attention {
        gift.attention = false;
        let key = keys::attention(cx.namespace(), &gift.id);
        cx.delete(&key)?;
    }
    Ok(())
}

/// A trigger of a gift has become a dead letter: nobody will do what it was for.
///
/// One that the gift does not wait for any more changes nothing. Nothing of this can be refused.
pub(crate) fn given_up(cx: &mut Context<'_, '_, '_, '_>, id: &str, trigger: &Named) -> Result<(), DomainError> {
    if trigger.purpose == Purpose::Notify {
        // News never change a gift.
        return notification::given_up(cx, &trigger.gift, trigger.number);
    }
    let key = keys::gift(cx.namespace(), &trigger.gift);
    let Some(gift) = cx.get::<Gift>("gift", &key)? else { return Ok(()) };
    let payment = payment::find(cx, &gift.id)?;
    let waited_for = match trigger.purpose {
        Purpose::Pay | Purpose::Query => payment.is_open() && payment.trigger == id,
        Purpose::Send => gift.send_trigger == id,
        Purpose::Find => gift.state() == State::SendUnknown,
        Purpose::Refund => payment.refund() == payment::RefundState::Requested,
        Purpose::Remind | Purpose::Expire => gift.state().is_held() && gift.clock_trigger == id,
        Purpose::Notify => false,
    };
    if !waited_for {
        return Ok(());
    }
    match trigger.purpose {
        Purpose::Pay => payment::fate_unknown(cx, payment, "every attempt to confirm it was given up")?,
        Purpose::Send => send::given_up(cx, gift)?,
        purpose => {
            drop(needs_attention(cx, &gift.id, &format!("the trigger that was to {} was given up", purpose.name()))?)
        }
    }
    // There was no room for what comes next: it does not come by itself.
    if cx.take_unscheduled() {
        needs_attention(cx, &trigger.gift, "what comes next could not be scheduled")?;
    }
    Ok(())
}
