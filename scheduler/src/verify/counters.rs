//! Counters against the sums of what they count.

use super::{Check, is_counted, name};
use crate::keys;
use crate::lane::{Class, LaneId, Position};
use crate::overlay::decode_counter;
use crate::read;
use crate::store::StoreError;

impl Check<'_> {
    pub(super) fn counters(&mut self) -> Result<(), StoreError> {
        self.minutes()?;
        for (tag, what) in [(keys::LIVE, "waiting"), (keys::DONE, "completed")] {
            self.table(tag, |check, key, value| {
                let known = check.lane_in(key).is_some();
                if known && (key.len() != 5 || value.len() != 8) {
                    check.tell(key, format!("of what is {what} has {} bytes", value.len()), name::HALTS);
                }
                Ok(())
            })?;
        }
        for topic in self.topics.clone().into_iter().flatten() {
            for class in Class::ALL {
                self.lane_counters(LaneId::new(topic.id, class))?;
            }
        }
        Ok(())
    }

    fn lane_counters(&mut self, lane: LaneId) -> Result<(), StoreError> {
        let tally = *self.tally(lane);
        let key = keys::live(lane);
        let live = self.store.get(&key)?.map_or(0, |value| decode_counter(&value));
        let waiting = tally.rows as i64 - tally.completed as i64;
        if live != waiting {
            let wrong = format!(
                "is {live}, and the lane has {} rows of which {} are completed: {waiting}",
                tally.rows, tally.completed
            );
            self.tell(&key, wrong, name::MISCOUNT);
        }
        // What was completed long ago has left no row, so this has a lower bound only.
        let key = keys::done(lane);
        let done = self.store.get(&key)?.map_or(0, |value| decode_counter(&value));
        let known = (tally.items + tally.completed_alone) as i64;
        if done < known {
            self.tell(&key, format!("is {done}, and {known} completions are still kept"), name::MISCOUNT);
        }
        Ok(())
    }

    /// Minutes that are counted and have no rows. Those that have were compared when the rows were passed.
    fn minutes(&mut self) -> Result<(), StoreError> {
        let now = keys::minute_of(self.watermark());
        self.table(keys::COUNT, |check, key, value| {
            check.summary.minutes += 1;
            let Some((minute, lane)) = keys::count_fields(key).filter(|_| key.len() == 13) else {
                check.tell(key, "is not the key of a minute", name::HALTS);
                return Ok(());
            };
            if value.len() != 8 {
                check.tell(key, format!("has {} bytes", value.len()), name::HALTS);
            }
            if check.topic(lane).is_none() || !is_counted(lane) || keys::minute_of(minute) != minute {
                check.tell(key, "is not of a minute of a lane that is delivered", name::MISCOUNT);
                return Ok(());
            }
            if minute < now {
                check.tell(key, format!("is of a minute before that of the watermark, {now}"), name::MISCOUNT);
                return Ok(());
            }
            let count = decode_counter(value);
            if count < 0 {
                check.tell(key, format!("is {count}"), name::MISCOUNT);
            } else if count > 0 && minute > now {
                let at = |due| keys::due(lane, Position { due, ..Position::MIN });
                let end = minute.after(crate::time::Delay::from_millis(60_000));
                if !read::any_between(check.store, &at(minute), &at(end))? {
                    check.tell(key, format!("is {count}, and no trigger is due in it"), name::MISCOUNT);
                }
            }
            Ok(())
        })
    }
}
