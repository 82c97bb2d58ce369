//! Who gets a message: where, in which language, at which time of day.

use jiff::tz::TimeZone;
use proto::gift::v1::{Channel, Party};

use crate::providers::address::Address;
use crate::providers::message::Language;

/// Where nothing else is said.
const HOME: &str = "Asia/Seoul";

/// Where a person is on a channel; `None` when nowhere. An address that is none counts as no address: no other attempt makes it one.
pub(super) fn address(party: &Party, channel: Channel) -> Option<Address> {
    match channel {
        // Kakao delivers to the account with a phone number; the directory may have resolved an id to one.
        Channel::Kakao => Address::phone(&party.phone).or_else(|_| Address::phone(&party.kakao)).ok(),
        Channel::Sms => Address::phone(&party.phone).ok(),
        Channel::Email => Address::email(&party.email).ok(),
        Channel::Push => Address::device(&party.push_token).ok(),
        Channel::Operator => Some(Address::operators()),
        Channel::Unspecified => None,
    }
}

/// What a person reads: English when the party says `en`, else Korean.
pub(super) fn language(party: &Party) -> Language {
    if party.language == "en" { Language::English } else { Language::Korean }
}

/// The zone of a person, Korea's when there is none of that name.
pub(super) fn zone(party: &Party) -> TimeZone {
    let name = if party.time_zone.is_empty() { HOME } else { &party.time_zone };
    TimeZone::get(name).or_else(|_| TimeZone::get(HOME)).unwrap_or(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_where_they_can_be_reached() {
        let party = Party {
            phone: "+821012345678".into(),
            email: "kim@example.com".into(),
            push_token: "token".into(),
            ..Party::default()
        };
        for channel in [Channel::Kakao, Channel::Sms, Channel::Email, Channel::Push, Channel::Operator] {
            assert!(address(&party, channel).is_some(), "{channel:?}");
            let nobody = address(&Party::default(), channel);
            assert_eq!(nobody.is_some(), channel == Channel::Operator, "{channel:?}");
        }
        assert!(address(&party, Channel::Unspecified).is_none());
        let resolved = Party { kakao: "+821012345678".into(), ..Party::default() };
        assert!(address(&resolved, Channel::Kakao).is_some() && address(&resolved, Channel::Sms).is_none());
    }

    #[test]
    fn unknown_zones_and_languages_are_those_of_korea() {
        let of = |zone: &str, language: &str| Party {
            time_zone: zone.into(),
            language: language.into(),
            ..Party::default()
        };
        assert_eq!(zone(&of("America/New_York", "")).iana_name(), Some("America/New_York"));
        for name in ["", "Mars/Olympus"] {
            assert_eq!(zone(&of(name, "")).iana_name(), Some(HOME), "{name:?}");
        }
        assert_eq!(language(&of("", "en")), Language::English);
        assert_eq!(language(&of("", "fr")), Language::Korean);
    }
}
