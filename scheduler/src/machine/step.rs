//! One entry being applied: what commands share.

use crate::keys::{self, IdHash};
use crate::lane::{Class, Generation, LaneId, Position, TopicId};
use crate::overlay::{self, Overlay};
use crate::record::{
    IdRecord, Lane, Origin, Stage, StoredReceipt, Topic, Trigger, corrupt, encode_history, encode_topic_number,
    encode_trigger,
};
use crate::reply::{Effect, Receipt, Refusal};
use crate::standing::{self, Facts, Standing};
use crate::store::{Read, StoreError};
use crate::time::Timestamp;
use crate::topics::Topics;

use super::{Stop, TOPICS_MAX};

/// One entry being applied.
pub(crate) struct Step<'s, 'o> {
    pub overlay: &'s mut Overlay<'o>,
    pub topics: &'s mut Topics,
    pub now: Timestamp,
    pub index: u64,
    /// The feature level in force.
    pub level: u32,
    effects: &'s mut Vec<Effect>,
    /// The place that the version made now gets, and how many must be left for the commands to come.
    place: usize,
    next_place: usize,
    reserved: usize,
}

/// Where to take a command back to.
pub(super) struct Savepoint {
    overlay: overlay::Savepoint,
    topics: usize,
    effects: usize,
    next_place: usize,
}

/// A trigger that a command is about.
pub(super) struct Found {
    pub hash: IdHash,
    pub record: IdRecord,
    pub standing: Standing,
}

impl<'s, 'o> Step<'s, 'o> {
    pub fn new(
        overlay: &'s mut Overlay<'o>,
        topics: &'s mut Topics,
        effects: &'s mut Vec<Effect>,
        now: Timestamp,
        index: u64,
        level: u32,
    ) -> Self {
        Step { overlay, topics, now, index, level, effects, place: 0, next_place: 0, reserved: 0 }
    }

    /// Begins the next command; `reserved` more follow it.
    pub(super) fn begin(&mut self, reserved: usize) {
        self.place = self.next_place;
        self.next_place += 1;
        self.reserved = reserved;
    }

    /// Takes another place for a trigger that a business command makes. False when the entry has none to spare.
    pub(crate) fn take_place(&mut self) -> bool {
        let free = self.next_place + self.reserved < Generation::COMMANDS_PER_ENTRY_MAX;
        if free {
            self.place = self.next_place;
            self.next_place += 1;
        }
        free
    }

    /// The version that this command makes.
    pub(crate) fn generation(&self) -> Generation {
        Generation::new(self.index, self.place)
    }

    /// Here in the log: after everything that was due so far.
    pub(super) fn here(&self) -> Position {
        Position { due: self.now, generation: self.generation() }
    }

    pub(super) fn savepoint(&mut self) -> Savepoint {
        Savepoint {
            overlay: self.overlay.savepoint(),
            topics: self.topics.savepoint(),
            effects: self.effects.len(),
            next_place: self.next_place,
        }
    }

    pub(super) fn rollback(&mut self, savepoint: Savepoint) {
        self.overlay.rollback(savepoint.overlay);
        self.topics.rollback(savepoint.topics);
        self.effects.truncate(savepoint.effects);
        self.next_place = savepoint.next_place;
    }

