//! Gifts in the public protocol and as they are stored.

use domain::Reply;
use domain::gift::{Event, Gift, State};
use domain::notification::Channel;
use proto::gift::v1;
use scheduler::command::LocalTime;
use scheduler::time::Timestamp;

use super::people;
use crate::convert::{local_time, moment, moment_of};
use crate::local_time::Zones;
use crate::validate::Violations;

/// As its sender sees it.
pub(crate) fn shown(gift: Gift) -> v1::Gift {
    let channel = gift.sending.as_ref().and_then(|sending| sending.sent.as_ref()).map(|sent| sent.channel());
    v1::Gift {
        sender: Some(people::shown(gift.sender())),
        recipient: Some(people::shown(gift.recipient())),
        product: Some(crate::product::shown(gift.product())),
        send_at: Some(moment(Timestamp::from_millis(gift.send_at))),
        send_at_local: gift.local.clone().map(local_time),
        state: state(gift.state()).into(),
        expires_at: (gift.expires_at != 0).then(|| moment(Timestamp::from_millis(gift.expires_at))),
        created: Some(moment(Timestamp::from_millis(gift.created))),
        events: gift.events.into_iter().map(event).collect(),
        channel: channel.map_or(v1::Channel::Unspecified, shown_channel).into(),
        id: gift.id,
        message: gift.message,
        transferred: gift.transferred,
        version: gift.version,
        trouble: gift.trouble,
        shop: gift.shop,
    }
}

/// As its recipient sees it: without the sender's addresses and what went on behind the scenes.
pub(crate) fn shown_to_recipient(gift: Gift) -> v1::Gift {
    let name = gift.sender().name;
    let recipient = gift.recipient();
    let mut shown = shown(gift);
    shown.sender = Some(v1::Party { name, ..v1::Party::default() });
    shown.recipient = Some(v1::Party {
        name: recipient.name,
        time_zone: recipient.zone,
        language: recipient.language,
        ..v1::Party::default()
    });
    shown.events.clear();
    shown.trouble.clear();
    shown.send_at_local = None;
    shown
}

/// As a shop sees it: what it is, and nothing about people.
pub(crate) fn shown_to_shop(gift: Gift) -> v1::Gift {
    let mut shown = shown_to_recipient(gift);
    shown.sender = None;
    shown.recipient = None;
    shown.message.clear();
    shown
}

fn event(event: Event) -> v1::GiftEvent {
    v1::GiftEvent {
        at: Some(moment(Timestamp::from_millis(event.at))),
        state: state(event.state()).into(),
        what: event.what,
        log_index: event.log_index,
    }
}

/// The state's number in the protocol.
pub(crate) fn state(state: State) -> v1::GiftState {
    match state {
        State::Unspecified => v1::GiftState::Unspecified,
        State::PendingPayment => v1::GiftState::PendingPayment,
        State::Reserved => v1::GiftState::Reserved,
        State::Sending => v1::GiftState::Sending,
        State::Sent => v1::GiftState::Sent,
        State::Accepted => v1::GiftState::Accepted,
        State::Used => v1::GiftState::Used,
        State::Expired => v1::GiftState::Expired,
        State::Refunded => v1::GiftState::Refunded,
        State::Cancelled => v1::GiftState::Cancelled,
        State::Failed => v1::GiftState::Failed,
        State::SendUnknown => v1::GiftState::SendUnknown,
    }
}

/// A channel as the protocol numbers it.
pub(crate) fn shown_channel(channel: Channel) -> v1::Channel {
    match channel {
        Channel::Unspecified => v1::Channel::Unspecified,
        Channel::Kakao => v1::Channel::Kakao,
        Channel::Sms => v1::Channel::Sms,
        Channel::Email => v1::Channel::Email,
        Channel::Push => v1::Channel::Push,
        Channel::Operator => v1::Channel::Operator,
    }
}

