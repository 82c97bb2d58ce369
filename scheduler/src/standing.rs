//! Where a trigger stands: what its rows mean at the watermark. Every command and every read asks here.

use std::ops::ControlFlow;

use crate::keys;
use crate::lane::{LaneId, Position};
use crate::record::{
    IdRecord, Lane, Progress, Run, Stage, Trigger, corrupt, decode_fired, decode_release, decode_trigger,
};
use crate::reply::{Fired, Outcome, Receipt};
use crate::store::{Read, StoreError};
use crate::time::{Delay, Timestamp};

/// What is known of a partition beside the rows of one trigger.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub watermark: Timestamp,
    /// Marks of the lane asked about.
    pub lane: Lane,
}

/// Where a trigger stands.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// Waits, or is due in a lane that is held back.
    Scheduled,
    Fired(Fired),
    /// In a run.
    Completed(Receipt),
    Retrying,
    Dead,
    Ended,
}

/// Where the trigger of an id stands, or `None` when it is past its retention.
///
/// The answer depends on replicated rows and the watermark alone, not on whether anything has been swept or compacted.
pub(crate) fn standing(store: &dyn Read, facts: Facts, record: &IdRecord) -> Result<Option<Standing>, StoreError> {
    match record.stage {
        Stage::Live => live_standing(store, facts, record.lane, record.position),
        Stage::Retry => Ok(Some(Standing::Retrying)),
        Stage::Dead => Ok(Some(Standing::Dead)),
        Stage::Ended => Ok((record.visible_until > facts.watermark).then_some(Standing::Ended)),
    }
}

fn live_standing(
    store: &dyn Read,
    facts: Facts,
    lane: LaneId,
    position: Position,
) -> Result<Option<Standing>, StoreError> {
    if !facts.lane.has_fired(position, facts.watermark) {
        return Ok(Some(Standing::Scheduled));
    }
    if position < facts.lane.forgotten {
        return Ok(None);
    }
    if let Some((completing, run)) = find_run(store, lane, position)? {
        let visible = run.visible_until > facts.watermark;
        return if visible {
            Ok(Some(Standing::Completed(run_receipt(position, completing, &run)?)))
        } else {
            Ok(None)
        };
    }
    if position < facts.lane.floor {
        return Ok(None);
    }
    Ok(Some(Standing::Fired(FiredFacts::new(lane).at(store, position)?)))
}

/// The run that has this position, with the index of the entry that reported it.
fn find_run(store: &dyn Read, lane: LaneId, position: Position) -> Result<Option<(u64, Run)>, StoreError> {
    let index = position.generation.index();
    let mut found = Ok(None);
    let (from, to) = (keys::run(lane, position.due, index, 0), keys::run(lane, position.due, index + 1, 0));
    store.scan(&from, &to, &mut |key, value| {
        let run = keys::run_fields(key)
            .ok_or_else(|| corrupt("run"))
            .and_then(|(_, _, completing)| Ok((completing, Run::decode(value)?)));
        match run {
            Ok((_, run)) if run.find(position.generation.place()).is_none() => return ControlFlow::Continue(()),
            run => found = run.map(Some),
        }
        ControlFlow::Break(())
    })?;
    found
}

/// What was answered about a trigger that a run has.
pub(crate) fn run_receipt(position: Position, completing: u64, run: &Run) -> Result<Receipt, StoreError> {
    let (group, item) = run.find(position.generation.place()).ok_or_else(|| corrupt("run"))?;
    Ok(Receipt {
        log_index: completing,
        generation: position.generation,
        due: position.due,
        fired: Some(group.fired()),
        outcome: Outcome::Completed,
        decided: run.decided,
        executor: group.executor(item).to_owned(),
        attempt: 1,
        token: Some(group.token(item)),
    })
}

/// The row at a place an id's row names. Its absence is damage.
pub(crate) fn row(store: &dyn Read, lane: LaneId, position: Position) -> Result<(String, Trigger), StoreError> {
    decode_trigger(&store.get(&keys::due(lane, position))?.ok_or_else(|| corrupt("trigger"))?)
}

/// What the first Schedule of this id was answered.
pub(crate) fn first_receipt(record: &IdRecord) -> Receipt {
    let (generation, due) = match record.tail.origin {
        Some(origin) => (crate::lane::Generation::from_number(origin.generation), Timestamp::from_millis(origin.due)),
        None => (record.position.generation, record.position.due),
    };
    scheduled(Position { due, generation }, record.created)
}

/// The receipt of a trigger as it stands.
pub(crate) fn receipt(store: &dyn Read, record: &IdRecord, standing: &Standing) -> Result<Receipt, StoreError> {
    match standing {
        Standing::Completed(receipt) => Ok(receipt.clone()),
        Standing::Fired(fired) => Ok(fired_receipt(record.position, *fired)),
        Standing::Ended => record.tail.ended.as_ref().ok_or_else(|| corrupt("id"))?.receipt(),
        Standing::Scheduled => {
            let (_, trigger) = row(store, record.lane, record.position)?;
            Ok(scheduled_receipt(record.position, &trigger))
        }
        Standing::Retrying | Standing::Dead => {
            let (_, trigger) = row(store, record.lane, record.position)?;
            let outcome = if matches!(standing, Standing::Dead) { Outcome::DeadLettered } else { Outcome::Retrying };
            Ok(progress_receipt(record.position, progress(&trigger)?, outcome))
        }
    }
}