    pub(super) fn release(&mut self, savepoint: Savepoint) {
        self.overlay.release(savepoint.overlay);
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Tells watchers.
    pub(super) fn changed(&mut self, namespace: &str, id: &str) {
        self.effects.push(Effect::Changed { namespace: namespace.to_owned(), id: id.to_owned() });
    }

    /// The topic of a lane that a row names.
    pub(super) fn topic_of(&self, lane: LaneId) -> Result<&Topic, StoreError> {
        self.topics.topic(lane.topic()).ok_or_else(|| corrupt("topic"))
    }

    /// The topic with this name, made when there is none.
    pub(super) fn topic_named(&mut self, namespace: &str, name: &str) -> Result<TopicId, Stop> {
        if let Some(topic) = self.topics.find(namespace, name) {
            return Ok(topic.id);
        }
        let number = self.topics.len() as u32;
        if number >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics { max: TOPICS_MAX }.into());
        }
        let topic = Topic {
            id: TopicId(number),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            settings: crate::record::default_settings(),
            version: 0,
            lanes: [Lane::default(); 5],
        };
        self.overlay.put(&keys::topic(topic.id), topic.encode());
        self.overlay.put(&keys::topic_name(namespace, name), encode_topic_number(topic.id));
        self.topics.create(topic);
        Ok(TopicId(number))
    }

    /// Sets the marks of a lane.
    pub(super) fn set_lane(&mut self, lane: LaneId, marks: Lane) {
        self.overlay.put(&keys::lane(lane), marks.encode());
        self.topics.change(lane.topic(), |topic| topic.lanes[lane.class() as usize] = marks);
        self.effect(Effect::LaneChanged { lane });
    }

    /// The row of an id, and where it stands; `None` when there is none or its retention has passed.
    pub(super) fn lookup(&self, hash: IdHash) -> Result<Option<Found>, StoreError> {
        let Some(value) = self.overlay.get(&keys::id(hash))? else { return Ok(None) };
        let record = IdRecord::decode(&value)?;
        let facts = Facts { watermark: self.now, lane: self.topics.lane(record.lane) };
        let standing = standing::standing(self.overlay, facts, &record)?;
        Ok(standing.map(|standing| Found { hash, record, standing }))
    }

    /// The trigger with this id, or a refusal.
    pub(super) fn find(&self, namespace: &str, id: &str) -> Result<Found, Stop> {
        self.lookup(IdHash::of(namespace, id))?.ok_or_else(|| Refusal::NotFound.into())
    }

    pub(super) fn receipt(&self, found: &Found) -> Result<Receipt, StoreError> {
        standing::receipt(self.overlay, &found.record, &found.standing)
    }

    pub(super) fn row(&self, record: &IdRecord) -> Result<(String, Trigger), StoreError> {
        standing::row(self.overlay, record.lane, record.position)
    }

    /// Puts a trigger where it waits from now on.
    pub(super) fn insert_row(&mut self, lane: LaneId, position: Position, id: &str, trigger: &Trigger) {
        self.overlay.put(&keys::due(lane, position), encode_trigger(id, trigger));
        self.overlay.add(&keys::live(lane), 1);
        if position.due > self.now && lane.class() != Class::Dead {
            self.overlay.add(&keys::count(keys::minute_of(position.due), lane), 1);
        }
        self.effect(Effect::Inserted { lane, position });
    }

    /// Takes a trigger from where it waited.
    pub(super) fn remove_row(&mut self, lane: LaneId, position: Position) {
        self.overlay.delete(&keys::due(lane, position));
        self.overlay.add(&keys::live(lane), -1);
        // A minute that has passed has no counter any more.
        if position.due > self.now && lane.class() != Class::Dead {
            self.overlay.add(&keys::count(keys::minute_of(position.due), lane), -1);
        }
        let fired = self.topics.lane(lane).has_fired(position, self.now);
        self.effect(if fired { Effect::Ended { lane, position } } else { Effect::Removed { lane, position } });
    }

    pub(super) fn put_id(&mut self, hash: IdHash, record: &IdRecord) {
        self.overlay.put(&keys::id(hash), record.encode());
    }

    /// Writes down that a trigger ended on its own. Its row must be gone already.
    pub(super) fn end(
        &mut self,
        hash: IdHash,
        id: &str,
        mut record: IdRecord,
        lane: LaneId,
        receipt: &Receipt,
    ) -> Result<(), StoreError> {
        let position = Position { due: receipt.due, generation: receipt.generation };
        let visible_until = standing::visible_until(self.now, self.topic_of(lane)?.settings.retention_ms);
        record.stage = Stage::Ended;
        record.lane = lane;
        record.position = position;
        record.visible_until = visible_until;
        record.tail.ended = Some(StoredReceipt::from(receipt));
        self.put_id(hash, &record);
        self.overlay.put(&keys::history(lane, position), encode_history(id));
        self.overlay.put(&keys::ended(visible_until, hash), keys::history(lane, position).to_vec());
        Ok(())
    }
}

/// Keeps the first version of a trigger, for whoever repeats the request that made it.
pub(super) fn keep_origin(record: &mut IdRecord, due: Timestamp) {
    record.tail.origin.get_or_insert(Origin { generation: record.position.generation.number(), due: due.as_millis() });
}
