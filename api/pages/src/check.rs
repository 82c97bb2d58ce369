//! What a view must be like, checked before anything is rendered.

use jiff::{Timestamp, tz::TimeZone};

use crate::symbols;
use crate::view::{CodeView, ConfirmView, GiftState, GiftView, ProductView, TransferView};

/// The longest message of a sender, in Unicode characters.
pub const MESSAGE_MAX: usize = 500;
/// The longest name of a person, product or brand, in Unicode characters.
pub const NAME_MAX: usize = 100;
/// The longest name there is room for in the form with which a gift is passed on, in Unicode characters.
pub const NEW_NAME_MAX: usize = 60;
/// The most letters and digits in a voucher's number; the bar code of more does not fit a phone.
pub const CODE_MAX: usize = 24;
/// The fewest.
const CODE_MIN: usize = 4;
/// The longest e-mail address there can be (RFC 5321, section 4.5.3.1.3).
pub const CONTACT_MAX: usize = 254;
/// The longest token or nonce.
const SECRET_MAX: usize = 128;
/// The longest address of a picture.
const IMAGE_MAX: usize = 2_048;

/// A view that cannot be shown. The caller made a mistake, not the person who looks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub struct Error {
    /// The field of the view.
    pub field: &'static str,
    /// What it should have been.
    pub expected: String,
}

type Result<T = ()> = std::result::Result<T, Error>;

fn refuse<T>(field: &'static str, expected: impl Into<String>) -> Result<T> {
    Err(Error { field, expected: expected.into() })
}

pub(crate) fn gift(view: &GiftView) -> Result {
    secret("token", &view.token)?;
    secret("nonce", &view.nonce)?;
    zone(&view.zone)?;
    moment("now", view.now)?;
    product(&view.product)?;
    length("sender_name", &view.sender_name, 0, NAME_MAX)?;
    if let Some(name) = &view.sender_given_name {
        length("sender_given_name", name, 1, NAME_MAX)?;
    }
    length("message", &view.message, 0, MESSAGE_MAX)?;
    match &view.state {
        GiftState::Arrived { expires_at } => moment("state.expires_at", *expires_at).map(drop),
        GiftState::Accepted { code: number, expires_at, .. } => {
            code(number)?;
            moment("state.expires_at", *expires_at).map(drop)
        }
        GiftState::Used { at } | GiftState::Expired { at } => moment("state.at", *at).map(drop),
        GiftState::NotYet | GiftState::Refunded | GiftState::Transferred | GiftState::Cancelled => Ok(()),
    }
}

/// What was typed is shown as it is, however wrong; only what was not typed is checked.
pub(crate) fn transfer(view: &TransferView) -> Result {
    secret("token", &view.token)?;
    secret("nonce", &view.nonce)?;
    product(&view.product)
}

pub(crate) fn confirm(view: &ConfirmView) -> Result {
    secret("token", &view.token)?;
    secret("nonce", &view.nonce)?;
    product(&view.product)?;
    length("name", &view.name, 1, NAME_MAX)?;
    length("contact", &view.contact, 1, CONTACT_MAX)
}

/// Whether a picture can be shown: an `https` address of at most 2,048 characters with a host name, nothing but what
/// may stand in an address (RFC 3986), and neither user nor password.
///
/// To be asked when a product is listed, so that no gift is given that cannot be shown.
///
/// # Errors
///
/// [`Error`] with field `product.image`.
pub fn check_image(address: &str) -> std::result::Result<(), Error> {
    image_origin(address).map(drop)
}

/// `https://host` or `https://host:port`: what the content security policy allows.
pub(crate) fn image_origin(address: &str) -> Result<&str> {
    const FIELD: &str = "product.image";
    let expected = "an https address with a host, escaped, of at most 2048 characters";
    let Some(rest) = address.strip_prefix("https://").filter(|_| address.len() <= IMAGE_MAX) else {
        return refuse(FIELD, expected);
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let port_is_one = |port: &str| port.parse::<u16>().is_ok_and(|number| number.to_string() == port);
    let escaped = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    if !host.split('.').all(label) || !port.is_none_or(port_is_one) || !rest.bytes().all(escaped) {
        return refuse(FIELD, expected);
    }
    Ok(&address[.."https://".len() + authority.len()])
}

/// The number without the spaces that group it.
pub(crate) fn code(code: &CodeView) -> Result<String> {
    const FIELD: &str = "state.code.text";
    let number: String = code.text.chars().filter(|character| *character != ' ').collect();
    if code.digits_only && !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse(FIELD, "digits and spaces, since digits_only is set");
    }
    if !(CODE_MIN..=CODE_MAX).contains(&number.len()) || !number.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return refuse(FIELD, format!("{CODE_MIN} to {CODE_MAX} ASCII letters and digits, and spaces between"));
    }
    Ok(number)
}