fn scheduled(position: Position, decided: Timestamp) -> Receipt {
    Receipt {
        log_index: position.generation.index(),
        generation: position.generation,
        due: position.due,
        fired: None,
        outcome: Outcome::Scheduled,
        decided,
        executor: String::new(),
        attempt: 0,
        token: None,
    }
}

/// Of a version that waits, or of the command that made it.
pub(crate) fn scheduled_receipt(position: Position, trigger: &Trigger) -> Receipt {
    let decided = trigger.moved_plus_one.checked_sub(1).unwrap_or(trigger.created);
    scheduled(position, Timestamp::from_millis(decided))
}

/// Of a version that has fired and nothing else.
pub(crate) fn fired_receipt(position: Position, fired: Fired) -> Receipt {
    Receipt { log_index: fired.index, fired: Some(fired), outcome: Outcome::Fired, ..scheduled(position, fired.time) }
}

/// Of a version whose last attempt failed.
pub(crate) fn progress_receipt(position: Position, progress: &Progress, outcome: Outcome) -> Receipt {
    Receipt {
        log_index: progress.log_index,
        generation: position.generation,
        due: Timestamp::from_millis(progress.due),
        fired: Some(first_fired(progress)),
        outcome,
        decided: Timestamp::from_millis(progress.decided),
        executor: progress.executor.clone(),
        attempt: progress.attempt,
        token: progress.token,
    }
}

/// What fired a version whose attempts failed.
pub(crate) fn first_fired(progress: &Progress) -> Fired {
    Fired { time: Timestamp::from_millis(progress.fired_time), index: progress.fired_index }
}

/// How the attempts of a row in the retry or dead lane went.
pub(crate) fn progress(trigger: &Trigger) -> Result<&Progress, StoreError> {
    trigger.progress.as_ref().ok_or_else(|| corrupt("trigger"))
}

/// Finds what fired the rows of a lane. Asked in ascending order it mostly answers from what it read last.
pub(crate) struct FiredFacts {
    lane: LaneId,
    /// Asked from here on, the first release at or after is this.
    release: Option<(Position, Option<Release>)>,
    /// Asked from here on, the first entry at or after is this.
    entry: Option<(Timestamp, Fired)>,
}

#[derive(Clone, Copy)]
struct Release {
    lower: Position,
    upper: Position,
    fired: Fired,
}

impl FiredFacts {
    pub fn new(lane: LaneId) -> Self {
        FiredFacts { lane, release: None, entry: None }
    }

    /// What fired the row at this position, which must have fired.
    pub fn at(&mut self, store: &dyn Read, position: Position) -> Result<Fired, StoreError> {
        if let Some(release) = self.release_at(store, position)?
            && release.lower < position
        {
            return Ok(release.fired);
        }
        let fired = self.entry_at(store, position.due)?;
        // Entries may share a millisecond: a row made by a later one was fired by that.
        Ok(Fired { time: fired.time, index: fired.index.max(position.generation.index()) })
    }

    fn release_at(&mut self, store: &dyn Read, position: Position) -> Result<Option<Release>, StoreError> {
        if let Some((from, release)) = self.release
            && from <= position
            && release.is_none_or(|release| position <= release.upper)
        {
            return Ok(release);
        }
        let mut found = Ok(None);
        let (from, to) = (keys::released(self.lane, position), keys::lane_end(keys::REL, self.lane));
        store.scan(&from, &to, &mut |key, value| {
            found = keys::position_of(key).ok_or_else(|| corrupt("release")).and_then(|upper| {
                let (lower, fired) = decode_release(value)?;
                Ok(Some(Release { lower, upper, fired }))
            });
            ControlFlow::Break(())
        })?;
        let release = found?;
        self.release = Some((position, release));
        Ok(release)
    }

    fn entry_at(&mut self, store: &dyn Read, due: Timestamp) -> Result<Fired, StoreError> {
        if let Some((from, fired)) = self.entry
            && from <= due
            && due <= fired.time
        {
            return Ok(fired);
        }
        let mut found = Err(corrupt("fired"));
        store.scan(&keys::fired(due), &[keys::FIRED + 1], &mut |key, value| {
            found = keys::fired_time(key).ok_or_else(|| corrupt("fired")).and_then(|time| {
                let index = decode_fired(value)?;
                Ok(Fired { time, index })
            });
            ControlFlow::Break(())
        })?;
        let fired = found?;
        self.entry = Some((due, fired));
        Ok(fired)
    }
}

/// When something that ends now stops being visible.
pub(crate) fn visible_until(now: Timestamp, retention_ms: u64) -> Timestamp {
    now.after(Delay::from_millis(retention_ms))
}
