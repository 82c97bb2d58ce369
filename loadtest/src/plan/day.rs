//! A day of a shop, compressed into a run: when triggers arrive, and when they are due.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// A shorter day leaves no time between arrival and due.
pub const SECONDS_MIN: u64 = 5;

/// Times the base rate at the higher peak.
pub const PEAKS_MAX: u64 = 50;

const HOUR: f64 = 1.0 / 24.0;

/// From when to when arrivals come how many times as often as at the base rate; in days, in order.
///
/// Both lie around a moment at which many are due, so that what fires meets what arrives.
const PEAKS: [(f64, f64, u64); 2] = [(8.5 * HOUR, 9.5 * HOUR, 10), (19.875 * HOUR, 20.125 * HOUR, PEAKS_MAX)];

/// Moments at which many are due, in days, and their shares in percent. 00:00 is the midnight that ends the day.
const BURSTS: [(f64, u64); 3] = [(9.0 * HOUR, 15), (20.0 * HOUR, 10), (1.0, 30)];

/// How many times the base rate an arrival came at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RateTimes(pub u64);

/// One trigger of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// From the beginning of the run until it is to be scheduled.
    pub at: Duration,
    /// From the beginning of the run until it is due.
    pub due_ms: i64,
    /// Due at a moment it shares with many.
    pub burst: bool,
    /// The rate it came at.
    pub times: RateTimes,
}

/// A day of arrivals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// In order of arrival.
    pub arrivals: Vec<Arrival>,
    /// From the beginning of the run until midnight.
    pub midnight_ms: i64,
}

impl Day {
    /// How many triggers a day of `seconds` has when outside of the peaks `rate` arrive per second.
    #[must_use]
    pub fn count(rate: u64, seconds: u64) -> usize {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small"
        )]
        let count = (rate as f64 * seconds as f64 * weight_until(1.0)).round() as usize;
        count
    }

    /// A day compressed into `seconds`: 30 % of its triggers are due at 00:00, 15 % at 09:00, 10 % at 20:00, the others
    /// at times of their own; they arrive at `rate` per second, ten times that from 08:30 to 09:30, and fifty times from
    /// 19:52:30 to 20:07:30. Within these rates arrivals are random. The same seed gives the same day.
    ///
    /// # Panics
    ///
    /// If the day is shorter than [`SECONDS_MIN`].
    #[must_use]
    pub fn new(rate: u64, seconds: u64, seed: u64) -> Self {
        assert!(seconds >= SECONDS_MIN, "a day of {seconds} s is shorter than {SECONDS_MIN} s");
        let mut random = StdRng::seed_from_u64(seed);
        #[expect(clippy::cast_precision_loss, reason = "at most a day of seconds")]
        let day_ms = seconds as f64 * 1_000.0;
        let count = Self::count(rate, seconds);
        let mut moments: Vec<f64> = (0..count).map(|_| moment(random.random::<f64>() * weight_until(1.0))).collect();
        moments.sort_unstable_by(f64::total_cmp);
        // A trigger is scheduled this long before it is due, or longer.
        let lead_ms = (day_ms / 50.0).clamp(100.0, 1_000.0);
        let mut dues: Vec<Option<f64>> = vec![None; count];
        let in_time = |number: &usize, at: f64| moments[*number] * day_ms + lead_ms <= at * day_ms;
        let mut open: Vec<usize> = (0..count).collect();
        open.shuffle(&mut random);
        let [morning, evening, midnight] = BURSTS;
        let wanted = |(_, percent): (f64, u64)| usize::try_from(count as u64 * percent / 100).unwrap_or(0);
        // First those that few can be for; then, at random from all others, those with a time of their own, whoever is too
        // late for midnight among them; so that these arrive like everybody.
        give(&mut dues, &mut open, morning.0, wanted(morning), |number| in_time(number, morning.0));
        // Those that were passed over stand at the end now.
        open.shuffle(&mut random);
        let spread = open.len().saturating_sub(wanted(evening) + wanted(midnight));
        open.sort_by_key(|number| in_time(number, midnight.0));
        open.drain(..spread);
        give(&mut dues, &mut open, evening.0, wanted(evening), |number| in_time(number, evening.0));
        give(&mut dues, &mut open, midnight.0, wanted(midnight), |number| in_time(number, midnight.0));
        let arrivals = moments.iter().zip(&dues).map(|(moment, due)| {
            let at_ms = moment * day_ms;
            let due_ms = match due {
                Some(due) => due * day_ms,
                None => at_ms + lead_ms + random.random::<f64>() * (day_ms - at_ms - lead_ms).max(0.0),
            };
            let peak = PEAKS.iter().find(|(from, to, _)| (from..to).contains(&moment));
            Arrival {
                at: Duration::from_secs_f64(at_ms / 1_000.0),
                #[expect(clippy::cast_possible_truncation, reason = "at most a day of milliseconds")]
                due_ms: due_ms.ceil() as i64,
                burst: due.is_some(),
                times: RateTimes(peak.map_or(1, |(.., times)| *times)),
            }
        });
        #[expect(clippy::cast_possible_truncation, reason = "at most a day of milliseconds")]
        let midnight_ms = day_ms as i64;
        Self { arrivals: arrivals.collect(), midnight_ms }
    }
}

