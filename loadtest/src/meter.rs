//! Counts what was done in which second.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::histogram::Times;

/// A run of some seconds; what is counted outside of it does not count.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    seconds: Vec<AtomicU64>,
    latency: Mutex<Times>,
}

impl Meter {
    /// Begins after `warm_up`.
    #[must_use]
    pub fn new(warm_up: Duration, seconds: u64) -> Self {
        Self {
            start: Instant::now() + warm_up,
            seconds: (0..seconds).map(|_| AtomicU64::new(0)).collect(),
            latency: Mutex::default(),
        }
    }

    /// Whether there is nothing more to measure.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end()
    }

    /// The end of the run.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.start + Duration::from_secs(self.seconds.len() as u64)
    }

    /// `items` were answered just now, having been asked for at `asked`.
    pub fn count(&self, items: u64, asked: Instant, latency: &mut Times) {
        let now = Instant::now();
        let Some(since) = now.checked_duration_since(self.start) else {
            return;
        };
        if let Some(second) = self.seconds.get(usize::try_from(since.as_secs()).unwrap_or(usize::MAX)) {
            second.fetch_add(items, Ordering::Relaxed);
            latency.add_us(i64::try_from((now - asked).as_micros()).unwrap_or(i64::MAX));
        }
    }

    /// Adds the latencies one caller kept.
    pub fn keep(&self, latency: &Times) {
        self.latency.lock().unwrap_or_else(std::sync::PoisonError::into_inner).merge(latency);
    }

    /// All latencies kept.
    #[must_use]
    pub fn latency(&self) -> Times {
        self.latency.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Per second over the whole run.
    #[must_use]
    pub fn sustained(&self) -> f64 {
        mean(&self.by_second())
    }

    /// Per second over the best ten seconds, or the whole run when it is shorter.
    #[must_use]
    pub fn peak(&self) -> f64 {
        let by_second = self.by_second();
        by_second.windows(by_second.len().clamp(1, 10)).map(mean).fold(0.0, f64::max)
    }

    fn by_second(&self) -> Vec<u64> {
        self.seconds.iter().map(|second| second.load(Ordering::Relaxed)).collect()
    }
}

fn mean(seconds: &[u64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let mean = seconds.iter().sum::<u64>() as f64 / seconds.len().max(1) as f64;
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when warm-up counts, or the peak is taken over less than ten seconds.
    #[test]
    fn only_the_run_counts() {
        let meter = Meter::new(Duration::from_secs(3_600), 20);
        let mut latency = Times::default();
        meter.count(5, Instant::now(), &mut latency);
        assert_eq!((meter.sustained(), latency.len()), (0.0, 0));

        let meter = Meter::new(Duration::ZERO, 20);
        meter.count(40, Instant::now(), &mut latency);
        assert_eq!((meter.sustained(), meter.peak(), latency.len()), (2.0, 4.0, 1));
        assert!(!meter.is_over());
    }
}
