//! What time a leader may stamp on an entry. Pure: clock readings in, a moment out.
//!
//! Counted from the last agreement with a majority or from the start of the term, never from the last entry, time may
//! advance by the monotonic clock's elapsed time × 1.1 + 50 ms. More than that needs a majority of all voters whose
//! clocks, asked less than two seconds ago, are within 500 ms of the new time. So one wrong clock can neither fire a
//! year's triggers nor stop the cluster: without agreement time goes on at the pace of the monotonic clock, the jump is
//! held back, and an alarm says so until clocks agree or an operator accepts.
//!
//! A cluster of one has nobody to ask: it trusts its clock and reports the jump.

use std::collections::BTreeMap;
use std::time::Duration;

use scheduler::time::{Delay, Timestamp};

/// How far clocks that agree may be apart.
pub const AGREE_WITHIN: Delay = Delay::from_millis(500);
/// How long a sample of another clock counts.
pub const SAMPLE_AGE_MAX: Duration = Duration::from_secs(2);
/// What a clock may gain on the monotonic one at once.
const SLACK: Delay = Delay::from_millis(50);

/// One reading of this node's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Wall clock.
    pub wall: Timestamp,
    /// Monotonic clock, from any origin.
    pub mono: Duration,
}

/// What another node's wall clock said when this node's monotonic clock said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The other's wall clock.
    pub wall: Timestamp,
    /// Our monotonic clock halfway through the call.
    pub mono: Duration,
}

/// The moment to stamp on an entry, and what is wrong with the clocks, if something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Never below an earlier stamp.
    pub time: Timestamp,
    /// Set while this node's clock is not followed.
    pub alarm: Option<Alarm>,
    /// Set when time was moved further than the monotonic clock explains, and from where.
    pub jumped_from: Option<Timestamp>,
}

/// Why this node's clock is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// It is ahead of replicated time, and no majority confirms it. Time goes on at the monotonic clock's pace.
    Held {
        /// How far ahead.
        ahead: Delay,
    },
    /// It was set back, and no majority confirms that. Time goes on at the monotonic clock's pace.
    SetBack {
        /// How far back.
        behind: Delay,
    },
    /// A majority agrees on another time than this node's clock says. Time follows the majority.
    Outvoted {
        /// What this node's clock says.
        wall: Timestamp,
        /// What the majority says.
        majority: Timestamp,
    },
    /// Clocks were set back behind what has been stamped. Time stands still until they catch up.
    Waiting {
        /// For how long.
        until_caught_up: Delay,
    },
}

impl Alarm {
    /// Whether the present moment is in doubt, so that a moment counted from now cannot be told.
    pub fn is_hold(&self) -> bool {
        matches!(self, Alarm::Held { .. } | Alarm::SetBack { .. })
    }
}

impl std::fmt::Display for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Alarm::Held { ahead } => {
                write!(f, "this node's clock is {ahead} ahead of replicated time and no majority of voters confirms it")
            }
            Alarm::SetBack { behind } => {
                write!(f, "this node's clock was set back by {behind} and no majority of voters confirms it")
            }
            Alarm::Outvoted { wall, majority } => {
                write!(f, "this node's clock says {wall}, the majority of voters {majority}")
            }
            Alarm::Waiting { until_caught_up } => {
                write!(f, "clocks were set back; replicated time stands still for {until_caught_up}")
            }
        }
    }
}

/// The rules, for one partition and one term of its leader.
#[derive(Clone, Debug)]
pub struct TimeRules {
    /// Where advancing is counted from.
    base: Reading,
    /// The newest stamp.
    last: Timestamp,
    voters: usize,
    samples: BTreeMap<u64, Sample>,
}

impl TimeRules {
    /// At the start of a term: `watermark` is the newest time in the log, `voters` counts this node too.
    pub fn new(watermark: Timestamp, voters: usize, mono: Duration) -> TimeRules {
        TimeRules { base: Reading { wall: watermark, mono }, last: watermark, voters, samples: BTreeMap::new() }
    }

    /// The number of voters changed.
    pub fn set_voters(&mut self, voters: usize) {
        self.voters = voters;
    }

    /// What another voter's clock said. Replaces the node's older sample.
    pub fn sample(&mut self, node: u64, sample: Sample) {
        self.samples.insert(node, sample);
    }

    /// An operator vouches for this node's clock.
    pub fn accept(&mut self, now: Reading) -> Timestamp {
        self.base = now;
        self.last = self.last.max(now.wall);
        self.last
    }

