//! How memory, disk and lateness go over a long run: its first third beside its last.

use std::time::Duration;

use serde_json::Value;

use crate::histogram::Times;

/// One look.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Since the beginning of the run.
    pub after: Duration,
    /// Resident set of the largest node.
    pub rss_bytes: u64,
    /// Bytes a node keeps on disk, a mean.
    pub disk_bytes: u64,
    /// Of everything delivered so far.
    pub lateness: Times,
}

/// Looks of a run of known length, summed up by thirds.
#[derive(Clone, Debug)]
pub struct Trend {
    length: Duration,
    thirds: [Third; 3],
}

#[derive(Clone, Debug, Default)]
struct Third {
    samples: u64,
    rss_bytes: u64,
    disk_bytes: u64,
    lateness_at_end: Times,
}

impl Trend {
    /// Nothing has been looked at yet.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self { length, thirds: Default::default() }
    }

    /// Adds a look; in order.
    pub fn add(&mut self, sample: Sample) {
        // A look at the very end of a third belongs to it.
        let third = if sample.after * 3 <= self.length {
            0
        } else if sample.after * 3 <= self.length * 2 {
            1
        } else {
            2
        };
        let third = &mut self.thirds[third];
        third.samples += 1;
        third.rss_bytes += sample.rss_bytes;
        third.disk_bytes += sample.disk_bytes;
        third.lateness_at_end = sample.lateness;
    }

    /// The figures of a report: means of memory and disk in the first and the last third and the ratio of the two,
    /// lateness of what was delivered in each. Without `nodes` of our own there is no memory or disk to look at.
    #[must_use]
    pub fn figures(&self, nodes: bool) -> Vec<(&'static str, Value)> {
        let [first, second, last] = &self.thirds;
        let mut figures = Vec::new();
        if nodes {
            let memory = (first.mean(first.rss_bytes), last.mean(last.rss_bytes));
            let disk = (first.mean(first.disk_bytes), last.mean(last.disk_bytes));
            figures.extend([
                ("memory_bytes_first_third", memory.0.into()),
                ("memory_bytes_last_third", memory.1.into()),
                ("memory_ratio", ratio(memory)),
                ("disk_bytes_first_third", disk.0.into()),
                ("disk_bytes_last_third", disk.1.into()),
                ("disk_ratio", ratio(disk)),
            ]);
        }
        let lateness = [&first.lateness_at_end, &last.lateness_at_end.since(&second.lateness_at_end)];
        for (name, lateness) in ["lateness_ms_first_third", "lateness_ms_last_third"].into_iter().zip(lateness) {
            figures.push((name, serde_json::to_value(lateness.percentiles()).unwrap_or_default()));
        }
        figures
    }
}

impl Third {
    fn mean(&self, sum: u64) -> u64 {
        sum / self.samples.max(1)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio((first, last): (u64, u64)) -> Value {
    if first == 0 { Value::Null } else { (last as f64 / first as f64).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns red when the thirds are not those of the run, or what was late in one is counted in another.
    #[test]
    fn the_first_third_stands_beside_the_last() {
        let mut trend = Trend::new(Duration::from_secs(9));
        let mut lateness = Times::default();
        for second in 1..=9 {
            let third = (second - 1) / 3;
            (0..10).for_each(|_| lateness.add_us(i64::try_from((third + 1) * 1_000).unwrap()));
            trend.add(Sample {
                after: Duration::from_secs(second),
                rss_bytes: 100 * (third + 1),
                disk_bytes: 10 * second,
                lateness: lateness.clone(),
            });
        }
        let figures = serde_json::Value::Object(
            trend.figures(true).into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        );
        assert_eq!(figures["memory_bytes_first_third"], 100);
        assert_eq!(figures["memory_bytes_last_third"], 300);
        assert_eq!(figures["memory_ratio"], 3.0);
        assert_eq!(figures["disk_bytes_first_third"], 20);
        assert_eq!(figures["disk_bytes_last_third"], 80);
        let p99 = |name: &str| figures[name]["p99"].as_f64().unwrap();
        assert!((0.9..1.1).contains(&p99("lateness_ms_first_third")), "{figures}");
        assert!((2.9..3.1).contains(&figures["lateness_ms_last_third"]["p50"].as_f64().unwrap()), "{figures}");
        assert!(trend.figures(false).iter().all(|(name, _)| name.starts_with("lateness")));
    }
}
