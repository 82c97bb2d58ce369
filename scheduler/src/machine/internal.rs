//! Work that time alone makes due: counters of past minutes, ids past their retention, runs past theirs, and firing
//! facts that nothing refers to any more.
//!
//! Readers judge visibility by the watermark, so none of this changes an answer; it only frees space. A round begins
//! when the watermark passes into another minute and does a bounded amount of work in each entry until it is through.

use std::ops::ControlFlow;

use crate::keys::{self, IdHash};
use crate::lane::{Class, Generation, LaneId, Position};
use crate::record::{IdRecord, Lane, Meta, Stage, Sweep, corrupt, run_visible_until};
use crate::store::{Read, StoreError};
use crate::time::{Delay, Timestamp};

use super::Step;

/// Rows passed in one entry, roughly a millisecond of work.
const BUDGET: usize = 4_096;

/// What a seek costs in rows passed.
const SEEK_COST: usize = 8;

/// Ids forgotten in one entry; each costs a get and three writes.
const IDS_MAX: usize = 256;

impl Step<'_, '_> {
    /// Does what is due by the watermark moving from `before` to this entry's time.
    pub(super) fn forget(&mut self, meta: &mut Meta, before: Timestamp) -> Result<(), StoreError> {
        let (last, minute) = (keys::minute_of(before), keys::minute_of(self.now));
        if minute > last {
            let first_lane = LaneId::default();
            self.overlay.delete_range(&keys::count(last, first_lane), &keys::count(minute, first_lane));
            meta.sweep.get_or_insert(Sweep { lane: 0, oldest_due_ms: self.now.as_millis() });
        }
        let Some(sweep) = &mut meta.sweep else { return Ok(()) };
        let ids_done = self.forget_ids()?;
        let lanes_done = self.forget_lanes(sweep)?;
        if lanes_done && ids_done {
            let oldest_due = Timestamp::from_millis(sweep.oldest_due_ms);
            self.overlay.delete_range(&keys::fired(Timestamp::MIN), &keys::fired(oldest_due));
            meta.sweep = None;
        }
        Ok(())
    }

    /// Drops ids that ended on their own and are past their retention. Whether none is left.
    fn forget_ids(&mut self) -> Result<bool, StoreError> {
        let mut passed: Vec<(Timestamp, IdHash, Vec<u8>)> = Vec::new();
        let mut unreadable = false;
        let end = keys::ended(self.now.after(Delay::from_millis(1)), IdHash([0; 16]));
        self.overlay.scan(&[keys::ENDED], &end, &mut |key, value| {
            match keys::ended_fields(key) {
                Some((visible_until, hash)) => passed.push((visible_until, hash, value.to_vec())),
                None => unreadable = true,
            }
            if unreadable || passed.len() == IDS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if unreadable {
            return Err(corrupt("ended"));
        }
        let done = passed.len() < IDS_MAX;
        for (visible_until, hash, history) in passed {
            self.overlay.delete(&keys::ended(visible_until, hash));
            if history.first() == Some(&keys::HISTORY) {
                self.overlay.delete(&history);
            }
            // The id may have been used again since.
            if let Some(value) = self.overlay.get(&keys::id(hash))? {
                let record = IdRecord::decode(&value)?;
                if record.stage == Stage::Ended && record.visible_until == visible_until {
                    self.overlay.delete(&keys::id(hash));
                }
            }
        }
        Ok(done)
    }

    /// Goes on with the round over lanes of first attempts. Whether it is through.
    fn forget_lanes(&mut self, sweep: &mut Sweep) -> Result<bool, StoreError> {
        let mut budget = BUDGET;
        while let Some(lane) = self.sweep_lane(sweep) {
            if budget == 0 {
                return Ok(false);
            }
            budget = budget.saturating_sub(2 * SEEK_COST);
            if let Some(due) = self.first_due(lane)? {
                sweep.oldest_due_ms = sweep.oldest_due_ms.min(due.as_millis());
            }
            if !self.forget_runs(lane, &mut budget)? {
                return Ok(false);
            }
            sweep.lane = lane.number() + 1;
        }
        Ok(true)
    }

    /// The lane of first attempts that the round is at.
    fn sweep_lane(&self, sweep: &mut Sweep) -> Option<LaneId> {
        let lane = loop {
            match LaneId::from_number(sweep.lane) {
                Some(lane) if lane.class().is_first_attempt() => break lane,
                _ => sweep.lane = (sweep.lane | 7).checked_add(1)?,
            }
        };
        self.topics.topic(lane.topic()).map(|_| lane)
    }

    /// When the first row of a lane is due.
    fn first_due(&self, lane: LaneId) -> Result<Option<Timestamp>, StoreError> {
        let mut first = None;
        let from = keys::due(lane, self.topics.lane(lane).floor);
        self.overlay.scan(&from, &keys::lane_end(keys::DUE, lane), &mut |key, _| {
            first = keys::position_of(key).map(|position| position.due);
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    /// Drops the runs at the beginning of a lane whose retention has passed, never beyond the floor, and moves the
    /// `forgotten` mark behind them. Whether it came to an end within the budget.
    fn forget_runs(&mut self, lane: LaneId, budget: &mut usize) -> Result<bool, StoreError> {
        debug_assert!(lane.class() < Class::Retry);
        let marks = self.topics.lane(lane);
        // A run that the floor divides stays whole.
        let end = Position { due: marks.floor.due, generation: Generation::new(marks.floor.generation.index(), 0) };
        if end <= marks.forgotten {
            return Ok(true);
        }
        let (mut rows, mut stopped_at, mut done) = (0, None, true);
        let mut failed = None;
        let (from, to) = (keys::run_from(lane, marks.forgotten), keys::run_from(lane, end));
        let now = self.now;
        self.overlay.scan(&from, &to, &mut |key, value| {
            let run = keys::run_fields(key)
                .ok_or_else(|| corrupt("run"))
                .and_then(|fields| Ok((fields, run_visible_until(value)?)));
            let ((due, scheduling, _), visible_until) = match run {
                Ok(run) => run,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            };
            let exhausted = *budget == 0;
            if visible_until > now || exhausted {
                stopped_at = Some(Position { due, generation: Generation::new(scheduling, 0) });
                done = !exhausted;
                return ControlFlow::Break(());
            }
            rows += 1;
            *budget -= 1;
            ControlFlow::Continue(())
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let forgotten = stopped_at.unwrap_or(end);
        if forgotten > marks.forgotten {
            if rows > 0 {
                self.overlay.delete_range(&from, &keys::run_from(lane, forgotten));
            }
            self.set_lane(lane, Lane { forgotten, ..marks });
        }
        Ok(done)
    }
}
