//! Sending: an executor asks for its turn, tries channels, and says what came of it.
//!
//! A turn is written down before a provider is called, so that whoever comes after a crash knows that a message may be on its way
//! on that channel. Codes and links are drawn before proposing and kept by the first turn; every later one gets the same.

use prost::Message;
use scheduler::domain::DomainError;
use scheduler::lane::Class;
use scheduler::planted::{self, Bug};
use scheduler::time::{Delay, Timestamp};

use crate::command::Reply;
use crate::context::Context;
use crate::keys;
use crate::ledger::{self, Account};
use crate::notification::{self, Channel, News};
use crate::product;
use crate::refusal::Refusal;
use crate::triggers::{self, Planned, Purpose};

use super::record::Attempt;
use super::reserve::plan_send;
use super::{
    BeginSend, Draw, Found, Gift, ResolveSend, SendLater, SendUnknown, SendWork, Sending, Sent, State, Turn, cut, find,
    give_back, go, lifetime, note, save, settle_attention,
};

/// Retries after the first attempt.
const RETRIES_MAX: u32 = 3;
/// Before the first retry; every further one waits four times as long.
const RETRY_AFTER: Delay = Delay::from_secs(5);
/// Between attempts while a provider is down for everybody.
const OUTAGE_PAUSE: Delay = Delay::from_secs(30);
/// How long a gift waits for a provider that is down.
const OUTAGE_MAX: Delay = Delay::from_secs(24 * 3_600);
/// The longest a gifticon can be valid, with the rest of the day it is sent on in any zone.
const VALID_MAX: Delay = Delay::from_days(product::VALID_DAYS_MAX as u64 + 2);
/// When whether a message was sent is asked about.
const FIND_AFTER: Delay = Delay::from_secs(60);

pub(crate) fn begin_send(cx: &mut Context<'_, '_, '_, '_>, command: BeginSend) -> Result<Reply, DomainError> {
    let mut gift = find(cx, &command.gift)?;
    match gift.state() {
        State::Reserved => first_turn(cx, &mut gift, &command)?,
        State::Sending if planted::is(Bug::DrawsEveryTurn) => gift.draw = Some(draw_anew(cx, &gift, &command)?),
        State::Sending => {}
        _ => return Ok(over(gift)),
    }
    let Some(mut sending) = gift.sending.clone().filter(|sending| sending.round == command.round) else {
        return Ok(over(gift));
    };
    let channels = gift.recipient().gift_channels();
    for rejected in command.rejected {
        let known = sending.rejected.iter().any(|known| known.channel == rejected.channel);
        if !known && channels.contains(&rejected.channel()) {
            let (provider_id, error) = (cut(rejected.provider_id, 128), cut(rejected.error, 128));
            sending.rejected.push(Attempt { channel: rejected.channel, at: cx.now().as_millis(), provider_id, error });
        }
    }
    let is_rejected = |channel: Channel| sending.rejected.iter().any(|one| one.channel() == channel);
    // Nobody to send to: the sender passes the link on.
    let channels = if channels.is_empty() { vec![Channel::Unspecified] } else { channels };
    let Some(channel) = channels.into_iter().find(|channel| !is_rejected(*channel)) else {
        gift.sending = Some(sending);
        fail(cx, &mut gift, "no channel takes it for this recipient")?;
        return Ok(over(gift));
    };
    let begun = sending.begun.take().filter(|begun| begun.channel() == channel);
    let resumed = begun.is_some();
    if !resumed {
        // What is sent now expires as of now, however long the rounds before took.
        validity(cx, &mut gift, command.expires_at, command.remind_at)?;
    }
    let begun = begun.unwrap_or(Attempt { channel: channel.into(), at: cx.now().as_millis(), ..Attempt::default() });
    let begun_at = begun.at;
    sending.begun = Some(begun);
    gift.sending = Some(sending);
    save(cx, &mut gift)?;
    let turn = Turn { channel: channel.into(), resumed, begun_at, over: false, gift: None };
    Ok(Reply { turn: Some(turn), ..Reply::gift(gift) })
}

/// Until when the gift can be used if it is sent now.
fn validity(
    cx: &Context<'_, '_, '_, '_>,
    gift: &mut Gift,
    expires_at: u64,
    remind_at: Vec<u64>,
) -> Result<(), Refusal> {
    let at = Timestamp::from_millis(expires_at);
    let within = at > cx.now() && at <= cx.now().after(VALID_MAX);
    let in_order = remind_at.is_sorted() && remind_at.iter().all(|at| *at < expires_at);
    if !within || !in_order || remind_at.len() > 8 {
        return Err(Refusal::invalid(
            "expires_at",
            "after now, at most 3,652 days, and after each of at most 8 reminders",
        ));
    }
    gift.expires_at = expires_at;
    gift.remind_at = remind_at;
    Ok(())
}