/// A channel as the domain numbers it; one that is not known is none.
pub(crate) fn channel_of(number: i32) -> Channel {
    match v1::Channel::try_from(number).unwrap_or(v1::Channel::Unspecified) {
        v1::Channel::Unspecified => Channel::Unspecified,
        v1::Channel::Kakao => Channel::Kakao,
        v1::Channel::Sms => Channel::Sms,
        v1::Channel::Email => Channel::Email,
        v1::Channel::Push => Channel::Push,
        v1::Channel::Operator => Channel::Operator,
    }
}

/// Proof of what the log decided.
pub(crate) fn receipt(partition: u32, reply: &Reply) -> v1::GiftReceipt {
    let decided = Some(moment(Timestamp::from_millis(reply.time)));
    v1::GiftReceipt { partition, log_index: reply.log_index, decided }
}

/// When a gift is to be sent: a moment, or a local time in the recipient's zone unless it names one; a date alone is its midnight.
pub(crate) fn send_time(
    v: &mut Violations,
    given: Option<v1::SendTime>,
    zone: &str,
    zones: &Zones,
) -> (u64, Option<LocalTime>) {
    use v1::send_time::When;
    match given.and_then(|given| given.when) {
        None => {
            v.push("send", "expected one of at, local, got none");
            (0, None)
        }
        Some(When::At(at)) => (moment_of(v, "send.at", &at).as_millis(), None),
        Some(When::Local(local)) => {
            let date_alone = local.date_time.len() == "2027-02-14".len();
            let date_time = if date_alone { format!("{}T00:00", local.date_time) } else { local.date_time };
            let zone = if local.time_zone.is_empty() { zone } else { &local.time_zone };
            match zones.resolve(&date_time, zone, local.policy) {
                Ok(found) => {
                    let local = LocalTime {
                        date_time: found.date_time,
                        zone: found.zone,
                        policy: found.policy as u32,
                        tzdb: found.tzdb,
                    };
                    (found.moment.as_millis(), Some(local))
                }
                Err(error) => {
                    v.push(&format!("send.local.{}", error.field()), error.to_string());
                    (0, None)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(date_time: &str, zone: &str) -> Option<v1::SendTime> {
        let local = proto::v1::LocalTime { date_time: date_time.into(), time_zone: zone.into(), ..Default::default() };
        Some(v1::SendTime { when: Some(v1::send_time::When::Local(local)) })
    }

    fn resolved(given: Option<v1::SendTime>, zone: &str) -> Result<String, String> {
        let mut v = Violations::new();
        let (ms, _) = send_time(&mut v, given, zone, &Zones::bundled());
        v.finish(()).map_err(|error| error.to_string())?;
        Ok(jiff::Timestamp::from_millisecond(ms as i64).expect("a moment").to_string())
    }

    /// "Midnight in New York for a friend there", on both sides of a change of clocks and on the day of one.
    #[test]
    fn a_date_is_its_midnight_where_the_recipient_is() {
        assert_eq!(resolved(local("2027-02-14", ""), "Asia/Seoul").as_deref(), Ok("2027-02-13T15:00:00Z"));
        assert_eq!(resolved(local("2027-02-14", ""), "America/New_York").as_deref(), Ok("2027-02-14T05:00:00Z"));
        assert_eq!(resolved(local("2027-07-04", ""), "America/New_York").as_deref(), Ok("2027-07-04T04:00:00Z"));
        // The clocks of Santiago are set forward at midnight: that day begins at one.
        assert_eq!(resolved(local("2027-09-05", ""), "America/Santiago").as_deref(), Ok("2027-09-05T04:00:00Z"));
        let there = local("2027-02-14T09:30", "Europe/Paris");
        assert_eq!(resolved(there, "Asia/Seoul").as_deref(), Ok("2027-02-14T08:30:00Z"));
    }

    #[test]
    fn what_is_no_time_is_refused_by_field() {
        assert!(resolved(None, "Asia/Seoul").expect_err("none").contains("send: expected one of"));
        assert!(resolved(local("2027-02-30", ""), "Asia/Seoul").expect_err("no day").contains("send.local.date_time"));
        assert!(resolved(local("2027-02-14", "KST"), "").expect_err("no zone").contains("Asia/Seoul"));
    }
}
