//! Percentiles in milliseconds, from microseconds.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Counts lengths of time from 1 µs to an hour with three digits.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

const MAX_US: u64 = 3_600_000_000;

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, 3).unwrap_or_else(|error| unreachable!("constant bounds: {error}")))
    }
}

impl Times {
    /// Adds one; below zero counts as zero, beyond an hour as an hour.
    pub fn add_us(&mut self, us: i64) {
        self.0.saturating_record(u64::try_from(us).unwrap_or(0).clamp(1, MAX_US));
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can be out of range.
        self.0 += &other.0;
    }

    /// What was added since it was as in `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        // Whatever `before` holds was added to this one too, so that nothing falls below zero.
        since.0 -= &before.0;
        since
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// The percentiles of a report.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        #[expect(clippy::cast_precision_loss, reason = "an hour in microseconds fits the mantissa")]
        let ms = |us: u64| (us as f64) / 1_000.0;
        if self.0.is_empty() {
            return Percentiles::default();
        }
        Percentiles {
            p50: ms(self.0.value_at_quantile(0.5)),
            p95: ms(self.0.value_at_quantile(0.95)),
            p99: ms(self.0.value_at_quantile(0.99)),
            p999: ms(self.0.value_at_quantile(0.999)),
            max: ms(self.0.max()),
        }
    }
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are below.
    pub p50: f64,
    /// 95 of 100 are below.
    pub p95: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// 999 of 1,000 are below.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 {:.2}  p95 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2} ms",
            self.p50, self.p95, self.p99, self.p999, self.max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns red when an earlier part is counted again.
    #[test]
    fn a_part_is_what_was_added_since() {
        let mut times = Times::default();
        (0..100).for_each(|_| times.add_us(1_000));
        let before = times.clone();
        (0..100).for_each(|_| times.add_us(50_000));
        let since = times.since(&before);
        assert_eq!(since.len(), 100);
        assert!((49.0..51.0).contains(&since.percentiles().p50), "{}", since.percentiles());
    }
}
