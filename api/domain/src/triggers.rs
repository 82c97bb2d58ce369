//! The triggers of the domains: what they are called, which topics they are of, and how they are retried.
//!
//! External ones are done by executors, which report what came of it with the completion. Internal ones are on
//! [`INTERNAL`]: their payload is a [`Command`], and the node that leads completes them with it.

use prost::Message;
use scheduler::command::{LocalTime, RetryPolicy, Schedule, When};
use scheduler::domain::DomainError;
use scheduler::lane::Class;
use scheduler::time::Timestamp;

use crate::command::{Command, Kind};
use crate::context::Context;

/// Topic of pure changes of state, run by the node itself.
pub const INTERNAL: &str = "bosingak.internal";
/// Topic of payments to be confirmed.
pub const PAYMENT_CONFIRM: &str = "payment.confirm";
/// Topic of payments whose fate is not known.
pub const PAYMENT_QUERY: &str = "payment.query";
/// Topic of payments to be given back.
pub const PAYMENT_REFUND: &str = "payment.refund";
/// Topic of gifts to be sent.
pub const GIFT_SEND: &str = "gift.send";
/// Topic of gifts of which it is not known whether they were sent.
pub const GIFT_FIND: &str = "gift.find";

/// What the ids of the domains' triggers begin with. Clients cannot make such ids.
const PREFIX: &str = "bosingak.gift.{";

/// What the ids of the triggers of shops begin with.
const PREFIX_OF_SHOP: &str = "bosingak.shop.{";

/// What a trigger of a gift is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Confirm the payment.
    Pay,
    /// Ask what became of the payment.
    Query,
    /// Send the gift.
    Send,
    /// Ask whether the gift was sent.
    Find,
    /// Give the money back.
    Refund,
    /// Remind the recipient.
    Remind,
    /// Let the gift expire.
    Expire,
    /// Tell somebody something.
    Notify,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Purpose; 8] = [
        Purpose::Pay,
        Purpose::Query,
        Purpose::Send,
        Purpose::Find,
        Purpose::Refund,
        Purpose::Remind,
        Purpose::Expire,
        Purpose::Notify,
    ];

    /// As it stands in ids.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Pay => "pay",
            Purpose::Query => "query",
            Purpose::Send => "send",
            Purpose::Find => "find",
            Purpose::Refund => "refund",
            Purpose::Remind => "remind",
            Purpose::Expire => "expire",
            Purpose::Notify => "notify",
        }
    }
}

/// A trigger's id, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The gift.
    pub gift: String,
    /// What for.
    pub purpose: Purpose,
    /// Tells triggers of one purpose apart.
    pub number: u64,
}

/// The id of a trigger: in the braces the gift, which puts it into the gift's partition.
pub fn id(gift: &str, purpose: Purpose, number: u64) -> String {
    format!("{PREFIX}{gift}}}.{}.{number}", purpose.name())
}

/// The id of a trigger that tells operators about a shop: in the braces the shop, which puts it into the shop's partition.
pub fn id_of_shop(shop: &str, number: u64) -> String {
    format!("{PREFIX_OF_SHOP}{shop}}}.notify.{number}")
}

/// The gift and purpose in an id of [`id`]; `None` when it is another trigger's.
pub fn parse(id: &str) -> Option<Named> {
    let (gift, rest) = id.strip_prefix(PREFIX)?.split_once('}')?;
    let (name, number) = rest.strip_prefix('.')?.split_once('.')?;
    let purpose = Purpose::ALL.into_iter().find(|purpose| purpose.name() == name)?;
    Some(Named { gift: gift.to_owned(), purpose, number: number.parse().ok()? })
}

/// A trigger to be scheduled.
pub(crate) struct Planned<'a> {
    pub gift: &'a str,
    pub purpose: Purpose,
    pub topic: &'a str,
    /// Not after now: at once.
    pub due: Timestamp,
    pub local: Option<LocalTime>,
    pub payload: Vec<u8>,
    pub class: Class,
    pub retry: RetryPolicy,
}

/// Schedules it and answers its id.
pub(crate) fn plan(cx: &mut Context<'_, '_, '_, '_>, planned: Planned<'_>) -> Result<String, DomainError> {
    let id = id(planned.gift, planned.purpose, cx.generation().number());
    let when = if planned.due > cx.now() { When::At(planned.due.as_millis()) } else { When::After(0) };
    cx.schedule(Schedule {
        namespace: cx.namespace().to_owned(),
        id: id.clone(),
        topic: planned.topic.to_owned(),
        when: Some(when),
        // Work on one gift is one executor's.
        shard_key: planned.gift.to_owned(),
        payload: planned.payload.into(),
        labels: vec![scheduler::command::Label { key: "gift".to_owned(), value: planned.gift.to_owned() }],
        priority: planned.class as u32,
        retry: Some(planned.retry),
        local: planned.local,
        ..Schedule::default()
    })?;
    Ok(id)
}

/// Schedules a command to be applied at a moment.
pub(crate) fn plan_internal(
    cx: &mut Context<'_, '_, '_, '_>,
    gift: &str,
    purpose: Purpose,
    due: Timestamp,
    kind: Kind,
) -> Result<String, DomainError> {
    let payload = Command { kind: Some(kind) }.encode_to_vec();
    let retry = retry(100, 1_000, 60_000);
    plan(cx, Planned { gift, purpose, topic: INTERNAL, due, local: None, payload, class: Class::Normal, retry })
}

/// Cancels a trigger of which it does not matter any more whether it has fired, or is there at all.
pub(crate) fn drop_quietly(cx: &mut Context<'_, '_, '_, '_>, id: &str) -> Result<(), DomainError> {
    if !id.is_empty() {
        cx.drop_trigger(id)?;
    }
    Ok(())
}

/// So many attempts, the pause between them doubling up to a bound, a fifth of it left to chance.
pub(crate) fn retry(max_attempts: u32, initial_backoff_ms: u64, max_backoff_ms: u64) -> RetryPolicy {
    RetryPolicy {
        max_attempts,
        initial_backoff_ms,
        max_backoff_ms,
        multiplier_percent: 200,
        jitter_percent_plus_one: 21,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_and_others_are_not() {
        for purpose in Purpose::ALL {
            let named = Named { gift: "g-1".into(), purpose, number: u64::MAX };
            let id = id("g-1", purpose, u64::MAX);
            assert_eq!(parse(&id), Some(named), "{id}");
        }
        for longest in [id(&"g".repeat(64), Purpose::Refund, u64::MAX), id_of_shop(&"s".repeat(64), u64::MAX)] {
            assert!(longest.len() <= 128, "{} bytes", longest.len());
        }
        assert_eq!(parse(&id_of_shop("s", 7)), None);
        for other in ["", "g-1", "bosingak.gift.{g-1}", "bosingak.gift.{g-1}.send", "bosingak.gift.{g-1}.sent.1"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
