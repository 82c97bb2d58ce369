//! Pages of triggers, and of dead letters.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::command::Label;
use crate::keys::{self, IdHash};
use crate::lane::{Class, Generation, LaneId, Position};
use crate::record::{IdRecord, Lane, Run, Topic, Trigger, corrupt, decode_trigger, trigger_id};
use crate::reply::{Outcome, Receipt};
use crate::standing::{self, FiredFacts};
use crate::store::{Read, StoreError};
use crate::time::Timestamp;
use crate::topics::Topics;

use super::dispatch::positions_of;
use super::status;
use super::view::{TriggerView, assemble};

/// Rows of each kind read at a time.
const CHUNK: usize = 512;

/// Rows looked at for one page; a page that finds little may be short.
const ROWS_MAX: usize = 20_000;

/// Which triggers to list. Every condition must hold.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Tenant.
    pub namespace: String,
    /// Any when absent.
    pub topic: Option<String>,
    /// Any when empty. Fired includes retrying.
    pub states: Vec<Outcome>,
    /// Due then or later.
    pub due_from: Option<Timestamp>,
    /// Due earlier.
    pub due_to: Option<Timestamp>,
    /// Each must be there with this value; what has ended has none.
    pub labels: Vec<Label>,
    /// Triggers on a page.
    pub limit: usize,
    /// Bytes after which a page ends, at least one trigger on it.
    pub bytes: usize,
}

/// Where a list goes on: after this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The lane.
    pub lane: LaneId,
    /// The position in it.
    pub position: Position,
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// In order of topic, lane and position. A page may be short, also empty, and still have a next one.
    pub items: Vec<TriggerView>,
    /// `None` on the last page.
    pub next: Option<Cursor>,
}

/// Part of the dead letters.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadPage {
    /// In order of death.
    pub items: Vec<TriggerView>,
    /// `None` on the last page.
    pub next: Option<Position>,
}

impl Cursor {
    /// As bytes, to hand out.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&keys::due(self.lane, self.position)[1..]);
        bytes
    }

    /// From the bytes handed out; `None` when they are no cursor.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = vec![keys::DUE];
        key.extend_from_slice(bytes);
        Some(Cursor { lane: keys::lane_of(&key)?, position: keys::position_of(&key)? })
    }
}

impl Default for ListQuery {
    fn default() -> Self {
        ListQuery {
            namespace: String::new(),
            topic: None,
            states: Vec::new(),
            due_from: None,
            due_to: None,
            labels: Vec::new(),
            limit: 100,
            bytes: usize::MAX,
        }
    }
}

impl ListQuery {
    /// Whether a trigger meets the conditions on state, due time and labels. Namespace and topic are not looked at.
    pub fn matches(&self, view: &TriggerView) -> bool {
        let state = if view.state == Outcome::Retrying { Outcome::Fired } else { view.state };
        let labelled = |label: &Label| view.content.as_ref().is_some_and(|content| content.labels.contains(label));
        (self.states.is_empty() || self.states.contains(&state) || self.states.contains(&view.state))
            && self.due_from.is_none_or(|from| view.due >= from)
            && self.due_to.is_none_or(|to| view.due < to)
            && self.labels.iter().all(labelled)
    }

    /// Where to begin in a lane.
    fn first(&self, lane: LaneId) -> Position {
        match self.due_from {
            Some(due) if lane.class().is_first_attempt() => Position { due, ..Position::MIN },
            _ => Position::MIN,
        }
    }

    /// Where nothing that matches can lie any more.
    fn is_past(&self, lane: LaneId, position: Position) -> bool {
        lane.class().is_first_attempt() && self.due_to.is_some_and(|to| position.due >= to)
    }
}

/// Triggers in order of topic, lane and position; those that have ended among them, as far as history holds them.
pub fn list(store: &dyn Read, query: &ListQuery, after: Option<Cursor>) -> Result<Page, StoreError> {
    let topics = Topics::load(store)?;
    let watermark = status(store)?.watermark();
    let wanted = |topic: &&Topic| {
        topic.namespace == query.namespace && query.topic.as_ref().is_none_or(|name| *name == topic.name)
    };
    let mut page = Page { items: Vec::new(), next: None };
    let (mut rows, mut bytes) = (0, 0);
    for topic in topics.iter().filter(wanted) {
        for class in Class::ALL {
            let lane = topic.lane(class);
            let mut from = match after {
                Some(cursor) if lane < cursor.lane => continue,
                Some(cursor) if lane == cursor.lane => cursor.position.next().max(query.first(lane)),
                _ => query.first(lane),
            };
            loop {
                let chunk = Chunk::read(store, topic, lane, watermark, from)?;
                rows += chunk.rows.max(1);
                for (position, view) in chunk.views {
                    if query.is_past(lane, position) {
                        break;
                    }
                    if query.matches(&view) {
                        bytes += view.weight();
                        page.items.push(view);
                    }
                    if page.items.len() >= query.limit.max(1) || bytes >= query.bytes && !page.items.is_empty() {
                        page.next = Some(Cursor { lane, position });
                        return Ok(page);
                    }
                }
                let Some(end) = chunk.end.filter(|&end| !query.is_past(lane, end)) else { break };
                if rows >= ROWS_MAX {
                    page.next = Some(Cursor { lane, position: end });
                    return Ok(page);
                }
                from = end.next();
            }
        }
    }
    Ok(page)
}

