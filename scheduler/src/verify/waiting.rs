//! Rows of triggers against their ids, the runs they were completed in, and the counters over them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{Check, is_counted, name};
use crate::keys::{self, IdHash};
use crate::lane::{Class, LaneId, Position};
use crate::overlay::decode_counter;
use crate::record::{IdRecord, Run, Stage, Trigger, decode_trigger};
use crate::store::{Read, StoreError};
use crate::time::Timestamp;

/// The runs of what one entry scheduled for one moment in one lane: until when each place is visible, and its id.
#[derive(Default)]
struct Origin {
    of: Option<(LaneId, Timestamp, u64)>,
    places: BTreeMap<u32, (Timestamp, String)>,
}

impl Origin {
    /// The run that has this position. Asked in order of position it reads every run once.
    fn find(
        &mut self,
        store: &dyn Read,
        lane: LaneId,
        position: Position,
    ) -> Result<Option<(Timestamp, &str)>, StoreError> {
        let of = (lane, position.due, position.generation.index());
        if self.of != Some(of) {
            self.places.clear();
            self.of = Some(of);
            let (from, to) = (keys::run(lane, of.1, of.2, 0), keys::run(lane, of.1, of.2, u64::MAX));
            store.scan(&from, &to, &mut |_, value| {
                // A run that cannot be read is told of where runs are passed.
                for group in Run::decode(value).into_iter().flat_map(|run| {
                    let until = run.visible_until;
                    run.groups.into_iter().map(move |group| (until, group))
                }) {
                    let (until, group) = group;
                    self.places.extend(group.places.into_iter().zip(group.ids).map(|(place, id)| (place, (until, id))));
                }
                ControlFlow::Continue(())
            })?;
        }
        let found = self.places.get(&u32::from(position.generation.place()));
        Ok(found.map(|(until, id)| (*until, id.as_str())))
    }
}

/// How many rows of one lane are due in one minute.
#[derive(Default)]
struct Minute {
    of: Option<(LaneId, Timestamp)>,
    /// All of them.
    rows: i64,
    /// Those after the watermark.
    to_come: i64,
}

impl Check<'_> {
    pub(super) fn waiting(&mut self) -> Result<(), StoreError> {
        let mut origin = Origin::default();
        let mut minute = Minute::default();
        self.table(keys::DUE, |check, key, value| {
            check.summary.triggers += 1;
            let Some(lane) = check.lane_in(key) else { return Ok(()) };
            let Some(position) = keys::position_of(key) else {
                check.tell(key, "is not a position", name::HALTS);
                return Ok(());
            };
            check.tally(lane).rows += 1;
            let slot = (lane, keys::minute_of(position.due));
            if minute.of != Some(slot) {
                check.minute(&std::mem::take(&mut minute))?;
                minute.of = Some(slot);
            }
            minute.rows += 1;
            minute.to_come += i64::from(position.due > check.watermark());

            if position.generation.index() > check.meta.applied {
                check.tell(key, format!("was made after the newest entry, {}", check.meta.applied), name::DIVERGES);
            }
            let marks = check.marks(lane);
            if position < marks.floor {
                let wrong = format!("lies before the floor of its lane at {}", name::position(marks.floor));
                check.tell(key, wrong, name::LOST);
            }
            let (id, trigger) = match decode_trigger(&bytes::Bytes::copy_from_slice(value)) {
                Ok(row) => row,
                Err(error) => {
                    check.unreadable(key, error);
                    return Ok(());
                }
            };
            check.progress(key, lane, &trigger);
            let mut run = None;
            if lane.class().is_first_attempt() && marks.has_fired(position, check.watermark()) {
                run = origin.find(check.store, lane, position)?;
            }
            if let Some((_, other)) = run.filter(|(_, other)| *other != id) {
                check.tell(key, format!("has the id {id:?}, and the run that has it the id {other:?}"), name::DIVERGES);
            }
            check.tally(lane).completed += u64::from(run.is_some());
            // The id of what was completed may have been used again once that is not visible any more.
            let must = run.is_none_or(|(until, _)| until > check.watermark());
            check.id_of(key, lane, position, &id, must)
        })?;
        self.minute(&minute)
    }

    /// What the row says about its attempts must be what its lane says.
    fn progress(&mut self, key: &[u8], lane: LaneId, trigger: &Trigger) {
        let watermark = self.meta.watermark_ms;
        match (&trigger.progress, lane.class().is_first_attempt()) {
            (None, true) => {}
            (None, false) => self.tell(key, "has no failed attempt, which its lane is for", name::HALTS),
            (Some(_), true) => self.tell(key, "has a failed attempt in a lane of first attempts", name::DIVERGES),
            (Some(progress), false) => {
                if Class::first_attempt(progress.class).is_none() {
                    self.tell(
                        key,
                        format!("had the class number {} first, which is none", progress.class),
                        name::HALTS,
                    );
                }
                if progress.fired_time > watermark
                    || progress.decided > watermark
                    || progress.log_index > self.meta.applied
                {
                    self.tell(key, "failed after the newest entry", name::DIVERGES);
                }
            }
        }
        if trigger.created > watermark {
            self.tell(key, format!("was made at {} ms, after the watermark", trigger.created), name::DIVERGES);
        }
    }

    /// The row of an id must name the row of a trigger with that id.
    fn id_of(&mut self, key: &[u8], lane: LaneId, position: Position, id: &str, must: bool) -> Result<(), StoreError> {
        let Some(topic) = self.topic(lane) else { return Ok(()) };
        let hash = IdHash::of(&topic.namespace, id);
        let stage = match lane.class() {
            Class::Retry => Stage::Retry,
            Class::Dead => Stage::Dead,
            _ => Stage::Live,
        };
        let wrong = match self.store.get(&keys::id(hash))?.map(|value| IdRecord::decode_place(&value)) {
            // What cannot be read is told of where ids are passed.
            Some(Err(_)) => return Ok(()),
            Some(Ok(place)) if place == (stage, lane, position) => {
                self.pointed.rows += 1;
                return Ok(());
            }
            _ if !must => return Ok(()),
            Some(Ok((stage, other, at))) => format!(
                "has the id {id:?}, whose row says {stage:?} in {}, {}",
                name::lane(other, &self.topics),
                name::position(at)
            ),
            None => format!("has the id {id:?}, which has no row"),
        };
        self.tell(key, wrong, name::ORPHAN);
        Ok(())
    }

    /// A minute to come is counted exactly; in that of the watermark what has fired since it was counted is still in it.
    fn minute(&mut self, minute: &Minute) -> Result<(), StoreError> {
        let Some((lane, start)) = minute.of.filter(|(lane, _)| is_counted(*lane)) else { return Ok(()) };
        let now = keys::minute_of(self.watermark());
        if start < now {
            return Ok(());
        }
        let key = keys::count(start, lane);
        let count = self.store.get(&key)?.map_or(0, |value| decode_counter(&value));
        if start > now && count != minute.rows {
            self.tell(&key, format!("is {count}, and {} triggers are due in it", minute.rows), name::MISCOUNT);
        } else if start == now && count < minute.to_come {
            let wrong = format!("is {count}, and {} triggers are still to come in it", minute.to_come);
            self.tell(&key, wrong, name::MISCOUNT);
        }
        Ok(())
    }
}
