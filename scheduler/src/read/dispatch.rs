//! Scans of lanes, for the leader that delivers them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::keys;
use crate::lane::{Generation, LaneId, Position};
use crate::record::{Run, Trigger, corrupt, decode_trigger};
use crate::reply::Fired;
use crate::standing::{self, FiredFacts};
use crate::store::{Read, StoreError};
use crate::time::Timestamp;

use super::{lane as lane_marks, status};

/// A fired trigger that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct DueRow {
    /// Lane it is in.
    pub lane: LaneId,
    /// Where.
    pub position: Position,
    /// Its id; namespace and topic are those of the lane.
    pub id: String,
    /// Due time of its version, which in a retry lane is not that of the position.
    pub due: Timestamp,
    /// What fired it, first.
    pub fired: Fired,
    /// Attempts that failed; the next delivery is one more.
    pub attempt: u32,
    /// Payload and the like.
    pub trigger: Trigger,
    /// The same as it is stored, without a copy: what [`Trigger`] decodes from.
    pub value: Bytes,
}

/// Part of a lane.
#[derive(Clone, Debug, PartialEq)]
pub struct DueRows {
    /// In order.
    pub rows: Vec<DueRow>,
    /// The last position looked at, of a row that was left out too.
    pub last: Option<Position>,
    /// Where to go on, as `after`; `None` when everything asked for has been read.
    pub next: Option<Position>,
}

/// Fired rows of a lane that have not ended, after `after` and up to and including `up_to`, in order.
///
/// Stops after `rows_max` rows or `bytes_max` bytes of rows, whichever is first, but not before one row. Only what has
/// fired is returned, whatever `up_to` says, and reading starts at the lane's floor at the earliest.
pub fn due_rows(
    store: &dyn Read,
    lane: LaneId,
    after: Position,
    up_to: Position,
    rows_max: usize,
    bytes_max: usize,
) -> Result<DueRows, StoreError> {
    let marks = lane_marks(store, lane)?;
    let from = after.next().max(marks.floor);
    let up_to = up_to.min(marks.fired_up_to(status(store)?.watermark()));
    let (mut found, mut bytes, mut next) = (Vec::new(), 0, None);
    scan_lane(store, lane, from, up_to, |position, value| {
        if !found.is_empty() && (found.len() >= rows_max || bytes + value.len() > bytes_max) {
            next = found.last().map(|&(position, _)| position);
            return ControlFlow::Break(());
        }
        bytes += value.len();
        found.push((position, Bytes::copy_from_slice(value)));
        ControlFlow::Continue(())
    })?;
    let completed = match (found.first(), found.last()) {
        (Some(&(first, _)), Some(&(last, _))) if lane.class().is_first_attempt() => {
            completed_between(store, lane, first, last)?
        }
        _ => BTreeSet::new(),
    };
    let last = found.last().map(|&(position, _)| position);
    let mut facts = FiredFacts::new(lane);
    let mut rows = Vec::with_capacity(found.len());
    for (position, value) in found {
        if completed.contains(&position) {
            continue;
        }
        let (id, trigger) = decode_trigger(&value)?;
        let value = value.slice(2 + id.len()..);
        let (due, fired, attempt) = match &trigger.progress {
            Some(progress) => (Timestamp::from_millis(progress.due), standing::first_fired(progress), progress.attempt),
            None => (position.due, facts.at(store, position)?, 0),
        };
        rows.push(DueRow { lane, position, id, due, fired, attempt, trigger, value });
    }
    Ok(DueRows { rows, last, next })
}

/// Positions of rows in a lane after `after` and up to and including `up_to`, in order, at most `max`; held back or not,
/// completed ones above the floor included. For whoever decides how far to release a rate-limited lane.
pub fn due_positions(
    store: &dyn Read,
    lane: LaneId,
    after: Position,
    up_to: Position,
    max: usize,
) -> Result<Vec<Position>, StoreError> {
    let from = after.next().max(lane_marks(store, lane)?.floor);
    let mut positions = Vec::new();
    scan_lane(store, lane, from, up_to, |position, _| {
        if positions.len() == max {
            return ControlFlow::Break(());
        }
        positions.push(position);
        ControlFlow::Continue(())
    })?;
    Ok(positions)
}