/// Dead letters of a namespace in order of death, after `after`: at most `limit`, and none after the one that brings their
/// rows to `bytes`.
pub fn dead_letters(
    store: &dyn Read,
    namespace: &str,
    topic: Option<&str>,
    after: Option<Position>,
    limit: usize,
    bytes: usize,
) -> Result<DeadPage, StoreError> {
    let topics = Topics::load(store)?;
    let limit = limit.max(1);
    let from = after.map_or(Position::MIN, Position::next);
    // Over all topics, the first ones; what is dropped at the end was read for nothing, but never kept.
    let mut found: BTreeMap<Position, (&Topic, Bytes)> = BTreeMap::new();
    let (mut held, mut more) = (0, false);
    for topic in topics.iter().filter(|own| own.namespace == namespace && topic.is_none_or(|name| name == own.name)) {
        let lane = topic.lane(Class::Dead);
        store.scan(&keys::due(lane, from), &keys::lane_end(keys::DUE, lane), &mut |key, value| {
            let Some(position) = keys::position_of(key) else { return ControlFlow::Continue(()) };
            let full = found.len() >= limit || held >= bytes;
            if full && found.last_key_value().is_some_and(|(last, _)| *last < position) {
                more = true;
                return ControlFlow::Break(());
            }
            held += value.len();
            found.insert(position, (topic, Bytes::copy_from_slice(value)));
            while found.len() > limit
                || found.last_key_value().is_some_and(|(_, (_, last))| found.len() > 1 && held - last.len() >= bytes)
            {
                held -= found.pop_last().map_or(0, |(_, (_, last))| last.len());
                more = true;
            }
            ControlFlow::Continue(())
        })?;
    }
    let mut items = Vec::new();
    for (position, (topic, value)) in found {
        let (id, trigger) = decode_trigger(&value)?;
        items.push(failed_view(topic, topic.lane(Class::Dead), position, &id, trigger)?);
    }
    let next = if more { items.last().map(|view| view.position) } else { None };
    Ok(DeadPage { items, next })
}

/// A row of a retry or dead lane.
fn failed_view(
    topic: &Topic,
    lane: LaneId,
    position: Position,
    id: &str,
    trigger: Trigger,
) -> Result<TriggerView, StoreError> {
    let outcome = if lane.class() == Class::Dead { Outcome::DeadLettered } else { Outcome::Retrying };
    let receipt = standing::progress_receipt(position, standing::progress(&trigger)?, outcome);
    let created = Timestamp::from_millis(trigger.created);
    assemble(topic, id, lane, position, created, Some(trigger), receipt)
}

/// A stretch of a lane with everything in it: rows, runs and history.
struct Chunk {
    views: BTreeMap<Position, TriggerView>,
    rows: usize,
    /// The last position covered; `None` when the lane ends within.
    end: Option<Position>,
}

/// What was found of one position.
enum Found {
    Row(Bytes),
    Run { id: String, visible_until: Timestamp, receipt: Receipt },
    Ended(Bytes),
}

impl Chunk {
    fn read(
        store: &dyn Read,
        topic: &Topic,
        lane: LaneId,
        watermark: Timestamp,
        from: Position,
    ) -> Result<Self, StoreError> {
        let mut found: BTreeMap<Position, Found> = BTreeMap::new();
        let mut ends = Vec::new();
        ends.extend(read_keyed(store, keys::DUE, lane, from, |position, value| {
            drop(found.insert(position, Found::Row(value)))
        })?);
        if lane.class().is_first_attempt() {
            ends.extend(read_keyed(store, keys::HISTORY, lane, from, |position, value| {
                found.insert(position, Found::Ended(value));
            })?);
            // Last, because a run says more than the row that is still there above the floor.
            ends.extend(read_runs(store, lane, from, &mut found)?);
        }
        let end = ends.into_iter().min();
        let rows = found.len();
        let marks = topic.lanes[lane.class() as usize];
        let mut facts = FiredFacts::new(lane);
        let mut views = BTreeMap::new();
        for (position, found) in found {
            if end.is_some_and(|end| position > end) {
                break;
            }
            if let Some(view) = found.view(store, topic, lane, marks, watermark, position, &mut facts)? {
                views.insert(position, view);
            }
        }
        Ok(Chunk { views, rows, end })
    }
}

