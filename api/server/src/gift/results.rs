//! What executors say came of their work, as commands of the domains.

use bytes::Bytes;
use domain::Kind;
use domain::gift::{Found, ResolveSend, SendLater, SendUnknown, Sent};
use domain::notification::Told;
use domain::triggers::{self, Purpose};
use prost::Message;
use prost_types::Any;
use proto::gift::v1;
use proto::notification::v1 as notification;

use super::convert::channel_of;
use crate::business;

/// Names of the messages that are results.
const RESULTS: &str = "bosingak.payment.v1.PaymentOutcome, bosingak.payment.v1.RefundOutcome, bosingak.gift.v1.Sent, \
                       bosingak.gift.v1.SendLater, bosingak.gift.v1.SendUnknown, bosingak.gift.v1.SendFound, \
                       bosingak.notification.v1.Told";

/// The command that a result of a trigger is. It has to be about the gift that the trigger is about.
///
/// # Errors
///
/// What was expected.
pub(crate) fn business_of(trigger: &str, result: &Any) -> Result<Bytes, String> {
    let (subject, kind) = command_of(result)?;
    let Some(named) = triggers::parse(trigger) else {
        return Err("expected no result: the trigger is not of a business service".to_owned());
    };
    if named.gift != subject {
        return Err(format!("expected a result about {:?}, got one about {subject:?}", named.gift));
    }
    match kind {
        Kind::Told(told) if named.purpose == Purpose::Notify => {
            Ok(business::encode(Kind::Told(Told { number: named.number, ..told })))
        }
        Kind::Told(_) => Err("expected a result other than bosingak.notification.v1.Told, which is of news".to_owned()),
        kind => Ok(business::encode(kind)),
    }
}

/// Whether a gift waits for what comes of a trigger: completed without a word it would wait for ever. Sending may turn out to be over.
pub(crate) fn needs_result(trigger: &str) -> bool {
    let waits = [Purpose::Pay, Purpose::Query, Purpose::Refund, Purpose::Find];
    triggers::parse(trigger).is_some_and(|named| waits.contains(&named.purpose))
}

/// The gift a result is about, and the command.
fn command_of(result: &Any) -> Result<(String, Kind), String> {
    let name = result.type_url.rsplit('/').next().unwrap_or_default();
    let command = match name {
        "bosingak.payment.v1.PaymentOutcome" => {
            let command = crate::payment::settle(read(result)?);
            (command.payment.clone(), Kind::SettlePayment(command))
        }
        "bosingak.payment.v1.RefundOutcome" => {
            let command = crate::payment::settle_refund(read(result)?);
            (command.payment.clone(), Kind::SettleRefund(command))
        }
        "bosingak.gift.v1.Sent" => {
            let sent: v1::Sent = read(result)?;
            let channel = channel_of(sent.channel).into();
            let gift = sent.gift.clone();
            (gift, Kind::Sent(Sent { gift: sent.gift, round: sent.round, channel, provider_id: sent.provider_id }))
        }
        "bosingak.gift.v1.SendLater" => {
            let later: v1::SendLater = read(result)?;
            let v1::SendLater { gift, round, error, outage, after_ms } = later;
            (gift.clone(), Kind::SendLater(SendLater { gift, round, error, outage, after_ms }))
        }
        "bosingak.gift.v1.SendUnknown" => {
            let unknown: v1::SendUnknown = read(result)?;
            let v1::SendUnknown { gift, round, error } = unknown;
            (gift.clone(), Kind::SendUnknown(SendUnknown { gift, round, error }))
        }
        "bosingak.gift.v1.SendFound" => {
            let found: v1::SendFound = read(result)?;
            let kind = match found.kind() {
                v1::send_found::Kind::Unspecified => Found::Nothing,
                v1::send_found::Kind::Sent => Found::Sent,
                v1::send_found::Kind::NotSent => Found::NotSent,
            };
            let gift = found.gift.clone();
            let command = ResolveSend {
                gift: found.gift,
                found: kind.into(),
                provider_id: found.provider_id,
                by: "provider".to_owned(),
            };
            (gift, Kind::ResolveSend(command))
        }
        "bosingak.notification.v1.Told" => {
            let notification::Told { gift, channel, provider_id, moot } = read(result)?;
            // Which news it is about is in the name of its trigger.
            let (channel, number) = (channel_of(channel).into(), 0);
            (gift.clone(), Kind::Told(Told { gift, number, channel, provider_id, moot }))
        }
        other => {
            return Err(format!("expected one of {RESULTS}, got {:?}", other.chars().take(64).collect::<String>()));
        }
    };
    Ok(command)
}

fn read<M: Message + Default>(result: &Any) -> Result<M, String> {
    M::decode(&result.value[..]).map_err(|error| format!("expected a {}: {error}", result.type_url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(name: &str, value: Vec<u8>) -> Any {
        Any { type_url: format!("type.googleapis.com/{name}"), value }
    }

    fn trigger(gift: &str) -> String {
        triggers::id(gift, triggers::Purpose::Notify, 7)
    }

    #[test]
    fn every_result_is_a_command_about_its_own_gift() {
        // Field 1 of each is the gift.
        let about_g = vec![0x0a, 1, b'g'];
        for name in RESULTS.split(", ") {
            let result = any(name, about_g.clone());
            assert!(business_of(&trigger("g"), &result).is_ok(), "{name}");
            let error = business_of(&trigger("h"), &result).expect_err("another gift's");
            assert!(error.contains("expected a result about \"h\""), "{error}");
            assert!(business_of("mine", &result).is_err(), "{name}");
            assert!(business_of(&trigger("g"), &any(name, vec![0xff])).is_err(), "{name}");
        }
    }

    /// Red when what an executor says of one piece of news is kept of another, or taken as what came of sending.
    #[test]
    fn what_was_told_is_of_the_news_of_the_trigger() {
        let told = notification::Told { gift: "g".into(), provider_id: "m".into(), ..Default::default() };
        let result = any("bosingak.notification.v1.Told", told.encode_to_vec());
        let body = business_of(&trigger("g"), &result).expect("a command");
        let expected = Told { gift: "g".into(), number: 7, provider_id: "m".into(), ..Told::default() };
        assert_eq!(domain::Command::decode(body).expect("read").kind, Some(Kind::Told(expected)));
        let error = business_of(&triggers::id("g", Purpose::Send, 7), &result).expect_err("of another purpose");
        assert!(error.contains("of news"), "{error}");
    }

    #[test]
    fn a_gift_that_waits_is_not_left_without_a_word() {
        assert!(
            needs_result(&triggers::id("g", Purpose::Pay, 1)) && needs_result(&triggers::id("g", Purpose::Refund, 1))
        );
        assert!(!needs_result(&triggers::id("g", Purpose::Notify, 1)) && !needs_result("mine"));
    }

    #[test]
    fn nothing_else_is() {
        let error = business_of(&trigger("g"), &any("bosingak.gift.v1.Gift", Vec::new())).expect_err("no result");
        assert!(error.contains("bosingak.gift.v1.Sent") && error.contains("bosingak.gift.v1.Gift"), "{error}");
        assert!(business_of(&trigger("g"), &Any::default()).is_err());
    }
}
