//! Whether the rows of a partition agree with each other: everything derived is what it is derived from, everything that
//! names a row names one that is there, and every row can be read.
//!
//! Pure, like the rest: it reads a consistent store and says what is wrong. Memory does not grow with the rows: what is
//! kept are the topics, a few sums per lane, and the runs of one (lane, due, scheduling index) at a time.
//!
//! Each table is passed once, in order of its keys. A row of DUE, ENDED, HISTORY and a run's item cost a get of the row
//! they name, mostly that of an id; so a partition of *n* triggers costs *n* random gets and a scan of everything. The
//! opposite direction, from ids to what they name, is counted while passing; only when the sums differ are ids passed
//! again, with a get each, to say which.
//!
//! What is lazy by design is no problem: ids and runs past their retention that no sweep has come to, id rows behind
//! `forgotten` that no compaction has come to, rows of completed triggers above the floor, counters that are zero.

mod counters;
mod ended;
mod firing;
mod ids;
mod name;
mod runs;
#[cfg(test)]
mod tests;
mod topics;
mod waiting;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::keys;
use crate::lane::{Class, LaneId};
use crate::machine::FEATURE_LEVEL;
use crate::read;
use crate::record::{Lane, Meta, Topic};
use crate::store::{Read, StoreError};
use crate::time::Timestamp;

/// Something that is wrong with a row, or with what it should agree with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its key.
    pub key: Vec<u8>,
    /// What row that is, in words: `trigger of shop/mail, normal, due 5 ms, generation 8192 (entry 2, place 0)`.
    pub row: String,
    /// What is wrong with it, with the numbers.
    pub wrong: String,
    /// What comes of it when nothing is done.
    pub means: &'static str,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Index of the newest entry applied.
    pub applied: u64,
    /// Its time.
    pub watermark: Timestamp,
    /// Topics.
    pub topics: u64,
    /// Rows of triggers, completed ones above the floor among them.
    pub triggers: u64,
    /// Rows of ids.
    pub ids: u64,
    /// Successes in runs.
    pub completed_in_runs: u64,
    /// Triggers that ended on their own and are kept for their retention.
    pub ended: u64,
    /// Counters of minutes to come.
    pub minutes: u64,
    /// Rows of the business domains, which are not looked into.
    pub domain: u64,
    /// All rows.
    pub rows: u64,
    /// Problems told.
    pub problems: u64,
}

/// Checks the rows of a partition and tells `problem` of everything that is wrong, in no particular order.
///
/// # Errors
///
/// The store cannot be read, or holds rows of a higher feature level than this build knows. What was told until then holds; what comes after is not known.
pub fn rows(store: &dyn Read, problem: &mut dyn FnMut(Problem)) -> Result<Summary, StoreError> {
    let mut check = Check {
        store,
        problem,
        summary: Summary::default(),
        meta: Meta::first(),
        topics: Vec::new(),
        tallies: BTreeMap::new(),
        pointed: Pointed::default(),
    };
    check.meta()?;
    let (level, build) = (check.meta.feature_level, FEATURE_LEVEL);
    if level > build {
        // What they mean is not known here: every answer would be a guess.
        return Err(StoreError(format!(
            "the rows need feature level {level}, this build has {build}: use the newer one"
        )));
    }
    check.topics()?;
    check.lanes()?;
    check.fired()?;
    check.releases()?;
    check.waiting()?;
    check.runs()?;
    check.ended()?;
    check.ids()?;
    check.counters()?;
    check.strangers()?;
    Ok(check.summary)
}

/// Sums of one lane.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Rows of triggers.
    rows: u64,
    /// Of those, completed in a run.
    completed: u64,
    /// Items of runs.
    items: u64,
    /// Ids that say that they were completed by a report of their own.
    completed_alone: u64,
}

/// Rows that an id's row was found to name, counted from the row's side. Ids count from theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pointed {
    /// Rows of triggers.
    rows: u64,
    /// Items of runs behind the floor.
    items: u64,
    /// Rows of ids that ended.
    ended: u64,
}

struct Check<'a> {
    store: &'a dyn Read,
    problem: &'a mut dyn FnMut(Problem),
    summary: Summary,
    meta: Meta,
    /// By number; `None` for one that cannot be read.
    topics: Vec<Option<Topic>>,
    tallies: BTreeMap<LaneId, Tally>,
    pointed: Pointed,
}