/// Positions at or after `from` that were completed in runs, in order, at most about `max` (the rest of the last run
/// is returned too). A new leader begins at the lane's floor.
pub fn ended_positions(
    store: &dyn Read,
    lane: LaneId,
    from: Position,
    max: usize,
) -> Result<Vec<Position>, StoreError> {
    let mut positions = Vec::new();
    let mut last = None;
    scan_runs(store, lane, from, &keys::lane_end(keys::RUN, lane), |due, scheduling, run| {
        // Runs of one origin stay together, so that going on after the last position misses nothing.
        if positions.len() >= max && last != Some((due, scheduling)) {
            return ControlFlow::Break(());
        }
        last = Some((due, scheduling));
        positions.extend(positions_of(due, scheduling, run).filter(|&position| position >= from));
        ControlFlow::Continue(())
    })?;
    positions.sort_unstable();
    Ok(positions)
}

/// Whether every row of a lane with `from <= position < to` was completed in a run, and there are at most `max`.
pub(crate) fn all_ended(
    store: &dyn Read,
    lane: LaneId,
    from: Position,
    to: Position,
    max: usize,
) -> Result<bool, StoreError> {
    let mut rows = Vec::new();
    store.scan(&keys::due(lane, from), &keys::due(lane, to), &mut |key, _| {
        rows.extend(keys::position_of(key));
        if rows.len() > max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else { return Ok(true) };
    if rows.len() > max {
        return Ok(false);
    }
    let completed = completed_between(store, lane, first, last)?;
    Ok(rows.iter().all(|position| completed.contains(position)))
}

/// Positions from `first` to `last`, both included, that were completed in runs.
pub(super) fn completed_between(
    store: &dyn Read,
    lane: LaneId,
    first: Position,
    last: Position,
) -> Result<BTreeSet<Position>, StoreError> {
    let mut completed = BTreeSet::new();
    let end = keys::run(lane, last.due, last.generation.index(), u64::MAX);
    scan_runs(store, lane, first, &end, |due, scheduling, run| {
        completed.extend(positions_of(due, scheduling, run));
        ControlFlow::Continue(())
    })?;
    Ok(completed)
}

pub(super) fn positions_of(due: Timestamp, scheduling: u64, run: &Run) -> impl Iterator<Item = Position> {
    // Places above the bound are damage that nothing can refer to.
    let places = run.places().filter(|&place| (place as usize) < Generation::COMMANDS_PER_ENTRY_MAX);
    places.map(move |place| Position { due, generation: Generation::new(scheduling, place as usize) })
}

fn scan_lane(
    store: &dyn Read,
    lane: LaneId,
    from: Position,
    up_to: Position,
    mut visit: impl FnMut(Position, &[u8]) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut failed = None;
    store.scan(
        &keys::due(lane, from),
        &keys::due(lane, up_to.next()),
        &mut |key, value| match keys::position_of(key) {
            Some(position) => visit(position, value),
            None => {
                failed = Some(corrupt("trigger"));
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or(Ok(()), Err)
}

/// Visits the runs that can hold `from` or a later position, before the key `to`.
pub(super) fn scan_runs(
    store: &dyn Read,
    lane: LaneId,
    from: Position,
    to: &[u8],
    mut visit: impl FnMut(Timestamp, u64, &Run) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut failed = None;
    store.scan(&keys::run_from(lane, from), to, &mut |key, value| {
        let run =
            keys::run_fields(key).ok_or_else(|| corrupt("run")).and_then(|fields| Ok((fields, Run::decode(value)?)));
        match run {
            Ok(((due, scheduling, _), run)) => visit(due, scheduling, &run),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}