pub(crate) fn symbols(number: &str, digits_only: bool) -> Result<symbols::Symbols> {
    symbols::Symbols::of(number, digits_only)
        .or_else(|why| refuse("state.code.text", format!("something that bar and QR codes can hold: {why}")))
}

pub(crate) fn zone(name: &str) -> Result<TimeZone> {
    let known = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
    known.map_or_else(|| refuse("zone", "the name of an IANA time zone such as Asia/Seoul"), Ok)
}

pub(crate) fn moment(field: &'static str, millis: i64) -> Result<Timestamp> {
    // Up to a day before the last moment there is, so that it can be read in any zone.
    let last = Timestamp::MAX.as_millisecond() - 86_400_000;
    let found = Timestamp::from_millisecond(millis).ok().filter(|_| (0..last).contains(&millis));
    found.map_or_else(|| refuse(field, "milliseconds since 1970, before the year 9999 ends"), Ok)
}

fn product(product: &ProductView) -> Result {
    length("product.name", &product.name, 1, NAME_MAX)?;
    length("product.brand", &product.brand, 0, NAME_MAX)?;
    product.image.as_deref().map_or(Ok(()), check_image)
}

/// Safe in a path, a header and an attribute alike.
pub(crate) fn secret(field: &'static str, text: &str) -> Result {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if text.is_empty() || text.len() > SECRET_MAX || !plain {
        return refuse(field, format!("1 to {SECRET_MAX} of A-Z a-z 0-9 - _"));
    }
    Ok(())
}

fn length(field: &'static str, text: &str, min: usize, max: usize) -> Result {
    let count = text.chars().count();
    if count > max || text.trim().chars().count() < min {
        return refuse(field, format!("{min} to {max} characters, found {count}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_an_https_address_and_cannot_say_more_in_a_header() {
        for (address, origin) in [
            ("https://img.example/a/b.jpg?w=600", "https://img.example"),
            ("https://img.example:8443/b.jpg", "https://img.example:8443"),
            ("https://a-b.example", "https://a-b.example"),
            ("https://img.example#x", "https://img.example"),
        ] {
            assert_eq!(image_origin(address), Ok(origin), "{address}");
        }
        for address in [
            "",
            "https://",
            "http://img.example/a.jpg",
            "//img.example/a.jpg",
            "data:image/png;base64,AAAA",
            "javascript:alert(1)",
            "https://user@img.example/a.jpg",
            "https://img.example; script-src *//a",
            "https://img.example,x/a",
            "https://*/a",
            "https://img..example/a",
            "https://img.example:/a",
            "https://img.example:99999/a",
            "https://img.example:+80/a",
            "https://img.example/a b.jpg",
            "https://img.example/\"onerror=",
            "https://img.example/a\r\nSet-Cookie: x",
            "https://그림.example/a.jpg",
            &format!("https://img.example/{}", "a".repeat(IMAGE_MAX)),
        ] {
            assert_eq!(check_image(address).map_err(|error| error.field), Err("product.image"), "{address}");
        }
    }

    #[test]
    fn a_number_is_letters_and_digits_within_bounds() {
        let check = |text: &str, digits_only| code(&CodeView { text: text.into(), digits_only });
        assert_eq!(check("1234 5678 9012 3456", true).as_deref(), Ok("1234567890123456"));
        assert_eq!(check("ABCD 5678 EF", false).as_deref(), Ok("ABCD5678EF"));
        for (text, digits_only) in [
            ("", true),
            ("123", true),
            ("ABCD 5678", true),
            ("ABCD-5678", false),
            ("가나다라", false),
            ("1234\u{a0}5678", false),
        ] {
            assert!(check(text, digits_only).is_err(), "{text}");
        }
        assert!(check(&"1".repeat(CODE_MAX), true).is_ok());
        assert!(check(&"1".repeat(CODE_MAX + 1), true).is_err());
    }

    #[test]
    fn a_zone_is_one_of_the_iana_database() {
        for name in ["Asia/Seoul", "Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC"] {
            assert!(zone(name).is_ok(), "{name}");
        }
        for name in ["", "KST+9", "Asia/Atlantis", "Etc/Unknown", "+09:00", "../../etc/passwd"] {
            assert_eq!(zone(name).map_err(|error| error.field), Err("zone"), "{name}");
        }
    }

    #[test]
    fn moments_are_those_that_can_be_read_in_every_zone() {
        for millis in [0, 1_802_000_000_000, 253_402_000_000_000] {
            assert!(moment("now", millis).is_ok(), "{millis}");
        }
        for millis in [-1, i64::MIN, i64::MAX, 253_402_300_799_999] {
            assert_eq!(moment("now", millis).map_err(|error| error.field), Err("now"), "{millis}");
        }
    }
}
