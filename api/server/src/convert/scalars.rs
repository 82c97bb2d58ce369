//! Moments, lengths of time and tokens.

use scheduler::command::Token;
use scheduler::time::{Delay, Timestamp};

use crate::validate::Violations;

/// A moment as the protocol writes it.
pub fn moment(at: Timestamp) -> prost_types::Timestamp {
    let ms = at.as_millis();
    prost_types::Timestamp {
        seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        nanos: (ms % 1_000) as i32 * 1_000_000,
    }
}

/// A moment as the core knows it: never earlier than given, so a part of a millisecond counts as a whole one. One
/// before 1970 is the first moment of 1970.
pub fn moment_of(violations: &mut Violations, field: &str, given: &prost_types::Timestamp) -> Timestamp {
    if !(0..1_000_000_000).contains(&given.nanos) {
        violations.push(field, format!("expected 0 to 999999999 nanos, got {}", given.nanos));
        return Timestamp::MIN;
    }
    // The last second of the year 9999, the range of the type.
    if given.seconds > 253_402_300_799 {
        violations.push(field, format!("expected a moment before the year 10000, got {} s", given.seconds));
        return Timestamp::MIN;
    }
    let Ok(seconds) = u64::try_from(given.seconds) else { return Timestamp::MIN };
    Timestamp::from_millis(seconds * 1_000 + (given.nanos as u64).div_ceil(1_000_000))
}

/// A length of time as the protocol writes it.
pub fn delay(delay: Delay) -> prost_types::Duration {
    let ms = delay.as_millis();
    prost_types::Duration {
        seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        nanos: (ms % 1_000) as i32 * 1_000_000,
    }
}

/// Bounds of a length of time, in milliseconds, inclusive.
#[derive(Clone, Copy, Debug)]
pub struct Range(pub u64, pub u64);

/// A length of time as the core knows it, a part of a millisecond counting as a whole one.
pub fn delay_of(violations: &mut Violations, field: &str, given: &prost_types::Duration, range: Range) -> Delay {
    let ms = match (u64::try_from(given.seconds), u64::try_from(given.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
            seconds.checked_mul(1_000).and_then(|ms| ms.checked_add(nanos.div_ceil(1_000_000)))
        }
        _ => None,
    };
    match ms.filter(|ms| (range.0..=range.1).contains(ms)) {
        Some(ms) => Delay::from_millis(ms),
        None => {
            let got = format!("{} s {} ns", given.seconds, given.nanos);
            violations.push(field, format!("expected {} ms to {} ms, got {got}", range.0, range.1));
            Delay::ZERO
        }
    }
}

/// A fencing token as the protocol writes it.
pub fn token(token: Token) -> proto::v1::FencingToken {
    proto::v1::FencingToken { epoch: token.epoch, term: token.term, counter: token.counter }
}

/// A fencing token as the core knows it.
pub fn token_of(token: proto::v1::FencingToken) -> Token {
    Token { epoch: token.epoch, term: token.term, counter: token.counter }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64, nanos: i32) -> Result<u64, ()> {
        let mut violations = Violations::new();
        let found = moment_of(&mut violations, "at", &prost_types::Timestamp { seconds, nanos });
        violations.finish(found.as_millis()).map_err(drop)
    }

    #[test]
    fn a_part_of_a_millisecond_is_never_early() {
        assert_eq!(at(1, 1), Ok(1_001));
        assert_eq!(at(1, 1_000_000), Ok(1_001));
        assert_eq!(at(-5, 0), Ok(0));
        assert_eq!(at(0, -1), Err(()));
        assert_eq!(at(i64::MAX, 0), Err(()));
    }

    proptest! {
        #[test]
        fn moments_come_back(ms in 0u64..253_402_300_799_000) {
            let mut violations = Violations::new();
            let there = moment(Timestamp::from_millis(ms));
            prop_assert_eq!(moment_of(&mut violations, "at", &there).as_millis(), ms);
            prop_assert!(violations.finish(()).is_ok());
        }

        #[test]
        fn no_number_makes_it_panic(seconds in any::<i64>(), nanos in any::<i32>()) {
            let mut violations = Violations::new();
            moment_of(&mut violations, "at", &prost_types::Timestamp { seconds, nanos });
            delay_of(&mut violations, "for", &prost_types::Duration { seconds, nanos }, Range(0, u64::MAX));
        }
    }
}