/// From now on the gift has a code.
fn first_turn(cx: &mut Context<'_, '_, '_, '_>, gift: &mut Gift, command: &BeginSend) -> Result<(), DomainError> {
    if command.round != 1 {
        return Err(Refusal::invalid("round", "1: it was never tried to be sent").into());
    }
    if cx.now() < Timestamp::from_millis(gift.send_at) {
        return Err(Refusal::invalid("gift", "one whose moment to be sent has come").into());
    }
    gift.draw = Some(draw_anew(cx, gift, command)?);
    gift.holder = 1;
    gift.sending = Some(Sending { round: command.round, ..Sending::default() });
    go(cx, gift, State::Sending, "a gifticon was drawn, it is being sent")?;
    ledger::post(cx, &gift.id, Account::Held, Account::InTransit, gift.price())
}

/// Makes what was drawn the gift's, if nobody has it.
fn draw_anew(cx: &mut Context<'_, '_, '_, '_>, gift: &Gift, command: &BeginSend) -> Result<Draw, DomainError> {
    let drawn = command.draw.as_ref().and_then(|draw| Some((draw, draw.whole()?)));
    let Some((draw, (link, code))) = drawn else {
        return Err(Refusal::invalid("draw", "a link and a code").into());
    };
    let (link, code) = (keys::link(cx.namespace(), &link.hash), keys::code(cx.namespace(), &code.hash));
    if cx.raw(&link)?.is_some() || cx.raw(&code)?.is_some() {
        return Err(Refusal::collision("the code or link").into());
    }
    cx.put_raw(&link, gift.id.as_bytes())?;
    cx.put_raw(&code, gift.id.as_bytes())?;
    Ok(draw.clone())
}

fn over(gift: Gift) -> Reply {
    Reply { turn: Some(Turn { over: true, ..Turn::default() }), ..Reply::gift(gift) }
}

/// The gift, when it is being sent in this round; else the answer, for there is nothing left to do.
fn in_round(cx: &Context<'_, '_, '_, '_>, id: &str, round: u32) -> Result<Result<Gift, Reply>, DomainError> {
    let gift = find(cx, id)?;
    let current = gift.sending.as_ref().is_some_and(|sending| sending.round == round);
    Ok(if gift.state() == State::Sending && current { Ok(gift) } else { Err(Reply::replay(gift)) })
}

/// What was never begun cannot have been sent.
fn has_begun(gift: &Gift) -> Result<(), Refusal> {
    match gift.sending.as_ref().is_some_and(|sending| sending.begun.is_some()) {
        true => Ok(()),
        false => Err(Refusal::invalid("round", "one in which sending has begun")),
    }
}

pub(crate) fn sent(cx: &mut Context<'_, '_, '_, '_>, command: Sent) -> Result<Reply, DomainError> {
    match in_round(cx, &command.gift, command.round)? {
        Ok(mut gift) => {
            has_begun(&gift)?;
            has_arrived(cx, &mut gift, command.channel(), command.provider_id)?;
            Ok(Reply::gift(gift))
        }
        Err(reply) => Ok(reply),
    }
}

fn has_arrived(
    cx: &mut Context<'_, '_, '_, '_>,
    gift: &mut Gift,
    channel: Channel,
    provider_id: String,
) -> Result<(), DomainError> {
    let at = cx.now().as_millis();
    let attempt = Attempt { channel: channel.into(), at, provider_id: cut(provider_id, 128), ..Attempt::default() };
    let sending = gift.sending.get_or_insert_default();
    sending.begun = None;
    sending.sent = Some(attempt);
    go(cx, gift, State::Sent, &format!("sent by {}", channel.name()))?;
    ledger::post(cx, &gift.id, Account::InTransit, Account::Delivered, gift.price())?;
    settle_attention(cx, gift)?;
    lifetime::plan_next(cx, gift, 0)?;
    let news = if channel == Channel::Unspecified { News::PassOn } else { News::Sent };
    notification::tell(cx, gift, news)?;
    save(cx, gift)
}

