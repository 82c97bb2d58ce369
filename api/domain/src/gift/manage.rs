//! What the sender can do with a gift that is not sent yet: change it, take it back.

use scheduler::command::{Reschedule, When};
use scheduler::domain::DomainError;
use scheduler::time::Timestamp;

use crate::command::Reply;
use crate::context::Context;
use crate::ledger::Account;
use crate::refusal::Refusal;

use super::{
    Asked, Cancel, EDIT_BEFORE, Edit, Gift, State, check, expect_version, find, give_back, go, is_repeated, note,
    remember, save,
};

pub(crate) fn edit(cx: &mut Context<'_, '_, '_, '_>, command: Edit) -> Result<Reply, DomainError> {
    let mut gift = of_sender(find(cx, &command.gift)?, &command.sender)?;
    if is_repeated(&gift, Asked::Edit, &command.request)? {
        return Ok(Reply::replay(gift));
    }
    expect_version(&gift, command.expected_version)?;
    if gift.state() != State::Reserved {
        return Err(Refusal::wrong_state(gift.state(), State::Reserved).into());
    }
    if cx.now().after(EDIT_BEFORE) > Timestamp::from_millis(gift.send_at) {
        return Err(Refusal::too_late(State::Reserved, State::Reserved, "until an hour before it is sent").into());
    }
    remember(&mut gift, Asked::Edit, &command.request)?;
    if let Some(recipient) = command.recipient {
        check::check_party("recipient", &recipient)?;
        gift.recipient = Some(recipient);
    }
    if let Some(message) = command.message {
        check::message(&message)?;
        gift.message = message;
    }
    if command.send_at != 0 {
        check::send_at(command.send_at, cx.now())?;
        check::local(command.local.as_ref())?;
        gift.send_at = command.send_at;
        gift.local = command.local;
        let moved = cx.reschedule(Reschedule {
            namespace: cx.namespace().to_owned(),
            id: gift.send_trigger.clone(),
            when: Some(When::At(gift.send_at)),
            local: gift.local.clone(),
            ..Reschedule::default()
        })?;
        if moved.is_err() {
            return Err(Refusal::too_late(State::Reserved, State::Reserved, "until it is sent").into());
        }
    }
    note(cx, &mut gift, "changed by the sender");
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

pub(crate) fn cancel(cx: &mut Context<'_, '_, '_, '_>, command: Cancel) -> Result<Reply, DomainError> {
    let mut gift = of_sender(find(cx, &command.gift)?, &command.sender)?;
    if is_repeated(&gift, Asked::Cancel, &command.request)? {
        // The receipt is that of the first time.
        let decided = gift.events.iter().find(|event| event.state == State::Cancelled as i32);
        let (log_index, time) = decided.map_or((0, 0), |event| (event.log_index, event.at));
        return Ok(Reply { log_index, time, ..Reply::replay(gift) });
    }
    expect_version(&gift, command.expected_version)?;
    if gift.state() != State::Reserved {
        return Err(Refusal::wrong_state(gift.state(), State::Cancelled).into());
    }
    // The log decides: either the trigger has fired, or it never will.
    if cx.cancel(&gift.send_trigger)?.is_err() {
        return Err(Refusal::too_late(State::Reserved, State::Cancelled, "until the moment it is sent").into());
    }
    remember(&mut gift, Asked::Cancel, &command.request)?;
    go(cx, &mut gift, State::Cancelled, "taken back by the sender")?;
    give_back(cx, &gift, Account::Held, "the sender took the gift back")?;
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

/// Another sender's gifts are not there.
fn of_sender(gift: Gift, sender: &str) -> Result<Gift, Refusal> {
    let is_theirs = sender.is_empty() || gift.sender.as_ref().is_some_and(|party| party.id == sender);
    if is_theirs { Ok(gift) } else { Err(Refusal::not_found("gift")) }
}
