//! Counts how late triggers were handed out, finely enough to say percentiles of any stretch of time.

use scheduler::dispatcher::Delivery;
use scheduler::lane::Class;
use scheduler::time::Timestamp;

/// Upper bounds of the buckets, inclusive, in milliseconds: steps of a tenth to a fifth, up to ten minutes. One more
/// bucket holds what was later than that.
pub const BOUNDS_MS: [u32; 60] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100, 120, 140, 160,
    180, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900, 1_000, 1_250, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000,
    6_000, 8_000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
];

/// Deliveries by lateness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lateness([u64; BOUNDS_MS.len() + 1]);

impl Default for Lateness {
    fn default() -> Self {
        Lateness([0; BOUNDS_MS.len() + 1])
    }
}

impl Lateness {
    /// Triggers were handed out at `now`. Only first attempts count: later ones are late on purpose.
    pub fn add(&mut self, now: Timestamp, deliveries: &[Delivery]) {
        for delivery in deliveries.iter().filter(|delivery| is_first(delivery)) {
            let late_ms = now.since(delivery.row.position.due).as_millis();
            self.0[bucket(late_ms)] += 1;
        }
    }

    /// One count for each of [`BOUNDS_MS`], and one for what was later.
    pub fn counts(&self) -> &[u64] {
        &self.0
    }
}

/// Whether it is handed out for the first time.
pub fn is_first(delivery: &Delivery) -> bool {
    delivery.lane.class() != Class::Retry && delivery.row.attempt <= 1
}

fn bucket(late_ms: u64) -> usize {
    BOUNDS_MS.partition_point(|bound| u64::from(*bound) < late_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns red when a bound is counted in the bucket above it, or bounds are out of order.
    #[test]
    fn a_bound_belongs_to_its_bucket() {
        assert!(BOUNDS_MS.is_sorted_by(|a, b| a < b));
        for (at, bound) in BOUNDS_MS.iter().enumerate() {
            assert_eq!(bucket(u64::from(*bound)), at);
            assert_eq!(bucket(u64::from(*bound) + 1), at + 1);
        }
        assert_eq!(bucket(u64::MAX), BOUNDS_MS.len());
    }
}