    /// The moment for an entry proposed now.
    pub fn stamp(&mut self, now: Reading) -> Stamp {
        let elapsed = Delay::from_millis(millis(now.mono.saturating_sub(self.base.mono)));
        let pace = self.base.wall.after(elapsed);
        let limit = pace.after(Delay::from_millis(elapsed.as_millis() / 10)).after(SLACK);
        let behind = pace.since(now.wall);
        let trusted = now.wall <= limit && behind <= AGREE_WITHIN;
        let agreed = if self.voters <= 1 { Some(now.wall) } else { self.agreed(now) };
        let before = self.last;

        let (time, mut alarm) = match agreed {
            Some(time) => {
                self.base = Reading { wall: time, mono: now.mono };
                let outvoted = distance(time, now.wall) > AGREE_WITHIN;
                (time, outvoted.then_some(Alarm::Outvoted { wall: now.wall, majority: time }))
            }
            None if trusted => (now.wall, None),
            None if now.wall > limit => (pace, Some(Alarm::Held { ahead: now.wall.since(pace) })),
            None => (pace, Some(Alarm::SetBack { behind })),
        };
        if alarm.is_none() && self.last.since(time) > AGREE_WITHIN {
            alarm = Some(Alarm::Waiting { until_caught_up: self.last.since(time) });
        }
        self.last = self.last.max(time);
        Stamp { time: self.last, alarm, jumped_from: (self.last > limit).then_some(before) }
    }

    /// The time that a majority of voters agrees on: this node's own if it can be, else another's.
    fn agreed(&self, now: Reading) -> Option<Timestamp> {
        let clocks: Vec<Timestamp> = std::iter::once(now.wall)
            .chain(self.samples.values().filter_map(|sample| {
                let age = now.mono.saturating_sub(sample.mono);
                (age < SAMPLE_AGE_MAX).then(|| sample.wall.after(Delay::from_millis(millis(age))))
            }))
            .collect();
        let majority = self.voters / 2 + 1;
        clocks
            .iter()
            .copied()
            .find(|time| clocks.iter().filter(|clock| distance(**clock, *time) <= AGREE_WITHIN).count() >= majority)
    }
}

