//! Rates: a limited lane fires only as far as the log says, and this says when it may.

use super::Dispatcher;
use super::lanes::{Lane, next};
use super::outcomes::Proposal;
use super::types::{Cause, RowSource};
use crate::command::{Kind, Release, TopicSettings};
use crate::lane::{LaneId, Position};
use crate::reply::Reply;
use crate::store::StoreError;
use crate::time::Timestamp;

/// One trigger, in the unit of [`Bucket::level`]: thousandths per second times milliseconds.
const TRIGGER: u64 = 1_000_000;
/// What a bucket holds at most, as the time in which it fills. Short, because a rate is there to smooth.
const FULL_AFTER_MS: u64 = 100;
/// Order in which lanes take from their topic's bucket: by priority, retries after normal ones.
const ORDER: [usize; 4] = [0, 1, 3, 2];

/// A token bucket. Starts with one trigger, not full: a change of leaders is no reason for a burst.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    level: u64,
    at: Timestamp,
}

impl Bucket {
    pub fn new(now: Timestamp) -> Self {
        Bucket { level: TRIGGER, at: now }
    }

    /// Triggers it holds when full; at least one.
    fn capacity(rate: u64) -> u64 {
        (rate.saturating_mul(FULL_AFTER_MS) / TRIGGER).max(1)
    }

    /// Fills it up to `now` and says how many triggers it holds.
    fn fill(&mut self, now: Timestamp, rate: u64) -> u64 {
        let gained = rate.saturating_mul(now.since(self.at).as_millis());
        self.at = self.at.max(now);
        self.level = self.level.saturating_add(gained).min(Self::capacity(rate).saturating_mul(TRIGGER));
        self.level / TRIGGER
    }

    fn take(&mut self, triggers: u64) {
        self.level = self.level.saturating_sub(triggers.saturating_mul(TRIGGER));
    }

    /// When it holds a trigger.
    fn ready_at(&self, rate: u64) -> Timestamp {
        let missing = TRIGGER.saturating_sub(self.level);
        self.at.after(crate::time::Delay::from_millis(missing.div_ceil(rate.max(1))))
    }
}

/// The rate of a topic that has one and is not paused.
pub(super) fn rate(settings: &TopicSettings) -> Option<u64> {
    (!settings.paused && settings.rate_milli_per_second > 0).then_some(settings.rate_milli_per_second)
}

impl Lane {
    /// Where to go on releasing; `None` when there is nothing to release, or it is being done.
    fn release_from(&self, watermark: Timestamp) -> Option<Position> {
        let released = self.marks.released?;
        let wants = self.unreleased && !self.releasing && released < Position::end_of(watermark);
        wants.then(|| next(released).max(self.marks.floor))
    }

    /// Rows that were released and not delivered.
    fn released_ahead(&self) -> u64 {
        self.released_unread.saturating_add(self.ready as u64)
    }
}

impl Dispatcher {
    /// Proposes what limited topics may fire now, no further ahead of delivery than a bucket holds, so that what nobody
    /// asks for yet can still be cancelled.
    pub(super) fn release(&mut self, now: Timestamp, source: &dyn RowSource) -> Result<(), StoreError> {
        for id in self.limited.clone() {
            let Some(topic) = self.topics.get_mut(&id) else {
                continue;
            };
            let Some(rate) = rate(&topic.info.settings) else {
                continue;
            };
            let mut left = topic.bucket.fill(now, rate);
            let mut releases = Vec::new();
            for place in ORDER {
                let lane = &mut topic.lanes[place];
                let Some(from) = lane.release_from(self.watermark) else {
                    continue;
                };
                let count_max = left.min(Bucket::capacity(rate).saturating_sub(lane.released_ahead()));
                if count_max == 0 {
                    lane.behind = Some(Cause::RateLimit);
                    continue;
                }
                let to = Position::end_of(self.watermark);
                match source.count(lane.id, from, to, count_max.try_into().unwrap_or(usize::MAX))? {
                    Some((to, count)) if count > 0 => {
                        topic.bucket.take(count as u64);
                        left -= (count as u64).min(left);
                        lane.releasing = true;
                        releases.push((lane.id, to, count as u64));
                    }
                    _ => lane.unreleased = false,
                }
            }
            for (lane, to, count) in releases {
                let command =
                    Release { lane: lane.number(), due: to.due.as_millis(), generation: to.generation.number() };
                self.propose(Kind::Release(command), Proposal::Release { lane, count });
            }
        }
        Ok(())
    }

    pub(super) fn decided_release(&mut self, lane: LaneId, count: u64, reply: &Reply) {
        let Some(lane) = self.lane_mut(lane) else {
            return;
        };
        lane.releasing = false;
        if *reply == Reply::Done {
            // The mark itself comes from the store: the lane may have been paused or set free by now.
            lane.released_unread = lane.released_unread.saturating_add(count);
            lane.unread = true;
        }
    }

    /// When a limited topic may fire more, if that waits for time alone.
    pub(super) fn next_release(&self) -> Option<Timestamp> {
        let topics = self.limited.iter().filter_map(|id| self.topics.get(id));
        let waiting = topics.filter_map(|topic| {
            let rate = rate(&topic.info.settings)?;
            let capacity = Bucket::capacity(rate);
            let lanes = topic.lanes.iter().filter(|lane| lane.released_ahead() < capacity);
            lanes.filter_map(|lane| lane.release_from(self.watermark)).next()?;
            Some(topic.bucket.ready_at(rate))
        });
        waiting.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when `fill` divides before it multiplies: slow rates then never gain a trigger.
    #[test]
    fn a_slow_rate_gains_its_triggers_over_many_small_steps() {
        let rate = 500; // One every two seconds.
        let mut bucket = Bucket::new(Timestamp::MIN);
        bucket.take(1);
        let mut taken = 0;
        for ms in 1..=10_000 {
            let triggers = bucket.fill(Timestamp::from_millis(ms), rate);
            bucket.take(triggers);
            taken += triggers;
        }
        assert_eq!(taken, 5);
    }

    #[test]
    fn it_says_when_it_holds_a_trigger() {
        let mut bucket = Bucket::new(Timestamp::from_millis(5));
        bucket.take(1);
        assert_eq!(bucket.ready_at(3_000), Timestamp::from_millis(5 + 334));
        assert_eq!(bucket.fill(Timestamp::from_millis(5 + 333), 3_000), 0);
        assert_eq!(bucket.fill(Timestamp::from_millis(5 + 334), 3_000), 1);
    }
}
