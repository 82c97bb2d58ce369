//! Where messages go: never printed, never part of an error.

use std::fmt;

use super::message::InvalidMessage;

/// Where a message goes. `Debug` shows the kind only, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Kind);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Phone(String),
    Email(String),
    Device(String),
    Operators,
}

/// What stands in error texts where the address was.
const REDACTED: &str = "(address)";

impl Address {
    /// A phone number: `010-1234-5678`, or with a country, `+82 10 1234 5678`. A number that begins with 0 is Korean. 8 to 15
    /// digits with the country; blanks, hyphens, dots and brackets between them are left out.
    pub fn phone(text: &str) -> Result<Self, InvalidMessage> {
        let error = || {
            let expected = "a phone number of 8 to 15 digits is expected, beginning with 0 (Korean) or + and a country";
            InvalidMessage::new("to", expected)
        };
        let text = text.trim();
        let mut digits = String::with_capacity(text.len());
        for c in text.strip_prefix('+').unwrap_or(text).chars() {
            match c {
                '0'..='9' => digits.push(c),
                ' ' | '-' | '.' | '(' | ')' => {}
                _ => return Err(error()),
            }
        }
        let with_country = match (text.starts_with('+'), digits.strip_prefix('0')) {
            // +82 010… is how people write who were told to put the country before their number.
            (true, None) => match digits.strip_prefix("820") {
                Some(rest) => format!("82{rest}"),
                None => digits,
            },
            (false, Some(rest)) if !rest.starts_with('0') => format!("82{rest}"),
            _ => return Err(error()),
        };
        if (8..=15).contains(&with_country.len()) { Ok(Address(Kind::Phone(with_country))) } else { Err(error()) }
    }

    /// An e-mail address of at most 254 bytes: ASCII, one `@`, a domain with a dot or `localhost`.
    pub fn email(text: &str) -> Result<Self, InvalidMessage> {
        let text = text.trim();
        let (user, domain) = text.rsplit_once('@').unwrap_or_default();
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"<>()[]\\,;:\"".contains(&b));
        let domain_fits = (domain.contains('.') || domain == "localhost")
            && domain.split('.').all(|label| {
                let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
                (1..=63).contains(&label.len()) && label.bytes().all(fits)
            });
        if text.len() <= 254 && plain && (1..=64).contains(&user.len()) && !user.contains('@') && domain_fits {
            Ok(Address(Kind::Email(text.to_owned())))
        } else {
            Err(InvalidMessage::new("to", "an e-mail address of at most 254 bytes of ASCII is expected"))
        }
    }

    /// The registration token of an app on a device, as Firebase gave it to the app. 1 to 4,096 bytes of printable ASCII.
    pub fn device(token: &str) -> Result<Self, InvalidMessage> {
        if (1..=4_096).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Address(Kind::Device(token.to_owned())))
        } else {
            Err(InvalidMessage::new("to", "a registration token of 1 to 4,096 bytes of printable ASCII is expected"))
        }
    }

    /// Those who operate the service, wherever the provider of [`Channel::Operator`](super::message::Channel::Operator)
    /// was told they are.
    pub fn operators() -> Self {
        Address(Kind::Operators)
    }

    /// The digits of a phone number, beginning with the country, without `+`.
    pub fn as_phone(&self) -> Option<&str> {
        if let Kind::Phone(digits) = &self.0 { Some(digits) } else { None }
    }

    /// A Korean phone number as it is dialled there: `01012345678`.
    pub fn as_korean_phone(&self) -> Option<String> {
        self.as_phone()?.strip_prefix("82").map(|rest| format!("0{rest}"))
    }

    /// An e-mail address.
    pub fn as_email(&self) -> Option<&str> {
        if let Kind::Email(address) = &self.0 { Some(address) } else { None }
    }

    /// The registration token of a device.
    pub fn as_device(&self) -> Option<&str> {
        if let Kind::Device(token) = &self.0 { Some(token) } else { None }
    }

    /// Whether this means those who operate the service.
    pub fn is_operators(&self) -> bool {
        self.0 == Kind::Operators
    }

    /// What kind it is, in words for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self.0 {
            Kind::Phone(_) => "a phone number",
            Kind::Email(_) => "an e-mail address",
            Kind::Device(_) => "a registration token",
            Kind::Operators => "the operators",
        }
    }

    /// The text without this address, however it is written there.
    pub(crate) fn redact(&self, text: &str) -> String {
        match &self.0 {
            Kind::Phone(digits) => redact_number(text, digits),
            Kind::Email(address) => redact_word(text, address),
            Kind::Device(token) => redact_word(text, token),
            Kind::Operators => text.to_owned(),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Kind::Phone(_) => "Phone",
            Kind::Email(_) => "Email",
            Kind::Device(_) => "Device",
            Kind::Operators => return f.write_str("Operators"),
        };
        write!(f, "{kind}(redacted)")
    }
}