impl Check<'_> {
    fn tell(&mut self, key: &[u8], wrong: impl Into<String>, means: &'static str) {
        self.summary.problems += 1;
        let row = name::of(key, &self.topics);
        (self.problem)(Problem { key: key.to_vec(), row, wrong: wrong.into(), means });
    }

    /// Tells of a row that does not decode.
    fn unreadable(&mut self, key: &[u8], why: impl std::fmt::Display) {
        self.tell(key, format!("cannot be read: {why}"), name::HALTS);
    }

    /// Visits the rows of a table. The visitor may read other rows.
    fn table(
        &mut self,
        tag: u8,
        mut visit: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut failed = None;
        let store = self.store;
        store.scan(&[tag], &[tag + 1], &mut |key, value| {
            self.summary.rows += 1;
            failed = visit(self, key, value).err();
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The topic of a lane.
    fn topic(&self, lane: LaneId) -> Option<&Topic> {
        self.topics.get(lane.topic().0 as usize)?.as_ref()
    }

    /// The marks of a lane.
    fn marks(&self, lane: LaneId) -> Lane {
        self.topic(lane).map_or_else(Lane::default, |topic| topic.lanes[lane.class() as usize])
    }

    fn watermark(&self) -> Timestamp {
        self.meta.watermark()
    }

    fn tally(&mut self, lane: LaneId) -> &mut Tally {
        self.tallies.entry(lane).or_default()
    }

    /// Whether the lane in a key is one of a topic that is there; tells when it is not.
    fn lane_in(&mut self, key: &[u8]) -> Option<LaneId> {
        let lane = keys::lane_of(key);
        let known = lane.filter(|lane| self.topic(*lane).is_some());
        if known.is_none() {
            self.tell(key, "is of a lane that no topic has", name::UNREACHABLE);
        }
        known
    }

    fn meta(&mut self) -> Result<(), StoreError> {
        let value = self.store.get(&keys::meta())?;
        let decoded = value.as_ref().map(|value| Meta::from_value(value));
        match decoded {
            Some(Ok(meta)) => self.meta = meta,
            Some(Err(error)) => self.unreadable(&keys::meta(), error),
            None => {
                if read::any_between(self.store, &[keys::META], &[0xff])? {
                    self.tell(&keys::meta(), "is missing, though other rows are there", name::HALTS);
                }
            }
        }
        self.summary.rows += u64::from(value.is_some());
        (self.summary.applied, self.summary.watermark) = (self.meta.applied, self.meta.watermark());
        if self.meta.applied >= 1 << 52 || self.meta.epoch == 0 {
            let wrong = format!("says applied {}, epoch {}: neither can be", self.meta.applied, self.meta.epoch);
            self.tell(&keys::meta(), wrong, name::HALTS);
        }
        if let Some(sweep) = self.meta.sweep
            && sweep.oldest_due_ms > self.meta.watermark_ms
        {
            let wrong = format!(
                "says that the round of forgetting has met nothing due before {} ms, after the watermark of {} ms",
                sweep.oldest_due_ms, self.meta.watermark_ms
            );
            self.tell(&keys::meta(), wrong, name::DIVERGES);
        }
        Ok(())
    }

    /// Rows of no known table.
    fn strangers(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        for (from, to) in [(0, keys::META), (keys::LANE + 1, keys::DUE), (keys::DONE + 1, keys::DOMAIN_FIRST)] {
            store.scan(&[from], &[to], &mut |key, _| {
                self.summary.rows += 1;
                self.tell(key, format!("has the unknown tag {:#04x}", key.first().unwrap_or(&0)), name::UNREACHABLE);
                ControlFlow::Continue(())
            })?;
        }
        let mut longer = 0;
        store.scan(&[keys::META], &[keys::META + 1], &mut |key, _| {
            if key.len() > 1 {
                longer += 1;
                self.tell(key, "has a key longer than one byte", name::UNREACHABLE);
            }
            ControlFlow::Continue(())
        })?;
        store.scan(&[keys::DOMAIN_FIRST], &[0xff; 64], &mut |_, _| {
            self.summary.domain += 1;
            ControlFlow::Continue(())
        })?;
        self.summary.rows += longer + self.summary.domain;
        Ok(())
    }
}

/// Whether triggers of this lane are counted by minutes.
fn is_counted(lane: LaneId) -> bool {
    lane.class() != Class::Dead
}