impl Found {
    #[expect(clippy::too_many_arguments, reason = "a row and everything that says what it means")]
    fn view(
        self,
        store: &dyn Read,
        topic: &Topic,
        lane: LaneId,
        marks: Lane,
        watermark: Timestamp,
        position: Position,
        facts: &mut FiredFacts,
    ) -> Result<Option<TriggerView>, StoreError> {
        match self {
            Found::Row(value) => {
                let (id, trigger) = decode_trigger(&value)?;
                if !lane.class().is_first_attempt() {
                    return failed_view(topic, lane, position, &id, trigger).map(Some);
                }
                let receipt = if !marks.has_fired(position, watermark) {
                    standing::scheduled_receipt(position, &trigger)
                } else if position < marks.floor {
                    return Ok(None);
                } else {
                    standing::fired_receipt(position, facts.at(store, position)?)
                };
                let created = Timestamp::from_millis(trigger.created);
                assemble(topic, &id, lane, position, created, Some(trigger), receipt).map(Some)
            }
            Found::Run { id, visible_until, receipt } => {
                if visible_until <= watermark {
                    return Ok(None);
                }
                assemble(topic, &id, lane, position, Timestamp::MIN, None, receipt).map(Some)
            }
            Found::Ended(value) => {
                let id = trigger_id(&value)?;
                let Some(record) = store.get(&keys::id(IdHash::of(&topic.namespace, id)))? else { return Ok(None) };
                let record = IdRecord::decode(&record)?;
                // The id may have been used again.
                let same = record.position.generation == position.generation && record.visible_until > watermark;
                let Some(stored) = record.tail.ended.as_ref().filter(|_| same) else { return Ok(None) };
                assemble(topic, id, lane, position, record.created, None, stored.receipt()?).map(Some)
            }
        }
    }
}

/// Reads rows of a table keyed like triggers. The last position, when there may be more after it.
fn read_keyed(
    store: &dyn Read,
    tag: u8,
    lane: LaneId,
    from: Position,
    mut take: impl FnMut(Position, Bytes),
) -> Result<Option<Position>, StoreError> {
    let (mut count, mut last, mut unreadable) = (0, None, false);
    let first = if tag == keys::HISTORY { keys::history(lane, from) } else { keys::due(lane, from) };
    store.scan(&first, &keys::lane_end(tag, lane), &mut |key, value| {
        match keys::position_of(key) {
            Some(position) => {
                take(position, Bytes::copy_from_slice(value));
                last = Some(position);
            }
            None => unreadable = true,
        }
        count += 1;
        if unreadable || count == CHUNK { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if unreadable {
        return Err(corrupt("trigger"));
    }
    Ok(last.filter(|_| count == CHUNK))
}

/// Reads runs, whole origins at a time. The last position covered, when there may be more after it.
fn read_runs(
    store: &dyn Read,
    lane: LaneId,
    from: Position,
    found: &mut BTreeMap<Position, Found>,
) -> Result<Option<Position>, StoreError> {
    let (mut count, mut last, mut end, mut failed) = (0, None, None, None);
    store.scan(&keys::run_from(lane, from), &keys::lane_end(keys::RUN, lane), &mut |key, value| {
        let run =
            keys::run_fields(key).ok_or_else(|| corrupt("run")).and_then(|fields| Ok((fields, Run::decode(value)?)));
        let ((due, scheduling, completing), run) = match run {
            Ok(run) => run,
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        };
        if count >= CHUNK && last != Some((due, scheduling)) {
            end = last;
            return ControlFlow::Break(());
        }
        last = Some((due, scheduling));
        for position in positions_of(due, scheduling, &run).filter(|&position| position >= from) {
            let id = run.find(position.generation.place()).and_then(|(group, item)| group.ids.get(item));
            match (id, standing::run_receipt(position, completing, &run)) {
                (Some(id), Ok(receipt)) => {
                    let (id, visible_until) = (id.clone(), run.visible_until);
                    found.insert(position, Found::Run { id, visible_until, receipt });
                }
                _ => failed = Some(corrupt("run")),
            }
            count += 1;
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let last_place = Generation::COMMANDS_PER_ENTRY_MAX - 1;
    let position = |(due, scheduling)| Position { due, generation: Generation::new(scheduling, last_place) };
    failed.map_or(Ok(end.map(position)), Err)
}
