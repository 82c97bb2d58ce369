//! The clocks of a node: one that shows the time of day and may be wrong or set, and one that only counts on.

use std::time::Duration;

use scheduler::time::Timestamp;

use crate::events::{MS, Micros};

/// The clocks of one node, as functions of the world's time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// How far the time of day is off, in microseconds.
    pub offset: i64,
    /// How much faster the count of time runs, in millionths. Fixed for a run. The time of day is kept right by others.
    pub drift_ppm: i64,
}

impl Clock {
    /// Time since the beginning as this node counts it. Never steps.
    #[must_use]
    pub fn mono(&self, now: Micros) -> Micros {
        now.saturating_add_signed(self.skew(now))
    }

    /// The same, as the rules of time take it.
    #[must_use]
    pub fn mono_duration(&self, now: Micros) -> Duration {
        Duration::from_micros(self.mono(now))
    }

    /// Time of day; `epoch` is what it truly was at the beginning, in microseconds.
    #[must_use]
    pub fn wall(&self, epoch: Micros, now: Micros) -> Timestamp {
        Timestamp::from_millis((epoch + now).saturating_add_signed(self.offset) / MS)
    }

    /// How long this node takes to count `length`.
    #[must_use]
    pub fn lasts(&self, length: Micros) -> Micros {
        length.saturating_add_signed(-self.skew(length))
    }

    fn skew(&self, length: Micros) -> i64 {
        length as i64 / 1_000 * self.drift_ppm / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_is_ahead_and_waits_less() {
        let fast = Clock { offset: -2_000_000, drift_ppm: 100_000 };
        assert_eq!(fast.mono(10_000_000), 11_000_000);
        assert_eq!(fast.lasts(10_000_000), 9_000_000);
        assert_eq!(fast.wall(1_000_000_000, 10_000_000).as_millis(), 1_008_000);
    }
}
