//! The cluster's clock: it runs behind the machine's, so that a midnight that is over is still to come, and is moved on to it.
//!
//! A gift is reserved at least ten minutes ahead of the cluster's time. Waiting for that would make every run longer, and a clock
//! that stands still could not be measured by. So the nodes begin at noon before the last midnight in Korea, and when everything is
//! reserved, each of them is moved on by the same length to shortly before it. From then on time passes as ever.

use std::time::Duration;

use anyhow::Context;
use harness::{caller, clock};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proto::admin::v1::{AdvanceClockRequest, advance_clock_request::Target};

/// From where the cluster's clock begins to midnight.
const NOON_TO_MIDNIGHT_MS: i64 = 12 * 3_600_000;
/// Korea has had one offset since 1988.
const KOREA_MS: i64 = 9 * 3_600_000;
const DAY_MS: i64 = 24 * 3_600_000;

/// The clock of a cluster of our own.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The midnight that gifts are for, in the cluster's time.
    midnight_ms: i64,
    /// How far the nodes are behind the machine.
    behind_ms: i64,
}

impl Clock {
    /// For nodes that start now.
    #[must_use]
    pub fn now() -> Self {
        Self::at(clock::now_ms())
    }

    fn at(now_ms: i64) -> Self {
        let midnight_ms = (now_ms + KOREA_MS).div_euclid(DAY_MS) * DAY_MS - KOREA_MS;
        Self { midnight_ms, behind_ms: now_ms - (midnight_ms - NOON_TO_MIDNIGHT_MS) }
    }

    /// What nodes are started with, as `clock.behind`.
    #[must_use]
    pub fn setting(&self) -> String {
        format!("\"{}ms\"", self.behind_ms)
    }

    /// The day that begins at midnight, as `2027-02-14`.
    ///
    /// # Errors
    ///
    /// When the machine's clock is beyond every calendar.
    pub fn date(&self) -> anyhow::Result<String> {
        date(self.midnight_ms)
    }

    /// The day after that one.
    ///
    /// # Errors
    ///
    /// As [`Self::date`].
    pub fn date_after(&self) -> anyhow::Result<String> {
        date(self.midnight_ms + DAY_MS)
    }

    /// Midnight in the cluster's time.
    #[must_use]
    pub fn midnight_ms(&self) -> i64 {
        self.midnight_ms
    }

    /// Moves the nodes on, so that midnight comes at `moment_ms` of the machine's clock.
    ///
    /// # Errors
    ///
    /// When a node does not do so, or that would be past the machine's clock.
    pub async fn midnight_at(&mut self, moment_ms: i64, endpoints: &[String]) -> anyhow::Result<()> {
        let left_ms = moment_ms - self.midnight_ms;
        let by = Duration::from_millis(u64::try_from(self.behind_ms - left_ms).context("midnight is over")?);
        let moved = endpoints.iter().map(|endpoint| async {
            let request = AdvanceClockRequest { target: Some(Target::By(clock::duration(by))) };
            caller::cluster(caller::channel(endpoint)?).advance_clock(request).await?;
            anyhow::Ok(())
        });
        futures::future::try_join_all(moved).await.context("a node's clock was not moved")?;
        self.behind_ms = left_ms;
        Ok(())
    }

    /// The cluster's time, in milliseconds.
    #[must_use]
    pub fn cluster_ms(&self) -> i64 {
        clock::now_ms() - self.behind_ms
    }
}

fn date(midnight_ms: i64) -> anyhow::Result<String> {
    let midnight = Timestamp::from_millisecond(midnight_ms)?;
    Ok(midnight.to_zoned(TimeZone::get("Asia/Seoul")?).strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when midnight is not Korea's, or less than half a day is left to reserve.
    #[test]
    fn noon_before_the_last_midnight() {
        // 2027-02-14T10:00:00+09:00.
        let now_ms = 1_802_566_800_000;
        let clock = Clock::at(now_ms);
        assert_eq!(clock.midnight_ms(), 1_802_530_800_000);
        assert_eq!((clock.date().unwrap(), clock.date_after().unwrap()), ("2027-02-14".into(), "2027-02-15".into()));
        assert_eq!(clock.setting(), format!("\"{}ms\"", 22 * 3_600_000));
    }
}