/// Makes the first `wanted` of those that are open and fit due at a moment.
fn give(dues: &mut [Option<f64>], open: &mut Vec<usize>, at: f64, wanted: usize, fits: impl Fn(&usize) -> bool) {
    let mut given = 0;
    open.retain(|number| {
        let take = given < wanted && fits(number);
        if take {
            given += 1;
            dues[*number] = Some(at);
        }
        !take
    });
}

/// Arrivals until a moment of the day, in units of those of a whole day at the base rate.
fn weight_until(moment: f64) -> f64 {
    let beyond: f64 = PEAKS.iter().map(|(from, to, times)| (moment.min(*to) - from).max(0.0) * extra(*times)).sum();
    moment + beyond
}

/// The moment until which so much has arrived: undoes [`weight_until`].
fn moment(mut weight: f64) -> f64 {
    let mut at = 0.0;
    for (from, to, times) in PEAKS {
        if weight <= from - at {
            return at + weight;
        }
        weight -= from - at;
        let width = (to - from) * (1.0 + extra(times));
        if weight <= width {
            return from + weight / (1.0 + extra(times));
        }
        weight -= width;
        at = to;
    }
    at + weight
}

#[expect(clippy::cast_precision_loss, reason = "two digits")]
fn extra(times: u64) -> f64 {
    times as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 60_000;

    fn day(seed: u64) -> Day {
        Day::new(1_000, 60, seed)
    }

    /// Turns red when another share falls due at one of the three moments, or 00:00 is the beginning of the day.
    #[test]
    fn a_day_has_its_shares() {
        for (rate, seconds) in [(1_000, 60), (100, 5), (200, 10)] {
            let day = Day::new(rate, seconds, 7);
            let count = day.arrivals.len() as u64;
            let midnight_ms = day.midnight_ms;
            let due_at =
                |due_ms: i64| day.arrivals.iter().filter(|one| one.burst && one.due_ms == due_ms).count() as u64;
            assert_eq!(midnight_ms, i64::try_from(seconds).unwrap() * 1_000);
            assert_eq!(due_at(midnight_ms), count * 30 / 100, "{rate} for {seconds} s");
            assert_eq!(due_at(midnight_ms * 9 / 24), count * 15 / 100, "{rate} for {seconds} s");
            assert_eq!(due_at((midnight_ms * 20 + 23) / 24), count * 10 / 100, "{rate} for {seconds} s");
        }
    }

    /// Turns red when a peak is higher or lower than ten and fifty times what comes otherwise, or lies elsewhere.
    #[test]
    fn a_day_has_its_peaks() {
        let day = day(7);
        let per_second = |from_h: f64, to_h: f64| {
            let hour_s = 60.0 / 24.0;
            let within = |one: &&Arrival| (from_h * hour_s..to_h * hour_s).contains(&one.at.as_secs_f64());
            let count = day.arrivals.iter().filter(within).count();
            count as f64 / ((to_h - from_h) * hour_s)
        };
        for (from_h, to_h) in [(0.0, 8.5), (9.5, 19.875), (20.125, 24.0)] {
            let rate = per_second(from_h, to_h);
            assert!((950.0..1_050.0).contains(&rate), "{rate} between {from_h} and {to_h}");
        }
        let (ten, fifty) = (per_second(8.5, 9.5), per_second(19.875, 20.125));
        assert!((9_500.0..10_500.0).contains(&ten), "{ten}");
        assert!((48_000.0..52_000.0).contains(&fifty), "{fifty}");
        let named = |times| day.arrivals.iter().filter(|one| one.times == RateTimes(times)).count();
        assert_eq!(named(1) + named(10) + named(50), day.arrivals.len());
        assert!(named(10) > 20_000 && named(50) > 20_000);
    }

    /// Turns red when something is due before it can be scheduled, or all the rest at one moment.
    #[test]
    fn everything_arrives_before_it_is_due() {
        let day = day(7);
        assert!(day.arrivals.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let in_time = |one: &Arrival| one.due_ms >= i64::try_from(one.at.as_millis()).unwrap() + 999;
        assert!(day.arrivals.iter().all(in_time));
        let mut hours = [0; 25];
        for one in day.arrivals.iter().filter(|one| !one.burst) {
            hours[usize::try_from(one.due_ms * 24 / DAY_MS).unwrap().min(24)] += 1;
        }
        let rest: usize = hours.iter().sum();
        assert!(hours[1..24].iter().all(|count| *count > 0 && *count < rest / 4), "{hours:?}");
    }

    /// Turns red when a day depends on anything but rate, length and seed.
    #[test]
    fn the_same_seed_is_the_same_day() {
        assert_eq!(day(7), day(7));
        assert_ne!(day(7), day(8));
        assert_eq!(day(7).arrivals.len(), Day::count(1_000, 60));
    }
}
