//! Names and addresses as they may be shown to whoever looks after messages: enough to tell two apart, not enough to use.

use crate::gift::Party;

use super::Channel;

/// What stands for what is left out, however long that is.
const HIDDEN: &str = "***";

/// The address by which a channel reaches a person, masked. Empty where a channel has no address to show.
pub(super) fn address(party: &Party, channel: Channel) -> String {
    match channel {
        // A message to a phone number reaches the Kakao account with that number.
        Channel::Kakao if party.kakao.is_empty() => phone(&party.phone),
        Channel::Kakao => first(&party.kakao),
        Channel::Sms => phone(&party.phone),
        Channel::Email => email(&party.email),
        // A token says nothing to people.
        Channel::Push => String::new(),
        Channel::Operator | Channel::Unspecified => String::new(),
    }
}

/// A name, of which the first character is left.
pub(super) fn name(name: &str) -> String {
    first(name)
}

fn first(text: &str) -> String {
    text.chars().next().map(|first| format!("{first}{HIDDEN}")).unwrap_or_default()
}

/// The last two digits are left: those who know the number know them again.
fn phone(phone: &str) -> String {
    match phone.char_indices().rev().nth(1) {
        Some((at, _)) => format!("{HIDDEN}{}", &phone[at..]),
        None => String::new(),
    }
}

/// The first character and the domain are left.
fn email(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() => format!("{}@{domain}", first(local)),
        _ => first(email),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn party() -> Party {
        Party {
            name: "김보신".into(),
            phone: "+821012345678".into(),
            email: "kim.bosin@example.com".into(),
            push_token: "device-token".into(),
            ..Party::default()
        }
    }

    #[test]
    fn enough_is_left_to_tell_two_apart() {
        assert_eq!(name(&party().name), "김***");
        assert_eq!(address(&party(), Channel::Sms), "***78");
        assert_eq!(address(&party(), Channel::Kakao), "***78");
        let with_kakao = Party { kakao: "bosin-kakao".into(), ..party() };
        assert_eq!(address(&with_kakao, Channel::Kakao), "b***");
        assert_eq!(address(&party(), Channel::Email), "k***@example.com");
        assert_eq!((address(&party(), Channel::Push), address(&party(), Channel::Operator)), Default::default());
    }

    proptest! {
        /// Red when any of a masked text is cut inside a character, or more than is said above is left of it.
        #[test]
        fn anything_is_masked(text in "\\PC{0,80}", plain in "[a-z]{4,20}@[a-z]{1,9}\\.com") {
            let given = Party { name: text.clone(), phone: text.clone(), email: text.clone(), kakao: text.clone(), ..Party::default() };
            for channel in [Channel::Kakao, Channel::Sms, Channel::Email, Channel::Push, Channel::Operator] {
                let shown = address(&given, channel);
                let domain = text.rsplit_once('@').map_or(0, |(_, domain)| domain.chars().count() + 1);
                prop_assert!(shown.chars().count() <= 3 + 2 + domain, "{channel:?}: {shown:?} of {text:?}");
            }
            let shown = address(&Party { email: plain.clone(), ..Party::default() }, Channel::Email);
            let local = plain.split('@').next().unwrap_or_default();
            prop_assert!(!shown.contains(local), "{shown:?}");
        }
    }
}
