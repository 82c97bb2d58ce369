//! Runs against the ids they name, the floor, and the rows of triggers above it.

use std::collections::BTreeSet;

use super::{Check, name};
use crate::keys::{self, IdHash};
use crate::lane::{Generation, LaneId, Position};
use crate::record::{IdRecord, Run, Stage, trigger_id};
use crate::store::StoreError;
use crate::time::Timestamp;

impl Check<'_> {
    pub(super) fn runs(&mut self) -> Result<(), StoreError> {
        // Places completed of one origin, by all its runs.
        let mut origin: Option<(LaneId, Timestamp, u64)> = None;
        let mut places = BTreeSet::new();
        self.table(keys::RUN, |check, key, value| {
            let Some(lane) = check.lane_in(key) else { return Ok(()) };
            let Some((due, scheduling, completing)) = keys::run_fields(key) else {
                check.tell(key, "is not the key of a run", name::HALTS);
                return Ok(());
            };
            let run = match Run::decode(value) {
                Ok(run) => run,
                Err(error) => {
                    check.unreadable(key, error);
                    return Ok(());
                }
            };
            check.run_facts(key, lane, due, scheduling, completing, &run);
            if origin.replace((lane, due, scheduling)) != Some((lane, due, scheduling)) {
                places.clear();
            }
            for group in &run.groups {
                for (&place, id) in group.places.iter().zip(&group.ids) {
                    if place as usize >= Generation::COMMANDS_PER_ENTRY_MAX {
                        check.tell(key, format!("has the place {place}, which no entry has"), name::HALTS);
                        continue;
                    }
                    let position = Position { due, generation: Generation::new(scheduling, place as usize) };
                    if !places.insert(place) {
                        check.tell(
                            key,
                            format!("completes {} a second time", name::position(position)),
                            name::DIVERGES,
                        );
                        continue;
                    }
                    check.item(key, lane, position, id, run.visible_until)?;
                }
            }
            Ok(())
        })
    }

    fn run_facts(&mut self, key: &[u8], lane: LaneId, due: Timestamp, scheduling: u64, completing: u64, run: &Run) {
        if !lane.class().is_first_attempt() {
            self.tell(key, "is of a lane whose triggers end one by one", name::DIVERGES);
        }
        if scheduling > completing || completing > self.meta.applied || run.decided > self.watermark() {
            let wrong =
                format!("was decided at {}, which does not fit the newest entry, {}", run.decided, self.meta.applied);
            self.tell(key, wrong, name::DIVERGES);
        }
        if run.visible_until < run.decided || run.groups.is_empty() {
            let wrong = format!("has {} groups and is visible until {}", run.groups.len(), run.visible_until);
            self.tell(key, wrong, name::DIVERGES);
        }
        let forgotten = self.marks(lane).forgotten;
        if (Position { due, generation: Generation::new(scheduling, 0) }) < forgotten {
            let wrong = format!("lies before {}, where all runs are forgotten", name::position(forgotten));
            self.tell(key, wrong, name::UNREACHABLE);
        }
        for group in &run.groups {
            if group.fired_index > completing || group.fired_time > run.decided.as_millis() {
                self.tell(
                    key,
                    format!("was fired by entry {}, after it was completed", group.fired_index),
                    name::DIVERGES,
                );
            }
            let executors: u64 = group.executor_counts.iter().map(|&count| u64::from(count)).sum();
            if executors != group.places.len() as u64 {
                let wrong = format!("names executors of {executors} successes and has {}", group.places.len());
                self.tell(key, wrong, name::DIVERGES);
            }
        }
    }

    /// One success: its id names it for as long as it is visible, and above the floor its row is still there.
    fn item(
        &mut self,
        key: &[u8],
        lane: LaneId,
        position: Position,
        id: &str,
        visible_until: Timestamp,
    ) -> Result<(), StoreError> {
        self.summary.completed_in_runs += 1;
        self.tally(lane).items += 1;
        let marks = self.marks(lane);
        if !marks.has_fired(position, self.watermark()) {
            self.tell(key, format!("completes {}, which has not fired", name::position(position)), name::DIVERGES);
        }
        if position >= marks.floor {
            // Its id was looked at from there, and whether the ids are the same.
            let row = self.store.get(&keys::due(lane, position))?;
            let same = row.as_ref().map(|row| trigger_id(row).is_ok_and(|other| other == id));
            if same != Some(true) {
                let what = if same.is_none() { "has no row" } else { "has another id" };
                let wrong = format!("completes {id:?} at {}, where the trigger {what}", name::position(position));
                self.tell(key, wrong, name::DIVERGES);
            }
            return Ok(());
        }
        let Some(topic) = self.topic(lane) else { return Ok(()) };
        let hash = IdHash::of(&topic.namespace, id);
        let place = match self.store.get(&keys::id(hash))?.map(|value| IdRecord::decode_place(&value)) {
            Some(Err(_)) => return Ok(()),
            Some(Ok(place)) => Some(place),
            None => None,
        };
        if place == Some((Stage::Live, lane, position)) {
            self.pointed.items += 1;
        } else if visible_until > self.watermark() {
            let what = if place.is_some() { "says something else" } else { "is missing" };
            let wrong = format!("completes {id:?} at {}, and the row of that id {what}", name::position(position));
            self.tell(key, wrong, name::DIVERGES);
        }
        Ok(())
    }
}
