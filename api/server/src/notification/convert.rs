//! News in the public protocol: what is kept of it, and what its trigger says while that can be read.

use domain::notification::{Fate, News, Notification};
use domain::triggers::{self, Purpose};
use proto::notification::v1;
use scheduler::read::TriggerView;
use scheduler::reply::Outcome;
use scheduler::time::Timestamp;

use super::Known;
use crate::convert::moment;
use crate::gift::shown_channel;

/// As whoever asks sees it.
pub(super) fn shown(gift: &str, known: Known) -> v1::Notification {
    let Known { notification, trigger } = known;
    let (state, ended) = state(&notification, trigger.as_ref());
    let at = |millis: u64| Some(moment(Timestamp::from_millis(millis)));
    v1::Notification {
        id: triggers::id(gift, Purpose::Notify, notification.number),
        gift_id: gift.to_owned(),
        news: news(notification.news()).into(),
        state: state.into(),
        created: at(notification.at),
        ended: ended.and_then(at),
        channel: shown_channel(notification.channel()).into(),
        ways: notification
            .ways
            .into_iter()
            .map(|way| v1::Way { channel: shown_channel(way.channel()).into(), address: way.address })
            .collect(),
        to: notification.to,
        provider_id: notification.provider_id,
        failures: trigger.as_ref().map_or(0, |trigger| trigger.attempt),
        next_attempt: trigger.as_ref().and_then(|trigger| trigger.retry_at).map(moment),
        last_error: trigger.map(|trigger| trigger.last_error).unwrap_or_default(),
    }
}

/// What became of it, and since when it has ended. What an executor said is kept; all else its trigger knows better: it may have been
/// brought back from the dead letters, and executors of before say nothing.
fn state(notification: &Notification, trigger: Option<&TriggerView>) -> (v1::NotificationState, Option<u64>) {
    use v1::NotificationState as State;
    let since = Some(notification.since);
    match notification.fate() {
        Fate::Told => return (State::Told, since),
        Fate::Moot => return (State::Moot, since),
        Fate::Open | Fate::Dead => {}
    }
    match trigger.map(|trigger| (trigger.state, trigger)) {
        Some((Outcome::Scheduled | Outcome::Fired, _)) => (State::Waiting, None),
        Some((Outcome::Retrying, _)) => (State::Retrying, None),
        Some((Outcome::Completed, trigger)) => (State::Told, Some(trigger.receipt.decided.as_millis())),
        Some((Outcome::DeadLettered | Outcome::Cancelled, trigger)) => {
            (State::Dead, Some(trigger.receipt.decided.as_millis()))
        }
        // Its retention is over. A dead letter would have been noted: it was told, by somebody who did not say how.
        None if notification.fate() == Fate::Open => (State::Told, None),
        None => (State::Dead, since),
    }
}

fn news(news: News) -> v1::News {
    match news {
        News::Unspecified => v1::News::Unspecified,
        News::Reserved => v1::News::Reserved,
        News::Sent => v1::News::Sent,
        News::Received => v1::News::Received,
        News::Failed => v1::News::Failed,
        News::PassOn => v1::News::PassOn,
        News::Refunded => v1::News::Refunded,
        News::Arrived => v1::News::Arrived,
        News::ExpiresSoon => v1::News::ExpiresSoon,
        News::Attention => v1::News::Attention,
        News::Declined => v1::News::Declined,
        News::TerminalLocked => v1::News::TerminalLocked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(fate: Fate) -> Known {
        let since = if fate == Fate::Open { 0 } else { 7 };
        let notification = Notification { number: 9, at: 3, fate: fate.into(), since, ..Notification::default() };
        Known { notification, trigger: None }
    }

    /// What is said of news whose triggers are not kept any more; with triggers, see `tests/gift/notifications.rs`.
    #[test]
    fn what_was_noted_is_said_without_the_trigger() {
        use v1::NotificationState as State;
        let at = |millis| Some(moment(Timestamp::from_millis(millis)));
        for (fate, state, ended) in [
            (Fate::Open, State::Told, None),
            (Fate::Told, State::Told, at(7)),
            (Fate::Moot, State::Moot, at(7)),
            (Fate::Dead, State::Dead, at(7)),
        ] {
            let shown = shown("g", kept(fate));
            assert_eq!((shown.state(), shown.ended, shown.created), (state, ended, at(3)), "{fate:?}");
            assert_eq!(shown.id, "bosingak.gift.{g}.notify.9");
        }
    }

    #[test]
    fn every_news_has_its_number() {
        for number in 0..=11 {
            let of = News::try_from(number).expect("known to the domain");
            assert_eq!(news(of) as i32, number);
        }
    }
}
