//! From the wish to a gift that waits: reserving it, and what becomes of its payment.

use prost::Message;
use scheduler::domain::DomainError;
use scheduler::lane::{Class, Generation};
use scheduler::time::{Delay, Timestamp};

use crate::command::Reply;
use crate::context::Context;
use crate::keys;
use crate::ledger::Account;
use crate::notification::{self, News};
use crate::payment::{self, Payment};
use crate::product;
use crate::refusal::Refusal;
use crate::triggers::{self, Planned, Purpose};

use super::{Gift, Reserve, SendWork, State, check, find, give_back, go, note, save, settle_attention};

/// How long a payment may take before its sender is told that it was declined: until then, the answer to the reservation may say so.
const ANSWERED_WITHIN: Delay = Delay::from_secs(10);
/// How long after its moment a gift is still sent when its payment took that long; later it is given back.
const PAID_LATE_MAX: Delay = Delay::from_secs(3_600);

pub(crate) fn reserve(cx: &mut Context<'_, '_, '_, '_>, command: Reserve) -> Result<Reply, DomainError> {
    let key = keys::gift(cx.namespace(), &command.gift);
    if let Some(found) = cx.get::<Gift>("gift", &key)? {
        return match found.fingerprint == command.fingerprint {
            true => Ok(Reply::replay(found)),
            false => Err(Refusal::already_exists("gift").into()),
        };
    }
    check::reserve(&command, cx.now())?;
    let product = command.product.ok_or_else(|| Refusal::invalid("product", "present"))?;
    product::check(&product)?;
    if !product.on_sale {
        return Err(Refusal::invalid("product_id", "a product that is on sale").into());
    }
    let payment = command.payment.ok_or_else(|| Refusal::invalid("payment", "present"))?;
    let made = cx.generation();
    let mut gift = Gift {
        id: command.gift,
        sender: command.sender,
        recipient: command.recipient,
        message: command.message,
        product: Some(product),
        send_at: command.send_at,
        local: command.local,
        state: State::Unspecified.into(),
        made: made.number(),
        created: cx.now().as_millis(),
        fingerprint: command.fingerprint,
        ..Gift::default()
    };
    go(cx, &mut gift, State::PendingPayment, "reserved, the payment begins")?;
    payment::begin(cx, &gift.id, payment, gift.price())?;
    let listed = keys::gift_of_sender(cx.namespace(), &gift.sender().id, made);
    cx.put_raw(&listed, gift.id.as_bytes())?;
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

/// The money is there: the gift waits for its moment.
pub(crate) fn paid(cx: &mut Context<'_, '_, '_, '_>, payment: &mut Payment) -> Result<Reply, DomainError> {
    let mut gift = find(cx, &payment.id)?;
    let send_at = Timestamp::from_millis(gift.send_at);
    if cx.now() > send_at.after(PAID_LATE_MAX) {
        gift.trouble = "the payment was confirmed too late".to_owned();
        go(cx, &mut gift, State::Failed, "paid more than an hour after its moment")?;
        settle_attention(cx, &mut gift)?;
        *payment = give_back(cx, &gift, Account::Held, "the gift could not be sent in time")?;
        notification::tell(cx, &gift, News::Failed)?;
        save(cx, &mut gift)?;
        return Ok(Reply::gift(gift));
    }
    go(cx, &mut gift, State::Reserved, "paid")?;
    plan_send(cx, &mut gift, send_at, 1)?;
    settle_attention(cx, &mut gift)?;
    notification::tell(cx, &gift, News::Reserved)?;
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

/// The money is not there, or is on its way back already.
pub(crate) fn unpaid(
    cx: &mut Context<'_, '_, '_, '_>,
    payment: &Payment,
    captured: bool,
) -> Result<Reply, DomainError> {
    let mut gift = find(cx, &payment.id)?;
    gift.trouble = format!("not paid: {}", payment.error);
    if gift.state() == State::PendingPayment {
        go(cx, &mut gift, State::Failed, if captured { "paid wrongly, the money goes back" } else { "not paid" })?;
    } else {
        note(cx, &mut gift, "money arrived late, it goes back");
    }
    settle_attention(cx, &mut gift)?;
    let waited = cx.now() > Timestamp::from_millis(gift.created).after(ANSWERED_WITHIN);
    if !captured && (payment.queries > 0 || waited) {
        notification::tell(cx, &gift, News::Declined)?;
    }
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

/// The provider was never asked: as if nobody had reserved it.
pub(crate) fn withdraw(cx: &mut Context<'_, '_, '_, '_>, id: &str) -> Result<Reply, DomainError> {
    let gift = find(cx, id)?;
    if gift.state() != State::PendingPayment {
        return Err(Refusal::wrong_state(gift.state(), State::Unspecified).into());
    }
    let listed = keys::gift_of_sender(cx.namespace(), &gift.sender().id, Generation::from_number(gift.made));
    let (own, payment) = (keys::gift(cx.namespace(), id), keys::payment(cx.namespace(), id));
    let (attention, news) = (keys::attention(cx.namespace(), id), keys::notifications(cx.namespace(), id));
    for key in [own, payment, listed, attention, news] {
        cx.delete(&key)?;
    }
    cx.changed(&super::watched(id));
    Ok(Reply::default())
}

/// The money is back.
pub(crate) fn refunded(cx: &mut Context<'_, '_, '_, '_>, payment: &Payment) -> Result<Reply, DomainError> {
    let mut gift = find(cx, &payment.id)?;
    go(cx, &mut gift, State::Refunded, "the money is back")?;
    settle_attention(cx, &mut gift)?;
    notification::tell(cx, &gift, News::Refunded)?;
    save(cx, &mut gift)?;
    Ok(Reply::gift(gift))
}

/// Schedules the sending.
pub(super) fn plan_send(
    cx: &mut Context<'_, '_, '_, '_>,
    gift: &mut Gift,
    due: Timestamp,
    round: u32,
) -> Result<(), DomainError> {
    let local = gift.local.clone().filter(|_| round == 1);
    // That of the round before is being completed, or of no use any more.
    let before = std::mem::take(&mut gift.send_trigger);
    triggers::drop_quietly(cx, &before)?;
    gift.send_trigger = triggers::plan(
        cx,
        Planned {
            gift: &gift.id,
            purpose: Purpose::Send,
            topic: triggers::GIFT_SEND,
            due,
            local,
            payload: SendWork { gift: gift.id.clone(), round }.encode_to_vec(),
            class: Class::High,
            // What a provider says ends an attempt well; what is left are executors that died over it.
            retry: triggers::retry(10, 1_000, 60_000),
        },
    )?;
    Ok(())
}
