//! How many are where: for the wheel, the forecast and operators.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::keys;
use crate::lane::{Class, LaneId, Position, TopicId};
use crate::overlay::decode_counter;
use crate::record::corrupt;
use crate::store::{Read, StoreError};
use crate::time::Timestamp;

use super::dispatch::completed_between;
use super::{lane as lane_marks, status};

/// Rows of a lane that are due in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteCount {
    /// Its start.
    pub minute: Timestamp,
    /// The lane, a retry lane too, never a dead one.
    pub lane: LaneId,
    /// How many.
    pub count: u64,
}

/// How many triggers of a topic are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicCounts {
    /// Waiting for their due time, or held back.
    pub scheduled: u64,
    /// Fired, first attempt not ended.
    pub fired: u64,
    /// Failed, to be tried again.
    pub retrying: u64,
    /// Given up, kept for a human.
    pub dead_lettered: u64,
    /// Completed since the partition began.
    pub completed_total: u64,
}

/// What is due in each minute from that of the watermark on, in order of minute and lane.
///
/// Exact for minutes to come. The first minute counts what was to come when it was scheduled: what has passed of it
/// must be taken off by [`count_dues`].
pub fn minute_counts(store: &dyn Read) -> Result<Vec<MinuteCount>, StoreError> {
    let from = keys::count(keys::minute_of(status(store)?.watermark()), LaneId::default());
    let mut counts = Vec::new();
    let mut failed = None;
    store.scan(&from, &[keys::COUNT + 1], &mut |key, value| {
        match keys::count_fields(key) {
            Some((minute, lane)) => {
                let count = u64::try_from(decode_counter(value)).unwrap_or(0);
                if count > 0 {
                    counts.push(MinuteCount { minute, lane, count });
                }
            }
            None => failed = Some(corrupt("count")),
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map_or(Ok(counts), Err)
}

/// How many rows of which lane are due at each millisecond with `from <= due < to`, by their keys alone, in order of
/// time and lane. Dead lanes are left out.
///
/// Counts rows as they lie there: for moments not after the watermark these include what has been completed above the
/// floor.
pub fn count_dues(
    store: &dyn Read,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(Timestamp, LaneId, u64)>, StoreError> {
    let mut topics: Vec<TopicId> = Vec::new();
    let mut failed = None;
    store.scan(&[keys::TOPIC], &[keys::TOPIC + 1], &mut |key, _| {
        match key.get(1..5).and_then(|number| number.try_into().ok()).map(u32::from_be_bytes) {
            Some(number) if number < 1 << 28 => topics.push(TopicId(number)),
            _ => failed = Some(corrupt("topic")),
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let mut counts: BTreeMap<(Timestamp, LaneId), u64> = BTreeMap::new();
    let at = |due| Position { due, ..Position::MIN };
    for topic in topics {
        for class in [Class::High, Class::Normal, Class::Low, Class::Retry] {
            let lane = LaneId::new(topic, class);
            let mut last: Option<(Timestamp, u64)> = None;
            store.scan(&keys::due(lane, at(from)), &keys::due(lane, at(to)), &mut |key, _| {
                let Some(position) = keys::position_of(key) else {
                    failed = Some(corrupt("trigger"));
                    return ControlFlow::Break(());
                };
                match &mut last {
                    Some((due, count)) if *due == position.due => *count += 1,
                    _ => {
                        let before = last.replace((position.due, 1));
                        counts.extend(before.map(|(due, count)| ((due, lane), count)));
                    }
                }
                ControlFlow::Continue(())
            })?;
            counts.extend(last.map(|(due, count)| ((due, lane), count)));
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(counts.into_iter().map(|((due, lane), count)| (due, lane, count)).collect()),
    }
}

/// How many dead letters a topic has.
pub fn dead_letter_count(store: &dyn Read, topic: TopicId) -> Result<u64, StoreError> {
    let value = store.get(&keys::live(LaneId::new(topic, Class::Dead)))?.map_or(0, |value| decode_counter(&value));
    Ok(u64::try_from(value).unwrap_or(0))
}

/// How many triggers of a topic are in which state. Costs a scan of what has fired and not ended.
pub fn topic_counts(store: &dyn Read, topic: TopicId) -> Result<TopicCounts, StoreError> {
    let watermark = status(store)?.watermark();
    let mut counts = TopicCounts::default();
    let counter = |key: [u8; 5]| -> Result<u64, StoreError> {
        let value = store.get(&key)?.map_or(0, |value| decode_counter(&value));
        Ok(u64::try_from(value).unwrap_or(0))
    };
    for class in [Class::High, Class::Normal, Class::Low] {
        let lane = LaneId::new(topic, class);
        let marks = lane_marks(store, lane)?;
        let live = counter(keys::live(lane))?;
        let fired = if live == 0 { 0 } else { fired_and_open(store, lane, marks.floor, marks.fired_up_to(watermark))? };
        counts.fired += fired;
        counts.scheduled += live.saturating_sub(fired);
        counts.completed_total += counter(keys::done(lane))?;
    }
    counts.retrying = counter(keys::live(LaneId::new(topic, Class::Retry)))?;
    counts.dead_lettered = dead_letter_count(store, topic)?;
    Ok(counts)
}

fn fired_and_open(store: &dyn Read, lane: LaneId, floor: Position, up_to: Position) -> Result<u64, StoreError> {
    if up_to < floor {
        return Ok(0);
    }
    let completed = completed_between(store, lane, floor, up_to)?;
    let mut fired = 0;
    store.scan(&keys::due(lane, floor), &keys::due(lane, up_to.next()), &mut |key, _| {
        fired += u64::from(keys::position_of(key).is_some_and(|position| !completed.contains(&position)));
        ControlFlow::Continue(())
    })?;
    Ok(fired)
}