fn distance(a: Timestamp, b: Timestamp) -> Delay {
    a.since(b).max(b.since(a))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const T: u64 = 1_800_000_000_000;

    fn at(wall: u64, mono: u64) -> Reading {
        Reading { wall: Timestamp::from_millis(wall), mono: Duration::from_millis(mono) }
    }

    fn heard(rules: &mut TimeRules, node: u64, wall: u64, mono: u64) {
        rules.sample(node, Sample { wall: Timestamp::from_millis(wall), mono: Duration::from_millis(mono) });
    }

    fn three(watermark: u64) -> TimeRules {
        TimeRules::new(Timestamp::from_millis(watermark), 3, Duration::ZERO)
    }

    /// Red when `None if now.wall > limit` stamps `now.wall` instead of `pace`, or when `agreed` needs one clock less
    /// than a majority.
    #[test]
    fn clock_one_hour_ahead_on_one_node() {
        // The leader is the one that is wrong; nobody has been heard yet.
        let mut rules = three(T);
        let stamp = rules.stamp(at(T + HOUR + 1_000, 1_000));
        assert_eq!(stamp.time.as_millis(), T + 1_000);
        assert!(matches!(stamp.alarm, Some(Alarm::Held { ahead }) if ahead.as_millis() == HOUR));
        // One of the two others answers: two clocks that differ are no majority of three.
        heard(&mut rules, 2, T + 1_500, 1_500);
        assert_eq!(rules.stamp(at(T + HOUR + 2_000, 2_000)).time.as_millis(), T + 2_000);
        // Both answer, and outvote the leader. The cluster keeps the right time.
        heard(&mut rules, 3, T + 2_100, 2_100);
        let stamp = rules.stamp(at(T + HOUR + 3_000, 3_000));
        assert_eq!(stamp.time.as_millis(), T + 3_000);
        assert!(matches!(stamp.alarm, Some(Alarm::Outvoted { .. })));

        // A follower is wrong: nobody minds.
        let mut rules = three(T);
        heard(&mut rules, 2, T + HOUR, 0);
        heard(&mut rules, 3, T + 10, 0);
        let stamp = rules.stamp(at(T + 100, 100));
        assert_eq!((stamp.time.as_millis(), stamp.alarm), (T + 100, None));
    }

    /// Red when the base of the count is the last entry: a wrong clock then gains 50 ms with each.
    #[test]
    fn a_wrong_clock_gains_nothing_by_many_entries() {
        let mut rules = three(T);
        for mono in 0..10_000 {
            rules.stamp(at(T + HOUR, mono));
        }
        let stamp = rules.stamp(at(T + HOUR, 10_000));
        assert!(stamp.time.as_millis() <= T + 10_000, "{stamp:?}");
    }

    /// Red when `stamp` returns `time` instead of the maximum with the last.
    #[test]
    fn clock_stepped_back() {
        // Nobody else to ask about it: time goes on at the monotonic pace and never back.
        let mut rules = three(T);
        assert_eq!(rules.stamp(at(T + 1_000, 1_000)).time.as_millis(), T + 1_000);
        let stamp = rules.stamp(at(T - HOUR + 2_000, 2_000));
        assert_eq!(stamp.time.as_millis(), T + 2_000);
        assert!(matches!(stamp.alarm, Some(Alarm::SetBack { .. })));
        // The majority says that the step back was right: time stands until the clocks catch up.
        let stamp = {
            heard(&mut rules, 2, T - HOUR + 2_500, 2_500);
            rules.stamp(at(T - HOUR + 3_000, 3_000))
        };
        assert_eq!(stamp.time.as_millis(), T + 2_000);
        assert!(matches!(stamp.alarm, Some(Alarm::Waiting { .. })));
        // A cluster of one believes its clock, and still never goes back.
        let mut rules = TimeRules::new(Timestamp::from_millis(T), 1, Duration::ZERO);
        assert_eq!(rules.stamp(at(T - HOUR, 1_000)).time.as_millis(), T);
    }

    /// Red when `voters <= 1` does not take the clock at its word.
    #[test]
    fn lone_node_started_after_a_day_off() {
        let mut rules = TimeRules::new(Timestamp::from_millis(T), 1, Duration::ZERO);
        let stamp = rules.stamp(at(T + DAY, 5));
        assert_eq!(stamp.time.as_millis(), T + DAY);
        assert_eq!(stamp.alarm, None);
        assert_eq!(stamp.jumped_from, Some(Timestamp::from_millis(T)));
        assert_eq!(rules.stamp(at(T + DAY + 10, 15)).jumped_from, None);
    }

    #[test]
    fn a_cluster_started_after_a_day_off_needs_two_clocks() {
        let mut rules = three(T);
        let stamp = rules.stamp(at(T + DAY, 10));
        assert_eq!(stamp.time.as_millis(), T + 10);
        assert!(stamp.alarm.expect("held").is_hold());
        heard(&mut rules, 2, T + DAY + 400, 15);
        let stamp = rules.stamp(at(T + DAY + 10, 20));
        assert_eq!((stamp.time.as_millis(), stamp.alarm), (T + DAY + 10, None));
    }

    #[test]
    fn an_old_sample_and_one_500_ms_off_do_not_count() {
        let mut rules = three(T);
        heard(&mut rules, 2, T + HOUR, 0);
        assert!(rules.stamp(at(T + HOUR + 2_000, 2_000)).alarm.is_some(), "two seconds old");
        let mut rules = three(T);
        heard(&mut rules, 2, T + HOUR, 0);
        assert!(rules.stamp(at(T + HOUR + 501, 0)).alarm.is_some(), "501 ms off");
        let mut rules = three(T);
        heard(&mut rules, 2, T + HOUR, 0);
        assert_eq!(rules.stamp(at(T + HOUR + 500, 0)).alarm, None);
    }

    #[test]
    fn an_operator_accepts() {
        let mut rules = three(T);
        assert!(rules.stamp(at(T + DAY, 10)).alarm.is_some());
        assert_eq!(rules.accept(at(T + DAY, 20)).as_millis(), T + DAY);
        assert_eq!(rules.stamp(at(T + DAY + 5, 25)).alarm, None);
    }

    proptest! {
        /// Whatever the clocks say: time never goes back, and without agreement never runs away.
        #[test]
        fn time_is_monotone_and_bounded(
            walls in prop::collection::vec((0u64..3 * DAY, 0u64..5_000), 1..60),
        ) {
            let mut rules = three(DAY);
            let (mut mono, mut last) = (0, DAY);
            for (wall, step) in walls {
                mono += step;
                let time = rules.stamp(at(wall, mono)).time.as_millis();
                prop_assert!(time >= last);
                prop_assert!(time <= DAY + mono + mono / 10 + 50);
                last = time;
            }
        }
    }
}
