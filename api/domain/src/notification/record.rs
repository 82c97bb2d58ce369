//! What is known about news: to whom, by which ways, and what became of each. Beside the gift and not in it, so that news
//! change neither a gift nor its version.

use scheduler::domain::DomainError;
use scheduler::store::{Read, StoreError};

use crate::command::Reply;
use crate::context::Context;
use crate::gift::cut;
use crate::{keys, stored};

use super::{Channel, News};

/// News that are kept of one gift; the oldest is dropped for one more. No gift has had as many so far: it is a bound, not a habit.
pub const KEPT_MAX: usize = 32;

/// What became of a piece of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Fate {
    /// Nobody has said. Its trigger says more, for as long as that can be read.
    Open = 0,
    /// A provider took it.
    Told = 1,
    /// There was nothing left to tell: the gift or its link was over.
    Moot = 2,
    /// Every attempt was given up. It may be tried again.
    Dead = 3,
}

/// A way by which somebody is reached.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Way {
    /// Which.
    #[prost(enumeration = "Channel", tag = "1")]
    pub channel: i32,
    /// Where it leads, masked; or empty.
    #[prost(string, tag = "2")]
    pub address: String,
}

/// A piece of news.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Notification {
    /// That of its trigger ([`crate::triggers::id`]).
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// What.
    #[prost(enumeration = "News", tag = "2")]
    pub news: i32,
    /// Since when it is to be told, in replicated time.
    #[prost(uint64, tag = "3")]
    pub at: u64,
    /// Who is told, masked; empty for operators.
    #[prost(string, tag = "4")]
    pub to: String,
    /// The ways, in the order in which they are tried.
    #[prost(message, repeated, tag = "5")]
    pub ways: Vec<Way>,
    /// What became of it.
    #[prost(enumeration = "Fate", tag = "6")]
    pub fate: i32,
    /// Since when that is so, in replicated time; 0 while it is open.
    #[prost(uint64, tag = "7")]
    pub since: u64,
    /// The channel that took it; unspecified when the executor did not say.
    #[prost(enumeration = "Channel", tag = "8")]
    pub channel: i32,
    /// The provider's name for the message; empty when it has none, or was not said.
    #[prost(string, tag = "9")]
    pub provider_id: String,
}

/// The newest news about a gift, in order.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Notifications {
    #[prost(message, repeated, tag = "1")]
    pub(super) kept: Vec<Notification>,
}

impl Notifications {
    fn push(&mut self, notification: Notification) {
        if self.kept.len() >= KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push(notification);
    }
}

/// An executor says what came of telling it, with the completion of its trigger.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Told {
    /// About which gift.
    #[prost(string, tag = "1")]
    pub gift: String,
    /// That of the trigger.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// The channel that took it.
    #[prost(enumeration = "Channel", tag = "3")]
    pub channel: i32,
    /// The provider's name for the message; 128 characters are kept.
    #[prost(string, tag = "4")]
    pub provider_id: String,
    /// There was nothing left to tell.
    #[prost(bool, tag = "5")]
    pub moot: bool,
}

/// Keeps that there is news.
pub(super) fn keep(
    cx: &mut Context<'_, '_, '_, '_>,
    gift: &str,
    notification: Notification,
) -> Result<(), DomainError> {
    let key = keys::notifications(cx.namespace(), gift);
    let mut found: Notifications = cx.get("notifications", &key)?.unwrap_or_default();
    found.push(notification);
    cx.put(&key, &found)
}

/// Keeps what became of it. What is not kept any more, or of a gift that is gone, is passed over: news never stop anything.
fn decide(
    cx: &mut Context<'_, '_, '_, '_>,
    gift: &str,
    number: u64,
    fate: Fate,
    by: impl FnOnce(&mut Notification),
) -> Result<bool, DomainError> {
    let key = keys::notifications(cx.namespace(), gift);
    let Some(mut found) = cx.get::<Notifications>("notifications", &key)? else { return Ok(false) };
    let now = cx.now().as_millis();
    let Some(one) = found.kept.iter_mut().find(|one| one.number == number) else { return Ok(false) };
    // What was told stays told.
    if matches!(one.fate(), Fate::Told | Fate::Moot) {
        return Ok(false);
    }
    (one.fate, one.since) = (fate.into(), now);
    by(one);
    cx.put(&key, &found)?;
    Ok(true)
}

pub(crate) fn told(cx: &mut Context<'_, '_, '_, '_>, command: Told) -> Result<Reply, DomainError> {
    let fate = if command.moot { Fate::Moot } else { Fate::Told };
    let channel = command.channel();
    let provider_id = cut(command.provider_id, 128);
    let changed = decide(cx, &command.gift, command.number, fate, |one| {
        (one.channel, one.provider_id) = (channel.into(), provider_id);
    })?;
    Ok(Reply { replayed: !changed, ..Reply::default() })
}

/// Its trigger has become a dead letter.
pub(crate) fn given_up(cx: &mut Context<'_, '_, '_, '_>, gift: &str, number: u64) -> Result<(), DomainError> {
    decide(cx, gift, number, Fate::Dead, |_| {}).map(drop)
}

/// The newest [`KEPT_MAX`] pieces of news about a gift, in order.
///
/// # Errors
///
/// The rows cannot be read.
pub fn list(rows: &dyn Read, namespace: &str, gift: &str) -> Result<Vec<Notification>, StoreError> {
    let found: Option<Notifications> = stored::read(rows, "notifications", &keys::notifications(namespace, gift))?;
    Ok(found.unwrap_or_default().kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when the row of a gift grows without a bound, or the newest are dropped.
    #[test]
    fn the_newest_are_kept() {
        let mut found = Notifications::default();
        for number in 1..=40 {
            found.push(Notification { number, ..Notification::default() });
        }
        assert_eq!(found.kept.iter().map(|one| one.number).collect::<Vec<_>>(), (9..=40).collect::<Vec<_>>());
    }
}
