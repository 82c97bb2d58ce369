//! Numbers, moments, lengths of time and names, as the protocol writes them in JSON (ProtoJSON): the same that `bosingak -o json`
//! prints.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// A whole number of 64 bits, in text: JavaScript has no such numbers. A number is taken too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, pattern = "^[0-9]{1,20}$", example = "184549376")]
pub struct Number(pub u64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Given;
        impl Visitor<'_> for Given {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 to 18446744073709551615, in text or as it is")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                // Not "+5", which the standard library takes.
                let digits = text.bytes().all(|b| b.is_ascii_digit());
                let number = text.parse().ok().filter(|_| digits);
                number.map(Number).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Given)
    }
}

/// An amount of money in won: a number, for no sum of them comes near 2^53, up to which those of JSON are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[schema(value_type = i64, example = 4_500)]
pub struct Won(pub i64);

impl Won {
    /// Of an amount that is never negative.
    pub fn of(won: u64) -> Won {
        Won(i64::try_from(won).unwrap_or(i64::MAX))
    }
}

impl<'de> Deserialize<'de> for Won {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Number::deserialize(deserializer).map(|Number(won)| Won::of(won))
    }
}

/// A moment in RFC 3339, in UTC when it is answered, with milliseconds where there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2027-02-13T15:00:00Z")]
pub struct Moment(pub prost_types::Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl FromStr for Moment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let moment: jiff::Timestamp = text.parse().map_err(drop)?;
        let nanos = moment.as_nanosecond();
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(drop)?;
        let nanos = i32::try_from(nanos.rem_euclid(1_000_000_000)).map_err(drop)?;
        Ok(Moment(prost_types::Timestamp { seconds, nanos }))
    }
}

/// A length of time: `90s` or `0.250s` when it is answered; `250ms`, `5m`, `1h30m` and `30d` are taken too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, example = "90s")]
pub struct Length(pub prost_types::Duration);

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl FromStr for Length {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // Of a minute, say, a fraction would be ambiguous to people; of a second it is how ProtoJSON writes milliseconds.
        let (mut ms, mut rest, mut any) = (0u64, text, false);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0).ok_or(())?;
            let whole: u64 = rest[..digits].parse().map_err(drop)?;
            rest = &rest[digits..];
            let mut fraction_ms = 0;
            if let Some(after) = rest.strip_prefix('.') {
                let digits = after.find(|c: char| !c.is_ascii_digit()).filter(|at| (1..=9).contains(at)).ok_or(())?;
                if !after[digits..].starts_with('s') {
                    return Err(());
                }
                let nanos: u64 = format!("{:0<9}", &after[..digits]).parse().map_err(drop)?;
                fraction_ms = nanos.div_ceil(1_000_000);
                rest = &after[digits..];
            }
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let unit_ms = match &rest[..letters] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 604_800_000,
                _ => return Err(()),
            };
            let part = whole.checked_mul(unit_ms).and_then(|ms| ms.checked_add(fraction_ms)).ok_or(())?;
            ms = ms.checked_add(part).ok_or(())?;
            rest = &rest[letters..];
            any = true;
        }
        let seconds = i64::try_from(ms / 1_000).map_err(drop)?;
        let nanos = (ms % 1_000) as i32 * 1_000_000;
        any.then_some(Length(prost_types::Duration { seconds, nanos })).ok_or(())
    }
}

/// Reads from text whatever has a [`FromStr`].
macro_rules! from_text {
    ($type:ty, $expected:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Given;
                impl Visitor<'_> for Given {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(|()| E::invalid_value(de::Unexpected::Str(text), &self))
                    }
                }
                deserializer.deserialize_str(Given)
            }
        }
    };
}

from_text!(Moment, "a moment in RFC 3339 such as \"2027-02-13T15:00:00Z\"");
from_text!(Length, "a length of time such as \"90s\", \"250ms\" or \"1h30m\"");

