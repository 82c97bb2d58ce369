//! What is to be done when, decided before a run begins: functions of numbers and the seed, nothing else.
//!
//! A call counts from the moment written here, however late it is made or answered.

mod day;

use std::time::Duration;

pub use day::{Day, PEAKS_MAX, RateTimes, SECONDS_MIN as DAY_S_MIN};

/// `rate` arrivals per second at equal distances, for as many seconds; numbered from 0.
pub fn steady(rate: u64, seconds: u64) -> impl Iterator<Item = (Duration, u64)> {
    (0..rate * seconds).map(move |number| (Duration::from_micros(number * 1_000_000 / rate), number))
}

/// Gifts of a day without a feast.
pub const GIFTS_PER_DAY: u64 = 500_000;
const DAY_S: u64 = 86_400;

/// How many gifts are reserved within so many seconds of a day with `factor` times as many as on an ordinary one.
#[must_use]
pub fn gifts_within(factor: u64, seconds: u64) -> u64 {
    GIFTS_PER_DAY * factor * seconds / DAY_S
}

/// When they arrive, from the first second on, at equal distances.
pub fn gifts(factor: u64, seconds: u64) -> impl Iterator<Item = (Duration, u64)> {
    let count = gifts_within(factor, seconds);
    (0..count).map(move |number| (Duration::from_micros(number * seconds * 1_000_000 / count), number))
}

/// A hold that is cancelled, or left to run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// From arrival to due.
    pub length_ms: i64,
    /// What its owner does.
    pub end: HoldEnd,
}

/// What the owner of a hold does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// Cancels this long after arrival, [`HOLD_MARGIN_MS`] or more before it is due.
    Cancel(i64),
    /// Cancels this long after arrival, so close to due that either may win.
    Race(i64),
    /// Lets it run out.
    Fire,
}

/// Time a cancel has to be decided before its hold is due.
pub const HOLD_MARGIN_MS: i64 = 500;

/// The hold of a number: 1.5 to 3.5 s long; 95 of each 100 cancelled before due, one at its due time, four not at all.
#[must_use]
pub fn hold(number: u64) -> Hold {
    let dice = mixed(number);
    let length_ms = 1_500 + below(dice, 2_000);
    let end = match number % 100 {
        0..95 => HoldEnd::Cancel(below(dice >> 20, length_ms - HOLD_MARGIN_MS)),
        95 => HoldEnd::Race(length_ms - 5 + below(dice >> 20, 10)),
        _ => HoldEnd::Fire,
    };
    Hold { length_ms, end }
}

/// What becomes of a trigger of a soak: due 1 to 3 s after arrival, one in five cancelled and one in five moved to 1 to
/// 3 s later, both half-way to due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// From arrival to due.
    pub length_ms: i64,
    /// Half-way there.
    pub then: Then,
}

/// What is done with a trigger half-way to its due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing: it fires.
    Wait,
    /// It is cancelled.
    Cancel,
    /// It is made due this much later.
    Later(i64),
}

/// The turn of a number.
#[must_use]
pub fn turn(number: u64) -> Turn {
    let dice = mixed(number);
    let then = match number % 5 {
        3 => Then::Cancel,
        4 => Then::Later(1_000 + below(dice >> 20, 2_000)),
        _ => Then::Wait,
    };
    Turn { length_ms: 1_000 + below(dice, 2_000), then }
}

/// A number whose bits have little to do with those of `number`.
fn mixed(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn below(dice: u64, limit: i64) -> i64 {
    i64::try_from(dice & 0xf_ffff).unwrap_or(0) % limit.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns red when another share is cancelled, or a cancel that is meant to win comes close to the due time.
    #[test]
    fn ninety_five_of_a_hundred_holds_are_cancelled_in_time() {
        let holds: Vec<Hold> = (0..10_000).map(hold).collect();
        let count = |of: fn(&Hold) -> bool| holds.iter().filter(|hold| of(hold)).count();
        assert_eq!(count(|hold| matches!(hold.end, HoldEnd::Cancel(_))), 9_500);
        assert_eq!(count(|hold| matches!(hold.end, HoldEnd::Race(_))), 100);
        assert_eq!(count(|hold| hold.end == HoldEnd::Fire), 400);
        for hold in &holds {
            assert!((1_500..3_500).contains(&hold.length_ms), "{hold:?}");
            match hold.end {
                HoldEnd::Cancel(after) => assert!((0..=hold.length_ms - HOLD_MARGIN_MS).contains(&after), "{hold:?}"),
                HoldEnd::Race(after) => assert!((after - hold.length_ms).abs() <= 5, "{hold:?}"),
                HoldEnd::Fire => {}
            }
        }
        // Early and late alike, not all at one moment.
        let early = count(|hold| matches!(hold.end, HoldEnd::Cancel(after) if after < hold.length_ms / 2));
        assert!((4_000..8_500).contains(&early), "{early}");
    }

    /// Turns red when a feast has another rate than so many times an ordinary day's.
    #[test]
    fn a_feast_has_its_rate() {
        assert_eq!((gifts_within(1, 86_400), gifts_within(50, 60), gifts_within(10, 2)), (500_000, 17_361, 115));
        let moments: Vec<_> = gifts(10, 2).collect();
        assert_eq!((moments.len(), moments[0], moments[1].0.as_micros()), (115, (Duration::ZERO, 0), 17_391));
        assert!(moments.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(moments[114].0 < Duration::from_secs(2));
    }

    /// Turns red when arrivals bunch up or drift.
    #[test]
    fn a_steady_rate_is_steady() {
        let arrivals: Vec<(Duration, u64)> = steady(300, 4).collect();
        assert_eq!(arrivals.len(), 1_200);
        for second in 0..4 {
            let within = arrivals.iter().filter(|(at, _)| at.as_secs() == second).count();
            assert_eq!(within, 300);
        }
        assert!(arrivals.windows(2).all(|pair| pair[1].0 - pair[0].0 <= Duration::from_micros(3_334)));
    }

    /// Turns red when a soak cancels or moves another share than a fifth each.
    #[test]
    fn a_soak_does_everything() {
        let turns: Vec<Turn> = (0..1_000).map(turn).collect();
        assert_eq!(turns.iter().filter(|turn| turn.then == Then::Cancel).count(), 200);
        assert_eq!(turns.iter().filter(|turn| matches!(turn.then, Then::Later(1_000..3_000))).count(), 200);
        assert!(turns.iter().all(|turn| (1_000..3_000).contains(&turn.length_ms)));
    }
}