pub(crate) fn send_later(cx: &mut Context<'_, '_, '_, '_>, command: SendLater) -> Result<Reply, DomainError> {
    let mut gift = match in_round(cx, &command.gift, command.round)? {
        Ok(gift) => gift,
        Err(reply) => return Ok(reply),
    };
    let mut sending = gift.sending.take().unwrap_or_default();
    sending.begun = None;
    // What refused it may take it the next time only if it was not refused for good.
    gift.trouble = cut(command.error, 256);
    let now = cx.now();
    let goes_on = command.outage && sending.waiting_since != 0;
    let pause = if command.outage {
        if sending.waiting_since == 0 {
            sending.waiting_since = now.as_millis();
        }
        if now.since(Timestamp::from_millis(sending.waiting_since)) > OUTAGE_MAX {
            gift.sending = Some(sending);
            fail(cx, &mut gift, "the provider was down for a day")?;
            return Ok(Reply::gift(gift));
        }
        OUTAGE_PAUSE
    } else {
        sending.waiting_since = 0;
        sending.failures += 1;
        if sending.failures > RETRIES_MAX {
            gift.sending = Some(sending);
            fail(cx, &mut gift, "it could not be sent, four times")?;
            return Ok(Reply::gift(gift));
        }
        Delay::from_millis(RETRY_AFTER.as_millis() << (2 * (sending.failures - 1)))
    };
    sending.round += 1;
    let asked = Delay::from_millis(command.after_ms.min(Delay::from_secs(3_600).as_millis()));
    let (due, round) = (now.after(pause.max(asked)), sending.round);
    gift.sending = Some(sending);
    // Once for an outage, which may take thousands of rounds.
    if !goes_on {
        note(
            cx,
            &mut gift,
            if command.outage { "a provider is down, it waits" } else { "not sent, it is tried again" },
        );
    }
    plan_send(cx, &mut gift, due, round)?;
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

pub(crate) fn send_unknown(cx: &mut Context<'_, '_, '_, '_>, command: SendUnknown) -> Result<Reply, DomainError> {
    match in_round(cx, &command.gift, command.round)? {
        Ok(mut gift) => {
            has_begun(&gift)?;
            gift.trouble = cut(command.error, 256);
            lose_sight(cx, &mut gift)?;
            Ok(Reply::gift(gift))
        }
        Err(reply) => Ok(reply),
    }
}

/// Nobody knows whether it was sent: the provider is asked, then a human.
fn lose_sight(cx: &mut Context<'_, '_, '_, '_>, gift: &mut Gift) -> Result<(), DomainError> {
    go(cx, gift, State::SendUnknown, "it may have been sent")?;
    let round = gift.sending.as_ref().map_or(0, |sending| sending.round);
    let due = cx.now().after(FIND_AFTER);
    triggers::plan(
        cx,
        Planned {
            gift: &gift.id,
            purpose: Purpose::Find,
            topic: triggers::GIFT_FIND,
            due,
            local: None,
            payload: SendWork { gift: gift.id.clone(), round }.encode_to_vec(),
            class: Class::Normal,
            retry: triggers::retry(20, 5_000, 600_000),
        },
    )?;
    save(cx, gift)
}

pub(crate) fn resolve_send(cx: &mut Context<'_, '_, '_, '_>, command: ResolveSend) -> Result<Reply, DomainError> {
    let mut gift = find(cx, &command.gift)?;
    if gift.state() != State::SendUnknown {
        let wanted = if command.found() == Found::Sent { State::Sent } else { State::Failed };
        // A repeated report has nothing left to do; a human is told.
        return match command.by.as_str() {
            "provider" => Ok(Reply::replay(gift)),
            _ => Err(Refusal::wrong_state(gift.state(), wanted).into()),
        };
    }
    let channel = gift.sending.as_ref().and_then(|sending| sending.begun.as_ref()).map(Attempt::channel);
    match command.found() {
        Found::Sent => {
            note(cx, &mut gift, &format!("{} says that it was sent", cut(command.by, 64)));
            has_arrived(cx, &mut gift, channel.unwrap_or(Channel::Unspecified), command.provider_id)?;
        }
        Found::NotSent => {
            note(cx, &mut gift, &format!("{} says that it was not sent", cut(command.by, 64)));
            fail(cx, &mut gift, "it was not sent")?;
        }
        Found::Nothing => gift = super::needs_attention(cx, &command.gift, "nobody knows whether it was sent")?,
    }
    Ok(Reply::gift(gift))
}

/// Every attempt to send it was given up: executors died over it.
pub(super) fn given_up(cx: &mut Context<'_, '_, '_, '_>, mut gift: Gift) -> Result<(), DomainError> {
    gift.trouble = "every attempt to send it was given up".to_owned();
    let begun = gift.sending.as_ref().is_some_and(|sending| sending.begun.is_some());
    match gift.state() {
        State::Reserved => fail(cx, &mut gift, "nobody could begin to send it"),
        State::Sending if begun => lose_sight(cx, &mut gift),
        State::Sending => fail(cx, &mut gift, "nobody could send it"),
        _ => Ok(()),
    }
}

/// It is not sent and will not be: the money goes back, and the sender is told.
fn fail(cx: &mut Context<'_, '_, '_, '_>, gift: &mut Gift, why: &str) -> Result<(), DomainError> {
    let from = if gift.state() == State::Reserved { Account::Held } else { Account::InTransit };
    if gift.trouble.is_empty() {
        gift.trouble = why.to_owned();
    }
    go(cx, gift, State::Failed, why)?;
    if let Some((link, code)) = gift.draw.as_ref().and_then(super::Draw::whole) {
        let (link, code) = (keys::link(cx.namespace(), &link.hash), keys::code(cx.namespace(), &code.hash));
        cx.delete(&link)?;
        cx.delete(&code)?;
    }
    settle_attention(cx, gift)?;
    give_back(cx, gift, from, "the gift could not be sent")?;
    notification::tell(cx, gift, News::Failed)?;
    save(cx, gift)
}
