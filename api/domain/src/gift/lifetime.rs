//! What time does to a gift that was sent: reminders, then expiry. One trigger at a time, each scheduled by the one before it.

use scheduler::domain::DomainError;
use scheduler::time::Timestamp;

use crate::command::{Kind, Reply};
use crate::context::Context;
use crate::ledger::Account;
use crate::notification::{self, News};
use crate::triggers::{self, Purpose};

use super::{Expire, Gift, Remind, State, find, give_back, go, note, save, settle_attention};

/// Schedules the first reminder from this one on that is still ahead, or else the end, instead of what there was.
pub(super) fn plan_next(cx: &mut Context<'_, '_, '_, '_>, gift: &mut Gift, from: u32) -> Result<(), DomainError> {
    let now = cx.now().as_millis();
    let ahead = (0..).zip(&gift.remind_at).find(|(number, at)| *number >= from && **at > now);
    let (purpose, due, kind) = match ahead {
        Some((number, at)) => (Purpose::Remind, *at, Kind::Remind(Remind { gift: gift.id.clone(), number })),
        None => (Purpose::Expire, gift.expires_at, Kind::Expire(Expire { gift: gift.id.clone() })),
    };
    gift.reminded = ahead.map_or(u32::MAX, |(number, _)| number);
    let before = std::mem::take(&mut gift.clock_trigger);
    triggers::drop_quietly(cx, &before)?;
    gift.clock_trigger = triggers::plan_internal(cx, &gift.id, purpose, Timestamp::from_millis(due), kind)?;
    Ok(())
}

/// Tells the recipient, unless the gift is used by now.
pub(crate) fn remind(cx: &mut Context<'_, '_, '_, '_>, command: &Remind) -> Result<Reply, DomainError> {
    let mut gift = find(cx, &command.gift)?;
    let due = usize::try_from(command.number).ok().and_then(|number| gift.remind_at.get(number).copied());
    if !gift.state().is_held() || command.number != gift.reminded {
        // The gift is over, or this was done before: the next one comes by itself.
        return Ok(Reply::replay(gift));
    }
    if due.is_none_or(|due| due > cx.now().as_millis()) {
        return too_early(cx, gift);
    }
    if gift.is_valid_at(cx.now()) {
        notification::tell(cx, &gift, News::ExpiresSoon)?;
        note(cx, &mut gift, "the recipient was reminded");
    }
    settle_attention(cx, &mut gift)?;
    plan_next(cx, &mut gift, command.number.saturating_add(1))?;
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

/// Lets the gift expire, unless it is used by now, and gives the money back.
pub(crate) fn expire(cx: &mut Context<'_, '_, '_, '_>, command: &Expire) -> Result<Reply, DomainError> {
    let mut gift = find(cx, &command.gift)?;
    if !gift.state().is_held() {
        return Ok(Reply::replay(gift));
    }
    if gift.is_valid_at(cx.now()) {
        return too_early(cx, gift);
    }
    go(cx, &mut gift, State::Expired, "not used in time")?;
    let clock = std::mem::take(&mut gift.clock_trigger);
    triggers::drop_quietly(cx, &clock)?;
    settle_attention(cx, &mut gift)?;
    give_back(cx, &gift, Account::Delivered, "the gift was not used in time")?;
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

/// Somebody made the trigger run before its time: it was the only one, so there has to be another.
fn too_early(cx: &mut Context<'_, '_, '_, '_>, mut gift: Gift) -> Result<Reply, DomainError> {
    let from = gift.reminded;
    plan_next(cx, &mut gift, from)?;
    save(cx, &mut gift)?;
    Ok(Reply::replay(gift))
}