fn redact_word(text: &str, word: &str) -> String {
    // Lower case of ASCII keeps every place.
    let (lower, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let mut redacted = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in lower.match_indices(&word) {
        redacted.push_str(&text[from..at]);
        redacted.push_str(REDACTED);
        from = at + found.len();
    }
    redacted + &text[from..]
}

/// A number is recognized by its last eight digits (or all of a shorter one), with or without country and hyphens.
fn redact_number(text: &str, digits: &str) -> String {
    let end = &digits[digits.len().saturating_sub(8)..];
    let part_of_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | ' ' | '.' | '(' | ')');
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit() || c == '+') {
        let (before, from) = rest.split_at(start);
        let length = from.find(|c| !part_of_number(c)).unwrap_or(from.len());
        let run = from[..length].trim_end_matches(|c: char| !c.is_ascii_digit());
        // A lone + is no run; it is passed over.
        let run = if run.is_empty() { &from[..1] } else { run };
        let run_digits: String = run.chars().filter(char::is_ascii_digit).collect();
        redacted.push_str(before);
        redacted.push_str(if run_digits.contains(end) { REDACTED } else { run });
        rest = &from[run.len()..];
    }
    redacted + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn phone_numbers_are_read_as_people_write_them() {
        for (text, digits) in [
            ("010-1234-5678", "821012345678"),
            ("+82 10 1234 5678", "821012345678"),
            ("+82 (0)10.1234.5678", "821012345678"),
            ("02 123 4567", "8221234567"),
            ("+1 415 555 0100", "14155550100"),
        ] {
            assert_eq!(Address::phone(text).expect(text).as_phone(), Some(digits), "{text}");
        }
        for text in
            ["", "1234", "12345678901", "010-1234-567a", "+0 1234 5678", "00 82 10 1234 5678", "+1234567890123456"]
        {
            assert!(Address::phone(text).is_err(), "{text}");
        }
        assert_eq!(
            Address::phone("+821012345678").expect("a number").as_korean_phone().as_deref(),
            Some("01012345678")
        );
        assert_eq!(Address::phone("+14155550100").expect("a number").as_korean_phone(), None);
    }

    #[test]
    fn addresses_that_could_be_more_than_one_are_refused() {
        assert!(Address::email("kim.s+gift@example.co.kr").is_ok());
        for text in [
            "",
            "kim",
            "@example.com",
            "kim@",
            "kim@example",
            "a@b@c.de",
            "kim@ex ample.com",
            "a@b.c>\r\nRCPT TO:<x@y.z",
            "김@example.com",
            "a@b..c",
            "a,b@c.de",
        ] {
            assert!(Address::email(text).is_err(), "{text}");
        }
        assert!(Address::device("dQw4:APA91b-_x").is_ok());
        assert!(Address::device("a b").is_err() && Address::device("").is_err());
    }

    #[test]
    fn numbers_are_found_however_they_are_written() {
        let phone = Address::phone("010-1234-5678").expect("a number");
        for (text, redacted) in [
            ("to 01012345678 failed", "to (address) failed"),
            ("to 010-1234-5678, code 3104", "to (address), code 3104"),
            ("+82 10 1234 5678", "(address)"),
            ("number 821012345678 at 2026-11-22 10:00", "number (address) at 2026-11-22 10:00"),
            ("+ and - and 4", "+ and - and 4"),
            ("한글 010.1234.5678 끝", "한글 (address) 끝"),
        ] {
            assert_eq!(phone.redact(text), redacted);
        }
        assert_eq!(format!("{phone:?}"), "Phone(redacted)");
    }

    proptest! {
        #[test]
        fn nothing_read_or_redacted_panics(text in "\\PC{0,40}", around in "\\PC{0,40}") {
            for address in [Address::phone(&text), Address::email(&text), Address::device(&text)].into_iter().flatten() {
                address.redact(&around);
            }
        }

        #[test]
        fn no_number_survives(digits in "[1-9][0-9]{7}", before in "[a-z 0-9:+-]{0,9}", after in "[a-z 0-9:+-]{0,9}") {
            let phone = Address::phone(&format!("010{digits}")).expect("a number");
            let redacted = phone.redact(&format!("{before}010{digits}{after}"));
            prop_assert!(!redacted.contains(&digits), "{}", redacted);
        }
    }
}
