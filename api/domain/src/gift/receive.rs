//! What the recipient and the shop do: take the gift, pass it on, use it.

use scheduler::domain::DomainError;
use scheduler::planted::{self, Bug};

use crate::command::Reply;
use crate::context::Context;
use crate::keys;
use crate::notification::{self, News};
use crate::product::CodeForm;
use crate::refusal::Refusal;
use crate::triggers;

use super::{
    Accept, Asked, Draw, Gift, Redeem, State, Transfer, check, cut, find_by, go, is_repeated, note, remember, save,
    settle_attention,
};

pub(crate) fn accept(cx: &mut Context<'_, '_, '_, '_>, command: Accept) -> Result<Reply, DomainError> {
    let mut gift = held(cx, &command.link, State::Accepted)?;
    if is_repeated(&gift, Asked::Accept, &command.request)? || gift.state() == State::Accepted {
        return Ok(Reply::replay(gift));
    }
    in_time(cx, &gift, State::Accepted)?;
    go(cx, &mut gift, State::Accepted, "accepted by the recipient")?;
    remember(&mut gift, Asked::Accept, &command.request)?;
    notification::tell(cx, &gift, News::Received)?;
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

pub(crate) fn transfer(cx: &mut Context<'_, '_, '_, '_>, command: Transfer) -> Result<Reply, DomainError> {
    let mut gift = held(cx, &command.link, State::Sent)?;
    if is_repeated(&gift, Asked::Transfer, &command.request)? {
        return Ok(Reply::replay(gift));
    }
    if !gift.state().is_held() {
        return Err(Refusal::wrong_state(gift.state(), State::Sent).into());
    }
    if gift.transferred {
        return Err(Refusal::too_late(gift.state(), gift.state(), "once, and it has been passed on").into());
    }
    let state = gift.state();
    in_time(cx, &gift, state)?;
    let to = command.to.ok_or_else(|| Refusal::invalid("to", "present"))?;
    check::check_party("to", &to)?;
    if to.gift_channels().is_empty() {
        return Err(Refusal::invalid("to", "a phone number, a Kakao id or an e-mail address").into());
    }
    let drawn = command.draw.as_ref().and_then(Draw::whole);
    let (Some((link, code)), Some(old)) = (drawn, gift.draw.clone()) else {
        return Err(Refusal::invalid("draw", "a link and a code").into());
    };
    let (new_link, new_code) = (keys::link(cx.namespace(), &link.hash), keys::code(cx.namespace(), &code.hash));
    if cx.raw(&new_link)?.is_some() || cx.raw(&new_code)?.is_some() {
        return Err(Refusal::collision("the code or link").into());
    }
    // The old code, which may have been looked at, is dead from here on. The old link still leads here, so that whoever opens it
    // is told what became of the gift, but it is not the gift's any more.
    if let Some((_, code)) = old.whole().filter(|_| !planted::is(Bug::KeepsOldCode)) {
        let code = keys::code(cx.namespace(), &code.hash);
        cx.delete(&code)?;
    }
    cx.put_raw(&new_link, gift.id.as_bytes())?;
    cx.put_raw(&new_code, gift.id.as_bytes())?;
    gift.draw = command.draw;
    gift.holder += 1;
    gift.transferred = true;
    gift.recipient = Some(to);
    remember(&mut gift, Asked::Transfer, &command.request)?;
    note(cx, &mut gift, "passed on to somebody else");
    notification::tell(cx, &gift, News::Arrived)?;
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

pub(crate) fn redeem(cx: &mut Context<'_, '_, '_, '_>, command: Redeem) -> Result<Reply, DomainError> {
    let mut gift = find_by(cx, &keys::code(cx.namespace(), &command.code), "code")?;
    // The node that looks a code up asks for a terminal before it does; so this is never the first to say so.
    if gift.product().code_form() == CodeForm::Digits && command.terminal.is_empty() {
        return Err(Refusal::not_authenticated().into());
    }
    if is_repeated(&gift, Asked::Redeem, &command.request)? {
        return Ok(Reply::replay(gift));
    }
    in_time(cx, &gift, State::Used)?;
    go(cx, &mut gift, State::Used, "used")?;
    remember(&mut gift, Asked::Redeem, &command.request)?;
    gift.shop = cut(command.shop, 64);
    // Nobody has to be reminded, and it does not expire.
    let clock = std::mem::take(&mut gift.clock_trigger);
    triggers::drop_quietly(cx, &clock)?;
    settle_attention(cx, &mut gift)?;
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

/// The gift of a link, when the link is not an earlier holder's.
fn held(cx: &Context<'_, '_, '_, '_>, link: &[u8], wanted: State) -> Result<Gift, DomainError> {
    let gift = find_by(cx, &keys::link(cx.namespace(), link), "link")?;
    let current = gift.draw.as_ref().and_then(|draw| draw.link.as_ref());
    if current.is_none_or(|current| current.hash != link) {
        return Err(Refusal { wanted: wanted.into(), ..Refusal::stale("link") }.into());
    }
    Ok(gift)
}

/// Validity is a matter of time alone, whenever the trigger that tidies up comes.
fn in_time(cx: &Context<'_, '_, '_, '_>, gift: &Gift, wanted: State) -> Result<(), Refusal> {
    match gift.state().is_held() && !gift.is_valid_at(cx.now()) {
        true => Err(Refusal::too_late(gift.state(), wanted, "until it expired")),
        false => Ok(()),
    }
}
