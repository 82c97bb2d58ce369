//! Moments and delays, both in milliseconds. Replicated time only: nothing here reads a clock.

use std::fmt;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delay(u64);

impl Timestamp {
    /// The earliest moment.
    pub const MIN: Timestamp = Timestamp(0);
    /// Later than every moment a trigger can be due.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The moment this many milliseconds after the epoch.
    pub const fn from_millis(ms: u64) -> Self {
        Timestamp(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment moved later; stays at [`Timestamp::MAX`] rather than overflow.
    pub const fn after(self, delay: Delay) -> Self {
        Timestamp(self.0.saturating_add(delay.0))
    }

    /// How much later this is than `earlier`; zero when it is not.
    pub const fn since(self, earlier: Timestamp) -> Delay {
        Delay(self.0.saturating_sub(earlier.0))
    }
}

impl Delay {
    /// No time at all.
    pub const ZERO: Delay = Delay(0);

    /// This many milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Delay(ms)
    }

    /// This many seconds.
    pub const fn from_secs(s: u64) -> Self {
        Delay(s * 1_000)
    }

    /// This many days of 24 hours.
    pub const fn from_days(days: u64) -> Self {
        Delay(days * 86_400_000)
    }

    /// Its length in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