/// An enum of the protocol by the names it has there. Read with or without what all names begin with, in any case:
/// `PRIORITY_HIGH`, `HIGH`, `high`.
macro_rules! names {
    ($(#[doc = $doc:literal])+ $name:ident = $module:ident::$proto:ident {
        $($(#[doc = $meaning:literal])+ $variant:ident = $text:tt,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
        pub enum $name {
            $($(#[doc = $meaning])+ #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Of the protocol's number. One that a newer node made and this one does not know is unspecified.
            pub fn of(number: i32) -> $name {
                match $module::$proto::try_from(number) {
                    $(Ok($module::$proto::$variant) => $name::$variant,)+
                    Err(_) => $name::Unspecified,
                }
            }

            /// The protocol's number.
            #[allow(dead_code, reason = "not every enum is read from a request")]
            pub fn number(self) -> i32 {
                match self {
                    $($name::$variant => $module::$proto::$variant as i32,)+
                }
            }

            const TEXTS: &'static [(&'static str, $name)] = &[$(($text, $name::$variant)),+];
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                $crate::http::scalars::find_name(Self::TEXTS, &text).ok_or_else(|| {
                    let texts: Vec<&str> = Self::TEXTS.iter().skip(1).map(|(text, _)| *text).collect();
                    serde::de::Error::custom(format!("expected one of {}, got {text:?}", texts.join(", ")))
                })
            }
        }
    };
}
pub(super) use names;

/// The value of a name; the first text ends in `UNSPECIFIED`, and what is before that is what all begin with.
pub(super) fn find_name<T: Copy>(texts: &[(&str, T)], given: &str) -> Option<T> {
    let prefix = texts.first()?.0.strip_suffix("UNSPECIFIED")?;
    let given = given.to_ascii_uppercase().replace('-', "_");
    let found = texts.iter().find(|(text, _)| *text == given || text.strip_prefix(prefix) == Some(given.as_str()));
    found.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn length(text: &str) -> Result<(i64, i32), ()> {
        text.parse::<Length>().map(|Length(found)| (found.seconds, found.nanos / 1_000_000))
    }

    #[test]
    fn lengths_are_those_of_the_protocol_and_of_people() {
        for (text, expected) in [
            ("90s", (90, 0)),
            ("0.250s", (0, 250)),
            ("1.5s", (1, 500)),
            ("0.0000001s", (0, 1)),
            ("250ms", (0, 250)),
            ("1h30m", (5_400, 0)),
            ("30d", (2_592_000, 0)),
            ("1w", (604_800, 0)),
        ] {
            assert_eq!(length(text), Ok(expected), "{text}");
        }
        for text in
            ["", "5", "-5s", "1.5h", "1.s", ".5s", "5 s", "s", "5x", "99999999999999999999s", "1.0000000001s", "1ｓ"]
        {
            assert_eq!(length(text), Err(()), "{text}");
        }
    }

    #[test]
    fn moments_have_an_offset() {
        let moment: Moment = "2027-02-14T00:00:00.007+09:00".parse().expect("a moment");
        assert_eq!(serde_json::to_string(&moment).expect("text"), "\"2027-02-13T15:00:00.007Z\"");
        for text in ["2027-02-14T00:00", "tomorrow", "", "1802530800"] {
            assert_eq!(text.parse::<Moment>(), Err(()), "{text}");
        }
    }

    #[test]
    fn numbers_are_text_or_numbers() {
        let read = |text: &str| serde_json::from_str::<Number>(text).ok();
        assert_eq!(read("\"18446744073709551615\""), Some(Number(u64::MAX)));
        assert_eq!(read("7"), Some(Number(7)));
        for text in ["\"+7\"", "-7", "7.5", "\"\"", "null", "true"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(serde_json::to_string(&Number(7)).expect("text"), "\"7\"");
    }

    #[test]
    fn money_is_a_number() {
        let read = |text: &str| serde_json::from_str::<Won>(text).ok();
        assert_eq!((read("4500"), read("\"4500\"")), (Some(Won(4_500)), Some(Won(4_500))));
        for text in ["-1", "4500.5", "\"4,500\"", "null"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(serde_json::to_string(&Won(-4_500)).expect("text"), "-4500");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = (text.parse::<Length>(), text.parse::<Moment>());
        }

        #[test]
        fn lengths_come_back(ms in 0u64..1_000_000_000_000) {
            let given = Length(prost_types::Duration { seconds: (ms / 1_000) as i64, nanos: (ms % 1_000) as i32 * 1_000_000 });
            prop_assert_eq!(given.0.to_string().parse::<Length>(), Ok(given));
        }
    }
}
